"""The API's own description is valid OpenAPI 3.1, and tells of every route and of no other."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from marketplace.api import (
    class_pages,
    consents,
    datasets,
    front,
    market,
    models,
    probes,
    records,
    requests,
    scores,
)
from marketplace.api.app import PREFIX
from marketplace.api.openapi import DOCUMENT, ROUTES
from marketplace.errors import BadParameter
from marketplace.wire import http
from marketplace.wire.http import problem_document

AUTOMATIC = {"HEAD", "OPTIONS"}
OPERATIONS = [(method, path) for path, found in DOCUMENT["paths"].items() for method in found]


def served_routes() -> set[tuple[str, str]]:
    """Method and path of every rule that the blueprints register, written as OpenAPI writes them."""
    app = http.create_app("routes", list)  # with /health
    app.register_blueprint(probes.routes)
    nouns = (front, market, datasets, class_pages, records, consents, requests, models, scores)
    for noun in nouns:
        app.register_blueprint(noun.routes, url_prefix=PREFIX)
    return {
        (method.lower(), re.sub(r"<([a-z_]+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - AUTOMATIC
    }


def test_the_document_is_valid_openapi_3_1() -> None:
    validate(DOCUMENT)
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_route_is_described_and_every_description_is_a_route() -> None:
    assert served_routes() == set(OPERATIONS)
    assert len(ROUTES) == len(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_names_its_path_parameters_its_answer_and_its_refusal(
    method: str, path: str
) -> None:
    operation = DOCUMENT["paths"][path][method]
    assert re.findall(r"\{(\w+)\}", path) == [each["name"] for each in operation["parameters"]]
    ((kind, content),) = operation["responses"]["200"]["content"].items()
    assert kind == ("application/jsonl" if path.endswith("/bundle") else "application/json")
    assert "$ref" in content["schema"] or path.endswith(("/openapi.json", "/bundle"))
    refusal = operation["responses"]["default"]["content"]["application/problem+json"]
    assert refusal["schema"] == {"$ref": "#/components/schemas/Problem"}
    assert ("requestBody" in operation) == (method == "post")


def test_what_a_researcher_does_and_a_patients_own_scores_must_be_signed_and_no_more() -> None:
    signed = {(m, p) for m, p in OPERATIONS if "security" in DOCUMENT["paths"][p][m]}
    researchers = ("/requests", "/requests/{request_id}/bundle", "/models")
    own = (
        "/datasets/{dataset}/score-records",
        "/datasets/{dataset}/scores",
        "/requests/{request_id}/score",
    )
    assert signed == {("post", PREFIX + path) for path in (*researchers, *own)}


def test_a_refusal_is_what_the_problem_schema_describes() -> None:
    schema = Draft202012Validator(DOCUMENT["components"]["schemas"]["Problem"])
    whole = problem_document(BadParameter(message="It is wrong.", remedy="Mend it.", field="cost"))
    schema.validate(whole)
    without: dict[str, Any] = {key: whole[key] for key in whole if key != "remedy"}
    assert not schema.is_valid(without)


def test_a_body_with_an_unknown_key_is_outside_its_schema() -> None:
    body = DOCUMENT["paths"][f"{PREFIX}/quotes"]["post"]["requestBody"]
    schema = Draft202012Validator(body["content"]["application/json"]["schema"])
    good = {"dataset": "0x" + "0" * 64, "classes": [1], "analysis": "mean.v1", "parameters": {}}
    assert schema.is_valid(good)
    assert not schema.is_valid({**good, "unknown": 1})
    assert not schema.is_valid({**good, "classes": []})
