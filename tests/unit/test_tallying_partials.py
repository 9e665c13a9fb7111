"""Rules of partial decryptions that do not count: whose they are is named, and a quorum goes on without them.

Keys, noise, proofs and words are real; three custodians answer in this process, and a chain of few words.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from marketplace.chain.counted import FixedNoise
from marketplace.peers import Peer
from marketplace.tallying import Decrypted, Tallying, TallyMissing
from marketplace.tallying.rounds import DIFFERS
from marketplace.vocabulary import Address
from marketplace.wire.eip712 import NOISE_REGISTRY, VERSION, Domain
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.structs import CountedSums, sign
from marketplace.wire.tallying import (
    Question,
    Reveal,
    SumsWord,
    TallySession,
    decode_sealed,
    noised,
    own_recipient,
    recipient,
)
from ml.homomorphic.curve import INFINITY, G, random_scalar, times_base
from ml.homomorphic.logarithm import Table
from ml.homomorphic.noise import Shares, contribute
from ml.homomorphic.threshold import (
    Sum,
    decrypt_partially,
    open_sums,
    sums_to_bytes,
)
from tests.support.chain_world import account
from tests.support.tallying import decrypted, encrypted, flip, value_at

REQUEST, ROOT, RECORDS, FIXED = (bytes([mark]) * 32 for mark in range(1, 5))
EPOCH, PLACES, QUORUM = 3, 3, 2
TRUTH = [40, -7]
SESSION = TallySession(31337, Address("0x" + "11" * 20), REQUEST, ROOT, EPOCH)
SHARES = Shares(cost=50_000_000, squared_sensitivity=1, sums=len(TRUTH), quorum=QUORUM)
RESEARCHER, DELIVERY_KEY = own_recipient(0x7E57)
QUESTION = Question(SESSION, SHARES, recipient(DELIVERY_KEY), PLACES)
NOBODY = "http://127.0.0.1:9"
TABLE = Table.build(1 << 8)
UNPROVED = (
    "What the custodian at place 1 sent does not count: its proof does not hold for this holder"
)


class Market:
    """A request whose noise all three gave, as chain and custodians have it."""

    def __init__(self) -> None:
        coefficients = [random_scalar() for _ in range(QUORUM)]
        self.key = coefficients[0]  # which nobody knows
        self.shares = [value_at(coefficients, place + 1) for place in range(PLACES)]
        self.points = [times_base(each) for each in coefficients]
        self.signers = [account(f"tallying custodian {place}") for place in range(PLACES)]
        self.domain = Domain(NOISE_REGISTRY, VERSION, 31337, Address("0x" + "22" * 20))
        added = encrypted(TRUTH, self.points[0])
        self.drawn = {place: self._drawn(place) for place in range(PLACES)}
        self.reveals = [self.drawn[place][PLACES] for place in range(PLACES)]
        self.noised = noised(added, [each.contribution for each in self.reveals])
        self.digest = SESSION.sums(RECORDS, added)
        self.parts = [self.decrypted(place, self.noised) for place in range(PLACES)]

    def _drawn(self, place: int) -> dict[int, Reveal]:
        """By the size of the set."""
        by, sizes = SESSION.contributor(place), range(QUORUM, PLACES + 1)
        drawn = {size: contribute(SHARES, size, self.points[0], by) for size in sizes}
        digests = tuple(each.digest for each in drawn.values())
        return {size: Reveal(size, each, digests) for size, each in drawn.items()}

    # --- the chain

    def request(self, _: bytes) -> Any:
        return SimpleNamespace(root=ROOT, epoch=EPOCH, seal_block=1, gate_drawn_at=0)

    def committee(self, _: int) -> Any:
        seats = [
            SimpleNamespace(place=place, signer=each.address)
            for place, each in enumerate(self.signers)
        ]
        return SimpleNamespace(quorum=QUORUM, members=tuple(seats))

    def joint_key(self, _: int) -> tuple[bytes, int]:
        return b"".join(each.to_bytes() for each in self.points), 0

    def noise_commitments(self, _: bytes, block: int | None = None) -> dict[int, bytes]:
        return {
            place: each.commitment(SESSION.contributor(place), QUORUM)
            for place, each in enumerate(self.reveals)
        }

    # --- what custodians say

    def revealed(self, place: int, size: int) -> dict[str, Any]:
        struct = CountedSums(REQUEST, ROOT, EPOCH, place, self.digest)
        word = SumsWord(self.digest, sign(struct, self.domain, self.signers[place]))
        return {"reveal": self.drawn[place][size].to_json(), "sums": word.to_json()}

    def decrypted(self, place: int, sums: list[Sum]) -> dict[str, Any]:
        """With the share of the one at this place, and a proof that holds."""
        context = SESSION.partial(place, SESSION.aggregate(RECORDS, FIXED, sums))
        made = decrypt_partially(self.shares[place], sums, recipient(DELIVERY_KEY), context)
        return {
            "ciphertext_root": to_hex(RECORDS),
            "noised": to_base64(sums_to_bytes(sums)),
            "partial": to_base64(made.to_bytes()),
            "journal": {},
        }

    def answer(self, peers: list[Peer]) -> Decrypted:
        chain: Any = SimpleNamespace(
            request=self.request,
            committee=self.committee,
            joint_key=self.joint_key,
            noise_commitments=self.noise_commitments,
            domain=lambda _: self.domain,
        )
        fixed = FixedNoise((0, 1, 2), FIXED, 1, bytes(32))
        return Tallying(chain, peers, REQUEST, QUESTION).decrypt(fixed, {})


@dataclass(frozen=True)
class Custodian(Peer):
    """One that answers in this process."""

    market: Market = field(kw_only=True)
    place: int = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        if path == "/noise-reveals":
            return self.market.revealed(body["place"], body["size"])
        assert path == "/partials"
        return self.part()

    def part(self) -> dict[str, Any]:
        """Its partial decryption, for ever the same."""
        return self.market.parts[self.place]


class Replaying(Custodian):
    """Gives what the one at place 0 gave."""

    def part(self) -> dict[str, Any]:
        return self.market.parts[0]


class Equivocating(Custodian):
    """Proves what it decrypted: the first sum and one more, where the others have the sum."""

    def part(self) -> dict[str, Any]:
        first, *others = self.market.noised
        return self.market.decrypted(self.place, [first + Sum(INFINITY, G), *others])


class Unproved(Custodian):
    """Its proof has a bit flipped."""

    def part(self) -> dict[str, Any]:
        true = super().part()
        return true | {"partial": to_base64(flip(base64.b64decode(true["partial"]), 10))}


class OtherRecords(Custodian):
    """Names other records than it added up."""

    def part(self) -> dict[str, Any]:
        return super().part() | {"ciphertext_root": to_hex(ROOT)}


class OtherSums(Custodian):
    """Gives its part of the sums beside other sums."""

    def part(self) -> dict[str, Any]:
        first, *others = self.market.noised
        return super().part() | {"noised": to_base64(sums_to_bytes([first + first, *others]))}


class Gone(Custodian):
    """Cannot be reached any more, once its noise counts."""

    def part(self) -> dict[str, Any]:
        return Peer(self.name, NOBODY).post("/partials", {})


@pytest.fixture(scope="module")
def market() -> Market:
    return Market()


def peers(market: Market, *kinds: type[Custodian]) -> list[Peer]:
    """Custodians of these kinds, by place."""
    return [
        kind(f"custodian {place + 1}", NOBODY, market=market, place=place)
        for place, kind in enumerate(kinds)
    ]


def assert_opens(market: Market, found: Decrypted) -> None:
    """To the truth, but for the noise of three."""
    room = PLACES * SHARES.bound(PLACES)
    points = open_sums(decode_sealed(found.sealed_result), RESEARCHER)
    assert points == [decrypted(each, market.key) for each in market.noised]
    opened = TABLE.find(points, -room - 100, room + 100)
    assert all(abs(each - true) <= room for each, true in zip(opened, TRUTH, strict=True))


def test_all_that_agree_are_answered_with(market: Market) -> None:
    found = market.answer(peers(market, Custodian, Custodian, Custodian))
    assert found.faults == {}
    assert_opens(market, found)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Replaying, UNPROVED),
        (Unproved, UNPROVED),
        (OtherRecords, UNPROVED),
        (OtherSums, UNPROVED),
        (Equivocating, DIFFERS),
        (Gone, "(ConnectError)"),
    ],
)
def test_whose_partial_does_not_count_is_named_and_the_quorum_goes_on(
    market: Market, kind: type[Custodian], why: str
) -> None:
    found = market.answer(peers(market, Custodian, kind, Custodian))
    assert list(found.faults) == [1]
    assert why in found.faults[1]
    assert [part.place for part in found.parts] == [0, 2]
    assert {part.noised for part in found.parts} == {sums_to_bytes(market.noised)}
    assert_opens(market, found)


@pytest.mark.parametrize("is_alone", [True, False])
def test_where_no_quorum_decrypted_the_same_all_that_differ_are_named(
    market: Market, is_alone: bool
) -> None:
    """Who of two that differ is wrong, nobody can tell; who is alone differs from nobody."""
    with pytest.raises(TallyMissing) as missing:
        market.answer(peers(market, Custodian, Gone if is_alone else Equivocating, Gone))
    faults: Any = missing.value.facts["faults"]
    differ = [place for place, why in sorted(faults.items()) if why == DIFFERS]
    assert differ == ([] if is_alone else ["0", "1"])
    assert ("custodian 2: Its sums are not those of" in missing.value.message) != is_alone
    assert "(ConnectError)" in faults["2"]
