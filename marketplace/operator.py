"""The operator's process put together: everything that the API and the command line call."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import structlog

from marketplace.attendance import Attendance
from marketplace.bundles import Bundles
from marketplace.carriage import Carriage
from marketplace.chain.adapter import Chain, Finality, Manifest
from marketplace.chain.ledger import Ledger
from marketplace.chain.sender import Sender
from marketplace.class_pages import ClassPages
from marketplace.config import OperatorConfig
from marketplace.dictionaries import Dictionaries
from marketplace.drafts import Drafts
from marketplace.erasures import Erasures
from marketplace.errors import Refusal
from marketplace.intake import Intake
from marketplace.lanes.vault import Vault
from marketplace.matches import Matches
from marketplace.peers import Peer
from marketplace.pipeline import UNPAID_FOR, NeverOpened, Pipeline
from marketplace.public import Public
from marketplace.pulse import Pulse
from marketplace.reads import Reads
from marketplace.records import RecordStore
from marketplace.relay import Relay
from marketplace.scoring import Scoring
from marketplace.signing_in import SigningIn
from marketplace.standing import Standings
from marketplace.store import Database, open_database
from marketplace.timelines import Timelines
from marketplace.waits import Waits
from marketplace.wire import keyfiles
from marketplace.wire.auth import Voice, to_custodian
from marketplace.wire.crowd import Crowd
from marketplace.wire.private import make_folder

log = structlog.get_logger()

FOLLOW_SECONDS = 30.0
FAULT_SECONDS = 15.0
"""After a fault that nobody foresaw, before a request is looked at again."""
AT_ONCE = 8
"""Requests at work in one process. Each mostly waits: for the chain, a gate, custodians."""
NEW_AT_ONCE = 2
OLD_AT_ONCE = 1
"""Of these, for the requests that nobody paid yet, in turn: of the last hour, and older ones."""
UNPAID_SECONDS = 300.0
"""Between two looks at an older one."""

REQUESTS = "requests"
UPKEEP = "upkeep"
ERASURES = "erasures"
DRAFTS = "drafts"
SCORES = "scores"
FORGETTING = "forgetting"
ROUND = "round"
"""In the place of a request's id."""

_Task = tuple[Callable[[str], object], str]


@dataclass(frozen=True)
class Operator:
    """One operator, ready to work."""

    config: OperatorConfig
    chain: Chain
    sender: Sender
    database: Database
    intake: Intake
    relay: Relay
    pipeline: Pipeline
    reads: Reads
    dictionaries: Dictionaries
    class_pages: ClassPages
    erasures: Erasures
    bundles: Bundles
    attendance: Attendance
    drafts: Drafts
    timelines: Timelines
    matches: Matches
    public: Public
    pulse: Pulse
    crowd: Crowd
    uploads: Crowd
    carriage: Carriage
    scoring: Scoring

    def signing_in(self, origin: str) -> SigningIn:
        """Sign-ins to pages that browsers reach at this origin; one for all threads of a process."""
        return SigningIn(self.chain, self.database, origin)

    def standings(self) -> Standings:
        """What accounts are in this market; one for all threads of a process."""
        return Standings(self.chain, self.sender.address)


def build_operator(config: OperatorConfig) -> Operator:
    """Opens database, folder, chain and key. Raises Refusal where one of them cannot be had."""
    make_folder(config.data)
    manifest = Manifest.load(config.manifest)
    finality = Finality(config.confirmations, config.use_finalized_tag)
    chain = Chain(config.node_url, manifest, max_head_age=config.max_head_age, finality=finality)
    key = keyfiles.read(config.key_file)
    sender = Sender(chain, key, max_fee=config.max_fee)
    database = open_database(config.database, max_pages=config.database_max_pages)
    records = RecordStore(config.records, database)
    voice = Voice(key, sender.address, manifest.api_domain)
    custodians = tuple(
        Peer(f"custodian {each.place + 1}", each.url, replace(voice, to=to_custodian(each.place)))
        for each in config.custodians
    )
    gates = {
        each.address.lower(): Peer(f"gate {each.address}", each.url, voice) for each in config.gates
    }
    dictionaries = Dictionaries(config.data / "dictionaries", chain)
    class_pages = ClassPages(config.data / "class_pages", chain)
    vault = Vault(chain, gates, records)
    pipeline = Pipeline(chain, sender, database, vault, custodians, dictionaries, config.fee)
    reads = Reads(
        chain=chain,
        database=database,
        dictionaries=dictionaries,
        operator=sender.address,
        fee=config.fee,
        waits=pipeline.waits,
    )
    intake = Intake(chain, sender, records, custodians, key, dictionaries.of)
    relay = Relay(chain, sender, database)
    erasures = Erasures(chain, records)
    attendance = Attendance(custodians, gates)
    ledger = Ledger(chain)
    pulse = Pulse(
        {
            "stages": database.newest_entry,
            "drafts": database.newest_draft_entry,
            "waits": pipeline.waits.changes,
        }
    )
    return Operator(
        config,
        chain,
        sender,
        database,
        intake,
        relay,
        pipeline,
        reads,
        dictionaries,
        class_pages,
        erasures,
        Bundles(chain, database, dictionaries, records),
        attendance,
        Drafts(chain, database, intake),
        Timelines(chain, database, ledger),
        Matches(chain),
        Public(chain, database, ledger),
        pulse,
        Crowd(config.crowd),
        Crowd(config.uploads),
        Carriage(chain, config.max_fee),
        Scoring.at(
            config.scores, config.most_scored, sender.address, chain, database, dictionaries
        ),
    )


@dataclass
class Worker:
    """Advances unfinished requests in the background, several at a time, until it is told to stop.

    One that waits (for finality, for a slow gate) holds up no other, and one whose step fails in a way
    that nobody foresaw only rests a while.

    Workers of several processes may share one database and one account, with no lease between them. Two
    of them may take the same step at the same moment; that costs work and never a second effect, since
    every step is settled by something that only one of them can pass: the contracts (a request is frozen,
    sealed, keyed and settled once; the later transaction reverts), the gate (one answer for a request,
    given again byte for byte), the database (a stage moves only from where it was read; the first answer
    and the first receipt stay), the account's numbers (see `chain.transactor`).
    """

    operator: Operator
    _stop: threading.Event = field(default_factory=threading.Event)
    _wake: threading.Event = field(default_factory=threading.Event)
    _follow_at: float = 0.0
    _looked: dict[str, float] = field(default_factory=dict)  # at unpaid requests, monotonic seconds
    _tasks: queue.SimpleQueue[_Task | None] = field(default_factory=queue.SimpleQueue)
    _taken: set[str] = field(default_factory=set)
    _resting: dict[str, float] = field(default_factory=dict)
    _said: Waits = field(default_factory=Waits)
    _faults: int = 0

    @property
    def faults(self) -> int:
        """How often a step met a fault that nobody foresaw, since this process began."""
        return self._faults

    def start(self) -> threading.Thread:
        """Runs in a thread of its own."""
        thread = threading.Thread(target=self.run, name="worker", daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        """Looks at every unfinished request, again and again; ends once every step at hand has."""
        hands = [
            threading.Thread(target=self._work, name=f"worker {number}", daemon=True)
            for number in range(AT_ONCE)
        ]
        for hand in hands:
            hand.start()
        while not self._stop.is_set():
            self._round()
            self._wake.wait(self.operator.config.poll_interval)
            self._wake.clear()
        for _ in hands:
            self._tasks.put(None)
        for hand in hands:
            hand.join()

    def _round(self) -> None:
        """Hands out each that is not at work already."""
        pipeline = self.operator.pipeline
        try:
            unfinished = self.operator.database.unfinished()
            unpaid = self.operator.database.unpaid(datetime.now(UTC) - UNPAID_FOR)
            idle = self._is_time_to_follow()
            # What was never opened has no escrow to come back, and can never have one.
            refused = self.operator.database.refused(NeverOpened.CODE) if idle else []
        except Refusal as refusal:
            self._say(ROUND, refusal)
            return
        except Exception as fault:  # as below
            self._faults += 1
            log.error("worker_fault", kind=type(fault).__name__)  # noqa: TRY400
            return
        self._said.clear(ROUND)
        waiting = {*unpaid[0], *unpaid[1]}
        for request in unfinished:
            if request not in waiting:
                self._hand_out(pipeline.advance, request)
        self._look_at_unpaid(*unpaid)
        for request in refused:
            self._hand_out(pipeline.follow, request)
        self._hand_out(lambda _: self.operator.scoring.rounds.step(), SCORES)
        if idle:
            # So that no page has to read long logs while somebody waits for it.
            self._hand_out(lambda _: self.operator.public.number(), REQUESTS)
            self._hand_out(lambda _: pipeline.upkeep.tend(), UPKEEP)
            self._hand_out(lambda _: self.operator.erasures.catch_up(), ERASURES)
            self._hand_out(lambda _: self.operator.drafts.sweep(), DRAFTS)
            self._hand_out(lambda _: self.operator.scoring.forgetting.catch_up(), FORGETTING)

    def _look_at_unpaid(self, new: list[str], old: list[str]) -> None:
        """Whether somebody paid: a few at a time, so that however many there are, what is paid goes on."""
        now = time.monotonic()
        self._looked = {each: self._looked.get(each, -UNPAID_SECONDS) for each in (*new, *old)}
        due = [each for each in old if now - self._looked[each] >= UNPAID_SECONDS]
        self._look_at(new, NEW_AT_ONCE - len(self._taken.intersection(new)), now)
        self._look_at(due, OLD_AT_ONCE - len(self._taken.intersection(old)), now)

    def _look_at(self, requests: list[str], most: int, now: float) -> None:
        """At those first that were not looked at for longest."""
        free = [each for each in requests if each not in self._taken]
        for request in sorted(free, key=self._looked.__getitem__)[: max(0, most)]:
            self._looked[request] = now
            self._hand_out(self.operator.pipeline.advance, request)

    def _is_time_to_follow(self) -> bool:
        """Refused requests only wait for their researcher to fetch the escrow: seldom is enough."""
        now = time.monotonic()
        if now < self._follow_at:
            return False
        self._follow_at = now + FOLLOW_SECONDS
        return True

    def _hand_out(self, act: Callable[[str], object], request: str) -> None:
        if request in self._taken or time.monotonic() < self._resting.get(request, 0.0):
            return
        self._taken.add(request)
        self._tasks.put((act, request))

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            act, request = task
            if not self._stop.is_set():
                self._attempt(act, request)
            self._taken.discard(request)

    def _attempt(self, act: Callable[[str], object], request: str) -> None:
        try:
            act(request)
        except Refusal as refusal:
            self._say(request, refusal)
        except (
            BaseException
        ) as fault:  # the last stop: no fault, a library's panic included, may end it
            self._faults += 1  # about: of two hands at the same moment, one may be lost
            self._resting[request] = time.monotonic() + FAULT_SECONDS
            # Only its kind: an unknown exception's text may quote what was being handled.
            log.error("worker_fault", request=request, kind=type(fault).__name__)  # noqa: TRY400
        else:
            self._resting.pop(request, None)
            self._said.clear(request)

    def _say(self, what: str, refusal: Refusal) -> None:
        """Once for each change, not once for each try."""
        if self._said.note(what, refusal):
            log.warning("worker_waits", at=what, code=refusal.code, message=str(refusal))

    def nudge(self) -> None:
        """Something may have changed: look now."""
        self._wake.set()

    def stop(self) -> None:
        """Ends after the steps at hand."""
        self._stop.set()
        self._wake.set()
