"""The SDK: signs, seals, speaks HTTP to an operator and JSON-RPC to a node. Knows no operator internals.

market = Marketplace("http://127.0.0.1:8000", node_url="http://127.0.0.1:8545")
way = ThroughOperator(market)
sequence = way.consent(dataset, account_of(key))["sequence"]
way.carry(market.revocation_message(key, dataset, sequence))
"""

from marketplace.client.defaults import Certificates, Defaulted
from marketplace.client.http import Api, OperatorUnreachable
from marketplace.client.marketplace import Marketplace
from marketplace.client.messages import account_of
from marketplace.client.researcher import Answer, Ask
from marketplace.client.routes import ByOneself, Route, ThroughCustodian, ThroughOperator

__all__ = [
    "Answer",
    "Api",
    "Ask",
    "ByOneself",
    "Certificates",
    "Defaulted",
    "Marketplace",
    "OperatorUnreachable",
    "Route",
    "ThroughCustodian",
    "ThroughOperator",
    "account_of",
]
