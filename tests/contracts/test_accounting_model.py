"""The contracts' accounting against the reference model, under schedules by hand and at random.

After every step both agree on whether it was allowed and why not, and on every consent, room, word,
cohort, request, credit, bond and balance (see `accounting_world`).
"""

from collections import Counter

import pytest
from hypothesis import given, settings

from tests.contracts.accounting_campaign import WEIGHTS, run, schedules
from tests.contracts.accounting_lives import BY_HAND, LIVES, STOPPED
from tests.contracts.accounting_setting import Setting, make_setting
from tests.contracts.accounting_world import Step
from tests.contracts.pyrevm_chain import Artifacts

SCHEDULES = 200
LONG_SCHEDULES = 10_000
# In so many of the ten thousand random schedules each outcome must have come about. The rarest was measured
# in a hundred of them, so that fewer than five have a chance under 1e-30 if schedules are independent, and
# under 1e-9 if Hypothesis drew them in clumps of four that are all alike (Poisson, mean 25, at most 1).
LEAST_OF_EACH_LONG = 5
# Actions that are counted under the names of what they call.
COUNTED_ELSEWHERE = {"progress", "default", "withdraw_credit", "bond", "exodus"}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(Artifacts())


def hold_together(setting: Setting, examples: int) -> Counter[str]:
    """Runs so many schedules; raises AssertionError on the first difference, shrunk.

    Counts, for each outcome, the schedules in which it came about.
    """
    happened: Counter[str] = Counter()
    always = run(setting, [])

    @settings(max_examples=examples, deadline=None, database=None)
    @given(schedules)
    def agree(schedule: list[Step]) -> None:
        happened.update(set(run(setting, schedule) - always))

    agree()
    return happened


@pytest.mark.parametrize("outcome", sorted(BY_HAND))
def test_contracts_and_model_agree_where_this_comes_about(setting: Setting, outcome: str) -> None:
    happened = run(setting, BY_HAND[outcome]) - run(setting, [])
    assert happened[outcome]


def test_every_action_of_the_campaign_is_also_done_by_hand() -> None:
    assert set(WEIGHTS) - COUNTED_ELSEWHERE <= set(LIVES)


@pytest.mark.timeout(1800)
def test_contracts_and_model_agree_after_every_step_of_any_schedule(setting: Setting) -> None:
    hold_together(setting, SCHEDULES)


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_contracts_and_model_agree_over_ten_thousand_schedules(setting: Setting) -> None:
    happened = hold_together(setting, LONG_SCHEDULES)
    wanted = LIVES | STOPPED
    rare = {name: happened[name] for name in wanted if happened[name] < LEAST_OF_EACH_LONG}
    assert not rare, f"the schedules hardly ever do this: {rare}"
