"""Rules of FHIR extraction and sealing, on real carebundle patients."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from marketplace.errors import BadDictionary, MalformedFhir, OutOfDictionary, WrongUnit
from marketplace.fhir.bundle import LARGEST_BUNDLE
from marketplace.fhir.demo import demo_bundles, demo_dictionary
from marketplace.fhir.extract import extract
from marketplace.sealing.row import to_row
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, DatasetId, Epoch, address, patient_address
from marketplace.wire import feldman, hpke, record
from marketplace.wire.dictionary import decode_row, from_json, load

DICTIONARY = demo_dictionary()
BUNDLE = demo_bundles(1, 7)[0]


def document() -> Any:
    return json.loads(BUNDLE)


def pressure(bundle: Any) -> Any:
    bodies = [e["resource"] for e in bundle["entry"]]
    return next(b for b in bodies if "component" in b)


def run(bundle: Any) -> dict[str, Any]:
    return extract(json.dumps(bundle).encode(), DICTIONARY)


def test_demo_patients_are_the_same_every_time_and_complete() -> None:
    assert demo_bundles(1, 7)[0] == BUNDLE
    assert None not in extract(BUNDLE, DICTIONARY).values()


def test_the_latest_result_counts_and_a_withdrawn_one_does_not() -> None:
    bundle = document()
    entry = next(e for e in bundle["entry"] if "component" in e["resource"])
    for when, status, value in (("2026-02", "final", 111), ("2026-03", "entered-in-error", 99)):
        copy = json.loads(json.dumps(entry))
        copy["resource"].update(effectiveDateTime=when, status=status)
        copy["resource"]["component"][0]["valueQuantity"]["value"] = value
        bundle["entry"].insert(0, copy)
    assert run(bundle)["systolic"] == Decimal(111)


def test_a_wrong_unit_names_variable_both_units_and_remedy() -> None:
    bundle = document()
    pressure(bundle)["component"][0]["valueQuantity"]["code"] = "kPa"
    with pytest.raises(WrongUnit, match=r"systolic.*kPa.*mm\[Hg\].*Convert"):
        run(bundle)


def test_a_value_out_of_bounds_names_the_variable_and_never_the_value() -> None:
    bundle = document()
    pressure(bundle)["component"][0]["valueQuantity"]["value"] = 98765
    with pytest.raises(OutOfDictionary, match="systolic") as refusal:
        run(bundle)
    assert "98765" not in str(refusal.value) + repr(refusal.value.facts)


@pytest.mark.parametrize(
    "data",
    [
        b"not json",
        b"\xff",
        b"[" * 100_000,
        b'{"resourceType":"Bundle","resourceType":"Bundle","entry":[]}',
        b'{"resourceType":"Patient"}',
        b'{"resourceType":"Bundle","entry":{}}',
        b'{"resourceType":"Bundle","entry":[1]}',
        b'{"resourceType":"Bundle","entry":[]}',
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":3}}]}',
        b" " * (LARGEST_BUNDLE + 1),
    ],
)
def test_malformed_bundles_are_refused_with_a_path(data: bytes) -> None:
    with pytest.raises(MalformedFhir) as refusal:
        extract(data, DICTIONARY)
    assert str(refusal.value.field).startswith("$")


@pytest.mark.parametrize(
    ("key", "value"),
    [("code", 3), ("status", None), ("effectiveDateTime", "soon"), ("component", "x"),
     ("component", [4]), ("subject", {"reference": "Patient/someone-else"})],
)  # fmt: skip
def test_a_wrong_type_in_an_observation_names_its_path(key: str, value: object) -> None:
    bundle = document()
    pressure(bundle)[key] = value
    with pytest.raises(MalformedFhir, match=key):
        run(bundle)


def test_a_sealed_patient_opens_to_the_same_row() -> None:
    keys = [hpke.generate() for _ in range(3)]
    context = record.RecordContext(
        1, address("0x" + "11" * 20), DatasetId(b"d" * 32),
        patient_address("0x" + "22" * 20), DICTIONARY.hash(), 1,
    )  # fmt: skip
    values = extract(BUNDLE, DICTIONARY)
    custodians = [CustodianKey(CustodianIndex(i + 1), k.public) for i, k in enumerate(keys)]
    sealed = seal_row(DICTIONARY, values, context, custodians, Epoch(1), 2)
    loaded = record.load(record.dump(sealed), context)
    shares = [record.open_share(loaded, i, keys[i - 1]) for i in (3, 1)]
    secret = feldman.combine(shares, loaded.key_commitments).secret
    row = decode_row(DICTIONARY, record.open_box(secret, context, loaded.box))
    assert row == to_row(DICTIONARY, values)


@pytest.mark.parametrize(
    ("key", "value"), [("name", "X"), ("lower", "999"), ("upper", 5), ("decimals", -1)]
)
def test_a_bad_dictionary_names_the_field(key: str, value: object) -> None:
    listing = json.loads(DICTIONARY.to_bytes())
    listing["variables"][0][key] = value
    with pytest.raises(BadDictionary) as refusal:
        from_json(listing)
    assert str(refusal.value.field).startswith("variables[0].")
    assert load(DICTIONARY.to_bytes()) == DICTIONARY
