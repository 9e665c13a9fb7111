"""Measured times of the expensive parts, each beside named peers of the same run.

    python -m tests.bench

Contenders of one task take turns, round by round, so that a busy machine slows all of them alike. The
table shows medians and their ratios to the first contender; nothing here asserts a time.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

Contenders: TypeAlias = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Task:
    """Something to be done by several contenders, `rounds` times each; `units` of work at once."""

    name: str
    unit: str
    units: int
    rounds: int
    contenders: Callable[[], AbstractContextManager[Contenders]]


@contextmanager
def ready(contenders: Contenders) -> Iterator[Contenders]:
    """For contenders that need no set-up of their own."""
    yield contenders


def medians(task: Task) -> dict[str, float]:
    """Seconds of a whole run by contender: the median of its rounds, after one that does not count."""
    with task.contenders() as contenders:
        for run in contenders.values():
            run()
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(task.rounds):
            for name, run in contenders.items():
                started = time.perf_counter()
                run()
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(times) for name, times in taken.items()}


def add_rows(table: Table, task: Task, seconds: Mapping[str, float]) -> None:
    """One row for each contender; the first is what the others are compared with."""
    first = next(iter(seconds.values()))
    for name, taken in seconds.items():
        rate = f"{task.units / taken:,.0f} {task.unit}/s"
        table.add_row(task.name, name, f"{taken * 1000:,.3f} ms", rate, f"{taken / first:.3g}")
    table.add_section()


def main() -> None:
    from tests.bench_browser import BROWSER_TASKS
    from tests.bench_chain import CHAIN_TASKS
    from tests.bench_ckks import CKKS_TASKS
    from tests.bench_data import DATA_TASKS
    from tests.bench_tally import TALLY_TASKS
    from tests.bench_training import training_table

    console = Console(width=None if sys.stdout.isatty() else 120)
    for tasks in (DATA_TASKS, TALLY_TASKS, BROWSER_TASKS, CKKS_TASKS, CHAIN_TASKS):
        table = Table("task", "contender", "median", "rate", "ratio", title="usufruct bench")
        for column in table.columns[2:]:
            column.justify = "right"
        for task in tasks:
            console.log(task.name)
            add_rows(table, task, medians(task))
        console.print(table)  # at once: what comes later may fail, and this was measured
    console.log("logistic regression on encrypted records")
    console.print(training_table())


if __name__ == "__main__":
    main()
