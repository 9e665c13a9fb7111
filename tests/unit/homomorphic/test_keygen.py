"""Rules of the joint key: nobody holds it, dealings are held against themselves, handing on keeps it."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ml.homomorphic.curve import ORDER, Point, times_base
from ml.homomorphic.keygen import (
    Dealing,
    DealingInvalid,
    Polynomial,
    deal,
    draw,
    is_share,
    joined,
    joined_share,
    verify_dealing,
)
from ml.homomorphic.threshold import lagrange, share_key

CONTEXT = bytes(range(32))


def dealt(
    quorum: int, dealers: int, constants: dict[int, int] | None = None
) -> tuple[dict[int, Polynomial], dict[int, Dealing]]:
    indices = range(1, dealers + 1) if constants is None else constants
    drawn = {i: draw(quorum, None if constants is None else constants[i]) for i in indices}
    return drawn, {i: deal(each, CONTEXT) for i, each in drawn.items()}


def shares_of(
    drawn: dict[int, Polynomial], holders: int, *, resharing: bool = False
) -> dict[int, int]:
    return {
        j: joined_share({i: each.share(j) for i, each in drawn.items()}, resharing=resharing)
        for j in range(1, holders + 1)
    }


def secret_of(shares: dict[int, int], chosen: tuple[int, ...]) -> int:
    factors = lagrange(chosen)
    return sum(shares[j] * factors[j] for j in chosen) % ORDER


@settings(deadline=None, max_examples=15)
@given(st.integers(1, 4), st.integers(0, 3))
def test_any_quorum_has_the_key_and_fewer_have_another(quorum: int, more: int) -> None:
    holders = quorum + more
    drawn, dealings = dealt(quorum, holders)
    for each in dealings.values():
        verify_dealing(each, quorum, CONTEXT)
    commitments = joined(dealings, quorum)
    shares = shares_of(drawn, holders)
    key = sum(each.coefficients[0] for each in drawn.values()) % ORDER
    assert commitments[0] == times_base(key)
    for j, share in shares.items():
        assert times_base(share) == share_key(commitments, j)
    for chosen in combinations(shares, quorum):
        assert secret_of(shares, chosen) == key
    for few in combinations(shares, quorum - 1):
        assert few == () or secret_of(shares, few) != key


@pytest.mark.parametrize(("holders", "quorum"), [(3, 2), (4, 3), (5, 3), (2, 2)])
def test_handing_the_key_on_keeps_it_and_makes_old_shares_useless_beside_new_ones(
    holders: int, quorum: int
) -> None:
    drawn, dealings = dealt(3, 5)
    old = shares_of(drawn, 5)
    before = joined(dealings, 3)
    redrawn, redealt = dealt(quorum, 0, {i: old[i] for i in (1, 3, 4)})
    for i, each in redealt.items():
        verify_dealing(each, quorum, CONTEXT, share_key(before, i))
    after = joined(redealt, 3, before[0])
    assert after[0] == before[0]
    assert after[1:] != before[1:]
    new = shares_of(redrawn, holders, resharing=True)
    key = secret_of(old, (1, 2, 3))
    for chosen in combinations(new, quorum):
        assert secret_of(new, chosen) == key
    mixed = {1: old[1], **{j: new[j] for j in range(2, quorum + 1)}}
    assert secret_of(mixed, tuple(mixed)) != key


def test_fewer_dealers_than_needed_make_no_key() -> None:
    _, dealings = dealt(3, 3)
    for few in ({}, {1: dealings[1]}, {1: dealings[1], 2: dealings[2]}):
        with pytest.raises(DealingInvalid, match="dealers are left"):
            joined(few, 3)


def test_too_few_old_holders_would_lead_to_another_key_and_are_refused() -> None:
    drawn, dealings = dealt(3, 5)
    old = shares_of(drawn, 5)
    _, redealt = dealt(2, 0, {i: old[i] for i in (1, 2)})
    with pytest.raises(DealingInvalid, match="another key"):
        joined(redealt, 2, joined(dealings, 3)[0])


def test_dealings_that_cancel_or_are_for_different_quorums_are_refused() -> None:
    one = draw(2)
    undone = Polynomial(tuple(ORDER - each for each in one.coefficients))
    with pytest.raises(DealingInvalid, match="cancel"):
        joined({1: deal(one, CONTEXT), 2: deal(undone, CONTEXT)}, 2)
    with pytest.raises(DealingInvalid, match="different quorums"):
        joined({1: deal(draw(2), CONTEXT), 2: deal(draw(3), CONTEXT)}, 2)


def test_a_dealing_is_bound_to_its_session_dealer_and_quorum() -> None:
    dealing = deal(draw(3), CONTEXT)
    verify_dealing(dealing, 3, CONTEXT)
    with pytest.raises(DealingInvalid, match="knows what it shares"):
        verify_dealing(dealing, 3, bytes(32))
    with pytest.raises(DealingInvalid, match="another quorum"):
        verify_dealing(dealing, 2, CONTEXT)
    with pytest.raises(DealingInvalid, match="old share"):
        verify_dealing(dealing, 3, CONTEXT, times_base(5))


def test_a_dealer_cannot_deal_what_it_does_not_know() -> None:
    """A rogue key: its own less everybody else's, of which it knows no logarithm."""
    honest, own = deal(draw(2), CONTEXT), deal(draw(2), CONTEXT)
    first = own.commitments[0] - honest.commitments[0]
    with pytest.raises(DealingInvalid, match="knows what it shares"):
        verify_dealing(Dealing((first, own.commitments[1]), own.proof), 2, CONTEXT)


def test_every_flipped_byte_of_a_dealing_is_seen() -> None:
    raw = deal(draw(2), CONTEXT).to_bytes()
    assert Dealing.from_bytes(raw, 2).to_bytes() == raw
    for at in range(len(raw)):
        bent = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(DealingInvalid):
            verify_dealing(Dealing.from_bytes(bent, 2), 2, CONTEXT)


def test_scalars_that_are_not_reduced_are_another_dealing() -> None:
    dealing = deal(draw(2), CONTEXT)
    for part in (dealing.proof[:32], dealing.proof[32:]):
        raised = int.from_bytes(part, "big") + ORDER
        if raised < 1 << 256:
            bent = dealing.proof.replace(part, raised.to_bytes(32, "big"))
            with pytest.raises(DealingInvalid, match="not reduced"):
                verify_dealing(Dealing(dealing.commitments, bent), 2, CONTEXT)
    beyond = b"\xff" * 32
    for proof in (beyond + dealing.proof[32:], dealing.proof[:32] + beyond):
        with pytest.raises(DealingInvalid, match="not reduced"):
            verify_dealing(Dealing(dealing.commitments, proof), 2, CONTEXT)


def test_a_share_fits_its_own_dealing_and_holder_only() -> None:
    polynomial, other = draw(2), draw(2)
    dealing = deal(polynomial, CONTEXT)
    assert is_share(polynomial.share(2), 2, dealing)
    assert not is_share(polynomial.share(2), 1, dealing)
    assert not is_share(other.share(2), 2, dealing)
    for never in (0, ORDER, -1, polynomial.share(2) + ORDER):
        assert not is_share(never, 2, dealing)


@pytest.mark.parametrize(("quorum", "constant"), [(0, None), (2, 0), (2, ORDER), (2, -1)])
def test_what_is_no_polynomial_is_not_drawn(quorum: int, constant: int | None) -> None:
    with pytest.raises(ValueError, match="polynomial"):
        draw(quorum, constant)


def test_holders_count_from_one() -> None:
    with pytest.raises(ValueError, match="count from 1"):
        draw(2).share(0)


def test_a_polynomial_does_not_print() -> None:
    polynomial = draw(2)
    assert str(polynomial.coefficients[0]) not in repr(polynomial)


@pytest.mark.parametrize("raw", [b"", bytes(129), bytes(130), bytes(131)])
def test_what_is_no_dealing_is_refused(raw: bytes) -> None:
    with pytest.raises(DealingInvalid):
        Dealing.from_bytes(raw, 2)


def test_two_dealings_of_one_polynomial_share_nothing_but_its_points() -> None:
    polynomial = draw(2)
    first, second = deal(polynomial, CONTEXT), deal(polynomial, CONTEXT)
    assert first.commitments == second.commitments
    assert first.proof[:32] != second.proof[:32]
    assert first.proof[32:] != second.proof[32:]
    assert all(isinstance(each, Point) for each in first.commitments)
