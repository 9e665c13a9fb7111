"""What an operator lists, as types: a patient signs only what was shown, and no answer is a traceback."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import flask
import httpx
import pytest
from click.testing import CliRunner

from marketplace.api.schemas import SCHEMAS
from marketplace.cli.main import main
from marketplace.client import Api, Dataset, Marketplace, ThroughOperator, steward
from marketplace.demo.setting import class_page, class_terms, purpose
from marketplace.errors import Refusal
from marketplace.fhir.demo import demo_dictionary
from marketplace.vocabulary import Lane
from marketplace.wire.data_use import permission_words, purpose_words
from marketplace.wire.http import to_hex
from marketplace.wire.terms import class_id
from tests.support.custody_world import served

DATASET = bytes([7] * 30 + [0, 0])
OTHER = replace(class_terms(), modifiers=0, max_cost=10**12)
"""Milder: no condition, and requests that cost much more."""


def told_class(index: int, **changes: Any) -> dict[str, Any]:
    identity, terms = class_id(DATASET, index), class_terms()
    return {
        "class": to_hex(identity),
        "definition": to_hex(terms.definition_hash(identity)),
        "terms": terms.to_json(),
        "in_words": [],
        "live": 21,
        **changes,
    }


def told_dataset(*classes: Any, **changes: Any) -> dict[str, Any]:
    dictionary = json.loads(demo_dictionary().to_bytes())
    del dictionary["schema"]
    return {
        "dataset": to_hex(DATASET),
        "steward": "0x" + "22" * 20,
        "dictionary_hash": to_hex(demo_dictionary().hash()),
        "uri": "https://example.org",
        "retired": False,
        "dictionary": dictionary,
        "classes": list(classes),
        **changes,
    }


REQUEST = {
    "request": "0x" + "11" * 32,
    "researcher": "0x" + "22" * 20,
    "dataset": to_hex(DATASET),
    "lane": 2,
    "analysis": "mean.v1",
    "purpose": purpose_words(purpose()),
    "notice_until": 1_800_000_000,
    "stage": "funded",
    "reason": None,
    "submitted_at": "2026-11-21T14:00:00.500000Z",
}
ANALYSIS = {
    "id": "mean.v1",
    "title": "Mean",
    "hash": "0x" + "11" * 32,
    "release_kind": 0,
    "releases": "a number",
    "parameters": [{"name": "clip", "means": "Ends."}],
    "example": {"variable": "systolic"},
}


def operator(**lists: Any) -> flask.Flask:
    """Tells every path the same."""
    app = flask.Flask("operator")
    app.add_url_rule("/<path:_>", "tell", lambda _: dict(lists))
    return app


def market_of(**lists: Any) -> Marketplace:
    """Of such an operator, without a socket between."""
    market = Marketplace("http://operator")
    app = operator(**lists)
    market.api = Api(market.api.url, transport=httpx.WSGITransport(app=app.wsgi_app))
    return market


def asked(**lists: Any) -> Any:
    """A market that is told this, read as everything it could be."""
    market = market_of(**lists)
    names = {"datasets": market.datasets, "requests": market.requests}
    return (names | {"analyses": market.catalogue})[next(iter(lists))]()


def test_a_dataset_is_read_with_its_dictionary_and_classes() -> None:
    (found,) = asked(datasets=[told_dataset(told_class(1), told_class(2))])
    assert (found.id, found.live) == (DATASET, 42)
    assert found.dictionary == demo_dictionary()
    assert found.name == demo_dictionary().name
    first, second = found.classes
    assert (first.index, second.index) == (1, 2)
    assert first.terms == class_terms()
    assert first.permits == tuple(permission_words(class_terms()))
    assert second.named == {
        "class": to_hex(class_id(DATASET, 2)),
        "definition": to_hex(class_terms().definition_hash(class_id(DATASET, 2))),
    }


def test_a_dataset_whose_dictionary_nobody_handed_over_has_no_name() -> None:
    (found,) = asked(datasets=[told_dataset(dictionary=None)])
    assert (found.name, found.dictionary, found.live) == ("", None, 0)


def test_requests_and_analyses_are_read() -> None:
    (found,) = asked(requests=[REQUEST])
    assert found.notice_until == datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert found.submitted_at == datetime(2026, 11, 21, 14, 0, 0, 500_000, UTC)
    assert found.purpose == REQUEST["purpose"]
    assert found.lane is Lane.HOMOMORPHIC
    assert found.reason is None
    refused = {"code": "x", "message": "Too few.", "remedy": "Wait.", "field": None}
    (found,) = asked(requests=[{**REQUEST, "reason": refused, "notice_until": None}])
    assert (found.reason, found.notice_until) == ("Too few.", None)
    (analysis,) = asked(analyses=[ANALYSIS])
    assert analysis.parameters == {"clip": "Ends."}
    assert analysis.example == {"variable": "systolic"}


def test_what_is_read_here_is_what_the_api_promises() -> None:
    for document, name in ((REQUEST, "Summary"), (told_dataset(), "Dataset")):
        assert set(document) == set(SCHEMAS[name]["properties"])
    told = SCHEMAS["Dataset"]["properties"]["classes"]["items"]["properties"]
    assert set(told_class(1)) == set(told)


# --- operators that show what was not published


LYING: Mapping[str, dict[str, Any]] = {
    "milder terms": {"terms": OTHER.to_json()},
    "another definition": {"definition": "0x" + "11" * 32},
    "another class": {"class": to_hex(class_id(DATASET, 9))},
}


@pytest.mark.parametrize("lie", LYING)
def test_terms_that_are_not_those_of_the_class_are_neither_shown_nor_signed(lie: str) -> None:
    document = told_dataset(told_class(1, **LYING[lie]))
    with pytest.raises(Refusal) as refused:
        as_told(document)
    assert (refused.value.code, refused.value.field) == ("class_differs", "definition")
    with pytest.raises(Refusal) as refused:
        ThroughOperator(market_of(**document)).class_of(DATASET, 1)
    assert refused.value.code == "class_differs"


def test_terms_and_definition_that_fit_each_other_are_signed_as_they_were_shown() -> None:
    """Made up together, they name a definition that the contract does not have: it takes no such grant."""
    made_up = to_hex(OTHER.definition_hash(class_id(DATASET, 1)))
    document = told_dataset(told_class(1, terms=OTHER.to_json(), definition=made_up))
    found = ThroughOperator(market_of(**document)).class_of(DATASET, 1)
    assert found.terms == OTHER
    assert found.named["definition"] == made_up


def as_told(document: Mapping[str, Any]) -> Dataset:
    return market_of(**document).dataset(DATASET)


SHAPES: Mapping[str, Any] = {
    "a number": 1,
    "nothing": None,
    "text": "x",
    "a list": [],
    "an object": {},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", ["dataset", "classes", "dictionary"])
def test_a_dataset_of_another_shape_is_refused_and_no_traceback(field: str, shape: str) -> None:
    if (field, shape) in {("dictionary", "nothing"), ("classes", "a list")}:
        return  # both are what an honest operator may say
    with pytest.raises(Refusal):
        asked(datasets=[told_dataset(told_class(1), **{field: SHAPES[shape]})][:1])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("field", ["class", "definition", "terms", "live"])
def test_a_class_of_another_shape_is_refused_and_no_traceback(field: str, shape: str) -> None:
    if (field, shape) == ("live", "a number"):
        return
    with pytest.raises(Refusal):
        asked(datasets=[told_dataset(told_class(1, **{field: SHAPES[shape]}))])


@pytest.mark.parametrize("field", ["notice_until", "submitted_at", "reason", "lane"])
@pytest.mark.parametrize("value", [-1, 10**30, "soon", [1], {"a": 1}, True])
def test_a_request_of_another_shape_is_refused_and_no_traceback(field: str, value: Any) -> None:
    if field in ("notice_until", "lane") and value is True:
        return  # one second after 1970, and lane 1, as JSON readers of other languages say it
    with pytest.raises(Refusal):
        asked(requests=[{**REQUEST, field: value}])


@pytest.mark.parametrize("field", ["parameters", "example"])
@pytest.mark.parametrize("value", [1, "x", [1], None])
def test_an_analysis_of_another_shape_is_refused_and_no_traceback(field: str, value: Any) -> None:
    with pytest.raises(Refusal):
        asked(analyses=[{**ANALYSIS, field: value}])


@pytest.mark.parametrize("missing", REQUEST)
def test_a_part_that_is_missing_is_refused_by_name(missing: str) -> None:
    rest = {name: value for name, value in REQUEST.items() if name != missing}
    with pytest.raises(Refusal) as refused:
        asked(requests=[rest])
    assert (refused.value.code, refused.value.field) == ("malformed_answer", missing)


# --- the same on the command line


def printed(command: str, **lists: Any) -> dict[str, Any]:
    with served(operator(**lists)) as url:
        done = CliRunner().invoke(main, [command, "--url", url])
    assert done.exit_code == 0, done.output
    shown: dict[str, Any] = json.loads(done.stdout)
    assert next(iter(shown)) == "in_words", "what a person reads comes first"
    return shown


def test_datasets_are_listed_with_variables_and_what_their_classes_permit() -> None:
    told = told_dataset(told_class(1))
    shown = printed("datasets", datasets=[told])
    assert shown["datasets"] == [told]
    first, variables, class_ = shown["in_words"]
    assert first == f"{to_hex(DATASET)}: {demo_dictionary().name}, 21 live consents."
    assert "systolic (" in variables
    assert "mm[Hg])" in variables
    assert class_.startswith("Class 1, 21 live consents. It permits health, medical or biomedical")


def test_a_retired_dataset_is_said_to_be_retired() -> None:
    first, *_ = printed("datasets", datasets=[told_dataset(retired=True)])["in_words"]
    assert "retired" in first


def test_the_catalogue_is_listed_with_its_parameters() -> None:
    shown = printed("catalogue", analyses=[ANALYSIS])
    assert shown["in_words"] == ["mean.v1: Mean. Takes clip. Releases a number."]
    assert shown["analyses"] == [ANALYSIS]


def test_requests_are_listed_with_dataset_purpose_and_the_end_of_the_notice() -> None:
    (said,) = printed("requests", requests=[REQUEST])["in_words"]
    in_lane = "in the homomorphic lane"
    for part in (REQUEST["request"], to_hex(DATASET), in_lane, REQUEST["purpose"], "funded"):
        assert str(part) in said
    assert said.endswith("Patients may rest their consent for it until 2027-01-15 08:00:00 UTC.")
    (said,) = printed("requests", requests=[{**REQUEST, "notice_until": None}])["in_words"]
    assert said.endswith("; funded.")


def test_a_class_that_names_no_country_is_refused_before_it_is_published_for_ever() -> None:
    for_ever = replace(class_terms(), modifiers=1 << 7, countries=(b"NL", b"ZZ")).to_json()
    del for_ever["termsHash"]
    with pytest.raises(Refusal) as refused:
        steward.class_terms(for_ever, class_page())
    assert (refused.value.code, refused.value.field) == ("bad_parameter", "countries[1]")
    assert "“ZZ” is not the code of a country." in str(refused.value)
