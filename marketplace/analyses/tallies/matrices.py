"""covariance.v1 and correlation.v1: every pair of 2 to 8 numbers, over the members that meet all conditions.

Parameters: variables; cases ("complete", the default: over the members that have all of the numbers, one set
for every pair; "pairwise": over those that have both numbers of the pair); filters (default: none). Cases are
chosen, not found out: the same question has the same meaning in every dataset. Complete cases need products
of one atom more than there are numbers (each one's square), so of at most MOST_FACTORS; pairwise ones of two.

Squared L2 sensitivity 4.5 k^2 d^2 for complete cases (`moments.joint`), 4 k (k + 1) d^2 pairwise
(`moments.pairwise`), where a square is weighed by d. Cost rho = that / (2 sigma^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from marketplace.analyses.analysis import Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, bad, filters_document
from marketplace.analyses.tallied import Finish, Tallied
from marketplace.analyses.tallies.features import Feature, require_factors, wanted_of
from marketplace.analyses.tallies.indicators import holding
from marketplace.analyses.tallies.tally import Tally
from marketplace.wire.encoding import Encoding
from ml.dp.domain import Condition, Variable
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised
from ml.tallied.covariances import correlations, covariances, expected_errors
from ml.tallied.moments import Design, joint, noise_text, pairwise

LEAST, MOST = 2, 8
COMPLETE, PAIRWISE = "complete", "pairwise"

_KEYS = frozenset({"variables", "cases", "filters"})
_FEWER: Final = 'Name fewer variables, leave out filters, or give cases: "pairwise".'
_HOLDS = (
    "of the worst pair, if all these members have all numbers, with deviations of a sixth of the range, "
    "and means in its middle"
)


@dataclass(frozen=True)
class MatrixParameters(Parameters):
    """The numbers, in the order of rows, over whom, and who is counted."""

    variables: tuple[Variable, ...]
    cases: str
    conditions: tuple[Condition, ...]

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.conditions)

    def document(self) -> dict[str, Any]:
        """`variables` as given, `cases` written out, `filters` in canonical order."""
        return {
            "cases": self.cases,
            "filters": filters_document(self.conditions),
            "variables": [variable.name for variable in self.variables],
        }

    @property
    def features(self) -> tuple[Feature, ...]:
        """The numbers."""
        return tuple(Feature(variable) for variable in self.variables)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the numbers."""
        return tuple(variable.name for variable in self.variables)


def read_cases(fields: Fields, *known: str) -> str:
    """`cases`, one of these words; the first where it is left out."""
    if not fields.has("cases"):
        return known[0]
    given = fields.get("cases")
    if not isinstance(given, str) or given not in known:
        raise bad(fields.path("cases"), "is not known", f"Use one of: {', '.join(known)}.")
    return given


def _read(fields: Fields) -> MatrixParameters:
    variables = fields.numbers("variables", LEAST, MOST)
    return MatrixParameters(variables, read_cases(fields, COMPLETE, PAIRWISE), fields.filters())


def _design(parameters: MatrixParameters, encoding: Encoding) -> Design:
    widths = [feature.width(encoding) for feature in parameters.features]
    return joint(widths) if parameters.cases == COMPLETE else pairwise(widths)


def _sums(parameters: MatrixParameters, encoding: Encoding, finish: Finish) -> Tallied:
    design = _design(parameters, encoding)
    where = holding(parameters.conditions, encoding)
    wanted = wanted_of(design, parameters.features, encoding, where)
    require_factors(wanted, _FEWER)
    return Tallied(wanted, design.squared_sensitivity, finish)


def _covariance(parameters: MatrixParameters, encoding: Encoding) -> Tallied:
    design = _design(parameters, encoding)
    units = [feature.unit(encoding) for feature in parameters.features]

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
        found = covariances(noised, noise, design, parameters.names, units)
        text = noise_text(design, noise)
        return Noised("covariance", "product of both units", found, text, cost, members)

    return _sums(parameters, encoding, finish)


def _correlation(parameters: MatrixParameters, encoding: Encoding) -> Tallied:
    design = _design(parameters, encoding)

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
        found = correlations(noised, noise, design, parameters.names)
        return Noised("correlation", "", found, noise_text(design, noise), cost, members)

    return _sums(parameters, encoding, finish)


def _foresee_covariance(
    parameters: MatrixParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    error, _ = expected_errors(_design(parameters, encoding), noise, members)
    return Forecast(error, "of the product of both ranges / 4", _HOLDS, Fraction(2))


def _foresee_correlation(
    parameters: MatrixParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    _, error = expected_errors(_design(parameters, encoding), noise, members)
    return Forecast(error, "correlation", _HOLDS, Fraction(2))


COVARIANCE = Tally(
    id="covariance.v1",
    title="Covariances",
    release_kind=ReleaseKind.TABLE,
    keys=_KEYS,
    read=_read,
    express=_covariance,
    foresee=_foresee_covariance,
)
CORRELATION = Tally(
    id="correlation.v1",
    title="Correlations",
    release_kind=ReleaseKind.TABLE,
    keys=_KEYS,
    read=_read,
    express=_correlation,
    foresee=_foresee_correlation,
)
