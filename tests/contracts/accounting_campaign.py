"""Random schedules for the accounting, and how many of each action must succeed."""

import random
from collections import Counter

from hypothesis import strategies as st

from tests.contracts.accounting_setting import Setting
from tests.contracts.accounting_world import Step, World

WEIGHTS = {
    "grant": 6,
    "revoke": 1,
    "revoke_signed": 1,
    "rest": 2,
    "wake": 3,
    "wake_words": 4,
    "pass": 3,
    "open": 1,
    "progress": 22,
    "cancel": 1,
    "freeze": 1,
    "tidy": 2,
    "seal": 2,
    "settle": 2,
    "default": 1,
    "reclaim": 2,
    "dissolve": 1,
    "exodus": 3,
    "withdraw": 3,
    "withdraw_credit": 2,
    "bond": 1,
    "rotate": 2,
    "suspend": 1,
    "expel": 1,
    "erase": 1,
    "attest": 2,
    "pause": 3,
    "unpause": 1,
}
_ACTIONS = [action for action, weight in WEIGHTS.items() for _ in range(weight)]

steps = st.tuples(
    st.sampled_from(_ACTIONS), st.integers(0, 11), st.integers(0, 7), st.integers(0, 511)
)
schedules = st.lists(steps, min_size=10, max_size=60)


def run(setting: Setting, schedule: list[Step]) -> Counter[str]:
    """One schedule from the setting's state, which it leaves as it found it."""
    evm = setting.chain.evm
    before = evm.snapshot()
    try:
        world = World(setting)
        world.run(schedule)
    finally:
        evm.revert(before)
    return world.done + world.refused


def random_schedule(source: random.Random) -> list[Step]:
    """The same schedules without Hypothesis, for campaigns that need no shrinking."""
    return [
        (source.choice(_ACTIONS), source.randrange(12), source.randrange(8), source.randrange(512))
        for _ in range(source.randint(20, 60))
    ]
