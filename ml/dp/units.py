"""From the whole numbers that are added up to a variable's unit, and back for its errors."""

from dataclasses import dataclass
from fractions import Fraction

from ml.dp.interval import Bounds


@dataclass(frozen=True)
class Unit:
    """What the whole numbers of a sum mean: value = origin + size * whole number.

    name: of the unit; size: one whole number, in it; origin: what 0 means (only means and values have
    one, for spans and sums it cancels or is in the sum already); digits: places after the point that the
    variable itself has. The vault lane adds stored integers (origin 0, size 10**-decimals), the
    homomorphic lane places on an encoding's grid.
    """

    name: str
    size: Fraction
    digits: int
    origin: Fraction = Fraction(0)

    def value(self, whole: Fraction) -> Fraction:
        """A value, in the unit."""
        return self.origin + self.size * whole

    def values(self, bounds: Bounds) -> Bounds:
        """Two values, in the unit."""
        return self.value(bounds[0]), self.value(bounds[1])

    def squares(self, bounds: Bounds) -> Bounds:
        """Two squared distances, in the unit squared."""
        return bounds[0] * self.size**2, bounds[1] * self.size**2

    @property
    def squared_name(self) -> str:
        """Of the unit squared."""
        return f"({self.name})^2" if self.name else ""


def stored_unit(name: str, decimals: int) -> Unit:
    """Of stored integers: units of 10**-decimals."""
    return Unit(name, Fraction(1, 10**decimals), decimals)
