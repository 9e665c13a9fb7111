"""Every scalar has one form in bytes, and powers start at 1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml.homomorphic.curve import ORDER
from ml.homomorphic.keygen import DealingInvalid
from ml.homomorphic.scalars import powers, scalars_from_bytes, scalars_to_bytes
from tests.support.tallying import scalars


@given(st.lists(scalars, max_size=5))
def test_scalars_are_read_from_what_they_were_written_to(listed: list[int]) -> None:
    raw = scalars_to_bytes(listed)
    assert len(raw) == 32 * len(listed)
    assert [int.from_bytes(raw[at : at + 32], "big") for at in range(0, len(raw), 32)] == listed
    assert scalars_from_bytes(raw, ValueError) == tuple(listed)


@pytest.mark.parametrize("scalar", [-1, -ORDER, ORDER, ORDER + 3, 7 * ORDER**2 + 2**255])
def test_what_is_written_is_reduced(scalar: int) -> None:
    assert scalars_from_bytes(scalars_to_bytes([scalar]), ValueError) == (scalar % ORDER,)


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("scalar", [ORDER, ORDER + 1, 2**256 - 1])
def test_a_scalar_that_is_not_reduced_is_refused_as_its_reader_says(scalar: int, at: int) -> None:
    raw = [bytes(32), b"\1" * 32, (ORDER - 1).to_bytes(32, "big")]
    raw[at] = scalar.to_bytes(32, "big")
    with pytest.raises(DealingInvalid, match=r"^a scalar is not reduced$"):
        scalars_from_bytes(b"".join(raw), DealingInvalid)


@pytest.mark.parametrize("size", [1, 31, 33, 95])
def test_a_scalar_that_is_cut_off_is_refused(size: int) -> None:
    with pytest.raises(DealingInvalid, match=r"^a scalar is not whole$"):
        scalars_from_bytes(bytes(size), DealingInvalid)


def test_powers_start_at_one() -> None:
    assert powers(7, 0) == []
    assert powers(7, 1) == [1]
    assert powers(7, 4) == [1, 7, 49, 343]
    assert powers(0, 3) == [1, 0, 0]
    assert powers(ORDER - 1, 3) == [1, ORDER - 1, 1]


@given(scalars, st.integers(0, 40))
def test_powers_are_those_of_plain_arithmetic(base: int, count: int) -> None:
    assert powers(base, count) == [pow(base, j, ORDER) for j in range(count)]
