"""The operator's database: no write without its audit row, no transition outside the table, no loss."""

import ast
import inspect
import itertools
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from marketplace.errors import Refusal
from marketplace.stages import LIVE, NEXT, Settled, Stage
from marketplace.store import ComputedRow, Database, RecordRow, RequestRow
from marketplace.store.database import open_database
from marketplace.store.models import Base
from marketplace.store.transactions import storage_refusal

REQUEST = "0x" + "11" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "operator.sqlite"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{path}")
    yield opened
    opened.engine.dispose()


def row(identity: str = REQUEST, stage: Stage = Stage.SUBMITTED) -> RequestRow:
    return RequestRow(
        id=identity,
        researcher="0x" + "22" * 20,
        stage=stage,
        terms={"lane": 1},
        analysis="mean.v1",
        parameters={"variable": "systolic"},
        submitted_at=datetime.now(UTC),
    )


def computed(sealed: bytes = b"sealed", request: str = REQUEST) -> ComputedRow:
    settlement = {"request": request}
    return ComputedRow(
        request=request, settlement=settlement, sealed_result=sealed, gate_signature=b"s"
    )


def logged(database: Database, request: str = REQUEST) -> list[tuple[str | None, str]]:
    return [(entry.before, entry.after) for entry in database.log(request)]


# --- the audit row


def writers() -> dict[str, inspect.Signature]:
    """Database's methods that touch a request's stage, found in its source."""
    tree = ast.parse(Path(inspect.getfile(Database)).read_text())
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and hasattr(Database, node.name):
            source = ast.unparse(node)
            if "_log(" in source or "_swap(" in source or ".stage = " in source:
                found[node.name] = inspect.signature(getattr(Database, node.name))
    return found


def test_every_writer_of_a_stage_says_why_and_has_no_default_for_it() -> None:
    signatures = writers()
    assert set(signatures) == {"submit", "move", "fall_back"}
    for signature in signatures.values():
        assert signature.parameters["because"].default is inspect.Parameter.empty


@pytest.mark.parametrize("after", [Stage.FUNDED, Stage.REFUSED])
def test_a_move_and_its_audit_row_are_one_transaction(
    database: Database, path: Path, after: Stage
) -> None:
    database.submit(row(), "handed in")
    break_log(database)
    with pytest.raises(Refusal, match="did not answer"):
        database.move(REQUEST, after, "why")
    assert database.request(REQUEST).stage == Stage.SUBMITTED
    assert logged(database) == [(None, "submitted")]


def test_a_submission_and_its_audit_row_are_one_transaction(database: Database) -> None:
    break_log(database)
    with pytest.raises(Refusal, match="did not answer"):
        database.submit(row(), "handed in")
    with pytest.raises(Refusal) as refused:
        database.request(REQUEST)
    assert refused.value.code == "unknown_request"


def test_a_fall_back_and_its_audit_row_are_one_transaction(database: Database) -> None:
    database.submit(row(stage=Stage.FROZEN), "handed in")
    break_log(database)
    with pytest.raises(Refusal, match="did not answer"):
        database.fall_back(REQUEST, Stage.FUNDED, "reorganised")
    assert database.request(REQUEST).stage == Stage.FROZEN


def break_log(database: Database) -> None:
    """From now on the database accepts everything but audit rows."""

    def refuse(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith(("INSERT INTO stage_log", "INSERT INTO record_log")):
            cursor.execute("INSERT INTO no_such_table VALUES (1)")

    event.listen(database.engine, "before_cursor_execute", refuse)


def test_the_reason_of_a_refusal_is_kept_with_it(database: Database) -> None:
    database.submit(row(), "handed in")
    database.move(REQUEST, Stage.REFUSED, "too small", {"code": "cohort_too_small"})
    assert database.request(REQUEST).reason == {"code": "cohort_too_small"}
    assert database.log(REQUEST)[-1].because == "too small"


# --- transitions


@pytest.mark.parametrize("before", Stage)
def test_only_the_tables_transitions_are_made(database: Database, before: Stage) -> None:
    for number, after in enumerate(stage for stage in Stage if stage is not before):
        request = f"0x{number:064x}"
        database.submit(row(request, before), "handed in")
        if after in NEXT[before]:
            database.move(request, after, "as the table says")
            assert logged(database, request) == [(None, before), (before, after)]
            continue
        with pytest.raises(Refusal) as refused:
            database.move(request, after, "against the table")
        assert refused.value.code == "wrong_stage"
        assert database.request(request).stage == before
        assert logged(database, request) == [(None, before)]


def test_moving_to_where_it_is_changes_and_logs_nothing(database: Database) -> None:
    database.submit(row(), "handed in")
    database.move(REQUEST, Stage.FUNDED, "paid")
    database.move(REQUEST, Stage.FUNDED, "paid, seen again")
    assert logged(database) == [(None, "submitted"), ("submitted", "funded")]


def test_a_request_falls_back_only_to_an_earlier_stage_at_work(database: Database) -> None:
    database.submit(row(stage=Stage.KEYED), "handed in")
    assert not database.fall_back(REQUEST, Stage.COMPUTED, "forward")
    assert not database.fall_back(REQUEST, Stage.REFUSED, "no stage at work")
    assert database.fall_back(REQUEST, Stage.FROZEN, "reorganised")
    assert logged(database) == [(None, "keyed"), ("keyed", "frozen")]


@pytest.mark.parametrize("ended", [stage for stage in Stage if stage not in LIVE])
def test_an_ended_request_never_falls_back(database: Database, ended: Stage) -> None:
    database.submit(row(stage=ended), "handed in")
    assert not database.fall_back(REQUEST, Stage.FUNDED, "reorganised")
    assert database.request(REQUEST).stage == ended


def test_an_unknown_request_is_refused_by_name(database: Database) -> None:
    for ask in (
        lambda: database.request(REQUEST),
        lambda: database.move(REQUEST, Stage.FUNDED, "paid"),
        lambda: database.keep_computed(computed()),
        lambda: database.keep_signatures(REQUEST, []),
    ):
        with pytest.raises(Refusal) as refused:
            ask()
        assert refused.value.code == "unknown_request"


def test_two_workers_that_move_one_request_log_each_transition_once(path: Path) -> None:
    url = f"sqlite:///{path}"
    workers = [open_database(url) for _ in range(2)]
    requests = [f"0x{i:064x}" for i in range(12)]
    for request in requests:
        workers[0].submit(row(request), "handed in")
    together = threading.Barrier(2)

    def work(database: Database) -> None:
        for request in requests:
            together.wait(timeout=30)
            for after in LIVE[1:]:
                code = code_of(lambda: database.move(request, after, "worked"))  # noqa: B023  # called at once
                assert code in (None, "wrong_stage", "storage_unavailable")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, workers))
    for request in requests:
        log = logged(workers[0], request)
        assert all(one[1] == other[0] for one, other in itertools.pairwise(log))
        assert len(log) == len(set(log))
    for database in workers:
        database.engine.dispose()


def test_a_move_from_a_stage_that_another_worker_left_is_refused(path: Path) -> None:
    url = f"sqlite:///{path}"
    slow, fast = open_database(url), open_database(url)
    slow.submit(row(), "handed in")

    def overtake(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE requests") and not overtaken:
            overtaken.append(True)
            fast.move(REQUEST, Stage.REFUSED, "by the faster one")

    overtaken: list[bool] = []
    event.listen(slow.engine, "before_cursor_execute", overtake)
    with pytest.raises(Refusal) as refused:
        slow.move(REQUEST, Stage.FUNDED, "by the slower one")
    assert refused.value.code in ("wrong_stage", "storage_unavailable")
    assert logged(fast) == [(None, "submitted"), ("submitted", "refused")]
    slow.engine.dispose()
    fast.engine.dispose()


def code_of(act: Callable[[], object]) -> str | None:
    """The code it was refused with, if it was."""
    try:
        act()
    except Refusal as refusal:
        return refusal.code
    return None


# --- first answer, for ever


def test_the_first_answer_and_the_first_receipt_stay(database: Database) -> None:
    database.submit(row(), "handed in")
    assert database.keep_computed(computed(b"first")).sealed_result == b"first"
    assert database.keep_computed(computed(b"second")).sealed_result == b"first"
    database.keep_receipt(Settled(REQUEST, 1, {"n": 1}))
    database.keep_receipt(Settled(REQUEST, 2, {"n": 2}))
    kept = database.receipt(REQUEST)
    assert kept is not None
    assert kept.receipt == {"n": 1}


def test_a_request_that_is_handed_in_twice_stays_what_it_was(database: Database) -> None:
    assert database.submit(row(), "handed in")
    database.move(REQUEST, Stage.FUNDED, "paid")
    assert not database.submit(row(), "handed in again")
    assert logged(database) == [(None, "submitted"), ("submitted", "funded")]


LATER = 2**40


def test_a_nonce_is_used_once_by_each_account(database: Database) -> None:
    assert database.use_nonce("0xa", "1", LATER)
    assert not database.use_nonce("0xa", "1", LATER)
    assert database.use_nonce("0xb", "1", LATER)


def test_a_nonce_that_is_given_back_can_be_used_again_and_no_other_with_it(
    database: Database,
) -> None:
    assert database.use_nonce("0xa", "1", LATER)
    assert database.use_nonce("0xb", "1", LATER)
    database.forget_nonce("0xa", "1")
    assert database.use_nonce("0xa", "1", LATER)
    assert not database.use_nonce("0xb", "1", LATER)


def test_unfinished_requests_are_those_with_work_left_oldest_first(database: Database) -> None:
    for i, stage in enumerate(Stage):
        database.submit(row(f"0x{i:064x}", stage), "handed in")
    stages = [database.request(request).stage for request in database.unfinished()]
    assert stages == list(LIVE)


def test_unpaid_requests_are_told_apart_by_age_and_by_researcher_in_any_case(
    database: Database,
) -> None:
    now = datetime.now(UTC)
    for i, (researcher, hours) in enumerate([("0xAb", 2), ("0xAb", 0), ("0xab", 0), ("0xcd", 0)]):
        made = row(f"0x{i}", Stage.SUBMITTED)
        made.researcher, made.submitted_at = researcher, now - timedelta(hours=hours, seconds=-i)
        database.submit(made, "handed in")
    database.submit(row("0xpaid", Stage.FUNDED), "handed in")
    since = now - timedelta(hours=1)
    assert database.unpaid(since) == (["0x1", "0x2", "0x3"], ["0x0"])
    assert database.unpaid_of("0xaB", since) == {"0x1", "0x2"}


def test_refused_requests_are_listed_but_for_those_that_no_money_waits_for(
    database: Database,
) -> None:
    for name, reason in (("0x1", {"code": "never_opened"}), ("0x2", {"code": "x"}), ("0x3", None)):
        database.submit(row(name, Stage.FUNDED), "handed in")
        database.move(name, Stage.REFUSED, "refused", reason)
    assert set(database.refused("never_opened")) == {"0x2", "0x3"}


# --- records


def record_row(number: int, header: str = "") -> RecordRow:
    return RecordRow(
        commitment=f"0x{number:064x}",
        dataset="0x02",
        patient="0x03",
        version=1,
        header={"long": header},
        attestation={},
        state="received",
        received_at=datetime.now(UTC),
    )


def kept(database: Database, most: int = 9) -> list[int]:
    found = database.records([f"0x{number:064x}" for number in range(most)])
    return sorted(int(each, 16) for each in found)


def test_records_are_kept_together_and_those_that_were_there_are_told_apart(
    database: Database,
) -> None:
    assert len(database.keep_records([record_row(1), record_row(1)])) == 1
    new = database.keep_records([record_row(number) for number in (1, 2, 3)])
    assert [int(each.commitment, 16) for each in new] == [2, 3]
    assert kept(database) == [1, 2, 3]
    assert database.keep_records([]) == []


def test_records_that_another_upload_kept_meanwhile_take_none_of_the_others_with_them(
    database: Database, path: Path
) -> None:
    faster = open_database(f"sqlite:///{path}")

    def overtake(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO records") and not overtaken:
            overtaken.append(faster.keep_record(record_row(2)))

    overtaken: list[bool] = []
    event.listen(database.engine, "before_cursor_execute", overtake)
    new = database.keep_records([record_row(number) for number in (1, 2, 3)])
    assert [int(each.commitment, 16) for each in new] == [1, 3]
    assert kept(database) == [1, 2, 3]
    faster.engine.dispose()


def test_a_record_that_another_upload_drops_while_its_state_is_set_stays_dropped(
    database: Database, path: Path
) -> None:
    faster = open_database(f"sqlite:///{path}")

    def overtake(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE records") and not overtaken:
            overtaken.append(faster.forget_record(f"0x{1:064x}", "0x03"))

    overtaken: list[bool] = []
    database.keep_records([record_row(1), record_row(2)])
    event.listen(database.engine, "before_cursor_execute", overtake)
    database.set_record_state(f"0x{1:064x}", "attested")
    assert overtaken == [True]
    assert kept(database) == [2]
    database.set_record_state(f"0x{2:064x}", "attested")
    assert database.records([f"0x{2:064x}"])[f"0x{2:064x}"].state == "attested"
    faster.engine.dispose()


def test_records_that_do_not_all_fit_are_not_kept_at_all(path: Path) -> None:
    roomy = open_database(f"sqlite:///{path}")
    pages = count_pages(roomy) + 8
    roomy.engine.dispose()
    full = open_database(f"sqlite:///{path}", max_pages=pages)
    rows = [record_row(number, "ab" * 4_000) for number in range(9)]
    with pytest.raises(Refusal) as refused:
        full.keep_records(rows)
    assert refused.value.code == "storage_full"
    assert kept(full) == []
    full.engine.dispose()


# --- a full disk


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (psycopg.errors.DiskFull("could not extend file: No space left on device"), "storage_full"),
        (psycopg.errors.AdminShutdown("terminating connection"), "storage_unavailable"),
        (psycopg.OperationalError("the pool is full"), "storage_unavailable"),
        (sqlite3.OperationalError("database is locked"), "storage_unavailable"),
    ],
)
def test_a_full_disk_is_told_by_the_databases_code_and_not_by_its_words(
    fault: Exception, code: str
) -> None:
    refusal = storage_refusal(OperationalError("INSERT secret", {"value": "secret"}, fault))
    assert refusal.code == code
    assert "secret" not in str(refusal)
    assert "nothing was changed" in refusal.remedy


def test_a_full_disk_refuses_changes_nothing_and_goes_on_once_there_is_room(path: Path) -> None:
    roomy = open_database(f"sqlite:///{path}")
    roomy.submit(row(), "handed in")
    pages = count_pages(roomy)
    roomy.engine.dispose()
    full = open_database(f"sqlite:///{path}", max_pages=pages)
    for write in writes_that_need_room(full):
        with pytest.raises(Refusal) as refused:
            write()
        assert (refused.value.code, refused.value.field) == ("storage_full", "disk")
        assert "usufruct resume" in refused.value.remedy
        assert "ab" * 40 not in str(refused.value)
    assert full.request(REQUEST).stage == Stage.SUBMITTED
    assert logged(full) == [(None, "submitted")]
    assert full.computed(REQUEST) is None
    full.engine.dispose()
    again = open_database(f"sqlite:///{path}", max_pages=pages + 4_000)
    for write in writes_that_need_room(again):
        write()
    assert logged(again) == [(None, "submitted"), ("submitted", "funded")]
    again.engine.dispose()


def writes_that_need_room(database: Database) -> list[Callable[[], object]]:
    """Each more than any page's free space."""
    long = "ab" * 40_000
    record = record_row(1, long)
    other = row("0x" + "33" * 32)
    other.terms = {"long": long}
    return [
        lambda: database.move(REQUEST, Stage.FUNDED, long),
        lambda: database.submit(other, "handed in"),
        lambda: database.keep_record(record),
        lambda: database.keep_computed(computed(long.encode())),
        lambda: database.keep_receipt(Settled(REQUEST, 1, {"long": long})),
    ]


def count_pages(database: Database) -> int:
    with database.engine.connect() as connection:
        return int(connection.execute(text("PRAGMA page_count")).scalar_one())


# --- records that were erased


def test_an_erasure_and_its_audit_row_are_one_transaction(database: Database) -> None:
    kept = record("stored").commitment
    database.keep_record(record("stored"))
    break_log(database)
    with pytest.raises(Refusal, match="did not answer"):
        database.erase_record(kept, "why")
    assert database.records([kept])[kept].state == "stored"
    assert database.record_history(kept) == []


def test_an_erasure_says_why_and_happens_once_and_only_to_what_is_known(database: Database) -> None:
    because = inspect.signature(Database.erase_record).parameters["because"]
    assert because.default is inspect.Parameter.empty
    kept = record("attested").commitment
    assert not database.erase_record(kept, "before it came")
    database.keep_record(record("attested"))
    assert database.erase_record(kept, "why")
    assert not database.erase_record(kept, "again")
    history = [(e.before, e.after, e.because) for e in database.record_history(kept)]
    assert history == [("attested", "erased", "why")]


# --- records that came no further


def record(state: str) -> RecordRow:
    return RecordRow(
        commitment="0x" + "55" * 32,
        dataset="0x" + "66" * 32,
        patient="0x" + "77" * 20,
        version=1,
        header={},
        attestation={},
        state=state,
        received_at=datetime.now(UTC),
    )


@pytest.mark.parametrize("state", ["attested", "stored", "erased"])
def test_a_record_that_came_further_than_here_is_not_forgotten(
    database: Database, state: str
) -> None:
    database.keep_record(record(state))
    assert not database.forget_record(record(state).commitment, record(state).patient)
    assert database.records([record(state).commitment])


def test_a_record_is_forgotten_once_and_only_as_its_patients(database: Database) -> None:
    kept = record("received")
    database.keep_record(record("received"))
    assert not database.forget_record(kept.commitment, "0x" + "88" * 20)
    assert database.records([kept.commitment])
    assert database.forget_record(kept.commitment, kept.patient)
    assert not database.forget_record(kept.commitment, kept.patient)
    assert not database.records([kept.commitment])


# --- how much was carried for each patient today


MINE = ("revocation", "0x" + "aa" * 32, "0x" + "bb" * 20)
OTHERS = ("message", "0x" + "aa" * 32, "0x" + "cc" * 20)


def one_more(counts: dict[tuple[str, str, str], int]) -> int:
    counts[MINE] += 1
    return counts[MINE]


def test_what_is_counted_on_a_day_is_kept_for_that_day(path: Path, database: Database) -> None:
    assert [database.count(7, [MINE, OTHERS], one_more) for _ in range(3)] == [1, 2, 3]
    again = open_database(f"sqlite:///{path}")
    assert again.count(7, [MINE], dict) == {MINE: 3}
    assert again.count(7, [OTHERS], dict) == {OTHERS: 0}
    assert again.count(8, [MINE], one_more) == 1
    again.engine.dispose()


def test_the_counts_of_earlier_days_are_deleted(database: Database) -> None:
    for day in range(9):
        database.count(day, [MINE], one_more)
    with database.engine.connect() as connection:
        days = connection.execute(text("SELECT day FROM carried ORDER BY day")).scalars().all()
    assert list(days) == [7, 8]


def test_what_was_not_sent_is_given_back(database: Database) -> None:
    for _ in range(3):
        database.count(7, [MINE], one_more)
    database.give_back(7, {MINE: 2, OTHERS: 1})
    assert database.count(7, [MINE, OTHERS], dict) == {MINE: 1, OTHERS: 0}


def test_a_count_whose_decision_fails_changes_nothing(database: Database) -> None:
    def fails(counts: dict[tuple[str, str, str], int]) -> None:
        one_more(counts)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        database.count(7, [MINE], fails)
    assert database.count(7, [MINE], dict) == {MINE: 0}


def test_counting_at_the_same_time_loses_no_count(path: Path, database: Database) -> None:
    other = open_database(f"sqlite:///{path}")
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(
            lambda i: (database, other)[i % 2].count(7, [MINE], one_more), range(40)
        )
        assert sorted(found) == list(range(1, 41))
    other.engine.dispose()


# --- migrations


def test_the_migrations_make_just_the_tables_that_the_models_describe(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
