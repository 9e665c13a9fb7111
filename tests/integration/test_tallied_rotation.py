"""Rules of tallies when the committee changes: they go over with the shares, under whatever joint key."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from eth_account.signers.local import LocalAccount
from sqlalchemy import select

from marketplace.chain.deploy import CommitteeSeat, open_epoch
from marketplace.chain.joint_keys import joint_key_of
from marketplace.custodian import keys as custodian_keys
from marketplace.custodian import rewrap
from marketplace.custodian.holders import FOLDER
from marketplace.custodian.models import EntryRow, ShareRow, TallyRow
from marketplace.custodian.service import Custodian
from marketplace.peers import Peer
from marketplace.receipts.proofs import PROOFS
from marketplace.receipts.recount import STEPS as RECOUNTED
from marketplace.receipts.verify import TALLY_STEPS, verify
from marketplace.sealing.tally import seal_tally
from marketplace.tallying import Decrypted
from marketplace.wire.canonical import canonical
from marketplace.wire.http import to_hex
from marketplace.wire.http_client import post
from marketplace.wire.paging import sent_bytes
from marketplace.wire.record import SealedRecord
from marketplace.wire.structs import RecordAttestation, StorageReceipt, sign
from marketplace.wire.tally import encoding_of
from ml.homomorphic.curve import times_base, total
from ml.homomorphic.threshold import Sum, sums_from_bytes
from tests.integration.test_tallied_records import done, people
from tests.support.chain_world import account
from tests.support.custody_world import Process
from tests.support.keygen_world import DEAD
from tests.support.ports import free_port
from tests.support.refusals import refused
from tests.support.tallied_world import (
    COLUMNS,
    ENCODED,
    TalliedWorld,
    Values,
    decrypted,
    person_of,
    plain_sums,
    sums_of,
    tallied_world,
    times_g,
)
from tests.support.tally_receipts import ANALYSIS, MEAN, settle
from tests.support.tally_world import Mortal, TallyWorld

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

    def open_epoch(self, place: int, folder: str, kind: type[Process] = Process) -> Process:
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
            kind("custodian", config, custody.folder),
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
        return dict(json.loads(done(self.rewrap_command(place, leaving))))

    def rewrap_command(self, place: int, leaving: str) -> list[str]:
        custody = self.world.custody
        config = custody.custodian_config(place, data=custody.data(leaving))
        path = custody.folder / f"{leaving}.leaving.json"
        path.write_text(json.dumps(config.model_dump(mode="json")))
        identity = custody.folder / f"{self.folders[place]}.identity.json"
        data = str(custody.data(self.folders[place]))
        identity.write_text(done(["custodian", "init", "--data", data]))
        command = ["custodian", "rewrap", "--config", str(path), "--epoch", str(self.epoch)]
        return [*command, "--successor", str(identity), "--to", self.world.processes[place].url]

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


@dataclass(frozen=True)
class HandedOn:
    """`sealed` for epoch 1, and consented to then; at place 0 sits a new custodian since, and the old one is
    gone. `sent`: the paths that its rewrap posted to, before the key had gone over.
    """

    rotation: Rotating
    patients: dict[str, Values]
    sealed: list[SealedRecord]
    key: bytes
    was_keyless: bool
    rewrapped: dict[str, Any]
    sent: list[str]

    @property
    def market(self) -> TallyWorld:
        """The same, for asking."""
        world = self.rotation.world
        return TallyWorld(world.custody, [each.url for each in world.processes])


@pytest.fixture(scope="module")
def handed_on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HandedOn]:
    with rotating(tmp_path_factory.mktemp("handed-on")) as rotation:
        world, patients = rotation.world, people("stays", 5)
        custody, sealed = world.custody, world.enrol(patients)
        custody._batch("ConsentRegistry", [custody.grant(account(name)) for name in patients])
        key, old_urls = world.key(), [each.url for each in world.processes]
        leaves = rotation.open_epoch(0, "new0")
        was_keyless = joint_key_of(custody.chain, rotation.epoch) is None
        with pytest.MonkeyPatch.context() as patch:
            sent = small_uploads(patch, 2 * largest_deposit(world, sealed) + 2_048)
            rewrapped = rotation.rewrap(0, "custodian0")
        rotation.generate_key(
            "--from-epoch", "1", *(part for url in old_urls for part in ("--leaving", url))
        )
        assert leaves.stop() == 0
        yield HandedOn(rotation, patients, sealed, key, was_keyless, rewrapped, sent)


def test_tallies_go_over_with_the_shares_and_count_under_a_key_that_is_handed_on(
    handed_on: HandedOn,
) -> None:
    rotation, patients, sealed = handed_on.rotation, handed_on.patients, handed_on.sealed
    world, key = rotation.world, handed_on.key
    assert handed_on.was_keyless  # and all the same:
    assert handed_on.rewrapped["rewrapped"] == 5
    # The first brought no dictionary; it is sent once.
    assert handed_on.sent == ["/deposits", "/dictionaries", *["/deposits"] * 3, "/handovers"]
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


def test_a_request_is_answered_by_the_committee_that_the_key_was_handed_to(
    handed_on: HandedOn,
) -> None:
    """About records that nobody encrypted again: what is added up are the bytes that epoch 1 took in."""
    market, chain = handed_on.market, handed_on.rotation.world.custody.chain
    request = market.sealed("handed on", ANALYSIS, MEAN)
    assert chain.request(request).epoch == handed_on.rotation.epoch == 2
    # Without place 2, the custodian that is new has to be one of the quorum.
    peers = [*market.peers[:2], Peer("custodian 3", DEAD)]
    tallying = market.tallying(request, ANALYSIS, MEAN, peers)
    found = tallying.decrypt(tallying.see_to_noise(market.world.sender, MEAN), MEAN)
    assert [part.place for part in found.parts] == [0, 1]
    require_true_but_for_noise(handed_on, request, found)
    answered = settle(market, request, found)
    assert chain.request(request).stage.name == "SETTLED"
    raw = answered.bundle()
    told = verify(canonical(answered.receipt()), chain, bundle=BytesIO(raw))
    assert (told.steps, told.not_done) == ((*TALLY_STEPS, *RECOUNTED), (PROOFS,))
    shown = {line["commitment"]: line["tally"] for line in map(json.loads, raw.splitlines()[1:])}
    assert shown.keys() == {to_hex(each.commitment) for each in handed_on.sealed}
    assert None not in shown.values()


def require_true_but_for_noise(handed_on: HandedOn, request: bytes, found: Decrypted) -> None:
    """As far from the truth as the noise that was revealed, and no further than that is proven to be."""
    rotation, market = handed_on.rotation, handed_on.market
    forms, shares = market.forms(ANALYSIS, MEAN), market.question(request, ANALYSIS, MEAN).shares
    columns = plain_sums(list(handed_on.patients.values()))
    truth = [sum(columns[at] * weight for at, weight in form.items()) for form in forms]
    room = len(found.reveals) * shares.bound(len(found.reveals))
    far = room + max(map(abs, truth))
    off = [
        opened - true
        for opened, true in zip(market.opened(found.sealed_result, -far, far), truth, strict=True)
    ]
    print(f"the truth {truth}, off by {off}, at most {room}")
    assert max(map(abs, off)) <= room
    noises = [
        decrypted(sums_from_bytes(each.contribution.columns), rotation.shares(2))
        for each in found.reveals.values()
    ]
    assert times_g(off) == [total(each) for each in zip(*noises, strict=True)]


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


@pytest.mark.long
def test_a_successor_that_dies_as_it_takes_over_has_everything_once_and_signs_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed twice with the first record on disk and its receipt not sent, and once more with the word of its
    predecessor that all went over.
    """
    with rotating(tmp_path) as rotation:
        world, patients = rotation.world, people("goes over", 3)
        sealed, key = world.enrol(patients), world.key()
        rotation.open_epoch(0, "new0", Mortal)
        url, brought = world.processes[0].url, {"dictionary": ENCODED}
        post(url, "/dictionaries", brought, timeout=60)  # the first refusal would be for want of it
        command = [*rotation.rewrap_command(0, "custodian0"), "--page", "1"]
        given = answers(monkeypatch)
        taken = [dies(rotation, "/deposits", command) for _ in range(2)]
        assert [len(each) for each in taken] == [1, 1]
        assert taken[0] == taken[1]  # commitment and signature
        assert given == []
        whole = dies(rotation, "/handovers", command)
        assert whole.items() >= taken[0].items()
        assert json.loads(done(command))["rewrapped"] == 3
        said = [each["signature"] for path, each in given if path == "/deposits"]
        assert sorted(said) == sorted(map(to_hex, whole.values()))
        assert down(rotation) == whole
        assert rotation.sums(0, key, sealed) == rotation.sums(1, key, sealed) != NULL


def dies(rotation: Rotating, path: str, command: Sequence[str]) -> dict[bytes, bytes]:
    """Has the successor at place 0 die before it answers there, and starts it again; what it has then."""
    process = rotation.world.processes[0]
    assert isinstance(process, Mortal)
    process.die_at(path)
    with pytest.raises(AssertionError, match="peer_unreachable"):
        done(list(command))
    assert process.wait() == -signal.SIGKILL
    found = down(rotation)
    process.start()
    return found


def down(rotation: Rotating) -> dict[bytes, bytes]:
    """The signature of each record that the successor at place 0 took in once, with its tally. Ends it."""
    process = rotation.world.processes[0]
    if process.process.poll() is None:
        process.kill()
    with rotation.seated(0) as successor:
        successor.journal.require_intact()
        with successor.journal.reading() as session:
            rows = {each.commitment: each.signature for each in session.scalars(select(ShareRow))}
            tallies = session.scalars(
                select(TallyRow.commitment).where(TallyRow.columns.is_not(None))
            )
            assert set(tallies) == set(rows)
            stored = select(EntryRow.body).where(EntryRow.kind == "share-stored")
            noted = [json.loads(each)["commitment"] for each in session.scalars(stored)]
    assert sorted(noted) == sorted(map(to_hex, rows))
    return rows


def answers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    """From now on, what a rewrap is answered: the path, and each outcome by itself."""
    given: list[tuple[str, Any]] = []

    def noted(url: str, path: str, body: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        answer = post(url, path, body, **options)
        given.extend((path, each) for each in answer.get("outcomes", [answer]))
        return answer

    monkeypatch.setattr(rewrap, "post", noted)
    return given


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
