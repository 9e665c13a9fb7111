"""Rules of invitations, of an issuer's desk, and of what is left there."""

from __future__ import annotations

import copy
import hmac
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import BadParameter, EnvelopeUnreadable
from marketplace.vocabulary import Commitment, DatasetId, address, patient_address
from marketplace.wire import feldman, hpke, record
from marketplace.wire.eip712 import Domain, recover
from marketplace.wire.http import to_hex
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
from marketplace.wire.voucher import MOST_ORIGINS, Seen, Voucher, committee_hash
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


# --- what a clinic vouches for


def committee_of(told: dict[str, Any]) -> bytes:
    committee = told["committee"]
    members = committee["members"]
    signers, keys = [each["signer"] for each in members], [unhex(each["key"]) for each in members]
    return committee_hash(committee["epoch"], committee["quorum"], signers, keys)


def seen_in(told: dict[str, Any]) -> Seen:
    token = told["token"]
    return Seen(
        chain_id=told["chain_id"],
        contracts=told["contracts"],
        token=(token["address"], token["decimals"], token["symbol"]),
        dataset=unhex(told["dataset"]),
        issuer=told["issuer"],
        desk=unhex(told["desk"]),
        committee=committee_of(told),
    )


@pytest.mark.parametrize("vector", VECTORS["vouchers"], ids=lambda each: each["committee"][:8])
def test_every_voucher_is_the_published_one(vector: dict[str, Any]) -> None:
    told, code = vector["told"], unhex(vector["code"])
    seen, epoch = seen_in(told), told["committee"]["epoch"]
    assert to_hex(seen.committee) == vector["committee"]
    assert to_hex(seen.hash(told["custodians"])) == vector["seen"]
    voucher = Voucher.of(code, seen, epoch, told["custodians"])
    assert voucher.to_json() == vector["voucher"]
    assert Voucher.from_json(vector["voucher"]) == voucher
    assert voucher.is_of(code, seen)


def leaves(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of every number and text in a document."""
    if not isinstance(document, (dict, list)):
        yield path
        return
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for name, value in pairs:
        yield from leaves(value, (*path, name))


def changed(document: Any, path: tuple[Any, ...]) -> Any:
    """With another number, or one other character, at this place."""
    if not path:
        digits = str(document)[:-1]
        return document + 1 if isinstance(document, int) else digits + other_than(document[-1])
    made = copy.copy(document)
    made[path[0]] = changed(document[path[0]], path[1:])
    return made


def other_than(character: str) -> str:
    return "0" if character.lower() != "0" else "1"


TOLD = VECTORS["vouchers"][0]["told"]
COVERED = [path for path in leaves(TOLD) if path[-1] != "place"]


@pytest.mark.parametrize("path", COVERED, ids=lambda path: ".".join(map(str, path)))
def test_nothing_that_a_voucher_covers_can_be_changed(path: tuple[Any, ...]) -> None:
    vector = VECTORS["vouchers"][0]
    lie = changed(TOLD, path)
    assert lie != TOLD
    mac = unhex(vector["voucher"]["mac"])
    voucher = Voucher(vector["voucher"]["epoch"], tuple(lie["custodians"]), mac)
    assert not voucher.is_of(unhex(vector["code"]), seen_in(lie))


def test_a_voucher_covers_names_and_order_and_needs_its_own_code() -> None:
    vector = VECTORS["vouchers"][0]
    voucher, code = Voucher.from_json(vector["voucher"]), unhex(vector["code"])
    seen, contracts = seen_in(TOLD), TOLD["contracts"]
    swapped = {**contracts, "ResearchMarket": contracts["ConsentRegistry"]}
    fewer = {name: at for name, at in contracts.items() if name != "ResearchMarket"}
    more = {**contracts, "Another": contracts["ConsentRegistry"]}
    assert voucher.is_of(code, replace(seen, contracts=dict(reversed(contracts.items()))))
    for lie in (swapped, fewer, more):
        assert not voucher.is_of(code, replace(seen, contracts=lie))
    members = TOLD["committee"]["members"]
    turned = {**TOLD, "committee": {**TOLD["committee"], "members": members[::-1]}}
    assert not voucher.is_of(code, seen_in(turned))
    other = replace(voucher, custodians=voucher.custodians[::-1])
    assert not other.is_of(code, seen)
    for wrong in (code_hash(code)[:16], bytes(16), code[::-1]):
        assert not voucher.is_of(wrong, seen)
    with pytest.raises(BadParameter):
        voucher.is_of(code[:15], seen)


@given(codes)
@settings(max_examples=40, deadline=None)
def test_the_key_is_neither_the_code_nor_anything_that_the_operator_keeps(code: bytes) -> None:
    seen = seen_in(TOLD)
    mac = Voucher.of(code, seen, 7, TOLD["custodians"]).mac
    for key in (code, code_hash(code), code_text(code).encode()):
        assert hmac.digest(key, seen.hash(TOLD["custodians"]), "sha256") != mac


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"mac": "0x12"}, "voucher.mac"),
        ({"mac": None}, "voucher.mac"),
        ({"epoch": -1}, "voucher.epoch"),
        ({"epoch": True}, "voucher.epoch"),
        ({"epoch": 2**48}, "voucher.epoch"),
        ({"custodians": []}, "voucher.custodians"),
        ({"custodians": "https://a.example"}, "voucher.custodians"),
        ({"custodians": ["https://a.example"] * 2}, "voucher.custodians"),
        ({"custodians": ["https://a.example/"]}, "voucher.custodians"),
        ({"custodians": ["javascript:alert(1)"]}, "voucher.custodians"),
        ({"custodians": ["https://a@b.example"]}, "voucher.custodians"),
        ({"custodians": ["https://" + "a" * 250]}, "voucher.custodians"),
        (
            {"custodians": [f"https://c{n}.example" for n in range(MOST_ORIGINS + 1)]},
            "voucher.custodians",
        ),
        ({"more": 1}, "voucher.more"),
    ],
)
def test_a_voucher_in_another_form_is_refused_at_its_field(change: Any, field: str) -> None:
    with pytest.raises(BadParameter) as refusal:
        Voucher.from_json({**VECTORS["vouchers"][0]["voucher"], **change})
    assert refusal.value.field == field


def test_an_invitation_without_a_voucher_is_none() -> None:
    for nothing in (None, {}, "0x"):
        with pytest.raises(BadParameter):
            Voucher.from_json(nothing)


@given(st.lists(st.sampled_from(["custodian-0", "10.0.0.1", "[::1]", "a_b.example"]), min_size=1))
def test_origins_as_browsers_write_them_are_taken(hosts: list[str]) -> None:
    origins = [f"https://{host}:{8000 + n}" for n, host in enumerate(hosts[:MOST_ORIGINS])]
    document = {**VECTORS["vouchers"][0]["voucher"], "custodians": origins}
    assert Voucher.from_json(document).to_json() == document
