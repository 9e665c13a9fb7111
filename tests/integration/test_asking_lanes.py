"""Asking in either lane through an operator's API: its catalogue, its quotes, and the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from marketplace.analyses.catalogue import known_in
from marketplace.cli.main import main
from marketplace.client import Answer, Ask
from marketplace.errors import BadParameter
from marketplace.operator import Worker
from marketplace.receipts.opened_sums import load_opened_sums
from marketplace.receipts.verify import verify
from marketplace.vocabulary import Lane
from marketplace.wire import hpke, keyfiles
from marketplace.wire.canonical import canonical
from marketplace.wire.http import to_hex
from marketplace.wire.tally_delivery import TallyKey
from marketplace.words import NO_SAMPLING
from tests.integration.test_api import shown
from tests.support.chain_world import MAX_COST, PURPOSE, account
from tests.support.nodes import blocks_come
from tests.support.refusals import refused
from tests.support.tallied_world import TalliedWorld, tallied_world

pytestmark = pytest.mark.timeout(900)
SYSTOLIC: dict[str, Any] = {"variable": "systolic"}
LANE2 = Lane.HOMOMORPHIC
MUCH = 10**9
"""Token units: more than any escrow here."""


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    """What was quoted before there was a joint key."""
    return {}


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, before: dict[str, Any]
) -> Iterator[TalliedWorld]:
    with tallied_world(tmp_path_factory.mktemp("lanes"), with_key=False) as made:
        before["homomorphic"] = refused("no_joint_key", told, made, lane=2)
        before["vault"] = told(made)
        made.generate_key()
        yield made


@pytest.fixture(scope="module")
def ask(world: TalliedWorld) -> Ask:
    return world.market.researcher(world.custody.operator, hpke.SecretKey(bytes(range(32))))


def asked(world: TalliedWorld, **changes: Any) -> dict[str, Any]:
    body = {
        "dataset": to_hex(world.custody.dataset),
        "classes": [1],
        "analysis": "mean.v1",
        "parameters": SYSTOLIC,
        "cost": MAX_COST,
    }
    return body | changes


def told(world: TalliedWorld, **changes: Any) -> dict[str, Any]:
    return world.market.api.post("/api/v1/quotes", asked(world, **changes))


def test_a_question_without_a_lane_is_of_the_vault_lane(world: TalliedWorld) -> None:
    assert told(world) == told(world, lane=1)
    assert (told(world)["lane"], told(world)["tally"]) == (1, None)


def test_without_a_joint_key_nothing_is_quoted_in_the_homomorphic_lane(
    world: TalliedWorld, before: dict[str, Any]
) -> None:
    assert before["homomorphic"].field == "lane"
    assert before["vault"] == told(world)


def test_operator_and_client_come_to_one_quote_in_the_homomorphic_lane(
    world: TalliedWorld, ask: Ask
) -> None:
    quote = told(world, lane=2)
    own = ask.quote(world.custody.dataset, [1], "mean.v1", SYSTOLIC, cost=MAX_COST, lane=LANE2)
    assert quote == own
    shown("/api/v1/quotes", quote, "post")
    assert quote["tally"]["quorum"] == 2
    vault = told(world)
    for name in ("analysis_hash", "parameters_hash", "release_kind", "price_per_member"):
        assert quote[name] == vault[name]


def test_what_the_lane_does_otherwise_is_told_before_anything_is_paid(world: TalliedWorld) -> None:
    words = " ".join(told(world, lane=2)["in_words"])
    assert "nobody ever opens a record" in words
    assert (
        "decrypt 2 sums with noise in them, any 2 of 3 together, to your delivery key alone"
        in words
    )
    assert "so that none of them alone can know or undo it" in words
    assert "Its variance is 1.50 times that of the vault lane's" in words
    assert "2.00 times if only 2 of them take part" in words
    assert "If only 2 of the 3 custodians take part: 95% half-width of" in words
    assert "no quantiles, no clipping" in words
    assert "Homomorphic" not in " ".join(told(world)["in_words"])


def test_terms_name_the_lane_and_the_key_that_opens_its_sums(world: TalliedWorld, ask: Ask) -> None:
    given = (world.custody.dataset, [1])
    for lane, key in (
        (Lane.VAULT, ask.delivery.public),
        (LANE2, TallyKey.of(ask.delivery).public),
    ):
        quote = ask.quote(*given, "mean.v1", SYSTOLIC, cost=MAX_COST, lane=lane)
        terms = ask.terms(*given, quote, PURPOSE)
        assert (terms.lane, terms.delivery_key) == (int(lane), key)


def test_the_market_would_take_the_offer_from_this_researcher(
    world: TalliedWorld, ask: Ask
) -> None:
    given = (world.custody.dataset, [1], "mean.v1", SYSTOLIC, PURPOSE)
    offer = ask.offer(*given, cost=MAX_COST, lane=LANE2)
    offer.require_buyable()
    assert offer.question.lane is LANE2
    stranger = world.market.researcher(bytes(account("stranger").key), hpke.generate())
    declined = stranger.offer(*given, cost=MAX_COST, lane=LANE2).quote["refusal"]
    assert declined["code"] == "credential_missing"


def test_an_operator_that_quotes_another_lane_is_refused(
    world: TalliedWorld, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault = told(world)
    monkeypatch.setattr(type(ask.market.api), "post", lambda *_: vault)
    given = (world.custody.dataset, [1], "mean.v1", SYSTOLIC)
    found = refused("quote_differs", ask.quote, *given, cost=MAX_COST, lane=LANE2)
    assert found.field == "lane"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"lane": 3}, "lane"),
        ({"lane": "2"}, "lane"),
        ({"lane": 2, "analysis": "quantile.v1"}, "analysis"),
        ({"lane": 1, "analysis": "correlation.v1"}, "analysis"),
        ({"lane": 2, "parameters": SYSTOLIC | {"clip": ["80", "200"]}}, "clip"),
    ],
)
def test_what_a_lane_cannot_answer_is_refused_with_its_field(
    world: TalliedWorld, changes: dict[str, Any], field: str
) -> None:
    found = refused("bad_parameter", told, world, **changes)
    assert found.field == field


# --- the catalogue


def test_each_lane_has_its_catalogue(world: TalliedWorld) -> None:
    told = world.market.api.get("/api/v1/catalogue")
    shown("/api/v1/catalogue", told)
    listed = told["analyses"]
    assert [(each["lane"], each["hash"]) for each in listed] == [
        (int(lane), to_hex(digest)) for lane in Lane for digest in known_in(lane)
    ]
    for lane in Lane:
        entries = world.market.catalogue(lane)
        assert [each.id for each in entries] == [each.id for each in known_in(lane).values()]
        assert all(each.asks and each.tells for each in entries)
    assert world.market.catalogue() == world.market.catalogue(Lane.VAULT)


# --- the command line


def typed(world: TalliedWorld, folder: Path, *more: str) -> Result:
    key, purpose = folder / "researcher.key", folder / "purpose.json"
    if not key.exists():
        keyfiles.create(key, world.custody.operator)
        purpose.write_text(json.dumps(PURPOSE.to_json()))
    given = ["request", "--url", world.url, "--node", world.custody.node_url]
    given += ["--key-file", str(key), "--delivery-key-file", str(folder / "delivery.key")]
    given += ["--dataset", to_hex(world.custody.dataset), "--purpose", str(purpose)]
    given += ["--analysis", "mean.v1", "--parameters", json.dumps(SYSTOLIC)]
    return CliRunner().invoke(main, [*given, "--cost", str(MAX_COST), *more])


def test_a_quote_is_shown_for_the_lane_that_is_typed(world: TalliedWorld, tmp_path: Path) -> None:
    shown = typed(world, tmp_path, "--quote-only", "--lane", "homomorphic")
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["lane"] == 2
    assert json.loads(typed(world, tmp_path, "--quote-only").stdout)["lane"] == 1
    assert typed(world, tmp_path, "--quote-only", "--lane", "2").exit_code == 2


def test_the_catalogue_of_a_lane_is_listed(world: TalliedWorld) -> None:
    for lane in Lane:
        given = ["catalogue", "--url", world.url, "--lane", lane.name.lower()]
        done = CliRunner().invoke(main, given)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert [each["id"] for each in found["analyses"]] == [
            each.id for each in known_in(lane).values()
        ]
        assert len(found["in_words"]) == len(found["analyses"])


# --- the whole way


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Not whoever runs the tests shall keep their tables."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def answer(world: TalliedWorld, ask: Ask) -> Answer:
    """From question to answer, with nobody helping: the worker does what the operator's does."""
    people = {f"asked {i}": {"systolic": Decimal(110 + i), "smoker": "no"} for i in range(4)}
    world.enrol(people)
    world.custody._batch("ConsentRegistry", [world.custody.grant(account(name)) for name in people])
    worker = Worker(world.operator)
    thread = worker.start()
    given = (world.custody.dataset, [1], "mean.v1", SYSTOLIC, PURPOSE)
    try:
        with blocks_come(world.operator.chain.node):
            return ask.run(*given, cost=MAX_COST, at_most=MUCH, lane=LANE2, patience=300)
    finally:
        worker.stop()
        thread.join()


def test_a_question_is_asked_and_answered_without_anybody_opening_a_record(
    world: TalliedWorld, ask: Ask, answer: Answer
) -> None:
    (cell,) = answer.cells
    assert cell.lower <= cell.estimate <= cell.upper
    assert (answer.unit, answer.cohort_size) == ("mm[Hg]", 4)
    assert answer.in_words[-1] == NO_SAMPLING
    assert answer.receipt["schema"] == "usufruct-receipt/2"
    assert ask.answer(answer.request).result == answer.result


def test_the_same_answer_is_had_from_the_operator_by_the_command_line(
    world: TalliedWorld, ask: Ask, answer: Answer, tmp_path: Path
) -> None:
    key, receipt = tmp_path / "delivery.key", tmp_path / "receipt.json"
    keyfiles.create(key, ask.delivery.raw)
    given = ["result", "--url", world.url, "--request", answer.request]
    given += ["--delivery-key-file", str(key), "--receipt", str(receipt)]
    done = CliRunner().invoke(main, given)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["answer"] == answer.result
    assert json.loads(receipt.read_bytes()) == answer.receipt


def test_the_numbers_of_either_way_to_the_answer_hold_against_its_receipt(
    world: TalliedWorld, ask: Ask, answer: Answer, tmp_path: Path
) -> None:
    """As the SDK publishes them, and as the command line writes them."""
    key, written = tmp_path / "delivery.key", tmp_path / "opening.json"
    keyfiles.create(key, ask.delivery.raw)
    given = ["result", "--url", world.url, "--request", answer.request]
    given += ["--delivery-key-file", str(key), "--opening-out", str(written)]
    for _ in range(2):  # the same request's is replaced
        done = CliRunner().invoke(main, given)
        assert done.exit_code == 0, done.output
        assert str(written) in done.stderr
    dictionary = world.market.dictionary(world.custody.dataset)
    raw = canonical(answer.receipt)
    for opening in (load_opened_sums(answer.opening()), load_opened_sums(written.read_bytes())):
        held = verify(raw, world.custody.chain, dictionary=dictionary, opening=opening)
        assert held.steps[-2:] == ("question", "opening")
        assert held.answer == answer.result
    assert ask.delivery.raw.hex() not in written.read_text()


def test_anybody_can_have_the_dictionary_as_a_file(world: TalliedWorld, tmp_path: Path) -> None:
    out, dataset = tmp_path / "dictionary.json", world.custody.dataset
    given = ["datasets", "--url", world.url, "--dictionary-out", str(out)]
    alone = CliRunner().invoke(main, given)
    assert alone.exit_code == 2
    assert "needs --dataset" in alone.output
    for _ in range(2):
        done = CliRunner().invoke(main, [*given, "--dataset", to_hex(dataset)])
        assert done.exit_code == 0, done.output
    assert out.read_bytes() == world.market.dictionary(dataset).to_bytes()
    assert any("In the homomorphic lane: " in each for each in json.loads(done.stdout)["in_words"])
    out.write_text("notes")
    other = CliRunner().invoke(main, [*given, "--dataset", to_hex(dataset)])
    assert "[file_exists] (field dictionary_out)" in other.output
    assert out.read_text() == "notes"


def test_a_lane_that_is_none_is_refused_by_name(world: TalliedWorld, ask: Ask) -> None:
    lane: Any = "homomorphic"
    with pytest.raises(BadParameter) as refusal:
        ask.quote(world.custody.dataset, [1], "mean.v1", {}, cost=1, lane=lane)
    assert refusal.value.field == "lane"


# --- what the receipt is verified with


def bundle_of(world: TalliedWorld, folder: Path, request: str, key: bytes, *more: str) -> Result:
    key_file = folder / "key"
    keyfiles.create(key_file, key)
    given = ["bundle", "--url", world.url, "--node", world.custody.node_url]
    given += ["--key-file", str(key_file), "--request", request]
    return CliRunner().invoke(main, [*given, "--out", str(folder / "bundle.jsonl"), *more])


def test_its_researcher_fetches_what_the_receipt_is_verified_with(
    world: TalliedWorld, answer: Answer, tmp_path: Path
) -> None:
    done = bundle_of(world, tmp_path, answer.request, world.custody.operator)
    assert done.exit_code == 0, done.output
    written = tmp_path / "bundle.jsonl"
    assert json.loads(done.stdout)["bytes"] == written.stat().st_size
    with written.open("rb") as file:
        verified = verify(canonical(answer.receipt), world.custody.chain, bundle=file)
    assert verified.not_done == ("proofs",)
    assert sorted(tmp_path.iterdir()) == [written, tmp_path / "key"]
    again = bundle_of(world, tmp_path, answer.request, world.custody.operator)
    assert "[file_exists]" in again.output


def test_its_researcher_fetches_records_whole_and_their_proofs_are_verified(
    world: TalliedWorld, answer: Answer, tmp_path: Path
) -> None:
    done = bundle_of(world, tmp_path, answer.request, world.custody.operator, "--proofs")
    assert done.exit_code == 0, done.output
    with (tmp_path / "bundle.jsonl").open("rb") as file:
        verified = verify(canonical(answer.receipt), world.custody.chain, bundle=file)
    assert verified.not_done == ()
    assert verified.steps[-1] == "proofs"


def test_nobody_else_is_given_a_bundle_and_nothing_is_left_of_a_refused_one(
    world: TalliedWorld, answer: Answer, tmp_path: Path
) -> None:
    done = bundle_of(world, tmp_path, answer.request, bytes(account("stranger").key))
    assert "[not_the_researcher]" in done.output
    assert list(tmp_path.iterdir()) == [tmp_path / "key"]
    unknown = bundle_of(world, tmp_path, "0x" + "11" * 32, world.custody.operator)
    assert "[unknown_request]" in unknown.output


def test_a_record_that_was_erased_since_is_not_shown_to_anybody(
    world: TalliedWorld, ask: Ask, answer: Answer
) -> None:
    """The last of this file: the record is gone for good."""
    world.operator.bundles.records.erase(
        world.custody.records[account("asked 0").address].commitment, "erased by its patient"
    )
    found = refused("evidence_missing", ask.bundle, answer.request, BytesIO())
    assert "1" in found.message
