"""A settled request's answer: cells with their intervals, and what they say and do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from marketplace.analyses.possible import possible_range
from marketplace.client.http import malformed_answer, reading
from marketplace.client.results import noised_of
from marketplace.wire.plain import counted, plain
from marketplace.wire.units import written
from marketplace.words import NO_SAMPLING

MOST_TOLD: Final = 8
"""Cells that are told in words; a table is for a table."""
SPANS: Final = "{which} interval spans everything possible ({low} to {high}): {it} tells nothing."


@dataclass(frozen=True)
class Cell:
    """One number with its 95% interval for the noise; `label` names the cell, empty for a single number."""

    label: tuple[str, ...]
    estimate: Decimal
    lower: Decimal
    upper: Decimal


@dataclass(frozen=True)
class Answer:
    """A settled request: the opened result and the receipt it came with."""

    request: str
    result: dict[str, Any]
    receipt: dict[str, Any]

    @property
    def noised(self) -> Mapping[str, Any]:
        """The numbers. Raises Refusal (`malformed_answer`): the gate wrote something else."""
        return noised_of(self.result)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """In the order of the analysis; one cell for a single number. Raises as `noised`."""
        return tuple(_cell(each) for each in self.noised["estimates"])

    @property
    def unit(self) -> str:
        """Of estimates and intervals, UCUM where the dictionary has one."""
        return str(self.noised["unit"])

    @property
    def level(self) -> Decimal:
        """Of the intervals: 0.95."""
        return Decimal(self.noised["confidence"])

    @property
    def cohort_size(self) -> int:
        """Patients who were counted, null records among them."""
        return int(self.result["cohort_size"])

    @property
    def in_words(self) -> tuple[str, ...]:
        """Result, interval and cohort, what the interval leaves out, and whether it says anything."""
        return tuple(answer_words(self.result))


def answer_words(document: Mapping[str, Any]) -> list[str]:
    """An opened answer in sentences.

    Raises:
        Refusal: `malformed_answer`, where there is no result to tell.
    """
    noised = noised_of(document)
    cells = [_cell(each) for each in noised["estimates"]]
    with reading("result"):
        low, high = possible_range(
            document["analysis"], document["parameters"], int(document["cohort_size"])
        )
        group = group_words(document["parameters"], int(document["cohort_size"]))
    unit = f" {written(noised['unit'])}" if noised["unit"] else ""
    told = [_told(each, unit) for each in cells[:MOST_TOLD]]
    if len(cells) > MOST_TOLD:
        told.append(f"{len(cells) - MOST_TOLD} more cells are in the result.")
    empty = [each for each in cells if each.lower <= low and each.upper >= high]
    return [*told, *_spans(empty, cells, (low, high)), group, NO_SAMPLING]


def group_words(parameters: Mapping[str, Any], members: int) -> str:
    """Who was counted; beside a filter, that the number is not of those who pass it."""
    filters = parameters.get("filters") or ()
    if not filters:
        return f"Counted: {counted(members, 'patient')}."
    passed = " and ".join(_condition(each) for each in filters)
    about = f"The group had {counted(members, 'patient')}; the answer is about those of them with {passed}."
    return f"{about} How many these are is not told." if "clip" in parameters else about


def _condition(given: Mapping[str, Any]) -> str:
    value = given["value"]
    values = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return plain(f"{given['variable']} {given['op']} {values}")


def _told(cell: Cell, unit: str) -> str:
    of = f"{', '.join(cell.label)}: " if cell.label else ""
    return f"{of}{cell.estimate}{unit}, 95% interval {cell.lower} to {cell.upper}{unit}."


def _spans(empty: list[Cell], cells: list[Cell], ends: tuple[Decimal, Decimal]) -> list[str]:
    if not empty:
        return []
    which, it = (
        ("The", "it") if len(cells) == 1 else (f"In {len(empty)} of {len(cells)} cells the", "that")
    )
    return [SPANS.format(which=which, it=it, low=ends[0], high=ends[1])]


def _cell(found: Mapping[str, Any]) -> Cell:
    try:
        low, value, high = (Decimal(found[name]) for name in ("low", "value", "high"))
    except ArithmeticError:
        raise malformed_answer("result.noised") from None
    return Cell(tuple(map(str, found["label"])), value, low, high)
