"""The homomorphic part of a record: its columns encrypted, and proven valid, where the values are."""

from __future__ import annotations

from marketplace.errors import BadParameter
from marketplace.vocabulary import Lane
from marketplace.wire.encoding import Encoding, Row
from marketplace.wire.record import RecordContext
from marketplace.wire.tally import SealedTally
from ml.homomorphic.curve import NotAPoint, Point
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.validity import Statement, prove


def seal_tally(
    encoding: Encoding, row: Row, context: RecordContext, joint_key: bytes
) -> SealedTally:
    """A row's columns under the committee's joint key, with fresh randomness and the proof of their validity.

    Args:
        row: stored integers and category indices in dictionary order, None where absent.
        joint_key: 33 bytes, as the chain has it for the committee.

    Raises:
        BadParameter: the joint key is no point.
    """
    try:
        key = Point.from_bytes(joint_key)
    except NotAPoint:
        raise BadParameter(
            message="The committee's joint key is not a point of secp256k1.",
            remedy="Take it from the chain.",
            field="joint_key",
        ) from None
    stated, relation = encoding.stated(row), encoding.relation
    randomness = draw_randomness(len(relation.columns))
    columns = encrypt(relation.values(stated.vector), randomness, key)
    about = Statement(context.in_lane(Lane.HOMOMORPHIC).aad(), key, relation, columns)
    return SealedTally(joint_key, columns, prove(about, stated.vector, randomness))
