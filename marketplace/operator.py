"""The operator's process put together: everything that the API and the command line call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from marketplace.chain.adapter import Chain, Finality, Manifest
from marketplace.chain.sender import Sender
from marketplace.config import OperatorConfig
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.intake import Intake
from marketplace.lanes.vault import Vault
from marketplace.peers import Peer
from marketplace.pipeline import Pipeline
from marketplace.reads import Reads
from marketplace.records import RecordStore
from marketplace.store import Database, open_database
from marketplace.wire import keyfiles

log = structlog.get_logger()

FOLLOW_SECONDS = 30.0


@dataclass(frozen=True)
class Operator:
    """One operator, ready to work."""

    config: OperatorConfig
    chain: Chain
    sender: Sender
    database: Database
    intake: Intake
    pipeline: Pipeline
    reads: Reads
    dictionaries: Dictionaries


def build_operator(config: OperatorConfig) -> Operator:
    """Opens database, folder, chain and key. Raises Refusal where one of them cannot be had."""
    config.data.mkdir(parents=True, exist_ok=True)
    manifest = Manifest.load(config.manifest)
    finality = Finality(config.confirmations, config.use_finalized_tag)
    chain = Chain(config.node_url, manifest, max_head_age=config.max_head_age, finality=finality)
    sender = Sender(chain, keyfiles.read(config.key_file))
    database = open_database(config.database, max_pages=config.database_max_pages)
    records = RecordStore(config.records, database)
    custodians = tuple(
        Peer(f"custodian {each.place}", each.url)
        for each in sorted(config.custodians, key=lambda each: each.place)
    )
    gates = {each.address.lower(): Peer(f"gate {each.address}", each.url) for each in config.gates}
    dictionaries = Dictionaries(config.data / "dictionaries", chain)
    pipeline = Pipeline(
        chain, sender, database, Vault(chain, gates, records), custodians, dictionaries
    )
    reads = Reads(chain, database, dictionaries, sender.address, config.fee)
    intake = Intake(chain, sender, records, custodians)
    return Operator(config, chain, sender, database, intake, pipeline, reads, dictionaries)


@dataclass
class Worker:
    """Advances unfinished requests in the background, until it is told to stop."""

    operator: Operator
    _stop: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)
    _follow_at: float = 0.0

    def start(self) -> threading.Thread:
        """Runs in a thread of its own."""
        thread = threading.Thread(target=self.run, name="worker", daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        """Looks at every unfinished request, again and again."""
        while not self._stop.is_set():
            self._round()
            self._wake.wait(self.operator.config.poll_interval)
            self._wake.clear()

    def _round(self) -> None:
        """One look at each, so that a fault in one request holds up no other."""
        pipeline = self.operator.pipeline
        try:
            unfinished = self.operator.database.unfinished()
            refused = self.operator.database.refused() if self._is_time_to_follow() else []
        except Refusal as refusal:
            log.warning("worker_waits", code=refusal.code, message=refusal.message)
            return
        for request in unfinished:
            self._attempt(pipeline.advance, request)
        for request in refused:
            self._attempt(pipeline.follow, request)

    def _is_time_to_follow(self) -> bool:
        """Refused requests only wait for their researcher to fetch the escrow: seldom is enough."""
        now = time.monotonic()
        if now < self._follow_at:
            return False
        self._follow_at = now + FOLLOW_SECONDS
        return True

    def _attempt(self, act: Callable[[str], object], request: str) -> None:
        try:
            act(request)
        except Refusal as refusal:
            facts = {"request": request, "code": refusal.code, "message": refusal.message}
            log.warning("worker_waits", **facts)
        except Exception as fault:  # the last stop: no fault may end the worker
            # Only its kind: an unknown exception's text may quote what was being handled.
            log.error("worker_fault", request=request, kind=type(fault).__name__)  # noqa: TRY400

    def nudge(self) -> None:
        """Something may have changed: look now."""
        self._wake.set()

    def stop(self) -> None:
        """Ends after the step at hand."""
        self._stop.set()
        self._wake.set()
