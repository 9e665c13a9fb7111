"""Seals that are older than any state the node keeps: the cohort and its records come from the logs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain import artifacts, history
from marketplace.chain.adapter import (
    Chain,
    Cohort,
    ForgedLogs,
    NodeFault,
    PartialLogs,
    Stored,
    UnknownBlock,
)
from marketplace.chain.counted import counted
from marketplace.chain.reads import Reads
from marketplace.stages import Stage
from marketplace.wire.structs import (
    Erasure,
    RecordAttestation,
    Revocation,
    Rotation,
    StorageReceipt,
    sign,
)
from marketplace.wire.terms import class_id
from tests.support.chain_world import World, account, commitment_of, world_on
from tests.support.nodes import LyingProxy, anvil_node
from tests.support.pipeline_world import STATES, pipeline_world

KEPT = 16
"""Blocks whose state the node keeps. Geth and its like keep 128."""


@dataclass(frozen=True)
class Seen:
    """What the node's state showed while it still had it."""

    request: bytes
    cohort: Cohort
    stored: tuple[Stored, ...]
    later: int = 0
    """A block after which nothing happened to anybody: as if noise had been committed to in it."""


class Old(World):
    """What may happen to patients before and after a seal."""

    def see(self, request: bytes) -> Seen:
        cohort = self.chain.sealed_cohort(request)
        stored = Reads.commitments_of(
            self.chain, cohort.dataset, cohort.patients, cohort.seal_block
        )
        return Seen(request, cohort, stored)

    def again(self, patient: LocalAccount, version: int) -> None:
        """Another version of a record, attested and stored."""
        attestation = replace(self._attestation(patient), version=version)
        domain = self.chain.domain("DatasetRegistry")
        self.sender.send(
            "DatasetRegistry", "registerRecord", attestation, sign(attestation, domain, self.issuer)
        )
        receipt = StorageReceipt(
            self.dataset, patient.address, attestation.commitment, version, self.epoch
        )
        quorum = [(place, sign(receipt, domain, self.custodians[place])) for place in (0, 1)]
        self.sender.send("DatasetRegistry", "confirmStorage", receipt, quorum)

    def _attestation(self, patient: LocalAccount) -> RecordAttestation:
        _, arguments = self.attestation(patient)
        attested = arguments[0]
        assert isinstance(attested, RecordAttestation)
        return replace(attested, commitment=commitment_of(account("new " + patient.address)))

    def rotate(self, patient: LocalAccount, to: LocalAccount) -> None:
        message = Rotation(self.dataset, patient.address, to.address, self.later())
        domain = self.chain.domain("ConsentRegistry")
        both = [sign(message, domain, each) for each in (patient, to)]
        self.sender.send("ConsentRegistry", "rotate", message, *both)

    def revoke(self, patient: LocalAccount) -> None:
        message = Revocation(patient.address, self.dataset, 9)
        signature = sign(message, self.chain.domain("ConsentRegistry"), patient)
        self.sender.send("ConsentRegistry", "revokeBySig", message, patient.address, signature)

    def erase(self, patient: LocalAccount) -> None:
        message = Erasure(patient.address, self.dataset, 1)
        signature = sign(message, self.chain.domain("ConsentRegistry"), patient)
        self.sender.send("ConsentRegistry", "eraseBySig", message, signature)

    def change_class(self, patient: LocalAccount, class_: int, sequence: int) -> None:
        self._batch("ConsentRegistry", [self.grant(patient, class_, sequence)])


@pytest.fixture(scope="module")
def world() -> Iterator[Old]:
    with anvil_node("--prune-history", str(KEPT)) as node:
        made = world_on(node)
        yield Old(made.chain, made.sender, made.dataset, made.classes, made.epoch)


@pytest.fixture(scope="module")
def sealed(world: Old) -> Seen:
    """Seats and records changed hands before the seal, and did so again since."""
    names = ["stays", "moves on", "goes", "erases", "renews", "rotates", "renewed", "suspended"]
    stays, moves, goes, erases, renews, rotates, renewed, _ = world.enrol(names)
    before = account("before")
    world.tick()
    world.change_class(goes, 1, 2)  # its seat is free,
    taker = world.enrol(["takes a seat"])[0]  # and taken
    world.rotate(stays, before)
    world.again(renewed, 2)
    seen = world.see(world.sealed("old", classes=(1, 2)))
    assert {taker.address, before.address, goes.address} <= set(seen.cohort.patients)
    world.tick()
    world.change_class(moves, 1, 2)
    world.enrol(["takes another"])
    world.rotate(before, account("after"))
    world.again(renews, 2)
    world.rotate(rotates, account("rotated"))
    world.rotate(renewed, account("renewed and rotated"))
    world.erase(erases)
    world.change_class(taker, 1, 2)  # the seat is free again,
    world.enrol(["takes it again"])  # and taken once more
    world.revoke(taker)
    world.sender.send("DatasetRegistry", "withdrawIssuer", world.dataset, world.issuer.address)
    suspended = account("suspended").address
    world.sender.send("DatasetRegistry", "suspendRecord", world.dataset, suspended)
    later = world.chain.head().number
    world.chain.node.request("anvil_mine", [hex(2 * KEPT)])
    return replace(seen, later=later)


@pytest.fixture
def liar(world: Old) -> Iterator[LyingProxy]:
    proxy = LyingProxy(world.chain.node.url)
    yield proxy
    proxy.close()


def stored(chain: Chain, seen: Seen) -> tuple[Stored, ...]:
    cohort = seen.cohort
    return chain.commitments_of(cohort.dataset, cohort.patients, cohort.seal_block)


def seated(chain: Chain, seen: Seen) -> tuple[str, ...]:
    """Of the first class: it was sealed a block before the second."""
    members = [member for member in seen.cohort.members if member.shard.class_ == 1]
    places = [member.place for member in members]
    owner = class_id(seen.cohort.dataset, 1)
    found = chain.patients_at(owner, 0, places, seen.cohort.seal_block - 1)
    assert found == tuple(member.patient for member in members)
    return found


def test_the_state_of_the_seal_is_gone(world: Old, sealed: Seen) -> None:
    cohort = sealed.cohort
    with pytest.raises((NodeFault, UnknownBlock)):
        Reads.commitments_of(world.chain, cohort.dataset, cohort.patients, cohort.seal_block)


def test_the_cohort_is_who_was_sealed_and_not_who_sits_there_now(world: Old, sealed: Seen) -> None:
    assert world.chain.sealed_cohort(sealed.request) == sealed.cohort
    now = Reads.patients_at(
        world.chain, world.classes[0], 0, [member.place for member in sealed.cohort.members]
    )
    assert set(now) != set(sealed.cohort.patients)


def test_the_records_are_those_of_the_seal_and_not_those_of_today(world: Old, sealed: Seen) -> None:
    assert stored(world.chain, sealed) == sealed.stored
    assert all(each.usable for each in sealed.stored)
    now = world.chain.commitments_of(world.dataset, sealed.cohort.patients)
    changed = [then for then, each in zip(sealed.stored, now, strict=True) if then != each]
    assert {each.patient for each in changed} >= {
        account(name).address for name in ("erases", "renews", "rotates", "suspended", "before")
    }


def test_every_page_size_brings_the_same(world: Old, sealed: Seen) -> None:
    paged = Chain(world.chain.node.url, world.manifest, page_blocks=7)
    assert paged.sealed_cohort(sealed.request) == sealed.cohort
    assert stored(paged, sealed) == sealed.stored


def test_logs_given_twice_change_nothing(world: Old, sealed: Seen, liar: LyingProxy) -> None:
    liar.lie = lambda method, _, result: result * 2 if method == "eth_getLogs" else result
    chain = Chain(liar.url, world.manifest)
    assert seated(chain, sealed) == seated(world.chain, sealed)
    assert stored(chain, sealed) == sealed.stored


def without(number: int, topics: Sequence[str]) -> Callable[..., Any]:
    """A node that withholds the n-th of these events."""

    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        wanted = [log for log in result if log["topics"][0] in topics]
        gone = wanted[number : number + 1]
        return [log for log in result if log not in gone]

    return lie


def topics_of(world: Old, contract: str, names: Sequence[str]) -> tuple[list[str], int]:
    """The first topics of these events, and how many of them there are."""
    known = artifacts.load(contract).events
    first = world.manifest.deployed_block
    number = len(list(world.chain.events(first, contracts=[contract], names=names)))
    return ["0x" + known[name].topic.hex() for name in names], number


def test_no_event_of_a_seat_can_be_withheld_unnoticed(
    world: Old, sealed: Seen, liar: LyingProxy
) -> None:
    topics, events = topics_of(world, "ConsentRegistry", ["Granted", "Rotated"])
    chain, noticed = Chain(liar.url, world.manifest), 0
    for number in range(events):
        liar.lie = without(number, topics)
        try:
            seated(chain, sealed)
        except (PartialLogs, ForgedLogs):
            noticed += 1
    assert noticed > 8


def test_an_event_of_a_seat_that_was_sealed_cannot_be_withheld(
    world: Old, sealed: Seen, liar: LyingProxy
) -> None:
    topics, _ = topics_of(world, "ConsentRegistry", ["Granted"])
    liar.lie = without(0, topics)
    with pytest.raises(PartialLogs):
        Chain(liar.url, world.manifest).sealed_cohort(sealed.request)


def test_no_event_of_a_record_can_be_withheld_unnoticed(
    world: Old, sealed: Seen, liar: LyingProxy
) -> None:
    names = ["RecordAttested", "RecordStored", "RecordErased", "RecordMoved", "RecordSuspended"]
    topics, events = topics_of(world, "DatasetRegistry", names)
    chain, noticed = Chain(liar.url, world.manifest), 0
    for number in range(events):
        liar.lie = without(number, topics)
        try:
            found = stored(chain, sealed)
        except (PartialLogs, ForgedLogs):
            noticed += 1
            continue
        assert found == sealed.stored, number
    assert noticed > 15


COUNT_NO_MORE = {account(name).address for name in ("erases", "renews", "suspended")}


def lost(chain: Chain, seen: Seen) -> set[str]:
    """Members whose record counts as null, by what became of it after the seal."""
    found = counted(chain, seen.cohort, seen.later)
    pairs = zip(seen.stored, found, strict=True)
    assert all(each in (before, replace(before, commitment=bytes(32))) for before, each in pairs)
    return {str(each.patient) for each in found if not any(each.commitment)}


def test_what_an_answer_is_of_is_known_when_no_state_of_it_is_left(
    world: Old, sealed: Seen
) -> None:
    erased = account("erases").address
    with pytest.raises((NodeFault, UnknownBlock)):
        Reads.has_records(world.chain, world.dataset, [erased], sealed.later)
    asked = [erased, account("rotates").address, account("rotated").address, account("x").address]
    there = world.chain.has_records(world.dataset, asked, sealed.later)
    assert there == (True, False, True, False)
    assert lost(world.chain, sealed) == COUNT_NO_MORE


def test_no_event_of_a_record_that_counts_no_more_can_be_withheld_unnoticed(
    world: Old, sealed: Seen, liar: LyingProxy
) -> None:
    topics, events = topics_of(world, "DatasetRegistry", history.RECORD_EVENTS)
    chain, noticed = Chain(liar.url, world.manifest), 0
    for number in range(events):
        liar.lie = without(number, topics)
        try:
            found = lost(chain, sealed)
        except (PartialLogs, ForgedLogs):
            noticed += 1
            continue
        assert found == COUNT_NO_MORE, number
    assert noticed > 15


def test_a_move_that_never_was_hides_no_record(world: Old, sealed: Seen, liar: LyingProxy) -> None:
    """Erased where it is: a made-up move from there would have it look for elsewhere."""
    erases, elsewhere = account("erases").address, account("x").address
    moved = "0x" + artifacts.load("DatasetRegistry").events["RecordMoved"].topic.hex()
    erased = "0x" + artifacts.load("DatasetRegistry").events["RecordErased"].topic.hex()

    def lie(method: str, _: list[Any], result: Any) -> Any:
        if method != "eth_getLogs":
            return result
        return [as_move(log) if log["topics"][0] == erased else log for log in result]

    def as_move(log: dict[str, Any]) -> dict[str, Any]:
        to = "0x" + elsewhere[2:].lower().rjust(64, "0")
        return log | {"topics": [moved, log["topics"][1], log["topics"][2], to]}

    liar.lie = lie
    chain = Chain(liar.url, world.manifest)
    with pytest.raises((PartialLogs, ForgedLogs)):
        chain.has_records(world.dataset, [erases], sealed.later)


def test_a_block_that_is_not_there_yet_is_not_replayed(world: Old, sealed: Seen) -> None:
    ahead = world.chain.head().number + 100
    with pytest.raises((NodeFault, UnknownBlock)):
        world.chain.commitments_of(world.dataset, sealed.cohort.patients, ahead)


def test_a_request_whose_seal_is_older_than_any_state_is_turned_computed_and_settled(
    tmp_path: Path,
) -> None:
    with pipeline_world(tmp_path, slots=1) as made:
        pipeline = made.pipeline()
        request, _ = made.submit(pipeline, "old")
        made.reach(pipeline, request, Stage.KEYED)
        seal = made.chain.request(bytes.fromhex(request[2:])).seal_block
        made.mine(int(STATES) + 1)
        with pytest.raises((NodeFault, UnknownBlock)):
            made.chain.request(bytes.fromhex(request[2:]), seal)
        made.finish(pipeline, request)
        made.require_settled_once(pipeline, request)
