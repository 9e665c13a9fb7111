"""The bad-input list: each is refused by name with a remedy, changes nothing, and loses nothing.

FHIR, units and values outside the dictionary are refused where the record is sealed, before anything
is sent. Dead and lying custodians are in test_custody_liars.py and test_custody.py.
"""

import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.api import create_app
from marketplace.chain.adapter import ContractRefusal
from marketplace.chain.funding import fund
from marketplace.chain.sender import Sender
from marketplace.client import Ask
from marketplace.config import load_config
from marketplace.errors import Refusal
from marketplace.operator import Operator, Worker, build_operator
from marketplace.sealing.seal import CustodianKey, seal_row
from marketplace.vocabulary import CustodianIndex, Epoch
from marketplace.wire import hpke
from marketplace.wire.eip712 import HALF_ORDER
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.record import SealedRecord, dump
from marketplace.wire.structs import Grant, sign
from tests.support.api_world import PREFIX, ApiWorld, api_world, market_of, problem
from tests.support.chain_world import PAGE, TERMS, account
from tests.support.mutations import with_value
from tests.support.nodes import EMBEDDED_KEY

ORDER = 2 * HALF_ORDER + 1
SPARE_PAGES = 6
"""Of 4 KB, beside the empty schema: a few records fit, and not all."""
MOST = 20


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


@pytest.mark.parametrize("field", ["shares", "epoch", "key_commitments"])
def test_a_record_sealed_for_another_committee_is_refused_and_the_rest_is_stored(
    world: ApiWorld, field: str
) -> None:
    """The attestation covers neither shares nor epoch: whoever carries the record could cut them."""
    patient = account(f"wrong {field}")
    entry = world.upload_entry(patient, sealed_elsewhere(world, patient, field))
    with unchanged(world):
        outcome = sole_refusal(world.post("/records", {"entries": [entry]}), f"record.{field}")
        assert outcome["code"] == "wrong_committee"
        assert "`usufruct seal`" in outcome["remedy"]
    good = world.upload_entry(account(f"beside wrong {field}"))
    given = world.post("/records", {"entries": [entry, good]}).get_json()["outcomes"]
    assert [each["outcome"] for each in given] == ["refused", "stored"]
    if field != "key_commitments":  # which the commitment covers, so that nobody can change them
        whole = world.upload_entry(patient, world.custody.records[patient.address])
        (outcome,) = world.post("/records", {"entries": [whole]}).get_json()["outcomes"]
        assert outcome["outcome"] == "stored"


def sealed_elsewhere(world: ApiWorld, patient: LocalAccount, field: str) -> SealedRecord:
    """A record whose `field` is not what the current committee of 2 of 3 in epoch 1 needs."""
    record = world.sealed(patient)
    if field == "shares":
        return replace(record, shares=record.shares[:2])
    if field == "epoch":
        return replace(record, epoch=Epoch(2))
    seats = [
        CustodianKey(CustodianIndex(member.place + 1), member.keys[1])
        for member in world.operator.chain.committee().members
    ]
    values = {"systolic": Decimal(120), "smoker": "no"}
    dictionary = world.custody.dictionary
    return seal_row(dictionary, values, record.context, seats, Epoch(1), 3)


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
        entries = [entry, world.upload_entry(patient, moved_on(world, patient))]
        given = world.post("/records", {"entries": entries}).get_json()["outcomes"]
        assert [each["outcome"] for each in given] == ["stored", "stored"]


def moved_on(world: ApiWorld, patient: LocalAccount) -> SealedRecord:
    """The same record in use, as a later committee would look at it: of another epoch."""
    return replace(world.custody.records[patient.address], epoch=Epoch(9))


def test_a_second_record_of_one_person_is_refused_and_the_rest_is_stored(world: ApiWorld) -> None:
    first, second = account("one person"), account("one person's other address")
    person = bytes([7]) * 32
    entries = [world.upload_entry(each, person=person) for each in (first, second)]
    given = world.post("/records", {"entries": entries}).get_json()["outcomes"]
    assert [each["outcome"] for each in given] == ["stored", "refused"]
    assert (given[1]["code"], given[1]["field"]) == ("person_has_record", "attestation.person")
    assert f"0x{person.hex()} and the address {first.address} belong together" in given[1]["detail"]
    assert second.address not in given[1]["detail"]
    assert "`usufruct rotate`" in given[1]["remedy"]
    reads, dataset = world.operator.reads, world.custody.dataset
    assert reads.consent(dataset, second.address)["record"]["version"] == 0
    assert reads.consent(dataset, first.address)["record"]["version"] == 1


def test_an_address_of_one_person_is_not_said_to_be_another_ones(world: ApiWorld) -> None:
    owner, mine, another = account("whose address this is"), bytes([8]) * 32, bytes([9]) * 32
    stored = world.upload_entry(owner, person=mine)
    (first,) = world.post("/records", {"entries": [stored]}).get_json()["outcomes"]
    assert first["outcome"] == "stored"
    entry = world.upload_entry(owner, world.sealed(owner, version=2), person=another)
    outcome = sole_refusal(world.post("/records", {"entries": [entry]}), "attestation.person")
    assert outcome["code"] == "person_has_record"
    assert f"0x{mine.hex()} and the address {owner.address} belong together" in outcome["detail"]
    assert another.hex() not in outcome["detail"]


@pytest.mark.parametrize("systolic", [59, 261])
def test_a_value_outside_the_dictionary_is_never_sealed_nor_said(
    world: ApiWorld, systolic: int
) -> None:
    with unchanged(world), pytest.raises(Refusal) as caught:
        world.custody.seal_record(account("bad").address, {"systolic": Decimal(systolic)})
    assert (caught.value.code, caught.value.field) == ("out_of_dictionary", "systolic")
    assert caught.value.remedy
    assert str(systolic) not in str(caught.value)


# --- consents


@pytest.mark.parametrize(
    ("changes", "code", "field", "remedy"),
    [
        ({"deadline": 1}, "deadline_passed", "deadline", "Sign a new one"),
        ({"sequence": 7}, "wrong_sequence", "sequence", "sign with the sequence"),
        ({"definition": bytes(32)}, "wrong_definition", "definition", "published terms"),
        ({"expiry": 1}, "expiry_too_soon", "expiry", "Choose an expiry"),
        ({"cap": 1}, "budget_too_small", "cap", "higher cap"),
        ({"cap": 2**56 - 1}, "cap_too_large", "cap", "lower cap"),
        ({"class_": b"\1" * 30 + b"\0\1"}, "class_outside_dataset", "class", "of this dataset"),
    ],
)
def test_a_grant_that_the_contract_cannot_take_is_refused(
    world: ApiWorld, changes: dict[str, Any], code: str, field: str, remedy: str
) -> None:
    message = world.grant_message(world.patients[0], **{"sequence": 2, **changes})
    with unchanged(world):
        outcome = sole_refusal(world.post("/messages", {"messages": [message]}), field)
        assert outcome["code"] == code
        assert remedy in outcome["remedy"]


def test_a_replayed_grant_is_refused(world: ApiWorld) -> None:
    message = world.grant_message(world.patients[0])
    with unchanged(world):
        outcome = sole_refusal(world.post("/messages", {"messages": [message]}), "sequence")
        assert outcome["code"] == "wrong_sequence"
        assert "sequence that it shows now" in outcome["remedy"]


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
        outcome = sole_refusal(world.post("/messages", {"messages": [message]}), "signature")
        assert outcome["code"] == "bad_signature"
        assert "for this chain and contract" in outcome["remedy"]


def _grant_elsewhere(world: ApiWorld) -> dict[str, Any]:
    message = world.grant_message(world.patients[0], sequence=2)
    grant = Grant.from_json(message["message"])
    domain = replace(world.operator.chain.domain("ConsentRegistry"), chain_id=1)
    return {**message, "signature": to_hex(sign(grant, domain, world.patients[0]))}


def test_one_bad_message_does_not_sink_the_rest(world: ApiWorld) -> None:
    bad = world.grant_message(world.patients[0], sequence=9)
    good = world.grant_message(world.patients[1], sequence=2)
    unread = {**good, "kind": "gift"}
    answer = world.post("/messages", {"messages": [unread, bad, good]})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    given = answer.get_json()["outcomes"]
    assert [each["outcome"] for each in given] == ["refused", "refused", "relayed"]
    assert [each["kind"] for each in given] == [None, "grant", "grant"]
    assert (given[0]["code"], given[0]["field"]) == ("malformed_message", "messages[0].kind")


# --- requests


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"price": 0}, "price_below_floor", "price"),
        ({"cost": 2_000_000}, "cost_above_class", "cost"),
        ({"dataset": bytes(32)}, "unknown_class", "class"),
        ({"seal_deadline": 1}, "terms_invalid", "sealDeadline"),
        ({"max_patients": 1}, "terms_invalid", "maxPatients"),
        (
            {"price": 10**9, "max_patients": 2**31},
            "erc20_insufficient_allowance",
            "allowance",
        ),
    ],
)
def test_terms_that_the_market_does_not_take_cost_nothing(
    world: ApiWorld, changes: dict[str, Any], code: str, field: str
) -> None:
    with unchanged(world), pytest.raises(Refusal) as caught:
        world.custody.open(world.terms("not taken", **changes))
    assert (caught.value.code, caught.value.field) == (code, field)
    assert caught.value.remedy


@pytest.fixture(scope="module")
def poor(world: ApiWorld) -> LocalAccount:
    """A credentialed researcher with ether for gas, and with too little of the token."""
    found, sender = account("too poor"), world.custody.sender
    fund(world.operator.chain.node, EMBEDDED_KEY, [found.address], 10**18)
    sender.send("ResearcherRegistry", "give", found.address, world.custody.credential())
    sender.send("TestEuro", "mint", found.address, world.terms("too dear").escrow - 1)
    return found


@pytest.mark.parametrize("way", ["permit", "approval"])
def test_an_underfunded_escrow_is_refused_and_takes_nothing(
    world: ApiWorld, poor: LocalAccount, way: str
) -> None:
    chain, terms = world.operator.chain, world.terms("too dear")
    own = Sender(chain, poor.key)
    if way == "approval":
        own.send("TestEuro", "approve", chain.market, terms.escrow)
    pay: dict[str, Callable[[], object]] = {
        "approval": lambda: own.send("ResearchMarket", "open", terms, [TERMS]),
        "permit": lambda: Ask(market_of(world), poor.key, hpke.generate()).open(terms),
    }
    balance = chain.balance_of(poor.address)
    with unchanged(world), pytest.raises(ContractRefusal) as caught:
        pay[way]()
    assert (caught.value.code, caught.value.field) == ("erc20_insufficient_balance", "balance")
    assert caught.value.remedy == "Pay in, or ask for less."
    assert caught.value.facts["needed"] == terms.escrow == balance + 1
    assert chain.balance_of(poor.address) == balance


def test_an_unknown_analysis_is_refused_before_payment(world: ApiWorld) -> None:
    body = world.submission("unknown", analysis=bytes([1]) * 32)
    with unchanged(world):
        for found in (
            problem(world.post_signed(body)),
            problem(world.post("/quotes", world.quote(analysis="mean.v9"))),
        ):
            assert (found["code"], found["field"]) == ("bad_parameter", "analysis")
            assert "mean.v1" in found["remedy"]


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
    assert (reason["code"], reason["field"]) == ("cohort_too_small", "classes")
    assert "Wait for more consents" in reason["remedy"]
    assert chain.liabilities().escrows == before + terms.escrow  # still the researcher's to cancel
    sender.send("ResearchMarket", "cancel", bytes.fromhex(request[2:]))
    assert chain.liabilities().escrows == before


# --- a full disk


def test_a_full_disk_is_said_changes_nothing_and_loses_nothing(world: ApiWorld) -> None:
    with operator_of_its_own(world, None) as empty, empty.database.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    patients = [account(f"full {i}").address for i in range(MOST)]
    upload = {"entries": [world.upload_entry(account(f"full {i}")) for i in range(MOST)]}
    with operator_of_its_own(world, pages + SPARE_PAGES) as full, unchanged(world):
        for _ in range(2):
            found = problem(posted(full, upload), 507)
            assert (found["code"], found["field"]) == ("storage_full", "disk")
            assert "Free disk space" in found["remedy"]
            assert stored(full) == ([], [])
        assert not any(registered(world, each) for each in patients)
    with operator_of_its_own(world, pages + 1000) as roomy:  # the same data, now with room
        outcomes = posted(roomy, upload).get_json()["outcomes"]
        assert [each["outcome"] for each in outcomes] == ["stored"] * MOST
        assert [len(each) for each in stored(roomy)] == [MOST, MOST]
    assert all(registered(world, each) for each in patients)


@pytest.mark.parametrize("document", ["dictionary", "page"])
def test_a_document_that_a_full_disk_cannot_take_is_refused_and_taken_later(
    world: ApiWorld, document: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_page = document == "page"
    given = PAGE if is_page else world.custody.dictionary
    folder = (world.operator.class_pages if is_page else world.operator.dictionaries).folder
    path = "/class-pages" if is_page else "/dictionaries"
    body = {document: json.loads(given.to_bytes())}
    kept = folder / f"{given.hash().hex()}.json"
    part = kept.with_name(f"{kept.name}.aside.part")
    monkeypatch.setattr(secrets, "token_hex", lambda _: "aside")
    with unchanged(world):
        kept.unlink()
        part.symlink_to("/dev/full")  # which answers every write as a full disk does
        found = problem(world.post(path, body), 507)
        assert (found["code"], found["field"]) == ("storage_full", "disk")
        assert "Free disk space" in found["remedy"]
        assert not part.is_symlink()
        assert not kept.exists()
        assert world.post(path, body).status_code == 200


@contextmanager
def operator_of_its_own(world: ApiWorld, most_pages: int | None) -> Iterator[Operator]:
    """A second operator on the same chain, whose database may have so many pages of 4 KB."""
    config = json.loads(world.config_path.read_text())
    path = world.config_path.with_name("full.json")
    path.write_text(json.dumps({**config, "data": "full", "database_max_pages": most_pages}))
    operator = build_operator(load_config(path))
    try:
        yield operator
    finally:
        operator.database.engine.dispose()


def posted(operator: Operator, upload: dict[str, Any]) -> Any:
    client = create_app(operator, Worker(operator)).test_client()
    return client.post(f"{PREFIX}/records", json=upload)


def stored(operator: Operator) -> tuple[list[Any], list[str]]:
    """Rows and files of records."""
    with operator.database.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM records").fetchall()
    return list(rows), [path.name for path in (operator.config.data / "records").iterdir()]


def registered(world: ApiWorld, patient: str) -> bool:
    """Whether the chain has heard of a record of this patient."""
    found = world.operator.chain.record_of(world.custody.dataset, patient)
    return any(found.commitment) or any(found.pending)
