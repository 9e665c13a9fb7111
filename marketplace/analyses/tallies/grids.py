"""Numbers on an encoding's grid: their polynomials, and the unit of their places."""

from __future__ import annotations

from fractions import Fraction

from marketplace.analyses.fields import bad
from marketplace.analyses.polynomials import Polynomial, atom, present
from marketplace.wire.encoding import Encoded
from ml.dp.clipping import Clip, Measured
from ml.dp.domain import Variable
from ml.dp.units import Unit


def deviation(number: Encoded) -> Polynomial:
    """u = 2 q - R in -R..R where it is present, R the grid's steps; 0 where it is absent."""
    return atom(number.name) * 2 - present(number.name) * number.steps


def unit_of(variable: Variable, number: Encoded) -> Unit:
    """Of q: one step in the variable's unit, from its lower bound."""
    one = Fraction(1, 10**variable.decimals)
    return Unit(variable.unit, number.step * one, variable.decimals, number.lower * one)


def require_bounds(measured: Measured) -> None:
    """Encrypted values are clipped nowhere but at the dictionary's bounds. Raises BadParameter."""
    variable = measured.variable
    if measured.clip != Clip(variable.lower, variable.upper):
        low, high = variable.text(variable.lower), variable.text(variable.upper)
        raise bad(
            "clip",
            "is not the dictionary's range, and an encrypted value cannot be clipped",
            f"Leave clip out, or give {low} and {high}.",
        )
