"""What a sealed result says of itself in public numbers: inside it, and beside it for the operator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from marketplace.errors import BadParameter
from marketplace.vocabulary import unsigned
from marketplace.wire.http import require_keys

COST_BITS = 56  # as on chain
MOST_SOURCES = 16
"""Things that one answer puts noise into; the catalogue's analyses have at most three."""
MOST_TEXT = 200
_DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")


@dataclass(frozen=True)
class Stated:
    """Cost and noise of one answer.

    Both follow from the parameters, the price in privacy and the public size of the cohort, so that
    saying them outside the sealed result tells nobody anything about a record.

    cost_nano_rho: zCDP spent, for every member.
    noise: (what was noised, its noise scale in the unit of that thing), the scale a decimal string.
    """

    cost_nano_rho: int
    noise: tuple[tuple[str, str], ...]

    def scales(self) -> tuple[Fraction, ...]:
        """The noise scales, exactly."""
        return tuple(Fraction(scale) for _, scale in self.noise)

    def to_json(self) -> dict[str, object]:
        """The document that `from_json` reads."""
        return {
            "cost_nano_rho": self.cost_nano_rho,
            "noise": [list(each) for each in self.noise],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, object], at: str = "stated") -> Stated:
        """The inverse of `to_json`. Raises BadParameter, naming the field."""
        read = require_keys(document, {"cost_nano_rho", "noise"}, at=at)
        noise = read["noise"]
        if not isinstance(noise, list) or len(noise) > MOST_SOURCES:
            raise _bad(f"{at}.noise", f"a list of at most {MOST_SOURCES} entries")
        return cls(
            unsigned(read["cost_nano_rho"], COST_BITS, f"{at}.cost_nano_rho"),
            tuple(_source(each, f"{at}.noise[{i}]") for i, each in enumerate(noise)),
        )


def _source(given: object, at: str) -> tuple[str, str]:
    match given:
        case [str(what), str(scale)] if max(
            len(what), len(scale)
        ) <= MOST_TEXT and _DECIMAL.fullmatch(scale):
            return what, scale
    raise _bad(at, "what was noised and its scale, a decimal string")


def _bad(field: str, wanted: str) -> BadParameter:
    return BadParameter(
        message=f"{field} is not {wanted}.",
        remedy="Ask the gate's host to run this version.",
        field=field,
    )
