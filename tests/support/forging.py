"""Provers that do not stop at a falsehood, and records whose columns hold what no row may have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from marketplace.vocabulary import Lane
from marketplace.wire.encoding import Encoding, Row
from marketplace.wire.record import RecordContext
from marketplace.wire.tally import SealedTally
from ml.homomorphic import validity
from ml.homomorphic.curve import Point
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.relation import Relation, evaluate
from ml.homomorphic.validity import Statement, prove

OUT_OF_RANGE: Final[Mapping[str, Mapping[str, int]]] = {
    "beyond its bounds": {"systolic": 1_000_000},
    "below its bounds": {"systolic": -1_000_000},
    "two indicators": {"smoker=0": 1, "smoker=1": 1},
    "an indicator of two": {"smoker=1": 2},
}
"""What a forger's columns hold, of `systolic` in 0..200 and `smoker`."""


def forged(statement: Statement, vector: Sequence[int], randomness: Sequence[int]) -> bytes:
    """By a prover who runs every step, and does not stop at a falsehood."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(validity, "_require_true", lambda *_: None)
        return prove(statement, vector, randomness)


def forged_tally(
    encoding: Encoding,
    row: Row,
    context: RecordContext,
    joint_key: bytes,
    changes: Mapping[str, int],
) -> SealedTally:
    """As `seal_tally` makes one, of a row in which these columns hold something else. Products are then of
    that, so that nothing but the values themselves is false.
    """
    relation, key = encoding.relation, Point.from_bytes(joint_key)
    vector = list(encoding.stated(row).vector)
    for name, value in changes.items():
        form = relation.columns[encoding.position[name]]
        at = next(at for at, weight in form.items() if weight == 1)
        vector[at] += value - evaluate(form, vector, 1)
    _multiply_out(relation, vector)
    randomness = draw_randomness(len(relation.columns))
    columns = encrypt(relation.values(vector), randomness, key)
    about = Statement(context.in_lane(Lane.HOMOMORPHIC).aad(), key, relation, columns)
    return SealedTally(joint_key, columns, forged(about, vector, randomness))


def _multiply_out(relation: Relation, vector: list[int]) -> None:
    """Sets the entries that are products of others; a bit, which is its own square, stays as it is."""
    for each in relation.products:
        if len(each.result) == 1 and each.left != each.result:
            (at,) = each.result
            vector[at] = evaluate(each.left, vector, 1) * evaluate(each.right, vector, 1)
