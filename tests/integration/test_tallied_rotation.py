"""Rules of tallies when the committee changes: they go over with the shares, under whatever joint key."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.chain.joint_keys import joint_key_of
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian import rewrap
from marketplace.custodian.holders import FOLDER
from marketplace.custodian.service import Custodian
from marketplace.peers import Peer
from marketplace.sealing.tally import seal_tally
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.paging import sent_bytes
from marketplace.wire.record import SealedRecord
from marketplace.wire.structs import RecordAttestation, StorageReceipt, sign
from marketplace.wire.tally import encoding_of
from ml.homomorphic.curve import times_base
from ml.homomorphic.threshold import Sum
from tests.integration.test_tallied_records import done, people
from tests.support.chain_world import account
from tests.support.custody_world import Process
from tests.support.refusals import refused
from tests.support.tallied_world import (
    COLUMNS,
    ENCODED,
    TalliedWorld,
    decrypted,
    free_port,
    person_of,
    plain_sums,
    sums_of,
    tallied_world,
    times_g,
)

NULL = [Sum.zero()] * len(COLUMNS)


@dataclass
class Rotating:
    """`folders` says by place where the data of those lie who are seated now."""

    world: TalliedWorld
    stack: ExitStack
    folders: dict[int, str] = field(default_factory=lambda: {i: f"custodian{i}" for i in range(3)})

    @property
    def epoch(self) -> int:
        return int(self.world.custody.chain.current_epoch())

    def open_epoch(self, place: int, folder: str) -> Process:
        """Seats a new custodian at a place, and starts it; returns the one that leaves, which goes on."""
        custody = self.world.custody
        self.folders[place] = folder
        seats = []
        for at in range(3):
            made = custodian_keys.create(custody.data(self.folders[at]), 1)
            seats.append(CommitteeSeat(made["signer"], bytes.fromhex(made["x25519"][2:])))
        open_epoch(custody.sender, seats, 2, custody.chain.committee().gates)
        self.tell_hosts(seats[place])
        config = custody.custodian_config(place, data=custody.data(folder), port=free_port())
        leaves, self.world.processes[place] = (
            self.world.processes[place],
            Process("custodian", config, custody.folder),
        )
        self.stack.callback(self.world.processes[place].kill)
        return leaves

    def tell_hosts(self, seat: CommitteeSeat) -> None:
        """Every host, of those that leave too, has the new custodian's identity by a way that it trusts."""
        custody = self.world.custody
        identity = {"signer": seat.signer, "x25519": to_hex(seat.hpke_key)}
        for data in custody.folder.glob("*/keys"):
            folder = data.parent / FOLDER
            folder.mkdir(exist_ok=True)
            (folder / f"{seat.signer}.json").write_text(json.dumps(identity))

    def rewrap(self, place: int, leaving: str) -> dict[str, Any]:
        """As its command does, in this process."""
        custody = self.world.custody
        config = custody.custodian_config(place, data=custody.data(leaving))
        path = custody.folder / f"{leaving}.leaving.json"
        path.write_text(json.dumps(config.model_dump(mode="json")))
        identity = custody.folder / f"{self.folders[place]}.identity.json"
        data = str(custody.data(self.folders[place]))
        identity.write_text(done(["custodian", "init", "--data", data]))
        command = ["custodian", "rewrap", "--config", str(path), "--epoch", str(self.epoch)]
        command += ["--successor", str(identity), "--to", self.world.processes[place].url]
        return dict(json.loads(done(command)))

    def generate_key(self, *more: str) -> None:
        """By its command; `more` as for a re-sharing."""
        custody = self.world.custody
        command = ["generate-key", "--node", custody.node_url]
        command += ["--manifest", str(custody.folder / "manifest.json")]
        command += ["--key-file", str(custody.folder / "faucet.key"), *more]
        for each in self.world.processes:
            command += ["--custodian", each.url]
        done(command)

    @contextmanager
    def seated(self, place: int) -> Iterator[Custodian]:
        with self.world.opened(place, self.folders[place]) as custodian:
            yield custodian

    def sums(self, place: int, key: bytes, sealed: Sequence[SealedRecord]) -> list[Sum]:
        with self.seated(place) as custodian:
            return sums_of(custodian, self.world.custody.dataset, key, sealed)

    def shares(self, epoch: int) -> dict[int, int]:
        found = {}
        for place in range(2):
            with self.seated(place) as custodian:
                share = custodian.joint_shares.of(epoch)
                found[share.index] = share.value
        return found

    def receive(self, entries: Sequence[Mapping[str, Any]]) -> list[Any]:
        """By the operator, once it was told where the committee answers now."""
        peers = [Peer(f"custodian {i}", each.url) for i, each in enumerate(self.world.processes)]
        return replace(self.world.operator.intake, custodians=tuple(peers)).receive(entries)


@contextmanager
def rotating(folder: Path) -> Iterator[Rotating]:
    with tallied_world(folder) as world, ExitStack() as stack:
        yield Rotating(world, stack)


def test_tallies_go_over_with_the_shares_and_count_under_a_key_that_is_handed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rotating(tmp_path) as rotation:
        world, patients = rotation.world, people("stays", 5)
        sealed = world.enrol(patients)
        key, old_urls = world.key(), [each.url for each in world.processes]
        leaves = rotation.open_epoch(0, "new0")
        assert joint_key_of(world.custody.chain, rotation.epoch) is None  # and all the same:
        sent = small_uploads(monkeypatch, 2 * largest_deposit(world, sealed) + 2_048)
        assert rotation.rewrap(0, "custodian0")["rewrapped"] == 5
        # The first brought no dictionary; it is sent once.
        assert sent == ["/deposits", "/dictionaries", *["/deposits"] * 3, "/handovers"]
        rotation.generate_key(
            "--from-epoch", "1", *(part for url in old_urls for part in ("--leaving", url))
        )
        assert leaves.stop() == 0
        assert world.key(2) == key
        expected = times_g(plain_sums(list(patients.values())))
        assert rotation.sums(0, key, sealed) == rotation.sums(1, key, sealed)
        assert decrypted(rotation.sums(0, key, sealed), rotation.shares(2)) == expected
        with rotation.seated(0) as successor:
            assert [successor.tallies.of(each.commitment) for each in sealed] == [
                each.tally for each in sealed
            ]
        more = people("comes later", 2)
        later, entries = world.entries(more)
        assert [each.state for each in rotation.receive(entries)] == ["stored"] * 2
        everybody = times_g(plain_sums([*patients.values(), *more.values()]))
        found = rotation.sums(0, key, [*sealed, *later])
        assert decrypted(found, rotation.shares(2)) == everybody


def largest_deposit(world: TalliedWorld, sealed: Sequence[SealedRecord]) -> int:
    addresses = [each.context.patient for each in sealed]
    tallies = [each.tally.to_json() for each in sealed if each.tally is not None]
    bodies = zip(addresses, tallies, strict=True)
    return max(
        sent_bytes(world.custody.deposit_body(address, 0) | {"tally": tally})
        for address, tally in bodies
    )


def small_uploads(monkeypatch: pytest.MonkeyPatch, largest: int) -> list[str]:
    """From now on a rewrap sends no more bytes at once; the paths that it posts to."""
    sent: list[str] = []

    def noted(url: str, path: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        sent.append(path)
        assert path != "/deposits" or sent_bytes(dict(body)) <= largest
        return post(url, path, body, **options)

    monkeypatch.setattr(rewrap, "LARGEST_DEPOSITS", largest)
    monkeypatch.setattr(rewrap, "post", noted)
    return sent


@pytest.mark.long
def test_records_of_a_key_that_was_not_handed_on_are_kept_and_count_as_null_under_the_new_one(
    tmp_path: Path,
) -> None:
    with rotating(tmp_path) as rotation:
        world, patients = rotation.world, people("of the old key", 3)
        sealed = world.enrol(patients)
        old = world.key()
        rotation.open_epoch(1, "new1").stop()
        rotation.generate_key("--anew")
        new = world.key(2)
        assert new != old
        assert rotation.rewrap(1, "custodian1")["rewrapped"] == 3
        for place in (0, 1):
            assert rotation.sums(place, new, sealed) == NULL
        assert rotation.sums(1, old, sealed) == rotation.sums(0, old, sealed) != NULL
        with rotation.seated(1) as successor:
            shares = [successor.journal.share(each.commitment) for each in sealed]
        assert None not in shares  # the vault lane lost nothing
        again, entries = world.entries(patients, version=2)
        assert [each.state for each in rotation.receive(entries)] == ["stored"] * 3
        expected = times_g(plain_sums(list(patients.values())))
        found = rotation.sums(1, new, [*sealed, *again])
        assert decrypted(found, rotation.shares(2)) == expected


def under_key(world: TalliedWorld, name: str, key: bytes) -> SealedRecord:
    """A record sealed for the current committee, whose tally is under a key of the caller's."""
    ((sealed,), _) = world.entries({name: {"smoker": "yes"}})
    encoding = encoding_of(world.custody.dictionary)
    return replace(sealed, tally=seal_tally(encoding, (None, 1), sealed.context, key))


def offered(world: TalliedWorld, sealed: SealedRecord) -> dict[str, Any]:
    assert sealed.tally is not None
    world.custody.records[sealed.context.patient] = sealed
    body = world.custody.deposit_body(sealed.context.patient, 0)
    return body | {"tally": sealed.tally.to_json()}


def put_in_use(world: TalliedWorld, sealed: SealedRecord, colluders: Sequence[str]) -> None:
    """Attested, and confirmed by custodians that verified nothing."""
    custody, context = world.custody, sealed.context
    attested = RecordAttestation(
        custody.dataset,
        context.patient,
        person_of(sealed),
        sealed.commitment,
        1,
        custody.issuer.address,
        custody.later(),
    )
    domain = custody.chain.domain("DatasetRegistry")
    issuer: LocalAccount = custody.issuer
    custody.sender.send(
        "DatasetRegistry", "registerRecord", attested, sign(attested, domain, issuer)
    )
    epoch = int(custody.chain.current_epoch())
    receipt = StorageReceipt(custody.dataset, context.patient, sealed.commitment, 1, epoch)
    keys = [custodian_keys.load(custody.data(each)).signer.secret for each in colluders]
    signed = [(place, sign(receipt, domain, key)) for place, key in enumerate(keys, 1)]
    custody.sender.send("DatasetRegistry", "confirmStorage", receipt, signed)


@pytest.mark.long
def test_a_new_record_has_to_be_under_the_current_key_and_one_in_use_under_some_key_on_chain(
    tmp_path: Path,
) -> None:
    """Whatever a quorum of colluders confirmed, an honest custodian adds up what it has verified."""
    with rotating(tmp_path) as rotation:
        world = rotation.world
        old = world.key()
        rotation.open_epoch(2, "new2").stop()
        rotation.generate_key("--anew")
        url, patient = world.processes[0].url, account("of an old key")
        post(url, "/dictionaries", {"dictionary": ENCODED}, timeout=60)
        stale = under_key(world, "of an old key", old)
        entry = world.market.attest(stale, person_of(stale), bytes(world.custody.issuer.key))
        (done_,) = rotation.receive([entry])
        assert done_.refusal is not None
        assert done_.refusal.field == "record.tally.public_key"
        world.custody.records[patient.address] = stale
        world.custody.attest([patient.address])  # past the operator
        caught = refused(
            "record_unreadable", post, url, "/shares", offered(world, stale), timeout=60
        )
        assert caught.field == "tally.public_key"

        nobodys = under_key(world, "of nobody's key", times_base(5).to_bytes())
        flipped = under_key(world, "of a bad proof", old)
        assert flipped.tally is not None
        proof = flipped.tally.proof[:-1] + bytes([flipped.tally.proof[-1] ^ 1])
        flipped = replace(flipped, tally=replace(flipped.tally, proof=proof))
        for sealed, where in ((nobodys, "tally.public_key"), (flipped, "tally.proof")):
            put_in_use(world, sealed, ["custodian1", "new2"])
            body = offered(world, sealed)
            caught = refused("record_unreadable", post, url, "/shares", body, timeout=60)
            assert caught.field == where
