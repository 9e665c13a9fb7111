"""What every analysis of the catalogue can do; accuracy and privacy cost, each from the other."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any, Generic, Literal, TypeVar

from marketplace.analyses.fields import Dictionary, Fields, exact_number
from marketplace.errors import BadParameter
from marketplace.wire.analysis import analysis_hash
from ml.dp.accounting import MAX_COST, MIN_COST, CostRefused
from ml.dp.domain import Table
from ml.dp.noise import NotRepresentable
from ml.dp.noised import ExpectedError, Noised, decimal_text

MAX_MEMBERS = 2**31
_ERROR_DIGITS = 4
_PEOPLE = "members"
"""What every unit that counts patients begins with."""

ErrorMeasure = Literal["half_width", "standard_error"]
_MEASURES: dict[ErrorMeasure, str] = {
    "half_width": "a 95% half-width",
    "standard_error": "a standard error",
}


class ErrorOutOfReach(BadParameter):
    """No privacy cost makes the error as small as was asked."""


class ReleaseKind(IntEnum):
    """What kind of thing leaves: the bit of a consent class's `releaseKinds`. Never renumbered."""

    NUMBER = 0
    TABLE = 1
    PERSONAL_SCORE = 2
    """A score for each patient, which that patient alone can open; to the researcher, numbers of records."""


class Parameters(ABC):
    """Checked parameters of one analysis."""

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """The parameters as JSON values, lists and objects of text only, in canonical order.

        What `parse` makes of it equals these parameters.
        """

    @property
    def thins(self) -> bool:
        """Whether conditions may leave most of the cohort unmeasured, which nobody knows before."""
        return False


P = TypeVar("P", bound=Parameters)


@dataclass(frozen=True)
class Forecast:
    """The error to expect, before payment: `error` in `unit`, and for which data it holds.

    `span` is how far any two possible answers lie apart, in `unit`, whoever the members are.
    """

    error: ExpectedError
    unit: str
    holds: str
    span: Fraction

    @property
    def tells_nothing(self) -> bool:
        """Whether the 95% interval is as long as everything possible."""
        return 2 * self.error.half_width >= self.span

    def texts(self) -> dict[str, Any]:
        """For pages and APIs: decimal strings, rounded up, and whether such a result says anything."""
        return {
            "half_width": _figure(self.error.half_width, self.unit),
            "holds": self.holds,
            "standard_error": _figure(self.error.standard_error),
            "tells_nothing": self.tells_nothing,
            "unit": self.unit,
        }


def _figure(error: Fraction, unit: str = "") -> str:
    """Rounded up: patients to whole ones, anything else to `_ERROR_DIGITS` without zeroes at its end."""
    if unit.startswith(_PEOPLE):
        return decimal_text(error, 0, "up")
    return decimal_text(error, _ERROR_DIGITS, "up").rstrip("0").rstrip(".")


@dataclass(frozen=True)
class Analysis(Generic[P]):
    """One entry of the catalogue. A changed meaning is a new id, since receipts are for ever."""

    id: str
    title: str
    release_kind: ReleaseKind
    keys: frozenset[str]
    read: Callable[[Fields], P]
    foretell: Callable[[P, int, int], Forecast]
    answer: Callable[[P, Table, int], Noised]

    def parse(self, parameters: Mapping[str, object], dictionary: Dictionary) -> P:
        """Checked parameters. Raises BadParameter, naming the field and the remedy."""
        return self.read(Fields(parameters, dictionary, self.keys))

    def canonical(self, parameters: P) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII, text only; parses back to equal ones."""
        document = parameters.document()
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")

    def analysis_hash(self) -> bytes:
        """32 bytes that name this analysis on chain."""
        return analysis_hash(self.id)

    def expected_error(self, parameters: P, n: int, cost: int) -> Forecast:
        """The error to expect if n members are counted, at `cost` nano-rho. Raises BadParameter."""
        require_members(n)
        with refusals():
            return self.foretell(parameters, n, cost)

    def cost_for_error(
        self,
        parameters: P,
        n: int,
        target: str | int | Fraction,
        measure: ErrorMeasure = "half_width",
    ) -> int:
        """The least nano-rho at which `expected_error` is at most `target`, in the same unit.

        Raises ErrorOutOfReach when no allowed cost reaches it, naming the smallest that one does.
        """
        require_members(n)
        return least_cost(lambda cost: self.foretell(parameters, n, cost), target, measure)

    def run(self, parameters: P, table: Table, cost: int) -> Noised:
        """The noised answer, having spent at most `cost` nano-rho. Raises BadParameter.

        Whether it refuses depends on parameters, cost and the public size of the cohort, never on
        a record.
        """
        require_members(table.n)
        with refusals():
            return self.answer(parameters, table, cost)


def least_cost(
    foretell: Callable[[int], Forecast], target: str | int | Fraction, measure: ErrorMeasure
) -> int:
    """The least nano-rho at which the error that is foretold of it is at most `target`, in the same unit.

    foretell: of a cost; never a larger error for a higher one.

    Raises ErrorOutOfReach when no allowed cost reaches it, naming the smallest error that one does, and
    whatever makes the question impossible at the highest cost.
    """
    wanted = target if isinstance(target, Fraction) else exact_number(target, "target")
    with refusals():
        best = foretell(MAX_COST)

    def reaches(cost: int) -> bool:
        try:
            forecast = foretell(cost)
        except (CostRefused, NotRepresentable, BadParameter):  # with so much noise
            return False
        return bool(getattr(forecast.error, measure) <= wanted)

    if getattr(best.error, measure) > wanted:
        raise _out_of_reach(best, measure)
    low, high = MIN_COST, MAX_COST
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle + 1, high)
    return low


def unknown_analysis(known: Iterable[str], elsewhere: str = "") -> BadParameter:
    """The refusal of an id that is none of `known`; `elsewhere`: who else could be asked, in a sentence."""
    names = list(known)
    return BadParameter(
        message="This analysis is not in the catalogue.",
        remedy=f"Use one of: {', '.join(names)}.{elsewhere}",
        field="analysis",
        facts={"known": names},
    )


@contextmanager
def refusals() -> Iterator[None]:
    """Turns what the mathematics refuse, cost or size, into BadParameter."""
    try:
        yield
    except CostRefused as refused:
        raise BadParameter(
            message=f"The privacy cost cannot be used: {refused}.",
            remedy=f"Choose a cost from {MIN_COST} to {MAX_COST} nano-rho.",
            field="cost",
            facts={"lowest": MIN_COST, "highest": MAX_COST},
        ) from None
    except NotRepresentable:
        raise BadParameter(
            message="The numbers of this analysis, or its noise, do not fit into 64 bits.",
            remedy="Narrow the clipping range, or pay a higher privacy cost.",
            field="clip",
        ) from None


def require_members(n: int) -> None:
    """Raises BadParameter unless a cohort can have `n` members."""
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MAX_MEMBERS:
        raise BadParameter(
            message="The number of members is out of range.",
            remedy=f"Give a whole number from 1 to {MAX_MEMBERS}.",
            field="n",
        )


def _out_of_reach(best: Forecast, measure: ErrorMeasure) -> ErrorOutOfReach:
    smallest = best.texts()[measure]
    return ErrorOutOfReach(
        message=f"No privacy cost makes the error ({_MEASURES[measure]}) that small: the smallest "
        f"possible is {smallest} {best.unit}, at {MAX_COST:,} nano-rho.",
        remedy="Accept a larger error, ask for more participants, or narrow the clipping range.",
        field="target",
        facts={"highest_cost": MAX_COST, "smallest": smallest},
    )
