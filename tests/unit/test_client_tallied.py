"""Rules of opening an answer of the homomorphic lane: the sums' own answer, or whose fault it is."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses.tallies import TALLIES, products_for
from marketplace.analyses.variables import variables_of
from marketplace.client.answers import Answer, answer_words
from marketplace.client.frames import frame
from marketplace.client.logarithms import Logarithms
from marketplace.client.results import noised_of
from marketplace.client.tallied import Delivered, SumOutOfRange, open_tally
from marketplace.errors import BadParameter, EnvelopeUnreadable
from marketplace.vocabulary import Lane
from marketplace.wire import hpke
from marketplace.wire.analysis import parameters_hash
from marketplace.wire.delivery import SCHEMA
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.structs import RequestTerms
from marketplace.wire.tally_delivery import TallyKey
from marketplace.wire.tallying import encode_sealed, recipient
from tests.support.tallied_study import PLAIN, QUESTIONS, dictionary, needed
from tests.support.tallying import encrypted
from tests.vectors.generate_structs import make

DELIVERY = hpke.SecretKey(bytes(range(32)))
KEY = TallyKey.of(DELIVERY)
TERMS = make(RequestTerms, "terms")
COST = 50_000_000  # nano-rho
MEMBERS, CONTRIBUTORS, QUORUM = 40, 3, 2
REQUEST = bytes(31) + b"\x01"
questions = pytest.mark.parametrize("question", QUESTIONS)


@dataclass(frozen=True)
class Case:
    """A question of the study with a dictionary that lists the products that it needs."""

    name: str
    parameters: Mapping[str, Any]
    dictionary: Dictionary
    ranges: list[tuple[int, int]]

    def delivered(self, values: list[int], **changes: Any) -> Delivered:
        """These very sums, encrypted to the researcher as k partial decryptions combine to."""
        tally = TALLIES[self.name]
        parsed = tally.parse(self.parameters, variables_of(self.dictionary))
        terms = replace(
            TERMS,
            lane=int(Lane.HOMOMORPHIC),
            analysis=tally.analysis_hash(),
            parameters=parameters_hash(tally.canonical(parsed)),
            delivery_key=KEY.public,
        )
        sealed = encode_sealed(encrypted(values, -recipient(KEY.public)))
        made = Delivered(REQUEST, terms, COST, MEMBERS, CONTRIBUTORS, QUORUM, sealed)
        return replace(made, **changes)

    def expected(self, values: list[int]) -> dict[str, Any]:
        """What the analysis itself makes of these sums."""
        tally = TALLIES[self.name]
        parsed = tally.parse(self.parameters, variables_of(self.dictionary))
        tallied = tally.tallied(parsed, needed(self.dictionary.encoding))
        shares = tallied.shares(COST, QUORUM)
        noise = tallied.noise(COST, CONTRIBUTORS, shares)
        noised = tallied.finish(values, noise, MEMBERS, COST)
        return {
            "schema": SCHEMA,
            "request": "0x" + REQUEST.hex(),
            "analysis": self.name,
            "parameters": json.loads(tally.canonical(parsed)),
            "cohort_size": MEMBERS,
            "noised": json.loads(noised.to_json()),
        }


@functools.cache
def case(question: str) -> Case:
    name, parameters = QUESTIONS[question]
    tally, encoding = TALLIES[name], needed(PLAIN.encoding)
    known = variables_of(PLAIN)
    pairs = products_for(tally.tallied(tally.parse(parameters, known), encoding), encoding)
    of = dictionary(products=pairs)
    tallied = tally.tallied(tally.parse(parameters, variables_of(of)), needed(of.encoding))
    shares = tallied.shares(COST, QUORUM)
    return Case(name, parameters, of, tallied.ranges(MEMBERS, CONTRIBUTORS, shares))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Logarithms:
    return Logarithms(tmp_path_factory.mktemp("tables"), processes=1)


@questions
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_what_is_opened_is_what_the_analysis_makes_of_these_sums(
    tables: Logarithms, question: str, data: st.DataObject
) -> None:
    one = case(question)
    ends = st.sampled_from([0.0, 1.0])
    shares = st.floats(0, 1) | ends
    values = [low + int(data.draw(shares) * (high - low)) for low, high in one.ranges]
    values = [min(value, high) for value, (_, high) in zip(values, one.ranges, strict=True)]
    opened = open_tally(one.delivered(values), one.dictionary, one.parameters, DELIVERY, tables)
    assert opened.document == one.expected(values)
    assert json.loads(opened.result) == opened.document
    noised_of(opened.document)
    assert all(answer_words(opened.document))
    found = Answer("0x" + REQUEST.hex(), dict(opened.document), {})
    assert len(frame(found)) == len(found.cells)


# --- refusals


@pytest.fixture(scope="module")
def mean() -> Case:
    return case(next(name for name, (analysis, _) in QUESTIONS.items() if analysis == "mean.v1"))


@pytest.mark.parametrize("beyond", [-1, 1, 10**9])
def test_a_sum_outside_everything_possible_names_the_custodians_that_must_have_lied(
    tables: Logarithms, mean: Case, beyond: int
) -> None:
    values = [low for low, _ in mean.ranges]
    low, high = mean.ranges[1]
    values[1] = low + beyond if beyond < 0 else high + beyond
    with pytest.raises(SumOutOfRange) as refused:
        open_tally(mean.delivered(values), mean.dictionary, mean.parameters, DELIVERY, tables)
    assert refused.value.facts == {"sum": 1, "low": low, "high": high}
    assert "Sum 2 of the answer" in refused.value.message
    assert "2 custodians signed another sum" in refused.value.message
    assert "verify-receipt" in refused.value.remedy


def test_another_delivery_key_is_not_mistaken_for_a_lie(tables: Logarithms, mean: Case) -> None:
    other = hpke.SecretKey(bytes(32))
    values = [low for low, _ in mean.ranges]
    with pytest.raises(EnvelopeUnreadable) as refused:
        open_tally(mean.delivered(values), mean.dictionary, mean.parameters, other, tables)
    assert "not made for this delivery key" in refused.value.message


def test_an_answer_to_another_question_is_refused(tables: Logarithms, mean: Case) -> None:
    values = [low for low, _ in mean.ranges]
    other = {**mean.parameters, "variable": "age"}
    with pytest.raises(BadParameter) as refused:
        open_tally(mean.delivered(values), mean.dictionary, other, DELIVERY, tables)
    assert (refused.value.code, refused.value.field) == ("wrong_parameters", "parameters")
    unknown = replace(mean.delivered(values).terms, analysis=bytes(32))
    delivered = mean.delivered(values, terms=unknown)
    with pytest.raises(BadParameter) as refused:
        open_tally(delivered, mean.dictionary, mean.parameters, DELIVERY, tables)
    assert refused.value.code == "wrong_analysis"


@pytest.mark.parametrize("count", [1, 3])
def test_another_number_of_sums_than_the_question_has_is_refused(
    tables: Logarithms, mean: Case, count: int
) -> None:
    with pytest.raises(EnvelopeUnreadable) as refused:
        open_tally(mean.delivered([0] * count), mean.dictionary, mean.parameters, DELIVERY, tables)
    assert f"is of {count} sums; this question has 2." in refused.value.message


def test_fewer_contributors_than_it_had_noise_of_would_be_told_as_less_noise(
    tables: Logarithms, mean: Case
) -> None:
    """So their number is part of what is opened, and is the chain's."""
    values = [(low + high) // 2 for low, high in mean.ranges]
    both = [
        open_tally(
            mean.delivered(values, contributors=count),
            mean.dictionary,
            mean.parameters,
            DELIVERY,
            tables,
        )
        for count in (QUORUM, CONTRIBUTORS)
    ]
    scales = [noised_of(opened.document)["noise"] for opened in both]
    assert scales[0] != scales[1]
