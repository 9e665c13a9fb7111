"""What an operator lists, as types. All of it is its word; what is paid for is read from the chain (`Ask`).

Reading another shape raises Refusal (`malformed_answer`), and names the part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from marketplace.client.http import malformed_answer, objects, reading
from marketplace.client.waiting import PAST_DATES
from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary as dictionaries
from marketplace.wire.data_use import permission_words
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.http import hash_field, to_hex
from marketplace.wire.terms import ClassTerms, class_id


@dataclass(frozen=True)
class ConsentClass:
    """A consent class of a dataset. `index` is 1 for the first; `definition` is what a grant names."""

    id: bytes
    index: int
    definition: bytes
    terms: ClassTerms
    live: int

    @property
    def permits(self) -> tuple[str, ...]:
        """What its patients permit, in sentences, from the terms themselves."""
        return tuple(permission_words(self.terms))

    @property
    def named(self) -> dict[str, str]:
        """As `Marketplace.grant_message` takes it."""
        return {"class": to_hex(self.id), "definition": to_hex(self.definition)}


@dataclass(frozen=True)
class Dataset:
    """A dataset with its classes; no `dictionary` until its steward has handed it over."""

    id: bytes
    steward: str
    uri: str
    retired: bool
    dictionary: Dictionary | None
    classes: tuple[ConsentClass, ...]

    @property
    def name(self) -> str:
        """The dictionary's; empty without one."""
        return "" if self.dictionary is None else self.dictionary.name

    @property
    def live(self) -> int:
        """Consents of all classes that cohorts may count now."""
        return sum(each.live for each in self.classes)


@dataclass(frozen=True)
class CatalogueEntry:
    """An analysis that can be asked for. `parameters` says what each of them means, by name.

    asks, tells: what it answers and with what, in words; empty where the operator does not say.
    """

    id: str
    title: str
    releases: str
    parameters: Mapping[str, str]
    example: Mapping[str, Any]
    lane: Lane = Lane.VAULT
    asks: str = ""
    tells: str = ""


@dataclass(frozen=True)
class ListedRequest:
    """A request as everybody sees it; `notice_until` only while its notice runs."""

    request: str
    researcher: str
    dataset: str
    lane: Lane
    analysis: str
    purpose: str
    stage: str
    notice_until: datetime | None
    submitted_at: datetime
    reason: str | None


def dataset_of(found: Mapping[str, Any]) -> Dataset:
    """One dataset of an answer.

    Raises:
        Refusal: `malformed_answer`, `class_differs`; as terms and dictionaries are read.
    """
    with reading("dataset"):
        dataset, dictionary = hash_field(found["dataset"], "dataset"), found["dictionary"]
        return Dataset(
            id=dataset,
            steward=str(found["steward"]),
            uri=str(found["uri"]),
            retired=bool(found["retired"]),
            dictionary=None if dictionary is None else dictionary_of(dictionary),
            classes=classes_of(dataset, found),
        )


def classes_of(dataset: bytes, found: Mapping[str, Any]) -> tuple[ConsentClass, ...]:
    """A dataset's classes, in their order. Raises as `dataset_of`."""
    listed = enumerate(objects(found, "classes"), 1)
    return tuple(_class_of(class_id(dataset, index), index, each) for index, each in listed)


def dictionary_of(found: Mapping[str, Any]) -> Dictionary:
    """The dictionary that an operator shows with a dataset. Raises as `wire.dictionary.from_json`."""
    return dictionaries.from_json({"schema": "usufruct-dictionary/1", **found})


def catalogue_of(found: Mapping[str, Any]) -> CatalogueEntry:
    """One analysis of an answer. Raises Refusal (`malformed_answer`)."""
    parameters = objects(found, "parameters")
    with reading("analysis"):
        return CatalogueEntry(
            id=str(found["id"]),
            title=str(found["title"]),
            releases=str(found["releases"]),
            parameters={str(each["name"]): str(each["means"]) for each in parameters},
            example=dict(found["example"]),
            lane=Lane(found.get("lane", Lane.VAULT)),
            asks=str(found.get("asks", "")),
            tells=str(found.get("tells", "")),
        )


def request_of(found: Mapping[str, Any]) -> ListedRequest:
    """One request of an answer. Raises Refusal (`malformed_answer`)."""
    with reading("request"):
        reason = found["reason"]
        return ListedRequest(
            request=str(found["request"]),
            researcher=str(found["researcher"]),
            dataset=str(found["dataset"]),
            lane=Lane(found["lane"]),
            analysis=str(found["analysis"]),
            purpose=str(found["purpose"]),
            stage=str(found["stage"]),
            notice_until=_moment(found["notice_until"]),
            submitted_at=datetime.fromisoformat(str(found["submitted_at"])).astimezone(UTC),
            reason=None if reason is None else str(reason["message"]),
        )


def _class_of(identity: bytes, index: int, found: Mapping[str, Any]) -> ConsentClass:
    """What a patient would sign is computed from the terms that are shown: no others can be passed off.

    The contract takes no grant under another definition than the published one.
    """
    with reading("terms"):
        terms = ClassTerms.from_json(found["terms"])
        shown = ConsentClass(
            id=identity,
            index=index,
            definition=terms.definition_hash(identity),
            terms=terms,
            live=int(found["live"]),
        )
    if {name: found[name] for name in ("class", "definition")} != shown.named:
        raise _class_differs(index)
    return shown


def _class_differs(index: int) -> Refusal:
    return Refusal(
        code="class_differs",
        message=f"The operator shows terms of class {index} that are not those it says were published.",
        remedy="Sign nothing on them. Ask a node that you trust (--node and --manifest).",
        field="definition",
    )


def _moment(seconds: object) -> datetime | None:
    """UTC. Raises Refusal (`malformed_answer`)."""
    if seconds is None:
        return None
    if not isinstance(seconds, int) or not 0 <= seconds < PAST_DATES:
        raise malformed_answer("notice_until")
    return datetime.fromtimestamp(seconds, UTC)
