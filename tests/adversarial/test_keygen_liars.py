"""Custodians that lie in a key generation: each is named by place, nobody else is, and the others go on."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flask
import pytest

from marketplace.custodian.keygen_seats import Seats
from marketplace.custodian.keygen_shares import ReceivedShares
from marketplace.custodian.service import Custodian
from marketplace.errors import Refusal
from marketplace.keygen import Generated, generate, new_session, record
from marketplace.peers import Peer
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    FINISH,
    REVEAL,
    Dealt,
    KeygenFailed,
    Said,
    Session,
    answer_body,
    commit_body,
    complaint_body,
)
from marketplace.wire.keygen_words import answer_fields, dealt_fields, word
from marketplace.wire.structs import JointKey, sign
from ml.homomorphic.curve import points_from_bytes, times_base
from ml.homomorphic.keygen import deal, draw
from ml.homomorphic.threshold import share_key
from tests.support.custody_world import served
from tests.support.daily import daily
from tests.support.keygen_world import Faulty, Hosts, faulty, hosts_at, successor

Word = dict[str, Any]
Bend = Callable[["Liar", Session, Word], Any]
"""(who lies, the session, its true word) -> what it says instead."""


@dataclass
class Liar:
    """The custodian of a place, as it would be with another program: its keys are its own."""

    hosts: Hosts
    place: int
    bends: Mapping[int, Bend]
    committed: Word | None = None  # by its honest part, which is shown that one

    def said(self, body: dict[str, Any]) -> Any:
        for at, each in enumerate(body["said"].get("commits", [])):
            if each["place"] == self.place and self.committed is not None:
                body["said"]["commits"][at] = self.committed
        told = Peer("honest", self.hosts.urls[self.place]).post("/keygen", body)
        if body["round"] == COMMIT:
            self.committed = dict(told)
        bend = self.bends.get(body["round"])
        return told if bend is None else bend(self, session_of(self.hosts, body), told)

    @property
    def secret(self) -> bytes:
        return self.hosts.custodians[self.place].keys.signer.secret

    def word(self, session: Session, number: int, body: bytes, place: int | None = None) -> Word:
        at = self.place if place is None else place
        domain = self.hosts.world.chain.domain("CustodianCommittee")
        return word(session, domain, self.secret, number, at, body)

    def dealt(self, session: Session, dealt: Dealt) -> Word:
        return self.word(session, REVEAL, dealt.body) | dealt_fields(dealt)


def session_of(hosts: Hosts, body: Mapping[str, Any]) -> Session:
    told, chain = body["session"], hosts.world.chain
    nonce = bytes.fromhex(told["nonce"][2:])
    address = chain.manifest.address("CustodianCommittee")
    return Session(chain.chain_id, address, told["epoch"], told["origin"], nonce, told["deadline"])


@contextmanager
def lying(hosts: Hosts, liars: Mapping[int, Mapping[int, Bend]]) -> Iterator[list[Peer]]:
    """The market's custodians by place, those of `liars` with this program: what it bends, by round."""
    peers = hosts.peers()
    with ExitStack() as stack:
        for place, bends in liars.items():
            peers[place] = Peer(
                f"liar {place}", stack.enter_context(served(_app(hosts, place, bends)))
            )
        yield peers


def _app(hosts: Hosts, place: int, bends: Mapping[int, Bend]) -> flask.Flask:
    app, liar = flask.Flask(f"liar{place}"), Liar(hosts, place, bends)

    @app.post("/keygen")
    def keygen() -> flask.Response:
        try:
            told = liar.said(flask.request.get_json())
        except Refusal as refusal:
            refused = {"code": refusal.code, "detail": refusal.message, "remedy": refusal.remedy}
            return flask.Response(json.dumps(refused), 422, mimetype="application/problem+json")
        return flask.Response(json.dumps(told), mimetype="application/json")

    return app


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with hosts_at(tmp_path_factory.mktemp("liars")) as made:
        yield made


def run(hosts: Hosts, bends: Mapping[int, Bend], place: int = 0) -> Generated:
    with lying(hosts, {place: bends}) as peers:
        return generate(hosts.world.chain, hosts.world.operator, peers, peers, hosts.session())


def accused(generated: Generated) -> set[tuple[str, int]]:
    return {(each.role, each.place) for each in generated.faults}


# --- what it says


def other_session(number: int) -> Bend:
    """A word of its own of another session of the same epoch."""

    def bend(liar: Liar, session: Session, told: Word) -> Word:
        another = new_session(liar.hosts.world.chain, session.epoch)
        return told | {"signature": liar.word(another, number, body_of(told))["signature"]}

    return bend


def body_of(told: Word) -> bytes:
    return bytes.fromhex(told["body"][2:])


def other_dealing(liar: Liar, session: Session, told: Word) -> Word:
    """Valid, and not what it committed to."""
    made = deal(draw(2), session.dealing_context(liar.place)).to_bytes()
    read = tuple(b64decode(each) for each in told["envelopes"])
    return liar.dealt(session, Dealt(made, read))


def envelopes(*places: int, number: int = 3) -> Bend:
    """Envelopes for these places are garbage; there are `number` of them."""

    def bend(liar: Liar, session: Session, told: Word) -> Word:
        read = [b64decode(each) for each in told["envelopes"]]
        bent = tuple(bytes(80) if at in places else each for at, each in enumerate(read))
        dealing = bytes.fromhex(told["dealing"][2:])
        return liar.dealt(session, Dealt(dealing, bent[:number]))

    return bend


def long_dealing(liar: Liar, session: Session, told: Word) -> Word:
    """Signed, and larger than any dealing."""
    return liar.dealt(session, Dealt(bytes(5_000), tuple(map(b64decode, told["envelopes"]))))


def committed(dealing: Callable[[Liar, Session], bytes]) -> dict[int, Bend]:
    """Commits to a dealing of its own making, and reveals that."""
    made: dict[bytes, bytes] = {}

    def commit(liar: Liar, session: Session, told: Word) -> Word:
        made[session.id] = dealing(liar, session)
        return liar.word(session, COMMIT, commit_body(made[session.id]))

    def reveal(liar: Liar, session: Session, told: Word) -> Word:
        return liar.dealt(session, Dealt(made[session.id], (b"", b"", b"")))

    return {COMMIT: commit, REVEAL: reveal}


def answered(shares: Callable[[Mapping[int, int]], Mapping[int, int]]) -> Bend:
    """Other shares in the open than it dealt, well signed."""

    def bend(liar: Liar, session: Session, told: Word) -> Word:
        right = {int(place): int(share, 16) for place, share in told["shares"].items()}
        bent = shares(right)
        return liar.word(session, ANSWER, answer_body(bent)) | answer_fields(bent)

    return bend


def complains(*dealers: int) -> Bend:
    """Well signed, of whomever."""

    def bend(liar: Liar, session: Session, told: Word) -> Word:
        said = liar.word(session, COMPLAIN, complaint_body(dealers))
        return said | {"dealers": list(dealers)}

    return bend


def other_key(liar: Liar, session: Session, told: Word) -> Word:
    """Signs a key of its own."""
    raw = b"".join(times_base(each).to_bytes() for each in (5, 6))
    struct = JointKey(session.epoch, raw, bytes(32))
    domain = liar.hosts.world.chain.domain("CustodianCommittee")
    signed = {"commitments": to_hex(raw), "transcript": to_hex(bytes(32))}
    return told | signed | {"signature": to_hex(sign(struct, domain, liar.secret))}


def garbled(_liar: Liar, _session: Session, _told: Word) -> object:
    """Says what is no object at all."""
    return ["no", "object"]


EVERYBODY, OTHERS = [0, 1, 2], [1, 2]
LIES: dict[str, tuple[Mapping[int, Bend], str, str, list[int]]] = {
    # its commitment does not count, and so it does not deal; as a holder it behaves, and has a share
    "no object": ({COMMIT: garbled}, "dealer", "", EVERYBODY),
    "more than a word": (
        {COMMIT: lambda _l, _s, told: told | {"more": "x" * 20_000}},
        "dealer",
        "word.more is unknown",
        EVERYBODY,
    ),
    "another body": (
        {COMMIT: lambda _l, _s, told: told | {"body": to_hex(bytes(32))}},
        "dealer",
        "is not that of",
        EVERYBODY,
    ),
    "a short body": (
        {COMMIT: lambda _l, _s, told: told | {"body": "0x00"}},
        "dealer",
        "word.body",
        EVERYBODY,
    ),
    "a word of another session": (
        {COMMIT: other_session(COMMIT)},
        "dealer",
        "is not that of",
        EVERYBODY,
    ),
    "a word of another round": (
        {COMMIT: lambda liar, s, told: liar.word(s, REVEAL, body_of(told))},
        "dealer",
        "is not that of",
        EVERYBODY,
    ),
    "the place of another": (
        {COMMIT: lambda liar, s, told: liar.word(s, COMMIT, body_of(told), place=1)},
        "dealer",
        "place 1",
        EVERYBODY,
    ),
    "a place that nobody has": (
        {COMMIT: lambda liar, s, told: liar.word(s, COMMIT, body_of(told), place=9)},
        "dealer",
        "is no member's",
        EVERYBODY,
    ),
    "no signature": (
        {COMMIT: lambda _l, _s, told: told | {"signature": "0x"}},
        "dealer",
        "not 65 bytes",
        EVERYBODY,
    ),
    "a dealing that it did not commit to": (
        {REVEAL: other_dealing},
        "dealer",
        "another dealing than it committed to",
        OTHERS,
    ),
    "a dealing that is too long": (
        {REVEAL: long_dealing},
        "dealer",
        "word.dealing",
        EVERYBODY,
    ),
    "an unsigned dealing": (
        {REVEAL: lambda _l, _s, told: told | {"envelopes": [to_base64(bytes(80))] * 3}},
        "dealer",
        "word.body is not the hash",
        EVERYBODY,
    ),
    "points that are none": (
        committed(lambda *_: bytes(130)),
        "dealer",
        "a commitment is not a point",
        OTHERS,
    ),
    "a key that it does not know": (
        committed(lambda *_: deal(draw(2), bytes(32)).to_bytes()),
        "dealer",
        "does not show that it knows",
        OTHERS,
    ),
    "a polynomial of another degree": (
        committed(lambda liar, s: deal(draw(3), s.dealing_context(liar.place)).to_bytes()),
        "dealer",
        "wrong length",
        OTHERS,
    ),
    "too few envelopes": (
        {REVEAL: envelopes(number=2)},
        "dealer",
        "3 holders complain of it",
        EVERYBODY,
    ),
    "envelopes that do not open": (
        {REVEAL: envelopes(1, 2)},
        "dealer",
        "2 holders complain of it",
        EVERYBODY,
    ),
    "a wrong share in the open": (
        {
            REVEAL: envelopes(2),
            ANSWER: answered(lambda right: {at: each + 1 for at, each in right.items()}),
        },
        "dealer",
        "answered place 2 with a wrong share",
        OTHERS,
    ),
    "a share in the open for somebody else": (
        {REVEAL: envelopes(2), ANSWER: answered(lambda right: {1: right[2]})},
        "dealer",
        "did not answer the complaint of place 2",
        OTHERS,  # what it answered was left out, by its own program: that one signs nothing
    ),
    "a garbled answer": (
        {
            REVEAL: envelopes(2),
            ANSWER: lambda _l, _s, told: told | {"shares": {"\u00b2": to_hex(bytes(32))}},
        },
        "dealer",
        "word.shares",
        OTHERS,
    ),
    # it complains as nobody can read: then it has no share, and no key is recorded
    "complaints in disorder": ({COMPLAIN: complains(2, 1)}, "holder", "word.dealers", OTHERS),
    "a complaint of nobody": ({COMPLAIN: complains(9)}, "holder", "word.dealers", OTHERS),
    "a complaint of another session": (
        {COMPLAIN: other_session(COMPLAIN)},
        "holder",
        "is not that of",
        OTHERS,
    ),
    "a key of its own": ({FINISH: other_key}, "holder", "another outcome", OTHERS),
    "a signature of nothing": (
        {FINISH: lambda _l, _s, told: told | {"signature": "0x" + "11" * 64 + "1b"}},
        "holder",
        "round 5",
        OTHERS,
    ),
    "hexadecimal that is none": (
        {FINISH: lambda _l, _s, told: told | {"transcript": "0x" + "zz" * 32}},
        "holder",
        "round 5",
        OTHERS,
    ),
    "commitments without end": (
        {FINISH: lambda _l, _s, told: told | {"commitments": "0x" + "00" * 20_000}},
        "holder",
        "word.commitments",
        OTHERS,
    ),
    "more than anybody reads": (
        {FINISH: lambda _l, _s, told: told | {"commitments": "0x" + "00" * 100_000}},
        "holder",
        "round 5",
        OTHERS,
    ),
    "no object at the end": ({FINISH: garbled}, "holder", "round 5", OTHERS),
}


DAILY = [  # one of each round
    "a word of another session",
    "a dealing that it did not commit to",
    "envelopes that do not open",
    "complaints in disorder",
    "a wrong share in the open",
    "a key of its own",
]


@pytest.mark.parametrize("lie", daily(sorted(LIES), DAILY))
def test_a_lying_custodian_is_named_nobody_else_is_and_the_others_make_the_key(
    hosts: Hosts, lie: str
) -> None:
    bends, role, why, signers = LIES[lie]
    generated = run(hosts, bends)
    assert [place for place, _ in generated.signatures] == signers, generated.faults
    assert (role, 0) in accused(generated)
    assert {place for _, place in accused(generated)} == {0}, generated.faults
    told = [each.why for each in generated.faults if each.role == role]
    assert any(why in each for each in told), told
    signer = hosts.custodians[0].keys.signer.address
    assert {each.signer for each in generated.faults} == {signer}
    points = points_from_bytes(generated.commitments)
    for place in OTHERS:
        row = hosts.custodians[place].joint_shares.held(generated.commitments)
        assert row is not None
        share = hosts.custodians[place].keys.unlock(row.sealed, row.commitments)
        assert times_base(int.from_bytes(share, "big")) == share_key(points, place + 1)


class Slander(ReceivedShares):
    """Complains of the dealer at place 1, whatever that one sent."""

    def complaints(self, seats: Seats, said: Said) -> list[int]:
        return [1]


class Slanderer(Faulty):
    """An honest program but for that."""

    @classmethod
    def of(cls, custodian: Custodian) -> Faulty:
        made = super().of(custodian)
        made._received = Slander(custodian.keys, custodian.rules.place)
        return made


def test_a_complaint_of_an_honest_dealer_has_it_open_one_share_and_changes_nothing_else(
    hosts: Hosts,
) -> None:
    with faulty(hosts, 0, Slanderer):
        generated = hosts.generate()
    assert generated.faults == ()
    assert [place for place, _ in generated.signatures] == EVERYBODY


def test_two_liars_of_three_are_both_named_and_there_is_no_key(hosts: Hosts) -> None:
    liars: dict[int, Mapping[int, Bend]] = {
        0: {COMMIT: lambda _l, _s, told: told | {"signature": "0x"}},
        2: committed(lambda *_: bytes(130)),
    }
    with lying(hosts, liars) as peers, pytest.raises(KeygenFailed) as failed:
        generate(hosts.world.chain, hosts.world.operator, peers, peers, hosts.session())
    assert "The dealer at place 0" in failed.value.message
    assert "The dealer at place 2" in failed.value.message
    assert "place 1 " not in failed.value.message
    assert "begins a new session" in failed.value.remedy


def test_where_too_few_commit_the_session_ends_there_and_the_honest_one_is_not_named(
    hosts: Hosts,
) -> None:
    unsigned: dict[int, Bend] = {COMMIT: lambda _l, _s, told: told | {"signature": "0x"}}
    with lying(hosts, {0: unsigned, 2: unsigned}) as peers, pytest.raises(KeygenFailed) as failed:
        generate(hosts.world.chain, hosts.world.operator, peers, peers, hosts.session())
    listed = failed.value.facts["faults"]
    assert isinstance(listed, list)
    assert [(each["role"], each["place"]) for each in listed] == [("dealer", 0), ("dealer", 2)]


def test_no_key_is_recorded_that_a_liar_has_not_signed_and_the_refusal_names_it(
    hosts: Hosts,
) -> None:
    generated = run(hosts, {FINISH: other_key})
    with pytest.raises(Refusal) as refused:
        record(hosts.world.sender, generated, 3)
    assert refused.value.code == "keygen_incomplete"
    assert "The holder at place 0" in refused.value.message
    assert hosts.world.chain.joint_key(1)[0] == b""


# --- in a re-sharing


def another_share(liar: Liar, session: Session) -> bytes:
    """Deals what it was never given: the key would become another."""
    return deal(draw(2), session.dealing_context(liar.place)).to_bytes()


@pytest.mark.parametrize(
    ("bends", "why"),
    [
        (committed(another_share), "does not share the dealer's old share"),
        pytest.param(
            {COMMIT: lambda _l, _s, told: told | {"signature": "0x"}},
            "not 65 bytes",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {REVEAL: envelopes(0, 1, 2)}, "3 holders complain of it", marks=pytest.mark.long
        ),
    ],
)
def test_a_leaving_custodian_that_lies_is_named_and_cannot_keep_the_key_from_being_handed_on(
    tmp_path: Path, bends: Mapping[int, Bend], why: str
) -> None:
    with hosts_at(tmp_path) as hosts:
        hosts.record(hosts.generate())
        before = hosts.shares(1)[0].public_key.to_bytes()
        left = hosts.custodians[0]
        url = successor(hosts)
        holders = [Peer("new", url), *hosts.peers()[1:]]
        came, hosts.custodians[0] = hosts.custodians[0], left
        with lying(hosts, {0: bends}) as dealers:
            chain, admin = hosts.world.chain, hosts.world.operator
            generated = generate(chain, admin, dealers, holders, hosts.session(origin=1))
        hosts.custodians[0] = came
        assert accused(generated) == {("dealer", 0)}
        assert {each.signer for each in generated.faults} == {left.keys.signer.address}
        assert any(why in each.why for each in generated.faults), generated.faults
        record(hosts.world.sender, generated, 3)
        assert {each.public_key.to_bytes() for each in hosts.shares(2)} == {before}
