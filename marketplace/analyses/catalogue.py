"""One catalogue over both lanes: which analysis is answered where.

An id means the same in every lane that has it: the same parameters, the same hash on chain.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from marketplace.analyses import CATALOGUE
from marketplace.analyses.analysis import Analysis, unknown_analysis
from marketplace.analyses.tallies import TALLIES, Tally
from marketplace.vocabulary import Lane

Asked = Analysis[Any] | Tally[Any]

_IN: Final[Mapping[Lane, Mapping[str, Asked]]] = {
    Lane.VAULT: CATALOGUE,
    Lane.HOMOMORPHIC: TALLIES,
}
_BY_HASH: Final = {
    lane: MappingProxyType({each.analysis_hash(): each for each in known.values()})
    for lane, known in _IN.items()
}
CALLED: Final[Mapping[Lane, str]] = {
    Lane.VAULT: "the vault lane",
    Lane.HOMOMORPHIC: "the homomorphic lane",
}


def analysis_in(lane: Lane, name: object) -> Asked:
    """The analysis of that id in that lane. Raises BadParameter for any other name, naming the lanes that
    have it.
    """
    known = _IN[lane]
    if not isinstance(name, str) or name not in known:
        elsewhere = [CALLED[each] for each in lanes_of(name)]
        raise unknown_analysis(
            known, f" It is asked in {', '.join(elsewhere)}." if elsewhere else ""
        )
    return known[name]


def lanes_of(name: object) -> tuple[Lane, ...]:
    """Where the analysis of that id is answered, the vault lane first; nowhere for any other name."""
    return tuple(lane for lane, known in _IN.items() if isinstance(name, str) and name in known)


def known_in(lane: Lane) -> Mapping[bytes, Asked]:
    """Of every analysis of a lane: the 32 bytes that name it on chain -> the analysis, in catalogue order."""
    return _BY_HASH[lane]
