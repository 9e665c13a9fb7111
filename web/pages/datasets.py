"""Datasets: what is measured, what patients permit, at what price, and who stands behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import flask

from marketplace import encodings, words
from marketplace.errors import Refusal
from marketplace.wire.class_page import ClassPage
from marketplace.wire.data_use import permission_words
from marketplace.wire.http import hash_field, to_hex
from marketplace.wire.terms import ClassTerms, index_of
from marketplace.wire.units import written
from web import lanes
from web.site import site

SYSTEMS: Final[Mapping[str, str]] = {
    "http://loinc.org": "LOINC",
    "http://snomed.info/sct": "SNOMED CT",
    "http://hl7.org/fhir/sid/icd-10": "ICD-10",
    "http://unitsofmeasure.org": "UCUM",
}
"""Coding systems by the names that people know them under; another is shown as its address."""
HEADINGS: Final[Mapping[str, str]] = {
    "what": "What is used",
    "who": "Who may ask",
    "why": "Why",
    "how_long": "For how long",
    "how_protected": "How it is protected",
    "how_to_stop": "How to stop",
    "pay": "What you are paid",
}
"""Of a class page's paragraphs: pay comes after the risks."""

routes = flask.Blueprint("datasets", __name__)


@routes.get("/datasets")
def index() -> str:
    """Every dataset on chain."""
    found = [_summary(each) for each in site().operator.reads.datasets()]
    return flask.render_template("datasets/index.html", datasets=found)


@routes.get("/datasets/<dataset>")
def show(dataset: str) -> str:
    """One dataset."""
    reads, key = site().operator.reads, hash_field(dataset, "dataset")
    found = reads.dataset(key)
    return flask.render_template(
        "datasets/show.html",
        dataset=found,
        name=name_of(found),
        link=_link(found["uri"]),
        variables=variables_of(found),
        lanes=lanes.offers(found),
        encoding=encodings.told(reads.dictionaries.of(key)) if found["dictionary"] else None,
        classes=classes_of(found),
        issuers=reads.issuers(key),
        committee=reads.committee(),
    )


@routes.get("/datasets/<dataset>/classes/<int:index>")
def show_class(dataset: str, index: int) -> str:
    """What a patient of one class reads, and what follows from its terms."""
    found = site().operator.reads.dataset(hash_field(dataset, "dataset"))
    return flask.render_template(
        "datasets/show_class.html",
        dataset=found["dataset"],
        name=name_of(found),
        class_=class_of(found, index),
        headings=HEADINGS,
    )


def classes_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All classes of a dataset, as pages show them."""
    return [_class(each) for each in found["classes"]]


def class_of(found: Mapping[str, Any], index: int) -> dict[str, Any]:
    """One class of a dataset, as pages show it. Raises Refusal where the dataset has none of this index."""
    for each in found["classes"]:
        if _index(each) == index:
            return _class(each)
    raise Refusal(
        code="unknown_dataset",
        message=f"This dataset has no class {index}.",
        remedy="Choose one of the classes on the dataset's page.",
        field="index",
    )


def page_of(terms: ClassTerms) -> ClassPage | None:
    """What patients of a class read; None while its steward has not handed it over."""
    try:
        return site().operator.class_pages.of(terms.terms_hash)
    except Refusal as refusal:
        if refusal.code != "class_page_missing":
            raise
        return None


def _summary(found: Mapping[str, Any]) -> dict[str, Any]:
    dictionary = found["dictionary"]
    return {
        "id": found["dataset"],
        "name": name_of(found),
        "labels": [each["label"] for each in dictionary["variables"]] if dictionary else None,
        "classes": len(found["classes"]),
        "live": sum(each["live"] for each in found["classes"]),
        "retired": found["retired"],
    }


def name_of(found: Mapping[str, Any]) -> str:
    """What a dataset is called: by its dictionary; by its id while its steward has not handed that over."""
    dictionary = found["dictionary"]
    return str(dictionary["name"]) if dictionary else f"Dataset {found['dataset'][:10]}"


def _link(uri: str) -> str | None:
    """What a steward wrote is a link only where it can do nothing but be opened."""
    return uri if uri.startswith("https://") else None


def variables_of(found: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The dictionary as a table shows it; None while its steward has not handed it over."""
    if found["dictionary"] is None:
        return None
    return [_variable(each) for each in found["dictionary"]["variables"]]


def _variable(of: Mapping[str, Any]) -> dict[str, Any]:
    code = of["code"]
    return {
        "name": of["name"],
        "label": of["label"],
        "code": f"{SYSTEMS.get(code['system'], code['system'])} {code['code']}",
        "unit": written(of.get("unit", "")),
        "ucum": of.get("unit", ""),
        "values": _values(of),
    }


def _values(of: Mapping[str, Any]) -> str:
    """What a variable may be: `60 to 260, in whole numbers`, or its categories."""
    if "categories" in of:
        return ", ".join(of["categories"])
    places = of["decimals"]
    steps = "in whole numbers" if not places else f"to {places} decimal{'s' * (places > 1)}"
    return f"{of['lower']} to {of['upper']}, {steps}"


def _class(found: Mapping[str, Any]) -> dict[str, Any]:
    return shown_class(found, page_of(ClassTerms.from_json(found["terms"])))


def shown_class(found: Mapping[str, Any], page: ClassPage | None) -> dict[str, Any]:
    """A class (`reads.consent_class`) as pages show it, with the page that its patients read."""
    terms = ClassTerms.from_json(found["terms"])
    return {
        "index": _index(found),
        "id": found["class"],
        "definition": found["definition"],
        "live": found["live"],
        "permits": permission_words(terms),
        "in_words": found["in_words"],
        "terms": terms,
        "page": page,
        "page_hash": to_hex(terms.terms_hash),
        "odds": words.odds_of(
            terms.max_cost, what="the result of the largest study that this class allows"
        ),
    }


def _index(found: Mapping[str, Any]) -> int:
    return index_of(bytes.fromhex(found["class"][2:]))
