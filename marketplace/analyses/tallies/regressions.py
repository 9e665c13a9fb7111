"""linear_regression.v1, ridge.v1, logistic.v1 and poisson.v1: an outcome on 1 to 7 predictors.

Parameters: outcome, predictors (each a number, or a category of a variable as 0 or 1), cases, filters. cases:
"complete" (the default: members that have the outcome and all predictors; products of one atom more than
there are variables, so at most MOST_FACTORS - 1 of them), or "middle" (members that have the outcome; an
absent predictor stands in the middle of its range, so that coefficients shrink as more are absent).

ridge.v1 has `penalty`: so many times the square of each slope, of half ranges of the outcome per half range
of the predictor, is added to the sum of squared residuals in half ranges (A. Hoerl, R. Kennard, 1970).
logistic.v1 and poisson.v1 (of an outcome that counts something) make do with the same sums:
`ml.tallied.curves` says how, and how near they come to the likelihood's maximum.

All open the same sums: squared L2 sensitivity 4.5 k^2 d^2, k numbers with the outcome (`moments.joint`). Its
proof needs only that each u is in -R..R, or that the record adds nothing. Cost rho = that / (2 sigma^2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log
from typing import Any, Final

from marketplace.analyses.analysis import Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, bad, exact_number, filters_document
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.features import (
    FEATURE_KEYS,
    Feature,
    read_feature,
    read_features,
    require_factors,
    wanted_of,
)
from marketplace.analyses.tallies.indicators import holding
from marketplace.analyses.tallies.matrices import COMPLETE, read_cases
from marketplace.analyses.tallies.tally import Tally
from marketplace.wire.encoding import Encoding
from ml.dp.domain import Condition
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised, decimal_text
from ml.tallied.curves import EXPONENTIAL, LOGISTIC, Curve
from ml.tallied.moments import joint, noise_text
from ml.tallied.regressions import Model, expected_slope_error, regressed

MOST_PREDICTORS = 7
MIDDLE = "middle"
MOST_PENALTY = Fraction(10**9)
SPAN_OF_LOG_ODDS = 16.0
"""From odds of 1 : 3,000 to 3,000 : 1: what is beyond is not told."""
LEAST_RATE = 1e-3
"""A mean count below is not told from it."""

_SHARED = frozenset({"outcome", "predictors", "cases", "filters"})
_DIGITS = 15
_FEWER: Final = 'Name fewer variables, leave out filters, or give cases: "middle".'
_HOLDS = (
    "of the least certain predictor over its whole range, if all these members have all numbers, "
    "unrelated, with deviations of a sixth of the range, and means in its middle"
)


@dataclass(frozen=True)
class RegressionParameters(Parameters):
    """What is explained by what, over whom; `penalty` where the model has one."""

    outcome: Feature
    predictors: tuple[Feature, ...]
    cases: str
    conditions: tuple[Condition, ...]
    penalty: Fraction | None = None

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.conditions)

    def document(self) -> dict[str, Any]:
        """All that was read, `cases` written out, `filters` in canonical order."""
        shared = {
            "cases": self.cases,
            "filters": filters_document(self.conditions),
            "outcome": self.outcome.document(),
            "predictors": [each.document() for each in self.predictors],
        }
        return shared if self.penalty is None else {**shared, "penalty": _written(self.penalty)}

    @property
    def features(self) -> tuple[Feature, ...]:
        """Predictors, then the outcome."""
        return (*self.predictors, self.outcome)


@dataclass(frozen=True)
class Kind:
    """What tells one model from another.

    curve: None for least squares. spanned: how far the linear predictor can go. unit: of that.
    """

    curve: Curve | None
    spanned: Callable[[Feature, Encoding], float]
    unit: Callable[[Feature], str]
    of_category: bool = False
    penalised: bool = False


def _read(fields: Fields, kind: Kind) -> RegressionParameters:
    outcome = read_feature(fields.within("outcome", fields.get("outcome"), FEATURE_KEYS))
    _require_outcome(fields, outcome, kind)
    predictors = read_features(fields, "predictors", 1, MOST_PREDICTORS)
    if outcome.variable.name in {each.variable.name for each in predictors}:
        raise bad(fields.path("predictors"), "name the outcome", "Leave it out of them.")
    cases = read_cases(fields, COMPLETE, MIDDLE)
    penalty = _exact(fields, "penalty", Fraction(0), MOST_PENALTY) if kind.penalised else None
    return RegressionParameters(outcome, predictors, cases, fields.filters(), penalty)


def _require_outcome(fields: Fields, outcome: Feature, kind: Kind) -> None:
    if kind.of_category != (outcome.category is not None):
        wanted, other = ("category", "number") if kind.of_category else ("number", "category")
        raise bad(fields.path("outcome"), f"is a {other}", f"Choose a {wanted}.")
    if kind.curve is EXPONENTIAL and outcome.variable.lower < 0:
        raise bad(fields.path("outcome"), "can be below 0", "Choose one that counts something.")


def _exact(fields: Fields, key: str, low: Fraction, high: Fraction) -> Fraction:
    value = exact_number(fields.get(key), fields.path(key))
    if not low <= value <= high:
        ends = " to ".join(_written(end) for end in (low, high))
        raise bad(fields.path(key), "is not in range", f"Give a number from {ends}.")
    return value


def _written(value: Fraction) -> str:
    """Exact, without zeros at its end."""
    return decimal_text(value, _DIGITS).rstrip("0").rstrip(".")


def _range(outcome: Feature, encoding: Encoding) -> float:
    return float(outcome.unit(encoding).size * outcome.width(encoding))


def _log_rates(outcome: Feature, encoding: Encoding) -> float:
    largest = float(outcome.unit(encoding).origin) + _range(outcome, encoding)
    return log(largest / LEAST_RATE)


def _unit_of_outcome(outcome: Feature) -> str:
    return outcome.variable.unit


def _model(parameters: RegressionParameters, encoding: Encoding, kind: Kind) -> Model:
    features = parameters.features
    whole = parameters.cases == COMPLETE
    design = joint(
        [feature.width(encoding) for feature in features],
        [whole and feature.category is not None for feature in features],
    )
    return Model(
        design,
        tuple(feature.label for feature in features),
        tuple(feature.unit(encoding) for feature in features),
        kind.spanned(parameters.outcome, encoding),
        kind.curve,
        float(parameters.penalty or 0),
    )


def _tally(name: str, title: str, kind: Kind) -> Tally[RegressionParameters]:
    def express(parameters: RegressionParameters, encoding: Encoding) -> Tallied:
        model = _model(parameters, encoding, kind)

        def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
            found = regressed(noised, noise, model)
            words = f"{kind.unit(parameters.outcome)} per unit of each".lstrip()
            text = noise_text(model.design, noise)
            return Noised(title.lower(), words, found, text, cost, members, "noise and sampling")

        needed = None if parameters.cases == COMPLETE else [len(parameters.predictors)]
        where = holding(parameters.conditions, encoding)
        wanted = wanted_of(model.design, parameters.features, encoding, where, needed)
        require_factors(wanted, _FEWER)
        return Tallied(wanted, model.design.squared_sensitivity, finish)

    def foresee(
        parameters: RegressionParameters, encoding: Encoding, noise: GaussianNoise, members: int
    ) -> Forecast:
        model = _model(parameters, encoding, kind)
        error = expected_slope_error(noise, model, members)
        return Forecast(error, kind.unit(parameters.outcome), _HOLDS, 4 * Fraction(model.span))

    return Tally(
        id=name,
        title=title,
        release_kind=ReleaseKind.TABLE,
        keys=_SHARED | {"penalty"} if kind.penalised else _SHARED,
        read=lambda fields: _read(fields, kind),
        express=express,
        foresee=foresee,
    )


LINEAR = _tally("linear_regression.v1", "Linear regression", Kind(None, _range, _unit_of_outcome))
RIDGE = _tally("ridge.v1", "Ridge regression", Kind(None, _range, _unit_of_outcome, penalised=True))
LOGISTIC_REGRESSION = _tally(
    "logistic.v1",
    "Logistic regression",
    Kind(LOGISTIC, lambda *_: SPAN_OF_LOG_ODDS, lambda _: "log odds", of_category=True),
)
POISSON = _tally(
    "poisson.v1", "Poisson regression", Kind(EXPONENTIAL, _log_rates, lambda _: "log rate")
)
