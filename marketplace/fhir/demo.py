"""The demonstration dataset: a cardiometabolic dictionary and seeded synthetic patients."""

from __future__ import annotations

import json
from typing import Any

from carebundle import generate_cohort, to_json

from marketplace.fhir.extract import AGE, LOINC, REFERENCE_DATE, SEX
from marketplace.wire.dictionary import ENCODED, SCHEMA, Dictionary, from_json

# name, label, LOINC code, UCUM unit, lower, upper, decimals: clinically possible, not normal ranges
NUMBERS = (
    ("age", "Age in completed years", AGE.code, "a", "18", "110", 0),
    ("systolic", "Systolic blood pressure", "8480-6", "mm[Hg]", "60", "260", 0),
    ("diastolic", "Diastolic blood pressure", "8462-4", "mm[Hg]", "30", "160", 0),
    ("bmi", "Body mass index", "39156-5", "kg/m2", "10.0", "80.0", 1),
    ("hba1c", "Haemoglobin A1c", "4548-4", "%", "3.0", "20.0", 1),
    ("cholesterol", "Total cholesterol", "2093-3", "mg/dL", "50", "500", 0),
    ("hdl", "HDL cholesterol", "2085-9", "mg/dL", "5", "150", 0),
    ("ldl", "LDL cholesterol", "13457-7", "mg/dL", "5", "400", 0),
    ("triglycerides", "Triglycerides", "2571-8", "mg/dL", "10", "2000", 0),
)


def demo_dictionary() -> Dictionary:
    """`cardiometabolic`, version 1: nine numbers and sex."""
    variables = [_number(*row) for row in NUMBERS]
    sex = {
        "name": "sex",
        "kind": "category",
        "label": "Administrative sex",
        "code": {"system": SEX.system, "code": SEX.code},
        "categories": ["female", "male", "other"],
    }
    head = {"schema": SCHEMA, "name": "cardiometabolic", "version": 1}
    return from_json({**head, "variables": [*variables, sex]})


def tallied_dictionary() -> Dictionary:
    """`cardiometabolic`, version 2: as version 1, with an encoding of blood pressure, age and sex, so that
    records can be asked about in both lanes: of blood pressure and age means and variances under a condition,
    tables with sex, correlation and regression of one on the other.
    """
    document = json.loads(demo_dictionary().to_bytes())
    encoding = {
        "variables": [
            {"name": "age", "step": "1", "edges": ["40", "65"]},
            {"name": "systolic", "step": "1", "edges": ["120", "140"]},
            {"name": "sex"},
        ],
        "products": _products(),
    }
    return from_json({**document, "schema": ENCODED, "version": 2, "encoding": encoding})


def _products() -> list[list[str]]:
    sexes, ages, pressures = ([f"{of}={i}" for i in range(3)] for of in ("sex", "age", "systolic"))
    squares = [["systolic", "systolic"], ["age", "age"]]
    moments = [["age", "systolic"], ["age", "systolic?"], ["age*age", "systolic?"]]
    by_sex = [[each, other] for each in sexes for other in ("systolic", *pressures, "age")]
    by_age = [[each, other] for each in ages for other in ("systolic", *pressures, *sexes)]
    spreads = [["systolic*systolic", each] for each in (*sexes, *ages)]
    return [*squares, *moments, *by_sex, *by_age, *spreads]


def demo_bundles(n: int, seed: int) -> list[bytes]:
    """`n` synthetic FHIR R4 bundles as JSON bytes, the same for the same arguments."""
    cohort = generate_cohort(count=n, seed=seed, reference_date=REFERENCE_DATE)
    return [_compact(to_json(bundle)) for bundle in cohort]


def _compact(text: str) -> bytes:
    return json.dumps(json.loads(text), separators=(",", ":")).encode()


def _number(
    name: str, label: str, code: str, unit: str, lower: str, upper: str, decimals: int
) -> dict[str, Any]:
    return {
        "name": name,
        "kind": "number",
        "label": label,
        "unit": unit,
        "code": {"system": LOINC, "code": code},
        "lower": lower,
        "upper": upper,
        "decimals": decimals,
    }
