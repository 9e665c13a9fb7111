"""Rules of the operator's work on a request of the homomorphic lane, step by step."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from marketplace import waits
from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.lanes.vault import Vault
from marketplace.peers import Peer
from marketplace.pipeline import STEPS, Pipeline
from marketplace.records import RecordStore
from marketplace.stages import Stage
from marketplace.store import Database, open_database
from marketplace.tallying import rounds
from marketplace.wire.structs import RequestTerms
from tests.integration.test_tally_restoring import Operated
from tests.support.tally_world import PEOPLE, TallyWorld, tally_world

MEAN = {"variable": "systolic"}
NOBODY = "http://127.0.0.1:9"


@dataclass
class Operating:
    """An operator over `market`'s custodians, with a database of its own for each name."""

    market: TallyWorld
    folder: Path

    def database(self, name: str) -> Database:
        return open_database(f"sqlite:///{self.folder}/operator-{name}.sqlite")

    def pipeline(self, name: str = "one", urls: list[str] | None = None) -> Pipeline:
        world, database = self.market.world, self.database(name)
        chain = Chain(world.node_url, world.manifest)
        kept = Dictionaries(self.folder / "dictionaries", chain)
        kept.keep(world.dictionary.to_bytes())
        custodians = tuple(
            Peer(f"custodian {place}", url) for place, url in enumerate(urls or self.market.urls)
        )
        vault = Vault(chain, {}, RecordStore((self.folder / "records").as_uri(), database))
        return Pipeline(chain, Sender(chain, world.operator), database, vault, custodians, kept)

    def submit(self, pipeline: Pipeline, salt: str, **changes: Any) -> tuple[str, RequestTerms]:
        self.market.world.tick()
        terms = self.market.terms(salt, "mean.v1", MEAN, **changes)
        return pipeline.submit(self.market.world.sender.address, terms, MEAN), terms

    def opened(self, pipeline: Pipeline, salt: str) -> str:
        request, terms = self.submit(pipeline, salt)
        assert self.market.world.open(terms).hex() == request[2:]
        return request


@pytest.fixture(scope="module")
def operating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operating]:
    folder = tmp_path_factory.mktemp("tally-pipeline")
    with tally_world(folder) as market:
        market.enrol({f"p{i}": each for i, each in enumerate(PEOPLE)})
        yield Operating(market, folder)


def advance(operating: Operating, pipeline: Pipeline, request: str, wanted: Stage) -> None:
    """As the worker does, while blocks go on."""
    for _ in range(12):
        if pipeline.advance(request) is wanted:
            return
        operating.market.world.tick()
    log = [f"{each.after}: {each.because}" for each in pipeline.database.log(request)]
    pytest.fail(f"{wanted} was not reached: {log} {pipeline.waits.of(request)}")


def test_a_request_goes_from_submitted_to_settled_with_its_noise_on_chain_in_between(
    operating: Operating,
) -> None:
    pipeline = operating.pipeline()
    request = operating.opened(pipeline, "whole")
    advance(operating, pipeline, request, Stage.SETTLED)
    stages = [each.after for each in pipeline.database.log(request)]
    assert stages == [
        "submitted", "funded", "frozen", "sealed", "noised", "computed", "cleared", "settled",
    ]  # fmt: skip
    row = pipeline.database.computed(request)
    assert row is not None
    assert row.gate_signature == b""
    question = operating.market.question(bytes.fromhex(request[2:]), "mean.v1", MEAN)
    room, far = 3 * question.shares.bound(3), 200 * len(PEOPLE)
    deviation, _ = operating.market.opened(row.sealed_result, -room - far, room + far)
    exact = sum(2 * (systolic - 60) - 200 for systolic, _ in PEOPLE)
    assert abs(deviation - exact) <= room
    for custodian in operating.market.custodians.values():
        head = custodian.journal.head()
        height, _ = operating.market.world.chain.journal_of(custodian.keys.signer.address)
        assert 0 <= height <= head.height


def test_what_waits_says_which_custodians_are_missing(operating: Operating) -> None:
    working = operating.pipeline("missing")
    request = operating.opened(working, "missing")
    _stop_at(operating, working, request, Stage.SEALED)
    alone = operating.pipeline("missing", [operating.market.urls[0], NOBODY, NOBODY])
    assert alone.advance(request) is Stage.SEALED
    said = alone.waits.of(request)
    assert said is not None
    assert said["code"] == "quorum_missing"
    advance(operating, operating.pipeline("missing"), request, Stage.SETTLED)


@dataclass(frozen=True)
class Frozen(Peer):
    """Answers nothing until it thaws."""

    thaw: threading.Event = field(default_factory=threading.Event)

    def post(self, path: str, body: Mapping[str, Any], *, most: int = 1 << 26) -> dict[str, Any]:
        self.thaw.wait(60)
        return super().post(path, body, most=most)


@pytest.mark.parametrize(
    ("stage", "what"),
    [(Stage.SEALED, "to commit to noise"), (Stage.NOISED, "for partial decryptions")],
)
def test_while_a_custodian_is_frozen_the_request_says_who_is_asked_and_has_not_answered(
    operating: Operating, monkeypatch: pytest.MonkeyPatch, stage: Stage, what: str
) -> None:
    monkeypatch.setattr(waits, "SHOWN_AFTER", 0.0)
    # Beside other tests a custodian verifies the others' noise for 2 s.
    monkeypatch.setattr(rounds, "GRACE_SECONDS", 5.0)
    working = operating.pipeline(f"frozen at {stage}")
    request = operating.opened(working, f"frozen at {stage}")
    _stop_at(operating, working, request, stage)
    frozen = Frozen("custodian 2", operating.market.urls[2])
    slow = replace(working, custodians=(*working.custodians[:2], frozen))
    advancing = threading.Thread(target=slow.advance, args=(request,), daemon=True)
    advancing.start()
    expected = f"Custodian 0, custodian 1 and custodian 2 are asked {what}; custodian 2 has not answered yet."
    until, seen = time.monotonic() + 60, set()
    while expected not in seen and time.monotonic() < until:
        seen.add((slow.waits.at_work(request) or {}).get("message"))
        time.sleep(0.005)
    frozen.thaw.set()
    advancing.join(120)
    assert expected in seen
    assert slow.waits.at_work(request) is None
    advance(operating, working, request, Stage.SETTLED)


def test_a_custodian_that_lost_a_record_is_brought_it_by_the_operator(operating: Operating) -> None:
    pipeline, market = operating.pipeline("restoring"), operating.market
    operated = Operated(market, pipeline.vault.records)
    operated.keep("p0")
    operated.lose(0, ["p0"])
    request = operating.opened(pipeline, "restoring")
    advance(operating, pipeline, request, Stage.SETTLED)
    assert market.world.chain.noise_set(bytes.fromhex(request[2:]))[0] == (0, 1, 2)
    assert market.custodians[0].tallies.holds(*operated.commitments(["p0"]))


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"delivery_key": bytes(31) + b"\x05"}, "delivery_key"),
        ({"release_kind": 1}, "terms.releaseKind"),
        ({"analysis": bytes(32)}, "analysis"),
        ({"lane": 3}, "terms.lane"),
    ],
)
def test_what_could_never_be_answered_is_refused_before_it_is_paid(
    operating: Operating, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(Refusal) as refused:
        operating.submit(operating.pipeline("refusing"), f"bad {field}", **changes)
    assert refused.value.field == field


def test_a_database_that_lost_the_answer_has_it_decrypted_again_to_the_byte(
    operating: Operating,
) -> None:
    pipeline = operating.pipeline("lost")
    request = operating.opened(pipeline, "lost")
    _stop_at(operating, pipeline, request, Stage.COMPUTED)
    first = pipeline.database.computed(request)
    assert first is not None
    with pipeline.database.session() as session:
        session.delete(session.merge(first))
    advance(operating, pipeline, request, Stage.SETTLED)
    again = pipeline.database.computed(request)
    assert again is not None
    assert again.settlement["resultHash"] == first.settlement["resultHash"]


def _stop_at(operating: Operating, pipeline: Pipeline, request: str, wanted: Stage) -> None:
    for _ in range(20):
        stage = Stage(pipeline.database.request(request).stage)
        if stage is wanted:
            return
        try:
            STEPS[stage](pipeline, request)
        except Refusal as refusal:
            print(refusal.code)
            operating.market.world.tick()
    pytest.fail(f"{wanted} was not reached")
