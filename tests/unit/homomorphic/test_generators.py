"""Bases of commitments are found by hashing and nothing else, so that nobody knows a relation of them."""

from __future__ import annotations

import hashlib

import pytest

from ml.homomorphic import generators
from ml.homomorphic.curve import G, NotAPoint, Point
from tests.support import plain_curve


def hashed(number: int) -> bytes:
    """An independent reading: the first counter whose hash is an x, and the even y."""
    for counter in range(256):
        text = b"usufruct/generator/1" + number.to_bytes(4, "big") + bytes([counter])
        found = plain_curve.lift(int.from_bytes(hashlib.sha256(text).digest(), "big"))
        if found is not None:
            return plain_curve.compress(found)
    raise AssertionError(number)


def test_every_generator_is_the_first_hash_that_is_a_point() -> None:
    expected = [hashed(number) for number in range(42)]
    vector = generators.vector(40)
    assert generators.blinding().to_bytes() == expected[0]
    assert generators.single().to_bytes() == expected[1]
    assert [vector.point(i).to_bytes() for i in range(40)] == expected[2:]


def test_no_two_generators_are_alike_or_the_base() -> None:
    every = {generators.blinding(), generators.single(), G, -G}
    every |= {generators.vector(500).point(i) for i in range(500)}
    assert len(every) == 504


def test_a_longer_vector_begins_with_the_shorter_one() -> None:
    assert generators.vector(9).to_bytes()[: 5 * 33] == generators.vector(5).to_bytes()
    assert len(generators.vector(0)) == 0


def test_what_finds_no_generator_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(raw: bytes) -> Point:
        raise NotAPoint(0)

    monkeypatch.setattr(Point, "from_bytes", never)
    with pytest.raises(ArithmeticError, match="no generator"):
        generators._generator(2**31)
