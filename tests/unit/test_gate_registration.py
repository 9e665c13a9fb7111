"""Before an answer leaves its gate: custodians that note it count, and one at fault sinks no other."""

from typing import Any

import pytest

from marketplace.gate import registration
from marketplace.gate.quorum import QuorumMissing
from marketplace.gate.registration import register
from marketplace.wire.http import to_hex
from marketplace.wire.settings import Endpoint
from marketplace.wire.structs import recover, sign
from tests.unit.test_release import CUSTODIANS, DOMAIN, GATE, SETTLEMENT, Committee

ENDPOINTS = [Endpoint(place=place, url=f"http://{place}") for place in range(len(CUSTODIANS))]


def registered(monkeypatch: pytest.MonkeyPatch, *tripping: int) -> list[tuple[int, bytes]]:
    """What is noted where the answers of these places trip whoever reads them."""

    def post(url: str, *_: Any, **__: Any) -> dict[str, Any]:
        place = int(url.removeprefix("http://"))
        if place in tripping:
            raise ValueError("Timeout value out of range")
        return {"signature": to_hex(sign(SETTLEMENT, DOMAIN, CUSTODIANS[place]))}

    monkeypatch.setattr(registration, "post", post)
    committee, signature = Committee().committee(SETTLEMENT.epoch), sign(SETTLEMENT, DOMAIN, GATE)
    return register(SETTLEMENT, signature, committee, ENDPOINTS, DOMAIN, timeout=60)


@pytest.mark.parametrize("place", range(len(CUSTODIANS)))
def test_a_custodian_whose_answer_trips_the_gate_leaves_the_quorum_of_the_others(
    monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    noted = registered(monkeypatch, place)
    assert [each for each, _ in noted] == [i for i in range(len(CUSTODIANS)) if i != place]
    for each, signature in noted:
        assert recover(SETTLEMENT, DOMAIN, signature) == CUSTODIANS[each].address


def test_where_too_few_are_left_each_is_named_with_its_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(QuorumMissing) as caught:
        registered(monkeypatch, 0, 2)
    assert caught.value.facts["faults"] == {0: "unreadable_answer", 2: "unreadable_answer"}
