"""What pages and metrics look up in the database, on both kinds: many rows, one question, nothing changed."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from marketplace.stages import Stage
from marketplace.store import Database, RequestRow, open_database
from marketplace.store.models import ConfirmationRow, DraftLogRow
from tests.support.postgresql import running_postgresql

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
A, B, C = ("0x" + digit * 64 for digit in "abc")


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path_factory.mktemp('looks') / 'operator.sqlite'}"
        else:
            yield stack.enter_context(running_postgresql())


@pytest.fixture(scope="module")
def database(url: str) -> Iterator[Database]:
    """A was paid, B refused and then cancelled, C refused; each a minute after the one before."""
    opened = open_database(url)
    for minute, (name, stages) in enumerate(
        {
            A: (Stage.FUNDED,),
            B: (Stage.REFUSED, Stage.CANCELLED),
            C: (Stage.REFUSED,),
        }.items()
    ):
        row = RequestRow(
            id=name,
            researcher="0x" + "22" * 20,
            stage=Stage.SUBMITTED,
            terms={},
            analysis="mean.v1",
            parameters={},
            submitted_at=NOW + timedelta(minutes=minute),
        )
        assert opened.submit(row, "handed in")
        for stage in stages:
            reason = {"code": "cohort_too_small"} if stage is Stage.REFUSED else None
            opened.move(name, stage, f"{stage} for a reason", reason)
    yield opened
    opened.engine.dispose()


def test_known_requests_are_found_at_once_and_others_are_not(database: Database) -> None:
    found = database.known([A, C, "0x" + "d" * 64])
    assert {name: row.stage for name, row in found.items()} == {A: "funded", C: "refused"}
    assert database.known([]) == {}


def test_a_refusal_is_remembered_whatever_became_of_the_request(database: Database) -> None:
    found = database.refusals([A, B, C])
    assert {name: each.because for name, each in found.items()} == {
        B: "refused for a reason",
        C: "refused for a reason",
    }
    assert database.refusals([]) == {}


def test_a_log_is_read_on_from_where_somebody_was(database: Database) -> None:
    first = database.log(B)[0].id
    assert [row.after for row in database.log_since(B, 0)] == ["submitted", "refused", "cancelled"]
    assert [row.after for row in database.log_since(B, first)] == ["refused", "cancelled"]
    assert database.log_since(B, database.newest_entry()) == []


def test_the_newest_entry_rises_with_every_move(database: Database) -> None:
    before = database.newest_entry()
    database.move(A, Stage.FROZEN, "froze it")
    assert database.newest_entry() == before + 1 == database.log(A)[-1].id
    database.fall_back(A, Stage.FUNDED, "reorganised")


def test_every_stage_is_counted_and_refusals_by_their_code(database: Database) -> None:
    counts = database.stage_counts()
    assert set(counts) == set(Stage)
    assert {stage: number for stage, number in counts.items() if number} == {
        Stage.FUNDED: 1,
        Stage.CANCELLED: 1,
        Stage.REFUSED: 1,
    }
    assert database.refusal_codes() == {"cohort_too_small": 1}


def test_the_oldest_request_at_work_is_one_that_was_paid(database: Database) -> None:
    oldest = database.oldest_paid()
    assert oldest is not None
    assert oldest.replace(tzinfo=UTC) == NOW


def test_a_draft_that_moves_and_a_custodian_that_confirms_are_news(database: Database) -> None:
    marks = [database.newest_draft_entry()]
    with database.session() as session:
        session.add(DraftLogRow(commitment=A, before=None, after="left", because="left", at=NOW))
    marks.append(database.newest_draft_entry())
    with database.session() as session:  # of no draft that is kept: nobody watches it
        session.add(ConfirmationRow(commitment=A, epoch=1, place=0, at=0))
    marks.append(database.newest_draft_entry())
    assert marks == [0, 1, 1]


def test_what_is_at_work_is_found_with_when_it_came_to_its_stage(database: Database) -> None:
    ((row, since),) = database.at_work(10)
    assert (row.id, row.stage) == (A, "funded")
    assert since == database.log(A)[-1].at
    assert database.at_work(0) == []


def test_what_was_paid_is_at_work_before_what_was_not(database: Database) -> None:
    """The unpaid one is older."""
    unpaid = RequestRow(
        id="0x" + "e" * 64,
        researcher="0x" + "22" * 20,
        stage=Stage.SUBMITTED,
        terms={},
        analysis="mean.v1",
        parameters={},
        submitted_at=NOW - timedelta(days=1),
    )
    assert database.submit(unpaid, "handed in")
    try:
        assert [row.id for row, _ in database.at_work(10)] == [A, "0x" + "e" * 64]
        assert [row.id for row, _ in database.at_work(1)] == [A]
    finally:
        database.move("0x" + "e" * 64, Stage.REFUSED, "never paid", {"code": "never_opened"})
        database.move("0x" + "e" * 64, Stage.CANCELLED, "gone")


def test_refused_requests_are_the_newest_first_with_their_reason(database: Database) -> None:
    found = database.refused_lately(10)
    assert [(row.id, row.reason) for row in found] == [(C, {"code": "cohort_too_small"})]
    assert database.refused_lately(0) == []
