"""Personal scores from publication to destruction, over a real chain, real custodians and a real operator."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from marketplace.api.openapi import DOCUMENT
from marketplace.chain.adapter import Chain, ContractRefusal, Finality
from marketplace.errors import Refusal
from marketplace.scoring import models as models_module
from marketplace.scoring.rounds import Rounds
from marketplace.stages import Stage
from marketplace.store import DUE, SCORED
from marketplace.wire.auth import Voice
from marketplace.wire.http import to_base64, to_hex
from ml.ckks import packing
from ml.ckks.keys import OwnerKey
from ml.ckks.layout import layout_of
from ml.ckks.opening import open_score
from ml.ckks.packing import Kind, frame
from ml.ckks.score import EncryptedScore
from tests.support.api_world import problem
from tests.support.chain_world import TERMS, account
from tests.support.daily import daily_rows
from tests.support.framingham import layout_document
from tests.support.refusals import refused
from tests.support.scoring_world import (
    VALUES,
    ScoringWorld,
    asked,
    document,
    key_of,
    model,
    scoring_world,
)

pytestmark = pytest.mark.timeout(900)
MODEL = model()
NOWHERE = "0x" + "11" * 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScoringWorld]:
    with scoring_world(tmp_path_factory.mktemp("scoring")) as made:
        made.publish(MODEL)
        yield made


def state(world: ScoringWorld) -> Any:
    """What a refusal may not change."""
    tables = ("score_models", "score_records", "score_rounds", "scores", "requests")
    with world.operator.database.engine.connect() as connection:
        rows = {t: connection.exec_driver_sql(f"SELECT * FROM {t}").fetchall() for t in tables}
    return rows, world.files


def shown(path: str, method: str, answer: Any) -> Any:
    operation = DOCUMENT["paths"]["/api/v1" + path][method]
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    found = answer.get_json()
    Draft202012Validator({**schema, "components": DOCUMENT["components"]}).validate(found)
    return found


def truth(name: str) -> Decimal:
    """The model on the patient's values, not by its own code."""
    systolic, smoker = VALUES[name]
    return Decimal(2 * (systolic - 120)) / 40 + (smoker == "yes") + Decimal("0.5")


# --- models


def test_a_published_model_is_listed_and_shown_as_it_was_published(world: ScoringWorld) -> None:
    again = shown(
        "/models", "post", world.post("/models", {"model": document(MODEL)}, world.researcher)
    )
    assert again == {"model": to_hex(MODEL.hash)}
    listed = shown("/models", "get", world.client.get("/api/v1/models"))["models"]
    assert [each["model"] for each in listed].count(to_hex(MODEL.hash)) == 1
    one = world.client.get(f"/api/v1/models/{to_hex(MODEL.hash)}")
    found = shown("/models/{model}", "get", one)
    assert found["document"] == document(MODEL)
    assert found["variables"] == ["systolic", "smoker=1"]
    assert found["publisher"] == world.researcher.address
    assert problem(world.client.get(f"/api/v1/models/{NOWHERE}"), 404)["code"] == "unknown_model"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "oracle"}, "model.kind"),
        ({"weights": ["2"]}, "model.weights"),
        ({"weights": ["2", 1]}, "model.weights[1]"),
        ({"title": "\x07"}, "model.title"),
        ({"inputs": []}, "model.inputs"),
        ({"surprise": "x"}, "model.model"),
    ],
)
def test_what_is_no_model_is_refused_by_its_field(
    world: ScoringWorld, change: dict[str, Any], field: str
) -> None:
    before = state(world)
    sent = {"model": {**document(MODEL), **change}}
    found = problem(world.post("/models", sent, world.researcher))
    assert (found["code"], found["field"]) == ("bad_model", field)
    assert state(world) == before


def test_only_credentialed_researchers_publish(world: ScoringWorld) -> None:
    before = state(world)
    other = model("By a stranger")
    for signer, code in ((account("ada"), "credential_missing"), (None, "unauthenticated")):
        assert problem(world.post("/models", {"model": document(other)}, signer))["code"] == code
    assert state(world) == before


def test_nobody_fills_the_database_with_models(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = len(world.client.get("/api/v1/models").get_json()["models"])
    monkeypatch.setattr(models_module, "MOST_OF_A_PUBLISHER", there)
    one_more = {"model": document(model("One more"))}
    found = problem(world.post("/models", one_more, world.researcher))
    assert found["code"] == "too_many_models"
    assert world.publish(MODEL) == to_hex(MODEL.hash)  # which is there already


# --- what could never be scored is refused before anybody pays


def parameters_of(of: Any, **changes: Any) -> dict[str, Any]:
    return {**asked(of), **changes}


UNFIT = model("Other bounds", upper="250")
REFUSED = [
    (asked(model("Nobody published this")), "parameters.model"),
    (parameters_of(MODEL, variables=["smoker=1", "systolic"]), "parameters.variables"),
    (parameters_of(MODEL, variables=["systolic"]), "parameters.variables"),
    (parameters_of(MODEL, variables=["systolic", "smoker=0"]), "parameters.variables"),
    (asked(UNFIT), "parameters.model"),
]


@pytest.mark.parametrize(("parameters", "field"), REFUSED)
def test_a_model_that_is_not_published_or_does_not_fit_is_refused_in_quote_and_request(
    world: ScoringWorld, parameters: dict[str, Any], field: str
) -> None:
    world.publish(UNFIT)
    quote = {"dataset": world.dataset, "classes": [1], "analysis": "score.v1", "lane": 2}
    quoted = {**quote, "parameters": parameters, "cost": 50_000}
    terms = world.market.terms(f"refused {field}", "score.v1", parameters)
    before = state(world)
    sent = {"terms": terms.to_json(), "parameters": parameters}
    for answer in (world.post("/quotes", quoted), world.post("/requests", sent, world.researcher)):
        found = problem(answer)
        assert found["field"] == field, found
    assert state(world) == before
    good = {**quoted, "parameters": asked(MODEL)}
    found = world.post("/quotes", good).get_json()
    assert (found["release_kind"], found["tally"]["sums"]) == (2, 2)


def test_another_kind_of_release_than_personal_scores_is_refused(world: ScoringWorld) -> None:
    found = problem(world.submit("kind", MODEL, release_kind=1))
    assert (found["code"], found["field"]) == ("release_kind_mismatch", "terms.releaseKind")


def test_a_class_that_does_not_allow_personal_scores_is_scored_by_nobody(
    world: ScoringWorld,
) -> None:
    """The contract itself refuses, whatever an operator says."""
    custody = world.market.world
    terms_without = replace(TERMS, release_kinds=0b011)
    published = custody.sender.send(
        "DatasetRegistry", "publishClass", custody.dataset, terms_without
    )
    assert published.event("ClassPublished").args["class"]
    custody.tick()
    terms = world.terms("without", MODEL, classes=(2,))
    refusal = refused("terms_invalid", custody.open, terms)
    assert isinstance(refusal, ContractRefusal)
    assert "releaseKind" in str(refusal)
    sent = {"terms": terms.to_json(), "parameters": asked(MODEL)}
    found = problem(world.post("/requests", sent, world.researcher))
    assert (found["code"], found["field"]) == ("release_not_allowed", "terms.classes")
    assert "these allow it: 1." in found["remedy"]
    allowed = world.terms("with", MODEL)
    assert custody.open(allowed)


# --- what patients hand in


def test_a_record_is_handed_in_by_its_patient_and_replaced_by_the_next(world: ScoringWorld) -> None:
    first = world.hand_in("ada")
    assert world.listed("ada")["record"] == to_hex(first.hash)
    files = world.files
    second = world.hand_in("ada")
    assert second.hash != first.hash
    assert world.files == files
    assert world.operator.scoring.records.files.record(world.dataset, account("ada").address) == (
        key_of("ada")[1].data,
        second.data,
    )


def hand_in(world: ScoringWorld, body: Any, signer: Any, dataset: str | None = None) -> Any:
    return world.post(f"/datasets/{dataset or world.dataset}/score-records", body, signer)


def test_who_takes_no_part_hands_nothing_in(world: ScoringWorld) -> None:
    body, before = world.body("ada"), state(world)
    stranger = account("never enrolled")
    for signer, dataset, code in (
        (stranger, None, "no_record"),
        (world.researcher, None, "no_record"),
        (account("ada"), NOWHERE, "no_record"),
        (None, None, "unauthenticated"),
    ):
        assert problem(hand_in(world, body, signer, dataset))["code"] == code
    assert state(world) == before


def test_a_signature_for_another_address_hands_nothing_in(world: ScoringWorld) -> None:
    """Ben signs, and says that he is Ada."""
    before, path = state(world), f"/datasets/{world.dataset}/score-records"
    content = json.dumps(world.body("ben"), sort_keys=True, separators=(",", ":")).encode()
    domain = world.operator.chain.manifest.api_domain
    voice = Voice(bytes(account("ben").key), account("ada").address, domain)
    headers = voice.header("POST", "/api/v1" + path, content)
    found = problem(world.client.post("/api/v1" + path, data=content, headers=headers))
    assert found["code"] == "bad_signature"
    assert state(world) == before


def elsewhere(world: ScoringWorld) -> dict[str, str]:
    """In the layout of another dataset."""
    record = key_of("ada")[0].encrypt({}, layout_of(layout_document()))
    return world.body("ada", record)


def anothers(world: ScoringWorld) -> dict[str, str]:
    """Encrypted to a key that is not this material's."""
    return {**world.body("ada"), "record": world.body("ben")["record"]}


def open_to_all(world: ScoringWorld) -> dict[str, str]:
    """A ciphertext whose second polynomial is 0: anybody could read it."""
    right = world.encrypted("ada").data
    body = right[packing.HEAD_BYTES : -32]
    transparent = body[: len(body) // 2] + bytes(len(body) // 2)
    bound = right[packing.HEAD_BYTES - packing.BOUND_BYTES : packing.HEAD_BYTES]
    return {**world.body("ada"), "record": to_base64(frame(Kind.RECORD, bound, transparent))}


def broken(field: str, how: Any) -> Any:
    def made(world: ScoringWorld) -> dict[str, Any]:
        body: dict[str, Any] = dict(world.body("ada"))
        body[field] = how(body[field])
        return body

    return made


def flipped(text: str) -> str:
    raw = bytearray(base64.b64decode(text))
    raw[len(raw) // 2] ^= 1
    return to_base64(bytes(raw))


HOSTILE: list[tuple[Any, str, str]] = [
    (elsewhere, "bad_score_record", "record"),
    (anothers, "bad_score_record", "record"),
    (open_to_all, "bad_score_record", "record"),
    (broken("record", flipped), "bad_score_record", "record"),
    (broken("material", flipped), "bad_score_record", "material"),
    (broken("record", lambda text: text[:-8]), "bad_score_record", "record"),
    (broken("material", lambda _: ""), "bad_score_record", "material"),
    (broken("record", lambda _: None), "bad_parameter", "record"),
    (broken("material", lambda _: {"a": 1}), "bad_parameter", "material"),
    (broken("record", lambda _: "%%%"), "bad_parameter", "record"),
    (lambda world: {**world.body("ada"), "score": "3.0"}, "bad_parameter", "body.score"),
]


DAILY = [each[0] for each in HOSTILE[:6]] + [HOSTILE[8][0]]
"""Each way in which a ciphertext is not its owner's, one that was cut, and what is no text at all."""


@pytest.mark.parametrize(("made", "code", "field"), daily_rows(HOSTILE, DAILY))
def test_what_no_owner_made_is_refused_and_the_record_before_it_stays(
    world: ScoringWorld, made: Any, code: str, field: str
) -> None:
    world.hand_in("ada")
    before = state(world)
    found = problem(hand_in(world, made(world), account("ada")))
    assert (found["code"], found["field"]) == (code, field)
    assert state(world) == before


# --- who is scored, and when


def test_nobody_is_scored_before_the_seal_is_final(world: ScoringWorld) -> None:
    world.hand_in("ada")
    request = world.opened("early", MODEL)
    for stage in (Stage.FUNDED, Stage.FROZEN):
        world.advance(request, stage)
        assert world.scored() == 0
        assert problem(world.score(request, "ada"), 404)["code"] == "no_score"
    world.advance(request, Stage.SEALED)
    mine = world.operator.scoring
    slow = Chain(
        world.market.world.node_url,
        world.market.world.manifest,
        finality=Finality(confirmations=64, use_tag=False),
    )
    careful = Rounds(
        slow, world.operator.database, mine.rounds.dictionaries, mine.rounds.files, mine.models
    )
    with capture_logs() as logs:
        assert careful.step() == 0
    waits = {"event": "scoring_waits", "request": request, "code": "not_yet_final"}
    assert [{**waits, "log_level": "warning"}] == logs
    assert problem(world.score(request, "ada"), 404)["code"] == "no_score"
    assert world.scored() == 1
    assert world.score(request, "ada").status_code == 200


def opened_score(world: ScoringWorld, request: str, name: str, record: Any) -> Decimal:
    """As its owner opens it."""
    found = shown("/requests/{request_id}/score", "post", world.score(request, name))
    score = EncryptedScore.from_bytes(base64.b64decode(found["score"]))
    assert found["record"] == to_hex(score.record) == to_hex(record.hash)
    assert found["model"] == to_hex(MODEL.hash)
    systolic, smoker = VALUES[name]
    values = {"systolic": systolic, "smoker=1": int(smoker == "yes")}
    return open_score(key_of(name)[0], score, MODEL, record, values).for_the_owner()


def test_just_the_sealed_members_who_handed_in_and_still_take_part_are_scored(
    world: ScoringWorld,
) -> None:
    records = {name: world.hand_in(name) for name in ("ada", "ben", "cleo", "dan", "finn")}
    request = world.opened("just these", MODEL)
    world.revoke("dan")  # before the seal
    world.rest("finn")  # whose consent stands, and whose record is here
    world.advance(request, Stage.SEALED)
    cohort = world.operator.chain.sealed_cohort(bytes.fromhex(request[2:])).patients
    assert sorted(cohort) == sorted(account(n).address for n in ("ada", "ben", "cleo", "eve"))
    world.revoke("cleo")  # after it, and before anything is scored
    assert world.scored() == 2
    late = world.hand_in("eve")
    assert world.scored() == 0
    for name in ("ada", "ben"):
        assert opened_score(world, request, name, records[name]) == truth(name)
    for name in ("cleo", "dan", "eve", "finn"):
        assert problem(world.score(request, name), 404)["code"] == "no_score"
    listed = shown(
        "/datasets/{dataset}/scores",
        "post",
        world.post(f"/datasets/{world.dataset}/scores", {}, account("ben")),
    )
    assert [(each["request"], each["state"], each["title"]) for each in listed["scores"]] == [
        (request, SCORED, "Strain")
    ]
    world.wake("finn")
    second = world.sealed("the next", MODEL)
    assert world.scored() == 4
    assert opened_score(world, second, "finn", records["finn"]) == truth("finn")
    assert opened_score(world, second, "eve", late) == truth("eve")


def test_nobody_but_its_patient_fetches_a_score_and_a_researcher_never(world: ScoringWorld) -> None:
    world.hand_in("ada")
    request = world.sealed("mine alone", MODEL)
    world.scored()
    assert world.score(request, "ada").status_code == 200
    path = f"/requests/{request}/score"
    others = account("never handed in"), account("a passer-by")
    for signer in (world.researcher, *others):
        assert problem(world.post(path, {}, signer), 404)["code"] == "no_score"
    assert problem(world.post(path, {}), 401)["code"] == "unauthenticated"
    researchers = world.post(f"/datasets/{world.dataset}/scores", {}, world.researcher)
    assert researchers.get_json() == {"record": None, "scores": []}


class Killed(BaseException):
    """As the process would be: nothing catches it."""


def killed(*_: Any) -> bool:
    raise Killed


def test_a_score_that_a_crash_took_is_made_again_to_the_byte_and_stays(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hand_in("ada")
    request, patient = world.sealed("crash", MODEL), account("ada").address
    rounds, database = world.operator.scoring.rounds, world.operator.database
    with monkeypatch.context() as dying:  # after the file, before the row
        dying.setattr(type(database), "who_handed_in", lambda *_: {patient})
        dying.setattr(type(database), "end_score", killed)
        with pytest.raises(Killed):
            rounds.step()
    first = rounds.files.score(world.dataset, patient, request)
    assert first is not None
    row = database.score(request, patient)
    assert row is not None
    assert row.state == DUE
    rounds.files.forget_score(world.dataset, patient, request)  # as if it had died before the file
    world.scored()
    assert rounds.files.score(world.dataset, patient, request) == first
    world.hand_in("ada")  # another record: this request's score is made
    assert world.scored() == 0
    assert rounds.files.score(world.dataset, patient, request) == first


def test_a_kept_score_is_not_made_anew_from_another_record(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.hand_in("ada")
    request, patient = world.sealed("replaced", MODEL), account("ada").address
    database = world.operator.database
    with monkeypatch.context() as dying:
        dying.setattr(type(database), "who_handed_in", lambda *_: {patient})
        dying.setattr(type(database), "end_score", killed)
        with pytest.raises(Killed):
            world.operator.scoring.rounds.step()
    world.hand_in("ada")
    world.scored()
    row = database.score(request, patient)
    assert row is not None
    assert (row.state, row.record) == (SCORED, to_hex(before.hash))
    assert opened_score(world, request, "ada", before) == truth("ada")


def test_a_step_ends_in_time_and_the_next_goes_on(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ada", "ben", "eve"):
        world.hand_in(name)
    world.sealed("bounded", MODEL)
    three = {account(name).address for name in ("ada", "ben", "eve")}
    monkeypatch.setattr(type(world.operator.database), "who_handed_in", lambda *_: three)
    monkeypatch.setattr("marketplace.scoring.rounds.STEP_SECONDS", 0.0)
    assert [world.operator.scoring.rounds.step() for _ in range(4)] == [1, 1, 1, 0]


def test_what_cannot_be_scored_fails_alone(world: ScoringWorld) -> None:
    world.hand_in("ada")
    world.hand_in("ben")
    request = world.sealed("fails", MODEL)
    files = world.operator.scoring.rounds.files
    material, record = files.record(world.dataset, account("ada").address) or (b"", b"")
    files.put_record(
        world.dataset, account("ada").address, material, record[:-1] + bytes([record[-1] ^ 1])
    )
    world.scored()
    states = {
        name: [e["state"] for e in world.listed(name)["scores"] if e["request"] == request]
        for name in ("ada", "ben")
    }
    assert states == {"ada": ["failed"], "ben": [SCORED]}
    assert problem(world.score(request, "ada"), 404)["code"] == "no_score"


# --- the researcher's part


def test_the_researcher_gets_noised_presence_counts_and_the_request_settles(
    world: ScoringWorld,
) -> None:
    request = world.opened("whole way", MODEL)
    world.advance(request, Stage.SETTLED)
    row = world.operator.database.computed(request)
    assert row is not None
    question = world.market.question(bytes.fromhex(request[2:]), "score.v1", asked(MODEL))
    room = 3 * question.shares.bound(3)
    members = world.operator.chain.request(bytes.fromhex(request[2:])).members
    found = world.market.opened(row.sealed_result, -room, room + members)
    assert len(found) == 2
    assert all(abs(each - members) <= room for each in found)  # everybody has both values
    receipt = world.client.get(f"/api/v1/requests/{request}/receipt").get_json()
    assert receipt["request"] == request
    world.hand_in("ada")
    world.scored()  # a settled request is scored, too: see below


def test_a_settled_request_is_scored_and_one_that_was_never_sealed_is_not(
    world: ScoringWorld,
) -> None:
    record = world.hand_in("ada")
    request = world.opened("settled first", MODEL)
    world.advance(request, Stage.SETTLED)
    world.scored()
    assert opened_score(world, request, "ada", record) == truth("ada")


# --- whoever stops is scored no more


def test_what_was_kept_is_destroyed_once_a_revocation_is_final(world: ScoringWorld) -> None:
    world.forget()  # who stopped in another test
    world.hand_in("ben")
    request = world.sealed("ben stops", MODEL)
    world.scored()
    assert world.score(request, "ben").status_code == 200
    mine = world.files_of("ben")
    assert len(mine) >= 2
    assert {Path(name).suffix for name in mine} == {"", ".score"}
    kept = {name: (world.storage / name).read_bytes() for name in mine}
    others = [name for name in world.files if name not in mine]
    world.revoke("ben")
    world.forget()
    assert world.files == others
    assert world.listed("ben") == {"record": None, "scores": []}
    assert problem(world.score(request, "ben"), 404)["code"] == "no_score"
    assert problem(hand_in(world, world.body("ben"), account("ben")))["code"] == "no_consent"
    for name, content in kept.items():  # a backup brings the files back
        (world.storage / name).parent.mkdir(exist_ok=True)
        (world.storage / name).write_bytes(content)
    assert world.files_of("ben") == mine
    world.forget()
    assert world.files == others


def test_what_is_handed_in_after_a_new_consent_stays(world: ScoringWorld) -> None:
    world.grant("ben")
    record = world.hand_in("ben")
    world.forget()
    assert world.listed("ben")["record"] == to_hex(record.hash)
    request = world.sealed("ben again", MODEL)
    world.scored()
    assert opened_score(world, request, "ben", record) == truth("ben")


def test_scores_of_before_a_revocation_go_though_the_patient_is_back_by_then(
    world: ScoringWorld,
) -> None:
    world.hand_in("ben")
    request = world.sealed("ben before", MODEL)
    world.scored()
    assert world.score(request, "ben").status_code == 200
    world.revoke("ben", world._sequence("ben"))
    world.grant("ben")
    record = world.hand_in("ben")
    world.forget()
    assert problem(world.score(request, "ben"), 404)["code"] == "no_score"
    assert world.listed("ben") == {"record": to_hex(record.hash), "scores": []}
    again = world.sealed("ben after", MODEL)
    world.scored()
    world.forget()
    assert opened_score(world, again, "ben", record) == truth("ben")


def test_whose_consent_ran_out_by_the_clock_is_not_scored(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain itself says so only once somebody freezes or tidies."""
    record = world.hand_in("ada")
    request = world.sealed("run out", MODEL)
    with monkeypatch.context() as later:
        later.setattr(world.operator.scoring.rounds.chain, "now", lambda: 2**40 - 1)
        world.scored()
    assert problem(world.score(request, "ada"), 404)["code"] == "no_score"
    world.scored()
    assert problem(world.score(request, "ada"), 404)["code"] == "no_score"
    second = world.sealed("not run out", MODEL)
    world.scored()
    assert opened_score(world, second, "ada", record) == truth("ada")


def test_an_erasure_destroys_record_material_and_scores(world: ScoringWorld) -> None:
    world.hand_in("eve")
    world.sealed("eve goes", MODEL)
    world.scored()
    patient = account("eve")
    assert {Path(name).suffix for name in world.files_of("eve")} == {"", ".score"}
    world.market.world.erase(patient)
    world.forget()
    assert world.files_of("eve") == []
    assert problem(hand_in(world, world.body("eve"), patient))["code"] == "no_record"


def test_who_is_destroyed_while_being_scored_leaves_nothing(
    world: ScoringWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.hand_in("finn")
    request, patient = world.sealed("finn goes", MODEL), account("finn").address
    database, files = world.operator.database, world.operator.scoring.rounds.files
    end = type(database).end_score

    def late(self: Any, *arguments: Any) -> bool:
        files.forget(world.dataset, patient)
        database.forget_scoring(world.dataset, patient)
        return end(self, *arguments)

    due = [each.patient for each in database.due_scores(99)]
    assert due == []  # planned by the step
    monkeypatch.setattr(type(database), "end_score", late)
    with monkeypatch.context() as only:
        only.setattr(type(database), "who_handed_in", lambda *_: {patient})
        world.scored()
    assert files.score(world.dataset, patient, request) is None
    assert files.record(world.dataset, patient) is None


# --- IND-CPA-D: nothing that was opened ever comes back


def properties(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every property that a schema has, at whatever depth, references followed."""
    if isinstance(schema, list):
        for each in schema:
            yield from properties(each)
    if not isinstance(schema, dict):
        return
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from properties(DOCUMENT["components"]["schemas"][name])
    for name, each in schema.get("properties", {}).items():
        yield name, each
    for each in schema.values():
        yield from properties(each)


def told(operation: Any) -> set[str]:
    """Names in what an operation answers."""
    return {name for name, _ in properties(operation["responses"]["200"])}


def test_no_route_takes_or_gives_an_opened_score(world: ScoringWorld) -> None:
    """By the description, which other tests hold to be every route, and what each takes and answers."""
    operations = {
        (path.removeprefix("/api/v1"), method): each
        for path, methods in DOCUMENT["paths"].items()
        for method, each in methods.items()
    }
    taken = {
        at: {name for name, _ in properties(each.get("requestBody", {}))}
        for at, each in operations.items()
    }
    given = {at: told(each) for at, each in operations.items()}
    assert {at for at, names in taken.items() if names & {"score", "scores"}} == set()
    one, listed = "/requests/{request_id}/score", "/datasets/{dataset}/scores"
    assert {at for at, names in given.items() if names & {"score", "scores"}} == {
        (one, "post"),
        (listed, "post"),
    }
    assert taken["/datasets/{dataset}/score-records", "post"] == {"material", "record"}
    assert given["/datasets/{dataset}/score-records", "post"] == {"record"}
    assert given[one, "post"] == {"request", "model", "record", "score"}
    assert given[listed, "post"] == {"record", "scores", "request", "model", "state", "title"}
    assert taken[one, "post"] == taken[listed, "post"] == set()
    # And what is given is the ciphertext as it is kept, byte for byte.
    world.hand_in("ada")
    request = world.sealed("given", MODEL)
    world.scored()
    found = base64.b64decode(world.score(request, "ada").get_json()["score"])
    (kept,) = world.storage.rglob(f"*-{account('ada').address[2:].lower()}/{request[2:]}.score")
    assert found == kept.read_bytes()
    assert EncryptedScore.from_bytes(found).model == MODEL.hash


def test_what_is_opened_is_in_no_byte_that_the_operator_took_gave_or_kept(
    world: ScoringWorld,
) -> None:
    telling = model("Telling", intercept="-314.15926")
    world.publish(telling)
    record = world.hand_in("ada")
    request = world.sealed("telling", telling)
    world.scored()
    world.traffic.clear()
    world.hears = True
    raw = base64.b64decode(world.score(request, "ada").get_json()["score"])
    score = EncryptedScore.from_bytes(raw)
    assert len(world.traffic) == 2
    values = {"systolic": 100, "smoker=1": 0}
    opened = open_score(key_of("ada")[0], score, telling, record, values).for_the_owner()
    assert opened == Decimal("-315.159")
    assert len(world.traffic) == 2  # opening asks nobody
    world.hears = False
    data = world.operator.config.data
    kept = b"".join(path.read_bytes() for path in data.rglob("*") if path.is_file())
    for said in ("-315.159", "315.159", "315.15926"):
        assert said.encode() not in b"".join(world.traffic)
        assert said.encode() not in kept


def test_the_operator_has_no_key_that_opens_anything(world: ScoringWorld) -> None:
    secrets = {name: key_of(name)[0].to_bytes() for name in ("ada", "ben")}
    data = world.operator.config.data
    for path in data.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert all(secret[400:464] not in content for secret in secrets.values()), path
    assert OwnerKey.from_bytes(secrets["ada"]).material == key_of("ada")[1].hash


def test_refusals_of_the_follower_leave_it_where_it_was(world: ScoringWorld) -> None:
    class Down(Chain):
        def finalized(self) -> int:
            raise Refusal(code="node_unreachable", message="no", remedy="no")

    custody = world.market.world
    forgetting = replace(
        world.operator.scoring.forgetting, chain=Down(custody.node_url, custody.manifest)
    )
    before = world.files
    refused("node_unreachable", forgetting.catch_up)
    assert world.files == before
