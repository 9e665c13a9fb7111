"""The contracts' accounting against the reference model, under random schedules.

After every step both agree on whether it was allowed and why not, and on every consent, room, word,
cohort, request, credit, bond and balance (see `accounting_world`).
"""

from collections import Counter

import pytest
from hypothesis import given, settings

from tests.contracts.accounting_campaign import WEIGHTS, run, schedules
from tests.contracts.accounting_setting import Setting, make_setting
from tests.contracts.accounting_world import Step
from tests.contracts.pyrevm_chain import Artifacts

SCHEDULES = 500
LONG_SCHEDULES = 10_000
# What must have happened, so that the comparison means something. The rarest outcome (a seal refused for
# a stale word) was seen 4 to 15 times in 500 schedules: there it has to be seen at all, in the long
# campaign in its share.
LEAST_OF_EACH = 1
LEAST_OF_EACH_LONG = 40
# Actions that are counted under the names of what they call.
OUTCOMES = (set(WEIGHTS) - {"progress", "default", "withdraw_credit", "bond", "exodus"}) | {
    "credit",
    "sealAll",
    "post_bond",
    "release_bond",
    "defaultCertified",
    "defaultUncertified",
    "tidy_left",
    "wake_words_woke",
    "seal: WordStale",
    "seal: CohortTooSmall",
    "grant: BudgetTooSmall",
    "rotate: ShardIsFrozen",
}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(Artifacts())


def hold_together(setting: Setting, examples: int) -> Counter[str]:
    """Runs so many schedules; raises AssertionError on the first difference, shrunk."""
    happened: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, database=None)
    @given(schedules)
    def agree(schedule: list[Step]) -> None:
        happened.update(run(setting, schedule))

    agree()
    return happened


def test_contracts_and_model_agree_after_every_step_of_any_schedule(setting: Setting) -> None:
    happened = hold_together(setting, SCHEDULES)
    rare = {name: happened[name] for name in OUTCOMES if happened[name] < LEAST_OF_EACH}
    assert not rare, f"the schedules hardly ever do this: {rare}"


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_contracts_and_model_agree_over_ten_thousand_schedules(setting: Setting) -> None:
    happened = hold_together(setting, LONG_SCHEDULES)
    rare = {name: happened[name] for name in OUTCOMES if happened[name] < LEAST_OF_EACH_LONG}
    assert not rare, f"the schedules hardly ever do this: {rare}"
