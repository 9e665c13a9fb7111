"""linear_regression.v1, ridge.v1, logistic.v1 and poisson.v1: an outcome on 1 to 7 predictors.

Parameters: outcome, predictors (each a number, or a category of a variable as 0 or 1), cases, filters. cases:
"complete" (the default: members that have the outcome and all predictors; products of one atom more than
there are variables, so at most MOST_FACTORS - 1 of them), or "middle" (members that have the outcome; an
absent predictor stands in the middle of its range, so that coefficients shrink as more are absent).

ridge.v1 has `penalty`: so many times the square of each slope, of half ranges of the outcome per half range
of the predictor, is added to the sum of squared residuals in half ranges (A. Hoerl, R. Kennard, 1970).
logistic.v1 has `log_odds` (default [-4, 4], as in PASS-GLM: odds from 1 : 55 to 55 : 1), poisson.v1
`log_rate`: the interval of the linear predictor on which the likelihood is approximated. It should be the one
that most members lie in: where log odds are near 0, [-4, 4] makes coefficients about half too large.

All open the same sums: squared L2 sensitivity 4.5 k^2 d^2, k numbers with the outcome (`moments.joint`). Its
proof needs only that each u is in -R..R, or that the record adds nothing. Cost rho = that / (2 sigma^2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
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
from ml.tallied.moments import joint, noise_text
from ml.tallied.regressions import (
    Link,
    Model,
    expected_slope_error,
    identity,
    log_rate,
    logit,
    regressed,
)

MOST_PREDICTORS = 7
MIDDLE = "middle"
NARROWEST = Fraction(1, 2)
MOST_PENALTY = Fraction(10**9)

_SHARED = frozenset({"outcome", "predictors", "cases", "filters"})
_DIGITS = 15
_FEWER: Final = 'Name fewer variables, leave out filters, or give cases: "middle".'
_HOLDS = (
    "of the least certain predictor over its whole range, if all these members have all numbers, "
    "unrelated, with deviations of a sixth of the range, and means in its middle"
)


@dataclass(frozen=True)
class RegressionParameters(Parameters):
    """What is explained by what, over whom; `settings`: numbers that only some models have, by name."""

    outcome: Feature
    predictors: tuple[Feature, ...]
    cases: str
    conditions: tuple[Condition, ...]
    settings: tuple[tuple[str, tuple[Fraction, ...]], ...] = ()

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.conditions)

    def document(self) -> dict[str, Any]:
        """All that was read, `cases` and settings written out, `filters` in canonical order."""
        shared = {
            "cases": self.cases,
            "filters": filters_document(self.conditions),
            "outcome": self.outcome.document(),
            "predictors": [each.document() for each in self.predictors],
        }
        return shared | {name: _setting_document(values) for name, values in self.settings}

    @property
    def features(self) -> tuple[Feature, ...]:
        """Predictors, then the outcome."""
        return (*self.predictors, self.outcome)

    def setting(self, name: str) -> tuple[Fraction, ...]:
        """Of this name."""
        return dict(self.settings)[name]


LinkOf = Callable[[RegressionParameters, Encoding], Link]
Settings = tuple[tuple[str, tuple[Fraction, ...]], ...]


def _read(
    fields: Fields, of_category: bool, settings: Callable[[Fields], Settings]
) -> RegressionParameters:
    outcome = read_feature(fields.within("outcome", fields.get("outcome"), FEATURE_KEYS))
    if of_category != (outcome.category is not None):
        kind, other = ("category", "number") if of_category else ("number", "category")
        raise bad(fields.path("outcome"), f"is a {other}", f"Choose a {kind}.")
    predictors = read_features(fields, "predictors", 1, MOST_PREDICTORS)
    if outcome.variable.name in {each.variable.name for each in predictors}:
        raise bad(fields.path("predictors"), "name the outcome", "Leave it out of them.")
    cases = read_cases(fields, COMPLETE, MIDDLE)
    return RegressionParameters(outcome, predictors, cases, fields.filters(), settings(fields))


def _no_settings(_: Fields) -> Settings:
    return ()


def _penalty(fields: Fields) -> Settings:
    penalty = _exact(fields, "penalty", Fraction(0), MOST_PENALTY)
    return (("penalty", (penalty,)),)


@dataclass(frozen=True)
class Interval:
    """Where a likelihood may be approximated: within lowest..highest, at most so wide.

    Over a wider interval no parabola is near. default: what is taken where none is given; None to refuse.
    """

    name: str
    lowest: Fraction
    highest: Fraction
    widest: Fraction
    default: tuple[Fraction, Fraction] | None = None

    def read(self, fields: Fields) -> Settings:
        """[low, high], exact. Raises BadParameter."""
        if self.default is not None and not fields.has(self.name):
            return ((self.name, self.default),)
        path = fields.path(self.name)
        low, high = (exact_number(each, path) for each in fields.items(self.name, 2, 2))
        inside = low >= self.lowest and high <= self.highest
        if not inside or not NARROWEST <= high - low <= self.widest:
            raise bad(
                path,
                "is not an interval that the likelihood can be approximated on",
                f"Give [low, high] from {self.lowest} to {self.highest}, "
                f"{decimal_text(NARROWEST, 1)} to {self.widest} apart.",
            )
        return ((self.name, (low, high)),)


LOG_ODDS = Interval(
    "log_odds", Fraction(-10), Fraction(10), Fraction(16), (Fraction(-4), Fraction(4))
)
LOG_RATE = Interval("log_rate", Fraction(-10), Fraction(20), Fraction(6))


def _exact(fields: Fields, key: str, low: Fraction, high: Fraction) -> Fraction:
    value = exact_number(fields.get(key), fields.path(key))
    if not low <= value <= high:
        ends = " to ".join(_written(end) for end in (low, high))
        raise bad(fields.path(key), "is not in range", f"Give a number from {ends}.")
    return value


def _setting_document(values: tuple[Fraction, ...]) -> str | list[str]:
    texts = [_written(value) for value in values]
    return texts[0] if len(texts) == 1 else texts


def _written(value: Fraction) -> str:
    """Exact, without zeros at its end."""
    return decimal_text(value, _DIGITS).rstrip("0").rstrip(".")


def _identity(parameters: RegressionParameters, encoding: Encoding) -> Link:
    outcome = parameters.outcome
    return identity(float(outcome.unit(encoding).size * outcome.width(encoding)))


def _logit(parameters: RegressionParameters, _: Encoding) -> Link:
    low, high = parameters.setting(LOG_ODDS.name)
    return logit(float(low), float(high))


def _rate(parameters: RegressionParameters, _: Encoding) -> Link:
    low, high = parameters.setting(LOG_RATE.name)
    return log_rate(float(low), float(high))


def _model(parameters: RegressionParameters, encoding: Encoding, link: LinkOf) -> Model:
    features = parameters.features
    whole = parameters.cases == COMPLETE
    design = joint(
        [feature.width(encoding) for feature in features],
        [whole and feature.category is not None for feature in features],
    )
    penalty = dict(parameters.settings).get("penalty", (Fraction(0),))[0]
    return Model(
        design,
        tuple(feature.label for feature in features),
        tuple(feature.unit(encoding) for feature in features),
        link(parameters, encoding),
        float(penalty),
    )


def _tally(
    name: str,
    title: str,
    link: LinkOf,
    unit: Callable[[RegressionParameters], str],
    settings: Callable[[Fields], Settings] = _no_settings,
    keys: frozenset[str] = frozenset(),
    of_category: bool = False,
) -> Tally[RegressionParameters]:
    def express(parameters: RegressionParameters, encoding: Encoding) -> Tallied:
        model = _model(parameters, encoding, link)

        def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
            found = regressed(noised, noise, model)
            words = f"{unit(parameters)} per unit of each".lstrip()
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
        model = _model(parameters, encoding, link)
        error = expected_slope_error(noise, model, members)
        return Forecast(error, unit(parameters), _HOLDS, 4 * Fraction(model.link.span))

    return Tally(
        id=name,
        title=title,
        release_kind=ReleaseKind.TABLE,
        keys=_SHARED | keys,
        read=lambda fields: _read(fields, of_category, settings),
        express=express,
        foresee=foresee,
    )


def _unit_of_outcome(parameters: RegressionParameters) -> str:
    return parameters.outcome.variable.unit


LINEAR = _tally("linear_regression.v1", "Linear regression", _identity, _unit_of_outcome)
RIDGE = _tally(
    "ridge.v1", "Ridge regression", _identity, _unit_of_outcome, _penalty, frozenset({"penalty"})
)
LOGISTIC = _tally(
    "logistic.v1",
    "Logistic regression",
    _logit,
    lambda _: "log odds",
    LOG_ODDS.read,
    frozenset({LOG_ODDS.name}),
    of_category=True,
)
POISSON = _tally(
    "poisson.v1",
    "Poisson regression",
    _rate,
    lambda _: "log rate",
    LOG_RATE.read,
    frozenset({LOG_RATE.name}),
)
