"""The operator's process put together: everything that the API and the command line call."""

from __future__ import annotations

import threading
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

    def start(self) -> threading.Thread:
        """Runs in a thread of its own."""
        thread = threading.Thread(target=self.run, name="worker", daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        """Looks at every unfinished request, again and again."""
        while not self._stop.is_set():
            try:
                self.operator.pipeline.resume()
            except Refusal as refusal:
                log.warning("worker_waits", code=refusal.code, message=refusal.message)
            except (
                Exception
            ) as fault:  # the last stop: a fault in one round must not end all rounds
                # Only its kind: an unknown exception's text may quote what was being handled.
                log.error("worker_fault", kind=type(fault).__name__)  # noqa: TRY400
            self._wake.wait(self.operator.config.poll_interval)
            self._wake.clear()

    def nudge(self) -> None:
        """Something may have changed: look now."""
        self._wake.set()

    def stop(self) -> None:
        """Ends after the step at hand."""
        self._stop.set()
        self._wake.set()
