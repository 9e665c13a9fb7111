"""A market with real custody: sealed records, three custodians and a gate, in threads or processes."""

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import flask
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from werkzeug.serving import WSGIRequestHandler, make_server

from marketplace.analyses import CATALOGUE
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain
from marketplace.chain.deploy import CommitteeSeat, DeploySettings, deploy, open_epoch
from marketplace.chain.sender import Sender
from marketplace.chain.views import CommitteeView
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian.config import CustodianConfig
from marketplace.custodian.main import build as build_custodian
from marketplace.custodian.server import create_app as custodian_app
from marketplace.custodian.service import Custodian
from marketplace.gate import keys as gate_keys
from marketplace.gate.config import GateConfig
from marketplace.gate.main import build as build_gate
from marketplace.gate.server import create_app as gate_app
from marketplace.gate.service import Gate
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import (
    CustodianIndex,
    DictionaryHash,
    Epoch,
    RequestId,
    patient_address,
)
from marketplace.vocabulary import DatasetId as Dataset
from marketplace.wire import dictionary as wire
from marketplace.wire import hpke
from marketplace.wire.analysis import analysis_hash, parameters_hash
from marketplace.wire.auth import Voice
from marketplace.wire.custody import Holding
from marketplace.wire.delivery import DeliveryContext, Opened, open_result
from marketplace.wire.header import RecordHeader
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.keyfiles import Signer
from marketplace.wire.record import RecordContext, SealedRecord
from marketplace.wire.settings import Endpoint
from marketplace.wire.structs import (
    Erasure,
    RecordAttestation,
    RequestTerms,
    StorageReceipt,
    sign,
)
from tests.support import fork_server, nodes
from tests.support.chain_world import DAY, POLICY, TERMS, World, account
from tests.support.nodes import RunningNode

PLACES = 3
QUORUM = 2
DICTIONARY = {
    "schema": "usufruct-dictionary/1",
    "name": "pressure",
    "version": 1,
    "variables": [
        {
            "name": "systolic",
            "kind": "number",
            "label": "Systolic blood pressure",
            "unit": "mm[Hg]",
            "code": {"system": "http://loinc.org", "code": "8480-6"},
            "lower": "60",
            "upper": "260",
            "decimals": 0,
        },
        {
            "name": "smoker",
            "kind": "category",
            "label": "Smoker",
            "code": {"system": "http://loinc.org", "code": "72166-2"},
            "categories": ["no", "yes"],
        },
    ],
}
PARAMETERS = {"variable": "systolic"}
COST = 10_000  # nano-rho; a cap of chain_world pays for a thousand of these


@dataclass
class CustodyWorld(World):
    """`records` holds, by patient address, what the operator would store."""

    folder: Path = Path()
    node_url: str = ""
    operator: bytes = field(default=b"", repr=False)
    dictionary: wire.Dictionary = field(default_factory=lambda: wire.from_json(DICTIONARY))
    researcher_key: hpke.SecretKey = field(default_factory=hpke.generate)
    records: dict[str, SealedRecord] = field(default_factory=dict)
    running: dict[int, Custodian] = field(default_factory=dict)

    # --- identities

    def data(self, name: str) -> Path:
        return self.folder / name

    def set_up(self) -> None:
        seats = []
        for place in range(PLACES):
            made = custodian_keys.create(self.data(f"custodian{place}"), 1)
            key = bytes.fromhex(made["x25519"][2:])
            seats.append(CommitteeSeat(made["signer"], key))
            self.sender.send("TestEuro", "mint", made["relay"], 1)
        gate = gate_keys.create(self.data("gate"))["signer"]
        self.epoch = open_epoch(self.sender, seats, QUORUM, [gate])
        self._publish()
        self.manifest.save(self.folder / "manifest.json")

    def _publish(self) -> None:
        me = self.sender.address
        sent = self.sender.send(
            "DatasetRegistry", "publishDataset", self.dictionary.hash(), bytes(32), "file:///d"
        )
        self.dataset = sent.event("DatasetPublished").args["dataset"]
        published = self.sender.send("DatasetRegistry", "publishClass", self.dataset, TERMS)
        self.classes = (published.event("ClassPublished").args["class"],)
        self.sender.send("DatasetRegistry", "addIssuer", self.dataset, self.issuer.address)
        self.sender.send("ResearcherRegistry", "give", me, self.credential())
        self.sender.send("TestEuro", "mint", me, 10**12)
        self.sender.send("TestEuro", "approve", self.manifest.market, 10**12)
        self.sender.send("ResearchMarket", "postBond", 10**9)

    # --- records

    def record_context(self, patient: str, version: int = 1) -> RecordContext:
        return RecordContext(
            chain_id=self.chain.chain_id,
            registry=self.manifest.address("DatasetRegistry"),
            dataset=Dataset(self.dataset),
            patient=patient_address(patient),
            dictionary_hash=DictionaryHash(self.dictionary.hash()),
            record_version=version,
        )

    def seal_record(
        self, patient: str, values: Mapping[str, Any], version: int = 1
    ) -> SealedRecord:
        context, committee = self.record_context(patient, version), self.chain.committee()
        seats = seats_of(committee)
        sealed = seal_row(
            self.dictionary, values, context, seats, Epoch(committee.epoch), committee.quorum
        )
        self.records[patient] = sealed
        return sealed

    def attest(self, patients: Sequence[str], version: int = 1) -> None:
        calls = [self._attestation(each, version) for each in patients]
        self._batch("DatasetRegistry", calls)

    def _attestation(self, patient: str, version: int) -> tuple[str, list[object]]:
        attested = RecordAttestation(
            self.dataset,
            patient,
            keccak(text="person" + patient),
            self.records[patient].commitment,
            version,
            self.issuer.address,
            self.later(),
        )
        return "registerRecord", [
            attested,
            sign(attested, self.chain.domain("DatasetRegistry"), self.issuer),
        ]

    def deposit_body(self, patient: str, place: int) -> dict[str, Any]:
        sealed = self.records[patient]
        share = sealed.shares[place]
        return {
            "record": RecordHeader.of(sealed).to_json(),
            "share": {"index": share.index, "envelope": to_base64(share.envelope)},
            "held": self.held(patient, self.operator),
        }

    def held(self, patient: str, operator: bytes) -> dict[str, str]:
        """An operator's word that it holds a patient's ciphertext."""
        holding = Holding(self.dataset, patient, self.records[patient].commitment)
        signature = sign(holding, self.chain.domain("ResearchMarket"), operator)
        return {"operator": Signer.of(operator).address, "signature": to_hex(signature)}

    def confirm(self, answers: Mapping[str, list[dict[str, Any]]]) -> None:
        calls = []
        for given in answers.values():
            receipt = StorageReceipt.from_json(given[0]["receipt"])
            quorum = [(a["place"], bytes.fromhex(a["signature"][2:])) for a in given]
            calls.append(("confirmStorage", [receipt, quorum]))
        self._batch("DatasetRegistry", calls)

    def enrol_sealed(
        self, urls: Sequence[str], names: Sequence[str], values: Sequence[Mapping[str, Any]]
    ) -> list[LocalAccount]:
        """Sealed, attested, stored at every custodian of `urls`, granted."""
        self.tick()
        patients = [account(name) for name in names]
        for patient, each in zip(patients, values, strict=True):
            self.seal_record(patient.address, each)
        self.take_in(urls, patients)
        return patients

    def take_in(self, urls: Sequence[str], patients: Sequence[LocalAccount]) -> None:
        """Attests, stores at every custodian of `urls` and grants what is sealed in `records`."""
        self.attest([patient.address for patient in patients])
        self.confirm(
            {
                patient.address: [
                    post(url, "/shares", self.deposit_body(patient.address, place), timeout=60)
                    for place, url in enumerate(urls)
                ]
                for patient in patients
            }
        )
        self._batch("ConsentRegistry", [self.grant(patient) for patient in patients])

    # --- requests

    def mean_terms(self, salt: str, analysis: str = "mean.v1") -> RequestTerms:
        entry = CATALOGUE["mean.v1"]
        checked = entry.parse(PARAMETERS, variables_of(self.dictionary))
        return replace(
            self.terms(salt),
            release_kind=int(entry.release_kind),
            analysis=analysis_hash(analysis),
            parameters=parameters_hash(entry.canonical(checked)),
            delivery_key=self.researcher_key.public,
            cost=COST,
        )

    def seal_request(self, salt: str, terms: RequestTerms | None = None) -> bytes:
        terms = terms or self.mean_terms(salt)
        request = self.open(terms)
        self.freeze(terms)
        for _ in self.chain.request_shards(request):
            self.sender.send("ResearchMarket", "seal", request)
        self.pass_draw_block()
        self.sender.send("ResearchMarket", "drawGate", request)
        return request

    def pass_draw_block(self) -> None:
        """A gate can be drawn then."""
        self.tick()
        if nodes.ON_ANVIL:  # it makes a call at the head, which lacks the hash to draw from
            self.chain.node.mine()

    @property
    def voice(self) -> Voice:
        """The operator's: the account that freezes."""
        return Voice(self.operator, self.sender.address, self.manifest.api_domain)

    def ask_gate(
        self, url: str, path: str, body: Mapping[str, Any], timeout: float = 120
    ) -> dict[str, Any]:
        """Posts to a gate as the operator."""
        return post(url, path, body, timeout=timeout, voice=self.voice)

    def gate_key(self, url: str, request: bytes) -> dict[str, Any]:
        """A gate's key for a request, as the operator asks for it."""
        return self.ask_gate(url, "/keys", asked_body(request))

    def record_key(self, request: bytes, answer: Mapping[str, Any]) -> None:
        key, signature = (bytes.fromhex(answer[name][2:]) for name in ("key", "signature"))
        self.sender.send("ResearchMarket", "recordGateKey", request, key, signature)

    def keyed_request(self, salt: str, gate_url: str) -> bytes:
        """Sealed, and with the gate's key on chain."""
        request = self.seal_request(salt)
        self.record_key(request, self.gate_key(gate_url, request))
        return request

    def computation_body(self, request: bytes, patients: Sequence[str]) -> dict[str, Any]:
        records = [ciphertext_json(each, self.records[each]) for each in patients]
        return {**asked_body(request), "records": records}

    def open_result(self, request: bytes, sealed: bytes) -> Opened:
        context = DeliveryContext(self.chain.chain_id, self.manifest.market, RequestId(request))
        return open_result(sealed, self.researcher_key, context)

    def erase(self, patient: LocalAccount, version: int = 1) -> None:
        erasure = Erasure(patient.address, self.dataset, version)
        signature = sign(erasure, self.chain.domain("ConsentRegistry"), patient)
        self.sender.send("ConsentRegistry", "eraseBySig", erasure, signature)

    # --- processes

    def custodian_config(self, place: int, **changes: Any) -> CustodianConfig:
        given: dict[str, Any] = {
            "place": place,
            "node_url": self.node_url,
            "manifest": self.folder / "manifest.json",
            "data": self.data(f"custodian{place}"),
            "minimum_cohort": 2,
            "watch_interval": 0.5,
        }
        return CustodianConfig(**(given | changes))

    def gate_config(self, urls: Sequence[str], **changes: Any) -> GateConfig:
        given: dict[str, Any] = {
            "node_url": self.node_url,
            "manifest": self.folder / "manifest.json",
            "data": self.data("gate"),
            "custodians": tuple(Endpoint(place=i, url=url) for i, url in enumerate(urls)),
            "minimum_cohort": 2,
            # Every custodian that answers at all is waited for: who is at fault is not who was slow.
            "turn_grace": 60.0,
        }
        return GateConfig(**(given | changes))

    def custodian(self, place: int, **changes: Any) -> Custodian:
        return build_custodian(self.custodian_config(place, **changes))

    def gate(self, urls: Sequence[str], **changes: Any) -> Gate:
        return build_gate(self.gate_config(urls, **changes))


def seats_of(committee: CommitteeView) -> list[CustodianKey]:
    return [
        CustodianKey(CustodianIndex(member.place + 1), member.keys[1])
        for member in committee.members
    ]


def asked_body(request: bytes) -> dict[str, Any]:
    return {"request": to_hex(request), "parameters": PARAMETERS, "dictionary": DICTIONARY}


def ciphertext_json(patient: str, sealed: SealedRecord) -> dict[str, Any]:
    return {
        "patient": patient,
        "box": to_base64(sealed.box),
        "key_commitments": [to_hex(point) for point in sealed.key_commitments],
    }


def custody_world(node: RunningNode, folder: Path) -> CustodyWorld:
    me = Account.from_key(node.funded_key).address
    settings = DeploySettings(
        policy=POLICY,
        minimum_horizon=DAY,
        thaw_gap=0,
        operators=[me],
        pausers=[me],
        stewards=[me],
        authorities=[me],
        admins=[me],
        minters=[me],
    )
    manifest = deploy(node.url, node.funded_key, settings)
    chain = Chain(node.url, manifest)
    sender = Sender(chain, node.funded_key)
    world = CustodyWorld(chain, sender, folder=folder, node_url=node.url, operator=node.funded_key)
    world.set_up()
    return world


def back_up(data: Path, to: Path) -> None:
    """A copy of a data folder, made by another process: closing a copied journal in this one would drop the
    locks that SQLite holds on it here (https://www.sqlite.org/howtocorrupt.html, section 2.2)."""
    subprocess.run(["cp", "-r", str(data), str(to)], check=True)


# --- serving


class Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def served(app: flask.Flask) -> Iterator[str]:
    """A Flask application on loopback, in a thread."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def served_custodian(custodian: Custodian) -> Iterator[str]:
    with served(custodian_app(custodian)) as url:
        yield url


@contextmanager
def served_gate(gate: Gate) -> Iterator[str]:
    with served(gate_app(gate)) as url:
        yield url


class Process:
    """A custodian or gate as a process of its own."""

    PROGRAM: ClassVar[str] = "marketplace.{module}"

    def __init__(self, module: str, config: CustodianConfig | GateConfig, folder: Path) -> None:
        path = folder / f"{module}-{config.data.name}.json"
        path.write_text(json.dumps(config.model_dump(mode="json")))
        program = self.PROGRAM.format(module=module)
        self._command = [program, "--config", str(path)]
        self.log = folder / f"{path.stem}.log"
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = fork_server.start(*self._command, stderr=log)
        line = self.process.stdout.readline()
        assert line, self.log.read_text()
        self.ready = json.loads(line)
        self.url = self.ready["url"]

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def stop(self) -> int:
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(20)
        self.process.stdout.close()
        return code
