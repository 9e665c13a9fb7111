"""A settled request's answer: cells with their intervals, and what they say and do not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from marketplace.analyses.possible import WITHOUT_INTERVAL, possible_cell
from marketplace.client.http import malformed_answer, reading
from marketplace.client.results import no_opening, noised_of
from marketplace.receipts.opened_sums import OpenedSums
from marketplace.wire.plain import counted, plain
from marketplace.wire.units import written
from marketplace.words import NO_SAMPLING, WITH_SAMPLING

Ends = tuple[Decimal, Decimal]

MOST_TOLD: Final = 8
"""Cells that are told in words; a table is for a table."""
COUNTS: Final = frozenset({"count.v1", "histogram.v1", "cross_table.v1"})
"""What tells itself how many patients pass its filters."""
BESIDE_SCORES: Final = (
    "Each number is how many patients have that variable at all; where the model reads a category of it "
    "(name=0, name=1, ...), patients of any category are counted. Scores are no part of it: patients alone "
    "open theirs."
)
"""Of score.v1, whose numbers are named by what its model reads."""
SPANS: Final = "{which} interval spans everything possible ({low} to {high}): {it} tells nothing."


@dataclass(frozen=True)
class Cell:
    """One number with its 95% interval; `label` names the cell, empty for a single number.

    What has no interval (a p-value, say) is told with both ends at the number itself.
    """

    label: tuple[str, ...]
    estimate: Decimal
    lower: Decimal
    upper: Decimal

    @property
    def has_interval(self) -> bool:
        """Whether its ends are those of an interval."""
        return not (self.label and self.label[-1] in WITHOUT_INTERVAL)


@dataclass(frozen=True)
class Answer:
    """A settled request: the opened result and the receipt it came with.

    prove: makes the opening, of an answer in the homomorphic lane; see `opening`.
    """

    request: str
    result: dict[str, Any]
    receipt: dict[str, Any]
    prove: Callable[[], OpenedSums] | None = field(default=None, repr=False, compare=False)

    def opening(self) -> bytes:
        """What anybody can hold the published numbers against the receipt with, to be written into a file as
        it is (`usufruct-opened-sums/1`, for `usufruct verify-receipt --opening`). Asks the chain.

        It publishes the noised sums, and no secret. They may say more than the result does, the number of
        those who pass a filter for one: all of it is within the privacy cost that was accounted.

        Raises:
            Refusal: `no_opening` in the vault lane. NodeUnreachable, NodeFault, PartialLogs.
        """
        if self.prove is None:
            raise no_opening()
        return self.prove().to_bytes()

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
        analysis, members = str(document["analysis"]), int(document["cohort_size"])
        possible = [
            possible_cell(analysis, document["parameters"], members, each.label) for each in cells
        ]
        group = group_words(analysis, document["parameters"], members)
    told = [_told(each, str(noised["unit"])) for each in cells[:MOST_TOLD]]
    if len(cells) > MOST_TOLD:
        told.append(f"{len(cells) - MOST_TOLD} more cells are in the result.")
    beside = [BESIDE_SCORES] if analysis == "score.v1" else []
    return [*told, *_spans(cells, possible), *beside, group, *_covered(noised, cells)]


def _covered(noised: Mapping[str, Any], cells: Sequence[Cell]) -> list[str]:
    """What the intervals are for, if there are any."""
    if not any(each.has_interval for each in cells):
        return []
    return [NO_SAMPLING if noised["covers"] == "noise" else WITH_SAMPLING]


def group_words(analysis: str, parameters: Mapping[str, Any], members: int) -> str:
    """Who was counted; beside a filter, that the number is not of those who pass it."""
    filters = parameters.get("filters") or ()
    if not filters:
        return f"Counted: {counted(members, 'patient')}."
    passed = " and ".join(_condition(each) for each in filters)
    about = f"The group had {counted(members, 'patient')}; the answer is about those of them with {passed}."
    return about if analysis in COUNTS else f"{about} How many these are is not part of it."


def _condition(given: Mapping[str, Any]) -> str:
    value = given["value"]
    values = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
    return plain(f"{given['variable']} {given['op']} {values}")


def _told(cell: Cell, unit: str) -> str:
    of = f"{', '.join(cell.label)}: " if cell.label else ""
    if not cell.has_interval:
        return f"{of}{cell.estimate}."
    once, each = _unit_words(unit)
    return f"{of}{cell.estimate}{each}{once}, 95% interval {cell.lower} to {cell.upper}{each}."


def _unit_words(unit: str) -> tuple[str, str]:
    """What is said once of a number with its interval (a phrase), and what with each of both (a unit)."""
    if " " in unit and not unit.startswith("members"):
        return f" ({written(unit)})", ""
    return "", f" {written(unit)}" if unit else ""


def _spans(cells: Sequence[Cell], possible: Sequence[Ends | None]) -> list[str]:
    """Which intervals are as wide as what is possible, one sentence for each width."""
    empty: dict[Ends, int] = {}
    for cell, ends in zip(cells, possible, strict=True):
        if ends is not None and cell.lower <= ends[0] and cell.upper >= ends[1]:
            empty[ends] = empty.get(ends, 0) + 1
    return [_spanning(ends, count, len(cells)) for ends, count in empty.items()]


def _spanning(ends: Ends, count: int, cells: int) -> str:
    which, it = ("The", "it") if cells == 1 else (f"In {count} of {cells} cells the", "that")
    return SPANS.format(which=which, it=it, low=ends[0], high=ends[1])


def _cell(found: Mapping[str, Any]) -> Cell:
    try:
        low, value, high = (Decimal(found[name]) for name in ("low", "value", "high"))
    except ArithmeticError:
        raise malformed_answer("result.noised") from None
    return Cell(tuple(map(str, found["label"])), value, low, high)
