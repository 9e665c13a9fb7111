"""Rules of records with a tally, from `seal` to `stored` and until erased: real processes, real API."""

from __future__ import annotations

import errno
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from marketplace.cli.main import main
from marketplace.client import marketplace as sdk
from marketplace.custodian.models import DictionaryRow, TallyRow
from marketplace.custodian.service import Custodian
from marketplace.erasures import Erasures
from marketplace.errors import Refusal
from marketplace.intake import deposits
from marketplace.intake.service import Intake
from marketplace.local.joint_key import generate_missing
from marketplace.peers import Peer
from marketplace.sealing.row import to_row
from marketplace.sealing.seal import _seal
from marketplace.vocabulary import DictionaryHash
from marketplace.wire import keyfiles
from marketplace.wire.dictionary import encode_row
from marketplace.wire.feldman import draw_coefficients, random_scalar
from marketplace.wire.paging import FRAME_BYTES, sent_bytes
from marketplace.wire.record import WITH_TALLY, SealedRecord, dump, load
from marketplace.wire.tally import SealedTally, encoding_of
from ml.homomorphic.curve import Points, times_base
from ml.homomorphic.threshold import Sum
from tests.support.chain_world import account
from tests.support.custody_world import seats_of
from tests.support.daily import daily
from tests.support.forging import OUT_OF_RANGE, forged_tally
from tests.support.refusals import refused
from tests.support.tallied_world import (
    TalliedWorld,
    Values,
    decrypted,
    person_of,
    plain_sums,
    sums_of,
    tallied_world,
    times_g,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TalliedWorld]:
    with tallied_world(tmp_path_factory.mktemp("tallied")) as made:
        yield made


def people(prefix: str, number: int) -> dict[str, Values]:
    """With every kind of gap."""
    draw = random.Random(prefix)
    found: dict[str, Values] = {}
    for i in range(number):
        systolic = draw.choice([None, Decimal(60), Decimal(260), Decimal(draw.randint(61, 259))])
        smoker = draw.choice([None, "no", "yes"])
        found[f"{prefix} {i}"] = {"systolic": systolic, "smoker": smoker}
    return found


def test_thirty_records_go_from_seal_to_stored_and_every_custodian_adds_up_what_they_say(
    world: TalliedWorld,
) -> None:
    patients = people("thirty", 30)
    sealed = world.enrol(patients)
    expected = times_g(plain_sums(list(patients.values())))
    dataset, key, found = world.custody.dataset, world.key(), []
    shares: dict[int, int] = {}
    for place in range(3):
        with world.opened(place) as custodian:
            found.append(sums_of(custodian, dataset, key, sealed))
            share = custodian.joint_shares.of(1)
            shares[share.index] = share.value
    assert found[0] == found[1] == found[2]
    for pair in combinations(sorted(shares), 2):
        assert decrypted(found[0], {index: shares[index] for index in pair}) == expected
    assert decrypted(found[0], {1: shares[1]}) != expected
    for each in sealed:
        assert world.operator.intake.records.tally(each.commitment) == each.tally
        assert world.operator.intake.records.get(each.commitment) == each.box


def test_an_upload_that_is_repeated_changes_nothing(world: TalliedWorld) -> None:
    _, entries = world.entries(people("twice", 2))
    for _ in range(2):
        assert [each["outcome"] for each in world.market.upload(entries)] == ["stored"] * 2
    before = world.state()
    assert [each["outcome"] for each in world.market.upload(entries)] == ["stored"] * 2
    assert world.state() == before


def counted(world: TalliedWorld, posted: list[tuple[str, int]]) -> Intake:
    """An intake whose uploads to the first custodian are noted: path and number of deposits."""

    class Noted(Peer):
        def post(self, path: str, body: Any, **options: Any) -> dict[str, Any]:
            if path == "/deposits":
                assert sent_bytes(body) <= vars(deposits)["LARGEST_DEPOSITS"]
            posted.append((path, len(body.get("deposits", ()))))
            return super().post(path, body, **options)

    first, *others = world.operator.intake.custodians
    return replace(world.operator.intake, custodians=(Noted(first.name, first.url), *others))


def test_uploads_to_custodians_are_cut_by_bytes_and_by_number(
    world: TalliedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entries = world.entries(people("paged", 7))
    size = sent_bytes(entries[0]["record"])
    monkeypatch.setattr(deposits, "LARGEST_DEPOSITS", 3 * size)
    monkeypatch.setattr(deposits, "MOST_DEPOSITS", 2)
    posted: list[tuple[str, int]] = []
    done = counted(world, posted).receive(entries)
    assert [(each.state, each.refusal) for each in done] == [("stored", None)] * 7
    assert posted == [("/deposits", 2)] * 3 + [("/deposits", 1)]
    posted.clear()
    _, entries = world.entries(people("paged by bytes", 4))
    monkeypatch.setattr(deposits, "LARGEST_DEPOSITS", size + 3_000)
    assert {each.state for each in counted(world, posted).receive(entries)} == {"stored"}
    assert posted == [("/deposits", 1)] * 4


def test_a_custodian_that_lost_a_dictionary_is_sent_it_and_then_the_records_again(
    world: TalliedWorld,
) -> None:
    """As one does that was set up anew; and one that has it is not sent it."""
    with world.opened(0) as custodian, custodian.journal.writing() as session:
        session.query(DictionaryRow).delete()
    for name, expected in (
        ("asked", [("/deposits", 2), ("/dictionaries", 0), ("/deposits", 2)]),
        ("not asked", [("/deposits", 2)]),
    ):
        posted: list[tuple[str, int]] = []
        _, entries = world.entries(people(name, 2))
        done = counted(world, posted).receive(entries)
        assert [[place for place, _ in each.receipts] for each in done] == [[0, 1, 2]] * 2
        assert posted == expected


def test_a_custodian_that_answers_one_upload_and_not_the_next_counts_for_the_first(
    world: TalliedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entries = world.entries(people("half way", 4))
    monkeypatch.setattr(deposits, "MOST_DEPOSITS", 2)
    seen: list[int] = []

    class Failing(Peer):
        def post(self, path: str, body: Any, **options: Any) -> dict[str, Any]:
            seen.append(1)
            if len(seen) > 1:
                raise Refusal(code="node_unreachable", message="Not now.", remedy="Later.")
            return super().post(path, body, **options)

    first, *others = world.operator.intake.custodians
    intake = replace(world.operator.intake, custodians=(Failing(first.name, first.url), *others))
    done = intake.receive(entries)
    assert [each.state for each in done] == ["stored"] * 4
    places = [[place for place, _ in each.receipts] for each in done]
    assert places == [[0, 1, 2], [0, 1, 2], [1, 2], [1, 2]]
    assert len(seen) == 2  # not asked a third time


def test_uploads_to_the_operator_are_cut_by_bytes_and_by_number(
    world: TalliedWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, entries = world.entries(people("cut", 5))
    market, posted = world.market, list[int]()
    post = market.api.post

    def noted(path: str, body: Any) -> dict[str, Any]:
        posted.append(len(body["entries"]))
        return post(path, body)

    monkeypatch.setattr(market.api, "post", noted)
    largest = max(sent_bytes(each) for each in entries)
    for most, room, expected in ((2, 100, [2, 2, 1]), (500, 3, [3, 2]), (500, 1, [1] * 5)):
        monkeypatch.setattr(sdk, "MOST_RECORDS", most)
        monkeypatch.setattr(sdk, "LARGEST_UPLOAD", room * (largest + 1) + FRAME_BYTES)
        assert [each["outcome"] for each in market.upload(entries)] == ["stored"] * 5
        assert posted == expected
        posted.clear()


def test_the_commands_seal_and_upload_a_record_with_its_tally(
    world: TalliedWorld, tmp_path: Path
) -> None:
    issuer, bundle, out = (tmp_path / name for name in ("issuer.key", "bundle.json", "sealed.json"))
    keyfiles.create(issuer, bytes(world.custody.issuer.key))
    bundle.write_text(json.dumps(BUNDLE))
    common = ["--url", world.url]
    command = ["seal", *common, "--node", world.custody.node_url]
    command += ["--manifest", str(world.custody.folder / "manifest.json")]
    command += ["--dataset", "0x" + world.custody.dataset.hex()]
    command += ["--patient", account("by command").address, "--fhir", str(bundle)]
    command += ["--issuer-key-file", str(issuer), "--person", "0x" + "77" * 32, "--out", str(out)]
    said = json.loads(done(command))
    assert said["sealed"] == ["systolic"]
    assert json.loads(out.read_text())["record"]["schema"] == WITH_TALLY
    (stored,) = json.loads(done(["upload", *common, str(out)]))
    assert stored["outcome"] == "stored"
    tally = world.operator.intake.records.tally(bytes.fromhex(said["commitment"][2:]))
    assert tally is not None
    assert tally.public_key == world.key()


BUNDLE = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {"resource": {"resourceType": "Patient", "id": "one"}},
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "subject": {"reference": "Patient/one"},
                "effectiveDateTime": "2026-01-01",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
                "valueQuantity": {
                    "value": 131,
                    "unit": "mm[Hg]",
                    "system": "http://unitsofmeasure.org",
                    "code": "mm[Hg]",
                },
            }
        },
    ],
}


def done(arguments: list[str]) -> str:
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 0, ended.output
    return ended.stdout


# --- refused before anything is kept


def bent(what: str, tally: SealedTally, other: SealedTally) -> SealedTally:
    return {
        "key": replace(tally, public_key=times_base(5).to_bytes()),
        "columns": replace(tally, columns=tally.columns[:-66]),
        "length": replace(tally, proof=tally.proof[:-32]),
        "proof": replace(tally, proof=tally.proof[:-1] + bytes([tally.proof[-1] ^ 1])),
        "replayed": other,
    }[what]


BENT = {
    "key": ("record.tally.public_key", "another joint key"),
    "columns": ("record.tally.columns", "another number of columns"),
    "length": ("record.tally.proof", "another length"),
    "proof": ("record.tally.proof", "The proof does not hold: "),
    "replayed": ("record.tally.proof", "it may have been made for another."),
    **dict.fromkeys(OUT_OF_RANGE, ("record.tally.proof", "not hold: a product does not hold.")),
}


def forged_for(world: TalliedWorld, made: SealedRecord, what: str) -> SealedTally:
    """Of this record's patient, by a prover who does not stop at a value out of range."""
    encoding = encoding_of(world.custody.dictionary)
    row = to_row(world.custody.dictionary, {"systolic": Decimal(120), "smoker": "yes"})
    return forged_tally(encoding, row, made.context, world.key(), OUT_OF_RANGE[what])


def bent_entry(world: TalliedWorld, what: str) -> dict[str, Any]:
    """An attested record whose tally is spoilt; the issuer's word covers it as it is."""
    (one, two), _ = world.entries(people(f"bent {what}", 2))
    assert one.tally is not None
    assert two.tally is not None
    is_forged = what in OUT_OF_RANGE
    tally = forged_for(world, one, what) if is_forged else bent(what, one.tally, two.tally)
    spoilt = replace(one, tally=tally)
    return world.market.attest(spoilt, person_of(spoilt), bytes(world.custody.issuer.key))


@pytest.mark.parametrize(
    "what", daily(BENT, ["key", "proof", "replayed", "beyond its bounds", "two indicators"])
)
def test_a_tally_that_no_custodian_would_take_is_refused_before_anything_is_kept(
    world: TalliedWorld, what: str
) -> None:
    entry, before = bent_entry(world, what), world.state()
    (said,) = world.market.upload([entry])
    field, words = BENT[what]
    assert (said["outcome"], said["code"]) == ("refused", "record_unreadable")
    assert said["field"] == field
    assert words in said["detail"]
    assert said["remedy"]
    assert world.state() == before


def test_spoilt_tallies_sink_no_good_one_of_the_same_upload(world: TalliedWorld) -> None:
    _, good = world.entries(people("beside the spoilt", 2))
    entries = [good[0], bent_entry(world, "proof"), good[1]]
    given = world.market.upload(entries)
    assert [each["outcome"] for each in given] == ["stored", "refused", "stored"]


def test_a_tally_for_another_dictionary_or_for_one_without_an_encoding_is_refused(
    world: TalliedWorld,
) -> None:
    (one,), _ = world.entries(people("another dictionary", 1))
    other = replace(
        one, context=replace(one.context, dictionary_hash=DictionaryHash(bytes([7]) * 32))
    )
    plain = replace(world.operator.intake, published=lambda _: no_encoding(world))
    before = world.state()
    issuer = bytes(world.custody.issuer.key)
    (said,) = world.market.upload([world.market.attest(other, person_of(other), issuer)])
    assert (said["code"], said["field"]) == ("wrong_dictionary", "record.dictionary_hash")
    context = replace(one.context, dictionary_hash=no_encoding(world).hash())
    unencoded = replace(one, context=context)
    (done,) = plain.receive([world.market.attest(unencoded, person_of(unencoded), issuer)])
    assert done.refusal is not None
    assert (done.refusal.code, done.refusal.field) == ("record_unreadable", "tally")
    assert world.state() == before


def no_encoding(world: TalliedWorld) -> Any:
    return replace(world.custody.dictionary, encoding=None)


def test_a_record_whose_dictionary_the_operator_lacks_is_refused_and_says_whom_to_ask(
    world: TalliedWorld,
) -> None:
    def lacking(_: bytes) -> Any:
        raise Refusal(code="dictionary_missing", message="Not here.", remedy="Ask the steward.")

    _, entries = world.entries(people("no dictionary", 1))
    before = world.state()
    (done,) = replace(world.operator.intake, published=lacking).receive(entries)
    assert done.refusal is not None
    assert done.refusal.code == "dictionary_missing"
    assert world.state() == before


def test_a_record_without_a_tally_is_taken_and_counts_as_null_in_this_lane(
    world: TalliedWorld,
) -> None:
    """As one that an older client sealed: it serves the vault lane."""
    (one,), _ = world.entries(people("no tally", 1))
    committee, dictionary = world.custody.chain.committee(), world.custody.dictionary
    row = to_row(dictionary, {"systolic": Decimal(100)})
    bare = _seal(
        encode_row(dictionary, row),
        one.context,
        seats_of(committee),
        one.epoch,
        coefficients=draw_coefficients(random_scalar(), committee.quorum),
        nonce=bytes(12),
    )
    entry = world.market.attest(bare, person_of(bare), bytes(world.custody.issuer.key))
    (said,) = world.market.upload([entry])
    assert said["outcome"] == "stored", said
    records = world.operator.intake.records
    assert records.holds(bare.commitment)
    assert records.tally(bare.commitment) is None
    with world.opened(0) as custodian:
        sums = sums_of(custodian, world.custody.dataset, world.key(), [bare])
    assert sums == [Sum.zero()] * len(sums)


# --- a full disk


class SmallDisk:
    """Writes that go beyond `left` bytes fail as on a full disk, after a part of them was written."""

    def __init__(self, write: Callable[..., Any], left: int) -> None:
        self.write, self.left = write, left

    def __call__(self, path: str, value: bytes, **options: Any) -> None:
        self.write(path, value[: self.left], **options)
        if len(value) > self.left:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        self.left -= len(value)


@pytest.mark.parametrize(
    "room",
    daily(["for no tally", "for one tally", "for one record and a tally"], ["for one tally"]),
)
def test_a_full_disk_leaves_no_row_and_no_file_of_an_upload_and_takes_it_later(
    world: TalliedWorld, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    sealed, entries = world.entries(people(f"room {room}", 2))
    box, tally = (len(sealed[0].box), 37 + tally_bytes(sealed[0]))
    left = {
        "for no tally": tally - 1,
        "for one tally": tally + 1,
        "for one record and a tally": 2 * tally + box + 1,
    }[room]
    before = world.state()
    files = world.operator.intake.records._folder._files
    with monkeypatch.context() as patch:
        patch.setattr(files, "pipe_file", SmallDisk(files.pipe_file, left))
        caught = refused("storage_full", world.market.upload, entries)
    assert caught.field == "disk"
    assert world.state() == before
    assert [each["outcome"] for each in world.market.upload(entries)] == ["stored"] * 2


def tally_bytes(sealed: SealedRecord) -> int:
    assert sealed.tally is not None
    return len(sealed.tally.columns) + len(sealed.tally.proof)


# --- what the chain refuses


def test_a_tallied_record_that_the_chain_refuses_leaves_no_file(world: TalliedWorld) -> None:
    patients = people("refused on chain", 1)
    _, entries = world.entries(patients, version=7)
    before = world.state()
    (said,) = world.market.upload(entries)
    assert said["code"] == "wrong_record_version"
    assert world.state() == before


# --- erased


def test_an_erased_record_leaves_the_operator_and_every_custodian_and_every_sum(
    world: TalliedWorld,
) -> None:
    patients = people("erased", 3)
    sealed = world.enrol(patients)
    gone, *left = sealed
    assert gone.tally is not None
    column = gone.tally.columns[:66]
    cell = Points.parse(column).memory.tobytes()[:64]
    dataset, key = world.custody.dataset, world.key()
    for place in range(3):
        with world.opened(place) as custodian:
            sums_of(custodian, dataset, key, sealed)
        assert found_in(world, place, column)  # in the journal
        assert found_in(world, place, cell)  # among the columns that sums read
    world.custody.tick()
    world.custody.erase(account("erased 0"))
    records = world.operator.intake.records
    assert records.tally(gone.commitment) is not None
    Erasures(world.operator.chain, records).catch_up()
    assert records.tally(gone.commitment) is None
    assert [name for name in world.files() if name.startswith(gone.commitment.hex())] == []
    assert all(records.tally(each.commitment) == each.tally for each in left)
    for place in range(3):
        with world.opened(place) as custodian:
            await_erased(custodian, gone.commitment)
            assert custodian.tallies.of(gone.commitment) is None
            assert sums_of(custodian, dataset, key, sealed) == sums_of(
                custodian, dataset, key, left
            )
        assert not found_in(world, place, column)
        assert not found_in(world, place, cell)


def await_erased(custodian: Custodian, commitment: bytes) -> None:
    """Until its process has followed the chain there: no row is left, and so no cell is to be wiped."""
    until = time.monotonic() + 60
    while True:
        with custodian.journal.reading() as session:
            if session.get(TallyRow, commitment) is None:
                return
        assert time.monotonic() < until
        time.sleep(0.1)


def found_in(world: TalliedWorld, place: int, needle: bytes) -> list[str]:
    """The files of a custodian in which these bytes lie."""
    folder = world.custody.data(f"custodian{place}")
    files = [each for each in folder.rglob("*") if each.is_file()]
    return [each.name for each in files if needle in each.read_bytes()]


# --- what clients are told


def test_operator_and_custodians_tell_the_joint_key_and_sdk_and_files_carry_it(
    world: TalliedWorld, tmp_path: Path
) -> None:
    named = "0x" + world.key().hex()
    told = httpx.get(world.url + "/api/v1/committee", timeout=60).json()
    assert told["joint_key"] == named
    for process in world.processes:
        assert httpx.get(process.url + "/health", timeout=60).json()["joint_key"] == named
    (one,), _ = world.entries(people("to a file", 1))
    assert one.tally is not None
    assert one.tally.public_key == world.key()
    assert load(dump(one)) == one


def test_nobody_seals_for_the_lane_before_the_committee_has_its_key(tmp_path: Path) -> None:
    with tallied_world(tmp_path, with_key=False) as world:
        told = httpx.get(world.url + "/api/v1/committee", timeout=60).json()
        assert told["joint_key"] is None
        seat = httpx.get(world.processes[0].url + "/health", timeout=60).json()
        assert seat["joint_key"] is None
        caught = refused("no_joint_key", world.market.sealer, world.custody.dataset)
        assert "usufruct generate-key" in caught.remedy
        words: list[str] = []
        chain, urls = world.custody.chain, [each.url for each in world.processes]
        signers = [each.signer for each in chain.committee().members]
        admin = world.custody.operator
        # A local market keeps out of an epoch that seats others than its own custodians.
        others = [*signers[:2], account("somebody else's").address]
        assert not generate_missing(chain, admin, others, urls, words.append)
        assert chain.joint_key(1)[0] == b""
        assert generate_missing(chain, admin, signers, urls, words.append)
        assert not generate_missing(chain, admin, signers, urls, words.append)
        assert words == ["the custodians generate their joint key"]
        sealed = world.enrol(people("afterwards", 1))
        assert sealed[0].tally is not None
