"""One proof that ElGamal columns encrypt a vector's forms, and that the vector satisfies a relation.

Statement: columns (A_j, B_j) under public key Y, and a relation over a vector v in Z_n^m. The prover knows
v and r_j with A_j = r_j G, B_j = r_j Y + column_j(v) G, and left_k(v) right_k(v) = result_k(v) for every
product k.

A Sigma protocol with two preliminary challenges, made non-interactive by Fiat and Shamir:

    V = sum v_i G_i + w H                           vector commitment (T. Pedersen, CRYPTO 1991)
    <- delta, whose powers weigh columns:           A' = sum delta^j A_j, B' and r' likewise
    W = sum a_i G_i + u H, S = s G,                 announcements, with a, u, s uniform
    S' = s Y + (sum delta^j column_j(a)) G
    <- y, whose powers weigh products:              sum y^k (left right - x result)(x v + a) = x T_1 + T_0
    C_1 = T_1 K + t_1 H, C_0 = T_0 K + t_0 H
    <- x
    f = x v + a, phi = x w + u, z = x r' + s, tau = x t_1 + t_0

where a form's constant is multiplied by x, so that the coefficient of x^2 is what the products leave
over: 0. The verifier checks

    sum f_i G_i + phi H = x V + W
    z G = x A' + S,  z Y + (sum delta^j column_j(f)) G = x B' + S'
    (sum y^k (left right - x result)(f)) K + tau H = x C_1 + C_0.

Any pair of points encrypts exactly one value, so a column that encrypts another one than the form of the
committed v survives the weighing for one delta in n / m; products likewise (J. Groth, CRYPTO 2009, and J.
Bootle, A. Cerulli, P. Chaidos, J. Groth, C. Petit, EUROCRYPT 2016, check products of committed vectors this
way). Three answers to different x with one V give v, r' and the products: special soundness, under the
discrete logarithm problem, which binds V. Answers are uniform and announcements follow from them: perfect
zero knowledge for an honest verifier, and so, in the random oracle model, for all.

A batch of proofs about one relation is one sum of products, with weights of 128 bits (M. Bellare, J. Garay,
T. Rabin, EUROCRYPT 1998): a false proof among them passes with probability 2^-128.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Final

import numpy as np

from ml.homomorphic import generators
from ml.homomorphic.curve import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    G,
    NotAPoint,
    Point,
    Points,
    points_from_bytes,
    random_scalar,
    times_base,
    total,
)
from ml.homomorphic.relation import Relation, evaluate
from ml.homomorphic.scalars import powers, scalars_from_bytes, scalars_to_bytes
from ml.homomorphic.transcript import Transcript

PROTOCOL: Final = "usufruct/validity/1"
_POINTS = 6
_SCALARS = 3  # beside the answers f
_WEIGHT_BITS = 128
_EXPLAINED = 4
"""False proofs of a batch that are told what is wrong with them, and searched by halves: each takes long."""


class ProofInvalid(ValueError):
    """A proof that does not hold; `position` is its place in the batch."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"proof {position}: {problem}")
        self.position = position
        self.problem = problem


@dataclass(frozen=True)
class Statement:
    """What one proof is about. `columns` are 66 bytes each, A then B; `context` is 32 bytes."""

    context: bytes
    public_key: Point
    relation: Relation
    columns: bytes


@dataclass(frozen=True)
class _Announced:
    """The points of a proof, in the order in which they are written."""

    vector: Point  # V
    blinds: Point  # W
    key: Point  # S
    column: Point  # S'
    linear: Point  # C_1
    constant: Point  # C_0


@dataclass(frozen=True)
class _Proof:
    announced: _Announced
    answers: tuple[int, ...]  # f
    phi: int
    z: int
    tau: int


def proof_bytes(relation: Relation) -> int:
    """The length of every proof about this relation."""
    return _POINTS * POINT_BYTES + (relation.size + _SCALARS) * SCALAR_BYTES


def prove(statement: Statement, vector: Sequence[int], randomness: Sequence[int]) -> bytes:
    """A proof, fresh each time, that says nothing but that the statement is true.

    Args:
        vector: v, `relation.size` integers.
        randomness: r_j of each column, in [1, n - 1]: with which the statement's columns encrypt the
        vector's.

    Raises:
        ValueError: the vector does not satisfy the relation.
    """
    blinds = [random_scalar() for _ in range(statement.relation.size)]
    return _prove(statement, vector, randomness, blinds, [random_scalar() for _ in range(5)])


def _prove(
    statement: Statement,
    vector: Sequence[int],
    randomness: Sequence[int],
    blinds: Sequence[int],
    drawn: Sequence[int],
) -> bytes:
    """As `prove`, with a_i and (w, u, s, t_1, t_0) given: for test vectors."""
    relation, key = statement.relation, statement.public_key
    _require_true(statement, vector, randomness)
    w, u, s, t_1, t_0 = drawn
    hide, single = generators.blinding(), generators.single()
    bases = generators.vector(relation.size)
    talk = _Talk(statement)
    # sum v_i G_i as sum (v_i + a_i) G_i - sum a_i G_i: an entry that is 0 takes as long as any other.
    announced_vector = _secret_sum(bases, blinds)
    moved = _secret_sum(bases, [v + a for v, a in zip(vector, blinds, strict=True)])
    committed = total((moved, -announced_vector, hide.times_secret(w)))
    delta = talk.columns(committed)
    blinded = total((announced_vector, hide.times_secret(u)))
    announced_column = total(
        (key.times_secret(s), times_base(_weighed(relation, delta, blinds, 0)))
    )
    y = talk.products(blinded, times_base(s), announced_column)
    linear, constant = _cross_terms(relation, y, vector, blinds)
    commit_linear = total((_secret_product(single, linear), hide.times_secret(t_1)))
    commit_constant = total((_secret_product(single, constant), hide.times_secret(t_0)))
    x = talk.answers(commit_linear, commit_constant)
    weights = powers(delta, len(randomness))
    weighed = sum(r * d for r, d in zip(randomness, weights, strict=True))
    points = (committed, blinded, times_base(s), announced_column, commit_linear, commit_constant)
    answers = [x * v + a for v, a in zip(vector, blinds, strict=True)]
    scalars = [*answers, x * w + u, x * weighed + s, x * t_1 + t_0]
    return b"".join(point.to_bytes() for point in points) + scalars_to_bytes(scalars)


def verify(statement: Statement, proof: bytes) -> None:
    """Raises ProofInvalid, saying what does not hold."""
    verify_batch([statement], [proof])


def verify_batch(statements: Sequence[Statement], proofs: Sequence[bytes]) -> None:
    """All of them at once, about one relation and one public key.

    Raises:
        ProofInvalid: naming the first that does not hold.
        ValueError: the statements are about different relations or keys.
    """
    for position, problem in enumerate(faults(statements, proofs)):
        if problem is not None:
            raise ProofInvalid(position, problem)


def faults(statements: Sequence[Statement], proofs: Sequence[bytes]) -> list[str | None]:
    """For each proof, in order, None, or what does not hold; false ones are looked for by halves.

    Raises ValueError unless all statements are about one relation and one public key, with a proof each.
    """
    about = {(each.relation.digest, each.public_key) for each in statements}
    if len(about) > 1 or len(statements) != len(proofs):
        raise ValueError("a batch has one relation, one public key, and a proof for each statement")
    if any(key.is_infinity for _, key in about):
        raise ValueError("the public key is the point at infinity")
    found: list[str | None] = []
    read: list[tuple[int, _Checked]] = []
    for position, (statement, raw) in enumerate(zip(statements, proofs, strict=True)):
        try:
            read.append((position, _read(position, statement, raw)))
            found.append(None)
        except ProofInvalid as invalid:
            found.append(invalid.problem)
    for position, problem in _Sieve().sifted(read):
        found[position] = problem
    return found


class _Sieve:
    """Looks for false proofs by halves, and one by one once there are many: a flood costs no more than
    that.
    """

    def __init__(self) -> None:
        self._found = 0

    def sifted(self, read: Sequence[tuple[int, _Checked]]) -> list[tuple[int, str]]:
        """Positions and problems of those that do not hold."""
        if not read or _adds_up([checked for _, checked in read]):
            return []
        if len(read) == 1:
            position, checked = read[0]
            self._found += 1
            return [
                (position, checked.fault() if self._found <= _EXPLAINED else "it does not hold")
            ]
        half = len(read) // 2 if self._found < _EXPLAINED else 1
        return [
            each
            for start in range(0, len(read), half)
            for each in self.sifted(read[start : start + half])
        ]


@dataclass(frozen=True)
class _Checked:
    """A proof that was read, with its challenges: what is left to do are its four equations."""

    statement: Statement
    columns: Points
    proof: _Proof
    delta: int
    x: int
    total: int  # sum y^k (left right - x result)(f)

    @property
    def weighed(self) -> int:
        return _weighed(self.statement.relation, self.delta, self.proof.answers, self.x)

    def fault(self) -> str:
        """Which of the equations does not hold."""
        proof, said, x = self.proof, self.proof.announced, self.x
        hide = generators.blinding()
        bases = generators.vector(len(proof.answers))
        keys, values = self._weighed_columns()
        if (
            total((bases.sum_of_products(proof.answers), hide * proof.phi))
            != said.vector * x + said.blinds
        ):
            return "the answers are not of the committed vector"
        if times_base(proof.z) != keys * x + said.key:
            return "the columns' randomness is not known"
        if self.statement.public_key * proof.z + G * self.weighed != values * x + said.column:
            return "a column does not encrypt what the relation says"
        if generators.single() * self.total + hide * proof.tau != said.linear * x + said.constant:
            return "a product does not hold"
        return "it does not add up"

    def _weighed_columns(self) -> tuple[Point, Point]:
        both = powers(self.delta, len(self.columns) // 2)
        rows = np.arange(len(self.columns), dtype=np.int64)
        keys, values = (Points(self.columns.memory[rows[part::2]]) for part in (0, 1))
        return keys.sum_of_products(both), values.sum_of_products(both)


def _adds_up(read: Sequence[_Checked]) -> bool:
    """The four equations of each, weighed at random and brought to one side, are the neutral element."""
    size, key = read[0].statement.relation.size, read[0].statement.public_key
    shared = [0] * size
    base = hide = single = public = 0
    memory, scalars = [], []
    for each in read:
        vector_weight, key_weight, column_weight, product_weight = (
            1 + secrets.randbits(_WEIGHT_BITS) for _ in range(4)
        )
        proof, said, x = each.proof, each.proof.announced, each.x
        shared = [s + vector_weight * f for s, f in zip(shared, proof.answers, strict=True)]
        hide += vector_weight * proof.phi + product_weight * proof.tau
        base += key_weight * proof.z + column_weight * each.weighed
        public += column_weight * proof.z
        single += product_weight * each.total
        memory.append(each.columns.memory)
        for power in powers(each.delta, len(each.columns) // 2):
            scalars += [-key_weight * x * power, -column_weight * x * power]
        memory.append(Points.parse(b"".join(point.to_bytes() for point in _in_order(said))).memory)
        scalars += [-vector_weight * x, -vector_weight, -key_weight, -column_weight]
        scalars += [-product_weight * x, -product_weight]
    ours = (G, generators.blinding(), generators.single(), key)
    memory.append(Points.parse(b"".join(point.to_bytes() for point in ours)).memory)
    memory.append(generators.vector(size).memory)
    scalars += [base, hide, single, public, *shared]
    return Points(np.concatenate(memory)).sum_of_products(scalars).is_infinity


class _Talk:
    """The conversation of prover and verifier: one order, one place."""

    def __init__(self, statement: Statement) -> None:
        self._talk = Transcript(PROTOCOL, statement.context)
        self._talk.absorb("relation", statement.relation.digest)
        self._talk.absorb("key", statement.public_key.to_bytes())
        self._talk.absorb("columns", statement.columns)

    def columns(self, vector: Point) -> int:
        """delta."""
        self._talk.absorb("vector", vector.to_bytes())
        return self._talk.challenge("columns")

    def products(self, blinds: Point, key: Point, column: Point) -> int:
        """y."""
        self._talk.absorb("announced", blinds.to_bytes() + key.to_bytes() + column.to_bytes())
        return self._talk.challenge("products")

    def answers(self, linear: Point, constant: Point) -> int:
        """x."""
        self._talk.absorb("terms", linear.to_bytes() + constant.to_bytes())
        return self._talk.challenge("answers")


def _read(at: int, statement: Statement, raw: bytes) -> _Checked:
    relation = statement.relation
    if len(raw) != proof_bytes(relation):
        raise ProofInvalid(at, "it has a wrong length")
    if len(statement.columns) != 2 * POINT_BYTES * len(relation.columns):
        raise ProofInvalid(at, "it is about another number of columns")
    end = _POINTS * POINT_BYTES
    try:
        columns = Points.parse(statement.columns)
        announced = _Announced(*points_from_bytes(raw[:end]))
    except NotAPoint as fault:
        raise ProofInvalid(at, f"{fault}") from None
    *answers, phi, z, tau = scalars_from_bytes(raw[end:], partial(ProofInvalid, at))
    proof = _Proof(announced, tuple(answers), phi, z, tau)
    talk = _Talk(statement)
    delta = talk.columns(announced.vector)
    y = talk.products(announced.blinds, announced.key, announced.column)
    x = talk.answers(announced.linear, announced.constant)
    return _Checked(statement, columns, proof, delta, x, _left_over(relation, y, answers, x))


def _in_order(announced: _Announced) -> list[Point]:
    return [getattr(announced, each.name) for each in fields(announced)]


def _require_true(statement: Statement, vector: Sequence[int], randomness: Sequence[int]) -> None:
    relation = statement.relation
    if not relation.holds(vector):
        raise ValueError("the vector does not satisfy the relation")
    if len(randomness) != len(relation.columns):
        raise ValueError("one random scalar for each column")


def _secret_sum(bases: Points, scalars: Sequence[int]) -> Point:
    """sum scalars[i] bases[i] of secret scalars: products in constant time, one by one."""
    return total(_secret_product(bases.point(i), scalar) for i, scalar in enumerate(scalars))


def _secret_product(point: Point, scalar: int) -> Point:
    reduced = scalar % ORDER  # 0 with probability 2^-256 only, where it is a blind or added to one
    return point.times_secret(reduced) if reduced else point * 0


def _weighed(relation: Relation, delta: int, vector: Sequence[int], one: int) -> int:
    """sum delta^j column_j(vector)."""
    pairs = zip(relation.columns, powers(delta, len(relation.columns)), strict=True)
    return sum(evaluate(column, vector, one) * power for column, power in pairs) % ORDER


def _left_over(relation: Relation, y: int, answers: Sequence[int], x: int) -> int:
    """sum y^k (left right - x result)(answers)."""
    left_over = 0
    for each, power in zip(relation.products, powers(y, len(relation.products)), strict=True):
        left, right = evaluate(each.left, answers, x), evaluate(each.right, answers, x)
        left_over += power * (left * right - x * evaluate(each.result, answers, x))
    return left_over % ORDER


def _cross_terms(
    relation: Relation, y: int, vector: Sequence[int], blinds: Sequence[int]
) -> tuple[int, int]:
    """T_1 and T_0: what `_left_over` is at x v + a, by powers of x."""
    linear = constant = 0
    for each, power in zip(relation.products, powers(y, len(relation.products)), strict=True):
        left, right = evaluate(each.left, vector, 1), evaluate(each.right, vector, 1)
        left_blind, right_blind = evaluate(each.left, blinds, 0), evaluate(each.right, blinds, 0)
        cross = left * right_blind + left_blind * right - evaluate(each.result, blinds, 0)
        linear += power * cross
        constant += power * left_blind * right_blind
    return linear % ORDER, constant % ORDER
