"""The SDK: signs, seals, speaks HTTP to an operator and JSON-RPC to a node. Knows no operator internals.

market = Marketplace("http://127.0.0.1:8000", node_url="http://127.0.0.1:8545")
market.revoke(key, dataset)
"""

from marketplace.client.http import Api, OperatorUnreachable
from marketplace.client.marketplace import Marketplace
from marketplace.client.researcher import Answer, Ask

__all__ = ["Answer", "Api", "Ask", "Marketplace", "OperatorUnreachable"]
