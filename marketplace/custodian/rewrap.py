"""Rotation: a place's shares handed to whoever holds the place in the next epoch.

A share belongs to a place, so with the same n and k it goes over member for member, HPKE-sealed to
the key that the chain lists for the new epoch. The successor takes it in through `POST /shares`,
where it is checked against the dealer's commitments like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.views import CommitteeView
from marketplace.custodian.journal import Journal
from marketplace.custodian.vault import X25519, Vault
from marketplace.errors import Refusal
from marketplace.vocabulary import Epoch
from marketplace.wire.canonical import JSON_LIMIT, canonical, parse
from marketplace.wire.header import RecordHeader, read_header
from marketplace.wire.http import to_base64, to_hex
from marketplace.wire.record import seal_share


def rewrap(chain: Chain, journal: Journal, vault: Vault, epoch: int) -> Iterator[bytes]:
    """One canonical JSON document for each share: the body of the successor's `POST /shares`.

    Can be run again: nothing changes but the random part of the envelopes. Journaled once per
    epoch and share.

    Raises:
        Refusal: `committee_changed`, if n or k differ: such records have to be sealed anew.
    """
    committee = chain.committee(epoch)
    member = next((m for m in committee.members if m.place == vault.place), None)
    if member is None:
        raise _changed(f"Epoch {epoch} has no place {vault.place}.")
    for row in journal.all_shares():
        header = read_header(parse(row.header.encode(), limit=JSON_LIMIT))
        _require_same_shape(chain, header, committee)
        successor = RecordHeader(
            header.context, Epoch(epoch), header.box_hash, header.key_commitments
        )
        sealed = seal_share(
            vault.unlock(row),
            member.keys[X25519],
            header.context,
            successor.commitment,
            successor.epoch,
        )
        _note(journal, row.commitment, epoch)
        document: dict[str, Any] = {
            "record": successor.to_json(),
            "share": {"index": sealed.index, "envelope": to_base64(sealed.envelope)},
            "holder": row.holder,
        }
        yield canonical(document)


def _require_same_shape(chain: Chain, header: RecordHeader, new: CommitteeView) -> None:
    old = chain.committee(header.epoch)
    if (old.quorum, len(old.members)) != (new.quorum, len(new.members)):
        raise _changed(
            f"Epoch {header.epoch} is {old.quorum} of {len(old.members)}, "
            f"epoch {new.epoch} {new.quorum} of {len(new.members)}."
        )


def _note(journal: Journal, commitment: bytes, epoch: int) -> None:
    body = {"commitment": to_hex(commitment), "epoch": epoch}
    with journal.writing() as session:
        journal.append_once(session, "share-rewrapped", body)


def _changed(message: str) -> Refusal:
    return Refusal(
        code="committee_changed",
        message=message,
        remedy="Shares go over member for member only; have the records sealed and attested anew.",
        field="epoch",
    )
