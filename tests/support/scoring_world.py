"""An operator of the homomorphic lane with its API, and patients who have keys for personal scores."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import flask
from eth_account import Account
from eth_account.signers.local import LocalAccount
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from marketplace.api import create_app
from marketplace.config import load_config
from marketplace.errors import Refusal
from marketplace.operator import Operator, Worker, build_operator
from marketplace.pipeline import STEPS
from marketplace.stages import Stage
from marketplace.wire.auth import Voice
from marketplace.wire.canonical import canonical
from marketplace.wire.eip712 import sign
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.score_layout import layout_of_dictionary, values_in_layout
from marketplace.wire.structs import RequestTerms, Rest, Revocation, Wake
from ml.ckks.keys import EncryptedRecord, Material, OwnerKey
from ml.ckks.models import FORMAT, Model, model_of
from tests.support.chain_world import account
from tests.support.custody_world import served
from tests.support.tally_world import TallyWorld, tally_world

API = "/api/v1"
ROUNDS = 24
PATIENTS = ("ada", "ben", "cleo", "dan", "eve", "finn")
VALUES: dict[str, tuple[int, str]] = {
    name: (100 + 20 * i, "yes" if i % 2 else "no") for i, name in enumerate(PATIENTS)
}


@cache
def key_of(name: str) -> tuple[OwnerKey, Material]:
    """Made once for all tests of a process: it takes a second."""
    return OwnerKey.generate()


def model(title: str = "Strain", upper: str = "260", intercept: str = "0.5") -> Model:
    """2 (systolic - 120) / 40 + smoker + intercept."""
    number = {"mean": "120", "scale": "40", "missing": "120"}
    inputs = [
        {"name": "systolic", "lower": "60", "upper": upper, **number},
        {"name": "smoker=1", "lower": "0", "upper": "1", "mean": "0", "scale": "1", "missing": "0"},
    ]
    head = {"format": FORMAT, "kind": "linear", "title": title, "unit": "1", "inputs": inputs}
    return model_of({**head, "weights": ["2", "1"], "intercept": intercept})


def document(of: Model) -> Any:
    return json.loads(of.canonical)


def asked(of: Model) -> dict[str, Any]:
    """Parameters of score.v1."""
    return {"model": to_hex(of.hash), "variables": [each.name for each in of.inputs]}


@dataclass
class ScoringWorld:
    """`client` calls the application directly; `url` serves the same one for the command line."""

    market: TallyWorld
    operator: Operator
    client: FlaskClient
    url: str
    folder: Path
    traffic: list[bytes] = field(default_factory=list, repr=False)
    """Every body that the application took or gave while it `hears`."""
    hears: bool = False

    @property
    def dataset(self) -> str:
        return to_hex(self.market.world.dataset)

    @property
    def storage(self) -> Path:
        """Of what is scored and scores, all operators'."""
        return self.operator.config.data / "scores"

    @property
    def files(self) -> list[str]:
        found = (path for path in self.storage.rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self.storage)) for path in found)

    def files_of(self, name: str) -> list[str]:
        mine = account(name).address[2:].lower()
        return [each for each in self.files if f"-{mine}/" in each]

    # --- calling

    def post(self, path: str, body: Any, signer: LocalAccount | None = None) -> TestResponse:
        """Signed where a signer is given."""
        content = canonical(body)
        headers = {}
        if signer is not None:
            domain = self.operator.chain.manifest.api_domain
            voice = Voice(bytes(signer.key), signer.address, domain)
            headers = voice.header("POST", API + path, content)
        return self.client.post(API + path, data=content, headers=headers)

    def publish(self, of: Model) -> str:
        answer = self.post("/models", {"model": document(of)}, self.researcher)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return str(answer.get_json()["model"])

    @property
    def researcher(self) -> LocalAccount:
        found: LocalAccount = Account.from_key(self.market.world.operator)
        return found

    # --- patients

    def values(self, name: str) -> Mapping[str, Decimal | str | None]:
        systolic, smoker = VALUES[name]
        return {"systolic": Decimal(systolic), "smoker": smoker}

    def encrypted(self, name: str) -> EncryptedRecord:
        dictionary = self.market.world.dictionary
        layout = layout_of_dictionary(dictionary)
        return key_of(name)[0].encrypt(values_in_layout(dictionary, self.values(name)), layout)

    def body(self, name: str, record: EncryptedRecord | None = None) -> dict[str, str]:
        record = record or self.encrypted(name)
        return {
            "material": to_base64(key_of(name)[1].data),
            "record": to_base64(record.data),
        }

    def hand_in(self, name: str, record: EncryptedRecord | None = None) -> EncryptedRecord:
        record = record or self.encrypted(name)
        path = f"/datasets/{self.dataset}/score-records"
        answer = self.post(path, self.body(name, record), account(name))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        assert answer.get_json() == {"record": to_hex(record.hash)}
        return record

    def score(self, request: str, name: str) -> TestResponse:
        return self.post(f"/requests/{request}/score", {}, account(name))

    def listed(self, name: str) -> Any:
        answer = self.post(f"/datasets/{self.dataset}/scores", {}, account(name))
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()

    def revoke(self, name: str, sequence: int = 1) -> None:
        """Past the operator, in a block of its own."""
        patient, world = account(name), self.market.world
        ended = Revocation(patient.address, world.dataset, sequence)
        signature = sign(ended, world.chain.domain("ConsentRegistry"), patient)
        world.sender.send("ConsentRegistry", "revokeBySig", ended, patient.address, signature)

    def rest(self, name: str) -> None:
        """The patient's own wish: in no cohort until the patient wakes it."""
        self._pause(name, Rest, "restBySig", 1)

    def wake(self, name: str) -> None:
        self._pause(name, Wake, "wakeBySig", 2)

    def _pause(self, name: str, kind: type[Rest | Wake], function: str, nonce: int) -> None:
        patient, world = account(name), self.market.world
        wish = kind(patient.address, world.dataset, self._sequence(name), nonce, world.later())
        signature = sign(wish, world.chain.domain("ConsentRegistry"), patient)
        world.sender.send("ConsentRegistry", function, wish, patient.address, signature)

    def _sequence(self, name: str) -> int:
        world = self.market.world
        return world.chain.consent_of(world.dataset, account(name).address).sequence

    def grant(self, name: str) -> None:
        """Once more."""
        world, sequence = self.market.world, self._sequence(name) + 1
        world._batch("ConsentRegistry", [world.grant(account(name), sequence=sequence)])

    def forget(self) -> None:
        """What the worker does while it is idle, as a process that was just started does it."""
        self.market.world.tick()
        forgetting = self.operator.scoring.forgetting
        replace(forgetting, _followed=None).catch_up()

    # --- requests

    def terms(self, salt: str, of: Model, **changes: Any) -> RequestTerms:
        return self.market.terms(salt, "score.v1", asked(of), **changes)

    def submit(self, salt: str, of: Model, **changes: Any) -> TestResponse:
        self.market.world.tick()
        terms = self.terms(salt, of, **changes)
        body = {"terms": terms.to_json(), "parameters": asked(of)}
        return self.post("/requests", body, self.researcher)

    def opened(self, salt: str, of: Model) -> str:
        """Submitted and paid."""
        answer = self.submit(salt, of)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        self.market.world.open(self.terms(salt, of))
        return str(answer.get_json()["request"])

    def advance(self, request: str, wanted: Stage) -> None:
        """As the worker does, while blocks go on, and no further."""
        pipeline = self.operator.pipeline
        for _ in range(ROUNDS):
            stage = Stage(self.operator.database.request(request).stage)
            if stage is wanted:
                return
            try:
                STEPS[stage](pipeline, request)
            except Refusal:
                self.market.world.tick()
        raise AssertionError(self.operator.database.log(request)[-1].because)

    def sealed(self, salt: str, of: Model) -> str:
        request = self.opened(salt, of)
        self.advance(request, Stage.SEALED)
        return request

    def scored(self) -> int:
        """Every step that there is. One may bring nothing though there is more: it ends with its second."""
        made = idle = 0
        while idle < 2:
            new = self.operator.scoring.rounds.step()
            made, idle = made + new, 0 if new else idle + 1
        return made


@contextmanager
def scoring_world(folder: Path) -> Iterator[ScoringWorld]:
    """With all patients enrolled, and nothing handed in."""
    with tally_world(folder) as market, ExitStack() as stack:
        market.enrol(dict(VALUES))
        path = folder / "operator.json"
        settings = {
            "data": "operator",
            "manifest": "manifest.json",
            "node_url": market.world.node_url,
            "key_file": "faucet.key",
            "custodians": [{"place": i, "url": url} for i, url in enumerate(market.urls)],
            "gates": [],
            "fee": 100,
        }
        path.write_text(json.dumps(settings))
        operator = build_operator(load_config(path))
        stack.callback(operator.database.engine.dispose)
        operator.dictionaries.keep(market.world.dictionary.to_bytes())
        app = create_app(operator, Worker(operator))
        url = stack.enter_context(served(app))
        world = ScoringWorld(market, operator, app.test_client(), url, folder)
        _overhear(app, world)
        yield world


def _overhear(app: flask.Flask, world: ScoringWorld) -> None:
    def keep(response: flask.Response) -> flask.Response:
        if world.hears:
            world.traffic.append(flask.request.full_path.encode() + flask.request.get_data())
            world.traffic.append(response.get_data())
        return response

    app.after_request(keep)
