"""Whatever k - 1 holders are shown by the others, they could have made up: so they learn nothing from it.

The coalition is the same throughout, and colludes with the researcher. Its view is simulated from what it has
anyway: the public key, its own shares and dealings (to which it commits by hash before it sees any), and the
answer. A simulated and a real view are each other's image under a one-to-one map of the coins that are tossed
for them: blinds and nonces of the real one, blinds and answers of the simulated one, all of them uniform.
That is shown here byte by byte, so their distributions are the same, in the random oracle model and but for
2^-250: scalars are never 0, challenges are reduced, and a point of the oracle that somebody asked before
cannot be set. That leaves the ciphertexts, which hide their values under the decisional Diffie-Hellman
assumption (`test_partials_can_be_made_up_for_any_answer`), and the proofs of noise, whose simulator is in
`test_validity`.

After R. Gennaro, S. Jarecki, H. Krawczyk, T. Rabin, EUROCRYPT 1999 and J. Cryptology 20, 2007. As there, a
dealer who deals and then drops out moves the key by what it knows; all else stays simulated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import pytest

from ml.homomorphic import generators, keygen, threshold
from ml.homomorphic.curve import ORDER, Point, random_scalar, times_base, total
from ml.homomorphic.keygen import (
    Dealing,
    Polynomial,
    deal,
    draw,
    is_share,
    joined,
    joined_share,
    verify_dealing,
)
from ml.homomorphic.threshold import (
    Partial,
    PartialInvalid,
    Sum,
    combine,
    decrypt_partially,
    lagrange,
    open_sums,
    share_key,
    verify_partial,
)
from tests.support.simulated import (
    Corrupt,
    DealingCoins,
    Oracle,
    PartialCoins,
    Request,
    coalitions,
    made_up_dealing,
)
from tests.support.tallying import CONTEXT, encrypted, value_at

RESEARCHER = 0x2E5EA2C4E2
RECIPIENT = times_base(RESEARCHER)
VALUES = [5, -4000]
ANSWER = [times_base(value) for value in VALUES]
OTHERS_ANSWER = [times_base(value) for value in (6, 17)]
NOBODYS = generators.single()  # a public key whose logarithm nobody knows: hashed to the curve
EVERY = [
    pytest.param(k, n, c, id=f"{k} of {n} against {' '.join(map(str, c))}")
    for k, n in ((2, 3), (3, 5), (4, 5))
    for c in coalitions(k, n)
]
every_coalition = pytest.mark.parametrize(("quorum", "count", "coalition"), EVERY)


@pytest.fixture
def oracle() -> Iterator[Oracle]:
    made = Oracle()
    with made.installed():
        yield made


def honest_of(count: int, coalition: Sequence[int]) -> list[int]:
    return [index for index in range(1, count + 1) if index not in coalition]


def context_of(dealer: int) -> bytes:
    return dealer.to_bytes(32, "big")


def test_every_coalition_of_these_quorums_is_tried() -> None:
    assert len(EVERY) == 3 + 10 + 10


# --- partial decryptions


def shares_of(coefficients: Sequence[int], count: int) -> dict[int, int]:
    return {index: value_at(coefficients, index) for index in range(1, count + 1)}


def require_all_open(
    partials: Mapping[int, Partial], quorum: int, request: Request, commitments: Sequence[Point]
) -> None:
    """Every partial verifies, and every quorum of them opens to the answer."""
    for index, each in partials.items():
        public = share_key(commitments, index)
        verify_partial(each, public, request.sums, request.recipient, request.context)
    for chosen in combinations(sorted(partials), quorum):
        delivered = combine({index: partials[index] for index in chosen}, request.sums, quorum)
        assert open_sums(delivered, RESEARCHER) == list(request.answer)


def given(request: Request, shares: Mapping[int, int]) -> dict[int, Partial]:
    return {
        index: decrypt_partially(share, request.sums, request.recipient, request.context)
        for index, share in shares.items()
    }


def made_up(
    request: Request, corrupt: Corrupt, honest: Sequence[int], oracle: Oracle
) -> dict[int, Partial]:
    return {
        index: request.made_up_partial(
            corrupt, index, PartialCoins.drawn(len(request.sums)), oracle
        )
        for index in honest
    }


@every_coalition
def test_all_partials_of_a_request_are_made_up_from_the_answer_and_the_coalitions_shares(
    quorum: int, count: int, coalition: tuple[int, ...]
) -> None:
    coefficients = [random_scalar() for _ in range(quorum)]
    shares = shares_of(coefficients, count)
    corrupt = Corrupt(times_base(coefficients[0]), {index: shares[index] for index in coalition})
    request = Request(encrypted(VALUES, corrupt.key), ANSWER, RECIPIENT, CONTEXT)
    oracle = Oracle()
    with oracle.installed():
        partials = made_up(request, corrupt, honest_of(count, coalition), oracle)
        assert corrupt.commitments == [times_base(each) for each in coefficients]
        whole = partials | given(request, corrupt.shares)
        require_all_open(whole, quorum, request, corrupt.commitments)
    for index, partial in partials.items():  # of a hash that nobody set, nobody makes one up
        with pytest.raises(PartialInvalid, match="does not hold"):
            verify_partial(partial, times_base(shares[index]), request.sums, RECIPIENT, CONTEXT)


@every_coalition
def test_a_real_partial_is_what_the_simulator_makes_of_the_same_coins(
    quorum: int, count: int, coalition: tuple[int, ...], oracle: Oracle
) -> None:
    """And a simulated one is what the holder makes of its coins: a one-to-one map, either way."""
    shares = shares_of([random_scalar() for _ in range(quorum)], count)
    factors = lagrange(range(1, quorum + 1))
    key = times_base(sum(shares[index] * factor for index, factor in factors.items()))
    corrupt = Corrupt(key, {index: shares[index] for index in coalition})
    request = Request(encrypted(VALUES, key), ANSWER, RECIPIENT, CONTEXT)
    for holder in honest_of(count, coalition):
        blinds, nonces = [random_scalar(), random_scalar()], (random_scalar(), random_scalar())
        real = real_partial(shares[holder], request, blinds, nonces)
        coins = PartialCoins.of(real, blinds)
        assert undone(coins, shares[holder], request, real) == nonces
        again = Oracle()  # of whom nobody has asked this proof's challenge
        with again.installed():
            assert request.made_up_partial(corrupt, holder, coins, again) == real

        drawn = PartialCoins.drawn(2)
        simulated = request.made_up_partial(corrupt, holder, drawn, oracle)
        nonces = undone(drawn, shares[holder], request, simulated)
        assert real_partial(shares[holder], request, drawn.blinds, nonces) == simulated


def real_partial(
    share: int, request: Request, blinds: Sequence[int], nonces: tuple[int, int]
) -> Partial:
    return threshold._decrypt(
        share, request.sums, request.recipient, request.context, blinds, nonces
    )


def undone(coins: PartialCoins, share: int, request: Request, partial: Partial) -> tuple[int, int]:
    """The nonces that a holder must have drawn to answer so."""
    talk = threshold._PartialTalk(
        times_base(share), request.sums, request.recipient, request.context, partial.pairs
    )
    blind = sum(power * t for power, t in zip(talk.powers, coins.blinds, strict=True))
    for_share = coins.for_share - coins.challenge * share
    return for_share % ORDER, (coins.for_blind - coins.challenge * blind) % ORDER


@every_coalition
def test_partials_can_be_made_up_for_any_answer(
    quorum: int, count: int, coalition: tuple[int, ...], oracle: Oracle
) -> None:
    """Nothing that is verified says what the sums hold: they open to whatever the simulator was told.

    From the true view this one differs by whether (G, S_h, A, f(h) A) is a Diffie-Hellman tuple, no more.
    """
    corrupt = Corrupt(NOBODYS, {index: random_scalar() for index in coalition})
    request = Request(encrypted(VALUES, corrupt.key), OTHERS_ANSWER, RECIPIENT, CONTEXT)
    partials = made_up(request, corrupt, honest_of(count, coalition), oracle)
    whole = partials | given(request, corrupt.shares)
    require_all_open(whole, quorum, request, corrupt.commitments)


def test_without_the_answer_there_is_no_partial_to_make_up(oracle: Oracle) -> None:
    """What the simulator is told counts: of another answer, or another share, it makes something else."""
    shares = shares_of([7, 11], 3)
    corrupt = Corrupt(times_base(7), {1: shares[1]})
    request = Request(encrypted(VALUES, corrupt.key), ANSWER, RECIPIENT, CONTEXT)
    other = Request(request.sums, OTHERS_ANSWER, RECIPIENT, CONTEXT)
    true = [each.key * shares[3] for each in request.sums]
    assert [request.part(at, corrupt, 3) for at in (0, 1)] == true
    assert [other.part(at, corrupt, 3) for at in (0, 1)] != true
    assert [request.part(at, Corrupt(corrupt.key, {1: 12}), 3) for at in (0, 1)] != true


# --- key generation


def dealt(dealers: Sequence[int], quorum: int) -> tuple[dict[int, Polynomial], dict[int, Dealing]]:
    drawn = {dealer: draw(quorum) for dealer in dealers}
    return drawn, {dealer: deal(each, context_of(dealer)) for dealer, each in drawn.items()}


class KeyGeneration:
    """n dealings that lead to a given key: all but the last honest dealer's are as they come."""

    def __init__(
        self, key: Point, quorum: int, count: int, coalition: Sequence[int], oracle: Oracle
    ) -> None:
        self.quorum, self.coalition = quorum, coalition
        *others, last = honest_of(count, coalition)
        self.drawn, self.dealings = dealt([*coalition, *others], quorum)
        first = key - total(each.commitments[0] for each in self.dealings.values())
        told = {index: random_scalar() for index in coalition}
        made = made_up_dealing(first, told, context_of(last), DealingCoins(), oracle)
        self.dealings[last] = made
        self.told = {
            index: {dealer: each.share(index) for dealer, each in self.drawn.items()}
            | {last: share}
            for index, share in told.items()
        }

    def require_valid(self) -> None:
        """By the rules that holders go by."""
        for dealer, each in self.dealings.items():
            verify_dealing(each, self.quorum, context_of(dealer))
            for index in self.coalition:
                assert is_share(self.told[index][dealer], index, each)

    def corrupt(self) -> Corrupt:
        commitments = joined(self.dealings, len(self.dealings))
        shares = {index: joined_share(each, resharing=False) for index, each in self.told.items()}
        return Corrupt(commitments[0], shares)


@every_coalition
def test_a_key_generation_is_made_up_for_a_key_that_nobody_knows(
    quorum: int, count: int, coalition: tuple[int, ...], oracle: Oracle
) -> None:
    """And then a whole request under it: there is no honest share anywhere, and nobody could tell."""
    made = KeyGeneration(NOBODYS, quorum, count, coalition, oracle)
    made.require_valid()
    corrupt = made.corrupt()
    assert corrupt.key == NOBODYS
    commitments = joined(made.dealings, count)
    assert list(commitments) == corrupt.commitments
    for index, share in corrupt.shares.items():
        assert share_key(commitments, index) == times_base(share)

    request = Request(encrypted(VALUES, NOBODYS), ANSWER, RECIPIENT, CONTEXT)
    partials = made_up(request, corrupt, honest_of(count, coalition), oracle)
    require_all_open(partials | given(request, corrupt.shares), quorum, request, commitments)


@every_coalition
def test_a_dealer_that_drops_out_moves_the_key_by_what_it_knows(
    quorum: int, count: int, coalition: tuple[int, ...], oracle: Oracle
) -> None:
    """The bias of that paper, and all of it: the simulator's unknown part is in the key still."""
    made = KeyGeneration(NOBODYS, quorum, count, coalition, oracle)
    gone = coalition[0]
    left = {dealer: each for dealer, each in made.dealings.items() if dealer != gone}
    moved = joined(left, quorum)[0]
    assert moved == NOBODYS - times_base(made.drawn[gone].coefficients[0])


@every_coalition
def test_a_real_dealing_is_what_the_simulator_makes_of_the_same_coins(
    quorum: int, count: int, coalition: tuple[int, ...]
) -> None:
    """A polynomial is its value at 0 and at the k - 1 corrupt holders: uniform ones, if it is."""
    polynomial = draw(quorum)
    real = deal(polynomial, CONTEXT)
    first, told = real.commitments[0], {index: polynomial.share(index) for index in coalition}
    oracle = Oracle()
    with oracle.installed():
        assert made_up_dealing(first, told, CONTEXT, DealingCoins.of(real), oracle) == real
        coins = DealingCoins()
        other = {index: random_scalar() for index in coalition}
        simulated = made_up_dealing(first, other, CONTEXT, coins, oracle)
        blind = (coins.answer - coins.challenge * polynomial.coefficients[0]) % ORDER
        drawn = through({0: polynomial.coefficients[0], **other})
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(keygen, "random_scalar", lambda: blind)
            assert deal(Polynomial(tuple(drawn)), CONTEXT) == simulated


def through(points: Mapping[int, int]) -> list[int]:
    """Coefficients of the polynomial with these values, by solving for them."""
    rows = [[*(pow(at, j, ORDER) for j in range(len(points))), y] for at, y in points.items()]
    for i in range(len(rows)):
        pivot = next(j for j in range(i, len(rows)) if rows[j][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        inverse = pow(rows[i][i], -1, ORDER)
        rows[i] = [each * inverse % ORDER for each in rows[i]]
        for j, row in enumerate(rows):
            if j != i:
                rows[j] = [(a - row[i] * b) % ORDER for a, b in zip(row, rows[i], strict=True)]
    return [row[-1] for row in rows]


@every_coalition
def test_handing_a_key_on_is_made_up_from_what_is_public_of_old_shares(
    quorum: int, count: int, coalition: tuple[int, ...], oracle: Oracle
) -> None:
    """With every honest holder as the one that completes the dealers: its own dealing needs S_h alone."""
    old = Corrupt(NOBODYS, {index: random_scalar() for index in coalition})
    before = old.commitments
    for honest in honest_of(count, coalition):
        drawn = {index: draw(quorum, old.shares[index]) for index in coalition}
        dealings = {index: deal(each, context_of(index)) for index, each in drawn.items()}
        told = {index: random_scalar() for index in coalition}
        first, context = share_key(before, honest), bytes([honest]) * 32
        dealings[honest] = made_up_dealing(first, told, context, DealingCoins(), oracle)
        verify_dealing(dealings[honest], quorum, context, first)
        after = joined(dealings, quorum, NOBODYS)
        assert after[0] == NOBODYS
        for index in coalition:
            assert is_share(told[index], index, dealings[honest])
            shares = {dealer: each.share(index) for dealer, each in drawn.items()}
            new = joined_share(shares | {honest: told[index]}, resharing=True)
            assert share_key(after, index) == times_base(new)


# --- the coins


def test_whoever_deals_or_decrypts_draws_every_coin_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The maps above are of uniform coins: here each is a scalar of the operating system's, used once."""
    coins: list[int] = []

    def tossed() -> int:
        coins.append(random_scalar())
        return coins[-1]

    for module in (threshold, keygen):
        monkeypatch.setattr(module, "random_scalar", tossed)
    sums: list[Sum] = encrypted(VALUES, NOBODYS)
    partial = decrypt_partially(77, sums, RECIPIENT, CONTEXT)
    assert len(coins) == 4
    blinds, nonces = coins[:2], (coins[2], coins[3])
    assert partial == threshold._decrypt(77, sums, RECIPIENT, CONTEXT, blinds, nonces)
    coins.clear()
    assert draw(3).coefficients == tuple(coins)
    assert draw(3, 5).coefficients == (5, *coins[3:])
    dealing = deal(draw(1), CONTEXT)
    c, answer = DealingCoins.of(dealing).challenge, DealingCoins.of(dealing).answer
    assert coins[-1] == (answer - c * coins[-2]) % ORDER
    assert len(set(coins)) == len(coins) == 3 + 2 + 1 + 1
