"""What passes before payment is answered after the seal, and its answer can be delivered."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.analyses import CATALOGUE
from marketplace.analyses.answerable import most_bytes, rehearsed, require_answerable
from marketplace.errors import BadParameter
from marketplace.vocabulary import Address, RequestId
from marketplace.wire import hpke
from marketplace.wire.delivery import (
    MOST_RESULT,
    DeliveryContext,
    encode_result,
    new_salt,
    seal_result,
)
from marketplace.wire.stated import Stated
from ml.dp.domain import Table
from tests.unit.test_analyses_parameters import DICTIONARY, GOOD

LEAST, MOST = 20, 3_000
DELIVERY = hpke.generate()
CONTEXT = DeliveryContext(31_337, Address("0x" + "11" * 20), RequestId(bytes(32)))


def is_refused(name: str, asked: Any, cost: int) -> bool:
    try:
        require_answerable(CATALOGUE[name], asked, DICTIONARY, (LEAST, MOST), cost)
    except BadParameter:
        return True
    return False


names = pytest.mark.parametrize("name", CATALOGUE)


def parsed(name: str) -> Any:
    return CATALOGUE[name].parse(GOOD[name], DICTIONARY)


def cohort(n: int, value: int) -> Table:
    columns = {name: np.full(n, value, dtype=np.int64) for name in DICTIONARY}
    return Table(columns, {name: np.ones(n, dtype=np.bool_) for name in DICTIONARY}, n)


@names
@settings(max_examples=40, deadline=None)
@given(cost=st.integers(1, 60) | st.integers(1, 10**9), n=st.integers(LEAST, MOST))
def test_whatever_is_taken_before_payment_can_be_computed_and_delivered(
    name: str, cost: int, n: int
) -> None:
    analysis, asked = CATALOGUE[name], parsed(name)
    if is_refused(name, asked, cost):
        with pytest.raises(BadParameter):
            analysis.run(asked, cohort(n, 1), cost)
        return
    noised = json.loads(analysis.run(asked, cohort(n, 1), cost).to_json())
    document = json.loads(analysis.canonical(asked))
    result = encode_result(RequestId(bytes(32)), name, document, n, noised)
    sealed = seal_result(new_salt(), result, DELIVERY.public, CONTEXT)
    assert len(sealed) <= most_bytes(analysis, asked, DICTIONARY, LEAST, cost) <= MOST_RESULT


@names
@settings(max_examples=10, deadline=None)
@given(cost=st.integers(1_000, 10**9), n=st.integers(LEAST, MOST), value=st.integers(0, 3))
def test_cost_and_noise_of_an_answer_are_those_of_one_about_nobody(
    name: str, cost: int, n: int, value: int
) -> None:
    analysis, asked = CATALOGUE[name], parsed(name)
    due = rehearsed(analysis, asked, DICTIONARY, n, cost)
    answer = analysis.run(asked, cohort(n, value), cost)
    assert (answer.cost_nano_rho, answer.noise) == (due.cost_nano_rho, due.noise)
    stated = Stated(due.cost_nano_rho, due.noise)
    assert Stated.from_json(stated.to_json()) == stated
    assert stated.noise
    assert all(scale > 0 for scale in stated.scales())
    assert 0 < stated.cost_nano_rho <= cost


def test_a_cost_that_the_mechanism_cannot_spend_is_refused_before_payment() -> None:
    with pytest.raises(BadParameter) as refused:
        require_answerable(
            CATALOGUE["quantile.v1"], parsed("quantile.v1"), DICTIONARY, (LEAST, MOST), 19
        )
    assert refused.value.field == "cost"


def test_an_answer_that_no_transaction_could_carry_is_refused_before_payment() -> None:
    name = "cross_table.v1"
    axis = {"variable": "sbp", "edges": [str(70 + step) for step in range(33)]}
    other = {"variable": "age", "edges": [str(18 + step) for step in range(33)]}
    asked = CATALOGUE[name].parse({"axes": [axis, other]}, DICTIONARY)
    with pytest.raises(BadParameter) as refused:
        require_answerable(CATALOGUE[name], asked, DICTIONARY, (LEAST, MOST), 10**8)
    assert refused.value.code == "answer_too_large"
    assert refused.value.field == "parameters"
    assert str(MOST_RESULT) in refused.value.message
