"""Hostile FHIR R4 JSON -> the one patient and the usable observations of a bundle.

Plain `json` on purpose: full model validation is 30 times slower and belongs to the issuer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from marketplace.errors import MalformedFhir
from marketplace.fhir.dates import Moment, date_time, instant
from marketplace.wire.canonical import parse

LARGEST_BUNDLE = 5 * 1024 * 1024
# Status values that stand for a result (FHIR R4 ObservationStatus); the others are left out.
RESULT_STATUS = frozenset({"final", "amended", "corrected"})
KINDS: Mapping[type, str] = {str: "text", list: "a list", dict: "an object"}
T = TypeVar("T")


@dataclass(frozen=True)
class Observation:
    """One usable observation: where it is, when it was taken, its JSON (never printed)."""

    path: str
    when: Moment
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
    names = {full_url, _reference(patient)} - {None}
    observed = [(p, r) for p, _, r in resources if r["resourceType"] == "Observation"]
    results = [(p, r) for p, r in observed if get(r, "status", str, p) in RESULT_STATUS]
    found = tuple(_observation(p, r, names) for p, r in results)
    unfinished = tuple(r for _, r in observed if r["status"] not in RESULT_STATUS)
    return PatientBundle(path, patient, found, unfinished)


def get(body: dict[str, Any], key: str, kind: type[T], path: str) -> T:
    """`body[key]`, which must be there and a `kind`. Raises MalformedFhir."""
    value = body.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        malformed(f"{path}.{key}", f"is not {KINDS[kind]}", "Follow the FHIR R4 structure.")
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


def _reference(patient: dict[str, Any]) -> str | None:
    """How observations of the same server name the patient; None where it has no id."""
    found = patient.get("id")
    return f"Patient/{found}" if isinstance(found, str) else None


def _observation(path: str, body: dict[str, Any], patient: set[str | None]) -> Observation:
    subject = get(body, "subject", dict, path)
    if get(subject, "reference", str, f"{path}.subject") not in patient:
        malformed(f"{path}.subject", "is another patient", "Send one patient per bundle.")
    return Observation(path, _when(body, path), body)


def _when(body: dict[str, Any], path: str) -> Moment:
    """When it was taken: its effectiveInstant, or else its effectiveDateTime, which most results have."""
    if "effectiveInstant" in body and "effectiveDateTime" not in body:
        when = instant(get(body, "effectiveInstant", str, path))
        name, called = "effectiveInstant", "an instant"
    else:
        when = date_time(get(body, "effectiveDateTime", str, path))
        name, called = "effectiveDateTime", "a dateTime"
    if when is None:
        malformed(f"{path}.{name}", f"is not {called}", "Write it as 2026-01-31T09:00:00Z.")
    return when
