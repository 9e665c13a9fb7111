"""Rules of sealing: any dictionary and row comes back for a quorum, and one changed bit is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import combinations
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.errors import (
    BadDictionary,
    BadParameter,
    EnvelopeUnreadable,
    MalformedFhir,
    OutOfDictionary,
    RecordUnreadable,
    TooFewShares,
    WrongShare,
)
from marketplace.fhir.extract import extract
from marketplace.sealing.row import to_row
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, Epoch, address, patient_address
from marketplace.wire import feldman, hpke, record
from marketplace.wire.dictionary import (
    CELL_BYTES,
    SCHEMA,
    Dictionary,
    decode_row,
    encode_row,
    from_json,
    load,
)

CODE = {"system": "http://loinc.org", "code": "1"}
NUMBER = {
    "name": "weight", "kind": "number", "label": "Weight", "unit": "kg", "code": CODE,
    "lower": "-5.0", "upper": "80.5", "decimals": 1,
}  # fmt: skip
CATEGORY = {
    "name": "smoker", "kind": "category", "label": "Smoker", "code": {**CODE, "code": "2"},
    "categories": ["never", "former", "now"],
}  # fmt: skip
KEYS = tuple(hpke.generate() for _ in range(5))
N = feldman.ORDER


def listing(*variables: Mapping[str, Any]) -> dict[str, Any]:
    return {"schema": SCHEMA, "name": "small", "version": 1, "variables": list(variables)}


SMALL = from_json(listing(NUMBER, CATEGORY))


def context(dictionary: Dictionary = SMALL) -> record.RecordContext:
    return record.RecordContext(
        1, address("0x" + "11" * 20), DatasetId(b"d" * 32),
        patient_address("0x" + "22" * 20), dictionary.hash(), 1,
    )  # fmt: skip


def committee(n: int = 3) -> list[CustodianKey]:
    return [CustodianKey(CustodianIndex(i + 1), KEYS[i].public) for i in range(n)]


@dataclass(frozen=True)
class Sample:
    sealed: record.SealedRecord
    shares: tuple[feldman.Share, ...]


@cache
def sample(quorum: int = 2, n: int = 3) -> Sample:
    values = {"weight": Decimal("70.5"), "smoker": "now"}
    sealed = seal_row(SMALL, values, context(), committee(n), Epoch(1), quorum)
    return Sample(sealed, tuple(record.open_share(sealed, i + 1, KEYS[i]) for i in range(n)))


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# --- round trip


@st.composite
def dictionaries_and_values(draw: st.DrawFn) -> tuple[Dictionary, dict[str, Any]]:
    variables, values = [], {}
    for i in range(draw(st.integers(1, 6))):
        name = f"v{i}"
        if draw(st.booleans()):
            decimals = draw(st.integers(0, 3))
            low = draw(st.integers(-(10**6), 10**6))
            high = low + draw(st.integers(1, 10**6))
            unit = Decimal(1).scaleb(-decimals)
            bounds = {"lower": f"{low * unit:f}", "upper": f"{high * unit:f}"}
            variables.append({**NUMBER, **bounds, "name": name, "decimals": decimals})
            some = st.integers(low, high).map(lambda whole, unit=unit: whole * unit)
        else:
            listed = [f"c{k}" for k in range(draw(st.integers(2, 5)))]
            variables.append({**CATEGORY, "name": name, "categories": listed})
            some = st.sampled_from(listed)
        values[name] = draw(st.none() | some)
    return from_json(listing(*variables)), values


@given(dictionaries_and_values(), st.integers(1, 5), st.data())
@settings(max_examples=40, deadline=None)
def test_any_row_of_any_dictionary_comes_back_for_any_quorum(
    made: tuple[Dictionary, dict[str, Any]], n: int, data: st.DataObject
) -> None:
    dictionary, values = made
    quorum = data.draw(st.integers(1, n))
    where = context(dictionary)
    sealed = seal_row(dictionary, values, where, committee(n), Epoch(3), quorum)
    loaded = record.load(record.dump(sealed), where)
    assert loaded == sealed
    chosen = data.draw(st.permutations(range(1, n + 1)))[:quorum]
    shares = [record.open_share(loaded, i, KEYS[i - 1]) for i in chosen]
    secret = feldman.combine(shares, loaded.key_commitments).secret
    row = decode_row(dictionary, record.open_box(secret, where, loaded.box))
    assert row == to_row(dictionary, values)
    assert len(loaded.box) == record.NONCE_BYTES + record.TAG_BYTES + dictionary.row_bytes


def test_two_sealings_of_one_row_share_no_secret_nonce_or_commitment() -> None:
    values = {"weight": Decimal("70.5"), "smoker": "now"}
    two = [seal_row(SMALL, values, context(), committee(), Epoch(1), 2) for _ in range(2)]
    assert two[0].commitment != two[1].commitment
    assert two[0].box[:12] != two[1].box[:12]
    assert not set(two[0].key_commitments) & set(two[1].key_commitments)


# --- a changed bit


def test_every_flipped_bit_of_a_key_commitment_is_refused() -> None:
    made = sample()
    share = made.shares[0]
    for place, point in enumerate(made.sealed.key_commitments):
        for bit in range(8 * len(point)):
            bent = list(made.sealed.key_commitments)
            bent[place] = flip(point, bit)
            with pytest.raises(WrongShare):
                feldman.verify_share(share, bent)
            assert (
                replace(made.sealed, key_commitments=tuple(bent)).commitment
                != made.sealed.commitment
            )


def test_every_flipped_bit_of_a_share_is_refused() -> None:
    made = sample()
    for bit in range(256):
        share = feldman.Share(1, made.shares[0].value ^ (1 << bit))
        with pytest.raises(WrongShare):
            feldman.verify_share(share, made.sealed.key_commitments)


def test_every_flipped_bit_of_what_a_record_is_bound_to_changes_the_binding() -> None:
    where = context()
    seen = {where.aad()}
    for bit in range(256):
        seen.add(replace(where, dataset=DatasetId(flip(where.dataset, bit))).aad())
        seen.add(replace(where, dictionary_hash=flip(where.dictionary_hash, bit)).aad())
    for bit in range(160):
        moved = "0x" + flip(bytes.fromhex(where.patient[2:]), bit).hex()
        seen.add(replace(where, patient=patient_address(moved)).aad())
        registry = "0x" + flip(bytes.fromhex(where.registry[2:]), bit).hex()
        seen.add(replace(where, registry=address(registry)).aad())
    for bit in range(53):
        seen.add(replace(where, chain_id=where.chain_id ^ (1 << bit)).aad())
    for bit in range(32):
        seen.add(replace(where, record_version=where.record_version ^ (1 << bit)).aad())
    assert len(seen) == 1 + 2 * 256 + 2 * 160 + 53 + 32


def test_every_flipped_bit_of_the_attested_commitment_is_refused() -> None:
    document = json.loads(record.dump(sample().sealed))
    raw = bytes.fromhex(document["commitment"][2:])
    for bit in range(256):
        document["commitment"] = "0x" + flip(raw, bit).hex()
        with pytest.raises(RecordUnreadable, match="commitment"):
            record.load(json.dumps(document).encode())


# --- fewer than the quorum


def test_two_shares_of_three_needed_fit_every_secret_and_open_nothing() -> None:
    made = sample(3, 5)
    for pair in combinations(made.shares, 2):
        for other in (1, 2, N - 1):
            # A third share exists that makes the pair mean `other`: the pair says nothing.
            third = next(i for i in range(1, 6) if i not in (pair[0].index, pair[1].index))
            free = [feldman.Share(third, value) for value in (0, 1)]
            at_0, at_1 = (feldman.interpolate([*pair, each]) for each in free)
            value = (other - at_0) * pow(at_1 - at_0, -1, N) % N
            assert feldman.interpolate([*pair, feldman.Share(third, value)]) == other
        with pytest.raises(TooFewShares):
            feldman.combine(pair, made.sealed.key_commitments)
        with pytest.raises(RecordUnreadable):
            record.open_box(feldman.interpolate(pair), made.sealed.context, made.sealed.box)


def test_a_custodian_cannot_open_the_share_of_another() -> None:
    for i, key in enumerate(KEYS[:3]):
        for index in {1, 2, 3} - {i + 1}:
            with pytest.raises(EnvelopeUnreadable):
                record.open_share(sample().sealed, index, key)
    with pytest.raises(EnvelopeUnreadable, match="custodian 4"):
        record.open_share(sample().sealed, 4, KEYS[3])


# --- keys

LOW_ORDER = [
    "00" * 32, "01" + "00" * 31,
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]  # fmt: skip


@pytest.mark.parametrize("point", LOW_ORDER)
def test_a_low_order_key_is_refused_by_sealer_and_opener(point: str) -> None:
    """The points of small order of Curve25519 (RFC 7748, section 6.1; D. Bernstein's list)."""
    raw = bytes.fromhex(point)
    with pytest.raises(BadParameter, match="low-order") as refusal:
        hpke.seal(b"x", raw, b"info")
    assert refusal.value.field == "public_key"
    with pytest.raises(EnvelopeUnreadable):
        hpke.open_envelope(raw + bytes(48), KEYS[0], b"info")
    bad = [*committee()[:2], CustodianKey(CustodianIndex(3), raw)]
    with pytest.raises(BadParameter, match="low-order"):
        seal_row(SMALL, {}, context(), bad, Epoch(1), 2)


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(BadParameter, match=f"{length} bytes"):
        hpke.seal(b"x", bytes(length), b"")
    with pytest.raises(BadParameter, match="secret_key"):
        hpke.SecretKey(bytes(length))


@pytest.mark.parametrize("length", [0, 1, 31, 32, 47])
def test_a_cut_envelope_is_refused(length: int) -> None:
    envelope = hpke.seal(b"", X25519PrivateKey.generate().public_key().public_bytes_raw(), b"")
    with pytest.raises(EnvelopeUnreadable):
        hpke.open_envelope(envelope[:length], KEYS[0], b"")


# --- rows

CELL = b"\x01" + (0).to_bytes(8, "big")


@pytest.mark.parametrize(
    "plaintext",
    [
        b"", b"\x01", b"\x01" + CELL, b"\x01" + CELL * 3, b"\x01" + CELL * 2 + b"\x00",
        b"\x00" + CELL * 2, b"\x02" + CELL * 2,
        b"\x01" + b"\x02" + bytes(8) + CELL,
        b"\x01" + b"\xff" + bytes(8) + CELL,
        b"\x01" + b"\x00" + bytes(7) + b"\x01" + CELL,  # absent, with a value
        b"\x01" + b"\x01" + (806).to_bytes(8, "big") + CELL,
        b"\x01" + b"\x01" + (-51).to_bytes(8, "big", signed=True) + CELL,
        b"\x01" + b"\x01" + b"\x80" + bytes(7) + CELL,
        b"\x01" + CELL + b"\x01" + (3).to_bytes(8, "big"),
        b"\x01" + CELL + b"\x01" + b"\xff" * 8,
    ],
)  # fmt: skip
def test_a_malformed_row_is_unreadable(plaintext: bytes) -> None:
    with pytest.raises(RecordUnreadable):
        decode_row(SMALL, plaintext)


@given(st.binary(min_size=SMALL.row_bytes, max_size=SMALL.row_bytes))
def test_bytes_are_unreadable_or_the_one_encoding_of_their_row(plaintext: bytes) -> None:
    try:
        row = decode_row(SMALL, plaintext)
    except RecordUnreadable:
        return
    assert encode_row(SMALL, row) == plaintext


def test_every_row_has_one_length_and_the_edges_of_the_domain_fit() -> None:
    rows = [(None, None), (-50, 0), (805, 2)]
    assert {len(encode_row(SMALL, row)) for row in rows} == {1 + 2 * CELL_BYTES}
    assert [decode_row(SMALL, encode_row(SMALL, row)) for row in rows] == rows
    for bad in [(806, 0), (-51, 0), (0, 3), (0, -1), (0,), (0, 0, 0)]:
        with pytest.raises(RecordUnreadable):
            encode_row(SMALL, bad)


@pytest.mark.parametrize(
    ("values", "kind", "field"),
    [
        ({"height": Decimal(1)}, BadParameter, "height"),
        ({"weight": 70}, BadParameter, "weight"),
        ({"weight": 70.5}, BadParameter, "weight"),
        ({"weight": "70.5"}, BadParameter, "weight"),
        ({"weight": Decimal("NaN")}, BadParameter, "weight"),
        ({"weight": Decimal("sNaN")}, BadParameter, "weight"),
        ({"weight": Decimal("Infinity")}, BadParameter, "weight"),
        ({"weight": Decimal("70.55")}, BadParameter, "weight"),
        ({"weight": Decimal("70.5000000000000000000000000001")}, BadParameter, "weight"),
        ({"weight": Decimal("80.6")}, OutOfDictionary, "weight"),
        ({"weight": Decimal("-5.1")}, OutOfDictionary, "weight"),
        ({"weight": Decimal("1e99999")}, OutOfDictionary, "weight"),
        ({"smoker": Decimal(1)}, BadParameter, "smoker"),
        ({"smoker": 0}, BadParameter, "smoker"),
        ({"smoker": "Now"}, OutOfDictionary, "smoker"),
        ({"smoker": ""}, OutOfDictionary, "smoker"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name_and_not_shown(
    values: dict[str, Any], kind: type[BadParameter], field: str
) -> None:
    with pytest.raises(kind) as refusal:
        to_row(SMALL, values)
    assert refusal.value.field == field
    shown = str(next(iter(values.values())))
    assert len(shown) < 2 or shown not in str(refusal.value)


def test_sealing_is_refused_for_another_dictionary_or_a_committee_out_of_order() -> None:
    other = from_json(listing(NUMBER))
    with pytest.raises(BadParameter) as refusal:
        seal_row(SMALL, {}, context(other), committee(), Epoch(1), 2)
    assert refusal.value.field == "dictionary_hash"
    for wrong in (committee()[::-1], committee()[1:], [committee()[0]] * 2):
        with pytest.raises(BadParameter) as refusal:
            seal_row(SMALL, {}, context(), wrong, Epoch(1), 1)
        assert refusal.value.field == "custodians"
    for quorum in (4, 0):
        with pytest.raises(BadParameter) as refusal:
            seal_row(SMALL, {}, context(), committee(), Epoch(1), quorum)
        assert refusal.value.field == "quorum"


# --- documents

HOSTILE: list[tuple[str, Any]] = [
    ("chain_id", -1), ("chain_id", "1"), ("chain_id", True), ("chain_id", 2**53),
    ("registry", "0x11"), ("registry", None), ("dataset", "0x" + "d" * 63), ("dataset", 5),
    ("patient", "0x" + "z" * 40), ("patient", []), ("record_version", 2**32), ("record_version", None),
    ("lane", 2), ("lane", True), ("lane", None), ("lane", []), ("dictionary_hash", {}),
    ("epoch", -1), ("epoch", 2**32), ("box", ""), ("box", "!!!!"), ("box", 7), ("box", "A" * 36),
    ("box", "A" * (4 * (record.LARGEST_BOX // 3 + 2))), ("key_commitments", []),
    ("key_commitments", ["0x02"]), ("key_commitments", ["0x02" + "ff" * 32] * 2),
    ("key_commitments", ["zz"]), ("key_commitments", "0x"), ("key_commitments", [None]),
    ("key_commitments", ["0x"] * 17), ("shares", []), ("shares", {}), ("shares", [1]),
    ("shares", [{"index": 1}]), ("shares", [{"index": 1, "envelope": "AAAA"}]), ("shares", [None] * 17),
    ("commitment", None), ("commitment", "0x" + "00" * 32), ("schema", "usufruct-record/2"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), HOSTILE)
def test_a_hostile_document_is_refused_naming_the_field(field: str, value: Any) -> None:
    document = json.loads(record.dump(sample().sealed))
    document[field] = value
    with pytest.raises(RecordUnreadable) as refusal:
        record.load(json.dumps(document).encode())
    assert str(refusal.value.field).startswith(("shares", field))


@pytest.mark.parametrize("field", sorted(record.KEYS))
def test_a_document_with_a_key_missing_or_added_is_refused(field: str) -> None:
    document = json.loads(record.dump(sample().sealed))
    for changed in (
        {k: v for k, v in document.items() if k != field},
        {**document, field + "_": 1},
    ):
        with pytest.raises(RecordUnreadable):
            record.load(json.dumps(changed).encode())


def test_an_oversized_document_is_refused_before_it_is_read() -> None:
    with pytest.raises(RecordUnreadable, match="limit"):
        record.load(b"[" * (record.LARGEST_RECORD + 1))


@pytest.mark.parametrize(
    ("start", "key", "value"),
    [
        (NUMBER, key, value)
        for key, value in [
            ("name", "A"), ("name", "a" * 41), ("kind", "text"), ("kind", []), ("label", ""),
            ("label", "x" * 201), ("unit", 3), ("code", {"system": "x"}), ("code", 3),
            ("lower", "90"), ("lower", 3), ("lower", "1e3"), ("lower", "-5.05"), ("lower", "007"),
            ("upper", "80.55"), ("upper", "999999999999999"), ("upper", "NaN"),
            ("decimals", 10), ("decimals", True), ("decimals", 0.5),
        ]
    ]
    + [
        (CATEGORY, "categories", value)
        for value in (["one"], [], ["a", "a"], ["a", 3], ["a", ""], "ab", [f"c{i}" for i in range(65)])
    ],
)  # fmt: skip
def test_every_fault_of_a_dictionary_names_its_field(
    start: dict[str, Any], key: str, value: Any
) -> None:
    with pytest.raises(BadDictionary) as refusal:
        from_json(listing({**start, key: value}))
    assert str(refusal.value.field).startswith("variables[0]")
    assert key in str(refusal.value)


@given(st.integers(0, 9), st.data())
def test_bounds_are_written_digit_for_digit_as_they_were_read(
    decimals: int, data: st.DataObject
) -> None:
    scaled = st.integers(-(10**9), 10**9)
    low, high = sorted(data.draw(st.lists(scaled, min_size=2, max_size=2, unique=True)))
    # No more decimals than the variable, and the largest bounds within 2^40 of its smallest units.
    shown = data.draw(st.integers(max(0, decimals - 3), decimals))
    written = [f"{Decimal(each).scaleb(-shown):f}" for each in (low, high)]
    read = listing({**NUMBER, "lower": written[0], "upper": written[1], "decimals": decimals})
    made = from_json(read)
    assert json.loads(made.to_bytes()) == read
    assert load(made.to_bytes()) == made


@pytest.mark.parametrize("lower", ["0.0000001", "-0.000000001", "0.000000000", "0"])
def test_a_bound_next_to_nothing_can_be_read_again(lower: str) -> None:
    made = from_json(listing({**NUMBER, "lower": lower, "upper": "1", "decimals": 9}))
    assert load(made.to_bytes()) == made
    assert lower in made.to_bytes().decode()


# --- FHIR


def observation(value: dict[str, Any], code: str = "2") -> bytes:
    body = {
        "resourceType": "Observation", "status": "final", "effectiveDateTime": "2025-01-01",
        "subject": {"reference": "Patient/p"},
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]}, **value,
    }  # fmt: skip
    patient = {"resourceType": "Patient", "id": "p"}
    entries = [{"resource": patient}, {"resource": body}]
    return json.dumps({"resourceType": "Bundle", "entry": entries}).encode()


def coded(*codes: Any) -> dict[str, Any]:
    return {"valueCodeableConcept": {"coding": [{"code": each} for each in codes]}}


def test_a_categorical_observation_is_read_by_its_code() -> None:
    assert extract(observation(coded("local", "former")), SMALL)["smoker"] == "former"
    assert extract(observation(coded("former"), code="9"), SMALL)["smoker"] is None


@pytest.mark.parametrize("codes", [("sometimes",), (), (None,), (3,), ("NOW",)])
def test_a_categorical_observation_outside_its_categories_is_refused(
    codes: tuple[Any, ...],
) -> None:
    with pytest.raises(OutOfDictionary, match="never, former, now") as refusal:
        extract(observation(coded(*codes)), SMALL)
    assert refusal.value.field == "smoker"
    assert "sometimes" not in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        {"valueQuantity": {"value": 1}},
        {"valueCodeableConcept": []},
        {"valueCodeableConcept": {"coding": [4]}},
    ],
)
def test_a_categorical_observation_of_another_shape_is_malformed(value: dict[str, Any]) -> None:
    with pytest.raises(MalformedFhir, match=r"valueCodeableConcept"):
        extract(observation(value), SMALL)
