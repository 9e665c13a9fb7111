"""score.v1: a published model run on encrypted records, and how many have each variable that it reads.

Parameters: model (the hash of a published model, `ml.ckks.models`), variables (what it reads, in its own
order: numbers by name, categories by indicator, `name=0` to `name=c-1`). Which model that is, and that it
reads these, the operator checks where models are published (`scoring.models`): nothing here depends on it.

Scores are no part of this answer: each stays encrypted to its patient (`scoring.rounds`). The sums are one
presence count for each of the d distinct variables of the dictionary. A record adds 0 or 1 to each, so
replacing it moves each by at most 1: squared L2 sensitivity d, which a full record and a null one reach.
Cost rho = d / (2 sigma^2).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from marketplace.analyses.analysis import Forecast, Parameters, ReleaseKind
from marketplace.analyses.fields import Fields, bad
from marketplace.analyses.polynomials import present
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.counts import counted
from marketplace.analyses.tallies.indicators import encoded
from marketplace.analyses.tallies.tally import Tally
from marketplace.wire.encoding import Encoding
from ml.dp.counts import cells_answer, expected_count_error
from ml.dp.domain import Variable
from ml.dp.noise import GaussianNoise
from ml.dp.noised import Noised

MOST_VARIABLES: Final = 32
"""Of one model; as `ml.ckks.layout` has it (a test compares)."""
_HASH: Final = re.compile("0x[0-9a-f]{64}")
_INDICATOR: Final = re.compile("([a-z][a-z0-9_]{0,39})=(0|[1-9][0-9]?)")


@dataclass(frozen=True)
class ScoreParameters(Parameters):
    """A model by its hash, what it reads in its order, and whose values these are."""

    model: str
    names: tuple[str, ...]
    variables: tuple[Variable, ...]
    """Of the dictionary, each once, in the order in which `names` first use them."""

    def label(self, variable: Variable) -> str:
        """What the model reads of a variable, as it was asked: `age`, or `sex=0, sex=1`."""
        return ", ".join(each for each in self.names if each.partition("=")[0] == variable.name)

    def document(self) -> dict[str, Any]:
        """`model` and `variables`."""
        return {"model": self.model, "variables": list(self.names)}


def _read(fields: Fields) -> ScoreParameters:
    model = fields.get("model")
    if not isinstance(model, str) or _HASH.fullmatch(model) is None:
        raise bad(
            fields.path("model"),
            "is not the hash of a model",
            "Give 0x and 64 lower-case hexadecimal digits, as `usufruct models` lists them.",
        )
    given = fields.items("variables", 1, MOST_VARIABLES)
    read = [_read_name(fields, name, i) for i, name in enumerate(given)]
    names = tuple(str(name) for name in given)
    if len(set(names)) < len(names):
        raise bad(fields.path("variables"), "name a variable twice", "Name each variable once.")
    return ScoreParameters(model, names, tuple({each.name: each for each in read}.values()))


def _read_name(fields: Fields, name: object, i: int) -> Variable:
    """The variable whose value, or one of whose categories, this name stands for."""
    at = f"{fields.path('variables')}[{i}]"
    indicator = _INDICATOR.fullmatch(name) if isinstance(name, str) else None
    variable = fields.named(name if indicator is None else indicator[1], at)
    if indicator is None and variable.categories:
        last = len(variable.categories) - 1
        raise bad(at, "is a category", f"Name one: {variable.name}=0 to {variable.name}={last}.")
    if indicator is not None and int(indicator[2]) >= len(variable.categories):
        raise bad(at, "is no category of its variable", "Count categories from 0; name numbers.")
    return variable


def _express(parameters: ScoreParameters, encoding: Encoding) -> Tallied:
    labels = [(parameters.label(each),) for each in parameters.variables]

    def finish(noised: Sequence[int], noise: GaussianNoise, members: int, _: int) -> Noised:
        return cells_answer(noised, noise, labels, members)

    places = [encoded(each, encoding, "variables") for each in parameters.variables]
    return Tallied(counted([present(each.name) for each in places]), len(places), finish)


def _foresee(_: object, __: Encoding, noise: GaussianNoise, members: int) -> Forecast:
    error = expected_count_error(noise)
    return Forecast(error, "members who have a value", "for any data", Fraction(members))


SCORE: Final = Tally(
    id="score.v1",
    title="Personal scores",
    release_kind=ReleaseKind.PERSONAL_SCORE,
    keys=frozenset({"model", "variables"}),
    read=_read,
    express=_express,
    foresee=_foresee,
)
