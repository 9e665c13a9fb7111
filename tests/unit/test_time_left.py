"""How long a cohort of any size takes to tidy and seal, and when that is too long to freeze it.

A class of 655,360 patients does not fit these tests' chain, so `LargeClass` answers in its place what the
operator reads of one; `tests/integration/test_time_left.py` has the real chain, with a few hundred.
"""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketplace import consent
from marketplace.chain.adapter import Chain, MarketPolicy
from marketplace.chain.transactor import GAS_LIMIT
from marketplace.errors import Refusal
from marketplace.pipeline.deadlines import SEAL_SECONDS, Deadlines
from marketplace.wire.terms import RequestTerms
from tests.support.chain_world import PURPOSE

WORDS = 4_096
"""Of a full shard."""
FULL = (1 << 160) - 1
NEVER = ((1 << 40) - 1) << 160
RICH = ((1 << 56) - 1) << 200
SNAPSHOT = Path(__file__).parents[2] / "contracts" / "gas.snapshot"


@dataclass
class LargeClass:
    """What a node says of shards of so many full words, `stale` of them with somebody whose consent ended."""

    stale: int = 0
    words_used: int = WORDS
    shards: int = 1
    seconds_a_block: int = 12
    window: int = 600
    notice: int = 0
    started: int = field(default_factory=lambda: int(time.time()) + 10_000)  # ahead of any clock
    height: int = 1_000

    def policy(self) -> MarketPolicy:
        return MarketPolicy(freeze_window=self.window, notice_window=self.notice)

    def now(self) -> int:
        return self.started

    def head(self) -> Any:
        return self._header(self.height)

    @property
    def node(self) -> Any:
        return SimpleNamespace(header=self._header)

    def _header(self, number: int) -> Any:
        behind = (self.height - number) * self.seconds_a_block
        return SimpleNamespace(number=number, timestamp=self.started - behind)

    def shard_count(self, class_: bytes) -> int:
        return self.shards

    def shard(self, class_: bytes, number: int) -> Any:
        return SimpleNamespace(spent=0, used=160 * self.words_used)

    def words(self, class_: bytes, number: int, count: int) -> list[int]:
        ended = FULL | RICH | (self.started << 160)
        return [ended] * self.stale + [FULL | RICH | NEVER] * (count - self.stale)


def terms(seal_deadline: int) -> RequestTerms:
    return RequestTerms(
        dataset=bytes(32),
        classes=(1,),
        lane=1,
        release_kind=1,
        analysis=bytes(32),
        parameters=bytes(32),
        purpose=PURPOSE,
        cost=1,
        price=1,
        fee=1,
        max_patients=WORDS * 160,
        seal_deadline=seal_deadline,
        settle_deadline=seal_deadline,
        delivery_key=bytes(32),
        salt=bytes(32),
    )


def refused(large: LargeClass, left: int) -> Refusal | None:
    """With which refusal a freeze is kept from happening so long before the seal deadline, if it is."""
    try:
        Deadlines(cast(Chain, large)).require_sealable(terms(large.started + left))
    except Refusal as refusal:
        return refusal
    return None


def code(large: LargeClass, left: int) -> str | None:
    refusal = refused(large, left)
    return None if refusal is None else refusal.code


# --- how much goes into one transaction


def test_a_full_word_of_which_everybody_leaves_costs_no_more_than_is_counted_for_it() -> None:
    found = re.search(r"^tidy_full_word_all_rest (\d+)$", SNAPSHOT.read_text(), re.MULTILINE)
    assert found is not None
    counted = consent.TIDY_WORD_GAS + 160 * consent.TIDY_SEAT_GAS
    assert int(found.group(1)) <= counted
    assert consent.TIDY_GAS <= GAS_LIMIT * 63 // 64  # the market keeps a 64th (EIP-150)


@given(st.dictionaries(st.integers(0, WORDS - 1), st.integers(1, 160), max_size=200))
def test_every_stale_word_is_tidied_once_in_transactions_that_fit_a_block(
    stale: dict[int, int],
) -> None:
    parts = list(consent._chunks(stale))
    assert [place for part in parts for place in part] == list(stale)
    for part in parts:
        gas = sum(consent.TIDY_WORD_GAS + stale[each] * consent.TIDY_SEAT_GAS for each in part)
        assert part
        assert gas <= consent.TIDY_GAS


def test_words_with_few_live_consents_are_tidied_many_to_a_transaction() -> None:
    assert len(list(consent._chunks(dict.fromkeys(range(90), 10)))) == 1
    assert [len(part) for part in consent._chunks(dict.fromkeys(range(8), 160))] == [7, 1]


# --- how long a freeze takes that way


def test_a_class_that_takes_longer_to_tidy_than_a_freeze_lasts_is_refused_for_good() -> None:
    """310 stale words are 45 transactions, each of which may fill a block: 678 seconds of 600."""
    refusal = refused(LargeClass(stale=310), 86_400)
    assert refusal is not None
    assert (refusal.code, refusal.field) == ("too_much_to_tidy", "terms.classes")
    assert refusal.remedy
    assert refusal.facts == {"needed": SEAL_SECONDS + 44 * 12, "freeze_window": 600}


@pytest.mark.parametrize(
    ("large", "expected"),
    [
        (LargeClass(), None),
        (LargeClass(stale=7), None),
        (LargeClass(stale=266), None),  # 38 transactions
        (LargeClass(stale=267), "too_much_to_tidy"),
        (LargeClass(stale=1_434, seconds_a_block=2), None),  # a day's expiries of a full shard
        (LargeClass(stale=1_434), "too_much_to_tidy"),
        (LargeClass(stale=1_434, window=3_600), None),
        (LargeClass(stale=310, seconds_a_block=90_000), "too_much_to_tidy"),  # an idle chain
        (LargeClass(stale=267, seconds_a_block=0), None),
        (LargeClass(words_used=WORDS // 64, shards=64), None),  # one seal
        (LargeClass(shards=2), None),
        (LargeClass(shards=64), "too_much_to_tidy"),
        (LargeClass(shards=64, window=3_600), None),
        (LargeClass(window=60), None),
        (LargeClass(window=1), None),
    ],
)
def test_what_fits_a_freeze_depends_on_the_work_the_blocks_and_the_window(
    large: LargeClass, expected: str | None
) -> None:
    assert code(large, 86_400) == expected


@given(stale=st.integers(0, 266), left=st.integers(-10, 700))
def test_nothing_is_frozen_that_its_seal_deadline_cuts_short(stale: int, left: int) -> None:
    large = LargeClass(stale=stale)
    transactions = -(-stale // 7)
    needed = min(600, SEAL_SECONDS + 12 * max(0, transactions - 1))
    assert code(large, left) == (None if left >= needed else "seal_deadline_too_near")


def test_before_payment_notice_and_payment_count_too() -> None:
    large = LargeClass(notice=1_000)
    ask = Deadlines(cast(Chain, large)).require_payable
    with pytest.raises(Refusal) as caught:
        ask(terms(large.started + large.notice + SEAL_SECONDS))
    assert (caught.value.code, caught.value.field) == (
        "seal_deadline_too_near",
        "terms.sealDeadline",
    )
    least = cast(int, caught.value.facts["needed"])
    assert f"{least} seconds" in caught.value.remedy
    ask(terms(large.started + least))


def test_a_node_whose_head_stands_still_leaves_no_more_time_than_the_clock() -> None:
    """The operator allows a head of two minutes ago: as long as a whole freeze may take."""
    now = int(time.time())
    large = LargeClass(started=now - 120)
    assert code(large, SEAL_SECONDS + 60) == "seal_deadline_too_near"
    assert code(large, SEAL_SECONDS + 120 + 600) is None
