"""FHIR bundles with marks in them that must never leave a browser, and bundles with one thing wrong."""

import json
from typing import Any, Final

from marketplace.fhir.demo import demo_bundles

NAME: Final = "Kanarienvogel-Übermut"
BORN: Final = "1961-04-23"
NOTE: Final = "obs-canary-77120"
LONG: Final[dict[str, str]] = {"39156-5": "30.4418273", "4548-4": "5.3190077"}
"""Values with more digits than their variables take, by LOINC code: they are rounded before sealing."""
LDL, SYSTOLIC, CHOLESTEROL = "13457-7", "8480-6", "2093-3"
CANARIES: Final = (NAME, BORN, NOTE, *LONG.values())


def marked_bundle() -> bytes:
    """Of one synthetic patient: with marks, two values to be rounded, and an LDL that is not final."""
    document = _bundle()
    patient = document["entry"][0]["resource"]
    patient["name"] = [{"family": NAME, "given": [NOTE]}]
    patient["birthDate"] = BORN
    for code, value in LONG.items():
        _observation(document, code)["valueQuantity"]["value"] = f"@{value}@"
    _observation(document, LDL)["status"] = "preliminary"
    text = json.dumps(document, ensure_ascii=False)
    # Decimals as they stand: a float would not keep them.
    return text.replace('"@', "").replace('@"', "").encode()


def spoiled_bundle() -> bytes:
    """Total cholesterol far out of bounds, and LDL in another unit."""
    document = _bundle()
    _observation(document, CHOLESTEROL)["valueQuantity"]["value"] = 7_319
    _observation(document, LDL)["valueQuantity"]["code"] = "mmol/L"
    return json.dumps(document).encode()


def two_patients() -> bytes:
    """What a hospital exports of a whole ward."""
    document = _bundle()
    other = json.loads(json.dumps(document["entry"][0]))
    document["entry"].append(other)
    return json.dumps(document).encode()


def _bundle() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(demo_bundles(1, 7)[0])
    return document


def _observation(document: dict[str, Any], code: str) -> dict[str, Any]:
    for entry in document["entry"]:
        found: dict[str, Any] = entry["resource"]
        if found["resourceType"] != "Observation":
            continue
        if any(each.get("code") == code for each in found["code"]["coding"]):
            return found
    raise AssertionError(code)
