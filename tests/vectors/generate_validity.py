"""Regenerates the vector of validity proofs: python -m tests.vectors.generate_validity

Made in plain arithmetic from what `ml/homomorphic/validity.py` says in its head, without a line of that
package: a prover in another language that gives these bytes has read it rightly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from tests.support.plain_curve import ORDER, Plain, add, add_all, compress, lift, times

VECTOR = Path(__file__).parent / "validity.json"
Form: TypeAlias = dict[int, int]
ONE = -1
# A number in 0..5 (weights 1, 2, 2), a bit, and the product of both; -7 encrypted beside them.
COLUMNS: list[Form] = [
    {0: 1, 1: 2, 2: 2},
    {3: 1},
    {4: 1},
    {4: -3, ONE: -7},
]
PRODUCTS: list[tuple[Form, Form, Form]] = [
    *(({at: 1}, {at: 1}, {at: 1}) for at in (0, 1, 2, 3)),
    ({0: 1, 1: 2, 2: 2}, {3: 1}, {4: 1}),
]
WITNESS = [1, 0, 1, 1, 3]
CONTEXT = hashlib.sha256(b"usufruct validity vector").digest()


def scalar(name: str) -> int:
    return (
        int.from_bytes(hashlib.sha256(b"usufruct vector " + name.encode()).digest(), "big") % ORDER
    )


SECRET = scalar("key")
RANDOMNESS = [scalar(f"r{j}") for j in range(len(COLUMNS))]
BLINDS = [scalar(f"a{i}") for i in range(len(WITNESS))]
DRAWN = [scalar(name) for name in ("w", "u", "s", "t1", "t0")]


@cache
def generator(number: int) -> Plain:
    for counter in range(256):
        text = b"usufruct/generator/1" + number.to_bytes(4, "big") + bytes([counter])
        found = lift(int.from_bytes(hashlib.sha256(text).digest(), "big"))
        if found is not None:
            return found
    raise AssertionError(number)


def at(form: Form, vector: Sequence[int], one: int) -> int:
    return sum(c * (one if i == ONE else vector[i]) for i, c in form.items()) % ORDER


def digest(size: int, columns: list[Form], products: list[tuple[Form, Form, Form]]) -> bytes:
    forms = [*columns, *(form for three in products for form in three)]
    text = b"usufruct/relation/1"
    for number in (size, len(columns), len(products)):
        text += number.to_bytes(4, "big")
    for form in forms:
        text += len(form).to_bytes(4, "big")
        for i in sorted(form):
            text += (i + 1).to_bytes(4, "big") + (form[i] % ORDER).to_bytes(32, "big")
    return hashlib.sha256(text).digest()


class Talk:
    def __init__(self) -> None:
        self.said = b""

    def say(self, label: bytes, data: bytes) -> None:
        self.said += len(label).to_bytes(4, "big") + label + len(data).to_bytes(8, "big") + data

    def ask(self, label: bytes) -> int:
        self.say(b"challenge", label)
        drawn = hashlib.sha512(self.said).digest()
        self.say(b"drawn", drawn)
        return int.from_bytes(drawn, "big") % ORDER


def encrypted(public: Plain) -> bytes:
    values = [at(column, WITNESS, 1) for column in COLUMNS]
    pairs = zip(values, RANDOMNESS, strict=True)
    return b"".join(
        compress(times(r)) + compress(add(times(r, public), times(v))) for v, r in pairs
    )


def proved(columns: bytes, public: Plain) -> tuple[bytes, dict[str, int]]:
    w, u, s, t_1, t_0 = DRAWN
    hide, single, size = generator(0), generator(1), len(WITNESS)
    bases = [generator(2 + i) for i in range(size)]
    talk = Talk()
    talk.say(b"protocol", b"usufruct/validity/1")
    talk.say(b"context", CONTEXT)
    talk.say(b"relation", digest(size, COLUMNS, PRODUCTS))
    talk.say(b"key", compress(public))
    talk.say(b"columns", columns)
    committed = add_all(*map(times, WITNESS, bases), times(w, hide))
    talk.say(b"vector", compress(committed))
    delta = talk.ask(b"columns")
    blinded = add_all(*map(times, BLINDS, bases), times(u, hide))
    shift = sum(pow(delta, j, ORDER) * at(c, BLINDS, 0) for j, c in enumerate(COLUMNS))
    key, column = times(s), add(times(s, public), times(shift))
    talk.say(b"announced", compress(blinded) + compress(key) + compress(column))
    y = talk.ask(b"products")
    linear = constant = 0
    for k, (left, right, result) in enumerate(PRODUCTS):
        # (left right - x result)(x v + a): a polynomial of x, by its values at 0, 1 and -1.
        value_at = []
        for x in (0, 1, -1):
            vector = [x * v + a for v, a in zip(WITNESS, BLINDS, strict=True)]
            value_at.append(at(left, vector, x) * at(right, vector, x) - x * at(result, vector, x))
        power, half = pow(y, k, ORDER), pow(2, -1, ORDER)
        assert (value_at[1] + value_at[2] - 2 * value_at[0]) % ORDER == 0  # nothing is left over
        linear += power * (value_at[1] - value_at[2]) * half
        constant += power * value_at[0]
    terms = [
        add(times(linear, single), times(t_1, hide)),
        add(times(constant, single), times(t_0, hide)),
    ]
    talk.say(b"terms", compress(terms[0]) + compress(terms[1]))
    x = talk.ask(b"answers")
    weighed = sum(pow(delta, j, ORDER) * r for j, r in enumerate(RANDOMNESS))
    answers = [x * v + a for v, a in zip(WITNESS, BLINDS, strict=True)]
    scalars = [*answers, x * w + u, x * weighed + s, x * t_1 + t_0]
    points = [committed, blinded, key, column, *terms]
    proof = b"".join(map(compress, points))
    proof += b"".join((each % ORDER).to_bytes(32, "big") for each in scalars)
    return proof, {"delta": delta, "y": y, "x": x}


def hexed(values: Sequence[int]) -> list[str]:
    return [f"{value % ORDER:064x}" for value in values]


def written(form: Form) -> list[list[object]]:
    """Position (-1: the constant 1) and coefficient modulo the order, by position."""
    return [[i, f"{form[i] % ORDER:x}"] for i in sorted(form)]


def vector() -> dict[str, Any]:
    public = times(SECRET)
    columns = encrypted(public)
    proof, challenges = proved(columns, public)
    return {
        "context": CONTEXT.hex(),
        "public_key": compress(public).hex(),
        "relation": {
            "size": len(WITNESS),
            "columns": [written(column) for column in COLUMNS],
            "products": [[written(form) for form in three] for three in PRODUCTS],
            "digest": digest(len(WITNESS), COLUMNS, PRODUCTS).hex(),
        },
        "vector": WITNESS,
        "randomness": hexed(RANDOMNESS),
        "blinds": hexed(BLINDS),
        "drawn": hexed(DRAWN),
        "columns": columns.hex(),
        "challenges": {name: f"{value:064x}" for name, value in challenges.items()},
        "proof": proof.hex(),
    }


if __name__ == "__main__":
    VECTOR.write_text(json.dumps(vector(), indent=1) + "\n")
