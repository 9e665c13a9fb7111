"""Records that the chain refuses leave nothing behind, and the same upload succeeds once it can."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import flask
import pytest
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak

from marketplace import peers
from marketplace.chain.adapter import Chain
from marketplace.chain.patience import MOST_REFUSED
from marketplace.chain.reverts import ContractRefusal
from marketplace.chain.sender import BatchOutcome, Sender
from marketplace.intake import Intake, deposits
from marketplace.peers import Peer
from marketplace.records import RecordStore
from tests.support.api_world import ApiWorld, api_world
from tests.support.chain_world import account
from tests.support.custody_world import served
from tests.support.nodes import EMBEDDED_KEY
from tests.support.slow_answers import drip, server_that_sends, sized


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiWorld]:
    with api_world(tmp_path_factory.mktemp("intake")) as made:
        yield made


def outcomes(world: ApiWorld, entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    response = world.post("/records", {"entries": list(entries)})
    assert response.status_code == 200, response.get_data(as_text=True)
    return list(response.get_json()["outcomes"])


def kept(world: ApiWorld) -> tuple[list[Any], list[str]]:
    """Rows and files of records."""
    state = world.state()
    return state["rows"]["records"], state["files"]


def test_a_record_that_the_chain_refuses_leaves_no_row_and_no_file(world: ApiWorld) -> None:
    first = world.upload_entry(account("first"), person=bytes([1]) * 32)
    assert outcomes(world, [first])[0]["outcome"] == "stored"
    before = kept(world)
    second = world.upload_entry(account("second"), person=bytes([1]) * 32)
    (refused,) = outcomes(world, [second])
    assert (refused["outcome"], refused["code"]) == ("refused", "person_has_record")
    assert kept(world) == before


def test_one_refused_record_takes_no_other_with_it(world: ApiWorld) -> None:
    before = len(kept(world)[0])
    good = [world.upload_entry(account(f"good {i}")) for i in range(2)]
    version = world.upload_entry(account("v7"), world.sealed(account("v7"), version=7))
    given = outcomes(world, [good[0], version, good[1]])
    assert [each["outcome"] for each in given] == ["stored", "refused", "stored"]
    assert given[1]["code"] == "wrong_record_version"
    rows, files = kept(world)
    assert len(rows) == len(files) == before + 2


def test_the_same_upload_succeeds_once_the_chain_can_take_it(world: ApiWorld) -> None:
    patient = account("too early")
    second_version = world.upload_entry(patient, world.sealed(patient, version=2))
    assert outcomes(world, [second_version])[0]["code"] == "wrong_record_version"
    first_version = world.upload_entry(patient, world.sealed(patient, version=1))
    assert outcomes(world, [first_version])[0]["outcome"] == "stored"
    assert outcomes(world, [second_version])[0]["outcome"] == "stored"
    assert outcomes(world, [second_version])[0]["outcome"] == "stored"
    record = world.operator.chain.record_of(world.custody.dataset, patient.address)
    assert record.version == 2
    assert world.operator.intake.records.get(record.commitment) is not None


def test_a_record_of_somebody_else_survives_a_copy_that_is_refused(world: ApiWorld) -> None:
    """An issuer attests one patient's sealed record for another, and the chain refuses the copy."""
    owner, thief = account("owner"), account("thief")
    person = keccak(text="one and the same")
    record = world.sealed(owner)
    assert (
        outcomes(world, [world.upload_entry(owner, record, person=person)])[0]["outcome"]
        == "stored"
    )
    before = kept(world)
    context = replace(record.context, patient=thief.address)
    copy = world.upload_entry(thief, replace(record, context=context), person=person)
    (refused,) = outcomes(world, [copy])
    assert (refused["outcome"], refused["code"]) == ("refused", "person_has_record")
    assert kept(world) == before


def sent(world: ApiWorld) -> int:
    """How many transactions the operator ever sent."""
    node, address = world.operator.chain.node, world.operator.sender.address
    return int(node.request("eth_getTransactionCount", [address, "latest"]), 16)


def test_copies_of_a_record_in_one_upload_are_taken_once_and_share_the_outcome(
    world: ApiWorld,
) -> None:
    entry = world.upload_entry(account("in copies"))
    turned = {key: entry[key] for key in reversed(entry)}
    before, rows = sent(world), len(kept(world)[0])
    given = outcomes(world, [entry, turned] * 20)
    assert [each["outcome"] for each in given] == ["stored"] * 40
    assert sent(world) == before + 2  # attested, then confirmed
    assert len(kept(world)[0]) == rows + 1
    first, second = world.operator.intake.receive([entry, turned])
    assert first is second  # so the custodians are asked once, too
    nonsense = outcomes(world, [{"record": 1}, {}, {"record": 1}])
    assert [each["outcome"] for each in nonsense] == ["refused"] * 3


def test_one_attestation_goes_on_chain_once_whatever_it_comes_with(world: ApiWorld) -> None:
    """It covers neither shares nor epoch, so an upload may hold it many times and no two be equal."""
    entry = world.upload_entry(account("in variants"))
    record = entry["record"]
    shares = [record["shares"], list(reversed(record["shares"]))]
    variants = [entry, {**entry, "record": {**record, "shares": shares[1]}}]
    before = sent(world)
    given = outcomes(world, variants)
    assert given[0]["outcome"] == "stored"
    assert sent(world) == before + 2


def test_a_version_that_is_over_costs_no_gas(world: ApiWorld) -> None:
    patient = account("has two versions")
    first, second = (world.upload_entry(patient, world.sealed(patient, 120 + n, n)) for n in (1, 2))
    for each in (first, second):
        assert outcomes(world, [each])[0]["outcome"] == "stored"
    before, state = sent(world), kept(world)
    (refused,) = outcomes(world, [first])
    assert (refused["code"], refused["field"]) == ("wrong_record_version", "attestation.version")
    assert refused["remedy"]
    assert sent(world) == before
    assert kept(world) == state


def test_what_the_chain_would_refuse_is_not_sent(world: ApiWorld) -> None:
    """One person under many addresses, each attested: what is good beside it is stored."""
    person = keccak(text="one person")
    (first,) = outcomes(world, [world.upload_entry(account("the one"), person=person)])
    assert first["outcome"] == "stored"
    twins = [world.upload_entry(account(f"twin {i}"), person=person) for i in range(3)]
    good, before = world.upload_entry(account("beside the twins")), sent(world)
    refused = outcomes(world, twins)
    assert {each["code"] for each in refused} == {"person_has_record"}
    assert {each["field"] for each in refused} == {"attestation.person"}
    assert sent(world) == before
    given = outcomes(world, [*twins, good])
    assert [each["outcome"] for each in given] == ["refused"] * 3 + ["stored"]
    assert sent(world) == before + 2


class Meddling(Sender):
    """Does something else just before or after the chain has judged a batch of attestations."""

    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None

    def batch(self, contract: str, calls: Sequence[tuple[str, Sequence[Any]]], **more: Any) -> Any:
        act, self.before = self.before, None
        if act is not None:
            act()
        done: BatchOutcome = super().batch(contract, calls, **more)
        act, self.after = self.after, None
        if act is not None:
            act()
        return done


def meddled(world: ApiWorld) -> tuple[Intake, Meddling]:
    chain = world.operator.chain
    sender = Meddling(chain, EMBEDDED_KEY)
    return replace(world.operator.intake, sender=sender), sender


def test_a_record_that_another_upload_registered_meanwhile_is_kept(world: ApiWorld) -> None:
    """The twin comes first, so that the chain refuses this one: as a repetition of what it has."""
    intake, sender = meddled(world)
    entry = world.upload_entry(account("twin"))
    sender.before = lambda: outcomes(world, [entry])
    (done,) = intake.receive([entry])
    assert (done.state, done.refusal) == ("stored", None)
    assert world.operator.intake.records.holds(done.attestation.commitment)


def test_a_record_that_another_upload_dropped_meanwhile_is_kept_again(world: ApiWorld) -> None:
    """The twin was refused, and cleaned up after this one had kept its row and file."""
    intake, sender = meddled(world)
    patient = account("dropped")
    entry = world.upload_entry(patient)
    commitment = world.custody.records[patient.address].commitment

    def drop() -> None:
        name = "0x" + commitment.hex()
        assert intake.records.database.forget_record(name, patient.address)
        intake.records.delete(commitment)

    sender.after = drop
    (done,) = intake.receive([entry])
    assert (done.state, done.refusal) == ("stored", None)
    assert intake.records.holds(commitment)


class Unwilling(Sender):
    """Says that the chain refused, whatever it was asked."""

    def batch(self, contract: str, calls: Sequence[tuple[str, Sequence[Any]]], **_: Any) -> Any:
        refusal = ContractRefusal(message="No.", remedy="Try later.", code="unknown_issuer")
        return BatchOutcome([], dict.fromkeys(range(len(calls)), refusal))


class Eventful(RecordStore):
    """Something happens right after a ciphertext was dropped."""

    def delete(self, commitment: bytes) -> None:
        super().delete(commitment)
        EVENTS.pop()()


EVENTS: list[Callable[[], object]] = []


def test_a_record_registered_while_it_was_being_dropped_is_kept_again(world: ApiWorld) -> None:
    old = world.operator.intake
    records = Eventful(old.records.url, old.records.database)
    intake = replace(old, records=records, sender=Unwilling(old.chain, EMBEDDED_KEY))
    entry = world.upload_entry(account("in between"))
    EVENTS.append(lambda: outcomes(world, [entry]))
    (done,) = intake.receive([entry])
    assert (done.state, done.refusal, EVENTS) == ("stored", None, [])
    assert records.holds(done.attestation.commitment)


def test_uploads_of_one_record_at_the_same_time_end_with_one_stored_record(
    world: ApiWorld,
) -> None:
    patient = account("at once")
    entry = world.upload_entry(patient)
    said: list[Any] = []

    def upload() -> None:
        said.extend(world.operator.intake.receive([entry]))

    threads = [threading.Thread(target=upload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=300)
    assert [(each.state, each.refusal) for each in said] == [("stored", None)] * len(threads)
    assert world.operator.intake.records.holds(world.custody.records[patient.address].commitment)


def test_a_node_that_fails_in_between_loses_nothing(world: ApiWorld, tmp_path: Path) -> None:
    intake, sender = meddled(world)
    patient = account("interrupted")
    entry = world.upload_entry(patient)

    def fail() -> None:
        raise ContractRefusal(message="It failed.", remedy="Again.", code="out_of_gas")

    sender.before = fail
    with pytest.raises(ContractRefusal):
        intake.receive([entry])
    assert outcomes(world, [entry])[0]["outcome"] == "stored"


def test_an_upload_of_made_up_issuers_costs_a_bounded_number_of_questions(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And sinks nothing before them, nor what a known issuer signed."""
    asked: list[str] = []
    is_issuer = Chain.is_issuer

    def counted(chain: Chain, dataset: bytes, issuer: str) -> bool:
        asked.append(issuer)
        return is_issuer(chain, dataset, issuer)

    monkeypatch.setattr(Chain, "is_issuer", counted)
    nobody, patients = account("nobody's patient"), [account("before"), account("behind")]
    first, last = (world.upload_entry(each) for each in patients)
    record = world.sealed(nobody)
    bad = [
        world.upload_entry(nobody, record, issuer=account(f"issuer {i}"))
        for i in range(MOST_REFUSED + 9)
    ]
    given = outcomes(world, [first, *bad, last])
    assert [given[0]["outcome"], given[-1]["outcome"]] == ["stored", "stored"]
    expected = ["unknown_issuer"] * MOST_REFUSED + ["too_many_refused"] * 9
    assert [each["code"] for each in given[1:-1]] == expected
    assert len(asked) == 1 + MOST_REFUSED


# --- custodians that are down, or answer nonsense

DEAD = "http://127.0.0.1:9"


def with_custodians(world: ApiWorld, urls: Sequence[str]) -> Intake:
    peers = tuple(Peer(f"custodian {place}", url) for place, url in enumerate(urls))
    return replace(world.operator.intake, custodians=peers)


@contextmanager
def nonsense(body: bytes) -> Iterator[str]:
    """A custodian that answers every deposit with these bytes."""
    app = flask.Flask("nonsense")

    @app.post("/deposits")
    def take() -> flask.Response:
        return flask.Response(body, mimetype="application/json")

    with served(app) as url:
        yield url


def consent_state(world: ApiWorld, patient: LocalAccount) -> str:
    return str(world.operator.reads.consent(world.custody.dataset, patient.address)["state"])


@pytest.mark.parametrize("alive", [1, 0])
def test_a_record_that_fewer_custodians_than_the_quorum_hold_is_used_by_nobody_until_they_are_back(
    world: ApiWorld, alive: int
) -> None:
    patient = account(f"{alive} of 3 custodians")
    entry, grant = world.upload_entry(patient), world.grant_message(patient)
    few = with_custodians(world, [*world.custodian_urls[:alive], *[DEAD] * (3 - alive)])
    (done,) = few.receive([entry])
    assert done.refusal is not None
    assert (done.refusal.code, done.refusal.field) == ("custodians_missing", "custodians")
    assert f"{alive} of 2 custodians needed hold their part" in done.refusal.message
    assert all(f"custodian {place}" in done.refusal.message for place in range(alive, 3))
    assert "Send the same record again" in done.refusal.remedy
    (said,) = world.post("/messages", {"messages": [grant]}).get_json()["outcomes"]
    assert (said["outcome"], said["code"]) == ("refused", "record_not_stored")
    assert consent_state(world, patient) == "none"
    assert outcomes(world, [entry])[0]["outcome"] == "stored"  # the very same upload
    (said,) = world.post("/messages", {"messages": [grant]}).get_json()["outcomes"]
    assert said["outcome"] == "relayed", said
    assert consent_state(world, patient) == "live"


def test_a_custodian_that_answers_nonsense_counts_as_missing_and_sinks_nothing(
    world: ApiWorld,
) -> None:
    entry, alive = world.upload_entry(account("nonsense")), world.custodian_urls
    left_out = "custodian 1 did not answer for every deposit"
    short = (b"{}", b'{"outcomes":[]}', b'{"outcomes":"1"}')
    for body in (*short, b'{"outcomes":[null]}', b'{"outcomes":[5]}', b"\xff"):
        with nonsense(body) as url:
            (missing,) = with_custodians(world, [alive[0], url, DEAD]).receive([entry])
        assert missing.refusal is not None, body
        assert missing.refusal.code == "custodians_missing", body
        assert "1 of 2 custodians needed" in missing.refusal.message, body
        assert (left_out in missing.refusal.message) == (body in short)
    told = b'{"outcomes":[{"code":"\\u001b[2J","detail":"\\u001b]0;x\\u0007","remedy":"\\u202e"}]}'
    with nonsense(told) as url:
        (missing,) = with_custodians(world, [alive[0], url, DEAD]).receive([entry])
    assert missing.refusal is not None
    assert missing.refusal.message.isprintable()  # it goes on to whoever uploads
    with nonsense(b"[]") as url:
        (done,) = with_custodians(world, [*alive[:2], url]).receive([entry])
    assert (done.state, done.refusal) == ("stored", None)
    assert [place for place, _ in done.receipts] == [0, 1]


def test_a_custodian_that_drips_its_answer_holds_up_no_upload(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not even its own time limit is waited for, once a quorum holds the record.
    monkeypatch.setattr(peers, "TIMEOUT_SECONDS", 3_600.0)
    monkeypatch.setattr(deposits, "GRACE_SECONDS", 0.1)
    entry = world.upload_entry(account("dripped"))
    with server_that_sends(drip(sized(10**6)), 0.05) as url:
        (done,) = with_custodians(world, [url, *world.custodian_urls[1:]]).receive([entry])
    assert (done.state, done.refusal) == ("stored", None)
    assert [place for place, _ in done.receipts] == [1, 2]
