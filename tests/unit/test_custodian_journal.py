"""Rules of a custodian's memory: hash chain, durability, refusal when full, destruction for good."""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses.catalogue import known_in, lanes_of
from marketplace.chain.allowance import WALLET_FAILURES
from marketplace.custodian import keys
from marketplace.custodian.config import KNOWN_ANALYSES, RELEASE_KINDS, load_config
from marketplace.custodian.failures import Failures
from marketplace.custodian.journal import (
    DESTROYED,
    FILE_NAME,
    GENESIS,
    Head,
    Journal,
    JournalBehind,
)
from marketplace.custodian.models import RestoredRow, ShareRow, TallyRow
from marketplace.errors import BadParameter, RecordUnreadable, Refusal
from marketplace.vocabulary import (
    Address,
    DatasetId,
    DictionaryHash,
    Epoch,
    Lane,
    patient_address,
)
from marketplace.wire import feldman, record, sqlite
from marketplace.wire.canonical import canonical
from marketplace.wire.header import RecordHeader, read_header
from marketplace.wire.http import to_hex
from marketplace.wire.record import RecordContext, SealedRecord

DATASET = b"\x11" * 30 + b"\0\0"
HOLDER = "0x00000000000000000000000000000000000000AA"
CANARY = b"canary-share-value-that-must-be-wiped!!"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal.open(tmp_path)


def grow(journal: Journal, kind: str, number: int) -> Head:
    with journal.writing() as session:
        return journal.append(session, kind, {"number": number})


def share_row(name: bytes, holder: str = HOLDER, sealed: bytes = CANARY) -> ShareRow:
    return ShareRow(
        commitment=name.ljust(32, b"\0"),
        dataset=DATASET,
        holder=holder,
        version=1,
        epoch=1,
        share_index=1,
        header="{}",
        sealed=sealed,
        signature=b"s",
    )


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["turned", "settled"]), st.integers(0, 9)), max_size=6))
def test_equal_entries_in_equal_order_give_one_head_and_no_others_do(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, int]]
) -> None:
    heads = []
    for listed in (entries, entries, [*entries, ("turned", 10)], [("turned", 10), *entries]):
        journal = Journal.open(tmp_path_factory.mktemp("j"))
        for entry in listed:
            grow(journal, *entry)
        heads.append(journal.head())
        journal.require_intact()
    assert heads[0] == heads[1]
    assert heads[0].height == len(entries)
    assert heads[2].hash != heads[0].hash
    assert (heads[2] == heads[3]) == (not entries)


def test_a_journal_that_was_altered_anywhere_is_refused(journal: Journal, tmp_path: Path) -> None:
    for number in range(3):
        grow(journal, "turned", number)
    with sqlite3.connect(tmp_path / FILE_NAME) as raw:
        raw.execute("UPDATE journal SET body = ? WHERE height = 2", (b'{"number":9}',))
    with pytest.raises(Refusal, match="entry 2") as refused:
        journal.require_intact()
    assert refused.value.code == "journal_damaged"


def test_a_journal_behind_or_beside_its_anchor_is_refused(journal: Journal) -> None:
    first = grow(journal, "turned", 1)
    second = grow(journal, "turned", 2)
    journal.require_reaches(0, GENESIS)
    journal.require_reaches(first.height, first.hash)
    journal.require_reaches(second.height, second.hash)
    with pytest.raises(JournalBehind):
        journal.require_reaches(3, b"\x01" * 32)
    with pytest.raises(JournalBehind):
        journal.require_reaches(2, first.hash)


def test_a_failed_act_leaves_no_entry(journal: Journal) -> None:
    class Interrupted(Exception):
        pass

    def act() -> None:
        with journal.writing() as session:
            journal.append(session, "turned", {"number": 1})
            raise Interrupted

    with pytest.raises(Interrupted):
        act()
    assert journal.head() == Head(0, GENESIS)


def test_a_full_disk_refuses_and_keeps_what_was_there(tmp_path: Path) -> None:
    whole = Journal.open(tmp_path)
    grow(whole, "turned", 0)
    before = whole.head()
    pages = sqlite3.connect(tmp_path / FILE_NAME).execute("PRAGMA page_count").fetchone()[0]
    whole.engine.dispose()
    full = Journal.open(tmp_path, max_pages=pages)

    def act() -> None:
        with full.writing() as session:
            session.add(share_row(b"one", sealed=b"x" * 100_000))
            full.append(session, "share-stored", {"commitment": "one"})

    with pytest.raises(Refusal) as refused:
        act()
    assert (refused.value.code, refused.value.field) == ("storage_full", "disk")
    assert "Free disk space" in refused.value.remedy
    assert full.head() == before
    assert full.share(b"one".ljust(32, b"\0")) is None


def test_a_destroyed_share_is_in_no_file_and_never_comes_back(
    journal: Journal, tmp_path: Path
) -> None:
    with journal.writing() as session:
        session.add_all([share_row(b"one"), share_row(b"two", holder="0xother", sealed=b"kept")])
    stored = b"".join(path.read_bytes() for path in tmp_path.glob(FILE_NAME + "*"))
    assert CANARY in stored
    with journal.writing() as session:
        assert journal.destroy(session, DATASET, HOLDER) == 1
        assert journal.destroy(session, DATASET, HOLDER) == 0
    journal.wipe()
    left = b"".join(path.read_bytes() for path in tmp_path.glob(FILE_NAME + "*"))
    assert CANARY not in left
    assert journal.is_erased(b"one".ljust(32, b"\0"))
    assert not journal.is_erased(b"two".ljust(32, b"\0"))
    assert journal.share(b"two".ljust(32, b"\0")) is not None
    assert journal.head().height == 1


@contextmanager
def read_by_another(path: Path) -> Iterator[None]:
    """A process that looks at the file as it was, and does not let go."""
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM shares").fetchone()
        yield
    finally:
        other.close()


def test_what_a_reader_keeps_on_the_disk_is_not_said_to_be_destroyed(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_MILLISECONDS", 10)
    with journal.writing() as session:
        session.add(share_row(b"one"))
    with journal.writing() as session:
        journal.destroy(session, DATASET, HOLDER)
    with read_by_another(tmp_path / FILE_NAME):
        for _ in range(2):
            with pytest.raises(sqlite.NotYetDestroyed) as refused:
                journal.wipe_destroyed()
        assert "may still lie" in refused.value.message
        left = b"".join(path.read_bytes() for path in tmp_path.glob(FILE_NAME + "*"))
        assert CANARY in left
    journal.wipe_destroyed()
    left = b"".join(path.read_bytes() for path in tmp_path.glob(FILE_NAME + "*"))
    assert CANARY not in left
    with journal.engine.connect() as connection:
        timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
    assert timeout == sqlite.BUSY_MILLISECONDS


def test_a_reader_that_never_lets_go_makes_the_log_no_longer_each_time(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_MILLISECONDS", 10)
    with journal.writing() as session:
        session.add_all(share_row(b"%d" % number) for number in range(200))
    with journal.writing() as session:
        journal.destroy(session, DATASET, HOLDER)
    log = tmp_path / (FILE_NAME + "-wal")
    with read_by_another(tmp_path / FILE_NAME):
        lengths = []
        for _ in range(4):
            with pytest.raises(sqlite.NotYetDestroyed):
                journal.wipe_destroyed()
            lengths.append(log.stat().st_size)
    assert len(set(lengths)) == 1, lengths


@pytest.mark.parametrize("is_one_disk", [True, False])
def test_a_file_is_rewritten_only_where_there_is_room_for_it(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_one_disk: bool
) -> None:
    """Else the disk is full for everybody there while it lasts, in vain, whenever it is tried."""
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path if is_one_disk else "/dev/shm"))
    with journal.writing() as session:
        session.add_all(share_row(b"%d" % number) for number in range(200))
    with journal.writing() as session:
        journal.destroy(session, DATASET, HOLDER)
    file, log, free = tmp_path / FILE_NAME, tmp_path / (FILE_NAME + "-wal"), [0]

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free[0] if folder == tmp_path else 1 << 40)

    monkeypatch.setattr("shutil.disk_usage", usage)
    with pytest.raises(Refusal) as refused:
        journal.wipe_destroyed()
    assert refused.value.code == "storage_full"
    assert log.stat().st_size == 0
    size = file.stat().st_size
    needed = sqlite.SPARE_BYTES + size * (2 if is_one_disk else 1)
    free[0] = needed - 1
    with pytest.raises(Refusal):
        journal.wipe_destroyed()
    free[0] = needed
    journal.wipe_destroyed()
    assert file.stat().st_size < size


def test_what_is_destroyed_while_an_earlier_one_is_wiped_is_wiped_too(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    true, wiped = journal.wipe, list[int]()

    def wipe() -> None:
        true()
        wiped.append(1)
        if len(wiped) == 1:  # after the log was emptied, before that is noted
            with journal.writing() as session:
                journal.append(session, DESTROYED, {})

    monkeypatch.setattr(journal, "wipe", wipe)
    with journal.writing() as session:
        journal.append(session, DESTROYED, {})
    journal.wipe_destroyed()
    journal.wipe_destroyed()
    journal.wipe_destroyed()
    assert wiped == [1, 1]


def test_a_disk_that_fails_at_wiping_is_a_refusal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite, "_empty_log", fails)
    with pytest.raises(Refusal) as refused:
        journal.wipe()
    assert refused.value.code == "storage_full"


def test_what_was_wiped_is_wiped_once_and_what_a_crash_left_is_known_by_the_journal(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with journal.writing() as session:
        session.add(share_row(b"one"))
    with journal.writing() as session:
        journal.destroy(session, DATASET, HOLDER)
    journal.engine.dispose()  # a crash before the wiping
    again, wiped = Journal.open(tmp_path), list[int]()
    monkeypatch.setattr(again, "wipe", lambda: wiped.append(1))
    again.wipe_destroyed()
    again.wipe_destroyed()
    assert wiped == [1]
    assert again.head().height == 2


def restored_row(name: bytes, version: int = 1) -> RestoredRow:
    commitment = name.ljust(32, b"\0")
    row = {"dataset": DATASET, "holder": HOLDER, "version": version, "header": '{"of":"it"}'}
    return RestoredRow(commitment=commitment, **row)


def test_a_record_that_came_without_its_share_moves_and_is_erased_like_any_other(
    journal: Journal,
) -> None:
    one, two = (name.ljust(32, b"\0") for name in (b"one", b"two"))
    tally = {"folder": "f", "public_key": b"k" * 33, "proof": b"p"}
    with journal.writing() as session:
        session.add_all([restored_row(b"one"), restored_row(b"two", version=2)])
        for at, name in enumerate((one, two)):
            session.add(TallyRow(commitment=name, row=at, columns=CANARY, **tally))
    assert journal.headers([one, two, bytes(32)]) == dict.fromkeys((one, two), '{"of":"it"}')
    assert journal.holders() == {DATASET: [HOLDER]}
    with journal.writing() as session:
        journal.move(session, DATASET, HOLDER, "0xnew")
    assert journal.holders() == {DATASET: ["0xnew"]}
    with journal.writing() as session:
        assert journal.destroy(session, DATASET, HOLDER) == 0
        assert journal.destroy(session, DATASET, "0xnew", newest=1) == 1
    assert (journal.is_erased(one), journal.is_erased(two)) == (True, False)
    with journal.reading() as session:
        assert session.get_one(TallyRow, one).columns is None
        assert session.get_one(TallyRow, two).columns == CANARY


def test_a_newer_version_than_the_erased_one_stays(journal: Journal) -> None:
    with journal.writing() as session:
        newer = share_row(b"two")
        newer.version = 2
        session.add_all([share_row(b"one"), newer])
    with journal.writing() as session:
        assert journal.destroy(session, DATASET, HOLDER, 1) == 1
    assert not journal.is_erased(b"two".ljust(32, b"\0"))
    assert journal.share(b"two".ljust(32, b"\0")) is not None
    with journal.writing() as session:
        assert journal.destroy(session, DATASET, HOLDER) == 1


def test_a_moved_patient_is_erased_under_the_new_address(journal: Journal) -> None:
    with journal.writing() as session:
        session.add(share_row(b"one"))
    with journal.writing() as session:
        journal.move(session, DATASET, HOLDER, "0xnew")
        assert journal.destroy(session, DATASET, HOLDER) == 0
        assert journal.destroy(session, DATASET, "0xnew") == 1


def test_keys_are_made_once_and_read_only_by_their_owner(tmp_path: Path) -> None:
    made = keys.create(tmp_path, 1)
    assert keys.create(tmp_path, 1) == made
    second = keys.create(tmp_path, 2)
    assert second["signer"] == made["signer"]
    assert second["x25519"] != made["x25519"]
    paths = list((tmp_path / "keys").iterdir())
    assert len(paths) == 5
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in paths)
    held = keys.load(tmp_path)
    assert held.for_public(bytes.fromhex(made["x25519"][2:])) is not None
    assert held.for_public(bytes(32)) is None


def test_no_key_prints(tmp_path: Path) -> None:
    keys.create(tmp_path, 1)
    held = keys.load(tmp_path)
    secrets = [held.signer.secret, held.relay.secret, held.storage, held.envelopes[0].raw]
    printed = repr(held) + str(held)
    assert not any(secret.hex() in printed or repr(secret) in printed for secret in secrets)


@pytest.mark.parametrize("problem", ["missing", "open", "short", "text"])
def test_a_key_file_that_is_not_right_is_refused_by_name(tmp_path: Path, problem: str) -> None:
    keys.create(tmp_path, 1)
    path = tmp_path / "keys" / "storage.key"
    if problem == "missing":
        path.unlink()
    elif problem == "open":
        path.chmod(0o644)
    else:
        path.write_text("00ff" if problem == "short" else "not hexadecimal")
    with pytest.raises(Refusal) as refused:
        keys.load(tmp_path)
    assert refused.value.code == "key_file"
    assert "storage.key" in refused.value.message


def test_a_configuration_with_an_unknown_or_wrong_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    good = {"place": 0, "node_url": "http://x", "manifest": "m.json", "data": "d"}
    path.write_bytes(canonical(good))
    assert load_config(path).data == tmp_path / "d"
    for change in (
        {"plaice": 1},
        {"place": 16},
        {"minimum_cohort": 1},
        {"known_analyses": ["all"]},
    ):
        path.write_bytes(canonical(good | change))
        with pytest.raises(Refusal) as refused:
            load_config(path)
        assert refused.value.code == "bad_configuration"
        assert str(refused.value.field).startswith(next(iter(change)))


def test_custodians_know_exactly_the_catalogue() -> None:
    for lane in Lane:
        for each in known_in(lane).values():
            assert RELEASE_KINDS[each.id] == int(each.release_kind)
    assert all(lanes_of(name) for name in KNOWN_ANALYSES)


# --- headers


def sealed_record() -> SealedRecord:
    context = RecordContext(
        chain_id=31337,
        registry=Address("0x00000000000000000000000000000000000000bb"),
        dataset=DatasetId(DATASET),
        patient=patient_address("0x00000000000000000000000000000000000000aa"),
        dictionary_hash=DictionaryHash(b"\x22" * 32),
        record_version=1,
    )
    coefficients = feldman.draw_coefficients(feldman.random_scalar(), 2)
    box = record.close_box(coefficients[0], context, b"row", nonce=bytes(12))
    return SealedRecord(context, Epoch(1), box, feldman.deal(coefficients, 3).commitments, ())


def test_a_header_leads_to_the_commitment_of_its_whole_record() -> None:
    whole = sealed_record()
    header = RecordHeader.of(whole)
    assert header.commitment == whole.commitment
    document = header.to_json() | {"registry": "0x00000000000000000000000000000000000000bb"}
    assert read_header(document).commitment == whole.commitment


@pytest.mark.parametrize(
    "field", ["box_hash", "dictionary_hash", "record_version", "key_commitments", "commitment"]
)
def test_a_header_whose_parts_do_not_give_its_commitment_is_refused(field: str) -> None:
    document = RecordHeader.of(sealed_record()).to_json()
    other = RecordHeader.of(sealed_record()).to_json()
    changed = {
        "box_hash": to_hex(bytes(32)),
        "dictionary_hash": to_hex(bytes(32)),
        "record_version": 2,
        "key_commitments": other["key_commitments"],
        "commitment": to_hex(bytes(32)),
    }
    with pytest.raises(RecordUnreadable) as refused:
        read_header(document | {field: changed[field]})
    assert refused.value.field == "commitment"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "usufruct-record/3"),
        ("lane", True),
        ("lane", 2),
        ("key_commitments", []),
        ("key_commitments", ["0x" + "05" * 33]),
        ("patient", "nobody"),
        ("box_hash", "0x00"),
        ("epoch", -1),
    ],
)
def test_a_malformed_header_is_refused_by_field(field: str, value: object) -> None:
    document = RecordHeader.of(sealed_record()).to_json() | {field: value}
    with pytest.raises(RecordUnreadable) as refused:
        read_header(document)
    assert (refused.value.field or "").startswith(field)


def test_a_header_with_missing_or_unknown_keys_is_refused() -> None:
    document = RecordHeader.of(sealed_record()).to_json()
    for wrong in ({k: v for k, v in document.items() if k != "lane"}, document | {"box": ""}, []):
        with pytest.raises(BadParameter):
            read_header(wrong)


def test_whether_a_wallet_failed_too_often_is_known_while_the_journal_is_written(
    journal: Journal,
) -> None:
    """A revocation asks for it: a long write, or a VACUUM, must not hold that up."""
    failures, key = Failures(journal), ("failed", "0x" + DATASET.hex(), HOLDER)
    for _ in range(WALLET_FAILURES):
        failures.add(key)
    with journal.writing() as session:
        journal.append(session, "turned", {"number": 1})
        assert failures.are_enough(key)
        assert not failures.are_enough(("failed", "0x" + DATASET.hex(), "somebody else"))
    assert journal.head().height == 1
