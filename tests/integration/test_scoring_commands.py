"""Personal scores as people type them: publish, hand in, open, and go on into a dataset of scores."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from marketplace.cli.main import main
from marketplace.client import Marketplace
from marketplace.client.score_words import GONE
from marketplace.client.scores import MODEL_SYSTEM
from marketplace.fhir.extract import explained
from marketplace.operator import Worker
from marketplace.stages import Stage
from marketplace.wire import dictionary as wire
from marketplace.wire import keyfiles
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.score_layout import layout_of_dictionary
from ml.ckks.keys import EncryptedRecord, Material
from ml.ckks.models import Model
from ml.ckks.score import PreparedModel
from tests.integration.test_scoring import truth
from tests.support.chain_world import TERMS, account
from tests.support.scoring_world import (
    VALUES,
    ScoringWorld,
    document,
    model,
    scoring_world,
)
from tests.support.tallied_world import person_of

pytestmark = pytest.mark.timeout(900)
MODEL = model()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringWorld]:
    with scoring_world(tmp_path_factory.mktemp("scoring-commands")) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a patient: a key, a bundle."""
    return tmp_path_factory.mktemp("ada")


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in words])


def said(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def bundle(systolic: int, smoker: str) -> bytes:
    subject = {"reference": "Patient/p1"}
    shared = {"resourceType": "Observation", "status": "final", "subject": subject}
    when = {"effectiveDateTime": "2025-11-03T09:00:00Z"}
    mercury = {"value": systolic, "unit": "mmHg", "code": "mm[Hg]"}
    quantity = {**mercury, "system": "http://unitsofmeasure.org"}
    coded = {"coding": [{"system": "http://loinc.org", "code": smoker}]}
    found = [
        {"resourceType": "Patient", "id": "p1"},
        {**shared, **when, "code": code("8480-6"), "valueQuantity": quantity},
        {**shared, **when, "code": code("72166-2"), "valueCodeableConcept": coded},
    ]
    entries = [{"resource": each} for each in found]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}).encode()


def code(number: str) -> Any:
    return {"coding": [{"system": "http://loinc.org", "code": number}]}


@pytest.fixture(scope="module")
def options(world: ScoringWorld, folder: Path) -> list[str | Path]:
    """What Ada types after `score-record` and `scores`."""
    keyfiles.create(folder / "patient.key", bytes(account("ada").key))
    (folder / "bundle.json").write_bytes(bundle(*VALUES["ada"]))
    assert run("score-key", folder / "scoring").exit_code == 0
    mine: list[str | Path] = ["--url", world.url, "--dataset", world.dataset]
    mine += ["--key-file", folder / "patient.key", "--score-key", folder / "scoring"]
    return [*mine, "--fhir", folder / "bundle.json"]


@pytest.fixture(scope="module")
def request_id(world: ScoringWorld, options: list[str | Path], folder: Path) -> str:
    """Published, handed in, asked, sealed, scored."""
    published(world, folder, MODEL)
    told = said(run("score-record", *options))
    assert told["sealed"] == ["systolic", "smoker"]
    request = world.opened("by commands", MODEL)
    world.advance(request, Stage.SEALED)
    assert world.scored() == 1
    return request


def published(world: ScoringWorld, folder: Path, of: Model) -> Any:
    (folder / "model.json").write_text(json.dumps(document(of), indent=2))
    key = folder / "researcher.key"
    keyfiles.create(key, world.market.world.operator)
    return said(run("publish-model", "--url", world.url, "--key-file", key, folder / "model.json"))


def test_a_model_is_published_from_a_file_and_listed(world: ScoringWorld, folder: Path) -> None:
    assert published(world, folder, MODEL) == {"model": to_hex(MODEL.hash)}
    told = said(run("models", "--url", world.url))
    words = f"{to_hex(MODEL.hash)}: Strain (linear). Reads 2 values: systolic, smoker=1."
    assert told["in_words"] == [words]


def test_a_model_that_is_none_is_refused_by_file_and_field(
    world: ScoringWorld, folder: Path
) -> None:
    keyfiles.create(folder / "researcher.key", world.market.world.operator)
    path = folder / "bad.json"
    path.write_text(json.dumps({**document(MODEL), "weights": ["2", "1", "0"]}))
    refused = run(
        "publish-model", "--url", world.url, "--key-file", folder / "researcher.key", path
    )
    assert refused.exit_code == 1
    assert "bad.json: weights" in refused.output
    assert "[bad_model] (field model.weights)" in refused.output


def test_a_score_key_is_made_once(folder: Path, options: list[str | Path]) -> None:
    secret = folder / "scoring" / "owner.key"
    before = secret.read_bytes()
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    again = run("score-key", folder / "scoring")
    assert again.exit_code == 1
    assert "nothing was changed" in again.output
    assert secret.read_bytes() == before


def test_ones_own_score_is_opened_and_shown_and_sent_nowhere(
    world: ScoringWorld, options: list[str | Path], request_id: str
) -> None:
    world.traffic.clear()
    world.hears = True
    told = said(run("scores", *options))
    (only,) = told["scores"]
    assert Decimal(only["score"]) == truth("ada")
    assert (only["request"], only["title"]) == (request_id, "Strain")
    assert f"Strain: {only['score']} 1." in told["in_words"][0]
    assert len(world.traffic) == 2 * 5  # market, dataset, list, score, model: read, and no more
    world.hears = False
    everything = b"".join(world.traffic)
    assert only["score"].encode() not in everything
    one = said(run("scores", *options, "--request", request_id))
    assert one["scores"] == told["scores"]


def test_a_score_that_differs_from_the_values_is_not_shown(
    folder: Path, options: list[str | Path], request_id: str
) -> None:
    other = folder / "other.json"
    other.write_bytes(bundle(101, "no"))
    refused = run("scores", *options[:-1], other)
    assert refused.exit_code == 1
    assert "[score_differs]" in refused.output
    assert "0.5" not in refused.output
    assert not refused.stdout.strip().startswith("{")


# --- held against the chain


@pytest.fixture
def proved(world: ScoringWorld, options: list[str | Path]) -> list[str | Path]:
    """As `options`, with a node and the deployment's manifest."""
    node = world.market.world.node_url
    return [*options, "--node", node, "--manifest", world.folder / "manifest.json"]


def test_with_a_node_nothing_is_the_operators_word(
    options: list[str | Path], proved: list[str | Path], request_id: str
) -> None:
    told, plain = run("scores", *proved), run("scores", *options)
    assert said(told) == said(plain)
    assert "operator's word" in plain.stderr
    assert told.stderr == ""
    assert run("score-record", *proved).exit_code == 0


def test_a_node_without_a_manifest_proves_nothing_and_is_refused(
    world: ScoringWorld, options: list[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which contracts to ask would be the operator's word."""
    node = world.market.world.node_url
    for command in ("scores", "score-record"):
        refused = run(command, *options, "--node", node)
        assert refused.exit_code == 2
        assert "--manifest" in refused.output
    monkeypatch.setenv("USUFRUCT_NODE", node)  # set for other commands
    told = run("scores", *options)
    assert told.exit_code == 0
    assert "operator's word" in told.stderr


@pytest.mark.parametrize("command", ["scores", "score-record"])
def test_another_dictionary_than_the_chains_is_refused_where_there_is_a_node(
    world: ScoringWorld,
    proved: list[str | Path],
    options: list[str | Path],
    request_id: str,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    true = world.market.world.dictionary
    narrow = json.loads(true.to_bytes())
    narrow["variables"][0]["upper"] = "200"
    monkeypatch.setattr(Marketplace, "dictionary", lambda *_: wire.from_json(narrow))
    before = world.files
    refused = run(command, *proved)
    assert refused.exit_code == 1
    assert "[dictionary_mismatch]" in refused.output
    assert world.files == before
    assert "[dictionary_mismatch]" not in run(command, *options).output


def test_another_model_than_the_request_asks_for_is_refused_where_there_is_a_node(
    world: ScoringWorld,
    proved: list[str | Path],
    options: list[str | Path],
    request_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The operator runs a model of its own choice and says so: the number is that model's, and not the one
    that the researcher asked for and the chain names."""
    other = model("Health", intercept="0.75")
    world.publish(other)
    records, patient = world.operator.scoring.records, account("ada").address
    kept = records.files.record(world.dataset, patient)
    row = world.operator.database.score(request_id, patient)
    assert kept is not None
    assert row is not None
    layout = layout_of_dictionary(world.market.world.dictionary)
    made = PreparedModel(other, layout).score(
        Material.from_bytes(kept[0]), EncryptedRecord.from_bytes(kept[1])
    )
    right = type(records).score

    def lie(self: Any, request: str, of: Any) -> dict[str, Any]:
        told = right(self, request, of)
        return told | {"model": to_hex(other.hash), "score": to_base64(made.data)}

    monkeypatch.setattr(type(records), "score", lie)
    believed = said(run("scores", *options, "--request", request_id))
    assert Decimal(believed["scores"][0]["score"]) == truth("ada") + Decimal("0.25")
    refused = run("scores", *proved, "--request", request_id)
    assert refused.exit_code == 1
    assert "[not_this_score]" in refused.output
    assert "does not ask for that model" in refused.output
    assert believed["scores"][0]["score"] not in refused.output


def test_what_another_patient_or_no_patient_asks_for_is_not_there(
    world: ScoringWorld, folder: Path, options: list[str | Path], request_id: str
) -> None:
    keyfiles.create(folder / "ben.key", bytes(account("ben").key))
    words = [folder / "ben.key" if each == folder / "patient.key" else each for each in options]
    told = said(run("scores", *words))
    assert (told["scores"], told["in_words"]) == ([], [GONE])  # the folder is one that handed in
    refused = run("scores", *words, "--request", request_id)
    assert "[no_score]" in refused.output


# --- a dataset of scores


def score_dictionary(of: Model) -> wire.Dictionary:
    only = {
        "name": "score",
        "kind": "number",
        "label": "Strain",
        "code": {"system": MODEL_SYSTEM, "code": to_hex(of.hash)},
        "unit": "1",
        "lower": "-4",
        "upper": "8",
        "decimals": 1,
    }
    encoding = {
        "variables": [{"name": "score", "step": "0.5", "edges": ["0"]}],
        "products": [["score", "score"]],
    }
    head = {"schema": wire.ENCODED, "name": "strain", "version": 1}
    return wire.from_json({**head, "variables": [only], "encoding": encoding})


@pytest.fixture(scope="module")
def score_dataset(world: ScoringWorld) -> bytes:
    """Published by the steward, its dictionary handed over."""
    custody, dictionary = world.market.world, score_dictionary(MODEL)
    sent = custody.sender.send(
        "DatasetRegistry", "publishDataset", dictionary.hash(), bytes(32), "file:///scores"
    )
    dataset: bytes = sent.event("DatasetPublished").args["dataset"]
    custody.sender.send("DatasetRegistry", "publishClass", dataset, TERMS)
    custody.sender.send("DatasetRegistry", "addIssuer", dataset, custody.issuer.address)
    world.operator.dictionaries.keep(dictionary.to_bytes())
    custody.tick()
    return dataset


def test_an_opened_score_becomes_a_record_that_is_sealed_and_stored_as_any_other(
    world: ScoringWorld,
    folder: Path,
    options: list[str | Path],
    request_id: str,
    score_dataset: bytes,
) -> None:
    out = folder / "score.json"
    onwards: list[str | Path] = ["--request", request_id, "--score-dataset", to_hex(score_dataset)]
    said(run("scores", *options, *onwards, "--record-out", out))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    custody, dictionary = world.market.world, score_dictionary(MODEL)
    found = explained(out.read_bytes(), dictionary)
    assert found.values == {"score": truth("ada")}
    market = Marketplace(world.url, custody.node_url)
    sealed = market.seal(score_dataset, account("ada's scores").address, found.values)
    assert sealed.tally is not None
    entry = market.attest(sealed, person_of(sealed), bytes(custody.issuer.key))
    assert [each["outcome"] for each in market.upload([entry])] == ["stored"]


def test_a_dataset_of_another_models_scores_gets_none(
    world: ScoringWorld, folder: Path, options: list[str | Path], request_id: str
) -> None:
    out = folder / "wrong.json"
    onwards: list[str | Path] = ["--request", request_id, "--score-dataset", world.dataset]
    refused = run("scores", *options, *onwards, "--record-out", out)
    assert "[not_a_score_dataset]" in refused.output
    assert not out.exists()


def test_a_file_that_is_there_is_not_replaced_and_nothing_is_asked(
    folder: Path, options: list[str | Path], request_id: str, score_dataset: bytes
) -> None:
    out = folder / "there.json"
    out.write_text("mine")
    onwards: list[str | Path] = ["--request", request_id, "--score-dataset", to_hex(score_dataset)]
    refused = run("scores", *options, *onwards, "--record-out", out)
    assert "[file_exists]" in refused.output
    assert out.read_text() == "mine"
    assert run("scores", *options, "--record-out", folder / "new.json").exit_code == 2


# --- the worker does all of it by itself


@pytest.mark.long
def test_the_worker_scores_and_forgets_and_ends_when_it_is_told_to(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("marketplace.operator.FOLLOW_SECONDS", 1.0)
    world.publish(MODEL)
    world.hand_in("ben")
    request = world.sealed("by the worker", MODEL)
    worker = Worker(world.operator)
    running = worker.start()
    try:
        waited(lambda: world.score(request, "ben").status_code == 200)
        assert worker.faults == 0
    finally:
        worker.stop()
        running.join(60)
    assert not running.is_alive()
    world.revoke("ben")
    world.market.world.tick()
    again = Worker(world.operator)
    running = again.start()
    try:
        waited(lambda: world.listed("ben") == {"record": None, "scores": []})
    finally:
        again.stop()
        running.join(60)


def waited(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.2)
