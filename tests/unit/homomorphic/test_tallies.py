"""Without noise a tally is what adding up the rows gives, exactly: from rows to the researcher."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketplace.wire.dictionary import from_json
from marketplace.wire.encoding import Encoding
from ml.dp.accounting import MAX_COST
from ml.homomorphic.curve import ORDER, Memory, Point, Points, times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.logarithm import Table
from ml.homomorphic.noise import Contributor, Shares, contribute
from ml.homomorphic.threshold import (
    Sum,
    combine,
    decrypt_partially,
    open_sums,
    share_key,
    sums_from_bytes,
    verify_partial,
)
from ml.homomorphic.validity import Statement, prove, verify, verify_batch
from tests.support.campaign import PARTS, in_parts, of_part
from tests.support.encoded import column_values, documents, rows
from tests.support.tallying import CONTEXT, value_at

RESEARCHER = 0xCAFE
RECIPIENT = times_base(RESEARCHER)
TABLE = Table.build(4000)


def stored(encoding: Encoding, listed: list[tuple[int | None, ...]], key: Point) -> Memory:
    """(patients, 2 columns, 64): every record's ElGamal columns as they lie in memory."""
    columns = len(encoding.columns)
    memory = np.empty((len(listed), 2 * columns, 64), dtype=np.uint8)
    for at, row in enumerate(listed):
        raw = encrypt(encoding.values(row), draw_randomness(columns), key)
        memory[at] = Points.parse(raw).memory
    return memory


def summed(memory: Memory, cohort: list[int]) -> list[Sum]:
    chosen = np.array(cohort, dtype=np.int64)
    parts = [
        Points(np.ascontiguousarray(memory[:, at])).sum(chosen) for at in range(memory.shape[1])
    ]
    return [Sum(*parts[at : at + 2]) for at in range(0, len(parts), 2)]


def silent(scale: float, count: int) -> list[int]:
    """Noise that is off."""
    return [0] * count


def with_noise(sums: list[Sum], key: Point, quorum: int) -> list[Sum]:
    shares = Shares(MAX_COST, 1, len(sums), quorum)
    given = contribute(shares, quorum, key, Contributor(CONTEXT, 0), silent)
    return [one + other for one, other in zip(sums, sums_from_bytes(given.columns), strict=True)]


def read(sums: list[Sum], coefficients: list[int], chosen: list[int], largest: int) -> list[int]:
    """By these holders, verified, for the researcher."""
    commitments = [times_base(c) for c in coefficients]
    partials = {}
    for index in chosen:
        share = value_at(coefficients, index)
        partials[index] = decrypt_partially(share, sums, RECIPIENT, CONTEXT)
        public = share_key(commitments, index)
        verify_partial(partials[index], public, sums, RECIPIENT, CONTEXT)
    delivered = combine(partials, sums, len(coefficients))
    return TABLE.find(open_sums(delivered, RESEARCHER), 0, largest)


@pytest.mark.parametrize(("examples", "part"), in_parts(daily=100))
def test_a_tally_is_the_sum_of_the_rows(examples: int, part: int | None) -> None:
    @of_part(part)
    @settings(max_examples=examples)
    @given(st.data())
    def tallied(data: st.DataObject) -> None:
        whole = data.draw(documents())
        dictionary = from_json(whole)
        encoding = dictionary.encoding
        assert encoding is not None
        listed = data.draw(st.lists(rows(dictionary), min_size=1, max_size=6))
        cohort = data.draw(st.lists(st.integers(0, len(listed) - 1), unique=True))
        count = data.draw(st.integers(1, 5))
        quorum = data.draw(st.integers(1, count))
        chosen = data.draw(st.permutations(range(1, count + 1)))[:quorum]
        coefficients = [1 + secrets.randbelow(ORDER - 1) for _ in range(quorum)]
        key = times_base(coefficients[0])

        sums = with_noise(summed(stored(encoding, listed, key), cohort), key, quorum)
        largest = len(listed) * max(column.largest for column in encoding.columns)
        oracle = np.array([column_values(whole, row) for row in listed])[cohort].sum(axis=0)
        assert read(sums, coefficients, chosen, largest) == oracle.tolist()

    tallied()


@pytest.fixture
def as_in_ci() -> Iterator[None]:
    settings.register_profile("derandomized", settings(), derandomize=True, database=None)
    settings.load_profile("derandomized")
    yield
    settings.load_profile("usufruct")


def cases(part: int | None) -> set[str]:
    """What a part of a campaign tries, in short."""
    found: set[str] = set()

    @of_part(part)
    @settings(max_examples=15)
    @given(documents(), st.lists(st.integers(0, 5), unique=True))
    def tried(whole: dict[str, Any], cohort: list[int]) -> None:
        found.add(f"{whole} {cohort}")

    tried()
    return found


@pytest.mark.usefixtures("as_in_ci")
def test_the_parts_of_a_campaign_try_other_cases_each() -> None:
    """But for the few smallest, with which all begin. Unseeded they would be the same, which is seen, too."""
    parts = [cases(part) for part in range(PARTS)]
    assert all(len(part) > 10 for part in parts)
    assert all(len(one & other) < 4 for one, other in combinations(parts, 2))
    assert parts[3] == cases(3)
    assert cases(None) == cases(None)


@given(st.data())
@settings(max_examples=20)
def test_every_row_is_proved_to_hold_what_its_encoding_says(data: st.DataObject) -> None:
    """A store checks records in batches; here of one dictionary, any rows."""
    dictionary = from_json(data.draw(documents()))
    encoding = dictionary.encoding
    assert encoding is not None
    key = times_base(1 + secrets.randbelow(ORDER - 1))
    statements, proofs = [], []
    for patient, row in enumerate(data.draw(st.lists(rows(dictionary), min_size=1, max_size=3))):
        randomness = draw_randomness(len(encoding.columns))
        columns = encrypt(encoding.values(row), randomness, key)
        statement = Statement(patient.to_bytes(32, "big"), key, encoding.relation, columns)
        statements.append(statement)
        proofs.append(prove(statement, encoding.stated(row).vector, randomness))
    verify(statements[0], proofs[0])
    verify_batch(statements, proofs)
