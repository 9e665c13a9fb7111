"""Any k of n open a sum for its recipient, fewer learn nothing of it, and whoever lies is found out."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ml.homomorphic import threshold
from ml.homomorphic.curve import (
    AT_INFINITY,
    INFINITY,
    ORDER,
    POINT_BYTES,
    G,
    NotAPoint,
    Point,
    sum_of_products,
    times_base,
)
from ml.homomorphic.logarithm import OutOfRange, Table
from ml.homomorphic.scalars import scalars_from_bytes
from ml.homomorphic.threshold import (
    MOST_HOLDERS,
    PAIR_BYTES,
    PROOF_BYTES,
    OpeningInvalid,
    Partial,
    PartialInvalid,
    Sum,
    combine,
    decrypt_partially,
    lagrange,
    open_sums,
    prove_opening,
    share_key,
    sums_from_bytes,
    sums_to_bytes,
    verify_opening,
    verify_partial,
)
from tests.support.simulated import commitments_through
from tests.support.tallying import CONTEXT, encrypted, flip, secret_scalars, value_at

RESEARCHER = 0x2E5EA2C4E2
RECIPIENT = times_base(RESEARCHER)
OTHER_CONTEXT = b"another request".ljust(32, b"\0")
TABLE = Table.build(60)
MOST = 5000


@dataclass(frozen=True)
class Holders:
    """n holders of one key, k of whom are needed."""

    coefficients: list[int]
    shares: dict[int, int]

    @property
    def key(self) -> Point:
        return times_base(self.coefficients[0])

    @property
    def commitments(self) -> list[Point]:
        return [times_base(c) for c in self.coefficients]

    @property
    def quorum(self) -> int:
        return len(self.coefficients)

    def partial(self, index: int, sums: Sequence[Sum]) -> Partial:
        return decrypt_partially(self.shares[index], sums, RECIPIENT, CONTEXT)

    def opened(self, chosen: Sequence[int], sums: Sequence[Sum]) -> list[Point]:
        partials = {index: self.partial(index, sums) for index in chosen}
        return open_sums(combine(partials, sums, len(chosen)), RESEARCHER)


def holders(coefficients: list[int], count: int) -> Holders:
    shares = {index: value_at(coefficients, index) for index in range(1, count + 1)}
    return Holders(coefficients, shares)


def random_holders(quorum: int, count: int) -> Holders:
    return holders([1 + secrets.randbelow(ORDER - 1) for _ in range(quorum)], count)


@pytest.fixture(scope="module")
def three() -> Holders:
    return random_holders(2, 3)


@pytest.fixture(scope="module")
def sums(three: Holders) -> list[Sum]:
    return encrypted([5, -7], three.key)


@pytest.fixture(scope="module")
def partial(three: Holders, sums: list[Sum]) -> Partial:
    return three.partial(1, sums)


SIZES = st.integers(1, 6).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))
VALUES = st.lists(st.integers(-MOST, MOST), max_size=3)


# --- opening


@given(SIZES, VALUES, st.data())
@settings(max_examples=60)
def test_any_quorum_opens_any_sums(
    size: tuple[int, int], values: list[int], data: st.DataObject
) -> None:
    quorum, count = size
    made = random_holders(quorum, count)
    held = encrypted(values, made.key)
    chosen = data.draw(st.permutations(range(1, count + 1)).map(lambda order: order[:quorum]))
    for index in chosen:
        public = share_key(made.commitments, index)
        verify_partial(made.partial(index, held), public, held, RECIPIENT, CONTEXT)
    assert made.opened(chosen, held) == [times_base(value) for value in values]


@pytest.mark.parametrize(("quorum", "count"), [(1, 3), (2, 3), (3, 5), (4, 4)])
def test_every_quorum_opens_the_same_and_no_fewer_open_anything(quorum: int, count: int) -> None:
    made = random_holders(quorum, count)
    held = encrypted([17, -4000], made.key)
    for chosen in combinations(range(1, count + 1), quorum):
        assert TABLE.find(made.opened(chosen, held), -MOST, MOST) == [17, -4000]
    for size in range(1, quorum):
        for chosen in combinations(range(1, count + 1), size):
            found = made.opened(chosen, held)  # with the recipient's own key
            for point in found:
                with pytest.raises(OutOfRange):
                    TABLE.find([point], -MOST, MOST)


def test_nobody_but_the_recipient_opens_what_a_quorum_gave(three: Holders, sums: list[Sum]) -> None:
    delivered = combine({i: three.partial(i, sums) for i in (1, 2)}, sums, 2)
    assert open_sums(delivered, RESEARCHER) == [times_base(5), times_base(-7)]
    for key in (1, RESEARCHER + 1, ORDER - RESEARCHER, *three.shares.values()):
        assert not {times_base(5), times_base(-7)} & set(open_sums(delivered, key))
    assert not {times_base(5), times_base(-7)} & {each.value for each in delivered}


@pytest.mark.parametrize("given", [0, 1, 3])
def test_only_a_quorum_is_combined(three: Holders, sums: list[Sum], given: int) -> None:
    partials = {index: three.partial(index, sums) for index in range(1, given + 1)}
    with pytest.raises(ValueError, match="exactly as many"):
        combine(partials, sums, 2)
    with pytest.raises(ValueError, match="exactly as many"):
        combine({}, sums, 0)


@given(SIZES, st.data())
@settings(max_examples=25)
def test_sums_with_a_part_at_infinity_open_too(size: tuple[int, int], data: st.DataObject) -> None:
    """An empty cohort, values that cancel, and keys that do: such sums are nobody's mistake."""
    quorum, count = size
    made = random_holders(quorum, count)
    value = data.draw(st.integers(-MOST, MOST))
    r = 5
    held = [
        Sum(INFINITY, INFINITY),
        Sum(INFINITY, times_base(value)),
        Sum(times_base(r), made.key * r),
        Sum(times_base(-r * value), INFINITY) if value else Sum(INFINITY, INFINITY),
    ]
    secret = made.coefficients[0]
    expected = [each.value - each.key * secret for each in held]
    chosen = range(1, quorum + 1)
    for index in chosen:
        given = made.partial(index, held)
        verify_partial(given, times_base(made.shares[index]), held, RECIPIENT, CONTEXT)
        assert Partial.from_bytes(given.to_bytes(), len(held)) == given
    assert made.opened(chosen, held) == expected


def test_no_sums_are_decrypted_and_proved_as_well(three: Holders) -> None:
    nothing = three.partial(1, [])
    verify_partial(nothing, times_base(three.shares[1]), [], RECIPIENT, CONTEXT)
    assert three.opened([1, 2], []) == []


def test_two_decryptions_of_one_sum_share_nothing(three: Holders, sums: list[Sum]) -> None:
    raw = [three.partial(1, sums).to_bytes() for _ in range(2)]
    parts = [each[:PROOF_BYTES][at : at + 32] for each in raw for at in range(0, PROOF_BYTES, 32)]
    points = [each[PROOF_BYTES:][at : at + 33] for each in raw for at in range(0, 132, 33)]
    assert len(set(parts)) == 6
    assert len(set(points)) == 8
    same = encrypted([5], three.key) * 2
    one, other = three.partial(1, same).pairs  # nor do two equal sums of one decryption
    assert one.key != other.key


def announced(partial: Partial, public: Point) -> tuple[Point, Point]:
    """The first two announcements that its proof began with: a G and b G."""
    c, for_share, for_blind = scalars_from_bytes(partial.proof, PartialInvalid)
    talk = threshold._PartialTalk(public, SAME, RECIPIENT, CONTEXT, partial.pairs)
    blinds = talk.weighed_pair().key
    return times_base(for_share) - public * c, times_base(for_blind) - blinds * c


SAME = encrypted([5], times_base(99))


def test_no_two_proofs_begin_alike() -> None:
    """Two answers to different challenges after one announcement would give the share away."""
    share, public = 1234567, times_base(1234567)
    made = [decrypt_partially(share, SAME, RECIPIENT, CONTEXT) for _ in range(4)]
    begun = [point for each in made for point in announced(each, public)]
    assert len(set(begun)) == 8
    openings = [prove_opening(SAME, RESEARCHER, CONTEXT) for _ in range(4)]
    answers = [
        (int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")) for raw in openings
    ]
    assert len({times_base(answer) - RECIPIENT * c for c, answer in answers}) == 4


# --- shares


@given(SIZES, st.integers(1, MOST_HOLDERS))
def test_the_public_side_of_a_share_follows_from_the_commitments(
    size: tuple[int, int], index: int
) -> None:
    made = random_holders(*size)
    assert share_key(made.commitments, index) == times_base(value_at(made.coefficients, index))


@pytest.mark.parametrize("index", [0, -1, MOST_HOLDERS + 1, ORDER])
def test_nobody_is_holder_zero_or_one_of_too_many(index: int) -> None:
    with pytest.raises(ValueError, match="count from 1"):
        share_key([G, G], index)


@pytest.mark.parametrize(
    "commitments", [[INFINITY], [INFINITY, G], [G, INFINITY], [G, G, INFINITY]]
)
def test_a_commitment_at_infinity_is_refused(commitments: list[Point]) -> None:
    """Fewer than the quorum would open sums where the polynomial is of a lower degree than it looks."""
    with pytest.raises(ValueError, match="lower the quorum"):
        share_key(commitments, 1)


def test_nothing_is_decrypted_for_nobody(three: Holders, sums: list[Sum], partial: Partial) -> None:
    """A recipient's key at infinity would show the holder's part to all."""
    with pytest.raises(ValueError, match="finite point"):
        decrypt_partially(three.shares[1], sums, INFINITY, CONTEXT)
    with pytest.raises(PartialInvalid, match="for nobody"):
        verify_partial(partial, times_base(three.shares[1]), sums, INFINITY, CONTEXT)


@given(st.sets(st.integers(1, 40), min_size=1, max_size=8), st.data())
def test_factors_interpolate_every_polynomial_of_lower_degree_and_no_other(
    indices: set[int], data: st.DataObject
) -> None:
    coefficients = data.draw(st.lists(secret_scalars, min_size=1, max_size=len(indices)))
    factors = lagrange(sorted(indices))

    def interpolated(polynomial: list[int]) -> int:
        return sum(f * value_at(polynomial, i) for i, f in factors.items()) % ORDER

    assert interpolated(coefficients) == coefficients[0]
    higher = [*coefficients, *[0] * (len(indices) - len(coefficients)), 1]
    assert interpolated(higher) != coefficients[0]


def test_a_holder_counts_once() -> None:
    with pytest.raises(ValueError, match="counts once"):
        lagrange([1, 2, 1])


# --- lies about a partial decryption


def refused(
    partial: Partial,
    public: Point,
    sums: Sequence[Sum],
    to: Point = RECIPIENT,
    *,
    about: bytes = CONTEXT,
) -> None:
    with pytest.raises(PartialInvalid, match=r"does not hold|not reduced|another number"):
        verify_partial(partial, public, sums, to, about)


def test_a_partial_is_of_its_holder_sums_recipient_and_request(
    three: Holders, sums: list[Sum], partial: Partial
) -> None:
    public = times_base(three.shares[1])
    verify_partial(partial, public, sums, RECIPIENT, CONTEXT)
    refused(partial, times_base(three.shares[2]), sums)
    refused(partial, three.key, sums)
    refused(partial, public, sums[::-1])
    refused(partial, public, [sums[0], sums[0]])
    refused(partial, public, [sums[0], sums[1] * 2])
    refused(partial, public, [sums[0], replace(sums[1], value=sums[1].value + G)])
    refused(partial, public, sums, times_base(RESEARCHER + 1))
    refused(partial, public, sums, -RECIPIENT)
    for context in (OTHER_CONTEXT, bytes(32), CONTEXT[:-1], b""):
        refused(partial, public, sums, about=context)
    refused(replace(partial, pairs=partial.pairs[::-1]), public, sums)


def test_another_holders_partial_is_refused(three: Holders, sums: list[Sum]) -> None:
    """Also when its points and the honest one's proof are put together, or the other way round."""
    own, other = three.partial(1, sums), three.partial(2, sums)
    public = times_base(three.shares[1])
    refused(other, public, sums)
    refused(Partial(other.pairs, own.proof), public, sums)
    refused(Partial(own.pairs, other.proof), public, sums)


@pytest.mark.parametrize("by", [1, -1, ORDER // 2])
def test_a_decryption_with_a_wrong_share_is_refused(
    three: Holders, sums: list[Sum], by: int
) -> None:
    wrong = decrypt_partially((three.shares[1] + by) % ORDER, sums, RECIPIENT, CONTEXT)
    refused(wrong, times_base(three.shares[1]), sums)


def lying(
    share: int, sums: Sequence[Sum], change: Callable[[list[Sum]], list[Sum]], claimed: int
) -> Partial:
    """Of a holder who changes the pairs and then runs every step of the proof, of `claimed` as its share."""
    blinds = [1 + secrets.randbelow(ORDER - 1) for _ in sums]
    pairs = change(
        [
            Sum(times_base(t), each.key * share + RECIPIENT * t)
            for each, t in zip(sums, blinds, strict=True)
        ]
    )
    public = times_base(claimed)
    talk = threshold._PartialTalk(public, sums, RECIPIENT, CONTEXT, pairs)
    a, b = secrets.randbelow(ORDER), secrets.randbelow(ORDER)
    announced = talk.weighed_key() * a + RECIPIENT * b
    c = talk.challenge(times_base(a), times_base(b), announced)
    t = sum(power * blind for power, blind in zip(talk.powers, blinds, strict=True))
    scalars = (c, a + c * share, b + c * t)
    proof = b"".join((scalar % ORDER).to_bytes(32, "big") for scalar in scalars)
    return Partial(tuple(pairs), proof)


def test_a_prover_who_changes_nothing_is_believed(three: Holders, sums: list[Sum]) -> None:
    share = three.shares[1]
    honest = lying(share, sums, lambda pairs: pairs, share)
    verify_partial(honest, times_base(share), sums, RECIPIENT, CONTEXT)


CHANGES: dict[str, Callable[[list[Sum]], list[Sum]]] = {
    "one value moved": lambda pairs: [pairs[0], Sum(pairs[1].key, pairs[1].value + G)],
    "one key moved": lambda pairs: [Sum(pairs[0].key + G, pairs[0].value), pairs[1]],
    "two values moved so that they cancel": lambda pairs: [
        Sum(pairs[0].key, pairs[0].value + G),
        Sum(pairs[1].key, pairs[1].value - G),
    ],
    "two keys moved so that they cancel": lambda pairs: [
        Sum(pairs[0].key + G, pairs[0].value),
        Sum(pairs[1].key - G, pairs[1].value),
    ],
    "exchanged": lambda pairs: pairs[::-1],
    "in the clear": lambda pairs: [Sum(INFINITY, each.value) for each in pairs],
    "nothing": lambda pairs: [Sum(INFINITY, INFINITY)] * 2,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_holder_who_changes_what_it_gives_is_refused(
    three: Holders, sums: list[Sum], change: Callable[[list[Sum]], list[Sum]]
) -> None:
    share = three.shares[1]
    refused(lying(share, sums, change, share), times_base(share), sums)


def test_a_holder_who_decrypts_with_another_share_than_it_claims_is_refused(
    three: Holders, sums: list[Sum]
) -> None:
    share = three.shares[1]
    refused(lying(share + 1, sums, lambda pairs: pairs, share), times_base(share), sums)


def test_every_flipped_bit_of_a_partial_is_refused(
    three: Holders, sums: list[Sum], partial: Partial
) -> None:
    raw, public = partial.to_bytes(), times_base(three.shares[1])
    assert Partial.from_bytes(raw, 2) == partial

    def received(bent: bytes) -> None:
        verify_partial(Partial.from_bytes(bent, 2), public, sums, RECIPIENT, CONTEXT)

    received(raw)
    for byte in range(len(raw)):
        for bit in range(8):
            with pytest.raises(PartialInvalid) as refusal:
                received(flip(raw, byte, bit))
            if "of points" in str(refusal.value):
                assert f"pair {(byte - PROOF_BYTES) // PAIR_BYTES} " in str(refusal.value)


def test_a_partial_of_another_length_is_refused(
    three: Holders, sums: list[Sum], partial: Partial
) -> None:
    raw, public = partial.to_bytes(), times_base(three.shares[1])
    for bent in (b"", raw[:-1], raw[:-PAIR_BYTES], raw + b"\0", raw + raw[-PAIR_BYTES:]):
        with pytest.raises(PartialInvalid, match="wrong length"):
            Partial.from_bytes(bent, 2)
    for pairs in ((), partial.pairs[:1], (*partial.pairs, partial.pairs[0])):
        refused(Partial(pairs, partial.proof), public, sums)
    for proof in (b"", partial.proof[:-1], partial.proof + b"\0"):
        refused(Partial(partial.pairs, proof), public, sums)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_scalar_of_a_partial_that_is_not_reduced_is_refused(
    three: Holders, sums: list[Sum], partial: Partial, at: int
) -> None:
    for scalar in (ORDER, 2**256 - 1):
        start = 32 * at
        proof = partial.proof[:start] + scalar.to_bytes(32, "big") + partial.proof[start + 32 :]
        with pytest.raises(PartialInvalid, match="not reduced"):
            verify_partial(
                Partial(partial.pairs, proof), times_base(three.shares[1]), sums, RECIPIENT, CONTEXT
            )


def test_a_share_and_its_blinds_are_multiplied_in_constant_time_only(
    three: Holders, sums: list[Sum], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    public = Point.__mul__

    def seen(point: Point, scalar: int) -> Point:
        used.append(scalar)
        return public(point, scalar)

    monkeypatch.setattr(Point, "__mul__", seen)
    blinds, announced = [11**50, 13**50], (17**50, 19**50)
    given = threshold._decrypt(three.shares[1], sums, RECIPIENT, CONTEXT, blinds, announced)
    asked = threshold._PartialTalk(
        times_base(three.shares[1]), sums, RECIPIENT, CONTEXT, given.pairs
    )
    assert set(used) <= set(asked.powers)  # of the challenge, which everybody knows
    used.clear()
    prove_opening(sums, RESEARCHER, CONTEXT)
    secret = {RESEARCHER, ORDER - RESEARCHER}
    assert not secret & set(used)


# --- sums as bytes


def test_sums_are_read_from_what_they_were_written_to(sums: list[Sum]) -> None:
    every = [*sums, Sum(INFINITY, G), Sum(G, INFINITY), Sum(INFINITY, INFINITY)]
    assert sums_from_bytes(sums_to_bytes(every)) == every
    assert sums_from_bytes(b"") == []


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("half", [0, 1])
def test_what_is_no_sum_is_named_by_its_place(sums: list[Sum], position: int, half: int) -> None:
    raw = sums_to_bytes([*sums, sums[0]])
    at = position * PAIR_BYTES + half * POINT_BYTES
    bent = raw[:at] + b"\x02" + (5).to_bytes(32, "big") + raw[at + POINT_BYTES :]
    with pytest.raises(NotAPoint) as refusal:
        sums_from_bytes(bent)
    assert refusal.value.position == position
    with pytest.raises(NotAPoint) as refusal:
        sums_from_bytes(raw[: PAIR_BYTES * position + 65])
    assert refusal.value.position == position


@given(st.tuples(*[secret_scalars] * 4))
def test_sums_add_up_and_are_taken_away(multiples: tuple[int, int, int, int]) -> None:
    key, value, other_key, other_value = multiples
    one = Sum(times_base(key), times_base(value))
    other = Sum(times_base(other_key), times_base(other_value))
    assert one + other == Sum(times_base(key + other_key), times_base(value + other_value))
    assert one - other == one + other * -1
    assert one - one == Sum.zero()


def test_infinity_has_one_form_only() -> None:
    for raw in (b"\0" * 32 + b"\1", b"\1" + bytes(32), b"\2" + bytes(32)):
        with pytest.raises(NotAPoint):
            Sum.from_bytes(raw + AT_INFINITY)


# --- opening, shown to others


@given(st.lists(st.integers(-MOST, MOST), max_size=3), secret_scalars)
@settings(max_examples=30)
@example([], 1)
@example([0], 5)
def test_whoever_is_shown_an_answer_can_check_it(values: list[int], secret: int) -> None:
    """Delivered sums hold their values for the recipient: (E, B - F) with p E = v G - (B - F)."""
    to = times_base(secret)
    blinds = [1 + secrets.randbelow(ORDER - 1) for _ in values]
    delivered = [
        Sum(times_base(t), times_base(v) - to * t) for v, t in zip(values, blinds, strict=True)
    ]
    delivered.append(Sum(INFINITY, G))
    opened = open_sums(delivered, secret)
    assert opened == [*(times_base(value) for value in values), G]
    proof = prove_opening(delivered, secret, CONTEXT)
    verify_opening(proof, opened, delivered, to, CONTEXT)
    assert len(proof) == 64


@pytest.fixture(scope="module")
def shown(three: Holders, sums: list[Sum]) -> tuple[bytes, list[Point], list[Sum]]:
    delivered = combine({i: three.partial(i, sums) for i in (1, 3)}, sums, 2)
    proof = prove_opening(delivered, RESEARCHER, CONTEXT)
    return proof, open_sums(delivered, RESEARCHER), delivered


def not_opened(
    proof: bytes,
    opened: Sequence[Point],
    delivered: Sequence[Sum],
    to: Point = RECIPIENT,
    *,
    about: bytes = CONTEXT,
) -> None:
    with pytest.raises(OpeningInvalid):
        verify_opening(proof, opened, delivered, to, about)


def test_an_answer_that_was_changed_is_not_what_was_delivered(
    shown: tuple[bytes, list[Point], list[Sum]],
) -> None:
    proof, opened, delivered = shown
    verify_opening(proof, opened, delivered, RECIPIENT, CONTEXT)
    for bent in (
        [opened[0] + G, opened[1]],
        [opened[0], -opened[1]],
        opened[::-1],
        opened[:1],
        [*opened, G],
        [],
    ):
        not_opened(proof, bent, delivered)
    not_opened(proof, opened, delivered[::-1])
    not_opened(proof, opened, [delivered[0], delivered[1] * 2])
    not_opened(proof, opened, delivered, times_base(RESEARCHER + 1))
    for context in (OTHER_CONTEXT, b""):
        not_opened(proof, opened, delivered, about=context)


@pytest.mark.parametrize("bend", [(1, 0), (1, -1), (0, 1)])
def test_a_recipient_who_proves_another_answer_is_refused(
    shown: tuple[bytes, list[Point], list[Sum]],
    bend: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who opens with the right key and then says something else, also where two lies cancel."""
    _, opened, delivered = shown
    said = [point + times_base(by) for point, by in zip(opened, bend, strict=True)]
    with monkeypatch.context() as patched:
        patched.setattr(threshold, "open_sums", lambda *_: said)
        proof = prove_opening(delivered, RESEARCHER, CONTEXT)
    not_opened(proof, said, delivered)


def test_every_flipped_bit_of_an_opening_is_refused(
    shown: tuple[bytes, list[Point], list[Sum]],
) -> None:
    proof, opened, delivered = shown
    for byte in range(len(proof)):
        for bit in range(8):
            not_opened(flip(proof, byte, bit), opened, delivered)
    for bent in (b"", proof[:-1], proof + b"\0"):
        not_opened(bent, opened, delivered)
    for start in (0, 32):
        raised = proof[:start] + ORDER.to_bytes(32, "big") + proof[start + 32 :]
        with pytest.raises(OpeningInvalid, match="not reduced"):
            verify_opening(raised, opened, delivered, RECIPIENT, CONTEXT)


def test_two_proofs_of_one_opening_share_nothing(
    shown: tuple[bytes, list[Point], list[Sum]],
) -> None:
    one, other = (prove_opening(shown[2], RESEARCHER, CONTEXT) for _ in range(2))
    assert len({one[:32], one[32:], other[:32], other[32:]}) == 4


# --- what k - 1 holders see, they could have made up


@given(st.integers(1, 4).flatmap(lambda k: st.tuples(st.just(k), st.integers(k, 6))), st.data())
@settings(max_examples=30)
def test_shares_drawn_at_random_and_commitments_through_them_are_a_view_of_fewer_than_the_quorum(
    size: tuple[int, int], data: st.DataObject
) -> None:
    """The simulator of Feldman's sharing: it knows Y and nothing else, and its view is consistent."""
    quorum, count = size
    public = times_base(data.draw(secret_scalars))  # Y; its logarithm is forgotten here
    corrupt = data.draw(st.permutations(range(1, count + 1)).map(lambda order: order[: quorum - 1]))
    shares = {index: data.draw(secret_scalars) for index in corrupt}
    view = commitments_through({0: public, **{i: times_base(s) for i, s in shares.items()}})
    assume(
        not any(point.is_infinity for point in view)
    )  # with probability k / n, for random shares
    assert len(view) == quorum
    assert view[0] == public
    for index, share in shares.items():
        assert share_key(view, index) == times_base(share)
    others = [index for index in range(1, count + 1) if index not in corrupt]
    for honest in others:  # any k share keys still interpolate the key
        chosen = [*corrupt, honest]
        keys = [share_key(view, index) for index in chosen]
        assert sum_of_products(keys, [lagrange(chosen)[index] for index in chosen]) == public


def test_answers_to_two_challenges_give_share_and_blind_away(
    three: Holders, sums: list[Sum], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Special soundness: who could answer twice knows the share."""
    blinds, announced = [7, 9], (11, 13)
    asked, answers = (1001, 1013), []
    talk = threshold._PartialTalk
    for c in asked:
        monkeypatch.setattr(talk, "challenge", lambda self, *_, c=c: c)
        given = threshold._decrypt(three.shares[1], sums, RECIPIENT, CONTEXT, blinds, announced)
        verify_partial(given, times_base(three.shares[1]), sums, RECIPIENT, CONTEXT)
        answers.append(scalars_from_bytes(given.proof, PartialInvalid))
    apart = pow(asked[1] - asked[0], -1, ORDER)
    found = [(b - a) * apart % ORDER for a, b in zip(*answers, strict=True)]
    powers = talk(times_base(three.shares[1]), sums, RECIPIENT, CONTEXT, given.pairs).powers
    weighed = sum(p * t for p, t in zip(powers, blinds, strict=True)) % ORDER
    assert found == [1, three.shares[1], weighed]


def test_every_challenge_depends_on_all_that_was_said_before_it() -> None:
    """Of partials and of openings: what a challenge forgets, a liar may choose after it."""
    one, other = times_base(1), times_base(2)
    points = [one] * 6

    def partial_asked(points: list[Point], context: bytes = CONTEXT) -> list[int]:
        share, to, key, value, blind, hidden = points
        pairs = [Sum(blind, hidden)] * 2
        talk = threshold._PartialTalk(share, [Sum(key, value)] * 2, to, context, pairs)
        return [talk.powers[1], talk.challenge(G, G, G)]

    def opening_asked(points: list[Point], context: bytes = CONTEXT) -> list[int]:
        to, key, value, opened, *_ = points
        talk = threshold._OpeningTalk(to, [Sum(key, value)] * 2, [opened] * 2, context)
        return [talk.challenge(G, G)]

    for asked, parts in ((partial_asked, 6), (opening_asked, 4)):
        said = [asked(points), asked(points, OTHER_CONTEXT)]
        said += [asked([*points[:at], other, *points[at + 1 :]]) for at in range(parts)]
        assert len({each for challenges in said for each in challenges}) == len(said) * len(said[0])
    talks = [threshold._PartialTalk(G, [], G, CONTEXT, []) for _ in range(4)]
    announced = [(one, one, one), (other, one, one), (one, other, one), (one, one, other)]
    assert len({talk.challenge(*three) for talk, three in zip(talks, announced, strict=True)}) == 4
    opening = [threshold._OpeningTalk(G, [], [], CONTEXT) for _ in range(3)]
    pairs = [(one, one), (other, one), (one, other)]
    assert len({talk.challenge(*two) for talk, two in zip(opening, pairs, strict=True)}) == 3


def test_weights_of_sums_are_powers_of_the_challenge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threshold.Transcript, "challenge", lambda *_: 7)
    assert threshold._PartialTalk(G, [Sum(G, G)] * 4, G, CONTEXT, []).powers == [1, 7, 49, 343]
    opening = threshold._OpeningTalk(G, [Sum(G, G)] * 3, [times_base(3)] * 3, CONTEXT)
    assert (opening.key, opening.opened) == (times_base(57), times_base(2 * 57))
