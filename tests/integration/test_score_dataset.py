"""From personal scores to a mean that researchers learn: chain, custodians and operator in processes of their
own, patients with keys of their own, and nothing between them but what they send."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from marketplace.client import Answer, Ask, Marketplace
from marketplace.client.score_keys import ScoreFolder
from marketplace.client.scores import MODEL_SYSTEM, Opened, OwnScores, score_bundle
from marketplace.client.steward import hand_over_dictionary
from marketplace.errors import Refusal
from marketplace.fhir.extract import explained
from marketplace.vocabulary import Lane
from marketplace.wire import dictionary as wire
from marketplace.wire import hpke
from marketplace.wire.auth import Voice
from marketplace.wire.http import to_hex
from ml.dp.clipping import Clip
from ml.homomorphic.noise import inflation
from ml.homomorphic.threshold import Sum
from tests.support import fork_server
from tests.support.chain_world import DAY, PURPOSE, TERMS, account
from tests.support.scoring_world import asked, document, model
from tests.support.tallied_world import decrypted, person_of
from tests.support.tally_world import TABLE, TallyWorld, tally_processes

pytestmark = pytest.mark.timeout(1200)
MODEL = model()
PEOPLE: Mapping[str, tuple[int, str]] = {
    "ada": (100, "no"),
    "ben": (120, "yes"),
    "cleo": (150, "yes"),
    "dan": (190, "yes"),
}
SCORES = dict(zip(PEOPLE, ("-0.5", "1.5", "3", "5"), strict=True))
"""2 (systolic - 120) / 40 + smoker + 0.5, by hand; each lies on the grid."""
PLACES = (7, 11, 14, 18)
"""Theirs on the grid, from -4 in steps of 0.5."""
COLUMNS = {
    "places": sum(PLACES),
    "below 0": 1,
    "from 0": 3,
    "squares": sum(each * each for each in PLACES),
}
"""What the encoding's columns add up to, in their order; who has a score is in one of the middle two."""
MUCH = 10**9
"""Nano-rho: the most that an answer may cost."""
WITHIN = 300.0


@dataclass
class Running:
    market: TallyWorld
    sdk: Marketplace
    folder: Path
    commitments: list[bytes] = field(default_factory=list)
    """Of the records of the score dataset."""

    def own(self, name: str) -> OwnScores:
        """A patient's side; what it believes is proved through a node."""
        key, folder = bytes(account(name).key), ScoreFolder(self.folder / name)
        folder.make()
        return OwnScores(self.sdk, self.market.world.dataset, key, folder, proved=True)

    @cached_property
    def asking(self) -> Ask:
        return self.sdk.researcher(self.market.world.operator, hpke.generate())

    def ask(self, dataset: bytes, analysis: str, parameters: Mapping[str, Any], cost: int) -> str:
        """Quoted, handed in, paid."""
        asking = self.asking
        quoted = (dataset, [1], analysis, parameters)
        quote = asking.quote(*quoted, cost=cost, lane=Lane.HOMOMORPHIC)
        terms = asking.terms(dataset, [1], quote, PURPOSE)
        request = asking.submit(terms, parameters)
        asking.open(terms)
        return request

    def answer(self, request: str) -> Answer:
        """As the researcher opens it, once the processes have settled it."""
        self.until(lambda: self.stage(request) == "settled")
        return self.asking.answer(request)

    def stage(self, request: str) -> str:
        (found,) = (each for each in self.sdk.requests() if each.request == request)
        return str(found.stage)

    def until(self, holds: Any) -> None:
        """While the chain's clock goes on."""
        end = time.monotonic() + WITHIN
        while not holds():
            assert time.monotonic() < end, (self.folder / "operator.log").read_text()[-2000:]
            self.market.world.tick()
            time.sleep(0.3)


@contextmanager
def operator_process(market: TallyWorld, folder: Path) -> Iterator[str]:
    path = folder / "operator.json"
    settings = {
        "data": "operator",
        "port": 0,
        "manifest": "manifest.json",
        "node_url": market.world.node_url,
        "key_file": "faucet.key",
        "custodians": [{"place": i, "url": url} for i, url in enumerate(market.urls)],
        "gates": [],
        "fee": 100,
    }
    path.write_text(json.dumps(settings))
    log = folder / "operator.log"
    with log.open("ab") as kept:
        process = fork_server.start("marketplace.cli", "serve", "--config", str(path), stderr=kept)
    try:
        line = process.stdout.readline()
        assert line, log.read_text()
        yield json.loads(line)["url"]
    finally:
        process.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("score-dataset")
    with tally_processes(folder) as market, operator_process(market, folder) as url:
        world = market.world
        sdk = Marketplace(url, world.node_url, world.manifest)
        hand_over_dictionary(sdk.api, world.dictionary)
        market.enrol(dict(PEOPLE))
        yield Running(market, sdk, folder)


@pytest.fixture(scope="module")
def opened(running: Running) -> dict[str, Opened]:
    """Everybody's score, opened by its owner alone."""
    sdk, world = running.sdk, running.market.world
    voice = Voice(world.operator, world.sender.address, sdk.manifest.api_domain)
    published = sdk.api.post_signed("/api/v1/models", {"model": document(MODEL)}, voice)
    assert published["model"] == to_hex(MODEL.hash)
    for name in PEOPLE:
        running.own(name).hand_in(running.own(name).dictionary(), values(name))
    request = running.ask(world.dataset, "score.v1", asked(MODEL), 50_000)
    found = {}
    for name in PEOPLE:
        own = running.own(name)
        running.until(lambda own=own: [each["state"] for each in own.listed()] == ["scored"])
        fetched = own.fetch(request, own.dictionary())
        found[name] = own.opened(fetched, own.dictionary(), values(name))
    return found


def values(name: str) -> dict[str, Decimal | str | None]:
    systolic, smoker = PEOPLE[name]
    return {"systolic": Decimal(systolic), "smoker": smoker}


def score_dictionary() -> wire.Dictionary:
    only = {
        "name": "score",
        "kind": "number",
        "label": "Strain",
        "code": {"system": MODEL_SYSTEM, "code": to_hex(MODEL.hash)},
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
def score_dataset(running: Running, opened: Mapping[str, Opened]) -> bytes:
    """Published by its steward; everybody's score sealed, attested, stored and granted there, under another
    address."""
    sdk, world = running.sdk, running.market.world
    dictionary = score_dictionary()
    sent = world.sender.send(
        "DatasetRegistry", "publishDataset", dictionary.hash(), bytes(32), "file:///scores"
    )
    dataset: bytes = sent.event("DatasetPublished").args["dataset"]
    terms = replace(TERMS, max_cost=MUCH)
    world.sender.send("DatasetRegistry", "publishClass", dataset, terms)
    world.sender.send("DatasetRegistry", "addIssuer", dataset, world.issuer.address)
    hand_over_dictionary(sdk.api, dictionary)
    world.tick()
    seal, entries = sdk.sealer(dataset), []
    for name, each in opened.items():
        found = explained(score_bundle(each, dictionary), dictionary)
        sealed = seal(account(f"{name}'s score").address, found.values, 1)
        running.commitments.append(sealed.commitment)
        entries.append(sdk.attest(sealed, person_of(sealed), bytes(world.issuer.key)))
    assert [each["outcome"] for each in sdk.upload(entries)] == ["stored"] * len(PEOPLE)
    named = sdk.dataset(dataset).classes[0].named
    grants = [
        sdk.grant_message(bytes(account(f"{name}'s score").key), named, 4 * MUCH, expiry, 1)
        for name, expiry in ((name, world.later(30 * DAY)) for name in PEOPLE)
    ]
    assert [each["outcome"] for each in sdk.relay(grants)] == ["relayed"] * len(PEOPLE)
    return dataset


def test_each_patient_opens_just_the_own_score(opened: Mapping[str, Opened]) -> None:
    assert {name: each.score.for_the_owner() for name, each in opened.items()} == {
        name: Decimal(score) for name, score in SCORES.items()
    }


def added_up(running: Running, dataset: bytes) -> list[int]:
    """Each column's sum over the score dataset, in each custodian's own store, without any noise: opened with
    two shares of the joint key, which this test takes out of their files as nobody in the market does."""
    forms = [{at: 1} for at in range(len(COLUMNS))]
    shares, found = dict[int, int](), list[list[Sum]]()
    for place in range(2):
        custodian = running.market.world.custodian(place)
        try:
            share = custodian.joint_shares.of(1)
            shares[share.index] = share.value
            key = running.market.joint_key
            found.append(custodian.tallies.sums(dataset, key, running.commitments, forms))
        finally:
            custodian.journal.engine.dispose()
    assert found[0] == found[1]
    return TABLE.find(decrypted(found[0], shares), -(10**6), 10**6)


def test_the_mean_of_a_score_dataset_is_the_truth_but_for_its_noise(
    running: Running, score_dataset: bytes
) -> None:
    request = running.ask(score_dataset, "mean.v1", {"variable": "score"}, MUCH)
    answer = running.answer(request)
    assert added_up(running, score_dataset) == list(COLUMNS.values())
    assert answer.cohort_size == len(PEOPLE)
    (cell,) = answer.cells
    assert -4 <= cell.lower <= cell.estimate <= cell.upper <= 8
    # Four people hide well: their mean of 2.25 may be answered with -4. What was opened, before it is held
    # within the bounds, is off by more than seven standard deviations once in 10^11 times.
    assert answer.prove is not None
    deviations, weighed = answer.prove().sums
    clip = Clip(0, 24)
    sigma = 2 * clip.width * math.sqrt(inflation(2, 2) / 2)
    assert abs(deviations - (2 * sum(PLACES) - clip.width * len(PEOPLE))) < 7 * sigma
    assert abs(weighed - clip.count_weight * len(PEOPLE)) < 7 * sigma


def test_what_scores_are_made_of_and_they_themselves_are_in_no_byte_of_the_operator(
    running: Running, score_dataset: bytes
) -> None:
    """Neither in what it keeps, nor in what it logged."""
    secrets = [(running.folder / name / "owner.key").read_bytes() for name in PEOPLE]
    data = running.folder / "operator"
    kept = [
        path.read_bytes()
        for path in (*data.rglob("*"), running.folder / "operator.log")
        if path.is_file()
    ]
    assert sum(map(len, kept)) > 4 * 13_000_000
    for content in kept:
        assert all(secret[400:464] not in content for secret in secrets)
    log = (running.folder / "operator.log").read_text()
    assert "scores_planned" in log
    assert not any(account(name).address[2:].lower() in log.lower() for name in PEOPLE)


def test_a_score_dataset_of_another_model_takes_no_score(opened: Mapping[str, Opened]) -> None:
    other = replace(opened["ada"], model=model("Another"))
    with pytest.raises(Refusal, match="names another model"):
        score_bundle(other, score_dictionary())
