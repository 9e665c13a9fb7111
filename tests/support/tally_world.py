"""A market whose dataset is encoded, with three custodians that hold a joint key.

Nothing in it can turn noise off. Tests know the exact sums, and how far an answer may be from them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies import TALLIES
from marketplace.analyses.variables import variables_of
from marketplace.custodian.service import Custodian
from marketplace.keygen import generate, new_session
from marketplace.peers import Peer
from marketplace.questions import session_of
from marketplace.sealing.seal import seal_row
from marketplace.tallying import Tallying
from marketplace.tallying.restoring import Found
from marketplace.vocabulary import Epoch
from marketplace.wire import dictionary as wire
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.encoding import Encoding
from marketplace.wire.http_client import post
from marketplace.wire.structs import HOMOMORPHIC, RequestTerms
from marketplace.wire.tallying import Question, decode_sealed, own_recipient, recipient
from ml.homomorphic.logarithm import Table
from ml.homomorphic.threshold import open_sums
from tests.support.chain_world import account
from tests.support.custody_world import (
    DICTIONARY,
    CustodyWorld,
    Process,
    custody_world,
    seats_of,
    served_custodian,
)
from tests.support.mortal_custodian import FATE
from tests.support.nodes import any_node

ENCODED = DICTIONARY | {
    "schema": wire.ENCODED,
    "encoding": {
        "variables": [
            {"name": "systolic", "step": "1", "edges": ["120", "160"]},
            {"name": "smoker"},
        ],
        "products": [["systolic", "systolic"], ["smoker=1", "systolic"]],
    },
}
COST = 50_000  # nano-rho: a patient's cap pays for 200 of these
RESEARCHER, DELIVERY_KEY = own_recipient(0x7E57)
TABLE = Table.build(1 << 14)
PEOPLE = [(100 + 7 * i % 120, "yes" if i % 3 else "no") for i in range(12)]


@dataclass
class TallyWorld:
    """`urls` by place; `sealed` names the people whose records are stored and granted."""

    world: CustodyWorld
    urls: list[str] = field(default_factory=list)
    custodians: dict[int, Custodian] = field(default_factory=dict)
    processes: dict[int, Process] = field(default_factory=dict)

    @property
    def peers(self) -> list[Peer]:
        return [Peer(f"custodian {place + 1}", url) for place, url in enumerate(self.urls)]

    @property
    def joint_key(self) -> bytes:
        return self.world.chain.joint_key(int(self.world.chain.current_epoch()))[0][:33]

    def generate_key(self) -> None:
        world, peers = self.world, self.peers
        made = generate(world.chain, world.operator, peers, peers, new_session(world.chain, 1))
        world.sender.send(
            "CustodianCommittee",
            "recordJointKey",
            1,
            made.commitments,
            made.transcript,
            list(made.signatures),
        )

    # --- people

    def seal(self, name: str, systolic: int | None, smoker: str | None, version: int = 1) -> None:
        patient, world = account(name), self.world
        committee = world.chain.committee()
        values: dict[str, Any] = {"smoker": smoker}
        values |= {"systolic": None if systolic is None else Decimal(systolic)}
        world.records[patient.address] = seal_row(
            world.dictionary,
            values,
            world.record_context(patient.address, version),
            seats_of(committee),
            Epoch(committee.epoch),
            committee.quorum,
            self.joint_key,
        )

    def enrol(self, people: Mapping[str, tuple[int | None, str | None]]) -> None:
        """Sealed, attested, stored at every custodian, granted."""
        self.world.tick()
        for name, values in people.items():
            self.seal(name, *values)
        self.store(list(people))

    def store(self, names: Sequence[str], places: Sequence[int] | None = None) -> None:
        """Attests, stores at these custodians (all, if None) and grants what was sealed."""
        world, patients = self.world, [account(name) for name in names]
        world.attest([each.address for each in patients])
        chosen = range(len(self.urls)) if places is None else places
        world.confirm(
            {
                each.address: [self.deposit(each.address, place) for place in chosen]
                for each in patients
            }
        )
        world._batch("ConsentRegistry", [world.grant(each) for each in patients])

    def deposit(self, address: str, place: int) -> dict[str, Any]:
        return post(self.urls[place], "/shares", self.deposit_body(address, place), timeout=60)

    def deposit_body(self, address: str, place: int) -> dict[str, Any]:
        tally = self.world.records[address].tally
        assert tally is not None
        return self.world.deposit_body(address, place) | {"tally": tally.to_json()}

    # --- requests

    def terms(
        self, salt: str, name: str, parameters: Mapping[str, Any], **changes: Any
    ) -> RequestTerms:
        tally = TALLIES[name]
        parsed = tally.parse(parameters, variables_of(self.world.dictionary))
        asked: dict[str, Any] = {
            "lane": HOMOMORPHIC,
            "release_kind": int(tally.release_kind),
            "analysis": tally.analysis_hash(),
            "parameters": parameters_hash(tally.canonical(parsed)),
            "delivery_key": DELIVERY_KEY,
            "cost": COST,
        }
        return replace(self.world.terms(salt), **(asked | changes))

    def sealed(
        self, salt: str, analysis: str, parameters: Mapping[str, Any], **changes: Any
    ) -> bytes:
        """A sealed request; the seal is final."""
        self.world.tick()
        terms = self.terms(salt, analysis, parameters, **changes)
        request = self.world.open(terms)
        self.world.freeze(terms)
        for _ in self.world.chain.request_shards(request):
            self.world.sender.send("ResearchMarket", "seal", request)
        return request

    def question(self, request: bytes, analysis: str, parameters: Mapping[str, Any]) -> Question:
        """As an operator knows it."""
        chain = self.world.chain
        view = chain.request(request)
        committee = chain.committee(view.epoch)
        tallied, _ = self._tallied(analysis, parameters)
        shares = tallied.shares(view.cost, committee.quorum)
        to = recipient(chain.request_terms(request).delivery_key)
        return Question(session_of(chain, view, request), shares, to, len(committee.members))

    def forms(self, analysis: str, parameters: Mapping[str, Any]) -> list[Mapping[int, int]]:
        """Of each sum of this question, column -> coefficient."""
        tallied, encoding = self._tallied(analysis, parameters)
        return tallied.forms(encoding)

    def _tallied(self, analysis: str, parameters: Mapping[str, Any]) -> tuple[Tallied, Encoding]:
        encoding = self.world.dictionary.encoding
        assert encoding is not None
        parsed = TALLIES[analysis].parse(parameters, variables_of(self.world.dictionary))
        return TALLIES[analysis].tallied(parsed, encoding), encoding

    def tallying(
        self,
        request: bytes,
        analysis: str,
        parameters: Mapping[str, Any],
        peers: Sequence[Peer] | None = None,
        found: Found | None = None,
    ) -> Tallying:
        question = self.question(request, analysis, parameters)
        return Tallying(self.world.chain, peers or self.peers, request, question, found)

    def anchor(self) -> None:
        """Every custodian's journal as it stands, on chain: before that they decrypt nothing."""
        for place, custodian in self.custodians.items():
            head = custodian.journal.head()
            signature = custodian._sign_head(1, head)
            given = (1, place, head.height, head.hash, signature)
            self.world.sender.send("CustodianCommittee", "anchorJournal", *given)

    def opened(self, sealed_result: bytes, low: int, high: int) -> list[int]:
        """What the researcher makes of a sealed result."""
        return TABLE.find(open_sums(decode_sealed(sealed_result), RESEARCHER), low, high)


@contextmanager
def tally_world(folder: Path, *, anchored: bool = True) -> Iterator[TallyWorld]:
    """With custodians in threads of this process."""
    with any_node(folder) as node, ExitStack() as stack:
        found = TallyWorld(_published(node, folder))
        for place in range(3):
            custodian = found.world.custodian(place)
            found.custodians[place] = custodian
            found.urls.append(stack.enter_context(served_custodian(custodian)))
        _ready(found)
        if anchored:
            found.anchor()
        yield found


class Mortal(Process):
    """A custodian that can be told where to die; see `mortal_custodian`."""

    PROGRAM = "tests.support.mortal_custodian"

    def die_at(self, route: str) -> None:
        Path(self._command[-1]).with_suffix(FATE).write_text(route)


@contextmanager
def tally_processes(folder: Path, kind: type[Process] = Process) -> Iterator[TallyWorld]:
    """With every custodian in a process of its own, to be killed."""
    with any_node(folder) as node:
        found = TallyWorld(_published(node, folder))
        try:
            for place in range(3):
                process = kind("custodian", found.world.custodian_config(place), folder)
                found.processes[place] = process
                found.urls.append(process.url)
            _ready(found)
            yield found
        finally:
            for process in found.processes.values():
                if process.process.poll() is None:
                    process.kill()


def _published(node: Any, folder: Path) -> CustodyWorld:
    world = custody_world(node, folder)
    world.dictionary = wire.from_json(ENCODED)
    world._publish()
    return world


def _ready(found: TallyWorld) -> None:
    found.generate_key()
    for url in found.urls:
        post(url, "/dictionaries", {"dictionary": ENCODED}, timeout=30)
