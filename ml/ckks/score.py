"""A model on an encrypted record: ciphertext in, ciphertext out, no secret anywhere.

`PreparedModel.score` is what an operator runs. It needs the owner's material and the record; what it
returns only the owner can open (`opening`). The error against the same computation in the clear is below
1e-3 for any model that `models` reads and any record inside its bounds (measured:
tests/unit/ckks/test_score.py).

Nothing here shows that a score was computed as it should: a wrong operator can send any ciphertext.
`opening` says how an owner notices.

Scales are exact: each plaintext is encoded at the very scale that makes the product, once it is divided by
its prime, have the scale that is wanted (A. Kim, A. Papadimitriou, Y. Polyakov, CT-RSA 2022, for why this
is worth the trouble), so that no two numbers of nearly the same scale are ever added.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Final

import numpy as np
from tenseal import sealapi

from ml.ckks import packing
from ml.ckks.context import PRIMES, SCALE, STEPS, encoder, evaluator, parms_id
from ml.ckks.keys import EncryptedRecord, Material, require_opaque
from ml.ckks.layout import COPIES, MOST_VARIABLES, ROWS, Layout, Slots
from ml.ckks.models import Affine, Model, ModelDoesNotFit, Network
from ml.ckks.packing import Kind, frame, pack, packed_bytes, read, unframe
from ml.ckks.sigmoid import Sigmoid, split

SCORE_PRIMES: Final = PRIMES[:1]
SCORE_BYTES: Final = packed_bytes(2, SCORE_PRIMES)


class RecordDoesNotFit(ValueError):
    """A record of another layout, or encrypted to another key than the material's."""


class CannotScore(ValueError):
    """Material or record that no owner made: SEAL stops where a result would hide nothing."""


@dataclass(frozen=True)
class EncryptedScore:
    """A score that only the record's owner can open, 82 KB; names its model and its record."""

    data: bytes = field(repr=False)
    model: bytes
    record: bytes
    ciphertext: Any = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, data: bytes) -> EncryptedScore:
        """A score from anybody. Raises Unreadable, OtherKind, OtherParameters, Transparent."""
        bound, body = unframe(Kind.SCORE, data, SCORE_BYTES)
        numbers = packing.unpack(body, SCORE_PRIMES)
        require_opaque(numbers)
        loaded = packing.ciphertext(numbers, parms_id(1))
        return cls(data, bound[:32], bound[32:], loaded)

    @property
    def hash(self) -> bytes:
        """32 bytes: of all bytes."""
        return hashlib.sha256(self.data).digest()


class PreparedModel:
    """A model over a layout, encoded once for any number of owners. Holds nothing secret; safe for
    threads.
    """

    def __init__(self, model: Model, layout: Layout) -> None:
        """Raises ModelDoesNotFit."""
        self.model, self.layout = model, layout
        self._require_fit()

    def score(self, material: Material, record: EncryptedRecord) -> EncryptedScore:
        """The encrypted score.

        Raises RecordDoesNotFit before anything is computed; CannotScore for numbers that no owner made.
        """
        if record.layout != self.layout.hash:
            raise RecordDoesNotFit("the record is of another layout")
        if record.material != material.hash:
            raise RecordDoesNotFit("the record is encrypted to another key")
        try:
            found = self._computed(material, record)
        except (RuntimeError, ValueError) as problem:
            raise CannotScore("nothing can be computed with this material and record") from problem
        if not math.isclose(found.scale, SCALE, rel_tol=1e-12):
            raise AssertionError("the score has another scale")
        evaluator().mod_switch_to_inplace(found, parms_id(1))
        body = pack(read(found.dyn_array(), 2, 1), SCORE_PRIMES)
        return EncryptedScore.from_bytes(frame(Kind.SCORE, self.model.hash + record.hash, body))

    def _computed(self, material: Material, record: EncryptedRecord) -> Any:
        start = sealapi.Ciphertext()
        evaluator().mod_switch_to(record.ciphertext, parms_id(self.model.depth + 1), start)
        match self.model.body:
            case (_, curve):
                return _polynomial(self._affine(start, material, True), curve, material)
            case Network() as network:
                return _squares(self._affine(start, material, True), network, material)
            case _:
                return self._affine(start, material, False)

    def _affine(self, start: Any, material: Material, summed: bool) -> Any:
        """One product, in every slot its part, or the sum over the variables; scale SCALE."""
        weights, constants = self._slots
        product = times(start, weights, SCALE)
        if summed:
            product = add_up(product, material)
        evaluator().rescale_to_next_inplace(product)
        return plus(product, constants)

    @cached_property
    def _slots(self) -> tuple[Slots, Slots]:
        """Weights by slot, and what is added afterwards."""
        match self.model.body:
            case (affine, curve):
                half, centre = curve.half, curve.centre
                weights, constant = self._columns([affine])
                return weights / float(half), (constant - float(centre)) / float(half)
            case Network(hidden, _, _):
                return self._columns(hidden)
            case Affine() as affine:
                weights, constant = self._columns([affine])
                return weights, constant / ROWS  # the sum over all slots has it once a row
        raise AssertionError(self.model.kind)

    def _columns(self, rows: Sequence[Affine]) -> tuple[Slots, Slots]:
        """One affine form in each copy: the only one in all of them, or those of a network, then zeros."""
        weights, constants = np.zeros((ROWS, COPIES)), np.zeros((ROWS, COPIES))
        for h, row in enumerate(rows):
            copies = slice(None) if len(rows) == 1 and not self._is_network else h
            still = row.intercept
            for weight, each in zip(row.weights, self.model.inputs, strict=True):
                at, missing = self.layout.position[each.name], each.standardised(each.missing)
                weights[at, copies] = float(weight * (each.upper - each.lower) / each.scale)
                present = weight * (each.standardised(each.lower) - missing)
                weights[MOST_VARIABLES + at, copies] = float(present)
                still += weight * missing
            constants[:, copies] = float(still)
        return weights, constants

    @property
    def _is_network(self) -> bool:
        return isinstance(self.model.body, Network)

    def _require_fit(self) -> None:
        for each in self.model.inputs:
            at = self.layout.position.get(each.name)
            if at is None:
                raise ModelDoesNotFit(f"the record has no variable {each.name}")
            variable = self.layout.variables[at]
            if (variable.lower, variable.upper) != (each.lower, each.upper):
                raise ModelDoesNotFit(f"the record has {each.name} with other bounds")


# ---- Arithmetic at exact scales ----


def times(left: Any, slots: Slots | float, target: float) -> Any:
    """left * slots, whose scale is `target` once it is rescaled."""
    plain, product = sealapi.Plaintext(), sealapi.Ciphertext()
    level, prime = left.parms_id(), PRIMES[left.coeff_modulus_size() - 1]
    encoder().encode(_numbers(slots), level, target * prime / left.scale, plain)
    evaluator().multiply_plain(left, plain, product)
    return product


def plus(left: Any, slots: Slots | float) -> Any:
    """left + slots, in place."""
    plain = sealapi.Plaintext()
    encoder().encode(_numbers(slots), left.parms_id(), left.scale, plain)
    evaluator().add_plain_inplace(left, plain)
    return left


def add_up(left: Any, material: Material) -> Any:
    """In each slot, the sum over all rows of its copy: nine rotations.

    To be used before rescaling: SEAL's digits are not centred, so that a rotation adds an error of up to
    0.001 (at scale SCALE) in the slots whose root of unity is next to 1 or -1; beside SCALE squared it is
    nothing.
    """
    for step in STEPS:
        total = sealapi.Ciphertext()
        evaluator().add(left, _rotated(left, step, material), total)
        for _ in range(2):
            evaluator().add(left, _rotated(total, step, material), total)
        left = total
    return left


def _rotated(left: Any, step: int, material: Material) -> Any:
    out = sealapi.Ciphertext()
    evaluator().rotate_vector(left, step, material.galois, out)
    return out


def _product(left: Any, right: Any, material: Material) -> Any:
    """left * right, relinearised and rescaled, at the lower of their levels."""
    factors = [left, right]
    lowest = min(each.coeff_modulus_size() for each in factors)
    for i, each in enumerate(factors):
        if each.coeff_modulus_size() > lowest:
            factors[i] = sealapi.Ciphertext()
            evaluator().mod_switch_to(each, parms_id(lowest), factors[i])
    out = sealapi.Ciphertext()
    evaluator().multiply(*factors, out)
    evaluator().relinearize_inplace(out, material.relinearisation)
    evaluator().rescale_to_next_inplace(out)
    return out


def _squares(arguments: Any, network: Network, material: Material) -> Any:
    squares = _product(arguments, arguments, material)
    weights = np.zeros((ROWS, COPIES))
    weights[:, : len(network.weights)] = [float(each) for each in network.weights]
    found = times(squares, weights, SCALE)
    evaluator().rescale_to_next_inplace(found)
    return plus(found, float(network.intercept) / COPIES)


def _polynomial(t: Any, curve: Sigmoid, material: Material) -> Any:
    """The polynomial at t, by halves: p = low + T_m high, in log2(2 m) products one after the other."""
    powers = [t]  # T_1, T_2, T_4, ...
    while 1 << len(powers) < len(curve.coefficients):
        square = _product(powers[-1], powers[-1], material)
        doubled = sealapi.Ciphertext()
        evaluator().add(square, square, doubled)
        powers.append(plus(doubled, -1.0))
    return _halves(curve.coefficients, powers, SCALE, material)


def _halves(
    coefficients: Sequence[Fraction], powers: Sequence[Any], target: float, material: Material
) -> Any:
    """At scale `target`, log2(number of coefficients) levels below t."""
    if len(coefficients) == 2:
        found = times(powers[0], float(coefficients[1]), target)
        evaluator().rescale_to_next_inplace(found)
        return plus(found, float(coefficients[0]))
    low, high = split(coefficients)
    power = powers[len(low).bit_length() - 1]
    scale = target * PRIMES[power.coeff_modulus_size() - 1] / power.scale
    found = _product(power, _halves(high, powers, scale, material), material)
    rest = _halves(low, powers, target, material)
    evaluator().mod_switch_to_inplace(rest, found.parms_id())
    total = sealapi.Ciphertext()
    evaluator().add(found, rest, total)
    return total


def _numbers(slots: Slots | float) -> list[float] | float:
    return (
        slots
        if isinstance(slots, float)
        else np.broadcast_to(slots, (ROWS, COPIES)).ravel().tolist()
    )
