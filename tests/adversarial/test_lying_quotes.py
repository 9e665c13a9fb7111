"""An operator that shows one price and takes another, or answers what was not asked: real commands."""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flask
import pytest
from click.testing import CliRunner, Result

from marketplace.chain.adapter import RequestStage
from marketplace.cli.main import main
from marketplace.client import Ask, Marketplace
from marketplace.errors import Refusal
from marketplace.wire import hpke, keyfiles
from marketplace.wire.structs import RequestTerms
from tests.support.api_world import PREFIX, ApiWorld, api_world
from tests.support.chain_world import MAX_COST, PURPOSE
from tests.support.custody_world import served
from tests.support.terminal import at_a_terminal

COST = 10_000
MEAN = {"variable": "systolic"}
Change = Callable[[dict[str, Any]], None]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("quotes")) as made:
        yield made


@dataclass
class Liar:
    """Passes everything on to the honest application, and changes its answers by path."""

    url: str
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def bodies(self, path: str) -> list[Any]:
        """What was sent to a path."""
        return [body for at, body in self.asked if at == path]


@contextmanager
def lying(world: ApiWorld, lies: Mapping[str, Change]) -> Iterator[Liar]:
    app, liar = flask.Flask("liar"), Liar("")

    @app.route("/<path:path>", methods=["GET", "POST"])
    def answer(path: str) -> Any:
        question = flask.request
        kept = ("Usufruct-Auth", "Content-Type")
        headers = {name: value for name, value in question.headers if name in kept}
        data = question.get_data()
        liar.asked.append(("/" + path, json.loads(data) if data else None))
        true = world.client.open("/" + path, method=question.method, data=data, headers=headers)
        document = true.get_json(force=True)
        if true.status_code == 200 and "/" + path in lies:
            lies["/" + path](document)
        return flask.Response(json.dumps(document), true.status_code, mimetype=true.mimetype)

    with served(app) as url:
        liar.url = url
        yield liar


def words(world: ApiWorld, folder: Path, url: str, *more: str) -> list[str]:
    """`usufruct request` for a mean, by the world's one researcher."""
    purpose, home = folder / "purpose.json", world.config_path.parent
    purpose.write_text(json.dumps(PURPOSE.to_json()))
    given = ["request", "--url", url, "--node", world.custody.node_url]
    given += ["--key-file", str(home / "faucet.key"), "--purpose", str(purpose)]
    given += ["--delivery-key-file", str(folder / "delivery.key"), "--dataset", world.dataset]
    given += ["--analysis", "mean.v1", "--parameters", json.dumps(MEAN), "--wait", "0"]
    return [*given, *more]


def typed(world: ApiWorld, folder: Path, url: str, *more: str) -> Result:
    return CliRunner().invoke(main, words(world, folder, url, "--cost", str(COST), *more))


@contextmanager
def nothing_is_handed_in_or_paid(world: ApiWorld, folder: Path) -> Iterator[None]:
    before = world.state()
    yield
    assert world.state() == before
    assert not (folder / "delivery.key").exists()


def refused(result: Result, code: str) -> str:
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1, result.output
    assert f"[{code}]" in result.output, result.output
    assert result.stdout == ""
    return result.output


QUOTES = PREFIX + "/quotes"
LIES: dict[str, dict[str, Any]] = {
    "cost_nano_rho": {"cost_nano_rho": 50 * COST},
    "analysis_hash": {"analysis_hash": "0x" + "11" * 32},
    "parameters_hash": {"parameters_hash": "0x" + "11" * 32},
    "release_kind": {"release_kind": 1},
    "price_per_member": {"price_per_member": 7_000_000},
    "highest_cost_nano_rho": {"highest_cost_nano_rho": 1},
    "minimum_cohort": {"minimum_cohort": 1},
    "token_decimals": {"token_decimals": 9},
    "escrow": {"escrow": "120"},
}


# --- the quote


@pytest.mark.parametrize("name", LIES)
def test_a_quote_that_differs_from_question_or_chain_is_refused_before_anything_is_handed_in(
    world: ApiWorld, tmp_path: Path, name: str
) -> None:
    lies = {QUOTES: lambda quote: quote.update(LIES[name])}
    with lying(world, lies) as liar, nothing_is_handed_in_or_paid(world, tmp_path):
        output = refused(typed(world, tmp_path, liar.url, "--yes"), "quote_differs")
        assert f"(field {name})" in output
        refused(typed(world, tmp_path, liar.url, "--quote-only"), "quote_differs")
        assert liar.bodies(PREFIX + "/requests") == []


def test_a_price_below_what_its_class_accepts_is_refused_too(
    world: ApiWorld, tmp_path: Path
) -> None:
    lies = {QUOTES: lambda quote: quote.update(price_per_member=0, escrow=str(quote["fee"]))}
    with lying(world, lies) as liar, nothing_is_handed_in_or_paid(world, tmp_path):
        refused(typed(world, tmp_path, liar.url, "--yes"), "quote_differs")


@pytest.mark.parametrize("missing", ["fee", "escrow", "price_per_member", "max_patients"])
def test_a_quote_with_a_part_missing_is_refused_in_words(
    world: ApiWorld, tmp_path: Path, missing: str
) -> None:
    lies = {QUOTES: lambda quote: quote.pop(missing)}
    with lying(world, lies) as liar, nothing_is_handed_in_or_paid(world, tmp_path):
        result = typed(world, tmp_path, liar.url, "--yes")
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception


def test_what_moves_with_the_consents_is_counted_at_an_own_node(
    world: ApiWorld, tmp_path: Path
) -> None:
    true = json.loads(typed(world, tmp_path, world.url, "--quote-only").stdout)

    def flatter(quote: dict[str, Any]) -> None:
        quote.update(live=10**6, members_assumed=10**6, max_patients=10**9)
        quote.update(epsilon={"epsilon": "0.0001", "delta": "0"})
        quote["expected_error"]["half_width"] = "0.0001"
        quote["odds"].update(in_words="Nobody can guess anything.", right_at_most="50.00")
        quote["escrow"] = str(10**9 * quote["price_per_member"] + quote["fee"])

    with lying(world, {QUOTES: flatter}) as liar:
        shown = json.loads(typed(world, tmp_path, liar.url, "--quote-only").stdout)
    assert shown == true
    assert true["escrow"] == str(true["max_patients"] * true["price_per_member"] + true["fee"])
    assert true == world.post("/quotes", world.quote()).get_json() | {"in_words": true["in_words"]}


def test_no_operator_chooses_the_cost_that_reaches_an_error(
    world: ApiWorld, tmp_path: Path
) -> None:
    dearer = world.post("/quotes", world.quote(cost=10**9)).get_json()
    reached = dearer["expected_error"]["half_width"]
    wanted = {name: value for name, value in world.quote().items() if name != "cost"}
    own = world.post("/quotes", wanted | {"target_error": reached}).get_json()
    assert own["cost_nano_rho"] > COST
    with lying(world, {}) as liar:
        given = words(world, tmp_path, liar.url, "--target-error", reached, "--quote-only")
        shown = json.loads(CliRunner().invoke(main, given).stdout)
        (asked,) = liar.bodies(QUOTES)
    assert asked["cost"] == shown["cost_nano_rho"] == own["cost_nano_rho"]
    assert "target_error" not in asked


@pytest.mark.parametrize("operator", ["honest", "silent about it"])
def test_a_cost_above_the_class_is_refused_before_anything_is_handed_in_whatever_the_operator_says(
    world: ApiWorld, tmp_path: Path, operator: str
) -> None:
    lies = {} if operator == "honest" else {QUOTES: lambda quote: quote.update(refusal=None)}
    with lying(world, lies) as liar, nothing_is_handed_in_or_paid(world, tmp_path):
        given = words(world, tmp_path, liar.url, "--cost", str(MAX_COST + 1))
        output = refused(CliRunner().invoke(main, [*given, "--yes"]), "cost_above_class")
        assert f"class 1 allows for one request, {MAX_COST:,} nano-rho" in output
        assert "Nothing was paid." in output
        shown = CliRunner().invoke(main, [*given, "--quote-only"])
        assert json.loads(shown.stdout)["in_words"][0].startswith("It cannot be bought like this.")
        assert liar.bodies(PREFIX + "/requests") == []


# --- the escrow


def dear(quote: dict[str, Any]) -> None:
    """900 more for the operator."""
    quote["fee"] += 900_000_000
    quote["escrow"] = str(int(quote["escrow"]) + 900_000_000)


def test_a_fee_that_rose_since_it_was_shown_is_not_paid(world: ApiWorld, tmp_path: Path) -> None:
    before = json.loads(typed(world, tmp_path, world.url, "--quote-only").stdout)
    with lying(world, {QUOTES: dear}) as liar, nothing_is_handed_in_or_paid(world, tmp_path):
        result = typed(world, tmp_path, liar.url, "--at-most", before["escrow"])
        output = refused(result, "escrow_above_limit")
        assert str(int(before["escrow"]) + 900_000_000) in output
        refused(typed(world, tmp_path, liar.url, "--yes", "--at-most", "1"), "escrow_above_limit")
        refused(typed(world, tmp_path, liar.url), "not_agreed")


def test_whoever_declines_at_a_terminal_pays_nothing(world: ApiWorld, tmp_path: Path) -> None:
    given = words(world, tmp_path, world.url, "--cost", str(COST))
    with nothing_is_handed_in_or_paid(world, tmp_path):
        said = at_a_terminal([sys.executable, "-m", "marketplace.cli", *given], "n\n")
    assert (said.code, said.stdout) == (1, "")
    assert "Price:" in said.stderr
    assert "Pay an escrow of" in said.stderr
    assert "[not_agreed]" in said.stderr


# --- the contracts


def test_with_a_manifest_no_operator_names_the_contracts(world: ApiWorld, tmp_path: Path) -> None:
    manifest = str(world.config_path.parent / "manifest.json")

    def elsewhere(market: dict[str, Any]) -> None:
        market["manifest"]["contracts"]["ResearchMarket"]["address"] = "0x" + "11" * 20

    with lying(world, {PREFIX + "/market": elsewhere}) as liar:
        result = typed(world, tmp_path, liar.url, "--quote-only", "--manifest", manifest)
        assert result.exit_code == 0, result.output
        assert liar.bodies(PREFIX + "/market") == []
        result = typed(world, tmp_path, liar.url, "--quote-only")
    assert result.exit_code == 1


# --- what was asked, and what is answered


@dataclass(frozen=True)
class Asker:
    """A researcher at some operator."""

    ask: Ask
    world: ApiWorld

    def terms(self) -> RequestTerms:
        dataset = self.world.custody.dataset
        quote = self.ask.quote(dataset, [1], "mean.v1", MEAN, cost=COST)
        return self.ask.terms(dataset, [1], quote, PURPOSE)

    def settled(self) -> str:
        terms = self.terms()
        request = self.ask.submit(terms, MEAN)
        assert self.ask.open(terms) == request
        self.world.custody.tick()
        self.world.settle(request)
        return request


def asker(world: ApiWorld, url: str, delivery: hpke.SecretKey) -> Asker:
    market = Marketplace(url, world.custody.node_url)
    return Asker(Ask(market, world.researcher, delivery), world)


def test_a_request_taken_in_under_another_id_is_not_paid(world: ApiWorld) -> None:
    lies = {PREFIX + "/requests": lambda answer: answer.update(request="0x" + "11" * 32)}
    with lying(world, lies) as liar:
        asks = asker(world, liar.url, hpke.generate())
        terms = asks.terms()
        with pytest.raises(Refusal) as refusal:
            asks.ask.submit(terms, MEAN)
    assert (refusal.value.code, refusal.value.field) == ("another_request", "request")
    chain = world.operator.chain
    identity = terms.request_id(chain.chain_id, chain.market, world.researcher.address)
    assert chain.request(identity).stage is RequestStage.NONE


@dataclass(frozen=True)
class Answered:
    """Two settled requests of one delivery key, and their receipts."""

    delivery: hpke.SecretKey
    requests: tuple[str, str]
    receipts: tuple[dict[str, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def answered(world: ApiWorld) -> Answered:
    delivery = hpke.generate()
    honest = asker(world, world.url, delivery)
    first, second = honest.settled(), honest.settled()
    receipts = (honest.ask.answer(first).receipt, honest.ask.answer(second).receipt)
    return Answered(delivery, (first, second), receipts)


def receipt_path(request: str) -> str:
    return f"{PREFIX}/requests/{request}/receipt"


@pytest.mark.long
def test_the_answer_of_another_request_is_not_shown_for_this_one(
    world: ApiWorld, answered: Answered, tmp_path: Path
) -> None:
    """Both are sealed to the same delivery key, and both receipts are genuine."""
    (first, second), (other, _) = answered.requests, answered.receipts
    key = tmp_path / "delivery.key"
    keyfiles.create(key, answered.delivery.raw)
    with lying(world, {receipt_path(second): lambda found: found.update(other)}) as liar:
        with pytest.raises(Refusal) as refusal:
            asker(world, liar.url, answered.delivery).ask.answer(second)
        assert refusal.value.code == "another_receipt"
        given = ["result", "--url", liar.url, "--delivery-key-file", str(key), "--request"]
        refused(CliRunner().invoke(main, [*given, second]), "another_receipt")
        assert CliRunner().invoke(main, [*given, first]).exit_code == 0


BENT = {
    "analysis": "sum.v1",
    "parameters": '{"variable":"diastolic"}',
    "cost": "1",
    "cohort": {},
    "sealed_result": "AAAA",
}


@pytest.mark.parametrize("part", BENT)
def test_a_receipt_that_was_bent_opens_nothing(
    world: ApiWorld, answered: Answered, tmp_path: Path, part: str
) -> None:
    request, key = answered.requests[0], tmp_path / "delivery.key"
    keyfiles.create(key, answered.delivery.raw)
    with lying(
        world, {receipt_path(request): lambda found: found.update({part: BENT[part]})}
    ) as liar:
        code = "envelope_unreadable" if part == "sealed_result" else "receipt_invalid"
        with pytest.raises(Refusal) as refusal:
            asker(world, liar.url, answered.delivery).ask.answer(request)
        assert refusal.value.code == code
        given = ["result", "--url", liar.url, "--delivery-key-file", str(key), "--request", request]
        kept = tmp_path / "evidence.json"
        # Without a node the receipt's parts are held against each other before anything is opened.
        refused(CliRunner().invoke(main, [*given, "--receipt", str(kept)]), "receipt_invalid")
    assert json.loads(kept.read_bytes()) == answered.receipts[0] | {part: BENT[part]}
