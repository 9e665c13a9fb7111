"""A researcher's whole way in one call, and what everybody is told before: a market, its worker running."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from marketplace.cli.main import main
from marketplace.client import Answer, Ask, Marketplace
from marketplace.client.frames import frame, frame_of_requests
from marketplace.client.researcher import PAID
from marketplace.errors import Refusal
from marketplace.operator import Worker
from marketplace.wire import hpke, keyfiles
from marketplace.wire.data_use import purpose_words
from marketplace.wire.http import to_hex
from marketplace.words import NO_SAMPLING, right_at_most
from tests.integration.test_api import without_bond
from tests.support.api_world import ApiWorld, api_world, market_of
from tests.support.chain_world import CAP, MAX_COST, PURPOSE, account
from tests.support.custody_world import served
from tests.support.nodes import blocks_come
from tests.unit.test_client_documents import operator

pytestmark = pytest.mark.timeout(900)
SYSTOLIC: dict[str, Any] = {"variable": "systolic"}
SMOKERS = {**SYSTOLIC, "filters": [{"variable": "smoker", "op": "==", "value": "no"}]}
MUCH = 10**9
"""Token units: more than any escrow here."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("asking")) as made:
        yield made


@pytest.fixture(scope="module")
def ask(world: ApiWorld) -> Ask:
    return market_of(world).researcher(world.researcher, hpke.generate())


@pytest.fixture(scope="module")
def heard() -> list[str]:
    return []


@pytest.fixture(scope="module")
def answer(world: ApiWorld, ask: Ask, heard: list[str]) -> Answer:
    """From question to answer, with nobody helping: the worker does what the operator's does."""
    worker = Worker(world.operator)
    thread = worker.start()
    asked = (world.custody.dataset, [1], "mean.v1", SYSTOLIC, PURPOSE)
    try:
        with blocks_come(world.operator.chain.node):
            return ask.run(*asked, cost=MAX_COST, at_most=MUCH, on_stage=heard.append)
    finally:
        worker.stop()
        thread.join()


def test_a_question_is_answered_with_an_interval_for_everybody_who_consents(
    world: ApiWorld, answer: Answer
) -> None:
    (cell,) = answer.cells
    assert cell.lower <= cell.estimate <= cell.upper
    assert (answer.unit, answer.level) == ("mm[Hg]", Decimal("0.95"))
    assert answer.cohort_size == len(world.patients)
    assert answer.in_words[-1] == NO_SAMPLING
    assert answer.receipt["request"] == answer.request


def test_what_happens_meanwhile_is_heard_in_its_order(answer: Answer, heard: list[str]) -> None:
    order = [f"submitted {answer.request}", PAID, "settled"]
    assert [each for each in heard if each in order] == order


def test_an_answer_is_a_table_of_its_cells(answer: Answer) -> None:
    (row,) = frame(answer).to_dict("records")
    (cell,) = answer.cells
    assert row == {
        "estimate": float(cell.estimate),
        "lower": float(cell.lower),
        "upper": float(cell.upper),
        "unit": "mm[Hg]",
        "level": 0.95,
    }


def test_everybodys_requests_are_a_table_with_dataset_and_purpose(
    world: ApiWorld, answer: Answer
) -> None:
    found = frame_of_requests(market_of(world).requests()).loc[answer.request]
    assert (found["dataset"], found["stage"]) == (world.dataset, "settled")
    assert found["purpose"] == purpose_words(PURPOSE)


# --- nothing is paid that nobody agreed to


def test_an_escrow_above_the_limit_is_refused_before_anything_is_handed_in(
    world: ApiWorld, ask: Ask
) -> None:
    before = world.state()
    asked = (world.custody.dataset, [1], "mean.v1", SYSTOLIC, PURPOSE)
    offer = ask.offer(*asked, cost=MAX_COST)
    with pytest.raises(Refusal) as refused:
        ask.run(*asked, cost=MAX_COST, at_most=offer.escrow - 1, patience=0)
    assert (refused.value.code, refused.value.field) == ("escrow_above_limit", "at_most")
    assert world.state() == before


def test_what_the_market_would_refuse_is_refused_before_anything_is_handed_in(
    world: ApiWorld,
) -> None:
    before = world.state()
    stranger = market_of(world).researcher(bytes(account("stranger").key), hpke.generate())
    asked = (world.custody.dataset, [1], "mean.v1", SYSTOLIC, PURPOSE)
    with pytest.raises(Refusal) as refused:
        stranger.run(*asked, cost=MAX_COST, at_most=MUCH, patience=0)
    assert refused.value.code == "credential_missing"
    assert refused.value.remedy.startswith("Nothing was paid.")
    offer = stranger.offer(*asked, cost=MAX_COST)
    assert offer.in_words[0].startswith("It cannot be bought like this.")
    assert world.state() == before


# --- what is told before


def quoted(world: ApiWorld, **changes: Any) -> Any:
    return world.post("/quotes", world.quote(**changes)).get_json()


def test_a_quote_with_filters_tells_operator_and_client_alike_what_a_tenth_would_bring(
    world: ApiWorld, ask: Ask
) -> None:
    told = quoted(world, parameters=SMOKERS, cost=MAX_COST)
    own = ask.quote(world.custody.dataset, [1], "mean.v1", SMOKERS, cost=MAX_COST)
    assert told == own
    tenth = told["expected_error_of_a_tenth"]
    assert tenth["members"] == 1
    assert tenth["in_words"] in told["in_words"]
    everybody = quoted(world, cost=MAX_COST)
    assert everybody["expected_error_of_a_tenth"] is None
    assert everybody["expected_error"] == told["expected_error"]


def test_a_quote_for_an_answer_as_wide_as_the_dictionary_says_that_it_tells_nothing(
    world: ApiWorld,
) -> None:
    told = quoted(world, cost=1)
    assert told["expected_error"]["tells_nothing"] is True
    assert any(each.endswith("such a result tells nothing.") for each in told["in_words"])


def listed(world: ApiWorld, request: str) -> Any:
    (found,) = (
        each for each in world.get("/requests").get_json()["requests"] if each["request"] == request
    )
    return found


def test_the_public_list_says_dataset_purpose_and_the_end_of_the_notice(world: ApiWorld) -> None:
    terms = world.terms("listed")
    body = {"terms": terms.to_json(), "parameters": SYSTOLIC}
    request = world.post_signed(body).get_json()["request"]
    found = listed(world, request)
    assert (found["dataset"], found["purpose"]) == (world.dataset, purpose_words(PURPOSE))
    assert found["lane"] == 1
    assert found["notice_until"] is None, "it was not paid, so no notice runs"
    # A permit takes the place of the allowance that this pays from.
    world.custody.sender.send("TestEuro", "approve", world.custody.manifest.market, 10**12)
    world.custody.open(terms)
    world.custody.tick()
    with without_bond(world):  # so that it stays funded
        world.operator.pipeline.advance(request)
        the_notice_of_a_funded_request_is_shown(world, request)
    world.settle(request)
    assert listed(world, request)["notice_until"] is None


def the_notice_of_a_funded_request_is_shown(world: ApiWorld, request: str) -> None:
    chain = world.operator.chain
    ends = chain.request(bytes.fromhex(request[2:])).opened_at + chain.policy().notice_window
    found = listed(world, request)
    assert (found["stage"], found["notice_until"]) == ("funded", ends)
    assert world.get(f"/requests/{request}").get_json()["notice_until"] == ends
    done = CliRunner().invoke(main, ["requests", "--url", world.url])
    (said,) = (each for each in json.loads(done.stdout)["in_words"] if request in each)
    assert "Patients may rest their consent for it until" in said


def granting(world: ApiWorld, url: str, folder: Path, way: str, cap: int = CAP) -> Result:
    """By a patient who consents already: a grant of the same cap changes nothing but the sequence."""
    key = folder / "patient.key"
    keyfiles.create(key, bytes(world.patients[0].key))
    given = ["grant", "--url", url, "--key-file", str(key), "--dataset", world.dataset]
    if way == "oneself":
        home = world.config_path.parent
        given += ["--node", world.custody.node_url, "--manifest", str(home / "manifest.json")]
        given += ["--gas-key-file", str(home / "faucet.key")]
    return CliRunner().invoke(main, [*given, "--cap", str(cap)])


@pytest.mark.parametrize("way", ["operator", "oneself"])
def test_a_grant_shows_the_terms_and_the_odds_at_the_cap_before_it_signs(
    world: ApiWorld, tmp_path: Path, way: str
) -> None:
    done = granting(world, world.url, tmp_path, way)
    assert done.exit_code == 0, done.output
    said = done.stderr
    assert "You consent to class 1." in said
    assert "It permits" in said
    assert f"at most {right_at_most(CAP, len(world.patients))} times in 100" in said
    assert "or when you revoke" in said
    assert said.index("It permits") < said.index("or when you revoke")
    (class_,) = market_of(world).dataset(world.custody.dataset).classes
    assert all(each in said for each in class_.permits)


def test_terms_and_odds_are_shown_also_where_the_grant_is_refused_afterwards(
    world: ApiWorld, tmp_path: Path
) -> None:
    """So they come before anything is signed and carried."""
    done = granting(world, world.url, tmp_path, "operator", cap=1)
    assert done.exit_code == 1
    assert done.stderr.index("You consent to class 1.") < done.stderr.index("[budget_too_small]")


def test_an_operator_that_shows_other_terms_than_were_published_gets_no_grant(
    world: ApiWorld, tmp_path: Path
) -> None:
    true = world.get(f"/datasets/{world.dataset}").get_json()
    (class_,) = true["classes"]
    lie = {**class_, "terms": {**class_["terms"], "modifiers": 0, "maxCost": "1"}}
    consent = world.get(f"/datasets/{world.dataset}/consents/{world.patients[0].address}")
    app = operator(**{**true, **consent.get_json(), "classes": [lie], "token_decimals": 6})
    before = world.state()
    with served(app) as url:
        done = granting(world, url, tmp_path, "operator")
    assert done.exit_code == 1
    assert "[class_differs]" in done.stderr
    assert "You consent to class" not in done.stderr
    assert world.state() == before


def test_nothing_is_sealed_with_the_key_of_an_issuer_that_the_dataset_does_not_trust(
    world: ApiWorld, tmp_path: Path
) -> None:
    key, out = tmp_path / "stranger.key", tmp_path / "record.json"
    keyfiles.create(key, bytes(account("no issuer").key))
    bundle = tmp_path / "bundle.json"
    bundle.write_text("{}")
    given = ["seal", "--url", world.url, "--node", world.custody.node_url]
    given += ["--manifest", str(world.config_path.parent / "manifest.json")]
    given += ["--dataset", world.dataset, "--patient", world.patients[0].address]
    given += ["--fhir", str(bundle), "--person", "0x" + "22" * 32, "--out", str(out)]
    done = CliRunner().invoke(main, [*given, "--issuer-key-file", str(key)])
    assert done.exit_code == 1
    assert "[unknown_issuer] (field issuer_key_file)" in done.stderr
    assert account("no issuer").address in done.stderr
    assert not out.exists()
    known = tmp_path / "issuer.key"
    keyfiles.create(known, bytes(world.custody.issuer.key))
    done = CliRunner().invoke(main, [*given, "--issuer-key-file", str(known)])
    assert "[unknown_issuer]" not in done.stderr, "the bundle is what is wrong now"
    assert done.exit_code == 1


def test_datasets_and_catalogue_are_read_from_the_real_answers(world: ApiWorld) -> None:
    market = Marketplace(world.url)
    (found,) = market.datasets()
    assert to_hex(found.id) == world.dataset
    assert found.dictionary == world.custody.dictionary
    assert "mean.v1" in {each.id for each in market.catalogue()}
    for command in ("datasets", "catalogue", "requests"):
        done = CliRunner().invoke(main, [command, "--url", world.url])
        assert done.exit_code == 0, done.output
        assert next(iter(json.loads(done.stdout))) == "in_words"
