"""The dictionary's values of one patient, from a FHIR R4 bundle: the latest result of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Any

from marketplace.errors import MalformedFhir, OutOfDictionary, WrongUnit
from marketplace.fhir.bundle import (
    Observation,
    PatientBundle,
    codings,
    get,
    malformed,
    read_bundle,
)
from marketplace.fhir.dates import full_date
from marketplace.sealing.row import Value, to_row
from marketplace.wire.dictionary import Code, Dictionary, Kind, Variable

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
AGE = Code(LOINC, "30525-0")
SEX = Code(LOINC, "46098-0")
# A fixed day, so that the same bundle always gives the same values.
REFERENCE_DATE = date(2026, 1, 1)


class Missing(StrEnum):
    """Why a variable has no value."""

    NOT_IN_BUNDLE = "not_in_bundle"  # no observation has its code
    NOT_FINAL = "not_final"  # observations have, and none is a result by its status
    NO_VALUE = "no_value"  # results have, without a quantity or a coded value
    NOT_STATED = "not_stated"  # age or sex, of which the patient says nothing


@dataclass(frozen=True)
class Found:
    """What a bundle has for one variable."""

    value: Value = field(default=None, repr=False)
    missing: Missing | None = None
    rounded: bool = False


@dataclass(frozen=True)
class Extracted:
    """One entry a variable in `values`, None for those in `missing`; names of those that were rounded."""

    values: dict[str, Value] = field(repr=False)
    missing: dict[str, Missing]
    rounded: tuple[str, ...]


def extract(
    bundle: bytes, dictionary: Dictionary, reference: date = REFERENCE_DATE
) -> dict[str, Value]:
    """The values alone; see `explained`."""
    return explained(bundle, dictionary, reference).values


def explained(bundle: bytes, dictionary: Dictionary, reference: date = REFERENCE_DATE) -> Extracted:
    """One value a variable, None where the bundle has no result; numbers rounded half to even.

    Age counts completed years at `reference`. Of results with the same time the last listed wins.
    Raises MalformedFhir, WrongUnit or OutOfDictionary, none of which says a value.
    """
    read = read_bundle(bundle)
    found = {v.name: _found(v, read, reference) for v in dictionary.variables}
    values = {name: each.value for name, each in found.items()}
    to_row(dictionary, values)
    missing = {name: each.missing for name, each in found.items() if each.missing is not None}
    return Extracted(values, missing, tuple(name for name, each in found.items() if each.rounded))


def _found(variable: Variable, bundle: PatientBundle, reference: date) -> Found:
    if variable.code == AGE:
        return _stated(_age(bundle, reference))
    if variable.code == SEX:
        return _stated(_sex(bundle))
    latest: tuple[Observation, str, dict[str, Any]] | None = None
    empty = False
    for observation in bundle.observations:
        for path, part in _parts(observation.path, observation.body):
            newer = latest is None or observation.when >= latest[0].when
            if newer and _has_code(part, variable.code, path):
                if _has_value(part):
                    latest = (observation, path, part)
                else:
                    empty = True
    if latest is None:
        return Found(missing=Missing.NO_VALUE if empty else _why_none(variable.code, bundle))
    return _read(variable, latest[2], latest[1])


def _stated(value: Value) -> Found:
    return Found(value, Missing.NOT_STATED if value is None else None)


def _why_none(code: Code, bundle: PatientBundle) -> Missing:
    unfinished = any(_mentions(body, code) for body in bundle.unfinished)
    return Missing.NOT_FINAL if unfinished else Missing.NOT_IN_BUNDLE


def _mentions(body: dict[str, Any], code: Code) -> bool:
    """Whether an observation that is no result is about this: it need not be well formed."""
    try:
        return any(_has_code(part, code, path) for path, part in _parts("$", body))
    except MalformedFhir:
        return False


def _parts(path: str, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The observation itself and its components (a blood pressure has two)."""
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


def _read(variable: Variable, part: dict[str, Any], path: str) -> Found:
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
    return Found(str(matching[0]))


def _quantity(variable: Variable, quantity: dict[str, Any], path: str) -> Found:
    _require_unit(variable, quantity, path)
    raw = quantity.get("value")
    if isinstance(raw, bool) or not isinstance(raw, int | Decimal):
        malformed(f"{path}.value", "is not a number", "Write it as a JSON number.")
    value = Decimal(raw)
    if "comparator" in quantity:
        malformed(f"{path}.comparator", "makes it a bound", "Send a measured value.")
    if not variable.lower <= value <= variable.upper:
        return Found(value)  # refused by name in `explained`; rounding it here could overflow
    step = Decimal(1).scaleb(-variable.decimals)
    rounded = value.quantize(step, rounding=ROUND_HALF_EVEN)
    return Found(rounded, rounded=rounded != value)


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
    born = full_date(text)
    if born is None:
        malformed(f"{path}.birthDate", "is not a full date", "Write it as 1970-01-31.")
    before = (reference.month, reference.day) < (born.month, born.day)
    return Decimal(reference.year - born.year - before)


def _sex(bundle: PatientBundle) -> Value:
    if "gender" not in bundle.patient:
        return None
    gender = get(bundle.patient, "gender", str, bundle.patient_path)
    return None if gender == "unknown" else gender
