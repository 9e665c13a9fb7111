"""What every analysis from encrypted sums can do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic

from marketplace.analyses.analysis import (
    ErrorMeasure,
    Forecast,
    P,
    ReleaseKind,
    least_cost,
    refusals,
    require_members,
)
from marketplace.analyses.fields import Dictionary, Fields
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.filtering import forms_or_filters
from marketplace.wire.analysis import analysis_hash
from marketplace.wire.encoding import Encoding
from ml.dp.noise import GaussianNoise


@dataclass(frozen=True)
class Tally(Generic[P]):
    """One entry of the catalogue of the homomorphic lane.

    An id that the vault lane has, too, has the same parameters and the same mathematics there; here values
    are on the encoding's grid. express: parameters as sums, raising BadParameter for what the encoding
    cannot say. foresee: the error to expect of parameters in an encoding, with this noise, about so many.
    """

    id: str
    title: str
    release_kind: ReleaseKind
    keys: frozenset[str]
    read: Callable[[Fields], P]
    express: Callable[[P, Encoding], Tallied]
    foresee: Callable[[P, Encoding, GaussianNoise, int], Forecast]

    def parse(self, parameters: Mapping[str, object], dictionary: Dictionary) -> P:
        """Checked parameters. Raises BadParameter, naming the field and the remedy."""
        return self.read(Fields(parameters, dictionary, self.keys))

    def canonical(self, parameters: P) -> bytes:
        """Canonical JSON: sorted keys, no spaces, ASCII, text only; parses back to equal ones."""
        document = parameters.document()
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")

    def analysis_hash(self) -> bytes:
        """32 bytes that name this analysis on chain."""
        return analysis_hash(self.id)

    def tallied(self, parameters: P, encoding: Encoding) -> Tallied:
        """The sums, their sensitivity and what is made of them.

        Raises BadParameter: a variable that is not encoded, clipping or edges that the encoding cannot say.
        `forms` raises for a product that the encoding does not list.
        """
        return self.express(parameters, encoding)

    def forms(self, parameters: P, tallied: Tallied, encoding: Encoding) -> list[Mapping[int, int]]:
        """Of each sum, column -> coefficient.

        Raises BadParameter: `filters`, naming the conditions that the encoding has products for; `encoding`,
        where it lacks a product without any condition.
        """
        return forms_or_filters(self.express, parameters, tallied, encoding)

    def foretell(
        self,
        parameters: P,
        encoding: Encoding,
        members: int,
        cost: int,
        quorum: int,
        contributors: int,
    ) -> Forecast:
        """The error to expect before payment, if `members` are counted, at `cost` nano-rho, with the noise of
        `contributors` of whom any `quorum` can decrypt.

        Whatever would make the answer impossible is refused here. Raises BadParameter.
        """
        return self._forecasts(parameters, encoding, members, quorum, contributors)(cost)

    def cost_for_error(
        self,
        parameters: P,
        encoding: Encoding,
        members: int,
        target: str | int | Fraction,
        measure: ErrorMeasure,
        quorum: int,
        contributors: int,
    ) -> int:
        """The least nano-rho at which the error that is foretold is at most `target`, in the same unit.

        Raises ErrorOutOfReach when no allowed cost reaches it, naming the smallest error that one does;
        BadParameter as `foretell` does.
        """
        forecasts = self._forecasts(parameters, encoding, members, quorum, contributors)
        return least_cost(forecasts, target, measure)

    def _forecasts(
        self, parameters: P, encoding: Encoding, members: int, quorum: int, contributors: int
    ) -> Callable[[int], Forecast]:
        """Of each cost. Raises BadParameter for what no cost makes possible."""
        require_members(members)
        tallied = self.tallied(parameters, encoding)
        self.forms(parameters, tallied, encoding)

        def at(cost: int) -> Forecast:
            with refusals():
                shares = tallied.shares(cost, quorum)
                tallied.ranges(members, contributors, shares)
                noise = tallied.noise(cost, contributors, shares)
                return self.foresee(parameters, encoding, noise, members)

        return at
