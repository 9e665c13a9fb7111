"""Whatever a patient does, at whatever point of a request: contracts and reference model agree.

The random campaign (test_accounting_model) gets to most of this by chance; here every act is done at every
point of one request's life, over two classes, and of the next request's. After each step both worlds are
compared: consents, words, cohorts, meters, money.
"""

from collections import Counter

import pytest

from tests.contracts.accounting_setting import Setting, make_setting
from tests.contracts.accounting_world import Step, World
from tests.contracts.pyrevm_chain import Artifacts
from tests.model.market import Stage

OPEN, NOTICE, FREEZE = ("open", 2, 3, 0), ("pass", 4, 0, 0), ("freeze", 0, 0, 0)
SEAL, SETTLE, TIDY_SECOND = ("seal", 0, 0, 0), ("settle", 0, 0, 0), ("tidy", 0, 1, 0)
FIRST: list[Step] = [OPEN, NOTICE, FREEZE, SEAL, SEAL, SETTLE]
# Not everybody in class 2 can pay for another one, so that its seal is refused before the tidy.
SECOND: list[Step] = [OPEN, ("progress", 0, 0, 1), SEAL, SEAL, TIDY_SECOND, SEAL]
LIFE = FIRST + SECOND
# Patients 0 to 4 start in class 1, 5 to 8 in class 2; 11 has granted nothing; 3 rests; 0 is about to expire.
START: list[Step] = [("rest", 3, 0, 0), ("pass", 8, 0, 0)]
ACTS: dict[str, list[Step]] = {
    "revoke": [("revoke", 1, 0, 0)],
    "revoke by signature": [("revoke_signed", 2, 0, 1)],
    "revoke and grant again": [("revoke", 1, 0, 0), ("grant", 1, 0, 25)],
    "expire": [("pass", 8, 0, 0)],
    "a few seconds go by": [("pass", 6, 0, 0)],
    "grant for the first time": [("grant", 11, 0, 25)],
    "grant anew": [("grant", 2, 0, 25)],
    "grant in another class": [("grant", 2, 1, 25)],
    "wake": [("wake", 0, 0, 1)],
    "rest and wake": [("rest", 2, 0, 0), ("wake", 1, 0, 1)],
    "wake words": [("wake_words", 0, 0, 0)],
    "erase": [("erase", 2, 0, 0)],
    "move": [("rotate", 2, 0, 1)],
    "be suspended and expelled": [("suspend", 1, 0, 0), ("expel", 0, 0, 1)],
    "withdraw": [("withdraw", 0, 0, 1)],
}


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(Artifacts())


def sealed_after(setting: Setting, point: int, act: list[Step]) -> tuple[Counter[str], list[int]]:
    """What happened, and how many members each request was sealed with, where it was."""
    before = setting.chain.evm.snapshot()
    try:
        world = World(setting)
        world.run([*START, *LIFE[:point], *act, *LIFE[point:]])
        ends = (Stage.SEALED, Stage.SETTLED)
        return world.done, [r.members for r in world.model.requests if r.stage in ends]
    finally:
        setting.chain.evm.revert(before)


def test_the_life_reaches_its_end_by_itself(setting: Setting) -> None:
    done, members = sealed_after(setting, 0, [])
    assert (done["seal"], done["tidy_left"], done["settle"]) == (4, 1, 1)
    assert members == [8, 7]


@pytest.mark.parametrize("act", sorted(ACTS))
def test_contracts_and_model_agree_wherever_this_comes(setting: Setting, act: str) -> None:
    names = {name for name, *_ in ACTS[act]}
    happened: Counter[str] = Counter()
    for point in range(len(LIFE) + 1):
        done, _ = sealed_after(setting, point, ACTS[act])
        happened.update(name for name in names if done[name])
    assert set(happened) == names  # each at one point at least


def test_who_revokes_before_the_seal_is_left_out_and_after_it_is_counted(setting: Setting) -> None:
    counted = [sealed_after(setting, point, ACTS["revoke"])[1][0] for point in range(len(LIFE) + 1)]
    first_seal = LIFE.index(SEAL)
    assert counted == [7] * (first_seal + 1) + [8] * (len(LIFE) - first_seal)
