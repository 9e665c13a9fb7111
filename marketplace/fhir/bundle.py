"""Hostile FHIR R4 JSON -> the one patient and the usable observations of a bundle.

Plain `json` on purpose: full model validation is 30 times slower and belongs to the issuer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn, TypeVar

from marketplace.errors import MalformedFhir
from marketplace.wire.canonical import parse

LARGEST_BUNDLE = 5 * 1024 * 1024
# Status values that stand for a result (FHIR R4 ObservationStatus); the others are left out.
RESULT_STATUS = frozenset({"final", "amended", "corrected"})
PARTIAL_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
T = TypeVar("T")


@dataclass(frozen=True)
class Observation:
    """One usable observation: where it is, when it was taken, its JSON (never printed)."""

    path: str
    when: datetime
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class PatientBundle:
    """What a bundle says about its one patient. `unfinished`: observations that are no result, unread."""

    patient_path: str
    patient: dict[str, Any] = field(repr=False)
    observations: tuple[Observation, ...] = field(repr=False)
    unfinished: tuple[dict[str, Any], ...] = field(repr=False)


def read_bundle(data: bytes) -> PatientBundle:
    """The bundle's patient and observations. Raises MalformedFhir naming the JSON path."""
    document = parse(data, limit=LARGEST_BUNDLE, refusal=MalformedFhir, decimals=True)
    if not isinstance(document, dict) or document.get("resourceType") != "Bundle":
        malformed("$.resourceType", "is not Bundle", "Send a FHIR R4 Bundle of one patient.")
    resources = list(_resources(document))
    patients = [r for r in resources if r[2]["resourceType"] == "Patient"]
    if len(patients) != 1:
        malformed("$.entry", f"holds {len(patients)} patients", "Send one patient per bundle.")
    path, full_url, patient = patients[0]
    names = {full_url, f"Patient/{patient.get('id')}"} - {None}
    observed = [(p, r) for p, _, r in resources if r["resourceType"] == "Observation"]
    results = [(p, r) for p, r in observed if get(r, "status", str, p) in RESULT_STATUS]
    found = tuple(_observation(p, r, names) for p, r in results)
    unfinished = tuple(r for _, r in observed if r["status"] not in RESULT_STATUS)
    return PatientBundle(path, patient, found, unfinished)


def get(body: dict[str, Any], key: str, kind: type[T], path: str) -> T:
    """`body[key]`, which must be there and a `kind`. Raises MalformedFhir."""
    value = body.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        malformed(f"{path}.{key}", f"is not a {kind.__name__}", "Follow the FHIR R4 structure.")
    return value


def codings(body: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """The codings of a CodeableConcept (none, when it has text only)."""
    if "coding" not in body:
        return []
    listed = get(body, "coding", list, path)
    for i, item in enumerate(listed):
        if not isinstance(item, dict):
            malformed(f"{path}.coding[{i}]", "is not an object", "Follow the FHIR R4 structure.")
    return listed


def malformed(path: str, problem: str, remedy: str) -> NoReturn:
    """Raise MalformedFhir at `path`."""
    raise MalformedFhir(message=f"{path} {problem}.", remedy=remedy, field=path)


def _resources(document: dict[str, Any]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    for i, entry in enumerate(get(document, "entry", list, "$")):
        path = f"$.entry[{i}]"
        if not isinstance(entry, dict):
            malformed(path, "is not an object", "Follow the FHIR R4 structure.")
        resource = get(entry, "resource", dict, path)
        get(resource, "resourceType", str, f"{path}.resource")
        full_url = get(entry, "fullUrl", str, path) if "fullUrl" in entry else None
        yield f"{path}.resource", full_url, resource


def _observation(path: str, body: dict[str, Any], patient: set[str | None]) -> Observation:
    subject = get(body, "subject", dict, path)
    if get(subject, "reference", str, f"{path}.subject") not in patient:
        malformed(f"{path}.subject", "is another patient", "Send one patient per bundle.")
    return Observation(path, _when(body, path), body)


def _when(body: dict[str, Any], path: str) -> datetime:
    """A FHIR dateTime; a partial date counts from its first day, no zone counts as UTC."""
    text = get(body, "effectiveDateTime", str, path)
    if PARTIAL_DATE.fullmatch(text):
        text = (text + "-01-01")[:10]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        malformed(f"{path}.effectiveDateTime", "is not a dateTime", "Write 2026-01-31T09:00:00Z.")
    return when if when.tzinfo else when.replace(tzinfo=UTC)
