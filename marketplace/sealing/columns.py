"""Columns whose randomness comes from the record's own secret, so that whoever is handed that secret sees for
itself that they encrypt the row in the box, and no other.

An issuer is handed it with a draft: what it attests covers box and columns, and it can look into the box
alone. Nobody learns more by this: the secret opens the box, in which the same row lies. To all others the
randomness is that of a pseudorandom function under a secret that is drawn or derived afresh for every box.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.wire.dictionary import Dictionary, Row
from marketplace.wire.record import SealedRecord
from marketplace.wire.tally import encoding_of, statement
from ml.homomorphic.curve import ORDER, SCALAR_BYTES
from ml.homomorphic.elgamal import encrypt

INFO: Final = b"usufruct/column-randomness/1"
DRAWN: Final = 64
"""Bytes for each scalar: 2^-256 from uniform."""


def column_randomness(secret: int, context: bytes, joint_key: bytes, columns: int) -> list[int]:
    """One scalar in [1, n - 1] for each column: HKDF-SHA512 (RFC 5869) of a record's secret.

    Args:
        secret: of one box; never use it for two rows.
        context: what the proof of these columns is bound to, 32 bytes.
        joint_key: that they are encrypted under, 33 bytes.
    """
    ikm = secret.to_bytes(SCALAR_BYTES, "big")
    infos = [INFO + context + joint_key + at.to_bytes(4, "big") for at in range(columns)]
    return [_scalar(HKDF(SHA512(), DRAWN, None, info).derive(ikm)) for info in infos]


def require_same_row(sealed: SealedRecord, secret: int, dictionary: Dictionary, row: Row) -> None:
    """A record's columns are those of this row. Nothing to see where it has none.

    Raises:
        Refusal: other_columns. RecordUnreadable: the dictionary has no encoding, or the key is no point.
    """
    if sealed.tally is None:
        return
    encoding = encoding_of(dictionary)
    about = statement(sealed.tally, encoding, sealed.context.in_lane(Lane.HOMOMORPHIC).aad())
    values = encoding.values(row)
    randomness = column_randomness(secret, about.context, sealed.tally.public_key, len(values))
    if encrypt(values, randomness, about.public_key) != sealed.tally.columns:
        raise Refusal(
            code="other_columns",
            message="What the record has for sums on encrypted values is not the row that it opens to.",
            remedy="Do not attest it. Decline the draft; its patient can seal the values again.",
            field="record.tally",
        )


def _scalar(drawn: bytes) -> int:
    return int.from_bytes(drawn, "big") % (ORDER - 1) + 1
