"""Every route of the API: what it answers, and how it refuses, over a real chain, database and custody."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from eth_utils.crypto import keccak
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from marketplace.api.app import PREFIX, create_app
from marketplace.api.auth import LONGEST_LIFE
from marketplace.api.context import (
    LARGEST_DICTIONARY,
    LARGEST_MESSAGES,
    LARGEST_RECORDS,
    LARGEST_SCORED,
)
from marketplace.api.openapi import DOCUMENT
from marketplace.config import OperatorConfig
from marketplace.errors import Refusal
from marketplace.operator import Worker
from marketplace.wire.amounts import Token
from marketplace.wire.canonical import canonical
from marketplace.wire.eip712 import HALF_ORDER, MOST_SIGNATURE, api_domain
from marketplace.wire.http import SMALL_BODY, to_hex
from marketplace.wire.units import written
from marketplace.words import quote_words, right_at_most
from tests.support.api_world import ApiWorld, api_world, problem
from tests.support.chain_world import MAX_COST, PAGE, PURPOSE, account
from tests.support.mutations import leaves, with_value
from tests.support.scoring_world import document
from tests.support.scoring_world import model as a_model

ORDER = 2 * HALF_ORDER + 1  # of secp256k1
NOWHERE = "0x" + "11" * 32
BUNDLE = f"/requests/{NOWHERE}/bundle"
SCORE_RECORD = f"/datasets/{NOWHERE}/score-records"
SCORES = f"/datasets/{NOWHERE}/scores"
SCORE = f"/requests/{NOWHERE}/score"
LIMITS = {
    "/dictionaries": LARGEST_DICTIONARY,
    "/class-pages": SMALL_BODY,
    "/quotes": SMALL_BODY,
    "/records": LARGEST_RECORDS,
    "/messages": LARGEST_MESSAGES,
    "/requests": SMALL_BODY,
    BUNDLE: SMALL_BODY,
    "/models": SMALL_BODY,
    SCORE_RECORD: LARGEST_SCORED,
    SCORES: SMALL_BODY,
    SCORE: SMALL_BODY,
}
"""Bytes of a body, by route."""
POSTS = sorted(LIMITS)
SIGNED = ("/requests", BUNDLE, "/models", SCORE_RECORD, SCORES, SCORE)
AT_ALL_TIMES = ("/quotes", BUNDLE, "/messages", SCORES, SCORE)
"""These hand nothing in that is kept, or a revocation."""
FIRST_KEYS = {
    "/dictionaries": "dictionary",
    "/class-pages": "page",
    "/quotes": "classes",
    "/records": "entries",
    "/messages": "messages",
    "/requests": "terms",
    BUNDLE: "surprise",
    "/models": "model",
    SCORE_RECORD: "material",
    SCORES: "surprise",
    SCORE: "surprise",
}
STRANGE: list[Any] = [None, True, -1, 1.5, 2**63, "x", "0x", [], {}, [None], {"a": 1}]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("api")) as made:
        yield made


def addressed(world: ApiWorld, path: str, raw: bytes) -> tuple[str, dict[str, str]]:
    """Where `raw` is posted, and the headers of somebody who may: a record to be scored by its patient, of
    whom that is asked before the body is read."""
    if path != SCORE_RECORD:
        return PREFIX + path, {"Usufruct-Auth": world.auth_header(raw, path=PREFIX + path)}
    there = PREFIX + path.replace(NOWHERE, to_hex(world.custody.dataset))
    return there, {"Usufruct-Auth": world.auth_header(raw, path=there, key=world.patients[-1])}


# --- what each route answers


def test_the_market_shows_chain_contracts_operator_and_fee(world: ApiWorld) -> None:
    found = world.get("/market").get_json()
    assert found["chain_id"] == world.operator.chain.chain_id
    assert found["manifest"] == world.custody.manifest.to_json()
    assert (found["operator"], found["fee"]) == (world.researcher.address, 100)


def test_the_committee_shows_to_whose_keys_a_client_seals(world: ApiWorld) -> None:
    found = world.get("/committee").get_json()
    assert (found["epoch"], found["quorum"], len(found["members"])) == (1, 2, 3)
    assert [each["place"] for each in found["members"]] == [0, 1, 2]


def test_the_catalogue_lists_every_analysis(world: ApiWorld) -> None:
    listed = [each["id"] for each in world.get("/catalogue").get_json()["analyses"]]
    assert {"count.v1", "mean.v1", "quantile.v1", "cross_table.v1"} <= set(listed)


def test_an_account_shows_balance_credit_and_bond_as_text(world: ApiWorld) -> None:
    found = world.get(f"/accounts/{world.researcher.address}").get_json()
    assert int(found["bond"]) == 10**9
    assert all(isinstance(found[name], str) for name in ("balance", "credit", "bond"))


def test_the_document_is_served_as_it_is_written(world: ApiWorld) -> None:
    assert world.get("/openapi.json").get_json() == json.loads(canonical(DOCUMENT))


def test_a_dataset_shows_its_dictionary_and_classes(world: ApiWorld) -> None:
    listed = world.get("/datasets").get_json()["datasets"]
    assert listed == [world.get(f"/datasets/{world.dataset}").get_json()]
    assert listed[0]["dictionary"]["name"] == "pressure"
    assert listed[0]["classes"][0]["live"] == len(world.patients)


def test_a_consent_shows_state_budget_and_record(world: ApiWorld) -> None:
    patient = world.patients[0].address
    found = world.get(f"/datasets/{world.dataset}/consents/{patient}").get_json()
    assert (found["state"], found["sequence"]) == ("live", 1)
    assert found["record"]["commitment"] == to_hex(world.custody.records[patient].commitment)


def test_a_dictionary_can_be_handed_over_again(world: ApiWorld) -> None:
    before = world.state()
    dictionary = json.loads(world.custody.dictionary.to_bytes())
    answer = world.post("/dictionaries", {"dictionary": dictionary}).get_json()
    assert answer == {"dictionary_hash": to_hex(world.custody.dictionary.hash())}
    assert world.state() == before


def test_a_quote_prices_by_privacy_and_by_accuracy_alike(world: ApiWorld) -> None:
    quoted = world.post("/quotes", world.quote(cost=100_000_000)).get_json()
    wanted = world.quote(target_error=quoted["expected_error"]["half_width"])
    del wanted["cost"]
    again = world.post("/quotes", wanted).get_json()
    assert 0 < again["cost_nano_rho"] <= 100_000_000
    assert quoted["escrow"] == str(
        quoted["max_patients"] * quoted["price_per_member"] + quoted["fee"]
    )


def test_a_quote_tells_the_odds_in_plain_words(world: ApiWorld) -> None:
    quoted = world.post("/quotes", world.quote(cost=100_000_000)).get_json()
    odds = quoted["odds"]
    assert (odds["by_chance"], odds["right_at_most"]) == ("50", right_at_most(100_000_000))
    assert f"at most {odds['right_at_most']} times in 100" in odds["in_words"]
    assert odds["delta"] == quoted["epsilon"]["delta"]
    dearer = world.post("/quotes", world.quote(cost=200_000_000)).get_json()["odds"]
    assert float(dearer["right_at_most"]) > float(odds["right_at_most"])


def test_a_quote_in_sentences_names_price_cost_odds_and_error(world: ApiWorld) -> None:
    quoted = world.post("/quotes", world.quote()).get_json()
    price, cost, error, *_ = quoted["in_words"]
    assert f"{Token().amount(quoted['price_per_member'])} a patient" in price
    assert f"{Token().amount(quoted['escrow'])} are held at most" in price
    assert "10,000 nano-rho" in cost
    assert quoted["odds"]["in_words"] in cost
    assert quoted["expected_error"]["half_width"] in error
    (*_, warning) = quote_words({**quoted, "live": 1})
    assert "Only 1 consent is live; below 2" in warning


def test_a_quote_above_the_classes_highest_cost_says_so_and_what_can_be_had(
    world: ApiWorld,
) -> None:
    assert world.post("/quotes", world.quote(cost=MAX_COST)).get_json()["refusal"] is None
    quoted = world.post("/quotes", world.quote(cost=MAX_COST + 1)).get_json()
    shown(f"{PREFIX}/quotes", quoted, "post")
    refusal = quoted["refusal"]
    assert (refusal["code"], refusal["field"]) == ("cost_above_class", "cost")
    assert f"{MAX_COST + 1:,} nano-rho is above the most that class 1 allows" in refusal["message"]
    best = world.post("/quotes", world.quote(cost=MAX_COST)).get_json()["expected_error"]
    assert f"{best['half_width']} {written(best['unit'])}" in refusal["remedy"]
    first, *_ = quote_words(quoted)
    assert refusal["message"] in first


def test_a_request_goes_from_submission_to_receipt_and_shows_what_it_waits_for(
    world: ApiWorld,
) -> None:
    terms = world.terms("whole way")
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    request = world.post_signed(body).get_json()["request"]
    assert problem(world.get(f"/requests/{request}/receipt"))["code"] == "not_settled"
    world.custody.open(terms)
    world.custody.tick()
    waits_for_a_bond(world, request)
    world.settle(request)
    found = world.get(f"/requests/{request}").get_json()
    assert found["waiting"] is None
    assert (found["stage"], found["cohort_size"]) == ("settled", len(world.patients))
    assert found["stages"][0]["after"] == "submitted"
    assert request in [each["request"] for each in world.get("/requests").get_json()["requests"]]
    assert world.get(f"/requests/{request}/receipt").get_json()["request"] == request


def shown(path: str, document: Any, method: str = "get") -> None:
    """Fails unless an answer is what the description promises for this path."""
    operation = DOCUMENT["paths"][path][method]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(document)


def test_every_answer_is_what_the_document_promises(world: ApiWorld) -> None:
    terms = world.terms("promised")
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    taken = world.post_signed(body).get_json()
    shown(f"{PREFIX}/requests", taken, "post")
    for path in (PREFIX, "/health", "/live", "/ready"):
        shown(path, world.client.get(path).get_json())
    model = canonical({"model": document(a_model())})
    header = {"Usufruct-Auth": world.auth_header(model, path=f"{PREFIX}/models")}
    published = world.client.post(f"{PREFIX}/models", data=model, headers=header).get_json()
    shown(f"{PREFIX}/models", published, "post")
    inside = {
        "account": world.researcher.address,
        "dataset": world.dataset,
        "model": published["model"],
        "patient": world.patients[0].address,
        "place": "999999999.0",
        "request_id": taken["request"],
        "terms_hash": to_hex(PAGE.hash()),
    }
    for path in DOCUMENT["paths"]:
        if "get" in DOCUMENT["paths"][path] and not path.endswith("/receipt") and PREFIX in path:
            answer = world.client.get(path.format_map(inside))
            assert answer.status_code == 200, path
            shown(path, answer.get_json())
    shown(f"{PREFIX}/quotes", world.post("/quotes", world.quote()).get_json(), "post")
    dictionary = {"dictionary": json.loads(world.custody.dictionary.to_bytes())}
    kept = world.post("/dictionaries", dictionary)
    shown(f"{PREFIX}/dictionaries", kept.get_json(), "post")
    page = world.post("/class-pages", {"page": PAGE.to_json()})
    shown(f"{PREFIX}/class-pages", page.get_json(), "post")
    for path, key in (("/records", "entries"), ("/messages", "messages")):
        shown(f"{PREFIX}{path}", world.post(path, {key: [None]}).get_json(), "post")


def test_the_beginning_of_the_api_leads_to_the_description(world: ApiWorld) -> None:
    front = world.client.get(PREFIX).get_json()
    assert world.client.get(front["openapi"]).get_json()["openapi"].startswith("3.1")
    assert world.client.get(front["health"]).status_code == 200


def test_ready_says_503_while_the_node_does_not_answer_and_live_goes_on(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.client.get("/ready").get_json() == {"ready": True}

    def unreachable() -> None:
        raise Refusal(code="node_unreachable", message="no", remedy="no")

    monkeypatch.setattr(world.operator.chain, "require_healthy", unreachable)
    app = create_app(world.operator, Worker(world.operator)).test_client()
    refused = problem(app.get("/ready"), 503)
    assert refused["code"] == "not_ready"
    assert "node_unreachable" in refused["detail"]
    assert app.get("/health").get_json()["ready"] is False  # 200, as before
    assert app.get("/live").get_json() == {"live": True}


# --- what a request waits for, and the operator's bond


@contextmanager
def without_bond(world: ApiWorld) -> Iterator[int]:
    """The operator's whole free bond is gone, and back afterwards."""
    sender, chain = world.custody.sender, world.operator.chain
    bond = chain.bond_of(sender.address)
    sender.send("ResearchMarket", "releaseBond", sender.address, bond)
    try:
        yield bond
    finally:
        sender.send("TestEuro", "approve", world.custody.manifest.market, 10**12)
        sender.send("ResearchMarket", "postBond", bond)


def waits_for_a_bond(world: ApiWorld, request: str) -> None:
    """A step that cannot be taken is shown, and said once in the log however often it is tried."""
    with without_bond(world), capture_logs() as logs:
        for _ in range(3):
            world.operator.pipeline.advance(request)
        found = world.get(f"/requests/{request}").get_json()
        shown(f"{PREFIX}/requests/{{request_id}}", found)
        assert (found["stage"], found["waiting"]["code"]) == ("funded", "bond_too_small")
        assert found["waiting"]["message"]
    assert [each["code"] for each in logs if each["event"] == "step_waits"] == ["bond_too_small"]


def test_a_bond_that_does_not_cover_a_request_is_said_before_anybody_pays(world: ApiWorld) -> None:
    quoted = world.post("/quotes", world.quote()).get_json()
    with without_bond(world):
        assert world.get("/market").get_json()["bond_free"] == "0"
        before = world.state()
        for response in (
            world.post("/quotes", world.quote()),
            world.post_signed(world.submission("no bond")),
        ):
            found = problem(response, 422)
            assert found["code"] == "bond_too_small"
            assert "has 0.00 EUR free" in found["detail"]
        assert world.state() == before
    assert world.post("/quotes", world.quote()).get_json() == quoted
    assert world.post_signed(world.submission("no bond")).status_code == 200


# --- how it refuses


def test_the_status_says_what_kind_of_refusal_it_is(world: ApiWorld) -> None:
    signed = world.submission("statuses")
    for response, status in (
        (world.client.post(f"{PREFIX}/quotes"), 400),
        (world.client.post(f"{PREFIX}/quotes", data=b""), 400),
        (world.get(f"/requests/{NOWHERE}"), 404),
        (world.get(f"/requests/{NOWHERE}/receipt"), 404),
        (world.get(f"/datasets/{NOWHERE}"), 404),
        (world.post("/requests", signed), 401),
        (world.post_signed(signed, signer=account("somebody else").address), 401),
        (world.post_signed(signed, deadline=1), 401),
        (world.post("/quotes", world.quote(dataset="0x" + "11" * 30 + "0000")), 422),
    ):
        found = problem(response, status)
        assert found["type"] == f"urn:usufruct:refusal:{found['code']}"
        assert ("WWW-Authenticate" in response.headers) == (status == 401)


def test_a_wrong_method_names_the_right_ones(world: ApiWorld) -> None:
    response = world.client.delete(f"{PREFIX}/requests")
    found = problem(response, 405)
    assert "method" in found["detail"]
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


def test_health_says_ready_and_an_unknown_path_is_a_problem(world: ApiWorld) -> None:
    response = world.client.get("/health")
    found = response.get_json()
    assert (response.status_code, found["ready"], found["reasons"]) == (200, True, [])
    assert {each["ready"] for each in (*found["custodians"], *found["gates"])} == {False}, (
        "not asked"
    )
    world.operator.attendance.look()
    found = world.client.get("/health").get_json()
    assert [each["place"] for each in found["custodians"]] == [0, 1, 2]
    assert {each["ready"] for each in (*found["custodians"], *found["gates"])} == {True}, found
    assert problem(world.get("/nothing"), 404)["code"] == "no_such_route"


@pytest.mark.parametrize(
    ("method", "path"),
    [("post", "/market"), ("delete", "/datasets"), ("put", "/requests"), ("get", "/records")],
)
def test_a_method_that_a_path_has_not_is_refused(world: ApiWorld, method: str, path: str) -> None:
    assert problem(world.client.open(PREFIX + path, method=method), 405)["code"] == "wrong_method"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/accounts/0x12", "account"),
        ("/datasets/0x12", "dataset"),
        (f"/datasets/{NOWHERE}", "dataset"),
        ("/datasets/zz/consents/0x12", "dataset"),
        (f"/datasets/{NOWHERE}/consents/0x12", "patient"),
        ("/requests/0x12", "request"),
        (f"/requests/{NOWHERE}", "request"),
        (f"/requests/{NOWHERE}/receipt", "request"),
    ],
)
def test_what_is_not_there_or_no_id_is_refused(
    world: ApiWorld, path: str, field: str | None
) -> None:
    assert problem(world.get(path)).get("field") == field


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"a":1,"a":2}',
        b'{"a":NaN}',
        b'{"a":1.5}',
        b"[" * 500 + b"]" * 500,
        b"null",
        b"[]",
        b'"text"',
    ],
)
def test_bytes_that_are_no_json_object_are_refused(world: ApiWorld, path: str, raw: bytes) -> None:
    there, headers = addressed(world, path, raw)  # not every route asks who it is
    found = problem(world.client.post(there, data=raw, headers=headers))
    assert found["code"] in ("malformed_json", "bad_parameter", "body_too_large")


@pytest.mark.parametrize("path", [each for each in POSTS if each not in SIGNED])
def test_an_unknown_or_missing_key_is_named(world: ApiWorld, path: str) -> None:
    assert problem(world.post(path, {"surprise": 1}))["field"].startswith("body.")
    known = {
        "/dictionaries": {"dictionary": {}},
        "/class-pages": {"page": {}},
        "/quotes": world.quote(),
        "/records": {"entries": []},
        "/messages": {"messages": []},
    }
    found = problem(world.post(path, {**known[path], "surprise": 1}))
    assert found["field"] == "body.surprise"


def test_every_route_that_takes_a_body_has_a_limit_of_its_own() -> None:
    taking = {
        path.removeprefix(PREFIX).format(request_id=NOWHERE, dataset=NOWHERE)
        for path, each in DOCUMENT["paths"].items()
        if "post" in each
    }
    assert taking == set(LIMITS)
    large = {path for path, limit in LIMITS.items() if limit > 2 * 2**20}
    assert large == {"/records", SCORE_RECORD}


@pytest.mark.parametrize("path", POSTS)
def test_a_body_is_taken_to_the_limit_of_its_route_and_not_beyond(
    world: ApiWorld, path: str
) -> None:
    whole = b'{"surprise":' + b" " * (LIMITS[path] - 14) + b"1}"
    without_length = {"CONTENT_LENGTH": "", "wsgi.input_terminated": True}
    for raw, code in ((whole, "bad_parameter"), (whole + b" ", "body_too_large")):
        for said in ({}, without_length):
            there, headers = addressed(world, path, raw)
            found = problem(
                world.client.post(there, data=raw, headers=headers, environ_overrides=said)
            )
            # A signed body is cut off at the limit, so that its signature is no good.
            assert found["code"] in (code, "bad_signature" if said else code)


@pytest.mark.parametrize("value", [each for each in STRANGE if each not in (True, 1.5)])
def test_a_bundle_is_asked_for_with_proofs_or_without(world: ApiWorld, value: Any) -> None:
    raw = json.dumps({"proofs": value}).encode()
    headers = {"Usufruct-Auth": world.auth_header(raw, path=PREFIX + BUNDLE)}
    found = problem(world.client.post(PREFIX + BUNDLE, data=raw, headers=headers))
    assert (found["code"], found["field"]) == ("bad_parameter", "proofs")


HOSTILE = {
    "empty objects": b"{},",
    "objects": b'{"a":0},',
    "lists": b"[],",
    "numbers": b"0,",
    "texts": b'"",',
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("form", sorted(HOSTILE))
def test_a_body_that_would_take_a_hundred_times_its_bytes_is_refused_before_any_value_is_made(
    world: ApiWorld, path: str, form: str
) -> None:
    unit, room = HOSTILE[form], LIMITS[path] - 40
    raw = b'{"%s":[' % FIRST_KEYS[path].encode() + unit * (room // len(unit)) + b"0]}"
    there, headers = addressed(world, path, raw)
    found = problem(world.client.post(there, data=raw, headers=headers), 400)
    assert found["code"] == "malformed_json"
    assert "values" in found["detail"]


def test_a_long_key_is_judged_by_its_own_length_alone(world: ApiWorld) -> None:
    """Before, each item under it cost as much again: three megabytes, 42 seconds."""
    half = LARGEST_DICTIONARY // 2
    raw = b'{"dictionary":{"' + b"k" * half + b'":[' + b"0," * 60_000 + b"0]}}"
    found = problem(world.client.post(f"{PREFIX}/dictionaries", data=raw))
    assert (found["code"], found["field"]) == ("bad_dictionary", "dictionary")


@pytest.mark.parametrize("path", POSTS)
def test_what_another_sites_page_posts_is_refused_unread(world: ApiWorld, path: str) -> None:
    ours = world.operator.config.origin
    for how in (
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": ours},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ):
        for kind in ("text/plain", "application/json", "application/x-www-form-urlencoded"):
            sent = world.client.post(PREFIX + path, data=b"{", headers=how, content_type=kind)
            assert problem(sent, 403)["code"] == "not_from_here"
    for how in ({}, {"Sec-Fetch-Site": "same-origin", "Origin": ours}, {"Origin": ours}):
        there, headers = addressed(world, path, b"{")
        found = problem(world.client.post(there, data=b"{", headers=how | headers), 400)
        assert found["code"] == "malformed_json"


def test_pages_of_other_sites_may_read_what_is_public(world: ApiWorld) -> None:
    elsewhere = {"Sec-Fetch-Site": "cross-site", "Origin": "https://elsewhere.example"}
    assert world.client.get(f"{PREFIX}/market", headers=elsewhere).status_code == 200


# --- who hands in much takes no thread that a patient needs


@contextmanager
def all_handing_in(world: ApiWorld) -> Iterator[None]:
    """Every place for what is handed in is taken."""
    uploads = world.operator.uploads
    for _ in range(uploads.places):
        uploads.enter()
    try:
        yield
    finally:
        for _ in range(uploads.places):
            uploads.leave()


def test_whatever_is_handed_in_one_message_is_carried_and_everything_is_read(
    world: ApiWorld,
) -> None:
    many = {"messages": [world.grant_message(world.patients[0])] * 40}
    with all_handing_in(world):
        refused = [world.post(path, {}) for path in POSTS if path not in AT_ALL_TIMES]
        for response in (*refused, world.post("/messages", many)):
            assert problem(response, 503)["code"] == "busy"
            assert response.headers["Retry-After"] == "2"
        one = {"messages": [world.grant_message(world.patients[0])]}
        assert world.post("/messages", one).status_code == 200
        assert world.post("/quotes", world.quote()).status_code == 200
        assert world.get("/datasets").status_code == 200
    assert world.post("/messages", many).status_code == 200
    assert problem(world.post("/records", {}), 400)


def test_a_message_of_two_wallets_with_the_longest_signatures_counts_as_one(
    world: ApiWorld,
) -> None:
    longest = "0x" + "ab" * MOST_SIGNATURE
    message = world.grant_message(world.patients[0])
    long = {**message, "signature": longest, "signature_to": longest}
    with all_handing_in(world):
        assert world.post("/messages", {"messages": [long]}).status_code == 200


def test_readers_and_uploads_together_leave_threads_to_patients(world: ApiWorld) -> None:
    config = world.operator.config
    for threads in range(4, 257):
        for streams in range(threads // 2 + 1):
            made = {**config.model_dump(), "threads": threads, "streams": streams}
            if threads - streams < 3:
                with pytest.raises(ValueError, match="three threads"):
                    OperatorConfig.model_validate(made)
                continue
            if streams in (0, threads // 2):
                valid = OperatorConfig.model_validate(made)
                assert valid.crowd >= 1
                assert valid.uploads >= 1
                assert valid.crowd + valid.uploads < threads - streams


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("length", [LARGEST_SCORED + 1, 10 * 2**30])
def test_a_body_that_claims_more_than_allowed_is_refused_unread(
    world: ApiWorld, path: str, length: int
) -> None:
    response = world.client.post(
        PREFIX + path,
        data=b"{}",
        headers={"Usufruct-Auth": world.auth_header(b"{}")},
        environ_overrides={"CONTENT_LENGTH": str(length)},
    )
    assert problem(response, 413)["code"] == "body_too_large"


@pytest.mark.parametrize("missing", [1, 40])
def test_a_body_longer_than_its_length_says_is_refused(world: ApiWorld, missing: int) -> None:
    whole = canonical(world.quote())
    claimed = {"CONTENT_LENGTH": str(len(whole) - missing)}
    response = world.client.post(f"{PREFIX}/quotes", data=whole, environ_overrides=claimed)
    assert problem(response)["code"] == "malformed_json"


@pytest.mark.parametrize("key", ["dataset", "classes", "analysis", "parameters", "cost", "lane"])
@pytest.mark.parametrize("value", STRANGE)
def test_a_quote_of_a_wrong_type_is_refused(world: ApiWorld, key: str, value: Any) -> None:
    found = problem(world.post("/quotes", world.quote(**{key: value})))
    assert found["code"] != "internal_fault"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"classes": ["1"]}, "classes[0]"),
        ({"classes": [True]}, "classes[0]"),
        ({"classes": []}, "classes"),
        ({"classes": [1, 1]}, "classes"),
        ({"classes": [0]}, "class"),
        ({"cost": "10000"}, "cost"),
        ({"cost": 0}, "cost"),
        ({"analysis": None}, "analysis"),
        ({"analysis": "mean.v9"}, "analysis"),
        ({"parameters": {"variable": "weight"}}, "variable"),
        ({"parameters": {"variable": "systolic", "clip": ["80", "2000"]}}, "clip[1]"),
        ({"target_error": "5"}, "cost"),
        ({"lane": 2}, "lane"),  # the dataset's records are not encoded
        ({"lane": 3}, "lane"),
    ],
)
def test_a_refused_quote_names_its_field(
    world: ApiWorld, change: dict[str, Any], field: str
) -> None:
    assert problem(world.post("/quotes", world.quote(**change)))["field"] == field


def test_an_error_that_nothing_reaches_is_refused_with_the_one_that_the_class_allows(
    world: ApiWorld,
) -> None:
    most = world.quote(cost=MAX_COST)
    bought = world.post("/quotes", most).get_json()["expected_error"]
    body = world.quote(target_error="0.0001")
    del body["cost"]
    refused = problem(world.post("/quotes", body))
    assert refused["field"] == "target_error"
    allowed = f"at most {MAX_COST:,} nano-rho for one request"
    assert (
        f"{allowed} (a 95% half-width of {bought['half_width']} {written(bought['unit'])})"
        in refused["remedy"]
    )


@pytest.mark.parametrize("value", [*STRANGE, "-5", "1e3", "9" * 41])
def test_a_target_error_that_is_no_number_is_refused(world: ApiWorld, value: Any) -> None:
    body = world.quote(target_error=value)
    del body["cost"]
    problem(world.post("/quotes", body))


@pytest.mark.parametrize("key", ["messages", "entries"])
@pytest.mark.parametrize("value", [None, 1, "x", {}, []])
def test_a_batch_that_is_no_list_is_refused(world: ApiWorld, key: str, value: Any) -> None:
    path = "/messages" if key == "messages" else "/records"
    assert problem(world.post(path, {key: value}))["field"] == key


def test_any_value_of_a_message_of_a_wrong_type_is_refused_and_no_other_with_it(
    world: ApiWorld,
) -> None:
    message = world.grant_message(world.patients[0])
    kinds = (None, True, "x", [], {})
    changed = [with_value(message, path, value) for path in leaves(message) for value in kinds]
    changed += [each for each in STRANGE if not isinstance(each, float) and each != 2**63]
    before = world.state()
    answer = world.post("/messages", {"messages": changed})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    for each, sent in zip(answer.get_json()["outcomes"], changed, strict=True):
        assert each["outcome"] == "refused", sent
        assert each["code"] in ("malformed_message", "bad_parameter"), sent
        assert all(each[name] for name in ("detail", "remedy", "field")), sent
    assert world.state() == before


def test_any_value_of_a_record_of_a_wrong_type_is_refused(world: ApiWorld) -> None:
    entry = world.upload_entry(account("never stored"))
    before = world.state()
    changed = [with_value(entry, path, v) for path in leaves(entry) for v in (None, True, [], {})]
    answer = world.post("/records", {"entries": changed[:400]})
    assert answer.status_code == 200
    outcomes = answer.get_json()["outcomes"]
    assert all(each["outcome"] == "refused" and each["field"] for each in outcomes)
    assert world.state() == before


# --- signed requests


def refused(world: ApiWorld, salt: str, **changes: Any) -> Any:
    before = world.state()
    found = problem(world.post_signed(world.submission(salt), **changes))
    assert world.state() == before
    return found


def test_a_request_without_a_signature_is_refused(world: ApiWorld) -> None:
    found = problem(world.post("/requests", world.submission("unsigned")))
    assert (found["code"], found["field"]) == ("unauthenticated", "Usufruct-Auth.header")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signer": account("somebody else").address}, "bad_signature"),
        ({"key": account("somebody else"), "signer": "0x" + "22" * 20}, "bad_signature"),
        ({"content": b"{}"}, "bad_signature"),
        ({"path": "/api/v1/quotes"}, "bad_signature"),
        ({"method": "PUT"}, "bad_signature"),
        ({"signer": "nobody"}, "bad_parameter"),
        ({"deadline": 1}, "unauthenticated"),
        ({"deadline": 2_000_000_000}, "unauthenticated"),
        ({"alter": lambda signature: signature[:64]}, "bad_signature"),
        ({"alter": lambda _: bytes(65)}, "bad_signature"),
    ],
)
def test_a_signature_that_is_not_for_this_very_request_is_refused(
    world: ApiWorld, changes: dict[str, Any], code: str
) -> None:
    assert refused(world, "signature", **changes)["code"] == code


def test_the_malleated_twin_of_a_signature_is_refused(world: ApiWorld) -> None:
    def twin(signature: bytes) -> bytes:
        s = ORDER - int.from_bytes(signature[32:64], "big")
        return signature[:32] + s.to_bytes(32, "big") + bytes([27 + 28 - signature[64]])

    found = refused(world, "twin", alter=twin)
    assert found["code"] == "bad_signature"
    assert "malleated" in found["detail"]


def test_a_signature_for_another_chain_or_market_is_refused(world: ApiWorld) -> None:
    domain = world.custody.manifest.api_domain
    elsewhere = api_domain(domain.chain_id + 1, domain.verifying_contract)
    assert refused(world, "chain", domain=elsewhere)["code"] == "bad_signature"
    other = api_domain(domain.chain_id, world.researcher.address)
    assert refused(world, "market", domain=other)["code"] == "bad_signature"


def test_a_deadline_that_was_not_signed_is_refused(world: ApiWorld) -> None:
    later = int(time.time()) + LONGEST_LIFE - 60
    assert refused(world, "deadline", shown_deadline=later)["code"] == "bad_signature"


def test_a_signed_request_counts_once_however_its_nonce_is_written(world: ApiWorld) -> None:
    body = canonical(world.submission("replayed"))
    header = world.auth_header(body, nonce=keccak(text="nonce"))

    def send(text: str) -> Any:
        return world.client.post(f"{PREFIX}/requests", data=body, headers={"Usufruct-Auth": text})

    assert send(header).status_code == 200
    before = world.state()
    nonce = keccak(text="nonce").hex()
    for text in (header, header.replace(nonce, nonce.upper())):
        found = problem(send(text))
        assert (found["code"], found["field"]) == ("unauthenticated", "Usufruct-Auth.nonce")
    assert world.state() == before


def test_a_signed_request_that_was_refused_may_be_sent_again_once_its_reason_is_gone(
    world: ApiWorld,
) -> None:
    sender, body = world.custody.sender, canonical(world.submission("again"))
    headers = {"Usufruct-Auth": world.auth_header(body)}
    before = world.state()
    sender.send("ResearchMarket", "pause")
    try:
        found = problem(world.client.post(f"{PREFIX}/requests", data=body, headers=headers))
        assert found["code"] == "enforced_pause"
    finally:
        sender.send("ResearchMarket", "unpause")
    assert world.state() == before
    for status in (200, 401):
        again = world.client.post(f"{PREFIX}/requests", data=body, headers=headers)
        assert again.status_code == status


def test_handing_in_the_same_request_twice_changes_nothing(world: ApiWorld) -> None:
    body = world.submission("twice")
    first = world.post_signed(body).get_json()
    before = world.state()
    assert world.post_signed(body).get_json() == first
    after = world.state()
    assert len(after.pop("nonces")) == len(before.pop("nonces")) + 1
    assert after == before


def test_parameters_that_the_terms_do_not_name_are_refused(world: ApiWorld) -> None:
    body = {**world.submission("other"), "parameters": {"variable": "systolic", "clip": [80, 90]}}
    before = world.state()
    assert problem(world.post_signed(body))["field"] == "terms.parameters"
    assert world.state() == before


def test_a_delivery_key_that_nothing_can_be_sealed_to_is_refused(world: ApiWorld) -> None:
    terms = replace(world.terms("no key"), delivery_key=bytes(32))
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    problem(world.post_signed(body))


# --- terms that the market would not open are refused before anybody pays, by the market's own word


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"seal_deadline": 1}, "terms_invalid", "terms.sealDeadline"),
        ({"seal_deadline": 2**40 - 1}, "terms_invalid", "terms.sealDeadline"),
        ({"settle_deadline": 1}, "terms_invalid", "terms.settleDeadline"),
        ({"max_patients": 1}, "terms_invalid", "terms.maxPatients"),
        ({"release_kind": 1}, "release_kind_mismatch", "terms.releaseKind"),
        ({"lane": 2}, "not_encoded", "terms.lane"),
        ({"lane": 3}, "bad_parameter", "terms.lane"),
        ({"classes": ()}, "terms_invalid", "terms.classes"),
        ({"classes": (1, 1)}, "terms_invalid", "terms.classes"),
        ({"classes": tuple(range(1, 66))}, "terms_invalid", "terms.classes"),
        ({"classes": (7,)}, "unknown_class", "terms.classes"),
        ({"cost": 0}, "terms_invalid", "terms.cost"),
        ({"cost": 2_000_000}, "cost_above_class", "terms.cost"),
        ({"price": 0}, "price_below_floor", "terms.price"),
        ({"fee": 99}, "fee_too_small", "terms.fee"),
        ({"dataset": bytes(32)}, "unknown_dataset", "terms.dataset"),
        ({"purpose": replace(PURPOSE, uses=1 << 20)}, "purpose_not_permitted", "terms.purpose"),
        (
            {"purpose": replace(PURPOSE, diseases=tuple(range(1, 34)))},
            "malformed_message",
            "terms.purpose.diseases",
        ),
    ],
)
def test_terms_that_the_market_would_refuse_are_refused_before_payment(
    world: ApiWorld, changes: dict[str, Any], code: str, field: str
) -> None:
    before = world.state()
    found = problem(world.post_signed(world.submission(f"refused {field}", **changes)))
    assert (found["code"], found["field"]) == (code, field)
    assert found["remedy"]
    assert world.state() == before


def test_as_many_diseases_as_are_allowed_are_taken(world: ApiWorld) -> None:
    purpose = replace(PURPOSE, diseases=tuple(range(1, 33)))
    assert world.post_signed(world.submission("32 diseases", purpose=purpose)).status_code == 200


def test_a_researcher_without_a_credential_is_refused_before_payment(world: ApiWorld) -> None:
    before = world.state()
    found = problem(world.post_signed(world.submission("nobody"), key=account("no credential")))
    assert (found["code"], found["field"]) == ("credential_missing", "Usufruct-Auth.address")
    assert world.state() == before


def test_no_allowance_and_no_balance_are_needed_before_payment(world: ApiWorld) -> None:
    poor = account("credentialed and poor")
    credential = world.custody.credential()
    world.custody.sender.send("ResearcherRegistry", "give", poor.address, credential)
    assert world.post_signed(world.submission("poor"), key=poor).status_code == 200


def test_a_pause_is_said_before_payment_and_ends(world: ApiWorld) -> None:
    sender = world.custody.sender
    sender.send("ResearchMarket", "pause")
    try:
        found = problem(world.post_signed(world.submission("paused")))
        assert found["code"] == "enforced_pause"
    finally:
        sender.send("ResearchMarket", "unpause")
    assert world.post_signed(world.submission("paused")).status_code == 200


def test_a_request_that_is_open_already_can_still_be_handed_in(world: ApiWorld) -> None:
    terms = world.terms("opened first")
    request = to_hex(world.custody.open(terms))
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    assert world.post_signed(body).get_json()["request"] == request
    world.custody.sender.send("ResearchMarket", "cancel", bytes.fromhex(request[2:]))


def test_every_refusal_has_the_form_that_the_document_promises(world: ApiWorld) -> None:
    schema = Draft202012Validator(DOCUMENT["components"]["schemas"]["Problem"])
    for response in (
        world.get("/requests/0x12"),
        world.get("/nothing"),
        world.client.delete(f"{PREFIX}/market"),
        world.post("/quotes", []),
        world.post("/requests", {}),
    ):
        schema.validate(response.get_json())
