"""A whole market on one machine: chain, contracts, custodians with gates, operator. Nothing shared but HTTP.

Everything lies in one folder; a second start finds it and goes on from there.
"""

from marketplace.local.market import EUR, POLICY, QUORUM, ForeignNode, Local
from marketplace.local.ports import CUSTODIANS, Ports
from marketplace.local.processes import await_health, ended_how

__all__ = [
    "CUSTODIANS",
    "EUR",
    "POLICY",
    "QUORUM",
    "ForeignNode",
    "Local",
    "Ports",
    "await_health",
    "ended_how",
]
