"""Rows of models and scores: settled once, whoever comes second, and dropped whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from marketplace.stages import Stage
from marketplace.store import (
    DUE,
    FAILED,
    SCORED,
    Database,
    RequestRow,
    ScoreModelRow,
    ScoreRecordRow,
    open_database,
)
from marketplace.store.scores import SEALED_STAGES

REQUEST, DATASET, MODEL = ("0x" + digit * 64 for digit in "123")
ADA, BEN = ("0x" + digit * 40 for digit in "ab")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    yield opened
    opened.engine.dispose()


def requested(
    database: Database, stage: Stage, analysis: str = "score.v1", request: str = REQUEST
) -> None:
    row = RequestRow(
        id=request,
        researcher=ADA,
        stage=stage,
        terms={},
        analysis=analysis,
        parameters={},
        submitted_at=NOW,
    )
    assert database.submit(row, "handed in")


def handed_in(patient: str, record: str = "0x" + "ee" * 32) -> ScoreRecordRow:
    return ScoreRecordRow(
        dataset=DATASET, patient=patient, record=record, block=7, handed_in_at=NOW
    )


@pytest.mark.parametrize("stage", Stage)
def test_only_what_was_seen_sealed_in_a_final_block_is_to_be_planned(
    database: Database, stage: Stage
) -> None:
    requested(database, stage)
    assert database.unplanned_rounds("score.v1") == [REQUEST] * (stage in SEALED_STAGES)


def test_the_stages_before_the_seal_and_those_that_ended_without_an_answer_are_not_among_them() -> (
    None
):
    never = {Stage.SUBMITTED, Stage.FUNDED, Stage.FROZEN, Stage.REFUSED, Stage.CANCELLED}
    assert not never & set(SEALED_STAGES)
    assert not {Stage.RECLAIMED, Stage.DEFAULTED} & set(SEALED_STAGES)


def test_another_analysis_scores_nobody(database: Database) -> None:
    requested(database, Stage.SEALED, "mean.v1")
    assert database.unplanned_rounds("score.v1") == []


def test_whom_a_request_scores_is_settled_once(database: Database) -> None:
    requested(database, Stage.SEALED)
    database.plan_round(REQUEST, DATASET, MODEL, [ADA])
    database.plan_round(REQUEST, DATASET, MODEL, [ADA, BEN])
    assert [each.patient for each in database.due_scores(9)] == [ADA]
    assert database.unplanned_rounds("score.v1") == []


def test_a_round_of_nobody_is_settled_too(database: Database) -> None:
    requested(database, Stage.SEALED)
    database.plan_round(REQUEST, DATASET, MODEL, [])
    assert database.unplanned_rounds("score.v1") == []
    assert database.due_scores(9) == []


def test_of_two_workers_one_ends_a_score(database: Database) -> None:
    requested(database, Stage.SEALED)
    database.plan_round(REQUEST, DATASET, MODEL, [ADA, BEN])
    with ThreadPoolExecutor(8) as threads:
        ended = threads.map(
            lambda i: database.end_score(REQUEST, ADA, SCORED if i % 2 else FAILED, None), range(16)
        )
        assert sum(ended) == 1
    assert [each.patient for each in database.due_scores(9)] == [BEN]
    found = database.score(REQUEST, BEN)
    assert found is not None
    assert found.state == DUE


def test_what_is_made_is_not_dropped_as_due(database: Database) -> None:
    requested(database, Stage.SEALED)
    database.plan_round(REQUEST, DATASET, MODEL, [ADA, BEN])
    database.end_score(REQUEST, ADA, SCORED, MODEL)
    for patient in (ADA, BEN):
        database.drop_due(REQUEST, patient)
    assert database.score(REQUEST, ADA) is not None
    assert database.score(REQUEST, BEN) is None


def test_one_patients_rows_go_and_the_others_stay(database: Database) -> None:
    requested(database, Stage.SEALED)
    for patient in (ADA, BEN):
        database.keep_score_record(handed_in(patient))
    database.plan_round(REQUEST, DATASET, MODEL, [ADA, BEN])
    database.forget_scoring(DATASET, ADA)
    assert database.score_record(DATASET, ADA) is None
    assert database.scores_of(DATASET, ADA) == []
    assert database.who_handed_in(DATASET) == {BEN}
    assert len(database.scores_of(DATASET, BEN)) == 1


def test_the_next_record_takes_the_place_of_the_one_before(database: Database) -> None:
    database.keep_score_record(handed_in(ADA))
    database.keep_score_record(handed_in(ADA, "0x" + "ff" * 32))
    found = database.score_record(DATASET, ADA)
    assert found is not None
    assert found.record == "0x" + "ff" * 32


def test_what_is_handed_in_twice_at_once_is_one_row(tmp_path: Path) -> None:
    """Both find none there, and only one of them is the first."""
    database = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    for turn in range(20):
        dataset, together = f"0x{turn:064x}", threading.Barrier(4)

        def keep(number: int, dataset: str = dataset, together: Any = together) -> None:
            row = handed_in(ADA, f"0x{number:064x}")
            row.dataset = dataset
            together.wait(60)
            database.keep_score_record(row)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(keep, range(4)))
        assert database.who_handed_in(dataset) == {ADA}
    database.engine.dispose()


def test_of_two_that_both_are_the_first_the_second_replaces(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the two of them fall: another process's row is there when this one's is written."""
    merge = Session.merge

    def late(self: Session, row: ScoreRecordRow) -> Any:
        merged = merge(self, row)
        if row.record.endswith("ff"):
            monkeypatch.setattr(Session, "merge", merge)
            database.keep_score_record(handed_in(ADA, "0x" + "01" * 32))
        return merged

    monkeypatch.setattr(Session, "merge", late)
    database.keep_score_record(handed_in(ADA, "0x" + "ff" * 32))
    found = database.score_record(DATASET, ADA)
    assert found is not None
    assert found.record == "0x" + "ff" * 32


def test_records_beside_ones_own_are_counted_by_dataset_and_in_all(database: Database) -> None:
    assert database.score_records_beside(DATASET, ADA) == (0, 0)
    for patient in (ADA, BEN):
        database.keep_score_record(handed_in(patient))
    elsewhere = handed_in(ADA)
    elsewhere.dataset = MODEL
    database.keep_score_record(elsewhere)
    assert database.score_records_beside(DATASET, ADA) == (1, 2)
    assert database.score_records_beside(DATASET, "0x" + "c" * 40) == (2, 3)
    assert database.score_records_beside(MODEL, BEN) == (1, 3)


def test_due_scores_are_read_on_from_the_last_one_and_past_what_rests(database: Database) -> None:
    requests = [f"0x{number:064x}" for number in range(3)]
    for request in requests:
        requested(database, Stage.SEALED, request=request)
        database.plan_round(request, DATASET, MODEL, [ADA, BEN])
    all_due = [(request, patient) for request in requests for patient in (ADA, BEN)]

    def due(*arguments: Any) -> list[tuple[str, str]]:
        return [(each.request, each.patient) for each in database.due_scores(*arguments)]

    assert due(99) == all_due
    assert due(2) == all_due[:2]
    for i, item in enumerate(all_due):
        assert due(99, item) == all_due[i + 1 :]
    assert due(99, ("", ""), [requests[1]]) == all_due[:2] + all_due[4:]


def test_the_scores_beyond_the_latest_are_named_oldest_last(database: Database) -> None:
    requests = [f"0x{number:064x}" for number in (5, 3, 4, 1)]  # in the order of their planning
    for request in requests:
        requested(database, Stage.SEALED, request=request)
        database.plan_round(request, DATASET, MODEL, [ADA, BEN])
    assert database.scores_beyond(DATASET, ADA, 2) == [requests[1], requests[0]]
    assert database.scores_beyond(DATASET, ADA, 4) == []
    assert database.scores_beyond(MODEL, ADA, 0) == []


def test_what_has_a_row_is_known_in_lower_case(database: Database) -> None:
    requested(database, Stage.SEALED)
    mixed = "0x" + "aB" * 20
    database.keep_score_record(handed_in(mixed))
    database.plan_round(REQUEST, DATASET, MODEL, [BEN])
    assert database.known_to_scoring() == {
        (DATASET, mixed.lower(), None),
        (DATASET, BEN, REQUEST),
    }


def published(number: int, publisher: str) -> ScoreModelRow:
    return ScoreModelRow(
        model=f"0x{number:064x}", publisher=publisher, shown={}, document="{}", published_at=NOW
    )


def test_a_publisher_has_so_many_models_and_no_more_and_the_same_one_again(
    database: Database,
) -> None:
    assert all(database.keep_model(published(i, ADA), 3) for i in range(3))
    assert not database.keep_model(published(3, ADA), 3)
    assert database.keep_model(published(2, ADA), 3)
    assert database.keep_model(published(3, BEN), 3)
    assert database.keep_model(published(0, BEN), 3)
    kept = database.model(f"0x{0:064x}")
    assert kept is not None
    assert kept.publisher == ADA  # who published it first
    assert len(database.models(99)) == 4
