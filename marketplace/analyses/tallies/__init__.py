"""Everything that can be asked in the homomorphic lane: only sums over a cohort are opened, with noise.

See the docstring of each analysis for its sums and their sensitivity.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from marketplace.analyses.tallies.counts import COUNT_TALLY, CROSS_TABLE_TALLY, HISTOGRAM_TALLY
from marketplace.analyses.tallies.independence import CHI_SQUARE
from marketplace.analyses.tallies.matrices import CORRELATION, COVARIANCE
from marketplace.analyses.tallies.measured import MEAN_TALLY, SUM_TALLY, VARIANCE_TALLY
from marketplace.analyses.tallies.products import products_for
from marketplace.analyses.tallies.regressions import (
    LINEAR,
    LOGISTIC_REGRESSION,
    POISSON,
    RIDGE,
)
from marketplace.analyses.tallies.scores import SCORE
from marketplace.analyses.tallies.survival import KAPLAN_MEIER, LOG_RANK
from marketplace.analyses.tallies.tally import Tally

__all__ = ["TALLIES", "Tally", "products_for"]

_ALL: tuple[Tally[Any], ...] = (
    COUNT_TALLY,
    SUM_TALLY,
    MEAN_TALLY,
    VARIANCE_TALLY,
    HISTOGRAM_TALLY,
    CROSS_TABLE_TALLY,
    COVARIANCE,
    CORRELATION,
    LINEAR,
    RIDGE,
    LOGISTIC_REGRESSION,
    POISSON,
    KAPLAN_MEIER,
    LOG_RANK,
    CHI_SQUARE,
    SCORE,
)

TALLIES: Mapping[str, Tally[Any]] = MappingProxyType({each.id: each for each in _ALL})
