"""kaplan_meier.v1 and log_rank.v1: time to an event, in the intervals that the encoding has of the time.

Parameters: time (a number with intervals), event ({variable, category}: who has it left with the event, who
has another category of that variable was censored, who has none is left out), filters (default: none);
log_rank.v1 also group (a category variable) and compare (two of its categories).

A record is in at most one cell (group, event or not, interval): squared L2 sensitivity 2 for all cells
together, as for a table. Cost rho = 2 / (2 sigma^2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from marketplace.analyses.analysis import Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, bad, filters_document, some_of
from marketplace.analyses.polynomials import Polynomial, any_of, present
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.counts import counted
from marketplace.analyses.tallies.features import FEATURE_KEYS, Feature, read_feature
from marketplace.analyses.tallies.indicators import encoded, holding, interval_labels
from marketplace.analyses.tallies.tally import Tally
from marketplace.wire.encoding import Encoded, Encoding
from ml.dp.counts import CELLS_SQUARED_SENSITIVITY
from ml.dp.domain import Condition, Variable
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised, scale_text
from ml.tallied.survival import (
    LARGEST_LOG_RATIO,
    expected_log_ratio_error,
    expected_survival_error,
    kaplan_meier,
    log_rank,
)

_KEYS = frozenset({"time", "event", "filters"})
_EVENLY = "if all these members are counted and leave evenly over the intervals, half of them with an event"


@dataclass(frozen=True)
class SurvivalParameters(Parameters):
    """Time, event, who is counted; two groups (variable and two categories of it) where they are compared."""

    time: Variable
    event: Feature
    conditions: tuple[Condition, ...]
    groups: tuple[Feature, ...] = ()

    @property
    def thins(self) -> bool:
        """Whether there are conditions."""
        return bool(self.conditions)

    def document(self) -> dict[str, Any]:
        """All that was read, `filters` in canonical order."""
        shared: dict[str, Any] = {
            "event": self.event.document(),
            "filters": filters_document(self.conditions),
            "time": self.time.name,
        }
        if not self.groups:
            return shared
        names = [each.document()["category"] for each in self.groups]
        return {**shared, "compare": names, "group": self.groups[0].variable.name}


def _read(fields: Fields) -> SurvivalParameters:
    event = read_feature(fields.within("event", fields.get("event"), FEATURE_KEYS))
    if event.category is None:
        raise bad(fields.path("event"), "is a number", "Choose a category of a variable.")
    return SurvivalParameters(fields.number("time"), event, fields.filters())


def _read_groups(fields: Fields) -> SurvivalParameters:
    shared = _read(fields)
    variable = fields.variable("group")
    names = fields.items("compare", 2, 2)
    if any(name not in variable.categories for name in names) or names[0] == names[1]:
        known = some_of(variable.categories) or "a variable that has categories"
        raise bad(
            fields.path("compare"), "are not two categories of group", f"Use two of: {known}."
        )
    if variable == shared.event.variable:
        raise bad(fields.path("group"), "is the event's variable", "Choose another.")
    groups = tuple(Feature(variable, variable.categories.index(str(name))) for name in names)
    return SurvivalParameters(shared.time, shared.event, shared.conditions, groups)


def _time(parameters: SurvivalParameters, encoding: Encoding) -> Encoded:
    place = encoded(parameters.time, encoding, "time")
    if not place.starts:
        cut = [each.name for each in encoding.variables if each.starts]
        remedy = f"Use one of: {some_of(cut)}." if cut else "Ask for an encoding with intervals."
        raise bad("time", "has no intervals in the dataset's encoding", remedy)
    return place


def _leaving(
    parameters: SurvivalParameters, encoding: Encoding, where: Polynomial
) -> list[Polynomial]:
    """1 for a record that meets `where` and leaves with the event, for each interval; then censored."""
    time = _time(parameters, encoding)
    variable = encoded(parameters.event.variable, encoding, "event").name
    event = any_of(variable, [parameters.event.category or 0])
    ways = (event, present(variable) - event)
    intervals = [any_of(time.name, [i]) for i in range(len(time.starts))]
    return [where * interval * way for way in ways for interval in intervals]


def _kaplan_meier(parameters: SurvivalParameters, encoding: Encoding) -> Tallied:
    labels = interval_labels(parameters.time, _time(parameters, encoding))

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
        found = kaplan_meier(noised, noise, labels)
        text = (("cell", scale_text(noise.sigma)),)
        unit = "share without the event by the end"
        return Noised("survival", unit, found, text, cost, members, "noise and sampling")

    where = holding(parameters.conditions, encoding)
    wanted = counted(_leaving(parameters, encoding, where))
    return Tallied(wanted, CELLS_SQUARED_SENSITIVITY, finish)


def _log_rank(parameters: SurvivalParameters, encoding: Encoding) -> Tallied:
    intervals = len(_time(parameters, encoding).starts)

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, cost: int) -> Noised:
        found = log_rank(noised, noise, intervals, members)
        text = (("cell", scale_text(noise.sigma)),)
        return Noised("log-rank test", "", found, text, cost, members, "noise and sampling")

    where = holding(parameters.conditions, encoding)
    cells: list[Polynomial] = []
    for group in parameters.groups:
        name = encoded(group.variable, encoding, "group").name
        inside = where * any_of(name, [group.category or 0])
        cells += _leaving(parameters, encoding, inside)
    return Tallied(counted(cells), CELLS_SQUARED_SENSITIVITY, finish)


def _foresee_curve(
    parameters: SurvivalParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    intervals = len(_time(parameters, encoding).starts)
    error = expected_survival_error(noise, intervals, members)
    holds = f"at the worst interval of the first half, {_EVENLY}"
    return Forecast(error, "share without the event", holds, Fraction(1))


def _foresee_ratio(
    parameters: SurvivalParameters, encoding: Encoding, noise: GaussianNoise, members: int
) -> Forecast:
    intervals = len(_time(parameters, encoding).starts)
    error = expected_log_ratio_error(noise, intervals, members)
    span = 2 * Fraction(LARGEST_LOG_RATIO)
    return Forecast(error, "log hazard ratio", f"for two equal groups, {_EVENLY}", span)


KAPLAN_MEIER = Tally(
    id="kaplan_meier.v1",
    title="Survival curve",
    release_kind=ReleaseKind.TABLE,
    keys=_KEYS,
    read=_read,
    express=_kaplan_meier,
    foresee=_foresee_curve,
)
LOG_RANK = Tally(
    id="log_rank.v1",
    title="Log-rank test",
    release_kind=ReleaseKind.TABLE,
    keys=_KEYS | {"group", "compare"},
    read=_read_groups,
    express=_log_rank,
    foresee=_foresee_ratio,
)
