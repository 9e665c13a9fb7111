"""Seal one patient's values for a committee, where the values are: nothing else ever leaves."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marketplace.errors import BadParameter
from marketplace.sealing.row import Value, to_row
from marketplace.vocabulary import CustodianIndex, Epoch
from marketplace.wire import feldman, record
from marketplace.wire.dictionary import Dictionary, encode_row
from marketplace.wire.record import RecordContext, SealedRecord, record_commitment, record_leaf


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
) -> SealedRecord:
    """`values` sealed so that any `quorum` of `custodians` together, and no fewer, can open them.

    A fresh secret, polynomial and nonce for each record. Raises BadParameter or OutOfDictionary.
    """
    _require_fitting(dictionary, context, custodians)
    plaintext = encode_row(dictionary, to_row(dictionary, values))
    coefficients = feldman.draw_coefficients(feldman.random_scalar(), quorum)
    nonce = secrets.token_bytes(record.NONCE_BYTES)
    return _seal(plaintext, context, custodians, epoch, coefficients=coefficients, nonce=nonce)


def _seal(
    plaintext: bytes,
    context: RecordContext,
    custodians: Sequence[CustodianKey],
    epoch: Epoch,
    *,
    coefficients: Sequence[int],
    nonce: bytes,
) -> SealedRecord:
    dealing = feldman.deal(coefficients, len(custodians))
    box = record.close_box(coefficients[0], context, plaintext, nonce=nonce)
    leaf = record_leaf(context, box, dealing.commitments)
    commitment = record_commitment(context.record_version, [leaf])
    shares = tuple(
        record.seal_share(share, custodian.public_key, context, commitment, epoch)
        for share, custodian in zip(dealing.shares, custodians, strict=True)
    )
    return SealedRecord(context, epoch, box, dealing.commitments, shares)


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
