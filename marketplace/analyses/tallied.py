"""How an analysis is answered from encrypted sums: which sums, how noisy, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from marketplace.analyses.polynomials import Polynomial, columns_of
from marketplace.errors import BadParameter
from marketplace.wire.encoding import Encoding
from ml.dp.accounting import CostRefused
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised
from ml.homomorphic.logarithm import MOST_BITS
from ml.homomorphic.noise import Shares

MOST_SUMS = 1024

Finish = Callable[[Sequence[int], GaussianNoise, int, int], Noised]
"""(noised sums, their noise, the cohort's size, the cost) -> the answer. Post-processing, which never fails,
whatever the noised sums are.
"""


@dataclass(frozen=True)
class Wanted:
    """One sum over the cohort: a polynomial of each record, which lies in low..high whatever the record."""

    polynomial: Polynomial
    low: int
    high: int


@dataclass(frozen=True)
class Tallied:
    """An analysis with its parameters, as sums.

    squared_sensitivity: of all sums together, in L2, under replacement of one member's record by any other
        or null.
    finish: the answer from the noised sums (in the order of `wanted`), the noise that they have, the
        cohort's size, and the cost.
    """

    wanted: tuple[Wanted, ...]
    squared_sensitivity: int
    finish: Finish

    def forms(self, encoding: Encoding) -> list[Mapping[int, int]]:
        """Of each sum, column -> coefficient; empty for one that no record can move, so that it is opened as
        noise alone. Raises BadParameter: the encoding lacks a product.
        """
        return [columns_of(each.polynomial, encoding) for each in self.wanted]

    def shares(self, cost: int, quorum: int) -> Shares:
        """How its noise is split among the custodians. Raises BadParameter for too many sums."""
        if not 1 <= len(self.wanted) <= MOST_SUMS:
            raise BadParameter(
                message=f"An answer is made of at most {MOST_SUMS} sums.",
                remedy="Ask for fewer cells or variables.",
                field="parameters",
            )
        return Shares(cost, self.squared_sensitivity, len(self.wanted), quorum)

    def ranges(self, members: int, contributors: int, shares: Shares) -> list[tuple[int, int]]:
        """Where each noised sum can lie. Raises BadParameter where that is more than can be opened, or for
        fewer contributors than the quorum.
        """
        if not 1 <= shares.quorum <= contributors:
            raise BadParameter(
                message=f"Noise of {contributors} custodians is not that of a quorum of {shares.quorum}.",
                remedy="Wait until as many custodians as the quorum take part.",
                field="contributors",
            )
        try:
            room = contributors * shares.bound(contributors)
        except CostRefused:
            raise
        except ValueError:  # LARGEST_BOUND
            raise _too_large() from None
        found = [
            (members * min(0, w.low) - room, members * max(0, w.high) + room) for w in self.wanted
        ]
        if any(high - low >= 1 << MOST_BITS for low, high in found):
            raise _too_large()
        return found

    def noise(self, cost: int, contributors: int, shares: Shares) -> GaussianNoise:
        """The noise of each sum, inflated as it is with so many contributors."""
        scale = shares.sigma(contributors)
        return GaussianNoise(cost, self.squared_sensitivity, _float_up(scale))


def _too_large() -> BadParameter:
    return BadParameter(
        message="A sum of this analysis could be too large to be opened.",
        remedy="Ask for fewer members, a higher cost, or coarser variables.",
        field="parameters",
    )


def _float_up(scale: Fraction) -> float:
    found = float(scale)
    return found if Fraction(found) >= scale else found * (1 + 2**-52)
