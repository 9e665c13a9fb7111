"""Asking, in process over a real chain: who may, what is refused at which field, what is handed in."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from marketplace.wire.data_use import DUTIES, KINDS, USES
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import MAX_COST, PURPOSE, account
from tests.support.web_browser import HTML, Browser
from tests.support.web_world import WebWorld, web_world

ADDRESSES = count(1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebWorld]:
    with api_world(tmp_path_factory.mktemp("ask")) as api, web_world(api) as made:
        yield made


@pytest.fixture
def visitor(world: WebWorld) -> Browser:
    """At a network address of its own, so that no test limits another's."""
    found = Browser(world, address=f"192.0.2.{next(ADDRESSES)}")
    found.look()
    return found


@pytest.fixture
def researcher(world: WebWorld) -> Browser:
    found = Browser(world, address=f"192.0.2.{next(ADDRESSES)}")
    return found.sign_in(world.api.researcher)


def decided(browser: Browser, api: ApiWorld, **more: Any) -> dict[str, Any]:
    body = {"dataset": api.dataset, "purpose": PURPOSE.to_json(), **more}
    answer = browser.post("/ask/decisions", body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found: dict[str, Any] = answer.get_json()
    return found


# --- the page


def test_anybody_builds_a_question_and_only_a_researcher_sees_how_to_pay(
    world: WebWorld, visitor: Browser, researcher: Browser
) -> None:
    path = f"/ask?dataset={world.api.dataset}"
    for each, may in ((visitor, False), (researcher, True)):
        page = html.unescape(each.look(path).get_data(as_text=True))
        for words in ("Mean", "Systolic blood pressure", "Biomedical research", "4 live consents"):
            assert words in page
        assert ("Ask and pay</button>" in page) == may
    stranger = Browser(world, address=f"192.0.2.{next(ADDRESSES)}").sign_in(
        account("no credential")
    )
    page = stranger.look(path).get_data(as_text=True)
    assert "has no valid credential" in page
    assert "Ask and pay</button>" not in page


def test_the_page_offers_every_use_duty_kind_and_analysis(
    world: WebWorld, visitor: Browser
) -> None:
    page = html.unescape(visitor.look(f"/ask?dataset={world.api.dataset}").get_data(as_text=True))
    for words in (*USES.values(), *DUTIES.values(), *KINDS.values()):
        assert words[0].upper() + words[1:] in page
    for each in world.api.operator.reads.catalogue():
        assert f'value="{each["id"]}"' in page


def test_without_a_dataset_one_is_chosen_and_a_wrong_one_is_said(
    world: WebWorld, visitor: Browser
) -> None:
    assert f"/ask?dataset={world.api.dataset}" in visitor.look("/ask").get_data(as_text=True)
    assert visitor.get("/ask?dataset=0x12", HTML).status_code == 400
    assert visitor.get(f"/ask?dataset=0x{'12' * 32}", HTML).status_code == 422


# --- quotes


def test_a_quote_tells_cost_error_and_the_question_with_every_default(
    world: WebWorld, visitor: Browser
) -> None:
    asked = world.api.quote()
    by_cost = visitor.post("/ask/quote", asked).get_json()
    expected = world.api.operator.reads.quote(asked)
    assert {name: by_cost[name] for name in expected} == expected
    assert by_cost["canonical"] == {"variable": "systolic", "clip": ["60", "260"], "filters": []}
    assert ["Values clipped to", "60, 260"] in by_cost["asked"]
    assert ["Variable", "Systolic blood pressure"] in by_cost["asked"]
    assert visitor.post("/ask/quote", {**asked, "purpose": PURPOSE.to_json()}).get_json() == by_cost
    del asked["cost"]
    by_error = visitor.post("/ask/quote", {**asked, "target_error": "190"}).get_json()
    assert by_error["cost_nano_rho"] > by_cost["cost_nano_rho"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": "0x12"}, "dataset"),
        ({"classes": []}, "classes"),
        ({"classes": [2, 1]}, "classes"),
        ({"analysis": "median.v9"}, "analysis"),
        ({"parameters": {"variable": "weight"}}, "variable"),
        ({"parameters": {"variable": "systolic", "clip": ["60", "900"]}}, "clip[1]"),
        (
            {
                "parameters": {
                    "variable": "systolic",
                    "filters": [{"variable": "smoker", "op": "==", "value": "perhaps"}],
                }
            },
            "filters[0].value",
        ),
        ({"cost": "much"}, "cost"),
        ({"cost": -1}, "cost"),
        ({"cost": "5,5"}, "cost"),
        ({"purpose": {**PURPOSE.to_json(), "months": "x"}}, "months"),
        ({"target_error": "1"}, "cost"),
    ],
)
def test_a_bad_question_is_refused_at_its_field(
    world: WebWorld, visitor: Browser, changes: dict[str, Any], field: str
) -> None:
    answer = visitor.post("/ask/quote", world.api.quote(**changes))
    assert (answer.status_code, answer.get_json()["field"]) == (400, field)


@pytest.mark.parametrize("typed", ["abc", "30.000.000", "5,5", ""])
def test_a_cost_that_is_none_is_refused_with_what_to_write_and_the_most_that_a_class_allows(
    world: WebWorld, visitor: Browser, typed: str
) -> None:
    refused = visitor.post("/ask/quote", world.api.quote(cost=typed)).get_json()
    assert refused["field"] == "cost"
    most = f"class 1 allows at most {MAX_COST:,}."
    assert refused["remedy"] == f"Write digits alone, such as 30000000; {most}"


def test_an_error_with_a_comma_is_refused_and_not_multiplied(
    world: WebWorld, visitor: Browser
) -> None:
    asked = world.api.quote()
    del asked["cost"]
    refused = visitor.post("/ask/quote", {**asked, "target_error": "5,5"}).get_json()
    assert (refused["code"], refused["field"]) == ("bad_parameter", "target_error")


# --- who permits it


def test_every_class_is_told_with_its_consents_and_every_reason(
    world: WebWorld, visitor: Browser, researcher: Browser
) -> None:
    found = decided(researcher, world.api)
    assert found["live"] == 4
    assert found["decisions"] == [{"index": 1, "live": 4, "permitted": True, "reasons": []}]
    found = decided(visitor, world.api)
    [decision] = found["decisions"]
    assert (found["live"], decision["live"], decision["permitted"]) == (0, 4, False)
    codes = {each["code"] for each in decision["reasons"]}
    assert {"credential_missing", "organisation_unknown"} <= codes
    assert all(each["sentence"] and each["remedy"] for each in decision["reasons"])


def test_whoever_has_no_credential_sees_what_one_would_open(
    world: WebWorld, visitor: Browser
) -> None:
    assert decided(visitor, world.api, kind=1, country="de")["live"] == 4
    for wrong, field in (
        ({"kind": 9, "country": "DE"}, "kind"),
        ({"kind": 1}, "country"),
        ({"kind": 1, "country": "ZZ"}, "country"),
        ({"kind": 1, "country": "Netherlands"}, "country"),
    ):
        body = {"dataset": world.api.dataset, "purpose": PURPOSE.to_json(), **wrong}
        answer = visitor.post("/ask/decisions", body)
        assert (answer.status_code, answer.get_json()["field"]) == (400, field)


def test_a_purpose_that_cannot_be_read_is_refused_at_its_field(
    world: WebWorld, visitor: Browser
) -> None:
    purpose = {**PURPOSE.to_json(), "months": 70_000}
    answer = visitor.post("/ask/decisions", {"dataset": world.api.dataset, "purpose": purpose})
    assert (answer.status_code, answer.get_json()["field"]) == (400, "months")


# --- opening and handing in


def test_what_opening_takes_is_what_the_chain_says(world: WebWorld, researcher: Browser) -> None:
    told, chain = researcher.get("/ask/opening").get_json(), world.api.operator.chain
    policy = chain.policy()
    assert told["notice_window"] == policy.notice_window
    assert told["turn_window"] == policy.turn_window
    assert told["now"] <= chain.now()
    assert told["balance"] == str(chain.balance_of(world.api.researcher.address))
    assert told["token"] == chain.manifest.token
    assert set(told["permit"]) == {"name", "version", "separator", "nonce"}


def test_a_question_is_handed_in_under_the_hash_of_its_terms(
    world: WebWorld, researcher: Browser
) -> None:
    body = world.api.submission("by a page")
    answer = researcher.post("/ask/requests", body)
    assert answer.status_code == 200, answer.get_data(as_text=True)
    found = world.api.operator.reads.request(answer.get_json()["request"])
    assert (found["researcher"], found["stage"]) == (world.api.researcher.address, "submitted")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fee": 1}, "fee_too_small"),
        ({"cost": MAX_COST + 1}, "cost_above_class"),
        ({"price": 0}, "price_below_floor"),
        ({"parameters": bytes(32)}, "parameters_mismatch"),
        ({"purpose": replace(PURPOSE, uses=1 << 30)}, "purpose_not_permitted"),
    ],
)
def test_what_would_be_refused_later_is_refused_before_it_is_paid_and_nothing_is_kept(
    world: WebWorld, researcher: Browser, changes: dict[str, Any], code: str
) -> None:
    before = world.api.state()
    answer = researcher.post("/ask/requests", world.api.submission("refused", **changes))
    assert (answer.status_code, answer.get_json()["code"]) == (422, code), answer.get_json()
    assert world.api.state() == before


def test_money_in_a_refusal_of_the_contracts_is_said_as_an_amount(
    world: WebWorld, researcher: Browser
) -> None:
    answer = researcher.post("/ask/requests", world.api.submission("too cheap", price=0))
    assert "The price of 0.00 EUR a member" in answer.get_json()["detail"]
