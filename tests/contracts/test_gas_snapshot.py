"""The gas snapshot's own rules; `make check-gas` measures it anew."""

from tests.contracts.gas import (
    CEILINGS,
    SIZE_SLACK,
    SNAPSHOT,
    differences,
    grows_with_the_cohort,
    over_ceiling,
    parse,
    render,
)
from tests.contracts.gas_scenarios import Figures


def committed() -> Figures:
    return {name: float(gas) for name, gas in parse(SNAPSHOT.read_text()).items()}


def test_the_committed_figures_keep_every_ceiling() -> None:
    assert over_ceiling(committed()) == []


def test_freeze_settle_withdraw_and_revoke_cost_the_same_in_a_full_shard() -> None:
    assert grows_with_the_cohort(committed()) == []


def test_what_grows_with_the_cohort_is_told() -> None:
    figures = committed()
    figures["revoke_full_shard_with_first_earnings"] += SIZE_SLACK + 1
    del figures["freeze_1_full_shard"]
    told = grows_with_the_cohort(figures)
    assert [line.partition(":")[0] for line in told] == [
        "freeze_1_shard",
        "revoke_with_first_earnings",
    ]


def test_a_figure_above_its_ceiling_is_told() -> None:
    figures = dict(CEILINGS)
    assert over_ceiling(figures) == []
    figures["revoke"] += 1
    assert over_ceiling(figures) == ["revoke: 60001, ceiling 60000"]


def test_a_ceiling_that_nothing_measures_is_told() -> None:
    figures = {name: gas for name, gas in CEILINGS.items() if name != "revoke"}
    assert over_ceiling(figures) == ["revoke: not measured, ceiling 60000"]


def test_a_change_is_told_with_old_and_new_and_so_is_what_comes_or_goes() -> None:
    old, new = render({"a": 1, "b": 2.5, "d": 4}), render({"a": 1, "b": 2.6, "c": 3})
    assert differences(old, new) == ["b: 2.5 -> 2.6", "c: absent -> 3", "d: 4 -> absent"]
    assert differences(old, old) == []


def test_the_snapshot_is_sorted_by_name() -> None:
    assert render({"b": 2, "a": 1}) == "a 1\nb 2\n"
    assert SNAPSHOT.read_text().splitlines() == sorted(SNAPSHOT.read_text().splitlines())
