"""Rules of a key generation's words: each is its speaker's, of its round, session and place, or is none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from marketplace.errors import Refusal
from marketplace.vocabulary import address
from marketplace.wire.eip712 import CUSTODIAN_COMMITTEE, Domain
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.keyfiles import Signer
from marketplace.wire.keygen import (
    ANSWER,
    COMMIT,
    COMPLAIN,
    REVEAL,
    Dealt,
    KeygenFailed,
    Said,
    Session,
    answer_body,
    commit_body,
    complainants,
    complaint_body,
    dealing_of,
    outcome_of,
)
from marketplace.wire.keygen_words import (
    KINDS,
    MOST_ENVELOPE,
    Words,
    answer_fields,
    dealt_fields,
    word,
)
from ml.homomorphic.curve import ORDER
from ml.homomorphic.keygen import DealingInvalid, Polynomial, deal, draw
from tests.support.refusals import refused

COMMITTEE = address("0x" + 20 * "c0")
DOMAIN = Domain(CUSTODIAN_COMMITTEE, "1", 31337, COMMITTEE)
SIGNERS = [Signer.of(bytes([at]) * 32) for at in (1, 2, 3)]
SESSION = Session(31337, COMMITTEE, 1, 0, b"n" * 32, 1_900_000_000)
OTHER = Session(31337, COMMITTEE, 1, 0, b"m" * 32, 1_900_000_000)
LATER = Session(31337, COMMITTEE, 1, 0, b"n" * 32, 1_900_000_001)
ADDRESSES = [each.address for each in SIGNERS]
WORDS = Words(SESSION, ADDRESSES, ADDRESSES, DOMAIN)
DEALT = Dealt(b"d" * 130, (b"e" * MOST_ENVELOPE, b"f" * MOST_ENVELOPE, b"g" * MOST_ENVELOPE))
SHARES = {0: 5, 2: ORDER - 1}

BODIES: dict[int, tuple[bytes, dict[str, Any]]] = {
    COMMIT: (commit_body(b"dealing"), {}),
    REVEAL: (DEALT.body, dealt_fields(DEALT)),
    COMPLAIN: (complaint_body([0, 2]), {"dealers": [0, 2]}),
    ANSWER: (answer_body(SHARES), answer_fields(SHARES)),
}
NUMBERS = sorted(BODIES)


def said_by(place: int, number: int, session: Session = SESSION) -> dict[str, Any]:
    body, more = BODIES[number]
    return word(session, DOMAIN, SIGNERS[place].secret, number, place, body) | copy.deepcopy(more)


def shown(*entries: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, entry in entries:
        found.setdefault(KINDS[number], []).append(entry)
    return found


def test_what_was_said_is_read_as_it_was_said() -> None:
    said = WORDS.said(shown(*((number, said_by(1, number)) for number in NUMBERS)))
    assert said == Said({1: commit_body(b"dealing")}, {1: DEALT}, {1: (0, 2)}, {1: SHARES})
    for number in NUMBERS:
        WORDS.require(number, 1, said_by(1, number))
    assert complainants(said, 0) == (1,)
    assert complainants(said, 1) == ()


@pytest.mark.parametrize("number", NUMBERS)
def test_a_word_is_its_places_of_its_session_its_deadline_and_its_round(number: int) -> None:
    good = said_by(1, number)
    for bent in (
        said_by(1, number, OTHER),
        said_by(1, number, LATER),
        good | {"place": 2},
        good | {"signature": said_by(2, number)["signature"]},
        good | {"signature": said_by(1, 1 + number % 4)["signature"]},
    ):
        refused("bad_signature", WORDS.said, shown((number, bent)))
        with pytest.raises(Refusal):
            WORDS.require(number, 1, bent)
    caught = refused("bad_parameter", WORDS.require, number, 0, good)
    assert caught.field == "word.place"


MALFORMED: list[Callable[[dict[str, Any]], Any]] = [
    lambda _: None,
    lambda _: [],
    lambda word: {key: word[key] for key in word if key != "body"},
    lambda word: word | {"more": "x" * 1_000_000},
    lambda word: word | {"place": "1"},
    lambda word: word | {"place": True},
    lambda word: word | {"place": -1},
    lambda word: word | {"place": 3},
    lambda word: word | {"body": to_hex(bytes(32))},
    lambda word: word | {"body": to_hex(bytes(31))},
    lambda word: word | {"body": 7},
    lambda word: word | {"signature": None},
    lambda word: word | {"signature": "0x"},
    lambda word: word | {"signature": "0x" + "00" * 65},
    lambda word: word | {"signature": "0x" + "ff" * 65},
    lambda word: word | {"signature": word["signature"] + "00"},
]
OF_ROUND: dict[int, list[dict[str, Any]]] = {
    COMMIT: [],
    REVEAL: [
        {"dealing": None},
        {"dealing": "0x" + "00" * 4_000},
        {"dealing": "0xzz"},
        {"envelopes": None},
        {"envelopes": {}},
        {"envelopes": [to_base64(b"e")] * 17},
        {"envelopes": [to_base64(b"e" * 4_000)]},
        {"envelopes": ["not base64!"]},
        {"envelopes": [7]},
    ],
    COMPLAIN: [
        {"dealers": None},
        {"dealers": [2, 0]},
        {"dealers": [0, 0]},
        {"dealers": [3]},
        {"dealers": ["0"]},
        {"dealers": list(range(17))},
    ],
    ANSWER: [
        {"shares": None},
        {"shares": []},
        {"shares": {"\u00b2": to_hex(bytes(32))}},
        {"shares": {"01": to_hex(bytes(32))}},
        {"shares": {"0": "0x00"}},
        {"shares": {"0": None}},
        {"shares": {str(place): to_hex(bytes(32)) for place in range(17)}},
    ],
}


@pytest.mark.parametrize("number", NUMBERS)
def test_a_malformed_word_is_refused_and_says_where(number: int) -> None:
    good = said_by(1, number)
    bent = [bend(copy.deepcopy(good)) for bend in MALFORMED]
    bent += [good | each for each in OF_ROUND[number]]
    for each in bent:
        with pytest.raises(Refusal) as caught:
            WORDS.require(number, 1, each)
        assert (caught.value.field or "").startswith("word"), each
        with pytest.raises(Refusal):
            WORDS.said(shown((number, each)))


def test_words_come_once_a_member_and_under_known_names() -> None:
    twice = shown((COMMIT, said_by(1, COMMIT)), (COMMIT, said_by(1, COMMIT)))
    assert refused("bad_parameter", WORDS.said, twice).field == "said.commits[1].place"
    many = shown(*((COMMIT, said_by(at % 3, COMMIT)) for at in range(4)))
    refused("bad_parameter", WORDS.said, many)
    refused("bad_parameter", WORDS.said, {"others": []})
    refused("bad_parameter", WORDS.said, {"commits": {}})
    refused("bad_parameter", WORDS.said, [])


# --- what follows from what was said


def dealt_by(place: int, polynomial: Polynomial) -> Dealt:
    dealing = deal(polynomial, SESSION.dealing_context(place)).to_bytes()
    return Dealt(dealing, (b"", b"", b""))


def everything(drawn: dict[int, Polynomial]) -> Said:
    """All dealt, and nobody complains. A dealing's proof is random: no two are the same."""
    dealt = {place: dealt_by(place, each) for place, each in drawn.items()}
    commits = {place: commit_body(each.dealing) for place, each in dealt.items()}
    return Said(commits, dealt, {0: (), 1: (), 2: ()}, {})


def test_who_signed_what_contradicts_itself_is_convicted_and_who_was_silent_is_not() -> None:
    drawn = {place: draw(2) for place in range(3)}
    whole = everything(drawn)
    blamed = replace(whole, complaints={0: (), 1: (0,), 2: ()})
    right, wrong = drawn[0].share(2), drawn[0].share(2) + 1
    hidden = {place: each for place, each in whole.dealt.items() if place}
    other = {**whole.dealt, 0: dealt_by(0, draw(2))}
    cases: list[tuple[Said, set[int], set[int]]] = [
        (whole, set(), set()),
        (replace(blamed, answers={0: {1: right}}), set(), set()),
        (replace(blamed, answers={0: {1: wrong}}), {0}, {0}),
        (blamed, {0}, set()),
        (replace(whole, complaints={0: (), 1: (0,), 2: (0,)}), {0}, set()),
        (replace(whole, dealt=hidden), {0}, set()),
        (replace(whole, dealt=other), {0}, {0}),
    ]
    for said, faulty, convicted in cases:
        found = outcome_of(SESSION, said, 2, 2)
        assert (set(found.faults), set(found.convicted)) == (faulty, convicted)
        assert set(found.qualified) == {0, 1, 2} - faulty


def test_a_quorum_of_complaints_leaves_a_dealer_out_although_it_answers_them_all() -> None:
    """What it opened is its polynomial: its part of the key, or its old share, is known to everybody."""
    drawn = {place: draw(2) for place in range(3)}
    answers = {0: {1: drawn[0].share(2), 2: drawn[0].share(3)}}
    complaints = {0: (), 1: (0,), 2: (0,)}
    said = replace(everything(drawn), complaints=complaints, answers=answers)
    found = outcome_of(SESSION, said, 2, 2)
    assert set(found.qualified) == {1, 2}
    assert "2 holders complain of it" in found.faults[0]


def test_a_dealing_that_nobody_was_promised_stops_nothing() -> None:
    whole = everything({place: draw(2) for place in range(3)})
    commits = {place: each for place, each in whole.commits.items() if place != 2}
    assert set(outcome_of(SESSION, replace(whole, commits=commits), 2, 2).qualified) == {0, 1}
    with pytest.raises(DealingInvalid, match="without having committed"):
        dealing_of(SESSION, replace(whole, commits=commits), 2, 2, None)


def test_a_session_without_enough_dealers_says_whose_fault_that_is() -> None:
    whole = everything({place: draw(2) for place in range(3)})
    with pytest.raises(KeygenFailed) as caught:
        outcome_of(SESSION, replace(whole, dealt={0: whole.dealt[0]}), 2, 2)
    assert dict(caught.value.faults) == {1: "it revealed nothing", 2: "it revealed nothing"}
