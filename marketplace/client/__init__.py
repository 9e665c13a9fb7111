"""The SDK: signs, seals, speaks HTTP to an operator and JSON-RPC to a node. Knows no operator internals.

A patient stops:

    market = Marketplace("http://127.0.0.1:8000", node_url="http://127.0.0.1:8545")
    way = ThroughOperator(market)
    sequence = way.consent(dataset, account_of(key))["sequence"]
    way.carry(market.revocation_message(key, dataset, sequence))

A researcher asks; `marketplace/client/notebooks/first_question.ipynb` does it step by step:

    ask = market.researcher(signing_key(path), delivery_key(other_path))
    asked = (dataset, [1], "mean.v1", {"variable": "systolic"}, purpose)
    answer = ask.run(*asked, cost=20_000_000, at_most=200_000_000)
"""

from marketplace.chain.adapter import Manifest
from marketplace.client.answers import Answer, Cell
from marketplace.client.defaults import Certificates, Defaulted
from marketplace.client.documents import CatalogueEntry, ConsentClass, Dataset, ListedRequest
from marketplace.client.http import Api, OperatorUnreachable
from marketplace.client.keys import delivery_key, signing_key
from marketplace.client.marketplace import Marketplace
from marketplace.client.messages import account_of
from marketplace.client.offers import Offer, Question
from marketplace.client.researcher import Ask
from marketplace.client.routes import ByOneself, Route, ThroughCustodian, ThroughOperator
from marketplace.vocabulary import Lane
from marketplace.wire.terms import Purpose

__all__ = [
    "Answer",
    "Api",
    "Ask",
    "ByOneself",
    "CatalogueEntry",
    "Cell",
    "Certificates",
    "ConsentClass",
    "Dataset",
    "Defaulted",
    "Lane",
    "ListedRequest",
    "Manifest",
    "Marketplace",
    "Offer",
    "OperatorUnreachable",
    "Purpose",
    "Question",
    "Route",
    "ThroughCustodian",
    "ThroughOperator",
    "account_of",
    "delivery_key",
    "signing_key",
]
