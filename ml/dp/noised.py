"""The only thing that leaves a computation: estimates with noise in them, in a fixed text form."""

import json
import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Literal, get_args

from ml.dp.interval import CONFIDENCE

Rounding = Literal["nearest", "down", "up"]
Covers = Literal["noise", "noise and sampling"]

_SCALE_DIGITS = 6
_FORMAT = 1
_DEEPEST = 1_000  # our own have 4 levels


@dataclass(frozen=True)
class Estimate:
    """One number: decimal strings in the result's unit, and what it is the number of.

    label: names of the cell, outermost variable first; empty for a single number.
    low, high: a 95% interval for this one number, for the noise only; see Noised.
    """

    label: tuple[str, ...]
    value: str
    low: str
    high: str


@dataclass(frozen=True)
class Noised:
    """A differentially private answer.

    cost_nano_rho: zCDP spent, for every member, under replacement of one member's record.
    members: the public size of the cohort, null records included.
    noise: (what was noised, its noise scale in the unit of that thing), both decimal strings.
    covers: "noise": the intervals cover the noise around the true (clipped) value *of this cohort*; they
    say nothing about sampling, so nothing about people outside it. "noise and sampling": they cover the
    value in the population that the cohort is a random sample of, if the analysis's model holds.
    """

    quantity: str
    unit: str
    estimates: tuple[Estimate, ...]
    noise: tuple[tuple[str, str], ...]
    cost_nano_rho: int
    members: int
    covers: Covers = "noise"

    def to_json(self) -> bytes:
        """Canonical bytes: keys sorted, no spaces, ASCII, no floats; equal results, equal bytes."""
        document = {
            "confidence": CONFIDENCE,
            "cost_nano_rho": self.cost_nano_rho,
            "covers": self.covers,
            "estimates": [
                {"high": e.high, "label": list(e.label), "low": e.low, "value": e.value}
                for e in self.estimates
            ],
            "format": _FORMAT,
            "members": self.members,
            "noise": [list(pair) for pair in self.noise],
            "quantity": self.quantity,
            "unit": self.unit,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> "Noised":
        """The inverse of to_json. Raises ValueError for anything that to_json does not write."""
        try:
            _require_shallow(data)
            read = json.loads(data)
            noised = cls(
                quantity=read["quantity"],
                unit=read["unit"],
                estimates=tuple(_estimate(entry) for entry in read["estimates"]),
                noise=tuple((name, scale) for name, scale in read["noise"]),
                cost_nano_rho=read["cost_nano_rho"],
                members=read["members"],
                covers=read["covers"],
            )
            same = noised.covers in get_args(Covers) and noised.to_json() == data
        except (KeyError, TypeError, ValueError, RecursionError):
            raise ValueError("these bytes are not a noised result") from None
        if not same:
            raise ValueError("these bytes are not a noised result in canonical form")
        return noised


def _require_shallow(data: bytes) -> None:
    """Raises ValueError for brackets nested so deeply that the JSON reader could leave its stack.

    Some libraries raise Python's recursion limit beyond what the reader survives. Brackets in texts
    count too: no label has so many.
    """
    depth = 0
    for byte in data:
        depth += (byte in b"[{") - (byte in b"]}")
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")


def _estimate(entry: dict[str, str]) -> Estimate:
    return Estimate(tuple(entry["label"]), entry["value"], entry["low"], entry["high"])


@dataclass(frozen=True)
class ExpectedError:
    """What a result's error will be, from public numbers alone, known before payment.

    standard_error: standard deviation of the noise in the answer, at most.
    half_width: half of the 95% interval, at most.
    Each analysis says in its docstring for which data "at most" holds.
    """

    standard_error: Fraction
    half_width: Fraction


def decimal_text(value: Fraction, digits: int, rounding: Rounding = "nearest") -> str:
    """`value` with `digits` places after the point: a plain decimal string, never "-0"."""
    scaled = value * 10**digits
    if rounding == "nearest":
        whole = round(scaled)
    else:
        whole = math.floor(scaled) if rounding == "down" else math.ceil(scaled)
    sign, size = ("-" if whole < 0 else ""), abs(whole)
    if digits == 0:
        return f"{sign}{size}"
    return f"{sign}{size // 10**digits}.{size % 10**digits:0{digits}d}"


def interval_estimate(
    value: Fraction, bounds: tuple[Fraction, Fraction], digits: int, label: tuple[str, ...] = ()
) -> Estimate:
    """An estimate rounded to `digits`, its interval rounded outwards."""
    low, high = bounds
    return Estimate(
        label,
        decimal_text(value, digits),
        decimal_text(low, digits, "down"),
        decimal_text(high, digits, "up"),
    )


def scale_text(scale: Fraction) -> str:
    """A noise scale with six significant digits, rounded up."""
    context = Context(prec=_SCALE_DIGITS, rounding=ROUND_CEILING)
    shown = context.divide(Decimal(scale.numerator), Decimal(scale.denominator))
    return format(shown, "f")
