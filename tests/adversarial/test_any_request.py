"""Whatever a request to the API holds, the answer is an answer: never a fault of ours, and nothing changes.

Schemathesis makes the requests from the API's own description: as it promises them, and with that promise
broken. Half of the first kind name what is really there, so that they pass the first checks.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from marketplace.api.openapi import DOCUMENT
from tests.support.api_world import PREFIX, ApiWorld, api_world

OPERATIONS = sorted(
    (method.upper(), path) for path, found in DOCUMENT["paths"].items() for method in found
)
TAKING_INPUT = [(m, p) for m, p in OPERATIONS if m == "POST" or "{" in p]
EXAMPLES = 20
MORE = 500
"""In `make test-long`."""
OF_OURS = 500
"""The first status that is our fault."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("any")) as made:
        made.terms("real")
        yield made


@pytest.fixture(scope="module")
def schema(world: ApiWorld) -> Any:
    return schemathesis.openapi.from_wsgi(f"{PREFIX}/openapi.json", world.client.application)


def really_there(world: ApiWorld) -> dict[str, Any]:
    """Values of the paths' and bodies' names that this market knows."""
    return {
        "account": world.researcher.address,
        "dataset": world.dataset,
        "patient": world.patients[0].address,
        "classes": [1],
        "analysis": "mean.v1",
        "parameters": {"variable": "systolic"},
    }


def named_as_it_is(case: Any, real: dict[str, Any]) -> None:
    """Puts what is there into the places of the same names."""
    case.path_parameters = {**(case.path_parameters or {}), **_known(case.path_parameters, real)}
    if isinstance(case.body, dict):
        case.body = {**case.body, **_known(case.body, real)}


def _known(there: Any, real: dict[str, Any]) -> dict[str, Any]:
    return {name: real[name] for name in there or {} if name in real}


@pytest.fixture(scope="module")
def most(request: pytest.FixtureRequest) -> int:
    """Examples of one operation."""
    return MORE if request.config.getoption("--long") else EXAMPLES


def look(world: ApiWorld, schema: Any, operation: tuple[str, str], mode: Any, most: int) -> None:
    """Asks `most` times; raises AssertionError at a fault, printing the request that made it."""
    method, path = operation
    before, real = world.state(), really_there(world)

    @settings(max_examples=most, suppress_health_check=list(HealthCheck))
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        case = data.draw(schema[path][method].as_strategy(generation_mode=mode))
        if data.draw(st.booleans(), label="of what is there"):
            named_as_it_is(case, real)
        answer = case.call()
        assert answer.status_code < OF_OURS, (case.as_curl_command(), answer.text)

    ask()
    after = world.state()
    assert {k: after[k] for k in after if k != "dictionaries"} == {
        k: before[k] for k in before if k != "dictionaries"
    }


@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_a_request_as_the_description_promises_it_is_answered(
    world: ApiWorld, schema: Any, operation: tuple[str, str], most: int
) -> None:
    look(world, schema, operation, GenerationMode.POSITIVE, most)


@pytest.mark.parametrize("operation", TAKING_INPUT, ids=" ".join)
def test_a_request_that_breaks_the_description_is_answered(
    world: ApiWorld, schema: Any, operation: tuple[str, str], most: int
) -> None:
    look(world, schema, operation, GenerationMode.NEGATIVE, most)


def test_a_signed_request_of_any_content_is_answered(
    world: ApiWorld, schema: Any, most: int
) -> None:
    path = f"{PREFIX}/requests"

    @settings(max_examples=most, suppress_health_check=list(HealthCheck))
    @given(case=schema[path]["POST"].as_strategy())
    def ask(case: Any) -> None:
        content = json.dumps(case.body).encode()
        headers = {"Usufruct-Auth": world.auth_header(content)}
        answer = world.client.post(path, data=content, headers=headers)
        assert 400 <= answer.status_code < OF_OURS, answer.text

    ask()
