"""The operator's API in this process, over a real chain, real custodians and a real gate."""

import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from marketplace.api import create_app
from marketplace.client import Marketplace
from marketplace.config import load_config
from marketplace.custodian.service import Custodian
from marketplace.operator import Operator, Worker, build_operator
from marketplace.stages import Stage
from marketplace.wire.canonical import canonical
from marketplace.wire.eip712 import Domain, sign
from marketplace.wire.http import to_hex
from marketplace.wire.record import SealedRecord, dump
from marketplace.wire.structs import ApiRequest, Grant, RecordAttestation, RequestTerms
from tests.support.chain_world import PAGE, account
from tests.support.custody_world import (
    PLACES,
    CustodyWorld,
    custody_world,
    served,
    served_custodian,
    served_gate,
)
from tests.support.nodes import EMBEDDED_KEY, any_node

PREFIX = "/api/v1"
TABLES = ("requests", "stage_log", "records", "computed", "receipts")
PATIENTS = 4
ROUNDS = 20
REFUSED = (400, 401, 404, 413, 422)


@dataclass
class ApiWorld:
    """`client` calls the application directly; `url` serves the same one for the command line."""

    custody: CustodyWorld
    operator: Operator
    client: FlaskClient
    url: str
    config_path: Path
    custodian_urls: list[str]
    custodians: list[Custodian]
    patients: list[LocalAccount] = field(default_factory=list)
    nonces: set[str] = field(default_factory=set)
    """Of every signed request that `state` ever saw used: the database forgets the old ones."""

    @property
    def dataset(self) -> str:
        return to_hex(self.custody.dataset)

    @property
    def researcher(self) -> LocalAccount:
        """The account that deployed: operator, steward and credentialed researcher at once."""
        account: LocalAccount = Account.from_key(EMBEDDED_KEY)
        return account

    # --- calling

    def get(self, path: str) -> TestResponse:
        return self.client.get(PREFIX + path)

    def post(self, path: str, body: Any, **options: Any) -> TestResponse:
        """`body` as JSON, whatever it is."""
        data = json.dumps(body).encode()
        return self.client.post(
            PREFIX + path, data=data, content_type="application/json", **options
        )

    def post_signed(self, body: Any, **changes: Any) -> TestResponse:
        """POST /requests, signed by the researcher; `changes` alter what is signed or said."""
        content = changes.pop("content", canonical(body))
        header = self.auth_header(content, **changes)
        return self.client.post(
            f"{PREFIX}/requests", data=canonical(body), headers={"Usufruct-Auth": header}
        )

    def auth_header(
        self,
        content: bytes,
        *,
        method: str = "POST",
        path: str = f"{PREFIX}/requests",
        key: LocalAccount | None = None,
        signer: str | None = None,
        nonce: bytes | None = None,
        deadline: int | None = None,
        domain: Domain | None = None,
        shown_deadline: int | None = None,
        alter: Any = None,
    ) -> str:
        key = key or self.researcher
        nonce = nonce or secrets.token_bytes(32)
        deadline = int(time.time()) + 60 if deadline is None else deadline
        signed = ApiRequest.of(method, path, content, nonce, deadline)
        signature = sign(signed, domain or self.operator.chain.manifest.api_domain, key)
        if alter is not None:
            signature = alter(signature)
        shown = deadline if shown_deadline is None else shown_deadline
        parts = {
            "address": signer or key.address,
            "nonce": to_hex(nonce),
            "deadline": str(shown),
            "signature": to_hex(signature),
        }
        return "; ".join(f"{name}={value}" for name, value in parts.items())

    # --- well-formed input, for a test to break

    def quote(self, **changes: Any) -> dict[str, Any]:
        body = {
            "dataset": self.dataset,
            "classes": [1],
            "analysis": "mean.v1",
            "parameters": {"variable": "systolic"},
            "cost": 10_000,
        }
        return {**body, **changes}

    def terms(self, salt: str, **changes: Any) -> RequestTerms:
        return replace(self.custody.mean_terms(salt), **changes)

    def submission(self, salt: str, **changes: Any) -> dict[str, Any]:
        terms = self.terms(salt, **changes)
        return {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}

    def sealed(self, patient: LocalAccount, systolic: int = 120, version: int = 1) -> SealedRecord:
        values = {"systolic": Decimal(systolic), "smoker": "no"}
        return self.custody.seal_record(patient.address, values, version)

    def upload_entry(
        self, patient: LocalAccount, record: SealedRecord | None = None, **changes: Any
    ) -> dict[str, Any]:
        """An attested record. `issuer` and `domain` change who signs and for which contract."""
        record = record or self.sealed(patient)
        issuer = changes.pop("issuer", self.custody.issuer)
        domain = changes.pop("domain", self.operator.chain.domain("DatasetRegistry"))
        attested = RecordAttestation(
            **{
                "dataset": self.custody.dataset,
                "patient": patient.address,
                "person": keccak(text="person" + patient.address),
                "commitment": record.commitment,
                "version": record.context.record_version,
                "issuer": issuer.address,
                "deadline": self.custody.later(),
                **changes,
            }
        )
        return {
            "record": json.loads(dump(record)),
            "attestation": attested.to_json(),
            "issuer_signature": to_hex(sign(attested, domain, issuer)),
        }

    def grant_message(self, patient: LocalAccount, **changes: Any) -> dict[str, Any]:
        """A patient's grant as the client signs it; `changes` replace signed fields."""
        grant = self.custody.grant(patient)[1][0]
        assert isinstance(grant, Grant)
        changed = replace(grant, **changes)
        signature = sign(changed, self.operator.chain.domain("ConsentRegistry"), patient)
        return {
            "kind": "grant",
            "message": changed.to_json(),
            "signer": patient.address,
            "signature": to_hex(signature),
        }

    # --- what must not change

    def state(self) -> dict[str, Any]:
        """Everything that a refusal may not change: chain balances, meters, rows, files."""
        chain, folder = self.operator.chain, self.operator.config.data
        with self.operator.database.engine.connect() as connection:
            rows = {
                table: connection.exec_driver_sql(f"SELECT * FROM {table}").fetchall()
                for table in TABLES
            }
            self.nonces |= set(connection.exec_driver_sql("SELECT nonce FROM api_nonces").scalars())
        return {
            "liabilities": chain.liabilities(),
            "balance": chain.balance_of(self.researcher.address),
            "shard": chain.shard(self.custody.classes[0], 0),
            "rows": rows,
            "nonces": sorted(self.nonces),
            "files": sorted(path.name for path in folder.rglob("*.box")),
            "dictionaries": sorted(path.name for path in folder.rglob("*.json")),
        }

    def settle(self, request: str) -> None:
        """Advances until the request is settled."""
        for _ in range(ROUNDS):
            if self.operator.pipeline.advance(request) is Stage.SETTLED:
                return
            self.custody.tick()
        raise AssertionError(self.operator.database.log(request)[-1].because)


def problem(response: TestResponse, status: int | tuple[int, ...] = REFUSED) -> Any:
    """The problem document of a refusal, checked for its form (RFC 9457)."""
    allowed = (status,) if isinstance(status, int) else status
    assert response.status_code in allowed, (response.status_code, response.get_data(as_text=True))
    assert response.mimetype == "application/problem+json"
    document = json.loads(response.get_data())
    assert document["status"] == response.status_code
    for key in ("type", "title", "detail", "code", "remedy"):
        assert isinstance(document[key], str), key
        assert document[key], key
    return document


@contextmanager
def api_world(folder: Path, options: Mapping[str, Any] | None = None) -> Iterator[ApiWorld]:
    """A market with a few consenting patients whose records came in through the API."""
    with any_node(folder) as node, ExitStack() as stack:
        custody = custody_world(node, folder)
        custodians = [custody.custodian(place) for place in range(PLACES)]
        urls = [stack.enter_context(served_custodian(each)) for each in custodians]
        gate = custody.gate(urls)
        gate_url = stack.enter_context(served_gate(gate))
        path = folder / "operator.json"
        config = {
            "data": "operator",
            "manifest": "manifest.json",
            "node_url": node.url,
            "key_file": "faucet.key",
            "custodians": [{"place": i, "url": url} for i, url in enumerate(urls)],
            "gates": [{"address": gate.keys.signer.address, "url": gate_url}],
            "fee": 100,
        }
        path.write_text(json.dumps({**config, **(options or {})}))
        operator = build_operator(load_config(path))
        stack.callback(operator.database.engine.dispose)
        app = create_app(operator, Worker(operator))
        url = stack.enter_context(served(app))
        world = ApiWorld(custody, operator, app.test_client(), url, path, urls, custodians)
        operator.dictionaries.keep(custody.dictionary.to_bytes())
        operator.class_pages.keep(PAGE.to_bytes())
        _enrol(world)
        yield world


def _enrol(world: ApiWorld) -> None:
    world.custody.tick()
    patients = [account(f"api patient {i}") for i in range(PATIENTS)]
    entries = [world.upload_entry(p, world.sealed(p, 110 + i)) for i, p in enumerate(patients)]
    stored = world.post("/records", {"entries": entries}).get_json()
    assert [each["outcome"] for each in stored["outcomes"]] == ["stored"] * PATIENTS, stored
    messages = [world.grant_message(patient) for patient in patients]
    relayed = world.post("/messages", {"messages": messages}).get_json()
    assert [each["outcome"] for each in relayed["outcomes"]] == ["relayed"] * PATIENTS, relayed
    world.patients = patients


def market_of(world: ApiWorld) -> Marketplace:
    """A client of the served application."""
    return Marketplace(world.url, world.custody.node_url)
