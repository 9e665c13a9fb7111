"""The HTTP status of a refusal: whose fault it was, and whether asking again can help."""

import pytest

from marketplace.chain.core import ForgedLogs, PartialLogs
from marketplace.chain.faults import NodeFault, NodeUnreachable
from marketplace.chain.fees import FeeAboveCeiling
from marketplace.chain.finality import NotYetFinal, Reorganised
from marketplace.chain.health import StaleHead
from marketplace.chain.manifest import WrongCode
from marketplace.chain.rpc import UnknownBlock
from marketplace.errors import Refusal
from marketplace.wire.http import status_of

NODES = (
    NodeUnreachable,
    NodeFault,
    UnknownBlock,
    ForgedLogs,
    PartialLogs,
    WrongCode,
    FeeAboveCeiling,
    NotYetFinal,
    Reorganised,
    StaleHead,
)


@pytest.mark.parametrize("refusal", NODES)
def test_what_this_sides_node_is_to_blame_for_is_not_called_the_askers_fault(
    refusal: type[Refusal],
) -> None:
    assert status_of(refusal(message="The node is wrong.", remedy="Use another.")) == 503
