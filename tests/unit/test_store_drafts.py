"""The tables of drafts: a code once, a step only along the table and only with its log row, nothing twice."""

from __future__ import annotations

import ast
import inspect
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import event, text

from marketplace.errors import Refusal
from marketplace.store import (
    Database,
    DraftRow,
    DraftState,
    InvitationRow,
    IssuerDeskRow,
    Shares,
    WebSessionRow,
)
from marketplace.store.database import MIGRATIONS, open_database
from marketplace.store.drafts import NEXT, IssuerDrafts
from marketplace.store.models import Base
from tests.support.postgresql import running_postgresql

DATASET, OTHER_DATASET = "0x" + "d1" * 32, "0x" + "d2" * 32
ISSUER, OTHER_ISSUER = "0x" + "11" * 20, "0x" + "12" * 20
PATIENT, OTHER_PATIENT = "0x" + "21" * 20, "0x" + "22" * 20
NOW = 1_800_000_000
LATER = NOW + 86_400
ROOM = Shares(most=100, shared=100, of_issuer=100, few=10, codes_a_day=100, uses_a_day=20)


def name(number: int) -> str:
    return "0x" + f"{number:064x}"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param == "postgresql":
            yield stack.enter_context(running_postgresql())
        else:
            yield f"sqlite:///{tmp_path_factory.mktemp('drafts')}/operator.sqlite"


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = open_database(url)
    with opened.engine.begin() as connection:
        for table in ("issuer_desks", "invitations", "drafts", "draft_log", "confirmations"):
            connection.execute(text(f"DELETE FROM {table}"))
    yield opened
    opened.engine.dispose()


def invite(database: Database, *numbers: int, most: int = 5, **changes: Any) -> None:
    rows = [
        InvitationRow(
            **{
                "code": name(number),
                "dataset": DATASET,
                "issuer": ISSUER,
                "voucher": {},
                "made_at": NOW,
                "expires_at": LATER,
                **changes,
            }
        )
        for number in numbers
    ]
    database.keep_invitations(rows, now=NOW, most=most)


def draft(commitment: int = 1, code: int = 1, **changes: Any) -> DraftRow:
    return DraftRow(
        **{
            "commitment": name(commitment),
            "dataset": DATASET,
            "patient": PATIENT,
            "issuer": ISSUER,
            "code": name(code),
            "record": "{}",
            "opening": b"o",
            "state": DraftState.WAITING,
            "made_at": NOW,
            **changes,
        }
    )


def leave(database: Database, row: DraftRow, now: int = NOW, shares: Shares = ROOM) -> bool:
    return database.keep_draft(row, now=now, because="left", shares=shares) is row


def steps(database: Database, commitment: int = 1) -> list[tuple[str | None, str]]:
    return [(each.before, each.after) for each in database.draft_history(name(commitment))]


def refused(use: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refusal:
        use()
    return refusal.value.code


def everything(database: Database) -> list[Any]:
    with database.engine.connect() as connection:
        tables = ("invitations", "drafts", "draft_log")
        return [
            connection.execute(text(f"SELECT * FROM {table} ORDER BY 1")).fetchall()
            for table in tables
        ]


# --- codes


@pytest.mark.parametrize(
    "row",
    [
        draft(code=2),
        draft(dataset=OTHER_DATASET),
        draft(issuer=OTHER_ISSUER),
    ],
    ids=["never made", "another dataset", "another issuer"],
)
def test_a_code_that_is_not_for_this_draft_lets_nothing_in(
    database: Database, row: DraftRow
) -> None:
    invite(database, 1)
    before = everything(database)
    copy = DraftRow(**{c.name: getattr(row, c.name) for c in DraftRow.__table__.columns})
    assert refused(lambda: leave(database, copy)) == "code_unusable"
    assert everything(database) == before


def test_an_expired_code_lets_nothing_in(database: Database) -> None:
    invite(database, 1)
    assert refused(lambda: leave(database, draft(), now=LATER)) == "code_unusable"
    assert leave(database, draft(), now=LATER - 1)


def test_a_code_is_one_person_s(database: Database) -> None:
    invite(database, 1)
    assert leave(database, draft())
    stolen = draft(2, patient=OTHER_PATIENT)
    assert refused(lambda: leave(database, stolen)) == "code_unusable"
    assert database.draft_of(DATASET, OTHER_PATIENT) is None


def test_the_same_draft_again_changes_nothing(database: Database) -> None:
    invite(database, 1)
    assert leave(database, draft())
    before = everything(database)
    assert not leave(database, draft(opening=b"sealed anew"))
    assert everything(database) == before
    for changes in ({"record": "{ }"}, {"patient": OTHER_PATIENT}):
        assert refused(lambda changes=changes: leave(database, draft(**changes))) == "draft_exists"
    assert everything(database) == before


def test_of_many_who_use_one_code_at_once_one_is_let_in(database: Database) -> None:
    invite(database, 1)

    def attempt(number: int) -> str:
        patient = "0x" + f"{number:040x}"
        try:
            leave(database, draft(number, patient=patient))
        except Refusal as refusal:
            return refusal.code
        return "in"

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(attempt, range(1, 9)))
    assert sorted(said) == ["code_unusable"] * 7 + ["in"]


def test_of_many_drafts_that_one_patient_leaves_at_once_one_is_kept(database: Database) -> None:
    invite(database, 1, 2, 3, 4)

    def attempt(number: int) -> None:
        try:
            leave(database, draft(number, number))
        except Refusal as refusal:
            assert refusal.code == "draft_exists"  # noqa: PT017  # in a thread, where nothing would fail

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(attempt, range(1, 5)))
    kept = database.drafts_for(DATASET, ISSUER, ["waiting"])
    assert len(kept) == 1
    assert steps(database, int(kept[0].commitment, 16)) == [(None, "waiting")]


def test_only_so_many_invitations_are_kept_whether_used_or_not(database: Database) -> None:
    invite(database, 1, 2, 3)
    leave(database, draft())
    before = everything(database)
    assert refused(lambda: invite(database, 4, 5, 6)) == "too_many_invitations"
    assert everything(database) == before
    invite(database, 4, 5)
    invite(database, 6, issuer=OTHER_ISSUER)
    assert refused(lambda: invite(database, 5)) == "code_known"
    assert len(database.invitations(DATASET, ISSUER)) == 5
    with_room = [
        InvitationRow(
            code=name(7),
            dataset=DATASET,
            issuer=ISSUER,
            voucher={},
            made_at=LATER,
            expires_at=LATER + 9,
        )
    ]
    database.keep_invitations(with_room, now=LATER, most=5)  # the others have expired
    assert [each.code for each in database.invitations(DATASET, ISSUER)] == [name(7)]


# --- shares


def people(
    database: Database, numbers: range, issuer: str = ISSUER, now: int = NOW, **shares: int
) -> list[str]:
    """Somebody new under each of these codes: what became of each. Codes are made where there are none."""
    for each in numbers:
        if database.invitation(name(each)) is None:
            invite(database, each, issuer=issuer, expires_at=NOW + 10**7, most=1_000)
    room = replace(ROOM, **shares)
    return [
        said(database, draft(each, each, patient=person(each), issuer=issuer), now, room)
        for each in numbers
    ]


def person(number: int) -> str:
    return "0x" + f"{number:040x}"


def said(database: Database, row: DraftRow, now: int, shares: Shares) -> str:
    try:
        leave(database, row, now, shares)
    except Refusal as refusal:
        return refusal.code
    return "in"


def test_one_issuer_s_codes_fill_its_share_and_no_more(database: Database) -> None:
    assert people(database, range(1, 6), of_issuer=3) == ["in"] * 3 + ["too_many_drafts"] * 2
    assert people(database, range(11, 13), OTHER_ISSUER, of_issuer=3) == ["in"] * 2
    assert database.number_of_drafts(ISSUER) == 3
    assert database.number_of_drafts() == 5


def test_an_issuer_finds_room_for_a_few_when_others_have_taken_all_that_is_shared(
    database: Database,
) -> None:
    shares = {"most": 8, "shared": 5, "few": 2}
    assert people(database, range(1, 8), **shares) == ["in"] * 5 + ["too_many_drafts"] * 2
    assert people(database, range(11, 14), OTHER_ISSUER, **shares) == ["in"] * 2 + [
        "too_many_drafts"
    ]
    third = "0x" + "13" * 20
    assert people(database, range(21, 23), third, **shares) == ["in", "too_many_drafts"]
    assert database.number_of_drafts() == 8


def test_what_is_refused_for_want_of_room_leaves_its_code_good(database: Database) -> None:
    people(database, range(1, 3), of_issuer=1)
    before = everything(database)
    assert people(database, range(2, 3), of_issuer=1) == ["too_many_drafts"]
    assert everything(database) == before
    database.end_draft(name(1), DraftState.TAKEN_BACK, because="makes room")
    assert people(database, range(2, 3), of_issuer=1) == ["in"]


def test_a_patient_s_own_draft_makes_room_whatever_the_share_is_by_now(database: Database) -> None:
    people(database, range(1, 4))
    full = replace(ROOM, most=1, shared=1, of_issuer=1)
    assert said(database, draft(50, 2, patient=person(2)), NOW, full) == "in"
    assert steps(database, 2) == [(None, "waiting"), ("waiting", "replaced")]
    assert database.number_of_drafts() == 3
    people(database, range(4, 5), OTHER_ISSUER)
    # For another issuer it is one more of that one's.
    invite(database, 5, issuer=OTHER_ISSUER)
    moved = draft(51, 5, patient=person(2), issuer=OTHER_ISSUER)
    assert said(database, moved, NOW, replace(ROOM, of_issuer=1)) == "too_many_drafts"
    assert database.draft(name(50)) is not None


def test_only_so_many_codes_of_an_issuer_are_used_on_a_day_in_whatever_dataset(
    database: Database, url: str
) -> None:
    assert people(database, range(1, 4), codes_a_day=2) == ["in"] * 2 + ["too_many_drafts"]
    database.end_draft(name(1), DraftState.TAKEN_BACK, because="gone, and counted")
    invite(database, 8, dataset=OTHER_DATASET, expires_at=NOW + 10**7)
    room = replace(ROOM, codes_a_day=2)
    again = open_database(url)  # as after a restart
    elsewhere = draft(8, 8, dataset=OTHER_DATASET)
    assert said(again, elsewhere, NOW, room) == "too_many_drafts"
    again.engine.dispose()
    assert people(database, range(11, 13), OTHER_ISSUER, codes_a_day=2) == ["in"] * 2
    assert people(database, range(3, 4), now=LATER, codes_a_day=2) == ["in"]


def test_a_code_lets_in_so_many_a_day_and_the_same_draft_again_counts_once(
    database: Database,
) -> None:
    invite(database, 1, expires_at=NOW + 10**7)
    room = replace(ROOM, uses_a_day=3)
    for number in range(1, 4):
        for _ in range(3):
            assert said(database, draft(number), NOW, room) == "in"
    assert said(database, draft(4), NOW, room) == "too_many_drafts"
    assert said(database, draft(3), NOW, room) == "in"
    assert database.draft(name(3)) is not None
    became = [said(database, draft(number), LATER, room) for number in range(4, 8)]
    assert became == ["in"] * 3 + ["too_many_drafts"]


def test_of_many_that_leave_drafts_at_once_no_more_are_kept_than_there_are_places(
    database: Database,
) -> None:
    invite(database, 1, 2, 3, 4, 5)
    invite(database, 6, 7, 8, issuer=OTHER_ISSUER)
    room = replace(ROOM, most=3, shared=3, few=1)
    start = threading.Barrier(8)

    def attempt(number: int) -> str:
        issuer = ISSUER if number <= 5 else OTHER_ISSUER
        start.wait()
        return said(
            database, draft(number, number, patient=person(number), issuer=issuer), NOW, room
        )

    with ThreadPoolExecutor(8) as pool:
        became = list(pool.map(attempt, range(1, 9)))
    assert sorted(became) == ["in"] * 3 + ["too_many_drafts"] * 5
    assert database.number_of_drafts() == 3


# --- replacing


@pytest.mark.parametrize("code", [1, 2])
def test_a_draft_that_nobody_looked_at_makes_room_for_the_next(
    database: Database, code: int
) -> None:
    invite(database, 1, 2)
    leave(database, draft())
    assert leave(database, draft(2, code))
    assert database.draft(name(1)) is None
    assert steps(database) == [(None, "waiting"), ("waiting", "replaced")]
    assert refused(lambda: leave(database, draft())) in ("draft_exists", "code_unusable")


@pytest.mark.parametrize("state", [DraftState.OPENED, DraftState.ATTESTED])
def test_what_the_issuer_looked_at_stays_until_it_has_decided(
    database: Database, state: DraftState
) -> None:
    invite(database, 1, 2)
    leave(database, draft())
    database.move_draft(name(1), DraftState.OPENED, because="looked")
    if state is DraftState.ATTESTED:
        database.move_draft(name(1), state, because="signed")
    before = everything(database)
    for code in (1, 2):
        assert refused(lambda code=code: leave(database, draft(2, code))) == "draft_opened"
    assert everything(database) == before


def test_a_declined_draft_lets_its_patient_try_again_and_never_comes_back_itself(
    database: Database,
) -> None:
    invite(database, 1)
    leave(database, draft())
    database.move_draft(name(1), DraftState.OPENED, because="looked")
    database.move_draft(name(1), DraftState.DECLINED, because="no", record="", opening=b"")
    assert refused(lambda: leave(database, draft())) == "draft_exists"
    assert leave(database, draft(2, 1))
    assert refused(lambda: leave(database, draft())) == "draft_exists"


# --- steps


@pytest.mark.parametrize("before", list(NEXT))
def test_only_the_table_s_steps_are_made_each_with_its_log_row(
    database: Database, before: DraftState
) -> None:
    invite(database, 1)
    ways = {
        DraftState.WAITING: [],
        DraftState.OPENED: [DraftState.OPENED],
        DraftState.ATTESTED: [DraftState.OPENED, DraftState.ATTESTED],
        DraftState.DECLINED: [DraftState.OPENED, DraftState.DECLINED],
    }
    leave(database, draft())
    for each in ways[before]:
        database.move_draft(name(1), each, because="on the way")
    made = steps(database)
    for after in DraftState:
        if after not in NEXT[before] and after != before:
            for step in (database.move_draft, database.end_draft):
                code = refused(lambda step=step, after=after: step(name(1), after, because="no"))
                assert code == "wrong_draft_state"
    assert steps(database) == made
    assert database.move_draft(name(1), before, because="stays", reason={"code": "x"})
    assert steps(database) == made
    end = DraftState.EXPIRED
    assert database.end_draft(name(1), end, because="ends")
    assert steps(database) == [*made, (before, end)]
    assert not database.end_draft(name(1), end, because="again")
    assert not database.move_draft(name(1), before, because="gone")


def test_every_state_but_the_ends_is_in_the_table() -> None:
    ends = {DraftState.STORED, DraftState.REPLACED, DraftState.TAKEN_BACK, DraftState.EXPIRED}
    assert set(NEXT) == set(DraftState) - ends
    assert all(DraftState.EXPIRED in to for to in NEXT.values())


def test_a_step_and_its_log_row_are_one_transaction(database: Database) -> None:
    invite(database, 1)
    leave(database, draft())
    before = everything(database)

    def refuse(_c: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("INSERT INTO draft_log"):
            cursor.execute("INSERT INTO no_such_table VALUES (1)")

    event.listen(database.engine, "before_cursor_execute", refuse)
    uses: list[Callable[[], object]] = [
        lambda: leave(database, draft(2)),
        lambda: database.move_draft(name(1), DraftState.OPENED, because="x"),
        lambda: database.end_draft(name(1), DraftState.EXPIRED, because="x"),
        lambda: database.sweep_drafts(now=NOW, made_before=LATER),
    ]
    for use in uses:
        with pytest.raises(Exception):  # noqa: B017, PT011  # SQLite's and PostgreSQL's differ
            use()
    event.remove(database.engine, "before_cursor_execute", refuse)
    assert everything(database) == before


def test_every_writer_of_a_draft_s_state_says_why_and_has_no_default_for_it() -> None:
    tree = ast.parse(Path(inspect.getfile(IssuerDrafts)).read_text())
    writers = {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and "_log(" in ast.unparse(node)
    }
    assert writers == {"keep_draft", "move_draft", "_end", "_log"}
    for method in (IssuerDrafts.keep_draft, IssuerDrafts.move_draft, IssuerDrafts.end_draft):
        assert inspect.signature(method).parameters["because"].default is inspect.Parameter.empty


def test_of_many_who_move_one_draft_at_once_one_does(database: Database) -> None:
    invite(database, 1)
    leave(database, draft())
    with ThreadPoolExecutor(8) as pool:
        moved = list(
            pool.map(
                lambda _: database.move_draft(name(1), DraftState.OPENED, because="x"), range(8)
            )
        )
    assert any(moved)
    assert steps(database) == [(None, "waiting"), ("waiting", "opened")]


# --- letting go


def test_what_is_deleted_is_in_no_row_and_in_no_page_of_the_file(
    database: Database, url: str
) -> None:
    secret = b"canary-of-an-opening-to-a-desk"
    invite(database, 1)
    leave(database, draft(opening=secret, record="canary-of-a-record" * 40))
    database.end_draft(name(1), DraftState.EXPIRED, because="over")
    assert "canary" not in str(everything(database))
    if url.startswith("sqlite"):
        with database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        content = Path(url.removeprefix("sqlite:///")).read_bytes()
        assert b"canary" not in content


def test_old_drafts_expired_codes_and_ended_desks_go(database: Database) -> None:
    invite(database, 1)
    invite(database, 2, expires_at=LATER + 1)
    desk = {"dataset": DATASET, "key": name(7), "signature": "0x"}
    database.keep_desk(IssuerDeskRow(issuer=ISSUER, until=LATER, **desk))
    database.keep_desk(IssuerDeskRow(issuer=OTHER_ISSUER, until=LATER + 1, **desk))
    leave(database, draft(1, 1))
    leave(database, draft(2, 2, patient=OTHER_PATIENT, made_at=NOW + 10))
    assert database.sweep_drafts(now=LATER, made_before=NOW + 5) == 1
    assert [each.commitment for each in database.drafts_for(DATASET, ISSUER, ["waiting"])] == [
        name(2)
    ]
    assert steps(database)[-1] == ("waiting", "expired")
    assert [each.code for each in database.invitations(DATASET, ISSUER)] == [name(2)]
    assert [each.issuer for each in database.desks(DATASET)] == [OTHER_ISSUER]


def test_a_flood_of_drafts_fills_no_more_than_the_database_may_have(tmp_path: Path) -> None:
    """One that no longer fits is refused whole: its code stays good, and whoever waits loses nothing."""
    small = open_database(f"sqlite:///{tmp_path}/small.sqlite", max_pages=120)
    rows = [
        InvitationRow(
            code=name(n),
            dataset=DATASET,
            issuer=ISSUER,
            voucher={},
            made_at=NOW,
            expires_at=LATER,
        )
        for n in range(1, 101)
    ]
    small.keep_invitations(rows, now=NOW, most=1_000)
    kept = 0
    for number in range(1, 101):
        patient = "0x" + f"{number:040x}"
        flood = draft(number, number, patient=patient, record="x" * 24_000)
        try:
            leave(small, flood)
        except Refusal as refusal:
            assert refusal.code == "storage_full"  # noqa: PT017  # which of them is the first, nobody knows
            break
        kept += 1
    assert 0 < kept < 100
    last = small.invitation(name(kept + 1))
    assert last is not None
    assert last.used_by is None
    assert small.number_of_drafts() == kept
    assert steps(small, kept + 1) == []
    assert small.end_draft(name(1), DraftState.EXPIRED, because="makes room")
    assert leave(small, draft(kept + 1, kept + 1, record="x" * 20_000))
    small.engine.dispose()


# --- the schema


def to_version(database: Database, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)


def test_a_database_of_before_comes_along_with_all_that_is_in_it(
    database: Database, url: str
) -> None:
    """Nobody is signed out, and no draft is lost. Codes that nobody vouched for end: a new one is made."""
    invite(database, 1, 2, expires_at=NOW + 10**7)
    leave(database, draft())
    to_version(database, "0005")
    columns = "token, account, half, started_at, seen_at, expires_at"
    with database.engine.begin() as connection:
        for table in ("web_sessions", "web_challenges"):
            connection.execute(text(f"DELETE FROM {table}"))
        signed_in = f"INSERT INTO web_sessions ({columns}) VALUES ('t', 'a', 'h', 1, 2, {LATER})"
        connection.execute(text(signed_in))
        asked = "INSERT INTO web_challenges (nonce, browser, address, message, expires_at) "
        connection.execute(text(asked + f"VALUES ('n', 'b', 'a', 'text', {LATER})"))
    after = open_database(url)
    session, challenge = after.web_session("t"), after.take_challenge("n")
    assert session is not None
    assert challenge is not None
    assert (session.account, session.network, challenge.network) == ("a", "", "")
    newcomer = WebSessionRow(
        token="u", account="c", half="h", started_at=9, seen_at=9, expires_at=LATER, network="x"
    )
    after.start_session(newcomer, instead_of=None)
    assert {token for token in ("t", "u") if after.web_session(token)} == {"t", "u"}
    assert (kept := after.draft(name(1))) is not None
    assert (kept.issuer, kept.opening) == (ISSUER, b"o")
    assert said(after, draft(3, 1), NOW, ROOM) == "code_unusable"
    assert said(after, draft(2, 2, patient=OTHER_PATIENT), NOW, ROOM) == "code_unusable"
    assert after.invitations(DATASET, ISSUER) == []
    invite(after, 4)
    assert said(after, draft(3, 4), NOW, replace(ROOM, uses_a_day=1)) == "in"
    with after.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    after.engine.dispose()


# --- desks and confirmations


def test_a_later_desk_takes_the_place_of_an_earlier_one_and_never_the_other_way(
    database: Database,
) -> None:
    def keep(key: int, until: int) -> bool:
        return database.keep_desk(
            IssuerDeskRow(
                dataset=DATASET, issuer=ISSUER, key=name(key), until=until, signature="0x"
            )
        )

    assert keep(1, NOW)
    assert keep(2, LATER)
    assert not keep(1, NOW)
    assert not keep(3, LATER)
    (kept,) = database.desks(DATASET, ISSUER)
    assert (kept.key, kept.until) == (name(2), LATER)
    assert database.desks(OTHER_DATASET) == []


def test_a_custodian_confirms_once_and_for_its_epoch(database: Database) -> None:
    for place in (2, 0, 2):
        database.confirm_part(name(1), 1, place, NOW)
    database.confirm_part(name(1), 2, 4, NOW)
    assert database.confirmed_places(name(1), 1) == [0, 2]
    assert database.confirmed_places(name(1), 2) == [4]
    assert database.confirmed_places(name(2), 1) == []
