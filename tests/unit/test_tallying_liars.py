"""Rules of noise that a custodian lies about: it is named with the reason, and a quorum goes on without it.

Keys, noise, proofs and signatures are real, as in `test_tallying_partials`, where the answer's lies are.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from marketplace.chain.views import MarketPolicy
from marketplace.lanes.tally import TallyLane
from marketplace.peers import Peer
from marketplace.tallying import Tallying
from marketplace.wire.eip712 import RESEARCH_MARKET, VERSION, Domain
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.solidity import ZERO_ADDRESS
from marketplace.wire.structs import NoiseCommitment, NoiseSet, SignedStruct, sign
from tests.support.tallying import flip
from tests.unit.test_tallying_partials import EPOCH, NOBODY, QUESTION, REQUEST, ROOT
from tests.unit.test_tallying_partials import Custodian as Decrypting
from tests.unit.test_tallying_partials import Market as Answering

FINAL = 7


class Market(Answering):
    """Before any noise: what is sent to its chain is there at once, and final."""

    def __init__(self) -> None:
        super().__init__()
        self.committed: dict[int, bytes] = {}
        self.fixed: NoiseSet | None = None
        self.journal_of = lambda _: (1, bytes(32))
        self.finalized = lambda: FINAL

    def noise_commitments(self, _: bytes, block: int | None = None) -> dict[int, bytes]:
        return self.committed

    def noise_set(self, _: bytes) -> tuple[tuple[int, ...], bytes]:
        if self.fixed is None:
            return (), bytes(32)
        return tuple(at for at in range(3) if self.fixed.places >> at & 1), self.fixed.noise

    def events(self, *_: object, **__: object) -> Any:
        assert self.fixed is not None
        args = {"places": self.fixed.places, "noise": self.fixed.noise}
        return iter([SimpleNamespace(args=args, block=FINAL, block_hash=bytes(32))])

    def send(self, _: str, method: str, request: bytes, *given: Any) -> None:
        """As a `Sender` does."""
        assert request == REQUEST
        if method == "commitNoise":
            self.committed = {place: commitment for place, commitment, _ in given[0]}
        else:
            assert method == "fixNoise"
            self.fixed = self.noise_of([at for at in range(3) if given[0] >> at & 1])

    # --- what custodians sign

    def noise_of(self, places: list[int]) -> NoiseSet:
        one = NoiseCommitment(REQUEST, ROOT, EPOCH, 0, bytes(32))
        chosen = {place: self.committed[place] for place in places}
        return NoiseSet.of(self.chain.domain("ResearchMarket"), one, chosen)

    def signed(self, place: int, struct: SignedStruct) -> str:
        return to_hex(sign(struct, self.domain, self.signers[place]))

    def said(self, place: int, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """By the custodian at this place, which tells the truth."""
        if path == "/noise-commitments":
            commitment = super().noise_commitments(REQUEST)[place]
            struct = NoiseCommitment(REQUEST, ROOT, EPOCH, place, commitment)
            return {"commitment": to_hex(commitment), "signature": self.signed(place, struct)}
        if path == "/noise-reveals":
            return self.revealed(body["place"], body["size"])
        if path == "/noise-sets":
            return {"signature": self.signed(place, self.noise_of(body["places"]))}
        assert path == "/noise-contributions"
        return {}

    @property
    def chain(self) -> Any:
        domains = {"ResearchMarket": MARKET_DOMAIN}
        views = ("request", "committee", "joint_key", "noise_commitments", "noise_set", "events")
        return SimpleNamespace(
            domain=lambda name: domains.get(name, self.domain),
            journal_of=self.journal_of,
            finalized=self.finalized,
            policy=MarketPolicy,
            now=lambda: 0,
            **{name: getattr(self, name) for name in views},
        )


MARKET_DOMAIN = Domain(RESEARCH_MARKET, VERSION, 31337, ZERO_ADDRESS)


@dataclass(frozen=True)
class Custodian(Decrypting):
    """The one at place 1 lies. The others agree to a set after it: nobody waits for more than a quorum."""

    market: Market = field(kw_only=True)
    lie: Callable[[str, dict[str, Any]], dict[str, Any]] = field(kw_only=True)
    heard: threading.Event = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        answer = self.market.said(self.place, path, body)
        if path == "/noise-sets" and self.place != 1:
            assert self.heard.wait(60)
            time.sleep(0.3)
        elif path == "/noise-sets":
            self.heard.set()
        return self.lie(path, answer) if self.place == 1 else answer


def lie(path: str, name: str, change: Callable[[Any], Any]) -> Any:
    def lying(asked: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {name: change(answer[name])} if asked == path else answer

    return lying


def other_proof(reveal: dict[str, Any]) -> dict[str, Any]:
    return reveal | {"proof": to_base64(flip(base64.b64decode(reveal["proof"]), 10))}


UNSIGNED = "The signature is not that of 0x"
CASES: dict[str, tuple[Any, str, list[int]]] = {
    "commitment": (
        lie("/noise-commitments", "commitment", lambda _: "0x" + "11" * 32), UNSIGNED, [0, 2],
    ),
    "empty commitment": (
        lie("/noise-commitments", "commitment", lambda _: "0x" + "00" * 32),
        "What the custodian at place 1 sent does not count: its commitment is empty", [0, 2],
    ),
    "reveal": (
        lie("/noise-reveals", "reveal", other_proof),
        "The revealed noise's digests does not list this contribution under its size", [0, 2],
    ),
    "size": (
        lie("/noise-reveals", "reveal", lambda reveal: reveal | {"size": 1}),
        "What the custodian at place 1 sent does not count: it is of another size", [0, 2],
    ),
    "word": (
        lie("/noise-reveals", "sums", lambda word: word | {"digest": "0x" + "33" * 32}),
        UNSIGNED, [0, 2],
    ),
    "agreement": (
        lie("/noise-sets", "signature", lambda _: "0x" + "11" * 65),
        "The signature is not 65 bytes that end in 27 or 28", [0, 1, 2],
    ),
}  # fmt: skip
"""What is said falsely, what its custodian is named with, and whose noise counts."""


@dataclass(frozen=True)
class Lane(TallyLane):
    """The operator's, for a request that its custodians have already been asked about."""

    def _tallying(self, *_: object) -> Tallying:
        return Tallying(self.chain, self.custodians, REQUEST, QUESTION)


@pytest.mark.parametrize("case", sorted(CASES))
def test_who_lies_about_noise_is_named_in_the_operators_log_and_the_quorum_goes_on(
    case: str,
) -> None:
    market, heard = Market(), threading.Event()
    lying, why, counts = CASES[case]
    custodians: list[Peer] = [
        Custodian("one", NOBODY, market=market, place=place, lie=lying, heard=heard)
        for place in range(3)
    ]
    given: Any = market
    with capture_logs() as logs:
        Lane(market.chain, tuple(custodians)).see_to_noise(given, given, {}, given)
    (said,) = [each for each in logs if each["event"] == "custodian_left_out"]
    assert said["place"] == 1
    assert why in said["message"]
    assert said["log_level"] == "warning"
    assert market.noise_set(REQUEST)[0] == tuple(counts)
