"""A steward's desk: datasets, their issuers, and consent classes, each previewed as patients will read it.

Nothing is published here: the steward's own browser signs and sends what these pages have checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import flask
from werkzeug.exceptions import RequestEntityTooLarge

from marketplace import words
from marketplace.errors import Refusal
from marketplace.wire.canonical import JSON_LIMIT, canonical
from marketplace.wire.class_page import PARAGRAPHS, ClassPage
from marketplace.wire.data_use import DUTIES, FIRST_USE, MODIFIERS, PERMISSIONS, RELEASES, USES
from marketplace.wire.dictionary import Dictionary, load
from marketplace.wire.http import answer, hash_field, problem_document, read_body, to_hex
from marketplace.wire.terms import ClassTerms, class_id
from web import class_form, sessions
from web.class_form import Draft
from web.pages.datasets import HEADINGS, classes_of, name_of, shown_class, variables_of
from web.showing import token
from web.site import site

FAULTY: Final = 422
"""Status of a form that is given back."""
NOT_JSON: Final = "The bytes are not JSON that this format allows"
"""How `wire.canonical` begins what it says to programs."""
NO_DICTIONARY: Final = "There is no dictionary yet. Read it from a file, or write it here."
TOO_LARGE: Final = (
    f"This is too large for a dictionary, which has at most {JSON_LIMIT:,} bytes. "
    "Shorten labels and categories, or leave variables out."
)
PARTS: Final = "multipart/form-data"
MOST_DICTIONARY: Final = 2 * JSON_LIMIT
"""Bytes of the form that brings one: the largest there may be, with each end of a line as two characters. As
parts alone: URL encoding takes three bytes for one of most scripts, and eighty times as much while it is read
(`limits.MOST_FORM`). Of parts there are a thousand at most, and only a steward's form is read at all."""
EXAMPLE_COST: Final = 30_000_000
"""Nano-rho, of which the form says what they mean."""

routes = flask.Blueprint("steward", __name__)


@routes.get("/steward")
def home() -> str:
    """Every dataset of the steward who is signed in."""
    own = sessions.standings().of(sessions.account()).steward_of
    found = [_listed(site().operator.reads.dataset(each)) for each in own]
    return flask.render_template("steward/home.html", datasets=found)


@routes.get("/steward/new")
def new() -> str:
    """The form of a new dataset."""
    return _new("")


@routes.post("/steward/new")
def check_dictionary() -> flask.typing.ResponseReturnValue:
    """A form's `dictionary` (JSON text) -> the page with the table that patients see, or what is wrong."""
    try:
        text = _sent()
    except RequestEntityTooLarge:
        return _new("", error=TOO_LARGE), 413
    if len(text.encode()) > JSON_LIMIT:
        return _new(text, error=TOO_LARGE), 413
    if not text.strip():
        return _new(text, error=NO_DICTIONARY), FAULTY
    try:
        return _new(text, load(text.encode()))
    except Refusal as refusal:
        return _new(text, error=_at_field(refusal)), int(problem_document(refusal)["status"])


@routes.get("/steward/<dataset>")
def show(dataset: str) -> str:
    """One dataset: its classes, its issuers, its end."""
    reads, key = site().operator.reads, hash_field(dataset, "dataset")
    found = reads.dataset(key)
    return flask.render_template(
        "steward/show.html",
        dataset=found,
        name=name_of(found),
        classes=classes_of(found),
        issuers=reads.issuers(key),
        facts={"dataset": found["dataset"], "hash": found["dictionary_hash"]},
    )


@routes.get("/steward/<dataset>/classes/new")
def new_class(dataset: str) -> str:
    """The form of a new consent class."""
    return _class_form(_dataset(dataset), Draft(typed={"language": "en"}))


@routes.post("/steward/<dataset>/classes/new")
def check_class(dataset: str) -> flask.typing.ResponseReturnValue:
    """The form of a class -> its preview; or the form again, with every fault at its field.

    With `edit`, the form again as it was sent.
    """
    found = _dataset(dataset)
    draft = class_form.read(flask.request.form, token().decimals)
    if "edit" in flask.request.form:
        return _class_form(found, Draft(draft.typed, draft.chosen))
    if draft.terms is None or draft.page is None:
        return _class_form(found, draft), FAULTY
    return _preview(found, draft, draft.terms, draft.page)


@routes.post("/steward/<dataset>/pages")
def hold_page(dataset: str) -> flask.Response:
    """`{"page"}` -> `{"terms_hash"}`: keeps the page of a class that is about to be published.

    Raises:
        BadClassPage; Refusal: `not_a_steward`, `too_many_pages`, `storage_full`, `storage_unavailable`.
    """
    hash_field(dataset, "dataset")
    raw = canonical(read_body({"page"})["page"])
    held = site().operator.class_pages.hold(raw, sessions.account())
    return answer({"terms_hash": to_hex(held.hash())})


# --- datasets


def _sent() -> str:
    """The dictionary of the form at hand, lines ended as in a file. Raises RequestEntityTooLarge."""
    if flask.request.mimetype == PARTS:
        flask.request.max_content_length = flask.request.max_form_memory_size = MOST_DICTIONARY
    return flask.request.form.get("dictionary", "").replace("\r\n", "\n")


def _new(text: str, dictionary: Dictionary | None = None, error: str = "") -> str:
    document = None if dictionary is None else json.loads(dictionary.to_bytes())
    digest = None if dictionary is None else to_hex(dictionary.hash())
    return flask.render_template(
        "steward/new.html",
        text=text,
        error=error,
        dictionary=document,
        hash=digest,
        variables=document and variables_of({"dictionary": document}),
        facts={"dictionary": document, "hash": digest},
    )


def _at_field(refusal: Refusal) -> str:
    message = refusal.message.replace(NOT_JSON, "The dictionary is not JSON as it has to be")
    counted = " (The first of a list is [0].)" if "[" in message else ""
    return f"{message}{counted} {refusal.remedy}"


def _listed(found: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": found["dataset"],
        "name": name_of(found),
        "classes": len(found["classes"]),
        "live": sum(each["live"] for each in found["classes"]),
        "retired": found["retired"],
        "has_dictionary": found["dictionary"] is not None,
    }


# --- classes


def _dataset(given: str) -> dict[str, Any]:
    return site().operator.reads.dataset(hash_field(given, "dataset"))


def _class_form(found: Mapping[str, Any], draft: Draft) -> str:
    return flask.render_template(
        "steward/new_class.html",
        dataset=found["dataset"],
        name=name_of(found),
        retired=found["retired"],
        draft=draft,
        headings=HEADINGS,
        paragraphs=PARAGRAPHS,
        choices_of=CHOICES,
        right=words.right_at_most(EXAMPLE_COST),
    )


def _choices(named: Mapping[int, str]) -> list[dict[str, str]]:
    return [
        {"value": str(key), "label": f"{means[0].upper()}{means[1:]}"}
        for key, means in named.items()
    ]


CHOICES: Final[Mapping[str, list[dict[str, str]]]] = {
    "permission": _choices(
        {key: means.format(disease="one disease") for key, (_, means) in PERMISSIONS.items()}
    ),
    "modifiers": _choices(
        {
            bit: means.format(
                types="some kinds of research", countries="some countries", months="so many"
            )
            for bit, (_, means) in MODIFIERS.items()
            if bit not in DUTIES
        }
    ),
    "duties": _choices(DUTIES),
    "research_types": _choices({code - FIRST_USE: means for code, means in USES.items()}),
    "release_kinds": _choices(RELEASES),
}
"""What a class's form offers; nothing of it is chosen before somebody does."""


def _preview(found: Mapping[str, Any], draft: Draft, terms: ClassTerms, page: ClassPage) -> str:
    """The patient's own page, of a class that nobody has published."""
    index = len(found["classes"]) + 1
    class_ = class_id(bytes.fromhex(found["dataset"][2:]), index)
    shown = {
        "class": to_hex(class_),
        "definition": to_hex(terms.definition_hash(class_)),
        "terms": terms.to_json(),
        "in_words": words.class_words(terms, token()),
        "live": 0,
    }
    return flask.render_template(
        "steward/preview.html",
        dataset=found["dataset"],
        name=name_of(found),
        retired=found["retired"],
        class_=shown_class(shown, page),
        headings=HEADINGS,
        doubts=class_form.doubts(page, HEADINGS),
        draft=draft,
        facts={
            "dataset": found["dataset"],
            "index": index,
            "definition": shown["definition"],
            "terms": shown["terms"],
            "page": page.to_json(),
        },
    )
