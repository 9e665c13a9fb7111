"""Rules of an answer in the homomorphic lane: what custodians draw, reveal, decrypt and sign."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from structlog.testing import capture_logs

from marketplace.chain.counted import committed_noise, counted
from marketplace.custodian.models import ContributionRow, NoisedRow
from marketplace.errors import Refusal
from marketplace.lanes.tally import TallyLane
from marketplace.peers import Peer
from marketplace.stages import Sealed
from marketplace.tallying import Decrypted, TallyMissing, rounds, settlement_body
from marketplace.vocabulary import Commitment
from marketplace.wire.delivery import ciphertext_root
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.solidity import solidity_name
from marketplace.wire.structs import CountedSums, NoiseCommitment, NoiseSet, Settlement, sign
from marketplace.wire.tallying import Reveal, SumsWord
from ml.homomorphic.curve import times_base
from ml.homomorphic.noise import contribute
from ml.homomorphic.threshold import Sum
from tests.support.chain_world import account
from tests.support.daily import daily, daily_rows
from tests.support.slow_answers import GIVE_UP, asked
from tests.support.tally_world import PEOPLE, TallyWorld, tally_world

MEAN = {"variable": "systolic"}
NAMES = [f"p{i}" for i in range(len(PEOPLE))]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TallyWorld]:
    with tally_world(tmp_path_factory.mktemp("tally-lane")) as made:
        made.enrol(dict(zip(NAMES, PEOPLE, strict=True)))
        yield made


def ask(market: TallyWorld, at: int, path: str, request: bytes, **body: Any) -> dict[str, Any]:
    return post(market.urls[at], path, {"request": to_hex(request), **body}, timeout=60)


def commit(market: TallyWorld, place: int, request: bytes) -> dict[str, Any]:
    return ask(market, place, "/noise-commitments", request, parameters=MEAN)


def put_on_chain(market: TallyWorld, request: bytes, said: list[dict[str, Any]]) -> None:
    listed = [
        [each["place"], *(bytes.fromhex(each[name][2:]) for name in ("commitment", "signature"))]
        for each in said
    ]
    market.world.sender.send("NoiseRegistry", "commitNoise", request, listed)


def committed(market: TallyWorld, salt: str) -> bytes:
    """A sealed request with every custodian's commitment on chain."""
    request = market.sealed(salt, "mean.v1", MEAN)
    put_on_chain(market, request, [commit(market, place, request) for place in range(3)])
    return request


def answered(market: TallyWorld, request: bytes, peers: list[Peer] | None = None) -> Decrypted:
    tallying = market.tallying(request, "mean.v1", MEAN, peers)
    return tallying.decrypt(tallying.see_to_noise(market.world.sender, MEAN), MEAN)


def settle(market: TallyWorld, found: Decrypted) -> None:
    body = settlement_body(found)
    said = [post(url, "/tally-settlements", body, timeout=60) for url in market.urls[:2]]
    signatures = [(each["place"], bytes.fromhex(each["signature"][2:])) for each in said]
    settlement = found.settlement.abi_tuple()
    market.world.sender.send(
        "ResearchMarket", "settle", settlement, found.sealed_result, signatures
    )


def assert_within_noise(
    market: TallyWorld, request: bytes, found: Decrypted, people: list[tuple[Any, Any]]
) -> None:
    """The two sums of a mean, 2 q - R and a weighed count, each off by no more than all noise can be."""
    shares = market.question(request, "mean.v1", MEAN).shares
    room, far = 3 * shares.bound(3), 200 * len(PEOPLE)
    deviation, _ = market.opened(found.sealed_result, -room - far, room + far)
    assert abs(deviation - sum(2 * (systolic - 60) - 200 for systolic, _ in people)) <= room


def refusal(act: Callable[[], object]) -> Refusal:
    with pytest.raises(Refusal) as refused:
        act()
    return refused.value


# --- the whole way


def test_a_quorum_decrypts_the_sealed_cohorts_sums_with_noise_and_the_market_settles(
    market: TallyWorld,
) -> None:
    request = market.sealed("mean", "mean.v1", MEAN)
    found = answered(market, request)
    assert found.faults == {}
    assert_within_noise(market, request, found, PEOPLE)
    settle(market, found)
    assert market.world.chain.request(request).stage.name == "SETTLED"
    late = refusal(lambda: ask(market, 0, "/partials", request))
    assert late.code == "request_ended"


def test_every_message_is_answered_twice_with_the_same_bytes(market: TallyWorld) -> None:
    request = committed(market, "twice")
    assert commit(market, 1, request) == commit(market, 1, request)
    reveals = [ask(market, 1, "/noise-reveals", request, size=3) for _ in range(2)]
    assert reveals[0] == reveals[1]
    answered(market, request)
    partials = [ask(market, 1, "/partials", request) for _ in range(2)]
    assert partials[0] == partials[1]


def test_two_quorums_open_the_same_answer_and_either_is_signed(market: TallyWorld) -> None:
    """Nobody can hold a settlement up by bringing custodians another combination first."""
    request = committed(market, "quorums")
    first = answered(market, request)
    silent = [*market.peers[:1], unreachable(1), *market.peers[2:]]
    second = answered(market, request, silent)
    assert list(second.faults) == [1]
    assert [part.place for part in second.parts] == [0, 2]
    assert first.settlement.result_hash == second.settlement.result_hash
    assert first.sealed_result != second.sealed_result
    for found in (first, second):
        post(market.urls[2], "/tally-settlements", settlement_body(found), timeout=60)
    far = 10**6
    opened = [market.opened(each.sealed_result, -far, far) for each in (first, second)]
    assert opened[0] == opened[1]


# --- the order of things


def test_noise_is_revealed_only_once_all_commitments_are_on_chain(market: TallyWorld) -> None:
    request = market.sealed("early", "mean.v1", MEAN)
    commit(market, 0, request)
    early = refusal(lambda: ask(market, 0, "/noise-reveals", request, size=2))
    assert early.code == "not_yet_final"


def test_nothing_is_decrypted_before_the_noise_is_fixed_on_chain(market: TallyWorld) -> None:
    request = committed(market, "unfixed")
    early = refusal(lambda: ask(market, 0, "/partials", request))
    assert early.code == "not_yet_final"
    bare = market.sealed("bare", "mean.v1", MEAN)
    unasked = refusal(lambda: ask(market, 0, "/partials", bare))
    assert unasked.code == "not_committed"


def test_a_set_is_agreed_to_only_with_all_of_its_noise_verified_here(market: TallyWorld) -> None:
    request = committed(market, "unheld")
    missing = refusal(lambda: ask(market, 0, "/noise-sets", request, places=[0, 1, 2]))
    assert missing.code == "noise_missing"
    assert "at places 1, 2." in missing.message
    for places in ([0], [0, 0], [0, 7]):
        wrong = refusal(lambda places=places: ask(market, 0, "/noise-sets", request, places=places))
        assert wrong.code == "not_in_set"


# --- what is asked


@pytest.mark.parametrize(
    ("case", "changes", "parameters", "code"),
    daily_rows(
        [
            ("parameters", {}, {"variable": "smoker"}, "bad_parameter"),
            ("other", {}, MEAN | {"filters": {"smoker": "yes"}}, "bad_parameter"),
            ("kind", {"release_kind": 1}, MEAN, "wrong_release_kind"),
            ("lane", {"lane": 1}, MEAN, "wrong_lane"),
            ("key", {"delivery_key": bytes(31) + b"\x05"}, MEAN, "bad_parameter"),
        ],
        ["parameters", "kind", "lane"],
    ),
)
def test_no_noise_is_drawn_for_what_can_not_be_answered(
    market: TallyWorld, case: str, changes: dict[str, Any], parameters: dict[str, Any], code: str
) -> None:
    request = market.sealed(f"bad-{case}", "mean.v1", MEAN, **changes)
    asked = refusal(lambda: ask(market, 0, "/noise-commitments", request, parameters=parameters))
    assert asked.code == code
    assert market.custodians[0].decrypting._noises.of(request) is None


def test_parameters_of_another_question_are_refused(market: TallyWorld) -> None:
    request = market.sealed("others", "mean.v1", MEAN)
    smokers = MEAN | {"filters": [{"variable": "smoker", "op": "==", "value": "yes"}]}
    asked = refusal(lambda: ask(market, 0, "/noise-commitments", request, parameters=smokers))
    assert asked.code == "wrong_parameters"
    assert market.custodians[0].decrypting._noises.of(request) is None


# --- bad noise


def revealed(market: TallyWorld, place: int, request: bytes) -> tuple[Reveal, dict[str, Any]]:
    """Noise for a set of three, and its maker's word on the sums."""
    said = ask(market, place, "/noise-reveals", request, size=3)
    return Reveal.from_json(said["reveal"]), said["sums"]


def bring(
    market: TallyWorld, at: int, request: bytes, place: int, reveal: Reveal, word: dict[str, Any]
) -> dict[str, Any]:
    body = {"place": place, "reveal": reveal.to_json(), "sums": word}
    return ask(market, at, "/noise-contributions", request, **body)


def own_draw(market: TallyWorld, request: bytes, true: Reveal, scale: int) -> Reveal:
    """Another draw than what was committed to, with a proof that holds."""
    question = market.question(request, "mean.v1", MEAN)
    key = market.custodians[1].joint_shares.of(1).public_key
    by = question.session.contributor(1)
    drawn = contribute(question.shares, 3, key, by, lambda _, count: [scale] * count)
    return replace(true, contribution=drawn, digests=(true.digests[0], drawn.digest))


@pytest.mark.parametrize(
    "what", daily(["proof", "columns", "other draw", "size", "digests"], ["proof", "other draw"])
)
def test_noise_that_is_not_what_was_committed_to_is_named(market: TallyWorld, what: str) -> None:
    request = committed(market, f"noise-{what}")
    true, word = revealed(market, 1, request)
    made = true.contribution
    bent = {
        "proof": lambda: replace(
            true, contribution=replace(made, proof=made.proof[:-1] + bytes([made.proof[-1] ^ 1]))
        ),
        "columns": lambda: replace(
            true, contribution=replace(made, columns=made.columns[66:] + made.columns[:66])
        ),
        "other draw": lambda: own_draw(market, request, true, 0),
        "size": lambda: replace(true, size=2),
        "digests": lambda: replace(true, digests=(*true.digests[:1], bytes(32))),
    }[what]()
    held = refusal(lambda: bring(market, 0, request, 1, bent, word))
    assert held.code == "noise_invalid"
    assert "at place 1 " in held.message
    missing = refusal(lambda: ask(market, 0, "/noise-sets", request, places=[0, 1, 2]))
    assert "at places 1, 2." in missing.message
    shown = Showing("custodian 2", market.urls[1], bent=bent)
    tallying = market.tallying(request, "mean.v1", MEAN, [market.peers[0], shown, market.peers[2]])
    assert sorted(tallying.reveals(market.world.chain.noise_commitments(request))) == [0, 2]
    assert list(tallying.left_out) == [1]
    assert BENT[what] in tallying.left_out[1]


@dataclass(frozen=True)
class Showing(Peer):
    """A custodian that reveals something else than its noise, with its true word on the sums."""

    bent: Reveal = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        answer = super().post(path, body, most=most)
        is_own = path == "/noise-reveals" and body["place"] == 1
        return answer | {"reveal": self.bent.to_json()} if is_own else answer


UNLISTED = "does not list this contribution under its size"
BENT = {
    "proof": UNLISTED,
    "columns": UNLISTED,
    "other draw": "What the custodian at place 1 sent does not count: it is not what was committed to",
    "size": "What the custodian at place 1 sent does not count: it is of another size",
    "digests": UNLISTED,
}
"""What whoever carries the noise names the custodian at place 1 with."""


def test_noise_copied_from_another_custodian_is_refused(market: TallyWorld) -> None:
    """It would cancel, or double, the other's: a proof is of its maker's place."""
    request = market.sealed("copied", "mean.v1", MEAN)
    said = [commit(market, place, request) for place in range(3)]
    put_on_chain(market, request, said)
    copy, _ = revealed(market, 2, request)
    _, word = revealed(market, 1, request)
    held = refusal(lambda: bring(market, 0, request, 1, copy, word))
    assert held.code == "noise_invalid"
    assert "at place 1 " in held.message


def test_noise_of_another_request_is_refused(market: TallyWorld) -> None:
    first, second = committed(market, "replay-1"), committed(market, "replay-2")
    old, _ = revealed(market, 1, first)
    _, word = revealed(market, 1, second)
    held = refusal(lambda: bring(market, 0, second, 1, old, word))
    assert held.code == "noise_invalid"
    assert "at place 1 " in held.message


def test_noise_that_was_drawn_again_never_counts(market: TallyWorld) -> None:
    """As after a journal was restored from an old copy: the answers of two draws would tell the noise."""
    request = committed(market, "redrawn")
    with market.custodians[0].journal.writing() as session:
        session.delete(session.get_one(NoisedRow, request))
        session.query(ContributionRow).filter_by(request=request).delete()
    commit(market, 0, request)
    again = refusal(lambda: ask(market, 0, "/noise-reveals", request, size=3))
    assert again.code == "equivocation"
    found = answered(market, request)  # the others go on
    assert sorted(found.reveals) == [1, 2]
    assert market.world.chain.noise_set(request)[0] == (1, 2)
    assert_within_noise(market, request, found, PEOPLE)


def test_a_custodian_whose_own_noise_is_another_decrypts_nothing(market: TallyWorld) -> None:
    request = committed(market, "own-noise")
    tallying = market.tallying(request, "mean.v1", MEAN)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    with market.custodians[0].journal.writing() as session:
        session.get_one(NoisedRow, request).commitment = bytes(32)
    found = tallying.decrypt(fixed, MEAN)
    assert sorted(found.faults) == [0]
    assert [part.place for part in found.parts] == [1, 2]
    decrypted = refusal(lambda: ask(market, 0, "/partials", request))
    assert decrypted.code == "equivocation"


# --- silence


@dataclass(frozen=True)
class Frozen(Peer):
    """A custodian that takes every message, and from one on answers none of them."""

    path: str = ""
    thawed: threading.Event = field(default_factory=threading.Event)
    froze: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        if path == self.path:
            self.froze.set()
        if self.froze.is_set():
            self.thawed.wait()
        return super().post(path, body, most=most)


@pytest.mark.parametrize(
    "path",
    daily(
        [
            "/noise-commitments",
            "/noise-reveals",
            "/noise-contributions",
            "/noise-sets",
            "/partials",
        ],
        ["/noise-reveals"],
    ),
)
def test_a_custodian_that_freezes_is_done_without_from_then_on(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr(rounds, "GRACE_SECONDS", 6.0)
    monkeypatch.setattr(rounds.Rounds, "set_seconds", 6.0)
    request = market.sealed(f"frozen-{path}", "mean.v1", MEAN)
    frozen = Frozen("custodian 2", market.urls[1], path=path)
    peers = [market.peers[0], frozen, market.peers[2]]
    tallying = market.tallying(request, "mean.v1", MEAN, peers)
    found = asked(lambda: tallying.decrypt(tallying.see_to_noise(market.world.sender, MEAN), MEAN))
    assert frozen.froze.is_set()
    assert [part.place for part in found.parts] == [0, 2]
    assert found.faults == {1: rounds.SILENT}
    is_heard = path in ("/noise-commitments", "/noise-reveals")
    assert tallying.left_out == ({1: rounds.SILENT} if is_heard else {})
    frozen.thawed.set()


# --- bad answers


@dataclass(frozen=True)
class Lying(Peer):
    """A custodian that changes what it says."""

    lie: str = field(kw_only=True)
    agreed: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        try:
            return LIES[self.lie](path, super().post(path, body, most=most))
        finally:
            if path == "/noise-sets":
                self.agreed.set()


@dataclass(frozen=True)
class Slower(Peer):
    """Agrees to a set after another did: nobody waits to hear who is not needed."""

    other: Lying = field(kw_only=True)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        if path == "/noise-sets":
            assert self.other.agreed.wait(GIVE_UP)
            time.sleep(0.3)
        return super().post(path, body, most=most)


def with_a_liar(market: TallyWorld, lie: str) -> list[Peer]:
    """At place 1."""
    first, second, third = market.peers
    liar = Lying(second.name, second.url, lie=lie)
    return [first, liar, Slower(third.name, third.url, other=liar)]


def unreachable(place: int) -> Peer:
    return Peer(f"custodian {place + 1}", "http://127.0.0.1:9")


def _lie(
    path: str, field: str, change: Callable[[Any], Any]
) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    def lie(asked: str, answer: dict[str, Any]) -> dict[str, Any]:
        return answer | {field: change(answer[field])} if asked == path else answer

    return lie


def _flip(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[10] ^= 1
    return to_base64(bytes(raw))


LIES: dict[str, Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    "commitment": _lie("/noise-commitments", "commitment", lambda _: "0x" + "11" * 32),
    "reveal": _lie(
        "/noise-reveals", "reveal", lambda reveal: reveal | {"proof": _flip(reveal["proof"])}
    ),
    "word": _lie("/noise-reveals", "sums", lambda word: word | {"digest": "0x" + "33" * 32}),
    "agreement": _lie("/noise-sets", "signature", lambda _: "0x" + "11" * 65),
    "partial": _lie("/partials", "partial", _flip),
    "root": _lie("/partials", "ciphertext_root", lambda _: "0x" + "22" * 32),
    "sums": _lie(
        "/partials",
        "noised",
        lambda _: to_base64(b"".join(times_base(i).to_bytes() for i in range(2, 6))),
    ),
}


UNSIGNED = "The signature is not that of 0x"
UNPROVED = (
    "What the custodian at place 1 sent does not count: its proof does not hold for this holder"
)
NAMED = {
    "commitment": UNSIGNED,
    "reveal": UNLISTED,
    "word": UNSIGNED,
    "agreement": "The signature is not 65 bytes that end in 27 or 28",
    "partial": UNPROVED,
    "root": UNPROVED,
    "sums": UNPROVED,
}
"""What the custodian at place 1 is named with."""
LATE = frozenset({"partial", "root", "sums"})
"""Lies about what is decrypted, once the noise is fixed."""


@pytest.mark.parametrize(
    "lie", daily(sorted(LIES), ["commitment", "word", "agreement", "partial", "sums"])
)
def test_a_lying_custodian_is_named_and_the_quorum_goes_on(market: TallyWorld, lie: str) -> None:
    request = market.sealed(f"lie-{lie}", "mean.v1", MEAN)
    tallying = market.tallying(request, "mean.v1", MEAN, with_a_liar(market, lie))
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    found = tallying.decrypt(fixed, MEAN)
    if lie in LATE:
        assert tallying.left_out == {}
        assert [part.place for part in found.parts] == [0, 2]
    named = found.faults if lie in LATE else tallying.left_out
    assert list(named) == [1]
    assert NAMED[lie] in named[1]
    assert set(found.faults) <= {1}
    assert_within_noise(market, request, found, PEOPLE)
    settle_with(market, found, [0, 2])


@pytest.mark.parametrize("lie", ["commitment", "agreement"])
def test_the_operators_log_names_whom_a_quorum_went_on_without(
    market: TallyWorld, lie: str
) -> None:
    request = market.sealed(f"log-{lie}", "mean.v1", MEAN)
    view = market.world.chain.request(request)
    sealed = Sealed(request, view.root, view.members, view.epoch, view.gate)
    lane = TallyLane(market.world.chain, tuple(with_a_liar(market, lie)))
    with capture_logs() as logs:
        lane.see_to_noise(market.world.sender, sealed, MEAN, market.world.dictionary)
    (said,) = [each for each in logs if each["event"] == "custodian_left_out"]
    assert said["place"] == 1
    assert NAMED[lie] in said["message"]
    assert said["log_level"] == "warning"


def settle_with(market: TallyWorld, found: Decrypted, places: list[int]) -> None:
    for place in places:
        post(market.urls[place], "/tally-settlements", settlement_body(found), timeout=60)


def test_without_a_quorum_the_missing_custodians_are_named(market: TallyWorld) -> None:
    request = market.sealed("alone", "mean.v1", MEAN)
    peers = [market.peers[0], unreachable(1), unreachable(2)]
    tallying = market.tallying(request, "mean.v1", MEAN, peers)
    with pytest.raises(TallyMissing) as missing:
        tallying.see_to_noise(market.world.sender, MEAN)
    assert sorted(missing.value.facts["faults"]) == ["1", "2"]


# --- the settlement


@pytest.fixture(scope="module")
def decrypted(market: TallyWorld) -> Decrypted:
    return answered(market, committed(market, "to-settle"))


MISNAMED: dict[str, Any] = {
    "root": bytes(32),
    "epoch": 7,
    "lane": 1,
    "schema": 2,
    "ciphertext_root": b"\x01" * 32,
    "noise": bytes(32),
    "result_hash": b"\x02" * 32,
    "delivery_hash": b"\x03" * 32,
    "gate": "0x" + "11" * 20,
}


@pytest.mark.parametrize("field", sorted(MISNAMED))
def test_a_settlement_of_anything_else_is_not_signed(
    market: TallyWorld, decrypted: Decrypted, field: str
) -> None:
    settlement: Settlement = replace(decrypted.settlement, **{field: MISNAMED[field]})
    body = settlement_body(replace(decrypted, settlement=settlement))
    refused = refusal(lambda: post(market.urls[0], "/tally-settlements", body, timeout=60))
    assert refused.code == "settlement_mismatch"
    named = solidity_name(field)
    assert refused.field == named
    assert f"settlement's {named} " in refused.message


@pytest.mark.parametrize("what", ["flipped", "another's", "too few", "sealed"])
def test_a_sealed_result_that_is_no_quorums_is_not_signed(
    market: TallyWorld, decrypted: Decrypted, what: str
) -> None:
    body = settlement_body(decrypted)
    first, second = body["partials"]
    body["partials"] = {
        "flipped": [first, second | {"partial": _flip(second["partial"])}],
        "another's": [first, {"place": 2, "partial": second["partial"]}],
        "too few": [first],
        "sealed": [first, second],
    }[what]
    if what == "sealed":
        other = ask(market, 2, "/partials", decrypted.settlement.request)
        body["partials"] = [first, {"place": 2, "partial": other["partial"]}]
    refused = refusal(lambda: post(market.urls[0], "/tally-settlements", body, timeout=60))
    code, field, said = {
        "flipped": ("partial_invalid", "partials", "The partial at place 1 does not count: "),
        "another's": ("partial_invalid", "partials", "The partial at place 2 does not count: "),
        "too few": ("partial_invalid", "partials", "exactly 2 are combined"),
        "sealed": ("settlement_mismatch", "deliveryHash", "The settlement's deliveryHash "),
    }[what]
    assert (refused.code, refused.field) == (code, field)
    assert said in refused.message


def test_once_it_is_fixed_whose_noise_counts_nothing_else_is_kept(market: TallyWorld) -> None:
    """Else strangers could fill a disk with what every size of the set has."""
    request = committed(market, "sizes")
    small = ask(market, 1, "/noise-reveals", request, size=2)
    market.tallying(request, "mean.v1", MEAN).see_to_noise(market.world.sender, MEAN)
    assert market.world.chain.noise_set(request)[0] == (0, 1, 2)
    reveal = Reveal.from_json(small["reveal"])
    held = refusal(partial(bring, market, 0, request, 1, reveal, small["sums"]))
    assert held.code == "not_in_set"
    bring(market, 0, request, 1, *revealed(market, 1, request))


# --- custodians that disagree


def differing(market: TallyWorld, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this custodian adds up other sums than the others: the first of them twice."""
    tallies = market.custodians[place].tallies
    honest = tallies.sums

    def twice(*given: Any) -> list[Sum]:
        first, *others = honest(*given)
        return [first + first, *others]

    monkeypatch.setattr(tallies, "sums", twice)


def test_a_custodian_that_adds_up_something_else_is_left_out_before_any_noise_counts(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    differing(market, 0, monkeypatch)
    request = committed(market, "differs")
    for at, maker in ((0, 1), (1, 0)):
        held = refusal(
            partial(bring, market, at, request, maker, *revealed(market, maker, request))
        )
        assert held.code == "sums_differ"
        assert f"at place {maker} " in held.message
    tallying = market.tallying(request, "mean.v1", MEAN)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    assert fixed.places == (1, 2)
    found = tallying.decrypt(fixed, MEAN)
    assert [part.place for part in found.parts] == [1, 2]
    assert_within_noise(market, request, found, PEOPLE)


def test_who_differs_is_named_by_whoever_carries_the_noise(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    differing(market, 2, monkeypatch)
    request = committed(market, "named")
    tallying = market.tallying(request, "mean.v1", MEAN)
    chosen = tallying.reveals(market.world.chain.noise_commitments(request))
    assert sorted(chosen) == [0, 1]
    assert tallying.faults == {2: "Its sums are not those of the others."}


def fix(market: TallyWorld, request: bytes, places: list[int], signers: list[int]) -> None:
    """By the keys of these custodians, past everything that they would check."""
    chain, world = market.world.chain, market.world
    view, commitments = chain.request(request), chain.noise_commitments(request)
    one = NoiseCommitment(request, view.root, view.epoch, 0, bytes(32))
    chosen = {place: commitments[place] for place in places}
    struct = NoiseSet.of(chain.domain("ResearchMarket"), one, chosen)
    domain = chain.domain("NoiseRegistry")
    signed = [
        (place, sign(struct, domain, market.custodians[place].keys.signer.secret))
        for place in signers
    ]
    bitmap = sum(1 << place for place in places)
    world.sender.send("NoiseRegistry", "fixNoise", request, bitmap, signed)


def test_whatever_a_quorum_fixes_custodians_that_disagree_decrypt_nothing(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two sums under one noise: their difference, without any, is one patient's record."""
    differing(market, 0, monkeypatch)
    request = committed(market, "one aggregate")
    shown = {place: revealed(market, place, request) for place in range(3)}
    for at, maker in permutations(range(3), 2):
        bringing = partial(bring, market, at, request, maker, *shown[maker])
        if 0 in (at, maker):
            assert refusal(bringing).code == "sums_differ"
        else:
            bringing()
    fix(market, request, [0, 1, 2], [1, 2])
    for at, lacks in ((0, "places 1, 2."), (1, "places 0."), (2, "places 0.")):
        asked = refusal(partial(ask, market, at, "/partials", request))
        assert asked.code == "noise_missing"
        assert lacks in asked.message


def test_a_word_that_its_custodian_did_not_sign_is_refused(market: TallyWorld) -> None:
    first, second = committed(market, "words-1"), committed(market, "words-2")
    made, mine = revealed(market, 1, second)
    _, others = revealed(market, 2, second)
    _, old = revealed(market, 1, first)
    for signature in (others["signature"], old["signature"], "0x" + "11" * 65):
        word = mine | {"signature": signature}
        held = refusal(partial(bring, market, 0, second, 1, made, word))
        assert held.code == "word_invalid"
        assert "at place 1 " in held.message
    bring(market, 0, second, 1, made, mine)


def test_who_serves_anothers_noise_signs_nothing_of_its_own(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = committed(market, "served")
    made, word = revealed(market, 1, request)
    bring(market, 0, request, 1, made, word)

    counting, signed = market.custodians[0].decrypting.counting, list[object]()
    honest = counting.word

    def signing(live: Any) -> SumsWord:
        signed.append(live)
        return honest(live)

    monkeypatch.setattr(counting, "word", signing)
    assert ask(market, 0, "/noise-reveals", request, size=3, place=1)["sums"] == word
    assert signed == []
    revealed(market, 0, request)
    assert len(signed) == 1  # its own word it signs


def test_noise_that_is_held_without_its_makers_word_does_not_count(market: TallyWorld) -> None:
    """As in a journal of before there were words."""
    request = committed(market, "wordless")
    made, word = revealed(market, 1, request)
    bring(market, 0, request, 1, made, word)
    with market.custodians[0].journal.writing() as session:
        session.get_one(ContributionRow, (request, 1, 3)).sums_signature = None
    for _ in range(2):
        agreed = refusal(lambda: ask(market, 0, "/noise-sets", request, places=[0, 1, 2]))
        assert "at places 1, 2." in agreed.message
    shown = refusal(lambda: ask(market, 0, "/noise-reveals", request, size=3, place=1))
    assert shown.code == "noise_missing"
    bring(market, 0, request, 1, made, word)
    assert ask(market, 0, "/noise-reveals", request, size=3, place=1)["sums"] == word


@pytest.mark.parametrize("what", daily(["sums", "block"], ["sums"]))
def test_what_was_said_of_the_sums_is_never_said_otherwise(market: TallyWorld, what: str) -> None:
    request = committed(market, f"said-{what}")
    revealed(market, 0, request)
    with market.custodians[0].journal.writing() as session:
        row = session.get_one(NoisedRow, request)
        if what == "sums":
            row.sums = times_base(5).to_bytes() * 2 + (row.sums or b"")[66:]
        else:
            row.noise_block_hash = bytes(32)
    again = refusal(lambda: revealed(market, 0, request))
    assert again.code == "equivocation"
    found = answered(market, request)  # the others go on
    assert [part.place for part in found.parts] == [1, 2]


def test_what_was_decrypted_before_there_were_words_is_never_said(market: TallyWorld) -> None:
    """Sums were as of another block then: a word on today's would have others decrypt those, too."""
    request = committed(market, "before-words")
    with market.custodians[0].journal.writing() as session:
        session.get_one(NoisedRow, request).aggregate = bytes(32)
    assert refusal(lambda: revealed(market, 0, request)).code == "equivocation"


def test_a_partial_of_another_aggregate_than_the_journals_is_not_shown_again(
    market: TallyWorld,
) -> None:
    request = committed(market, "another aggregate")
    answered(market, request)
    with market.custodians[0].journal.writing() as session:
        session.get_one(NoisedRow, request).aggregate = bytes(32)
    assert refusal(lambda: ask(market, 0, "/partials", request)).code == "equivocation"


def word_on(market: TallyWorld, request: bytes, place: int, digest: bytes) -> dict[str, str]:
    """Signed with this custodian's own key, whatever it adds up."""
    view, domain = market.world.chain.request(request), market.world.chain.domain("NoiseRegistry")
    struct = CountedSums(request, view.root, view.epoch, place, digest)
    key = market.custodians[place].keys.signer.secret
    return SumsWord(digest, sign(struct, domain, key)).to_json()


class TwoWords(Peer):
    """Says to the carrier, once its noise counts, that it added up something else; then it is silent."""

    word: dict[str, str]

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        if path in ("/partials", "/noise-sets"):
            raise Refusal(code="silent", message="It is silent.", remedy="Go on without it.")
        answer = super().post(path, body, most=most)
        return answer | {"sums": self.word} if path == "/noise-reveals" else answer


def test_who_says_two_things_of_the_sums_keeps_no_quorum_from_an_answer(
    market: TallyWorld,
) -> None:
    """One custodian lacks the set's noise; the liar's word for it is fetched from who was given that."""
    request = committed(market, "two words")
    shown = {place: revealed(market, place, request) for place in range(3)}
    for maker in (1, 2):
        bring(market, 0, request, maker, *shown[maker])
    fix(market, request, [0, 1, 2], [0, 2])
    liar = TwoWords("liar", market.urls[2])
    liar.word = word_on(market, request, 2, b"\x07" * 32)
    tallying = market.tallying(request, "mean.v1", MEAN, [*market.peers[:2], liar])
    fixed = tallying.fixed()
    assert fixed is not None
    found = tallying.decrypt(fixed, MEAN)
    assert [part.place for part in found.parts] == [0, 1]
    assert_within_noise(market, request, found, PEOPLE)


def test_a_custodian_that_forgot_a_request_says_so(market: TallyWorld) -> None:
    request = committed(market, "forgotten")
    market.custodians[0].decrypting._noises.end(request)
    for path, body in (("/noise-reveals", {"size": 3}), ("/noise-sets", {"places": [0, 1]})):
        ended = refusal(partial(ask, market, 0, path, request, **dict[str, Any](body)))
        assert ended.code == "request_ended"


def test_sums_are_kept_once_the_commitments_are_final_and_again_after_a_reorganisation(
    market: TallyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = market.sealed("keeping", "mean.v1", MEAN)
    put_on_chain(market, request, [commit(market, place, request) for place in range(3)])
    custodian = market.custodians[0]
    counting, noises = custodian.decrypting.counting, custodian.decrypting._noises

    def kept() -> NoisedRow:
        row = noises.of(request)
        assert row is not None
        return row

    final = custodian.chain.finalized()
    with monkeypatch.context() as early:
        early.setattr(custodian.chain, "finalized", lambda: kept().seal_block)
        counting.keep()
        assert kept().sums is None
    assert custodian.chain.finalized() >= final
    counting.keep()
    true = kept().sums
    assert true is not None
    with custodian.journal.writing() as session:
        row = session.get_one(NoisedRow, request)
        row.noise_block_hash, row.sums = bytes(32), times_base(7).to_bytes() * 4
    counting.keep()
    assert kept().sums == true


# --- who counts


def test_a_custodian_that_lacks_a_record_says_so_and_the_others_answer(
    market: TallyWorld,
) -> None:
    market.world.tick()
    market.seal("late", 200, "no")
    market.store(["late"], [1, 2])
    request = market.sealed("lacking", "mean.v1", MEAN)
    found = answered(market, request)
    assert sorted(found.reveals) == [1, 2]
    assert [part.place for part in found.parts] == [1, 2]
    missing = refusal(partial(ask, market, 0, "/noise-reveals", request, size=3))
    assert missing.code == "records_missing"
    assert "1 of the records" in missing.message
    assert refusal(partial(ask, market, 0, "/partials", request)).code == "not_in_set"
    market.deposit(account("late").address, 0)
    mine = ask(market, 0, "/noise-reveals", request, size=3)["sums"]["digest"]
    assert mine == ask(market, 1, "/noise-reveals", request, size=3)["sums"]["digest"]


def test_an_erasure_before_the_noise_commitments_takes_the_record_out_and_after_them_it_does_not(
    market: TallyWorld,
) -> None:
    people = {"early-eraser": (250, "no"), "late-eraser": (240, "no"), "last-eraser": (230, "no")}
    market.enrol(people)
    request = market.sealed("erased", "mean.v1", MEAN)
    said = [commit(market, place, request) for place in range(3)]
    market.world.erase(account("early-eraser"))
    put_on_chain(market, request, said)
    market.world.erase(account("late-eraser"))
    catch_up(market)
    tallying = market.tallying(request, "mean.v1", MEAN)
    fixed = tallying.see_to_noise(market.world.sender, MEAN)
    assert fixed.places == (0, 1, 2)
    market.world.erase(account("last-eraser"))
    catch_up(market)
    for custodian in market.custodians.values():
        commitments = [market.world.records[account(each).address].commitment for each in people]
        assert [custodian.tallies.of(each) for each in commitments] == [None] * 3
    found = tallying.decrypt(fixed, MEAN)
    assert found.faults == {}
    chain = market.world.chain
    cohort = chain.sealed_cohort(request)
    again = committed_noise(chain, request, cohort.seal_block)
    assert again is not None
    used = counted(chain, cohort, again.block)
    root = ciphertext_root([Commitment(each.commitment) for each in used])
    assert root == found.settlement.ciphertext_root
    assert sum(each.usable for each in used) == len(used) - 1


def catch_up(market: TallyWorld) -> None:
    """Every custodian takes in what was erased, and destroys it."""
    for custodian in market.custodians.values():
        custodian.watch.catch_up()


@pytest.mark.parametrize("when", daily(["before", "after"], ["after"]))
def test_a_record_that_was_erased_and_stored_again_stops_no_answer_sealed_before(
    market: TallyWorld, when: str
) -> None:
    """Before the commitments it does not count, after them as it was: else the erased version is gone, and
    would be waited for.
    """
    name = f"back-{when}"
    market.enrol({name: (250, "no")})
    request = market.sealed(name, "mean.v1", MEAN) if when == "before" else committed(market, name)
    patient = account(name)
    market.world.erase(patient)
    catch_up(market)
    market.seal(name, 80, "no", version=2)
    market.world.attest([patient.address], version=2)
    stored = [market.deposit(patient.address, place) for place in range(3)]
    market.world.confirm({patient.address: stored})
    assert market.world.chain.record_of(market.world.dataset, patient.address).version == 2
    found = answered(market, request)
    assert found.faults == {}
    assert len(found.parts) == 2
