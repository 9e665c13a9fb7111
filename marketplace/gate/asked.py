"""What a gate is asked to compute, held against what the researcher paid for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.analyses import CATALOGUE, Analysis
from marketplace.analyses.answerable import require_answerable
from marketplace.analyses.variables import variables_of
from marketplace.gate.checks import GateRefused
from marketplace.wire import dictionary as wire
from marketplace.wire.analysis import analysis_hash, parameters_hash
from marketplace.wire.terms import RequestTerms

ANALYSES: Mapping[bytes, Analysis[Any]] = {analysis_hash(name): a for name, a in CATALOGUE.items()}


@dataclass(frozen=True)
class Asked:
    """A computation, checked against what the researcher paid for."""

    analysis: Analysis[Any]
    parameters: Any
    document: Mapping[str, Any]
    dictionary: wire.Dictionary


def require_asked(
    terms: RequestTerms,
    dictionary_hash: bytes,
    members: int,
    parameters: Mapping[str, Any],
    document: Mapping[str, Any],
) -> Asked:
    """What is computed is what was paid for, on the dictionary that the dataset was published with, of
    the kind that patients allowed, and can be answered for a cohort of so many members.

    Raises:
        GateRefused (wrong_dictionary, wrong_analysis, wrong_parameters, wrong_release_kind),
        BadDictionary, BadParameter.
    """
    dictionary = wire.from_json(document)
    if dictionary.hash() != dictionary_hash:
        raise _mismatch("dictionary", "The data dictionary is not the published one.")
    analysis = ANALYSES.get(terms.analysis)
    if analysis is None:
        raise _mismatch("analysis", "The request's analysis is not in this gate's catalogue.")
    if terms.release_kind != int(analysis.release_kind):
        # The chain held the stated kind against patients' consent, and cannot know an analysis's own.
        raise _mismatch(
            "release_kind", "The terms state another release kind than the analysis has."
        )
    variables = variables_of(dictionary)
    checked = analysis.parse(parameters, variables)
    written = analysis.canonical(checked)
    if parameters_hash(written) != terms.parameters:
        raise _mismatch("parameters", "The parameters are not those that the request names.")
    require_answerable(analysis, checked, variables, (members,), terms.cost)
    return Asked(analysis, checked, json.loads(written), dictionary)


def _mismatch(field: str, message: str) -> GateRefused:
    return GateRefused(
        code=f"wrong_{field}",
        message=message,
        remedy=f"Send the {field} of this very request, unchanged.",
        field=field,
    )
