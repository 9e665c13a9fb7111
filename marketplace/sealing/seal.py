"""Seal one patient's values for a committee, where the values are: nothing else ever leaves."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marketplace.errors import BadParameter
from marketplace.sealing.row import Value, to_row
from marketplace.sealing.tally import seal_tally
from marketplace.vocabulary import CustodianIndex, Epoch
from marketplace.wire import feldman, record
from marketplace.wire.dictionary import Dictionary, Row, encode_row
from marketplace.wire.record import RecordContext, SealedRecord, record_commitment, record_leaves
from marketplace.wire.tally import SealedTally


@dataclass(frozen=True)
class CustodianKey:
    """A custodian's X25519 public key (32 bytes) in one epoch."""

    index: CustodianIndex
    public_key: bytes


def seal_row(
    dictionary: Dictionary,
    values: Mapping[str, Value],
    context: RecordContext,
    custodians: Sequence[CustodianKey],
    epoch: Epoch,
    quorum: int,
    joint_key: bytes | None = None,
) -> SealedRecord:
    """`values` sealed so that any `quorum` of `custodians` together, and no fewer, can open them.

    A fresh secret, polynomial and nonce for each record. Where the dictionary has an encoding, the record has
    a tally, too, under the committee's joint key: one act seals for both lanes.

    Raises BadParameter or OutOfDictionary.
    """
    _require_fitting(dictionary, context, custodians)
    row = to_row(dictionary, values)
    plaintext = encode_row(dictionary, row)
    tally = _tally(dictionary, row, context, joint_key)
    coefficients = feldman.draw_coefficients(feldman.random_scalar(), quorum)
    nonce = secrets.token_bytes(record.NONCE_BYTES)
    return _seal(
        plaintext, context, custodians, epoch, tally, coefficients=coefficients, nonce=nonce
    )


def _tally(
    dictionary: Dictionary, row: Row, context: RecordContext, joint_key: bytes | None
) -> SealedTally | None:
    if dictionary.encoding is None:
        return None
    if joint_key is None:
        raise BadParameter(
            message="This dictionary's records are tallied, and the committee has no joint key.",
            remedy="Seal once the custodians have generated it and the chain has it.",
            field="joint_key",
        )
    return seal_tally(dictionary.encoding, row, context, joint_key)


def _seal(
    plaintext: bytes,
    context: RecordContext,
    custodians: Sequence[CustodianKey],
    epoch: Epoch,
    tally: SealedTally | None = None,
    *,
    coefficients: Sequence[int],
    nonce: bytes,
) -> SealedRecord:
    dealing = feldman.deal(coefficients, len(custodians))
    box = record.close_box(coefficients[0], context, plaintext, nonce=nonce)
    leaves = record_leaves(context, box, dealing.commitments, tally)
    commitment = record_commitment(context.record_version, leaves)
    shares = tuple(
        record.seal_share(share, custodian.public_key, context, commitment, epoch)
        for share, custodian in zip(dealing.shares, custodians, strict=True)
    )
    return SealedRecord(context, epoch, box, dealing.commitments, shares, tally)


def _require_fitting(
    dictionary: Dictionary, context: RecordContext, custodians: Sequence[CustodianKey]
) -> None:
    if context.dictionary_hash != dictionary.hash():
        raise BadParameter(
            message="The record is to be bound to another dictionary than its values use.",
            remedy="Use the dictionary that the dataset published.",
            field="dictionary_hash",
        )
    if [c.index for c in custodians] != list(range(1, len(custodians) + 1)):
        raise BadParameter(
            message="The custodians are not listed as 1..n in order.",
            remedy="List the whole committee of this epoch in ascending order.",
            field="custodians",
        )
