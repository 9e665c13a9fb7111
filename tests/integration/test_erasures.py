"""Erased records leave the operator: on the embedded chain, with custodians and a gate that answer."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from structlog.testing import capture_logs

from marketplace.chain.adapter import Chain, Event, Finality
from marketplace.erasures import Erasures
from marketplace.lanes.vault import Vault
from marketplace.peers import Peer
from marketplace.records import RecordStore
from marketplace.stages import Computed, Sealed
from marketplace.store import Database, open_database
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.http_client import post
from marketplace.wire.record import SealedRecord
from marketplace.wire.structs import Rotation, Settlement, sign
from tests.support.chain_world import DAY, account
from tests.support.custody_world import (
    PARAMETERS,
    CustodyWorld,
    custody_world,
    served_custodian,
    served_gate,
)
from tests.support.daily import daily
from tests.support.kept_records import keep_record
from tests.support.nodes import any_node
from tests.support.refusals import refused

VALUES: dict[str, Any] = {"systolic": Decimal(120), "smoker": "no"}
STAYING = ["stays", "stays too", "stays as well"]
"""With these the cohort is large enough, whoever leaves."""


@dataclass
class Store:
    """The operator's folder and database, and the market that they are of."""

    world: CustodyWorld
    urls: Sequence[str]
    gate: str
    records: RecordStore

    @property
    def database(self) -> Database:
        return self.records.database

    def enrol(self, *names: str) -> list[LocalAccount]:
        patients = self.world.enrol_sealed(self.urls, names, [VALUES] * len(names))
        for patient in patients:
            self.keep(patient.address, 1)
        return patients

    def renew(self, patient: LocalAccount, version: int) -> SealedRecord:
        """A newer version of the record, in use."""
        sealed = self.attest(patient, version)
        answers = [
            post(url, "/shares", self.world.deposit_body(patient.address, place), timeout=60)
            for place, url in enumerate(self.urls)
        ]
        self.world.confirm({patient.address: answers})
        return sealed

    def attest(self, patient: LocalAccount, version: int) -> SealedRecord:
        sealed = self.world.seal_record(patient.address, VALUES, version=version)
        self.world.attest([patient.address], version=version)
        self.keep(patient.address, version)
        return sealed

    def keep(self, patient: str, version: int) -> None:
        keep_record(self.world, self.records, patient, version)

    def commitment(self, patient: LocalAccount) -> bytes:
        return self.world.records[patient.address].commitment

    def erasures(self, **finality: int) -> Erasures:
        """As a fresh process follows them."""
        world = self.world
        chain = Chain(world.node_url, world.manifest, finality=Finality(**finality))
        return Erasures(chain, self.records)

    def state(self, commitment: bytes) -> str:
        name = "0x" + commitment.hex()
        return self.database.records([name])[name].state

    def keyed(self, salt: str) -> Sealed:
        request = self.world.keyed_request(salt, self.gate)
        view = self.world.chain.request(request)
        return Sealed(request, view.root, view.members, view.epoch, view.gate)

    def compute(self, sealed: Sealed) -> Computed:
        """As the operator's lane does, from what is in the folder."""
        gates = {sealed.gate.lower(): Peer("gate", self.gate, self.world.voice)}
        vault = Vault(self.world.chain, gates, self.records)
        return vault.compute(sealed, PARAMETERS, self.world.dictionary)[0]

    def pass_until(self, moment: int) -> None:
        node = self.world.chain.node
        node.request("evm_setNextBlockTimestamp", [max(moment, self.world.chain.now()) + 1])
        node.mine()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CustodyWorld]:
    folder = tmp_path_factory.mktemp("custody")
    with any_node(folder) as node:
        yield custody_world(node, folder)


@pytest.fixture(scope="module")
def peers(world: CustodyWorld) -> Iterator[tuple[list[str], str]]:
    with ExitStack() as stack:
        urls = [stack.enter_context(served_custodian(world.custodian(i))) for i in range(3)]
        yield urls, stack.enter_context(served_gate(world.gate(urls)))


@pytest.fixture(scope="module")
def store(
    world: CustodyWorld, peers: tuple[list[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("operator")
    database = open_database(f"sqlite:///{folder / 'operator.sqlite'}")
    made = Store(world, *peers, RecordStore((folder / "records").as_uri(), database))
    made.enrol(*STAYING)
    yield made
    database.engine.dispose()


def test_an_erased_record_is_deleted_once_it_is_final_and_the_others_stay(store: Store) -> None:
    gone, other = store.enrol("erases", "keeps")
    erased, kept = store.commitment(gone), store.commitment(other)
    erasures = store.erasures(confirmations=3, use_tag=False)
    erasures.catch_up()
    store.world.erase(gone)
    erasures.catch_up()
    assert store.records.holds(erased)  # a reorganisation could still bring it back
    for _ in range(3):
        store.world.chain.node.mine()
    with capture_logs() as logs:
        for _ in range(2):
            erasures.catch_up()
    assert not store.records.holds(erased)
    assert store.records.get(erased) is None
    assert store.state(erased) == "erased"
    assert store.records.holds(kept)
    told = [each["number"] for each in logs if each["event"] == "ciphertexts_erased"]
    assert told == [1]
    [entry] = store.database.record_history("0x" + erased.hex())
    assert (entry.before, entry.after) == ("stored", "erased")
    assert "erased on chain in block" in entry.because


def test_every_version_goes_and_the_one_that_came_after_the_erasure_stays(store: Store) -> None:
    patient, other = store.enrol("comes back", "erases later")
    first = store.commitment(patient)
    second = store.renew(patient, 2).commitment
    third = store.attest(patient, 3).commitment  # not in use yet
    store.world.erase(patient, 3)
    after = [store.renew(patient, version).commitment for version in (4, 5)]
    store.world.erase(other)
    store.erasures().catch_up()
    assert store.state(store.commitment(other)) == "erased"
    assert [store.state(each) for each in (first, second, third)] == ["erased"] * 3
    assert all(store.records.holds(each) for each in after)  # also the one that was replaced
    store.world.erase(patient, 5)
    store.erasures().catch_up()
    assert [store.state(each) for each in after] == ["erased"] * 2


def test_a_record_that_moved_with_its_patient_is_found_under_the_address_it_was_sealed_for(
    store: Store,
) -> None:
    before, between, after = store.enrol("moves")[0], account("between"), account("after")
    moved = store.commitment(before)
    rotate(store.world, before, between)
    rotate(store.world, between, after)
    store.world.erase(after)
    rotate(store.world, after, account("and on"))
    store.erasures().catch_up()
    assert store.state(moved) == "erased"
    assert store.records.get(moved) is None


def rotate(world: CustodyWorld, before: LocalAccount, after: LocalAccount) -> None:
    world.tick()
    struct = Rotation(world.dataset, before.address, after.address, world.later(DAY))
    domain = world.chain.domain("ConsentRegistry")
    signatures = (sign(struct, domain, before), sign(struct, domain, after))
    world.sender.send("ConsentRegistry", "rotate", struct, *signatures)


def test_what_a_restored_backup_brings_back_is_deleted_by_whoever_starts(
    store: Store, tmp_path: Path
) -> None:
    patient = store.enrol("was backed up")[0]
    commitment = store.commitment(patient)
    copy = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    backup = replace(store, records=RecordStore((tmp_path / "records").as_uri(), copy))
    backup.keep(patient.address, 1)
    store.world.erase(patient)
    erasures = store.erasures()
    erasures.catch_up()
    restore_file(backup.records, store.records, commitment)  # the folder alone
    assert store.records.fetch([commitment]) == {}
    erasures.catch_up()
    assert store.records.get(commitment) is not None  # nobody looks before the next start
    store.erasures().catch_up()
    assert store.records.get(commitment) is None
    assert backup.records.holds(commitment)  # folder and database
    backup.erasures().catch_up()
    assert backup.records.get(commitment) is None
    assert backup.state(commitment) == "erased"
    copy.engine.dispose()


def restore_file(backup: RecordStore, store: RecordStore, commitment: bytes) -> None:
    source, folder = (Path(each.url.removeprefix("file://")) for each in (backup, store))
    shutil.copy(source / f"{commitment.hex()}.box", folder)


class Forging(Chain):
    """Through a node that adds events which never happened to its logs, and keeps some moves to itself."""

    forged: tuple[Event, ...] = ()
    withheld: str = ""
    """The address whose move away it does not give."""

    def events(self, *arguments: Any, **named: Any) -> Iterator[Event]:
        for event in super().events(*arguments, **named):
            if event.name != "RecordMoved" or event.args["from"] != self.withheld:
                yield event
        yield from (each for each in self.forged if each.name in (named.get("names") or ()))


@pytest.mark.parametrize("erased_at", daily(["before", "after"], ["before"]))
def test_moves_in_a_circle_end_and_are_read_again_from_a_node_that_tells_the_truth(
    store: Store, erased_at: str
) -> None:
    patient, after = store.enrol(f"circles {erased_at}")[0], account(f"circled {erased_at}")
    commitment, world = store.commitment(patient), store.world
    if erased_at == "before":  # the way on from there is what never ends
        world.erase(patient)
    rotate(world, patient, after)
    if erased_at == "after":  # the way back
        world.erase(after)
    chain = Forging(world.node_url, world.manifest)
    aside = account("aside")
    chain.forged = (moved(world, after, aside), moved(world, aside, after))
    erasures = Erasures(chain, store.records)
    refused("forged_logs", erasures.catch_up)
    assert store.records.holds(commitment)
    chain.forged = ()
    erasures.catch_up()
    assert store.state(commitment) == "erased"


def moved(world: CustodyWorld, before: LocalAccount, after: LocalAccount) -> Event:
    head = world.chain.head()
    args = {"dataset": world.dataset, "from": before.address, "to": after.address}
    return Event("DatasetRegistry", "RecordMoved", args, head.number, head.hash, bytes(32), 98)


def test_a_record_that_the_contract_has_in_use_or_pending_is_not_deleted_on_a_logs_word(
    store: Store,
) -> None:
    world = store.world
    patient, before, after = *store.enrol("is lied about", "is lied about too"), account("behind")
    used, moved = store.commitment(patient), store.commitment(before)
    pending = store.attest(patient, 2).commitment
    rotate(world, before, after)
    chain = Forging(world.node_url, world.manifest)
    head = world.chain.head()
    chain.forged = tuple(
        Event(
            contract="DatasetRegistry",
            name="RecordErased",
            args={"dataset": world.dataset, "patient": each.address},
            block=head.number,
            block_hash=head.hash,
            transaction=bytes(32),
            log_index=99,
        )
        for each in (patient, before)
    )
    Erasures(chain, store.records).catch_up()
    assert all(store.records.holds(each) for each in (used, pending, moved))
    world.erase(patient, 2)
    world.erase(after)
    Erasures(chain, store.records).catch_up()
    assert not any(store.records.holds(each) for each in (used, pending, moved))


@pytest.mark.parametrize("left", ["never left", "left for elsewhere"])
def test_a_made_up_move_takes_no_record_along_with_somebody_elses_erasure(
    store: Store, left: str
) -> None:
    """Nor where the node keeps the true move to itself, so that the registry has nothing there any more."""
    world = store.world
    erases, patient = store.enrol(f"erases {left}", f"is in use, {left}")
    gone, used = store.commitment(erases), store.commitment(patient)
    if left == "left for elsewhere":
        rotate(world, patient, account("elsewhere"))
    world.erase(erases)
    chain = Forging(world.node_url, world.manifest)
    chain.forged, chain.withheld = (moved(world, patient, erases),), patient.address
    erasures = Erasures(chain, store.records)
    if left == "never left":
        refused("forged_logs", erasures.catch_up)
        assert store.records.holds(gone)
    else:
        erasures.catch_up()
    assert store.records.holds(used)
    chain.forged, chain.withheld = (), ""
    erasures.catch_up()
    assert store.state(gone) == "erased"
    assert store.records.holds(used)


def test_a_made_up_attestation_takes_no_record_along_with_somebody_elses_erasure(
    store: Store,
) -> None:
    world = store.world
    erases, patient = store.enrol("erases, is lied about", "is in use, is lied about")
    used = store.commitment(patient)
    world.erase(erases)
    args = {
        "dataset": world.dataset,
        "patient": erases.address,
        "commitment": used,
        "version": 1,
    }
    block = world.manifest.deployed_block
    attested = Event("DatasetRegistry", "RecordAttested", args, block, bytes(32), bytes(32), 0)
    chain = Forging(world.node_url, world.manifest)
    chain.forged = (attested,)
    with capture_logs() as logs:
        Erasures(chain, store.records).catch_up()
    assert store.records.holds(used)
    assert store.state(store.commitment(erases)) == "erased"
    (said,) = [each for each in logs if each["event"] == "erasure_of_another_person"]
    assert said["commitment"] == to_hex(used)


def test_an_erasure_waits_for_the_moves_that_a_node_keeps_to_itself(store: Store) -> None:
    world = store.world
    patient, after = store.enrol("erases, and moves")[0], account("moved afterwards")
    gone = store.commitment(patient)
    world.erase(patient)
    rotate(world, patient, after)
    chain = Forging(world.node_url, world.manifest)
    chain.withheld = patient.address
    erasures = Erasures(chain, store.records)
    refused("partial_logs", erasures.catch_up)
    assert store.records.holds(gone)
    chain.withheld = ""
    erasures.catch_up()
    assert store.state(gone) == "erased"


# --- what was sealed before


def test_a_request_sealed_before_an_erasure_is_answered_and_the_ciphertext_goes_afterwards(
    store: Store,
) -> None:
    """The patient has a newer record by then: without the old ciphertext the gate would find it withheld."""
    patient = store.enrol("was sealed")[0]
    counted = store.commitment(patient)
    sealed = store.keyed("before")
    store.world.erase(patient)
    store.renew(patient, 2)
    later = freeze(store, "after")
    erasures = store.erasures()
    erasures.catch_up()
    assert store.records.holds(counted)
    settle(store, store.compute(sealed))
    erasures.catch_up()
    assert store.records.get(counted) is None
    assert store.state(counted) == "erased"
    thaw(store, later)


def freeze(store: Store, salt: str) -> bytes:
    terms = store.world.mean_terms(salt)
    request = store.world.open(terms)
    store.world.freeze(terms)
    return request


def thaw(store: Store, request: bytes) -> None:
    """It can be sealed no more, and its shard is free for the next."""
    store.pass_until(store.world.chain.request(request).frozen_until)


def test_a_cohort_that_is_being_counted_keeps_its_ciphertexts_and_a_later_one_does_not_wait(
    store: Store,
) -> None:
    """Frozen before the erasure, sealed after it; and then another freeze."""
    patient = store.enrol("leaves while it is counted")[0]
    commitment, request = store.commitment(patient), freeze(store, "frozen")
    store.world.erase(patient)
    erasures = store.erasures()
    erasures.catch_up()
    assert store.records.holds(commitment)
    thaw(store, request)
    later = freeze(store, "later")
    erasures.catch_up()
    assert store.records.get(commitment) is None
    thaw(store, later)


def test_a_request_that_is_never_answered_holds_an_erasure_up_until_its_settle_deadline(
    store: Store,
) -> None:
    patient = store.enrol("waits")[0]
    commitment, sealed = store.commitment(patient), store.keyed("never answered")
    store.world.erase(patient)
    erasures = store.erasures()
    deadline = store.world.chain.request(sealed.request).settle_deadline
    store.pass_until(deadline - 2)
    erasures.catch_up()
    assert store.records.holds(commitment)
    store.pass_until(deadline)
    erasures.catch_up()
    assert store.records.get(commitment) is None


def settle(store: Store, computed: Computed) -> None:
    """With a quorum of the custodians' signatures."""
    body = {
        "settlement": computed.settlement,
        "sealed_result": to_base64(computed.sealed_result),
        "gate_signature": to_hex(computed.gate_signature),
    }
    signed = [post(url, "/settlements", body, timeout=60) for url in store.urls[:2]]
    quorum = [(each["place"], bytes.fromhex(each["signature"][2:])) for each in signed]
    settlement = Settlement.from_json(computed.settlement)
    arguments = (settlement, computed.sealed_result, quorum)
    store.world.sender.send("ResearchMarket", "settle", *arguments)
