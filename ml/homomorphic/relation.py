"""What a vector of scalars has to satisfy: columns that are linear in it, and products of linear forms.

A relation says all that a validity proof shows (`validity.py`). `Builder` writes down the usual statements:
a bit, a whole number in a range, one of several, a product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ml.homomorphic.curve import ORDER, SCALAR_BYTES

ONE = -1
"""The position that stands for the constant 1 in a form."""

Form = Mapping[int, int]
"""position in the vector (or `ONE`) -> coefficient: sum of coefficient * entry."""


@dataclass(frozen=True)
class Product:
    """left(v) * right(v) = result(v)."""

    left: Form
    right: Form
    result: Form


@dataclass(frozen=True)
class Relation:
    """`size` entries; `columns` are encrypted, `products` hold. Equal relations have equal digests."""

    size: int
    columns: tuple[Form, ...]
    products: tuple[Product, ...]

    def values(self, vector: Sequence[int]) -> list[int]:
        """What each column holds for this vector."""
        return [evaluate(column, vector, 1) for column in self.columns]

    def holds(self, vector: Sequence[int]) -> bool:
        """Whether the vector has the right length and every product holds, modulo the group's order."""
        return len(vector) == self.size and all(
            evaluate(each.left, vector, 1) * evaluate(each.right, vector, 1) % ORDER
            == evaluate(each.result, vector, 1)
            for each in self.products
        )

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of size, columns and products, each form by its positions in ascending order; 32 bytes."""
        hashed = hashlib.sha256(b"usufruct/relation/1")
        for number in (self.size, len(self.columns), len(self.products)):
            hashed.update(number.to_bytes(4, "big"))
        for column in self.columns:
            hashed.update(_form_bytes(column))
        for each in self.products:
            for form in (each.left, each.right, each.result):
                hashed.update(_form_bytes(form))
        return hashed.digest()


def evaluate(form: Form, vector: Sequence[int], one: int) -> int:
    """sum coefficient * entry modulo the order, where `one` stands for the constant 1."""
    terms = (c * (one if at == ONE else vector[at]) for at, c in form.items())
    return sum(terms) % ORDER


def combined(*parts: tuple[int, Form]) -> Form:
    """sum scale * form, without what cancels."""
    sums: dict[int, int] = {}
    for scale, form in parts:
        for at, coefficient in form.items():
            sums[at] = sums.get(at, 0) + scale * coefficient
    return {at: c for at, c in sums.items() if c % ORDER}


def weights(largest: int) -> list[int]:
    """Weights of bits whose sums are exactly 0, 1, ..., `largest`: 1, 2, 4, ... and what is left.

    Every choice of bits stays in the range, so that a range needs no second proof (Lipmaa, Asokan and Niemi,
    Financial Cryptography 2002, use the same idea).
    """
    found: list[int] = []
    left = largest
    while left > 0:
        weight = min((1 << len(found)), left)
        found.append(weight)
        left -= weight
    return found


def bits_of(value: int, largest: int) -> list[int]:
    """One choice of bits with these `weights` that make `value`; from the largest weight down.

    Raises ValueError outside 0..largest.
    """
    if not 0 <= value <= largest:
        raise ValueError("the value lies outside its range")
    parts = weights(largest)
    order = sorted(range(len(parts)), key=lambda at: (parts[at], at), reverse=True)
    chosen = [0] * len(parts)
    for at in order:
        if parts[at] <= value:
            chosen[at] = 1
            value -= parts[at]
    return chosen


class Builder:
    """Collects entries, columns and products in the order in which they are stated, and a vector beside them.

    Who wants the relation alone leaves the values at 0; who proves gives them, so that relation and vector
    cannot be written down differently.
    """

    def __init__(self) -> None:
        self.vector: list[int] = []
        """The values given; secret where they are a record's."""
        self._columns: list[Form] = []
        self._products: list[Product] = []

    def relation(self) -> Relation:
        """All of it."""
        return Relation(len(self.vector), tuple(self._columns), tuple(self._products))

    def entry(self, value: int = 0) -> Form:
        """A further entry of the vector, of which nothing is said yet."""
        self.vector.append(value % ORDER)
        return {len(self.vector) - 1: 1}

    def bit(self, value: int = 0) -> Form:
        """A further entry that is 0 or 1."""
        entry = self.entry(value)
        self.require_bit(entry)
        return entry

    def number(self, largest: int, value: int = 0) -> Form:
        """A whole number in 0..largest, as further bits. Raises ValueError for a value outside."""
        pairs = zip(weights(largest), bits_of(value, largest), strict=True)
        return combined(*((weight, self.bit(bit)) for weight, bit in pairs))

    def product(self, left: Form, right: Form) -> Form:
        """A further entry that is the product of two forms."""
        value = evaluate(left, self.vector, 1) * evaluate(right, self.vector, 1)
        entry = self.entry(value)
        self._products.append(Product(left, right, entry))
        return entry

    def require_bit(self, form: Form) -> None:
        """form * form = form."""
        self._products.append(Product(form, form, form))

    def require_product(self, left: Form, right: Form, result: Form) -> None:
        """left * right = result."""
        self._products.append(Product(left, right, result))

    def require_equal(self, left: Form, right: Form) -> None:
        """left = right, as a product with the constant 1."""
        self._products.append(Product(combined((1, left), (-1, right)), {ONE: 1}, {}))

    def encrypt(self, forms: Iterable[Form]) -> None:
        """Further columns."""
        self._columns.extend(forms)


def _form_bytes(form: Form) -> bytes:
    positions = sorted(form)
    parts = [len(positions).to_bytes(4, "big")]
    for at in positions:
        parts.append((at + 1).to_bytes(4, "big"))
        parts.append((form[at] % ORDER).to_bytes(SCALAR_BYTES, "big"))
    return b"".join(parts)
