"""The catalogue of the vault lane: everything that a researcher can ask there, and nothing else can be run.

Of both lanes: `catalogue`.

Numbers only come out noised; see the docstring of each analysis for its sensitivity and cost.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from marketplace.analyses.analysis import (
    Analysis,
    ErrorOutOfReach,
    Forecast,
    Parameters,
    ReleaseKind,
    unknown_analysis,
)
from marketplace.analyses.count import COUNT
from marketplace.analyses.cross_table import CROSS_TABLE
from marketplace.analyses.fields import Dictionary
from marketplace.analyses.histogram import HISTOGRAM
from marketplace.analyses.mean import MEAN
from marketplace.analyses.quantile import QUANTILE
from marketplace.analyses.sum import SUM
from marketplace.analyses.variance import VARIANCE

__all__ = [
    "CATALOGUE",
    "Analysis",
    "Dictionary",
    "ErrorOutOfReach",
    "Forecast",
    "Parameters",
    "ReleaseKind",
    "analysis_by_hash",
    "analysis_by_id",
]

_ALL: tuple[Analysis[Any], ...] = (
    COUNT,
    SUM,
    MEAN,
    VARIANCE,
    HISTOGRAM,
    QUANTILE,
    CROSS_TABLE,
)

CATALOGUE: Mapping[str, Analysis[Any]] = MappingProxyType({a.id: a for a in _ALL})

_BY_HASH = {analysis.analysis_hash(): analysis for analysis in _ALL}


def analysis_by_id(name: object) -> Analysis[Any]:
    """The analysis of that id. Raises BadParameter for any other name."""
    if not isinstance(name, str) or name not in CATALOGUE:
        raise unknown_analysis(CATALOGUE)
    return CATALOGUE[name]


def analysis_by_hash(digest: bytes) -> Analysis[Any]:
    """The analysis that a request on chain names. Raises BadParameter for any other hash."""
    if digest not in _BY_HASH:
        raise unknown_analysis(CATALOGUE)
    return _BY_HASH[digest]
