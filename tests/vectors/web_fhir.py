"""Vectors of FHIR: one small bundle, changes of its text, and what is extracted or refused."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from marketplace.fhir import dates
from marketplace.fhir.extract import UCUM, explained
from marketplace.sealing.row import to_row
from marketplace.wire import dictionary
from tests.vectors.tagging import outcome, tag

LOINC = "http://loinc.org"


def number(
    name: str, code: str, unit: str, lower: str, upper: str, decimals: int
) -> dict[str, Any]:
    bounds = {"lower": lower, "upper": upper, "decimals": decimals, "unit": unit}
    return {"name": name, "kind": "number", "label": name, "code": _code(code), **bounds}


def category(name: str, code: str, *categories: str) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "category",
        "label": name,
        "code": _code(code),
        "categories": list(categories),
    }


def _code(code: str) -> dict[str, str]:
    return {"system": LOINC, "code": code}


def observation(code: str, when: str, **more: Any) -> dict[str, Any]:
    body = {"resourceType": "Observation", "status": "final", "subject": {"reference": "Patient/p"}}
    return {
        "resource": {**body, "code": {"coding": [_code(code)]}, "effectiveDateTime": when, **more}
    }


def quantity(value: Any, unit: str) -> dict[str, Any]:
    return {"value": value, "code": unit, "system": UCUM}


DICTIONARY: dict[str, Any] = {
    "schema": dictionary.SCHEMA,
    "name": "fhir",
    "version": 1,
    "variables": [
        number("age", "30525-0", "a", "18", "110", 0),
        category("sex", "46098-0", "female", "male", "other"),
        number("hba1c", "4548-4", "%", "3.0", "20.0", 1),
        number("systolic", "8480-6", "mm[Hg]", "60", "260", 0),
        category("smoking", "72166-2", "never", "current"),
        number("bmi", "39156-5", "kg/m2", "10.0", "80.0", 1),
    ],
}
PRESSURE = [
    {"code": {"coding": [_code("8480-6")]}, "valueQuantity": quantity(131, "mm[Hg]")},
    {"code": {"text": "no code"}, "valueQuantity": quantity(1, "1")},
]
BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "entry": [
        {
            "fullUrl": "urn:uuid:1",
            "resource": {
                "resourceType": "Patient",
                "id": "p",
                "gender": "female",
                "birthDate": "1970-01-31",
            },
        },
        observation("4548-4", "2025-05-01", valueQuantity=quantity(5, "%")),
        observation("4548-4", "2025-06-01T09:00:00Z", valueQuantity=quantity(6, "%")),
        observation("85354-9", "2025-06", component=PRESSURE),
        observation(
            "72166-2", "2025", valueCodeableConcept={"coding": [{"code": "x"}, {"code": "never"}]}
        ),
        observation(
            "39156-5", "2025-01-01", status="preliminary", valueQuantity=quantity(9, "kg/m2")
        ),
        {"resource": {"resourceType": "Condition", "anything": [1.5, None]}},
    ],
}
TEXT = json.dumps(BUNDLE, separators=(",", ":"))
SIX, FIVE = '"value":6,', '"value":5,'
LAST = '"2025-06-01T09:00:00Z"'
CHANGES: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    # numbers: rounded half to even, exact, out of bounds, no number
    *(
        ((SIX, f'"value":{each},'),)
        for each in ("6.05", "6.15", "6.25", "6.0", "60E-1", "0.65e1", "3.0")
    ),
    *(
        ((SIX, f'"value":{each},'),)
        for each in ("6.0500000000000000000000000000001", "20.04", "2.96", "19.96")
    ),
    *(
        ((SIX, f'"value":{each},'),)
        for each in ("98765", "-6", "1E9000", "1E-9000", "true", '"6"', "null", "[6]")
    ),
    *(((SIX, f'"value":{each},'),) for each in ("6.", "1E10000", "NaN", "06")),
    ((SIX, '"comparator":"<","value":6,'),),
    # units
    *(
        ((f'{SIX}"code":"%"', f'{SIX}"code":{each}'),)
        for each in ('"mmol/mol"', "5", '"\\ud83d\\ude00"', '""')
    ),
    ((f'{SIX}"code":"%",', SIX),),
    ((f'{SIX}"code":"%","system":"{UCUM}"', f'{SIX}"code":"%","system":"urn:x"'),),
    ((f'{SIX}"code":"%","system":"{UCUM}"', f'{SIX}"code":"%"'),),
    # times
    *(
        ((LAST, each),)
        for each in (
            *(
                '"2025"',
                '"2025-05"',
                '"2025-05-01"',
                '"2025-04-30T23:00:00-01:00"',
                '"2025-05-01T00:00:00.0Z"',
            ),
            *(
                '"2025-05-01T00:00:00.00000000001Z"',
                '"2025-05-01T13:59:59+14:00"',
                '"2025-04-30T23:59:60Z"',
            ),
            *(
                '"0001-01-01"',
                '"0099-12-31T23:59:59Z"',
                '"9999-12-31T23:59:60-14:00"',
                '"2024-02-29"',
            ),
            *(
                '"2025-02-29"',
                '"2025-W22"',
                '"20250601"',
                '"2025-06-01T09:00:00"',
                '"2025-06-01T09:00Z"',
            ),
            *(
                '"2025-06-01 09:00:00Z"',
                '"2025-06-01T09:00:61Z"',
                '"2025-06-01T24:00:00Z"',
                '"0000"',
                '""',
            ),
            *(
                '"2025-06-01T09:00:00+14:30"',
                '"\\u0662\\u0660\\u0662\\u0665"',
                '"2025-06-01\\n"',
                "5",
                "null",
            ),
        )
    ),
    ((f'"effectiveDateTime":{LAST}', f'"effectiveInstant":{LAST}'),),
    ((f'"effectiveDateTime":{LAST}', '"effectiveInstant":"2025-06-01"'),),
    ((f'"effectiveDateTime":{LAST},', ""),),
    # the patient
    *(
        (('"1970-01-31"', each),)
        for each in ('"1970"', '"1970-01"', '"19700131"', '"1970-W05-6"', '"1970-02-30"')
    ),
    *(
        (('"1970-01-31"', each),)
        for each in ('"2026-01-01"', '"1916-01-01"', '"2007-12-31"', '"2030-01-01"', "5")
    ),
    *((('"female"', each),) for each in ('"unknown"', '"other"', '"F"', "null", "1")),
    (('"gender":"female",', ""),),
    ((',"birthDate":"1970-01-31"', ""),),
    (('"id":"p"', '"id":5'), ("Patient/p", "Patient/5")),
    (('"id":"p",', ""), ("Patient/p", "Patient/None")),
    (("Patient/p", "urn:uuid:1"),),
    (("Patient/p", "Patient/q"),),
    (('"subject":{"reference":"Patient/p"},', ""),),
    (('"Patient"', '"Person"'),),
    (('"Condition"', '"Patient"'),),
    # structure
    (('"Bundle"', '"bundle"'),),
    (('"fullUrl":"urn:uuid:1"', '"fullUrl":null'),),
    (('"final"', '"registered"'),),
    (('"final"', "null"),),
    (
        (
            '{"resource":{"resourceType":"Condition"',
            '{"resource":5},{"resource":{"resourceType":"Condition"',
        ),
    ),
    (('{"resource":{"resourceType":"Condition"', '[],{"resource":{"resourceType":"Condition"'),),
    (('"resourceType":"Condition"', '"resourceType":5'),),
    (('{"code":{"text":"no code"}', '{"code":5'),),
    (('{"code":{"text":"no code"}', '{"code":{"coding":5}'),),
    (('{"code":{"text":"no code"}', '{"code":{"coding":[5]}'),),
    (('"code":{"text":"no code"},', ""),),
    (
        (
            '"valueQuantity":{"value":131,"code":"mm[Hg]","system":"http://unitsofmeasure.org"}',
            '"x":1',
        ),
    ),
    (('"valueQuantity":{"value":131', '"valueQuantity":1.5,"x":{"value":131'),),
    (('"valueQuantity":{"value":131', '"valueCodeableConcept":{},"x":{"value":131'),),
    (('"code":"never"', '"code":"sometimes"'),),
    (('"coding":[{"code":"x"},', '"coding":[7,{"code":"x"},'),),
    (('"valueCodeableConcept":{', '"valueQuantity":{'),),
    (('"status":"preliminary"', '"status":"preliminary","component":5'),),
    (('"status":"preliminary"', '"status":"amended"'),),
    (("39156-5", "0"), ("4548-4", "1"), ("85354-9", "2"), ("8480-6", "3"), ("72166-2", "4")),
    (('"entry":[', '"entry":[[],'),),
    (('"entry":', '"entry":[],"entry":'),),
    (('"entry":', '"Entry":'),),
    ((TEXT, ""),),
    ((TEXT, "5"),),
    ((TEXT, "[" * 65),),
    ((TEXT, "\ufeff" + TEXT),),
)
DATES = (
    *(
        "2026",
        "2026-02",
        "2026-02-28",
        "2026-02-28T23:59:59Z",
        "2026-02-28T23:59:60+14:00",
        "0001",
        "0010-10",
    ),
    *(
        "2026-02-28T00:00:00.000000001-13:59",
        "9999-12-31",
        "1000",
        "0100-01-01",
        "2000-02-29",
        "1900-02-29",
    ),
    *("2026-01-31T09:00:00.1Z", "2026-01-31T10:00:00.10+01:00", "2026-01-31T09:00:00.09Z"),
    *("2026-01-31T09:00:00.100000001Z", "2026-01-31T09:00:00.000Z", "2026-01-31T08:59:60Z"),
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
        "2026-02-00",
    ),
    *(
        "20260131",
        "2026-W05-6",
        "2026-031",
        "2026-01-31T",
        "2026-01-31T09",
        "2026-01-31T09:00:00,5Z",
        "2026-04-31",
    ),
)


def vectors() -> dict[str, Any]:
    read = dictionary.from_json(DICTIONARY)
    return {
        "dictionary": DICTIONARY,
        "bundle": TEXT,
        "changes": [
            {"changes": each, **outcome(partial(extracted, _changed(each), read))}
            for each in CHANGES
        ],
        "dates": [_date(text) for text in DATES],
    }


def _changed(changes: tuple[tuple[str, str], ...]) -> bytes:
    text = TEXT
    for old, new in changes:
        if old not in text:
            raise AssertionError(f"nothing to change: {old}")
        text = text.replace(old, new)
    return text.encode()


def extracted(bundle: bytes, read: dictionary.Dictionary) -> dict[str, Any]:
    """What is found, as the row that it becomes."""
    found = explained(bundle, read)
    row = list(to_row(read, found.values))
    missing = {name: str(why) for name, why in found.missing.items()}
    return {"row": row, "missing": missing, "rounded": list(found.rounded)}


def _date(text: str) -> dict[str, Any]:
    moment, day = dates.date_time(text), dates.full_date(text)
    # In the browser seconds count from 1970.
    seconds = None if moment is None else moment.seconds - 719_163 * 86_400
    return {
        "text": text,
        "moment": None
        if moment is None
        else tag({"seconds": seconds, "fraction": moment.fraction}),
        "instant": dates.instant(text) is not None,
        "day": None if day is None else tag({"year": day.year, "month": day.month, "day": day.day}),
    }
