"""A client that was modified to seal any bytes for a row; everything else it does is honest."""

import secrets
from collections.abc import Sequence

from marketplace.sealing.seal import CustodianKey
from marketplace.vocabulary import Epoch
from marketplace.wire import feldman
from marketplace.wire.dictionary import CELL_BYTES, ROW_FORMAT
from marketplace.wire.record import (
    NONCE_BYTES,
    RecordContext,
    SealedRecord,
    close_box,
    record_commitment,
    record_leaf,
    seal_share,
)

ABSENT = bytes(CELL_BYTES)


def cell(value: int, presence: int = 1) -> bytes:
    """A value as a row has it, in its domain or not."""
    return bytes([presence]) + value.to_bytes(CELL_BYTES - 1, "big", signed=True)


def row_of(*cells: bytes) -> bytes:
    return ROW_FORMAT + b"".join(cells)


def seal_bytes(
    plaintext: bytes,
    context: RecordContext,
    seats: Sequence[CustodianKey],
    epoch: Epoch,
    quorum: int,
) -> SealedRecord:
    """As `sealing.seal_row` does it, but for the look at what is sealed."""
    coefficients = feldman.draw_coefficients(feldman.random_scalar(), quorum)
    dealing = feldman.deal(coefficients, len(seats))
    box = close_box(coefficients[0], context, plaintext, nonce=secrets.token_bytes(NONCE_BYTES))
    leaf = record_leaf(context, box, dealing.commitments)
    commitment = record_commitment(context.record_version, [leaf])
    shares = tuple(
        seal_share(share, seat.public_key, context, commitment, epoch)
        for share, seat in zip(dealing.shares, seats, strict=True)
    )
    return SealedRecord(context, epoch, box, dealing.commitments, shares)
