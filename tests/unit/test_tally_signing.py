"""Rules of what a custodian signs as the answer: what is not what it decrypted is refused, naming it.

Keys, noise and proofs are real, as in `test_tallying_partials`; the journal is what one request left there.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from marketplace.chain.counted import FixedNoise
from marketplace.custodian.signing import Signing
from marketplace.errors import Refusal
from marketplace.tallying import Decrypted
from marketplace.wire.eip712 import RESEARCH_MARKET, VERSION, Domain
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import Settlement, sign
from tests.support.tallying import flip
from tests.unit.test_tallying_partials import (
    EPOCH,
    FIXED,
    QUESTION,
    RECORDS,
    REQUEST,
    ROOT,
    SESSION,
    Custodian,
    Market,
    peers,
)

DOMAIN = Domain(RESEARCH_MARKET, VERSION, 31337, ZERO_ADDRESS)
OTHER: Mapping[str, tuple[str, Any]] = {
    "root": ("root", bytes(32)),
    "epoch": ("epoch", 7),
    "lane": ("lane", 1),
    "schema": ("schema", 2),
    "ciphertextRoot": ("ciphertext_root", b"\x09" * 32),
    "noise": ("noise", bytes(32)),
    "resultHash": ("result_hash", b"\x0a" * 32),
    "deliveryHash": ("delivery_hash", b"\x0b" * 32),
    "gate": ("gate", "0x" + "11" * 20),
}
"""By the name that people read: one member of a settlement, and what it is not."""


class Held:
    """An answer that the custodian at place 0 has its part in."""

    def __init__(self) -> None:
        self.market = Market()
        self.found: Decrypted = self.market.answer(peers(self.market, *[Custodian] * 3))
        self.partials = {part.place: part.partial for part in self.found.parts}

    def sign(self, settlement: Settlement, partials: Mapping[int, bytes]) -> dict[str, Any]:
        act: Any = SimpleNamespace(done=lambda _: None)
        return self._signing().settle(settlement, self.found.sealed_result, partials, act)

    def refused(self, settlement: Settlement, partials: Mapping[int, bytes]) -> Refusal:
        with pytest.raises(Refusal) as refused:
            self.sign(settlement, partials)
        return refused.value

    def spare(self) -> bytes:
        """The partial decryption of the one at place 2, of which no answer was made."""
        return base64.b64decode(self.market.parts[2]["partial"])

    def _signing(self) -> Signing:
        market = self.market
        means: Any = SimpleNamespace(
            chain=SimpleNamespace(domain=lambda _: DOMAIN),
            journal=SimpleNamespace(settlement=lambda _: "signed before"),
            keys=SimpleNamespace(signer=SimpleNamespace(secret=bytes(market.signers[0].key))),
            rules=SimpleNamespace(place=0),
            joint_shares=SimpleNamespace(
                of=lambda _: SimpleNamespace(commitments=tuple(market.points))
            ),
        )
        row = SimpleNamespace(
            root=ROOT,
            epoch=EPOCH,
            partial=self.partials[0],
            sums=b"",
            ciphertext_root=RECORDS,
            aggregate=SESSION.aggregate(RECORDS, FIXED, market.noised),
        )
        live = SimpleNamespace(row=row, question=QUESTION, view=SimpleNamespace(epoch=EPOCH))
        fixed = FixedNoise((0, 1, 2), FIXED, 1, bytes(32))
        decrypting: Any = SimpleNamespace(
            requests=SimpleNamespace(find=lambda _: live),
            final_noise=lambda _: fixed,
            noised=lambda *_: market.noised,
        )
        return Signing(means, decrypting)


@pytest.fixture(scope="module")
def held() -> Held:
    return Held()


def test_what_a_quorum_decrypted_is_signed(held: Held) -> None:
    said = held.sign(held.found.settlement, held.partials)
    by_hand = sign(held.found.settlement, DOMAIN, bytes(held.market.signers[0].key))
    assert said == {"place": 0, "signature": "0x" + by_hand.hex()}
    assert held.found.settlement.request == REQUEST


def test_every_member_of_a_settlement_is_held_against_what_was_decrypted(held: Held) -> None:
    assert set(OTHER) == set(held.found.settlement.to_json()) - {"request"}


@pytest.mark.parametrize("named", sorted(OTHER))
def test_a_settlement_of_anything_else_is_refused_and_the_field_is_named(
    held: Held, named: str
) -> None:
    field, value = OTHER[named]
    settlement = replace(held.found.settlement, **{field: value})
    said = held.refused(settlement, held.partials)
    assert (said.code, said.field) == ("settlement_mismatch", named)
    assert f"settlement's {named} " in said.message


@pytest.mark.parametrize("place", [0, 1])
def test_a_partial_with_a_bit_flipped_is_refused_and_its_place_is_named(
    held: Held, place: int
) -> None:
    bent = held.partials | {place: flip(held.partials[place], 10)}
    assert_names(held.refused(held.found.settlement, bent), place)


def test_a_partial_of_another_is_refused_and_the_place_that_it_is_said_to_be_of_is_named(
    held: Held,
) -> None:
    said = held.refused(held.found.settlement, {0: held.partials[0], 2: held.partials[1]})
    assert_names(said, 2)


def assert_names(said: Refusal, place: int) -> None:
    assert (said.code, said.field) == ("partial_invalid", "partials")
    assert said.facts == {"place": place}
    assert f"The partial at place {place} does not count: " in said.message


def test_fewer_partials_than_a_quorum_are_refused(held: Held) -> None:
    said = held.refused(held.found.settlement, {0: held.partials[0]})
    assert (said.code, said.field) == ("partial_invalid", "partials")
    assert "exactly 2 are combined" in said.message


def test_a_sealed_result_that_these_partials_do_not_combine_to_is_refused(held: Held) -> None:
    said = held.refused(held.found.settlement, {0: held.partials[0], 2: held.spare()})
    assert (said.code, said.field) == ("settlement_mismatch", "deliveryHash")
