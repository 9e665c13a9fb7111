"""Privacy costs: integer nano-rho of zCDP, and how people read them (epsilon, delta, odds).

Sources: Bun and Steinke 2016 (arXiv 1605.02065) for zCDP and its composition by addition;
Canonne, Kamath and Steinke 2020 (arXiv 2004.00010) for the conversion and the discrete Gaussian.
"""

import math
from fractions import Fraction

NANO = 10**9
MIN_COST = 1
MAX_COST = NANO  # rho = 1, epsilon near 8 at delta 1e-6: more than that protects nobody
MAX_DELTA = 1e-6

_SLACK = 1 + Fraction(1, 2**40)  # dwarfs every later rounding of a 53-bit float
_SEARCH_STEPS = 200


class CostRefused(ValueError):
    """The privacy cost is not one that a mechanism may be run at."""


def require_cost(cost: int) -> None:
    """Raise CostRefused unless `cost` is an integer from MIN_COST to MAX_COST nano-rho."""
    if isinstance(cost, bool) or not isinstance(cost, int) or not MIN_COST <= cost <= MAX_COST:
        raise CostRefused(f"a privacy cost is an integer from {MIN_COST} to {MAX_COST} nano-rho")


def rho(cost: int) -> Fraction:
    """Nano-rho as an exact rho."""
    return Fraction(cost, NANO)


def sqrt_up(value: Fraction) -> Fraction:
    """A rational at least the square root of `value` >= 0, less than 2^-60 (relative) above it."""
    if value < 0:
        raise ValueError("no square root of a negative number")
    shift = max(0, 128 - value.numerator.bit_length() + value.denominator.bit_length())
    scaled = (value.numerator << (2 * shift)) // value.denominator
    return Fraction(math.isqrt(scaled) + 1, 1 << shift) if value else Fraction(0)


def scale_for(cost: int, squared_sensitivity: int) -> float:
    """Noise scale at which moving by `squared_sensitivity` (its root, in L2) costs at most `cost`.

    The smallest float or a hair above, so that squared_sensitivity / (2 scale^2) <= rho holds
    exactly, also for the float that the sampler gets. Raises CostRefused on a cost out of range.
    """
    require_cost(cost)
    if squared_sensitivity < 1:
        raise ValueError("the sensitivity must be positive")
    return float(sqrt_up(Fraction(squared_sensitivity, 2) / rho(cost)) * _SLACK)


def zcdp_to_eps(rho_spent: float | Fraction, delta: float) -> float:
    """The smallest epsilon found such that rho-zCDP implies (epsilon, delta)-DP; rounded up.

    Every order alpha > 1 gives a sound bound (Canonne, Kamath, Steinke 2020, proposition 12), so
    stopping the search early can only overstate epsilon. Raises ValueError for rho < 0 or a delta
    outside (0, 1).
    """
    spent = float(rho_spent)
    if not 0 <= spent < math.inf or not 0 < delta < 1:
        raise ValueError("rho must be at least 0, and delta strictly between 0 and 1")
    if spent == 0:
        return 0.0
    low, high = math.log(1e-9), math.log(1e15)
    for _ in range(_SEARCH_STEPS):
        third = (high - low) / 3
        if _epsilon(spent, delta, low + third) < _epsilon(spent, delta, high - third):
            high -= third
        else:
            low += third
    return max(0.0, _epsilon(spent, delta, (low + high) / 2)) * (1 + 1e-9)


def _epsilon(spent: float, delta: float, log_order_less_one: float) -> float:
    less_one = math.exp(log_order_less_one)
    order = 1 + less_one
    gain = less_one * math.log(less_one / order) - math.log(order)
    return order * spent + (gain - math.log(delta)) / less_one


def display_delta(members: int) -> float:
    """delta = min(1e-6, 1 / (10 N)) for a population of N people."""
    if members < 1:
        raise ValueError("a population has at least one member")
    return min(MAX_DELTA, 1 / (10 * members))


def odds(epsilon: float) -> float:
    """Right guesses in 100, at most, of someone who guesses between two records from a result.

    X = 100 e^eps / (1 + e^eps), starting from even odds; 50 is pure chance. Use the *cumulative*
    epsilon of everything released about the person.
    """
    if epsilon < 0:
        raise ValueError("epsilon cannot be negative")
    return 100 / (1 + math.exp(-epsilon))
