"""What leaves the operator: exactly what was sealed, noised and paid for; whatever differs stays.

Each case changes one thing of an answer that would be released, and signs the change as the drawn gate would.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import fields, replace
from typing import Any

import flask
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace.chain.adapter import Chain, CommitteeMember, CommitteeView, RequestView
from marketplace.chain.rpc import Node
from marketplace.errors import Refusal
from marketplace.peers import Peer
from marketplace.release import clear, require_releasable
from marketplace.stages import Cleared, Computed, Sealed
from marketplace.vocabulary import Epoch
from marketplace.waits import Waits
from marketplace.wire.delivery import delivery_hash
from marketplace.wire.eip712 import Domain
from marketplace.wire.http import to_hex
from marketplace.wire.stated import MOST_SOURCES, MOST_TEXT, Stated
from marketplace.wire.structs import (
    SETTLEMENT_SCHEMA,
    VAULT,
    Settlement,
    market_domain,
    recover,
    sign,
)
from tests.support.chain_world import account
from tests.support.custody_world import served

REQUEST, ROOT = b"\x01" * 32, b"\x02" * 32
EPOCH, QUORUM, COST = 3, 2, 1_000_000
GATE, STRANGER = account("gate"), account("stranger")
CUSTODIANS = [account(f"custodian {place}") for place in range(3)]
DOMAIN = market_domain(31_337, account("market").address)
RESULT = b"sealed to its researcher"
DUE = Stated(COST, (("count", "12.5"), ("sum of deviations from the middle", "1500")))

VIEW = RequestView(
    researcher=account("researcher").address,
    stage_number=3,
    lane=VAULT,
    opened_at=1,
    seal_deadline=2,
    settle_deadline=3,
    cost=COST,
    price=5,
    max_patients=100,
    fee=7,
    dataset=b"\x03" * 32,
    operator=account("operator").address,
    epoch=EPOCH,
    shards=1,
    sealed_shards=1,
    members=24,
    escrow=7,
    bond=9,
    seal_block=11,
    root=ROOT,
    gate=GATE.address,
    gate_draw=0,
    gate_drawn_at=12,
    frozen_until=13,
    draw_block=14,
    gate_key=b"\x04" * 32,
    result_hash=bytes(32),
)
SETTLEMENT = Settlement(
    request=REQUEST,
    root=ROOT,
    epoch=EPOCH,
    lane=VAULT,
    schema=SETTLEMENT_SCHEMA,
    ciphertext_root=b"\x05" * 32,
    noise=bytes(32),
    result_hash=b"\x06" * 32,
    delivery_hash=delivery_hash(RESULT),
    gate=GATE.address,
)
OTHER: Mapping[str, Any] = {
    "request": b"\x09" * 32,
    "root": b"\x09" * 32,
    "epoch": EPOCH + 1,
    "lane": VAULT + 1,
    "schema": SETTLEMENT_SCHEMA + 1,
    "noise": b"\x09" * 32,
    "delivery_hash": delivery_hash(b"another result"),
    "gate": STRANGER.address,
}
"""Another value for every field that the operator knows from elsewhere."""
KNOWN_TO_THE_GATE_ONLY = {"ciphertext_root", "result_hash"}


def computed(settlement: Settlement = SETTLEMENT, **changes: Any) -> Computed:
    """An answer of which only this is different; signed by the gate."""
    sealed = Sealed(REQUEST, ROOT, VIEW.members, EPOCH, GATE.address)
    signature = sign(settlement, DOMAIN, GATE)
    valid = Computed(sealed, settlement.to_json(), RESULT, signature, DUE.to_json())
    return replace(valid, **changes)


def refused(answer: Computed, view: RequestView = VIEW) -> Refusal:
    with pytest.raises(Refusal) as caught:
        require_releasable(answer, view, DUE, DOMAIN)
    assert caught.value.message
    assert caught.value.remedy
    return caught.value


# --- what is released


class Committee(Chain):
    """A chain that is asked for nothing but its committee."""

    def __init__(self) -> None:
        """No node: all is known."""

    def domain(self, contract: str) -> Domain:
        assert contract == "ResearchMarket"
        return DOMAIN

    def committee(self, epoch: int | None = None, block: Any = "latest") -> CommitteeView:
        assert epoch == EPOCH
        members = [CommitteeMember(i, each.address, {}) for i, each in enumerate(CUSTODIANS)]
        return CommitteeView(Epoch(EPOCH), QUORUM, tuple(members), (GATE.address,))


@pytest.fixture
def custodians() -> Iterator[list[Peer]]:
    """Custodians that sign whatever they are shown."""
    with ExitStack() as stack:
        yield [
            Peer(f"custodian {place}", stack.enter_context(served(signing(place))))
            for place in range(len(CUSTODIANS))
        ]


def signing(place: int) -> flask.Flask:
    app = flask.Flask(f"custodian {place}")

    @app.post("/settlements")
    def settlements() -> Any:
        asked = Settlement.from_json(flask.request.get_json()["settlement"])
        return {"place": place, "signature": to_hex(sign(asked, DOMAIN, CUSTODIANS[place]))}

    return app


def test_an_answer_that_fits_is_cleared_with_a_quorum_of_signatures(custodians: list[Peer]) -> None:
    cleared = clear(Committee(), computed(), VIEW, DUE, custodians)
    assert isinstance(cleared, Cleared)
    assert cleared.computed == computed()
    assert len(cleared.signatures) == QUORUM
    for place, signature in cleared.signatures:
        assert recover(SETTLEMENT, DOMAIN, signature) == CUSTODIANS[place].address


def test_what_does_not_fit_is_shown_to_no_custodian(custodians: list[Peer]) -> None:
    unnoised = computed(stated=Stated(COST, ()).to_json())
    nobody = [replace(each, url="http://127.0.0.1:1") for each in custodians]
    cases = ((unnoised, "noise_missing", "noise"), (computed(), "quorum_missing", "custodians"))
    for answer, code, field in cases:
        with pytest.raises(Refusal) as caught:
            clear(Committee(), answer, VIEW, DUE, nobody)
        assert (caught.value.code, caught.value.field) == (code, field)
        assert caught.value.remedy


# --- of the seal


def test_who_reads_what_a_request_waits_for_learns_no_place_of_a_node_or_custodian(
    custodians: list[Peer],
) -> None:
    """Signatures that no key made are put to the node, which is not there; one custodian is not either."""
    chain, waits = Committee(), Waits()
    chain.node = Node("http://hunter2@127.0.0.1:1/hunter2")
    swapped = [replace(custodians[0], url=custodians[1].url), *custodians[1:2]]
    away = replace(custodians[2], url="http://hunter2@127.0.0.2:1/hunter2")
    with pytest.raises(Refusal) as caught:
        clear(chain, computed(), VIEW, DUE, [*swapped, away])
    waits.note("this one", caught.value)
    waiting = waits.of("this one")
    assert waiting is not None
    assert "custodian 0: Nothing answers in the chain node's place." in waiting["message"]
    assert "custodian 2: " in waiting["message"]
    for place in ("127.0.0", "hunter2", "http://", "--node"):
        assert place not in str(waiting)


def test_every_field_of_a_settlement_has_its_case() -> None:
    assert OTHER.keys() | KNOWN_TO_THE_GATE_ONLY == {each.name for each in fields(Settlement)}


@pytest.mark.parametrize("field", OTHER)
def test_a_settlement_with_another_value_is_refused_by_field(field: str) -> None:
    found = refused(computed(replace(SETTLEMENT, **{field: OTHER[field]})))
    assert (found.code, found.field) == ("release_refused", field)


@pytest.mark.parametrize("field", ["root", "epoch", "lane", "gate"])
def test_an_answer_to_what_another_chain_sealed_is_refused_by_field(field: str) -> None:
    found = refused(computed(), replace(VIEW, **{field: OTHER[field]}))
    assert (found.code, found.field) == ("release_refused", field)


def test_an_answer_to_another_request_is_refused() -> None:
    other = replace(computed().sealed, request=OTHER["request"])
    assert refused(computed(sealed=other)).field == "request"


def test_a_sealed_result_that_was_exchanged_is_refused() -> None:
    found = refused(computed(sealed_result=RESULT + b"!"))
    assert (found.code, found.field) == ("release_refused", "delivery_hash")


@pytest.mark.parametrize("field", sorted(KNOWN_TO_THE_GATE_ONLY))
def test_what_only_the_gate_knows_stands_under_its_signature(field: str) -> None:
    other: dict[str, Any] = {field: b"\x09" * 32}
    unsigned = computed(replace(SETTLEMENT, **other), gate_signature=sign(SETTLEMENT, DOMAIN, GATE))
    assert refused(unsigned).code == "bad_signature"


@pytest.mark.parametrize("signature", [sign(SETTLEMENT, DOMAIN, STRANGER), b"", bytes(65)])
def test_without_the_drawn_gates_signature_nothing_leaves(signature: bytes) -> None:
    assert refused(computed(gate_signature=signature)).code == "bad_signature"


def test_a_signature_for_another_market_is_none() -> None:
    elsewhere = market_domain(1, account("market").address)
    signature = sign(SETTLEMENT, elsewhere, GATE)
    assert refused(computed(gate_signature=signature)).code == "bad_signature"


# --- noised


COUNT, SUM = DUE.noise
NOT_ALL_OF_THE_NOISE: Mapping[str, Any] = {
    "none": (),
    "one source only": (COUNT,),
    "the other source only": (SUM,),
    "no noise in one": (COUNT, (SUM[0], "0")),
    "zero, written long": (COUNT, (SUM[0], "0.000")),
    "weaker": (COUNT, (SUM[0], "1499.99")),
    "another thing noised": (COUNT, ("sum", SUM[1])),
    "in another order": (SUM, COUNT),
    "one twice": (COUNT, SUM, SUM),
}


@pytest.mark.parametrize("name", NOT_ALL_OF_THE_NOISE)
def test_an_answer_without_all_its_noise_is_refused(name: str) -> None:
    found = refused(computed(stated=Stated(COST, NOT_ALL_OF_THE_NOISE[name]).to_json()))
    assert (found.code, found.field) == ("noise_missing", "noise")


def test_where_no_noise_is_due_nothing_is_released_either() -> None:
    for noise in ((), (("count", "0"),)):
        nothing = Stated(COST, noise)
        with pytest.raises(Refusal) as caught:
            require_releasable(computed(stated=nothing.to_json()), VIEW, nothing, DOMAIN)
        assert caught.value.code == "noise_missing"


@given(st.tuples(st.integers(0, 3_000), st.integers(0, 300_000)))
def test_noise_is_enough_exactly_where_each_source_has_at_least_what_is_due(
    hundredths: tuple[int, int],
) -> None:
    scales = [f"{each // 100}.{each % 100:02d}" for each in hundredths]
    noise = tuple((what, scale) for (what, _), scale in zip(DUE.noise, scales, strict=True))
    answer = computed(stated=Stated(COST, noise).to_json())
    if hundredths[0] >= 1_250 and hundredths[1] >= 150_000:
        assert require_releasable(answer, VIEW, DUE, DOMAIN) == SETTLEMENT
    else:
        assert refused(answer).code == "noise_missing"


# --- paid for


@pytest.mark.parametrize("cost", [COST + 1, 2**56 - 1, 0])
def test_a_cost_that_was_not_debited_is_refused(cost: int) -> None:
    found = refused(computed(stated=replace(DUE, cost_nano_rho=cost).to_json()))
    assert (found.code, found.field) == ("cost_above_debit", "cost_nano_rho")


def test_what_the_chain_debited_counts() -> None:
    found = refused(computed(), replace(VIEW, cost=COST - 1))
    assert found.code == "cost_above_debit"
    assert str(COST - 1) in found.message


@given(st.integers(1, COST))
def test_an_answer_may_spend_less_than_was_debited(cost: int) -> None:
    answer = computed(stated=replace(DUE, cost_nano_rho=cost).to_json())
    assert require_releasable(answer, VIEW, DUE, DOMAIN) == SETTLEMENT


# --- what a gate states


def test_what_is_stated_is_read_as_it_was_written() -> None:
    assert Stated.from_json(DUE.to_json()) == DUE


@pytest.mark.parametrize(
    ("stated", "field"),
    [
        ({}, "stated.cost_nano_rho"),
        ({"cost_nano_rho": COST}, "stated.noise"),
        (DUE.to_json() | {"more": 1}, "stated.more"),
        (DUE.to_json() | {"cost_nano_rho": -1}, "stated.cost_nano_rho"),
        (DUE.to_json() | {"cost_nano_rho": 1.0}, "stated.cost_nano_rho"),
        (DUE.to_json() | {"cost_nano_rho": 1 << 56}, "stated.cost_nano_rho"),
        (DUE.to_json() | {"noise": "12.5"}, "stated.noise"),
        (DUE.to_json() | {"noise": [list(COUNT)] * (MOST_SOURCES + 1)}, "stated.noise"),
        (DUE.to_json() | {"noise": [["count"]]}, "stated.noise[0]"),
        (DUE.to_json() | {"noise": [["count", 12.5]]}, "stated.noise[0]"),
        (DUE.to_json() | {"noise": [["count", "-12.5"]]}, "stated.noise[0]"),
        (DUE.to_json() | {"noise": [["count", "1e9"]]}, "stated.noise[0]"),
        (DUE.to_json() | {"noise": [["count", "inf"]]}, "stated.noise[0]"),
        (DUE.to_json() | {"noise": [["count", "1" * (MOST_TEXT + 1)]]}, "stated.noise[0]"),
        (DUE.to_json() | {"noise": [list(COUNT), None]}, "stated.noise[1]"),
    ],
)
def test_what_cannot_be_read_is_not_released(stated: dict[str, Any], field: str) -> None:
    found = refused(computed(stated=stated))
    assert (found.code, found.field) == ("bad_parameter", field)
