"""Rules of invitations, of an issuer's desk, and of what is left there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import BadParameter, EnvelopeUnreadable
from marketplace.vocabulary import Commitment, DatasetId, address, patient_address
from marketplace.wire import feldman, hpke, record
from marketplace.wire.eip712 import Domain, recover
from marketplace.wire.opening import (
    ALPHABET,
    OPENING_BYTES,
    IssuerDesk,
    Opening,
    OpeningContext,
    code_hash,
    code_text,
    new_code,
    open_opening,
    read_code,
    seal_opening,
)
from tests.vectors import generate_opening

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "opening.json").read_text())
MADE = VECTORS["opening"]
RECORD = record.load(MADE["record"].encode())
CONTEXT = OpeningContext.of(RECORD)
codes = st.binary(min_size=16, max_size=16)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


DESK = hpke.SecretKey(unhex(MADE["desk_secret"]))
OPENING = Opening(
    unhex(VECTORS["codes"][2]["code"]), int(json.loads(MADE["plaintext"])["secret"], 16)
)


def test_the_vectors_are_those_that_their_generator_makes() -> None:
    assert generate_opening.vectors() == VECTORS


def test_the_published_opening_opens_and_leads_to_the_record_s_own_secret() -> None:
    assert CONTEXT.info() == unhex(MADE["info"])
    assert DESK.public == unhex(MADE["desk_key"])
    opened = open_opening(unhex(MADE["envelope"]), DESK, CONTEXT)
    assert opened == OPENING
    assert feldman.times_generator(opened.secret) == RECORD.key_commitments[0]
    assert record.open_box(opened.secret, RECORD.context, RECORD.box)


def test_what_is_sealed_has_the_published_form_and_length() -> None:
    envelope = seal_opening(OPENING, DESK.public, CONTEXT)
    assert len(envelope) == OPENING_BYTES == len(unhex(MADE["envelope"])) == 171
    plaintext = hpke.open_envelope(envelope, DESK, CONTEXT.info())
    assert plaintext.decode() == MADE["plaintext"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda each: each["why"])
def test_an_opening_in_another_form_is_refused(vector: dict[str, str]) -> None:
    with pytest.raises(EnvelopeUnreadable) as refusal:
        open_opening(unhex(vector["envelope"]), DESK, CONTEXT)
    assert refusal.value.field in ("opening", "envelope")
    assert json.loads(MADE["plaintext"])["secret"][2:] not in str(refusal.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"chain_id": 1},
        {"registry": address("0x" + "12" * 20)},
        {"dataset": DatasetId(b"\xd6" * 32)},
        {"patient": patient_address("0x" + "23" * 20)},
        {"commitment": Commitment(b"\xd6" * 32)},
    ],
)
def test_an_opening_is_of_no_use_beside_another_record(changed: dict[str, object]) -> None:
    with pytest.raises(EnvelopeUnreadable):
        open_opening(unhex(MADE["envelope"]), DESK, replace(CONTEXT, **changed))


@given(st.integers(0, 8 * 171 - 1))
@settings(max_examples=60, deadline=None)
def test_no_changed_bit_of_an_opening_is_read(bit: int) -> None:
    envelope = bytearray(unhex(MADE["envelope"]))
    envelope[bit // 8] ^= 1 << bit % 8
    with pytest.raises(EnvelopeUnreadable):
        open_opening(bytes(envelope), DESK, CONTEXT)


@pytest.mark.parametrize("size", [0, 31, 32, 170, 172])
def test_an_opening_of_another_length_is_not_tried(size: int) -> None:
    with pytest.raises(EnvelopeUnreadable, match="171 bytes"):
        open_opening(bytes(size), DESK, CONTEXT)


@pytest.mark.parametrize(
    "use",
    [
        lambda: seal_opening(OPENING, bytes(32), CONTEXT),
        lambda: seal_opening(OPENING, bytes(31), CONTEXT),
        lambda: seal_opening(replace(OPENING, code=bytes(15)), DESK.public, CONTEXT),
        lambda: seal_opening(replace(OPENING, secret=0), DESK.public, CONTEXT),
        lambda: seal_opening(replace(OPENING, secret=feldman.ORDER), DESK.public, CONTEXT),
    ],
)
def test_nothing_is_sealed_that_could_not_be_opened(use: Callable[[], object]) -> None:
    with pytest.raises(BadParameter):
        use()


def test_code_and_secret_do_not_print() -> None:
    assert repr(OPENING) == "Opening()"


# --- invitations


@pytest.mark.parametrize("vector", VECTORS["codes"], ids=lambda each: each["text"][:7])
def test_every_code_has_its_published_text_and_hash(vector: dict[str, str]) -> None:
    code = unhex(vector["code"])
    assert (code_text(code), code_hash(code)) == (vector["text"], unhex(vector["hash"]))
    assert read_code(vector["text"]) == code


@given(codes)
@settings(max_examples=60, deadline=None)
def test_a_code_is_read_however_it_is_typed(code: bytes) -> None:
    text = code_text(code)
    assert not set(text) & set("ILOU")
    for typed in (
        text,
        text.lower(),
        text.replace("-", ""),
        f" {text.replace('-', ' ')} ",
        text.replace("1", "l").replace("0", "O"),
        text.replace("1", "I").replace("0", "o"),
    ):
        assert read_code(typed) == code


@given(codes, st.integers(0, 27), st.sampled_from(ALPHABET))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_one_mistyped_character_is_noticed_nearly_always(
    code: bytes, place: int, other: str
) -> None:
    """12 check bits: one slip in 4,096 gets through, and then hits no invitation."""
    digits = code_text(code).replace("-", "")
    slipped = digits[:place] + other + digits[place + 1 :]
    if slipped != digits:
        with pytest.raises(BadParameter) as refusal:
            read_code(slipped)
        assert refusal.value.field == "code"
        assert slipped not in str(refusal.value)


@pytest.mark.parametrize(
    "typed", ["", "0" * 27, "0" * 29, "U" * 28, "\u0660" * 28, "0" * 28, "\uff10" * 28]
)
def test_what_is_no_code_is_refused(typed: str) -> None:
    with pytest.raises(BadParameter):
        read_code(typed)


def test_codes_are_fresh_and_their_hash_needs_sixteen_bytes() -> None:
    assert len({new_code() for _ in range(8)}) == 8
    for use in (code_hash, code_text):
        with pytest.raises(BadParameter):
            use(bytes(15))


# --- the desk


def test_a_desk_is_signed_in_the_dataset_registry_s_domain() -> None:
    vector = VECTORS["desk"]
    desk, domain = IssuerDesk.from_json(vector["message"]), Domain.from_json(vector["domain"])
    assert IssuerDesk.type_string() == vector["type_string"]
    assert (
        vector["type_string"]
        == "IssuerDesk(bytes32 dataset,address issuer,bytes32 key,uint40 until)"
    )
    assert desk.digest(domain) == unhex(vector["digest"])
    assert recover(desk, domain, unhex(vector["signature"])) == VECTORS["signer"]
    assert domain.name == "Usufruct DatasetRegistry"
