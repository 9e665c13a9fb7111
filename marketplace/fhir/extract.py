"""The dictionary's values of one patient, from a FHIR R4 bundle: the latest result of each."""

from __future__ import annotations

from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from marketplace.errors import OutOfDictionary, WrongUnit
from marketplace.fhir.bundle import (
    Observation,
    PatientBundle,
    codings,
    get,
    malformed,
    read_bundle,
)
from marketplace.sealing.row import Value, to_row
from marketplace.wire.dictionary import Code, Dictionary, Kind, Variable

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
AGE = Code(LOINC, "30525-0")
SEX = Code(LOINC, "46098-0")
# A fixed day, so that the same bundle always gives the same values.
REFERENCE_DATE = date(2026, 1, 1)


def extract(
    bundle: bytes, dictionary: Dictionary, reference: date = REFERENCE_DATE
) -> dict[str, Value]:
    """One entry a variable, None where the bundle has no result; numbers rounded half to even.

    Age counts completed years at `reference`. Of results with the same time the last listed wins.
    Raises MalformedFhir, WrongUnit or OutOfDictionary, none of which says a value.
    """
    read = read_bundle(bundle)
    values = {v.name: _value(v, read, reference) for v in dictionary.variables}
    to_row(dictionary, values)
    return values


def _value(variable: Variable, bundle: PatientBundle, reference: date) -> Value:
    if variable.code == AGE:
        return _age(bundle, reference)
    if variable.code == SEX:
        return _sex(bundle)
    latest: tuple[Observation, str, dict[str, Any]] | None = None
    for observation in bundle.observations:
        for path, part in _parts(observation):
            newer = latest is None or observation.when >= latest[0].when
            if newer and _has_code(part, variable.code, path) and _has_value(part):
                latest = (observation, path, part)
    return None if latest is None else _read(variable, latest[2], latest[1])


def _parts(observation: Observation) -> list[tuple[str, dict[str, Any]]]:
    """The observation itself and its components (a blood pressure has two)."""
    body, path = observation.body, observation.path
    parts = [(path, body)]
    listed = get(body, "component", list, path) if "component" in body else []
    for i, part in enumerate(listed):
        if not isinstance(part, dict):
            malformed(f"{path}.component[{i}]", "is not an object", "Follow FHIR R4.")
        parts.append((f"{path}.component[{i}]", part))
    return parts


def _has_code(part: dict[str, Any], code: Code, path: str) -> bool:
    concept = get(part, "code", dict, path)
    return any(
        c.get("system") == code.system and c.get("code") == code.code
        for c in codings(concept, f"{path}.code")
    )


def _has_value(part: dict[str, Any]) -> bool:
    return "valueQuantity" in part or "valueCodeableConcept" in part


def _read(variable: Variable, part: dict[str, Any], path: str) -> Value:
    if variable.kind is Kind.NUMBER:
        quantity = get(part, "valueQuantity", dict, path)
        return _quantity(variable, quantity, f"{path}.valueQuantity")
    concept = get(part, "valueCodeableConcept", dict, path)
    found = [c.get("code") for c in codings(concept, f"{path}.valueCodeableConcept")]
    matching = [c for c in found if c in variable.categories]
    if not matching:
        raise OutOfDictionary(
            message=f"{variable.name} is none of its categories.",
            remedy=f"Code it as one of: {', '.join(variable.categories)}.",
            field=variable.name,
        )
    return str(matching[0])


def _quantity(variable: Variable, quantity: dict[str, Any], path: str) -> Decimal:
    _require_unit(variable, quantity, path)
    raw = quantity.get("value")
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal):
        malformed(f"{path}.value", "is not a number", "Write it as a JSON number.")
    value = Decimal(raw)
    if "comparator" in quantity:
        malformed(f"{path}.comparator", "makes it a bound", "Send a measured value.")
    if not variable.lower <= value <= variable.upper:
        return value  # refused by name in `extract`; rounding it here could overflow
    step = Decimal(1).scaleb(-variable.decimals)
    return value.quantize(step, rounding=ROUND_HALF_EVEN)


def _require_unit(variable: Variable, quantity: dict[str, Any], path: str) -> None:
    unit = get(quantity, "code", str, path)
    if quantity.get("system") != UCUM or unit != variable.unit:
        raise WrongUnit(
            message=f"{variable.name} is in {unit[:40]!r}; the dictionary has {variable.unit!r}.",
            remedy=f"Convert it to {variable.unit!r}, coded in UCUM ({UCUM}).",
            field=variable.name,
            facts={"found": unit[:40], "expected": variable.unit},
        )


def _age(bundle: PatientBundle, reference: date) -> Value:
    if "birthDate" not in bundle.patient:
        return None
    path = bundle.patient_path
    text = get(bundle.patient, "birthDate", str, path)
    try:
        born = date.fromisoformat(text)
    except ValueError:
        malformed(f"{path}.birthDate", "is not a full date", "Write it as 1970-01-31.")
    before = (reference.month, reference.day) < (born.month, born.day)
    return Decimal(reference.year - born.year - before)


def _sex(bundle: PatientBundle) -> Value:
    if "gender" not in bundle.patient:
        return None
    gender = get(bundle.patient, "gender", str, bundle.patient_path)
    return None if gender == "unknown" else gender
