"""A record opened with its own secret: by the issuer at whose desk it was left, or by its patient.

That the secret is the record's own is seen from s G = A_0, the first key commitment, which is part of what
an issuer attests: so the values that an issuer looked at are those that k custodians can open later, and
no others.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from marketplace.errors import Refusal
from marketplace.sealing.columns import require_same_row
from marketplace.wire import feldman, hpke, record
from marketplace.wire.browser_keys import Place, Root
from marketplace.wire.dictionary import Dictionary, Row, decode_row
from marketplace.wire.opening import OpeningContext, open_opening
from marketplace.wire.record import NONCE_BYTES, SealedRecord


@dataclass(frozen=True)
class OpenedRecord:
    """What an issuer finds in a draft: the invitation it gave out, and the row. Neither prints."""

    code: bytes = field(repr=False)
    row: Row = field(repr=False)


def open_draft(
    sealed: SealedRecord, opening: bytes, desk: hpke.SecretKey, dictionary: Dictionary, place: Place
) -> OpenedRecord:
    """Opens what a patient left at an issuer's desk.

    Raises:
        Refusal: draft_mismatch, the record is for another deployment, dataset or dictionary;
            wrong_secret, what was left is not this record's secret; other_columns, its encrypted columns are
            of another row than its box.
        EnvelopeUnreadable: the opening is for another desk or another record.
        RecordUnreadable: the box does not open, or holds no row of the dictionary.
    """
    _require_place(sealed, dictionary, place)
    found = open_opening(opening, desk, OpeningContext.of(sealed))
    row = open_record(sealed, found.secret, dictionary)
    require_same_row(sealed, found.secret, dictionary, row)
    return OpenedRecord(found.code, row)


def open_own(sealed: SealedRecord, root: Root, dictionary: Dictionary) -> Row:
    """The row of a record that was sealed with this root. Raises as `open_record`."""
    secret = root.record_secret(sealed.context, sealed.box[:NONCE_BYTES])
    return open_record(sealed, secret, dictionary)


def open_record(sealed: SealedRecord, secret: int, dictionary: Dictionary) -> Row:
    """The row of a record, by its secret.

    Raises:
        Refusal: wrong_secret. RecordUnreadable: the box does not open, or holds no row of the dictionary.
    """
    if feldman.times_generator(secret) != sealed.key_commitments[0]:
        raise Refusal(
            code="wrong_secret",
            message="The secret is not that of this record: custodians would open something else.",
            remedy="Do not attest it. Decline the draft; its patient can seal the values again.",
            field="opening",
        )
    return decode_row(dictionary, record.open_box(secret, sealed.context, sealed.box))


def _require_place(sealed: SealedRecord, dictionary: Dictionary, place: Place) -> None:
    context = sealed.context
    pairs = {
        "chain_id": (context.chain_id, place.chain_id),
        "registry": (context.registry, place.registry),
        "dataset": (context.dataset, place.dataset),
        "dictionary_hash": (context.dictionary_hash, dictionary.hash()),
    }
    for name, (given, expected) in pairs.items():
        if given != expected:
            raise Refusal(
                code="draft_mismatch",
                message=f"The record is sealed for another {name}.",
                remedy="Do not attest it: it is not one of this dataset.",
                field=f"record.{name}",
            )
