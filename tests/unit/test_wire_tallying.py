"""Rules of what answers of the homomorphic lane are bound to, and of how they travel."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import BadParameter, EnvelopeUnreadable, Refusal
from marketplace.vocabulary import Address
from marketplace.wire.tallying import (
    MOST_SUMS,
    Reveal,
    SumsWord,
    decode_sealed,
    encode_sealed,
    noised,
    own_recipient,
    recipient,
    result_hash,
)
from ml.homomorphic.curve import ORDER, times_base
from ml.homomorphic.noise import Contribution
from ml.homomorphic.threshold import PAIR_BYTES, Sum, open_sums
from tests.vectors import generate_tallying

SESSION = generate_tallying.SESSION
VECTORS = json.loads(generate_tallying.FILE.read_text())
scalars = st.integers(1, ORDER - 1)
pairs = st.builds(lambda a, b: Sum(times_base(a), times_base(b)), scalars, scalars)
sums = st.lists(pairs, min_size=1, max_size=4)


def test_the_vectors_are_what_this_code_makes() -> None:
    assert json.loads(json.dumps(generate_tallying.document())) == VECTORS


def test_a_session_names_everything_that_it_is_of() -> None:
    others: list[dict[str, Any]] = [
        {"chain_id": 1},
        {"market": Address("0x" + "22" * 20)},
        {"request": bytes(32)},
        {"root": bytes(32)},
        {"epoch": 4},
    ]
    names = {replace(SESSION, **other).name() for other in others}
    assert len(names | {SESSION.name()}) == len(others) + 1


def test_an_aggregate_names_records_noise_and_every_sum() -> None:
    pair = Sum(times_base(2), times_base(3))
    base = (bytes(32), b"\x01" * 32, [pair, pair])
    found = {
        SESSION.aggregate(*base),
        SESSION.aggregate(b"\x02" * 32, *base[1:]),
        SESSION.aggregate(base[0], b"\x02" * 32, base[2]),
        SESSION.aggregate(*base[:2], [pair]),
        SESSION.aggregate(*base[:2], [pair, Sum(pair.value, pair.key)]),
        replace(SESSION, epoch=9).aggregate(*base),
    }
    assert len(found) == 6
    partials = {SESSION.partial(place, each) for place in range(3) for each in found}
    assert len(partials | {result_hash(each) for each in found}) == 24


def test_a_word_on_sums_names_session_records_and_every_sum() -> None:
    pair = Sum(times_base(2), times_base(3))
    base = (bytes(32), [pair, pair])
    found = {
        SESSION.sums(*base),
        SESSION.sums(b"\x01" * 32, base[1]),
        SESSION.sums(base[0], [pair]),
        SESSION.sums(base[0], [pair, Sum(pair.value, pair.key)]),
        replace(SESSION, epoch=9).sums(*base),
        SESSION.aggregate(base[0], bytes(32), base[1]),
    }
    assert len(found) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "0x12"}, {"digest": 5}, {"signature": None}, {"more": 1},
        {"signature": "0x" + "11" * 5000},
    ],
)  # fmt: skip
def test_a_word_on_sums_that_is_malformed_is_refused(change: dict[str, Any]) -> None:
    read = SumsWord.from_json(VECTORS["counted"])
    assert read.to_json() == VECTORS["counted"]
    with pytest.raises(Refusal) as refused:
        SumsWord.from_json(VECTORS["counted"] | change)
    assert (refused.value.field or "").startswith("sums")


@settings(max_examples=30, deadline=None)
@given(sums)
def test_a_sealed_result_is_read_back_and_a_changed_head_or_length_is_not(given: list[Sum]) -> None:
    raw = encode_sealed(given)
    assert len(raw) == 3 + PAIR_BYTES * len(given)
    assert decode_sealed(raw) == given
    for bad in (raw[:-1], raw + b"\0", b"\x02" + raw[1:], raw[:1] + b"\0\0" + raw[3:], b""):
        with pytest.raises(EnvelopeUnreadable):
            decode_sealed(bad)


def test_a_sealed_result_with_what_is_no_point_names_the_sum() -> None:
    raw = bytearray(encode_sealed([Sum(times_base(2), times_base(3))] * 3))
    raw[3 + PAIR_BYTES : 3 + PAIR_BYTES + 33] = b"\x02" + b"\xff" * 32
    with pytest.raises(EnvelopeUnreadable, match="at sum 1"):
        decode_sealed(bytes(raw))


def test_an_answer_has_as_many_sums_as_can_be_delivered() -> None:
    with pytest.raises(ValueError, match=str(MOST_SUMS)):
        encode_sealed([])
    with pytest.raises(ValueError, match=str(MOST_SUMS)):
        encode_sealed([Sum.zero()] * (MOST_SUMS + 1))


@settings(max_examples=30, deadline=None)
@given(scalars)
def test_the_own_secret_opens_what_is_sealed_to_the_delivery_key(secret: int) -> None:
    own, delivery_key = own_recipient(secret)
    assert own in (secret, ORDER - secret)
    point = recipient(delivery_key)
    assert point == times_base(own)
    blind, value = 77, times_base(5)
    delivered = Sum(times_base(blind), value - point * blind)
    assert open_sums([delivered], own) == [value]


@pytest.mark.parametrize("raw", [bytes(31) + b"\x05", b"\xff" * 32, bytes(32)])
def test_a_delivery_key_that_is_no_points_x_is_refused(raw: bytes) -> None:
    with pytest.raises(BadParameter) as refused:
        recipient(raw)
    assert refused.value.field == "delivery_key"


def test_noise_of_another_number_of_sums_is_not_added() -> None:
    pair = Sum(times_base(2), times_base(3))
    with pytest.raises(ValueError, match="zip"):
        noised([pair], [Contribution(pair.to_bytes() * 2, b"")])


def test_a_reveal_is_read_back_and_leads_to_its_commitment_alone() -> None:
    read = Reveal.from_json(VECTORS["reveal"])
    assert read.to_json() == VECTORS["reveal"]
    commitment = read.commitment(SESSION.contributor(1), 2).hex()
    assert "0x" + commitment == VECTORS["commitment"]
    assert read.commitment(SESSION.contributor(2), 2).hex() != commitment
    for other in (replace(read, size=2), replace(read, size=4), replace(read, digests=())):
        with pytest.raises(BadParameter):
            other.commitment(SESSION.contributor(1), 2)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 0}, {"size": True}, {"size": 17}, {"size": "3"}, {"columns": "!"}, {"proof": 3},
        {"digests": []}, {"digests": ["0x12"]}, {"digests": ["0x" + "11" * 32] * 17}, {"more": 1},
    ],
)  # fmt: skip
def test_a_reveal_that_is_malformed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        Reveal.from_json(VECTORS["reveal"] | change)
    assert refused.value.field is not None
