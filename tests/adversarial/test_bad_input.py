"""The bad-input list: each is refused by name with a remedy, changes nothing, and loses nothing.

FHIR, units and values outside the dictionary are refused where the record is sealed, before anything
is sent. Dead and lying custodians are in test_custody_liars.py and test_custody.py.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from marketplace.api import create_app
from marketplace.chain.adapter import ContractRefusal
from marketplace.config import load_config
from marketplace.errors import Refusal
from marketplace.operator import Worker, build_operator
from marketplace.wire.eip712 import HALF_ORDER
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.record import dump
from marketplace.wire.structs import Grant, sign
from tests.support.api_world import PREFIX, ApiWorld, api_world, problem
from tests.support.chain_world import TERMS, account
from tests.support.mutations import with_value

ORDER = 2 * HALF_ORDER + 1
FULL_PAGES = 24
"""Of 4 KB: the empty schema fits, and a few records."""
MOST = 30


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("bad")) as made:
        yield made


@contextmanager
def unchanged(world: ApiWorld) -> Iterator[None]:
    """What happens within changes no balance, meter, consent, row or file."""
    before = world.state()
    consents = [
        world.operator.reads.consent(world.custody.dataset, p.address) for p in world.patients
    ]
    yield
    assert world.state() == before
    after = [world.operator.reads.consent(world.custody.dataset, p.address) for p in world.patients]
    assert after == consents


def sole_refusal(response: Any, field: str | None) -> Any:
    """The one outcome of a batch of one, refused with code, words, remedy and field."""
    assert response.status_code == 200, response.get_data(as_text=True)
    (outcome,) = response.get_json()["outcomes"]
    assert outcome["outcome"] == "refused", outcome
    assert outcome["detail"]
    assert outcome["remedy"]
    assert outcome["field"] == field
    return outcome


def twin(signature: str) -> str:
    """The malleated other half of a signature (EIP-2)."""
    raw = bytes.fromhex(signature[2:])
    s = ORDER - int.from_bytes(raw[32:64], "big")
    return to_hex(raw[:32] + s.to_bytes(32, "big") + bytes([55 - raw[64]]))


# --- records


def record_with(world: ApiWorld, **changes: Any) -> dict[str, Any]:
    entry = world.upload_entry(account("bad record"))
    return {**entry, "record": {**entry["record"], **changes}}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"commitment": "0x" + "00" * 32}, "commitment"),
        ({"box": to_base64(bytes(64))}, "commitment"),
        ({"box": "?"}, "box"),
        ({"box": to_base64(bytes(65 * 1024))}, "box"),
        ({"key_commitments": ["0x02"]}, "key_commitments[0]"),
        ({"shares": []}, "shares"),
        ({"lane": 9}, "lane"),
        ({"schema": "usufruct-record/2"}, "schema"),
        ({"surprise": 1}, "schema"),
    ],
)
def test_a_record_that_does_not_match_its_commitment_is_refused(
    world: ApiWorld, changes: dict[str, Any], field: str
) -> None:
    entry = record_with(world, **changes)
    with unchanged(world):
        outcome = sole_refusal(world.post("/records", {"entries": [entry]}), field)
        assert outcome["code"] == "record_unreadable"


def test_an_attestation_of_another_record_is_refused(world: ApiWorld) -> None:
    entry = world.upload_entry(account("bad record"))
    other = world.sealed(account("bad record"), 140)
    with unchanged(world):
        entry["record"] = json.loads(dump(other))
        outcome = sole_refusal(world.post("/records", {"entries": [entry]}), "record.commitment")
        assert outcome["code"] == "attestation_mismatch"


def test_a_record_copied_under_another_patient_is_refused(world: ApiWorld) -> None:
    stolen = world.custody.records[world.patients[0].address]
    entry = world.upload_entry(account("thief"), stolen)
    with unchanged(world):
        sole_refusal(world.post("/records", {"entries": [entry]}), "record.patient")


def test_a_record_for_another_chain_is_refused(world: ApiWorld) -> None:
    patient = account("bad record")
    record = world.sealed(patient)
    moved = replace(record, context=replace(record.context, chain_id=1))
    entry = world.upload_entry(patient, moved)
    with unchanged(world):
        sole_refusal(world.post("/records", {"entries": [entry]}), "record.chain_id")


@pytest.mark.parametrize(
    ("changes", "field", "code"),
    [
        ({"issuer": account("stranger")}, "attestation.issuer", "unknown_issuer"),
        ({"deadline": 1}, "attestation.deadline", "attestation_expired"),
        ({"version": 2}, "record.record_version", "attestation_mismatch"),
    ],
)
def test_an_attestation_that_does_not_count_keeps_nothing(
    world: ApiWorld, changes: dict[str, Any], field: str, code: str
) -> None:
    entry = world.upload_entry(account("unattested"), **changes)
    with unchanged(world):
        assert sole_refusal(world.post("/records", {"entries": [entry]}), field)["code"] == code


@pytest.mark.parametrize(
    "forge",
    [
        twin,
        lambda signature: signature[:-2] + "00",
        lambda signature: "0x" + "11" * 65,
        lambda signature: "0x",
    ],
)
def test_an_attestation_with_a_forged_or_malleated_signature_is_refused(
    world: ApiWorld, forge: Callable[[str], str]
) -> None:
    entry = world.upload_entry(account("unattested"))
    entry["issuer_signature"] = forge(entry["issuer_signature"])
    with unchanged(world):
        outcome = sole_refusal(world.post("/records", {"entries": [entry]}), "signature")
        assert outcome["code"] == "bad_signature"


def test_an_attestation_signed_for_another_contract_is_refused(world: ApiWorld) -> None:
    domain = replace(world.operator.chain.domain("DatasetRegistry"), chain_id=1)
    entry = world.upload_entry(account("unattested"), domain=domain)
    with unchanged(world):
        outcome = sole_refusal(world.post("/records", {"entries": [entry]}), "signature")
        assert outcome["code"] == "bad_signature"


def test_a_record_sent_again_changes_nothing(world: ApiWorld) -> None:
    patient = world.patients[0]
    entry = world.upload_entry(patient, world.custody.records[patient.address])
    with unchanged(world):
        (outcome,) = world.post("/records", {"entries": [entry]}).get_json()["outcomes"]
        assert outcome["outcome"] == "stored"


def test_a_second_record_of_one_person_is_refused_and_the_rest_is_stored(world: ApiWorld) -> None:
    first, second = account("one person"), account("one person's other address")
    person = bytes([7]) * 32
    entries = [world.upload_entry(each, person=person) for each in (first, second)]
    given = world.post("/records", {"entries": entries}).get_json()["outcomes"]
    assert [each["outcome"] for each in given] == ["stored", "refused"]
    assert given[1]["code"] == "person_has_record"
    assert given[1]["remedy"]
    reads, dataset = world.operator.reads, world.custody.dataset
    assert reads.consent(dataset, second.address)["record"]["version"] == 0
    assert reads.consent(dataset, first.address)["record"]["version"] == 1


@pytest.mark.parametrize("systolic", [59, 261])
def test_a_value_outside_the_dictionary_is_never_sealed_nor_said(
    world: ApiWorld, systolic: int
) -> None:
    with unchanged(world), pytest.raises(Refusal) as caught:
        world.custody.seal_record(account("bad").address, {"systolic": Decimal(systolic)})
    assert "systolic" in str(caught.value)
    assert str(systolic) not in str(caught.value)


# --- consents


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"deadline": 1}, "message_expired"),
        ({"sequence": 7}, "wrong_sequence"),
        ({"definition": bytes(32)}, "wrong_definition"),
        ({"expiry": 1}, "expiry_too_soon"),
    ],
)
def test_a_grant_that_the_contract_cannot_take_is_refused(
    world: ApiWorld, changes: dict[str, Any], code: str
) -> None:
    message = world.grant_message(world.patients[0], **{"sequence": 2, **changes})
    with unchanged(world):
        outcome = world.post("/messages", {"messages": [message]}).get_json()["outcomes"][0]
        assert (outcome["outcome"], bool(outcome["remedy"])) == ("refused", True)
        assert outcome["code"] in (code, "deadline_passed", "signature_expired")


def test_a_replayed_grant_is_refused(world: ApiWorld) -> None:
    message = world.grant_message(world.patients[0])
    with unchanged(world):
        outcome = world.post("/messages", {"messages": [message]}).get_json()["outcomes"][0]
        assert outcome["code"] == "wrong_sequence"


@pytest.mark.parametrize("way", ["foreign", "malleated", "altered", "another chain"])
def test_a_grant_that_its_patient_did_not_sign_is_refused(world: ApiWorld, way: str) -> None:
    message = world.grant_message(world.patients[0], sequence=2)
    if way == "foreign":
        message["signature"] = world.grant_message(world.patients[1], sequence=2)["signature"]
    elif way == "malleated":
        message["signature"] = twin(message["signature"])
    elif way == "altered":
        message = with_value(message, ("message", "cap"), str(10**9))
    else:
        message = _grant_elsewhere(world)
    with unchanged(world):
        outcome = world.post("/messages", {"messages": [message]}).get_json()["outcomes"][0]
        assert outcome["outcome"] == "refused"
        assert "signature" in outcome["code"]


def _grant_elsewhere(world: ApiWorld) -> dict[str, Any]:
    message = world.grant_message(world.patients[0], sequence=2)
    grant = Grant.from_json(message["message"])
    domain = replace(world.operator.chain.domain("ConsentRegistry"), chain_id=1)
    return {**message, "signature": to_hex(sign(grant, domain, world.patients[0]))}


def test_one_bad_message_does_not_sink_the_rest(world: ApiWorld) -> None:
    bad = world.grant_message(world.patients[0], sequence=9)
    good = world.grant_message(world.patients[1], sequence=2)
    given = world.post("/messages", {"messages": [bad, good]}).get_json()["outcomes"]
    assert [each["outcome"] for each in given] == ["refused", "relayed"]


# --- requests


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"price": 0}, "price_below_floor"),
        ({"cost": 2_000_000}, "cost_above_class"),
        ({"dataset": bytes(30) + bytes(2)}, None),
        ({"seal_deadline": 1}, None),
        ({"price": 10**9, "max_patients": 2**31}, None),
    ],
)
def test_terms_that_the_market_does_not_take_cost_nothing(
    world: ApiWorld, changes: dict[str, Any], code: str | None
) -> None:
    with unchanged(world), pytest.raises(Refusal) as caught:
        world.custody.open(world.terms("not taken", **changes))
    assert caught.value.remedy
    assert code is None or (isinstance(caught.value, ContractRefusal) and caught.value.code == code)


def test_an_unknown_analysis_is_refused_before_payment(world: ApiWorld) -> None:
    body = world.submission("unknown", analysis=bytes([1]) * 32)
    with unchanged(world):
        assert problem(world.post_signed(body))["field"] == "analysis"
        assert (
            problem(world.post("/quotes", world.quote(analysis="mean.v9")))["field"] == "analysis"
        )


def test_a_cohort_under_the_minimum_is_refused_and_paid_back(world: ApiWorld) -> None:
    sender, chain = world.custody.sender, world.operator.chain
    sender.send("DatasetRegistry", "publishClass", world.custody.dataset, TERMS)  # nobody consents
    terms = world.terms("few", classes=(2,))
    body = {"terms": terms.to_json(), "parameters": {"variable": "systolic"}}
    request = world.post_signed(body).get_json()["request"]
    before = chain.liabilities().escrows
    world.custody.open(terms)
    world.custody.tick()
    assert world.operator.pipeline.advance(request) == "refused"
    reason = world.get(f"/requests/{request}").get_json()["reason"]
    assert reason["code"] == "cohort_too_small"
    assert reason["remedy"]
    assert chain.liabilities().escrows == before + terms.escrow  # still the researcher's to cancel
    sender.send("ResearchMarket", "cancel", bytes.fromhex(request[2:]))
    assert chain.liabilities().escrows == before


# --- a full disk


def test_a_full_disk_is_said_changes_nothing_and_loses_nothing(world: ApiWorld) -> None:
    config = json.loads(world.config_path.read_text())
    path = world.config_path.with_name("full.json")
    path.write_text(json.dumps({**config, "data": "full", "database_max_pages": FULL_PAGES}))
    operator = build_operator(load_config(path))
    client = create_app(operator, Worker(operator)).test_client()
    entries = [world.upload_entry(account(f"full {i}")) for i in range(MOST)]
    outcomes = []
    try:
        response = client.post(f"{PREFIX}/records", json={"entries": entries})
        found = problem(response, 507)
        assert found["code"] == "storage_full"
        assert "Free disk space" in found["remedy"]
        reads, dataset = world.operator.reads, world.custody.dataset
        for i in range(MOST):
            version = reads.consent(dataset, account(f"full {i}").address)["record"]["version"]
            outcomes.append(version)
    finally:
        operator.database.engine.dispose()
    assert outcomes == [0] * MOST  # nothing reached the chain
    again = world.post("/records", {"entries": entries[:2]}).get_json()["outcomes"]
    assert [each["outcome"] for each in again] == ["stored", "stored"]
