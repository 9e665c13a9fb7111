"""An operator's pipeline over real custody on anvil: three custodians, a gate, an own node URL for each."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain.adapter import Chain
from marketplace.chain.sender import Sender
from marketplace.custodian.service import Custodian
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.gate.service import Gate
from marketplace.lanes.vault import Vault
from marketplace.peers import Peer
from marketplace.pipeline import STEPS, Pipeline
from marketplace.records import RecordStore
from marketplace.stages import TERMINAL, Stage
from marketplace.store import Database, RecordRow, open_database
from marketplace.wire.delivery import Opened
from marketplace.wire.header import RecordHeader
from marketplace.wire.structs import RequestTerms, Revocation, sign
from tests.support.custody_world import (
    PARAMETERS,
    PLACES,
    CustodyWorld,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.nodes import ANVIL_KEY, anvil_node

VALUES: tuple[Mapping[str, Any], ...] = tuple(
    {"systolic": Decimal(value), "smoker": "no"} for value in (118, 122, 131, 140)
)
OPERATOR = "operator"
GATE = "gate"
STATES = "600"
"""Blocks whose state anvil keeps: more than one request with 64-block finality takes."""
ROUNDS = 12
"""Of waiting for finality; a request needs four (seal, gate draw, gate key, settlement)."""


@dataclass
class PipelineWorld:
    """`nodes` names the URL through which each party sees the one chain, where it is not direct."""

    world: CustodyWorld
    finality_blocks: int
    nodes: Mapping[str, str]
    custodians: list[Custodian] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    gate: Gate = field(init=False)
    gate_url: str = ""
    patients: list[LocalAccount] = field(default_factory=list)
    _databases: dict[str, Database] = field(default_factory=dict)

    @property
    def chain(self) -> Chain:
        return self.world.chain

    def node_url(self, party: str) -> str:
        return self.nodes.get(party, self.world.node_url)

    # --- the chain

    def mine(self, blocks: int) -> None:
        if blocks > 0:
            self._keep_up()
            self.chain.node.request("anvil_mine", [hex(blocks)])

    def finalise(self) -> None:
        """Whatever is on chain now can no longer be reorganised away."""
        self.mine(self.finality_blocks + 1)

    def reorganise(self, depth: int) -> None:
        """Replaces the last `depth` blocks by empty ones."""
        self._keep_up()
        self.chain.node.request("anvil_reorg", [depth, []])
        self._keep_up()

    def _keep_up(self) -> None:
        """A reorganisation puts anvil's clock back; on a slow machine its heads would end as stale ones."""
        behind = int(time.time()) - self.chain.now()
        if behind > 0:
            self.chain.node.request("evm_increaseTime", [behind])

    # --- the operator

    def database(self, name: str) -> Database:
        """One by name; `operator-NAME.sqlite` in the world's folder."""
        if name not in self._databases:
            path = self.world.folder / f"operator-{name}.sqlite"
            self._databases[name] = open_database(f"sqlite:///{path}")
        return self._databases[name]

    def close(self) -> None:
        for database in self._databases.values():
            database.engine.dispose()

    def pipeline(self, name: str = "one", timeout: float = 20.0) -> Pipeline:
        """An operator's pipeline with a database of its own; same account, same records."""
        database = self.database(name)
        manifest = self.world.manifest
        chain = Chain(self.node_url(OPERATOR), manifest, timeout=timeout)
        records = RecordStore((self.world.folder / "records").as_uri(), database)
        self._keep_records(records)
        dictionaries = Dictionaries(self.world.folder / "dictionaries", self.chain)
        dictionaries.keep(self.world.dictionary.to_bytes())
        gates = {
            self.gate.keys.signer.address.lower(): Peer("gate", self.gate_url, self.world.voice)
        }
        return Pipeline(
            chain,
            Sender(chain, ANVIL_KEY, timeout=20),
            database,
            Vault(chain, gates, records),
            tuple(Peer(f"custodian {place}", url) for place, url in enumerate(self.urls)),
            Dictionaries(self.world.folder / "dictionaries", chain),
        )

    def _keep_records(self, records: RecordStore) -> None:
        for patient, sealed in self.world.records.items():
            records.put(sealed.commitment, sealed.box)
            row = RecordRow(
                commitment="0x" + sealed.commitment.hex(),
                dataset="0x" + self.world.dataset.hex(),
                patient=patient,
                version=1,
                header=RecordHeader.of(sealed).to_json(),
                attestation={},
                state="stored",
                received_at=datetime.now(UTC),
            )
            records.database.keep_record(row)

    # --- requests

    def submit(self, pipeline: Pipeline, salt: str) -> tuple[str, RequestTerms]:
        """Submitted and opened. The shard of the request before is free again."""
        self.world.tick()
        terms = self.world.mean_terms(salt)
        request = pipeline.submit(self.world.sender.address, terms, PARAMETERS)
        assert self.world.open(terms).hex() == request[2:]
        return request, terms

    def step(self, pipeline: Pipeline, request: str) -> Refusal | None:
        """One step of the pipeline; what it refused, if it did."""
        stage = Stage(pipeline.database.request(request).stage)
        try:
            STEPS[stage](pipeline, request)
        except Refusal as refusal:
            return refusal
        return None

    def reach(self, pipeline: Pipeline, request: str, wanted: Stage) -> None:
        """Steps and finalises until the request stands at a stage, and no further."""
        refusal: Refusal | None = None
        for _ in range(ROUNDS):
            while stage_of(pipeline, request) is not wanted:
                refusal = self.step(pipeline, request)
                if refusal is not None:
                    print(f"{stage_of(pipeline, request)} waits: {refusal.code}")
                    break
            else:
                return
            self.finalise()
        pytest.fail(f"{wanted} was not reached: {history(pipeline, request)} {refusal!r}")

    def finish(self, pipeline: Pipeline, request: str) -> None:
        """Advances as the worker does, while blocks go on, until the request is settled."""
        for _ in range(ROUNDS):
            if pipeline.advance(request) in TERMINAL:
                break
            self.finalise()
        assert stage_of(pipeline, request) is Stage.SETTLED, history(pipeline, request)

    def released(self, request: str) -> list[str]:
        """Who let anything out for this request: custodians that turned, a gate that computed."""
        key = bytes.fromhex(request[2:])
        found = [f"custodian {c.rules.place}" for c in self.custodians if c.journal.turn(key)]
        return found + ([GATE] if self.gate.journal.find(key) is not None else [])

    def open_answer(self, pipeline: Pipeline, request: str) -> Opened:
        """The researcher's answer, from the operator's kept bytes."""
        row = pipeline.database.computed(request)
        assert row is not None
        return self.world.open_result(bytes.fromhex(request[2:]), row.sealed_result)

    # --- what was spent and paid

    def spent(self) -> int:
        """Nano-rho per member that this class's shard ever spent."""
        return self.chain.shard(self.world.classes[0], 0).spent

    def earned(self) -> int:
        """Token units per member."""
        return self.chain.shard(self.world.classes[0], 0).earned

    def count(self, contract: str, event: str, request: str) -> int:
        """How often this happened to the request on the chain as it is now."""
        first = self.world.manifest.deployed_block
        found = self.chain.events(first, contracts=[contract], names=[event])
        return sum(each.args.get("request") == bytes.fromhex(request[2:]) for each in found)

    def require_settled_once(self, pipeline: Pipeline, request: str) -> None:
        """One seal, one settlement, one noise: what the gate kept is what the chain delivered."""
        assert self.count("ConsentRegistry", "ShardSealed", request) == 1
        assert self.count("ResearchMarket", "RequestSettled", request) == 1
        view = self.chain.request(bytes.fromhex(request[2:]))
        opened = self.open_answer(pipeline, request)
        assert opened.document["cohort_size"] == view.members
        receipt = pipeline.database.receipt(request)
        assert receipt is not None
        kept = self.gate.journal.find(bytes.fromhex(request[2:]))
        mine = pipeline.database.computed(request)
        assert kept is not None
        assert mine is not None
        assert kept.sealed_result == mine.sealed_result
        assert mine.settlement["resultHash"] == "0x" + view.result_hash.hex()
        for custodian in self.custodians:
            turned = custodian.journal.turn(bytes.fromhex(request[2:]))
            assert turned is None or turned.root == view.root

    # --- patients

    def revoke(self, patient: LocalAccount) -> None:
        domain = self.chain.domain("ConsentRegistry")
        sequence = self.chain.consent_of(self.world.dataset, patient.address).sequence
        struct = Revocation(patient.address, self.world.dataset, sequence)
        arguments = (struct, patient.address, sign(struct, domain, patient))
        self.world.sender.send("ConsentRegistry", "revokeBySig", *arguments)

    def pass_freeze(self) -> None:
        """Passes the seconds in which the shard is still frozen, where a grant would rest."""
        frozen_until = self.chain.shard(self.world.classes[0], 0).frozen_until
        while self.chain.now() <= frozen_until:
            self.chain.node.request("evm_increaseTime", [frozen_until - self.chain.now() + 1])
            self.chain.node.mine()

    def grant(self, patient: LocalAccount) -> None:
        view = self.chain.consent_of(self.world.dataset, patient.address)
        function, arguments = self.world.grant(patient, sequence=view.sequence + 1)
        self.world.sender.send("ConsentRegistry", function, *arguments)


def stage_of(pipeline: Pipeline, request: str) -> Stage:
    return Stage(pipeline.database.request(request).stage)


def history(pipeline: Pipeline, request: str) -> list[str]:
    """The stage log in words."""
    return [f"{e.before} -> {e.after}: {e.because}" for e in pipeline.database.log(request)]


@contextmanager
def pipeline_world(
    folder: Path, *, slots: int, nodes: Any = None, names: Sequence[str] = ()
) -> Iterator[PipelineWorld]:
    """A market on anvil where a block is final `2 * slots` blocks later.

    Args:
        nodes: makes the URLs of `PipelineWorld.nodes` from the node's own.
        names: of the patients; four by default.
    """
    # By default anvil moves old states to disk, and a reorganisation there then empties the chain.
    options = ("--hardfork", "prague", "--slots-in-an-epoch", str(slots), "--prune-history", STATES)
    with anvil_node(*options) as node, ExitStack() as stack:
        custody = custody_world(node, folder)
        given = nodes(node.url) if nodes is not None else {}
        made = PipelineWorld(custody, 2 * slots, given)
        stack.callback(made.close)
        _serve(made, stack)
        called = list(names) or [f"patient {number}" for number in range(len(VALUES))]
        made.finalise()  # custodians read the committee; nothing of the set-up goes away later
        made.patients = custody.enrol_sealed(
            made.urls, called, [VALUES[i % len(VALUES)] for i in range(len(called))]
        )
        made.finalise()
        yield made


def _serve(made: PipelineWorld, stack: ExitStack) -> None:
    for place in range(PLACES):
        url = made.node_url(f"custodian {place}")
        made.custodians.append(made.world.custodian(place, node_url=url))
        made.urls.append(stack.enter_context(served_custodian(made.custodians[place])))
    changes = {"node_url": made.node_url(GATE), "turn_grace": 0.2}
    made.gate = made.world.gate(made.urls, **changes)
    made.gate_url = stack.enter_context(served_gate(made.gate))
