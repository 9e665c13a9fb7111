"""Which signatures of an answer count, as the market refuses one after the other."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from marketplace.chain.adapter import ContractRefusal
from marketplace.pipeline.answers import Answers, noted_rows
from marketplace.stages import WAYS, Cleared, Stage
from marketplace.store import ComputedRow, Database, RequestRow, open_database
from marketplace.vocabulary import Lane
from tests.unit.test_release import VIEW, computed

REQUEST = "0x" + "11" * 32
QUORUM = 3
WAY = WAYS[Lane.VAULT]
SIGNED = {place: bytes([place]) * 65 for place in range(5)}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path / 'operator.sqlite'}")
    row = RequestRow(
        id=REQUEST,
        researcher=VIEW.researcher,
        stage=Stage.SUBMITTED,
        terms={},
        analysis="mean.v1",
        parameters={},
        submitted_at=datetime.now(UTC),
    )
    made.submit(row, "a test")
    for stage in WAY[1 : WAY.index(Stage.COMPUTED) + 1]:
        made.move(REQUEST, stage, "a test")
    kept = ComputedRow(
        request=REQUEST,
        settlement={},
        sealed_result=b"sealed",
        gate_signature=b"signed",
        stated={},
        signatures=noted_rows((place, SIGNED[place]) for place in (0, 2, 3)),
    )
    made.keep_computed(kept)
    yield made
    made.engine.dispose()


@pytest.fixture
def answers(database: Database) -> Answers:
    return Answers(database, cast(Any, None))


def cleared(answers: Answers) -> Cleared:
    """A quorum as `release.clear` finds one: what is noted, then whoever was not refused."""
    found = answers.computed(REQUEST, VIEW)
    noted = [place for place, _ in found.noted]
    asked = [place for place in SIGNED if place not in noted and place not in found.refused]
    places = sorted([*noted, *asked][:QUORUM])
    done = Cleared(computed(), tuple((place, SIGNED[place]) for place in places))
    answers.keep(REQUEST, done)
    answers.database.move(REQUEST, Stage.CLEARED, "a test")
    return done


def settled(answers: Answers, done: Cleared, lying: set[int]) -> bool:
    """Whether the market takes it: it names the first signature that is none."""
    assert answers.cleared(REQUEST, VIEW).signatures == done.signatures
    bad = [place for place, _ in done.signatures if place in lying]
    if bad:
        facts = {"place": bad[0]}
        code = "bad_custodian_signature"
        refusal = ContractRefusal(code=code, message="No.", remedy="Another.", facts=facts)
        answers.clear_again(REQUEST, done, refusal)
        assert Stage(answers.database.request(REQUEST).stage) is Stage.COMPUTED
    return not bad


@pytest.mark.parametrize("lying", [{0, 1}, {0, 2}, {2, 3}, {3, 4}])
def test_two_wallets_of_five_that_take_their_yes_back_do_not_take_turns(
    answers: Answers, lying: set[int]
) -> None:
    """The three others are a quorum, and are found as soon as each of the two was refused once."""
    tries = 1
    while not settled(answers, cleared(answers), lying):
        tries += 1
        assert tries <= len(lying) + 1


def test_where_no_quorum_is_left_everybody_counts_again(answers: Answers) -> None:
    for _ in range(2):
        assert not settled(answers, cleared(answers), {0, 1})
    assert answers.computed(REQUEST, VIEW).refused == {0, 1}
    answers.ask_everybody(REQUEST)
    assert answers.computed(REQUEST, VIEW).refused == frozenset()
    assert {place for place, _ in answers.computed(REQUEST, VIEW).noted} >= {0, 1}


def test_a_failure_that_names_nobody_puts_every_doubted_signature_aside(answers: Answers) -> None:
    done = cleared(answers)
    failed = ContractRefusal(message="It failed.", remedy="Try again.")
    answers.clear_again(REQUEST, done, failed, frozenset({0, 3, 4}))
    assert Stage(answers.database.request(REQUEST).stage) is Stage.COMPUTED
    assert answers.computed(REQUEST, VIEW).refused == {0, 3}
    assert [place for place, _ in answers.computed(REQUEST, VIEW).noted] == [2]


def test_a_failure_that_no_signature_can_have_caused_keeps_what_is_cleared(
    answers: Answers,
) -> None:
    done = cleared(answers)
    answers.clear_again(REQUEST, done, ContractRefusal(message="It failed.", remedy="Try again."))
    assert Stage(answers.database.request(REQUEST).stage) is Stage.CLEARED
    assert answers.cleared(REQUEST, VIEW).signatures == done.signatures
