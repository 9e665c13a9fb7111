"""Rules of FHIR extraction and sealing, on real carebundle patients."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from marketplace.errors import BadDictionary, MalformedFhir, OutOfDictionary, WrongUnit
from marketplace.fhir import dates
from marketplace.fhir.bundle import LARGEST_BUNDLE
from marketplace.fhir.demo import demo_bundles, demo_dictionary
from marketplace.fhir.extract import Missing, explained, extract
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


@pytest.mark.parametrize(
    "text",
    [
        *("2026", "2026-02", "2026-02-28", "2026-02-28T23:59:59Z", "2026-02-28T23:59:60+14:00"),
        *("2026-02-28T00:00:00.000000001-13:59", "0001-01-01T00:00:00+14:00", "9999-12-31"),
    ],
)
def test_fhirs_own_dates_are_read(text: str) -> None:
    assert dates.date_time(text) is not None
    assert (dates.instant(text) is not None) == ("T" in text)
    assert (dates.full_date(text) is not None) == (len(text) == 10)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "26",
            "0000",
            "02026",
            "2026-13",
            "2026-00",
            "2026-02-30",
            "2026-2-3",
            " 2026",
            "2026\n",
        ),
        *(
            "20260131",
            "2026-W05-6",
            "2026-W05",
            "2026-031",
            "\u0662\u0660\u0662\u0666",
            "\uff12\uff10\uff12\uff16-01-31",
            "2026-01-31T",
        ),
        *("2026-01-31T09", "2026-01-31T09:00Z", "2026-01-31T09:00:00", "2026-01-31 09:00:00Z"),
        *("2026-01-31t09:00:00Z", "2026-01-31T09:00:00z", "2026-01-31T24:00:00Z"),
        *("2026-01-31T09:00:61Z", "2026-01-31T09:00:00.Z", "2026-01-31T09:00:00,5Z"),
        *("2026-01-31T09:00:00+14:01", "2026-01-31T09:00:00+0100", "2026-01-31T09:00:00-15:00"),
        *("2026-01T09:00:00Z", "20260131T090000Z", "2026-01-31T09:00:00.\u0665Z"),
    ],
)
def test_what_is_no_date_of_fhir_is_no_date_here(text: str) -> None:
    assert (dates.date_time(text), dates.instant(text), dates.full_date(text)) == (None,) * 3


def test_moments_are_ordered_across_zones_and_beyond_microseconds() -> None:
    listed = [
        "2026-01-31T00:00:00+14:00",
        "2026-01-31",
        "2026-01-31T00:00:00.0000000009Z",
        "2026-01-31T00:00:00.000000001Z",
        "2026-01-31T00:00:00.1Z",
        "2026-01-30T13:00:01-11:00",
        "2026-01-31T23:59:60Z",
        "2026-02",
    ]
    moments = [dates.date_time(text) for text in listed]
    assert moments[:-1] == sorted(moment for moment in moments[:-1] if moment is not None)
    assert moments[-2] == dates.date_time("2026-02-01T00:00:00.000Z") == moments[-1]


@pytest.mark.parametrize(
    "born",
    ["1970-W05-1", "19700131", "1970-01", "1970", "1970-02-30", "197\uff10-01-31", "1970-01-31Z"],
)
def test_a_birth_date_that_is_no_full_date_of_fhir_is_refused(born: str) -> None:
    bundle = document()
    resources = [e["resource"] for e in bundle["entry"]]
    (at,) = [i for i, r in enumerate(resources) if r["resourceType"] == "Patient"]
    resources[at]["birthDate"] = born
    with pytest.raises(MalformedFhir) as refusal:
        run(bundle)
    assert refusal.value.field == f"$.entry[{at}].resource.birthDate"


def test_an_instant_dates_a_result_as_a_date_time_does() -> None:
    bundle = document()
    entry = next(e for e in bundle["entry"] if "component" in e["resource"])
    copy = json.loads(json.dumps(entry))
    del copy["resource"]["effectiveDateTime"]
    copy["resource"]["effectiveInstant"] = "2026-03-01T00:00:00Z"
    copy["resource"]["component"][0]["valueQuantity"]["value"] = 111
    bundle["entry"].insert(0, copy)
    assert run(bundle)["systolic"] == Decimal(111)
    copy["resource"]["effectiveInstant"] = "2026-03-01"
    with pytest.raises(MalformedFhir) as refusal:
        run(bundle)
    assert refusal.value.field == "$.entry[0].resource.effectiveInstant"


@pytest.mark.parametrize("number", ["1E99999999999999999999", "1E-1000000000000000000", "0E10000"])
def test_a_number_beyond_every_measurement_is_refused_as_malformed(number: str) -> None:
    bundle = document()
    pressure(bundle)["component"][0]["valueQuantity"]["value"] = "@"
    with pytest.raises(MalformedFhir) as refusal:
        extract(json.dumps(bundle).replace('"@"', number).encode(), DICTIONARY)
    assert refusal.value.field == "$"


def test_what_is_left_out_says_why() -> None:
    bundle = document()
    (patient,) = [
        e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Patient"
    ]
    del patient["birthDate"]
    patient["gender"] = "unknown"
    for body in (e["resource"] for e in bundle["entry"]):
        for part in (body, *body.get("component", [])):
            coded = [c["code"] for c in part.get("code", {}).get("coding", [])]
            if "8480-6" in coded:
                del part["valueQuantity"]
            elif "4548-4" in coded:
                body["status"] = "preliminary"
            elif "39156-5" in coded:
                part["code"]["coding"] = [{"system": "urn:local", "code": "39156-5"}]
    found = explained(json.dumps(bundle).encode(), DICTIONARY)
    assert found.missing == {
        "age": Missing.NOT_STATED,
        "sex": Missing.NOT_STATED,
        "systolic": Missing.NO_VALUE,
        "hba1c": Missing.NOT_FINAL,
        "bmi": Missing.NOT_IN_BUNDLE,
    }
    assert {name for name, value in found.values.items() if value is None} == set(found.missing)


@pytest.mark.parametrize("code", [None, 3, {"coding": 5}, {"coding": [7]}, "x"])
def test_what_is_no_result_need_not_be_well_formed(code: Any) -> None:
    bundle = document()
    body = {"resourceType": "Observation", "status": "registered", "code": code}
    bundle["entry"].append({"resource": body})
    assert run(bundle) == extract(BUNDLE, DICTIONARY)


@pytest.mark.parametrize(("value", "rounded"), [("5.64", True), ("5.6", False), ("5.60", False)])
def test_a_number_with_more_decimals_than_the_dictionary_is_rounded_and_named(
    value: str, rounded: bool
) -> None:
    bundle = document()
    for body in (e["resource"] for e in bundle["entry"]):
        coded = [c["code"] for c in body.get("code", {}).get("coding", [])]
        if "4548-4" in coded and "valueQuantity" in body:
            body["valueQuantity"]["value"] = "@"
    data = json.dumps(bundle).replace('"@"', value).encode()
    found = explained(data, DICTIONARY)
    assert found.values["hba1c"] == Decimal("5.6")
    assert ("hba1c" in found.rounded) == rounded
    assert found.missing == {}


def test_what_was_extracted_does_not_print_values() -> None:
    bundle = document()
    pressure(bundle)["component"][0]["valueQuantity"]["value"] = 173
    found = explained(json.dumps(bundle).encode(), DICTIONARY)
    assert found.values["systolic"] == Decimal(173)
    assert "173" not in repr(found)


def test_a_wrong_unit_names_variable_both_units_and_remedy() -> None:
    bundle = document()
    pressure(bundle)["component"][0]["valueQuantity"]["code"] = "kPa"
    with pytest.raises(WrongUnit) as refusal:
        run(bundle)
    found = refusal.value
    assert (found.code, found.field) == ("wrong_unit", "systolic")
    assert found.message == "systolic is in 'kPa'; the dictionary has 'mm[Hg]'."
    assert found.remedy == "Convert it to 'mm[Hg]', coded in UCUM (http://unitsofmeasure.org)."


def test_a_value_out_of_bounds_names_the_variable_and_never_the_value() -> None:
    bundle = document()
    pressure(bundle)["component"][0]["valueQuantity"]["value"] = 98765
    with pytest.raises(OutOfDictionary) as refusal:
        run(bundle)
    assert (refusal.value.code, refusal.value.field) == ("out_of_dictionary", "systolic")
    assert "Check the measurement and its unit" in refusal.value.remedy
    assert "98765" not in str(refusal.value) + repr(refusal.value.facts)


@pytest.mark.parametrize(
    ("data", "field", "remedy"),
    [
        (b"not json", "$", "UTF-8 JSON"),
        (b"\xff", "$", "UTF-8 JSON"),
        (b"[" * 100_000, "$", "flatter"),
        (b'{"resourceType":"Bundle","resourceType":"Bundle","entry":[]}', "$", "every key once"),
        (b'{"resourceType":"Patient"}', "$.resourceType", "Bundle of one patient"),
        (b'{"resourceType":"Bundle","entry":{}}', "$.entry", "FHIR R4"),
        (b'{"resourceType":"Bundle","entry":[1]}', "$.entry[0]", "FHIR R4"),
        (b'{"resourceType":"Bundle","entry":[]}', "$.entry", "one patient per bundle"),
        (
            b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":3}}]}',
            "$.entry[0].resource.resourceType",
            "FHIR R4",
        ),
        (b" " * (LARGEST_BUNDLE + 1), "$", "smaller"),
    ],
)
def test_malformed_bundles_are_refused_with_a_path(data: bytes, field: str, remedy: str) -> None:
    with pytest.raises(MalformedFhir) as refusal:
        extract(data, DICTIONARY)
    assert (refusal.value.code, refusal.value.field) == ("malformed_fhir", field)
    assert remedy in refusal.value.remedy


@pytest.mark.parametrize(
    ("key", "value", "at", "remedy"),
    [
        ("code", 3, "code", "FHIR R4"),
        ("status", None, "status", "FHIR R4"),
        ("effectiveDateTime", "soon", "effectiveDateTime", "2026-01-31"),
        ("effectiveDateTime", "2026-01-31T09:00:00", "effectiveDateTime", "2026-01-31"),
        ("effectiveDateTime", None, "effectiveDateTime", "FHIR R4"),
        ("component", "x", "component", "FHIR R4"),
        ("component", [4], "component[0]", "FHIR R4"),
        ("subject", {"reference": "Patient/someone-else"}, "subject", "one patient per bundle"),
    ],
)
def test_a_wrong_type_in_an_observation_names_its_path(
    key: str, value: object, at: str, remedy: str
) -> None:
    bundle = document()
    observation = pressure(bundle)
    number = [entry["resource"] for entry in bundle["entry"]].index(observation)
    observation[key] = value
    with pytest.raises(MalformedFhir) as refusal:
        run(bundle)
    found = refusal.value
    assert (found.code, found.field) == ("malformed_fhir", f"$.entry[{number}].resource.{at}")
    assert remedy in found.remedy


@pytest.mark.parametrize("given", [None, 5])
def test_a_patient_without_an_id_is_not_called_by_its_absence(given: object) -> None:
    bundle = document()
    for entry in bundle["entry"]:
        if entry["resource"]["resourceType"] == "Patient":
            entry["resource"]["id"] = given
    pressure(bundle)["subject"]["reference"] = f"Patient/{given}"
    with pytest.raises(MalformedFhir, match="is another patient"):
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
