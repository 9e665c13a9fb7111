"""Values add up under encryption, and nobody without the key sees which they were."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ml.homomorphic import elgamal
from ml.homomorphic.curve import INFINITY, ORDER, Point, times_base
from ml.homomorphic.elgamal import COLUMN_BYTES, draw_randomness, encrypt
from ml.homomorphic.threshold import Sum, sums_from_bytes
from tests.support import plain_curve
from tests.support.tallying import PUBLIC, SECRET, decrypted, secret_scalars

ERROR_RATE = 1e-9
values = st.integers(-(2**40), 2**40) | st.sampled_from([0, 1, -1])


@given(st.lists(values, max_size=5), secret_scalars)
@settings(max_examples=40)
def test_the_key_takes_off_what_hides_a_value(held: list[int], secret: int) -> None:
    raw = encrypt(held, draw_randomness(len(held)), times_base(secret))
    assert len(raw) == COLUMN_BYTES * len(held)
    columns = sums_from_bytes(raw)
    assert [decrypted(each, secret) for each in columns] == [times_base(v) for v in held]


@given(values, secret_scalars)
@settings(max_examples=15)
def test_a_column_is_r_g_then_r_y_and_v_g(value: int, r: int) -> None:
    public = plain_curve.times(SECRET)
    hidden = plain_curve.add(plain_curve.times(r, public), plain_curve.times(value))
    if hidden is not None:
        expected = plain_curve.compress(plain_curve.times(r)) + plain_curve.compress(hidden)
        assert encrypt([value], [r], PUBLIC) == expected


@given(st.lists(values, max_size=8), st.integers(-9, 9))
@settings(max_examples=30)
def test_sums_and_multiples_of_columns_hold_sums_and_multiples(held: list[int], by: int) -> None:
    columns = sums_from_bytes(encrypt(held, draw_randomness(len(held)), PUBLIC))
    whole = Sum.zero()
    for each in columns:
        whole = whole + each
    assert decrypted(whole) == times_base(sum(held))
    assert decrypted(whole * by) == times_base(by * sum(held))


def test_one_value_encrypted_twice_shares_no_byte_string() -> None:
    one, other = (encrypt([5, 5], draw_randomness(2), PUBLIC) for _ in range(2))
    parts = [raw[at : at + 33] for raw in (one, other) for at in range(0, 132, 33)]
    assert len(set(parts)) == 8


def test_another_key_opens_something_else() -> None:
    column = sums_from_bytes(encrypt([5], draw_randomness(1), PUBLIC))[0]
    assert decrypted(column, SECRET + 1) != times_base(5)
    assert decrypted(column, ORDER - SECRET) != times_base(5)


@pytest.mark.parametrize("scalar", [0, ORDER, -1, ORDER + 5])
def test_a_random_scalar_out_of_range_is_refused(scalar: int) -> None:
    with pytest.raises(ValueError, match="secret scalar"):
        encrypt([1], [scalar], PUBLIC)


def test_a_key_at_infinity_encrypts_nothing() -> None:
    with pytest.raises(ValueError, match="finite point"):
        encrypt([1], [5], INFINITY)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_value_has_a_scalar_of_its_own(count: int) -> None:
    with pytest.raises(ValueError, match="argument"):
        encrypt([1, 2], draw_randomness(count), PUBLIC)


def test_a_column_is_never_at_infinity() -> None:
    """r y + v = 0: an upload must be points, so this scalar is not used."""
    with pytest.raises(ValueError, match="draw another"):
        encrypt([-12 * SECRET], [12], PUBLIC)


@pytest.mark.parametrize("value", [0, 1, -1, 7])
def test_no_product_takes_a_time_that_says_what_is_encrypted(
    value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above all whether it is 0: products with 0 are known at once, so there must be none."""
    public, secret = [], []
    product, of_base = Point.__mul__, elgamal.times_base

    def seen(point: Point, scalar: int) -> Point:
        public.append(scalar)
        return product(point, scalar)

    def seen_of_base(scalar: int) -> Point:
        secret.append(scalar % ORDER)
        return of_base(scalar)

    monkeypatch.setattr(Point, "__mul__", seen)
    monkeypatch.setattr(elgamal, "times_base", seen_of_base)
    randomness = draw_randomness(1)
    encrypt([value], randomness, PUBLIC)
    assert public == []
    assert not {0, value % ORDER, -value % ORDER} & set(secret)


def test_what_hides_values_is_drawn_evenly_and_never_twice() -> None:
    drawn = draw_randomness(20_000)
    assert len(set(drawn)) == len(drawn)
    assert min(drawn) >= 1
    assert max(drawn) < ORDER
    for cells in ([d * 64 // ORDER for d in drawn], [d % 64 for d in drawn]):
        counts = [cells.count(cell) for cell in range(64)]
        assert stats.chisquare(counts).pvalue > ERROR_RATE


def test_a_sum_is_read_from_the_bytes_it_was_written_to() -> None:
    for each in (Sum(INFINITY, INFINITY), Sum(PUBLIC, INFINITY), Sum(INFINITY, PUBLIC)):
        assert Sum.from_bytes(each.to_bytes()) == each
    assert Point.from_bytes(Sum(PUBLIC, INFINITY).to_bytes()[:33]) == PUBLIC
