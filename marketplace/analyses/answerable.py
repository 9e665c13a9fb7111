"""Can this be answered at all? Asked before anybody pays, and again by the gate before it gives its key, or
by each custodian before it takes part.

Once a cohort is sealed, money and budget are spent; an answer that could never be computed, or never be
delivered, would then only end in a default. So whatever makes an analysis refuse must show here: it
depends on parameters, cost and the cohort's public size, never on a record.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from marketplace.analyses.analysis import Analysis, refusals, require_members
from marketplace.analyses.tallied import Tallied
from marketplace.analyses.tallies.tally import Tally
from marketplace.errors import BadParameter
from marketplace.vocabulary import RequestId
from marketplace.wire.delivery import MOST_RESULT, encode_result
from marketplace.wire.encoding import Encoding
from ml.dp.domain import Table, Variable
from ml.dp.noised import Noised
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.noise import Shares

SEALING_BYTES = 256
"""Salt, HPKE's encapsulated key and tag: 80 bytes in fact."""
SUM_BYTES = COLUMN_BYTES
"""Of one opened sum in a sealed result of the homomorphic lane: its ciphertext under the researcher's key."""
BESIDE_SUMS = 1024
"""For whatever stands in that sealed result beside its sums."""
DIGITS_MORE = 24
"""By which any number of an answer may be longer than the same number of another draw: six digits of a
larger cohort, a sign, and noise a billion standard deviations away with room to spare."""


def require_answerable(
    analysis: Analysis[Any],
    parameters: Any,
    variables: Mapping[str, Variable],
    members: Sequence[int],
    cost: int,
) -> None:
    """What was asked can be computed for cohorts of these sizes at `cost` nano-rho, and delivered.

    Raises:
        BadParameter: as `Analysis.run` would; or `answer_too_large`, naming the parameters.
    """
    for size in members:
        analysis.expected_error(parameters, size, cost)
    most = most_bytes(analysis, parameters, variables, min(members), cost)
    _require_delivered(most, "Ask for fewer cells, or with fewer or shorter filters.")


def require_tallied(
    analysis: Tally[Any],
    parameters: Any,
    encoding: Encoding,
    members: Sequence[int],
    cost: int,
    quorum: int,
    contributors: int,
) -> tuple[Tallied, list[Mapping[int, int]], Shares]:
    """What was asked can be opened for cohorts of these sizes at `cost` nano-rho, whoever takes part: any
    number of custodians from `quorum` up to all `contributors`; and its sealed result can be delivered.

    Returns the sums, the form of each (column -> coefficient), and how their noise is split. What is made of
    opened sums is the researcher's to make, never fails, and is bounded by nothing here.

    Raises:
        BadParameter: naming the field; `answer_too_large`, where the sums are too many to deliver.
    """
    for size in members:
        require_members(size)
    tallied = analysis.tallied(parameters, encoding)
    forms = analysis.forms(parameters, tallied, encoding)
    with refusals():
        shares = tallied.shares(cost, quorum)
        for taking_part in range(min(quorum, contributors), contributors + 1):
            tallied.ranges(max(members), taking_part, shares)
    _require_delivered(sealed_bytes(len(forms)), "Ask for fewer cells or variables.")
    return tallied, forms, shares


def sealed_bytes(sums: int) -> int:
    """An upper bound of the sealed result of so many sums, in the homomorphic lane."""
    return SUM_BYTES * sums + BESIDE_SUMS


def _require_delivered(most: int, remedy: str) -> None:
    if most > MOST_RESULT:
        raise BadParameter(
            code="answer_too_large",
            message=f"The answer may take {most} bytes; {MOST_RESULT} can be delivered.",
            remedy=remedy,
            field="parameters",
        )


def most_bytes(
    analysis: Analysis[Any],
    parameters: Any,
    variables: Mapping[str, Variable],
    members: int,
    cost: int,
) -> int:
    """An upper bound of the sealed answer's size, from an answer about nobody's records."""
    noised = json.loads(rehearsed(analysis, parameters, variables, members, cost).to_json())
    document = json.loads(analysis.canonical(parameters))
    written = encode_result(RequestId(bytes(32)), analysis.id, document, members, noised)
    return len(written) + DIGITS_MORE * (_leaves(noised) + 1) + SEALING_BYTES


def rehearsed(
    analysis: Analysis[Any],
    parameters: Any,
    variables: Mapping[str, Variable],
    members: int,
    cost: int,
) -> Noised:
    """The answer about so many members whose records are all null.

    Its cost and its noise scales are those of every answer to this question about a cohort of this size:
    they depend on no record. Raises BadParameter as `Analysis.run` does.
    """
    return analysis.run(parameters, _nobody(variables, members), cost)


def _nobody(variables: Mapping[str, Variable], members: int) -> Table:
    columns = {name: np.zeros(members, dtype=np.int64) for name in variables}
    return Table(columns, {name: np.zeros(members, dtype=np.bool_) for name in variables}, members)


def _leaves(document: object) -> int:
    if isinstance(document, dict):
        return sum(map(_leaves, document.values()))
    if isinstance(document, list):
        return sum(map(_leaves, document))
    return 1
