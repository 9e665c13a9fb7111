"""This custodian's shares for one sealed cohort: what is released, what is null, and what refuses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from marketplace.chain.adapter import Chain
from marketplace.custodian.checks import SealedRequest, TurnRefused, still_usable
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import ShareRow
from marketplace.custodian.succession import Succession
from marketplace.custodian.vault import Vault
from marketplace.wire.feldman import Share


def cohort_shares(
    chain: Chain, journal: Journal, vault: Vault, succession: Succession, sealed: SealedRequest
) -> list[Share | None]:
    """In cohort order; None for a record erased or suspended, or whose share never was here.

    Raises:
        HandoverUnfinished, TurnRefused (committee_changed): what a rotation left undone would count
            records as null that nobody erased. Refusal (share_damaged).
    """
    held = journal.shares(sealed.commitments)
    rows = {c: row for c, row in held.items() if row.share_index == vault.index}
    opened = _still_open(chain, sealed, rows)
    wanted = {commitment for commitment in opened if commitment is not None}
    if not wanted <= rows.keys():
        succession.require_finished(sealed.view.epoch)
    _require_quorum_kept(chain, sealed, wanted, rows.values())
    return [vault.unlock(rows[c]) if c is not None and c in rows else None for c in opened]


def _still_open(
    chain: Chain, sealed: SealedRequest, rows: Mapping[bytes, ShareRow]
) -> list[bytes | None]:
    """Each member's commitment at the seal, or None where the record may not be opened now."""
    holders = [
        rows[each.commitment].holder if each.commitment in rows else each.patient
        for each in sealed.stored
    ]
    usable = still_usable(chain, sealed.cohort.dataset, sealed.stored, holders)
    pairs = zip(sealed.stored, usable, strict=True)
    return [each.commitment if open_now else None for each, open_now in pairs]


def _require_quorum_kept(
    chain: Chain, sealed: SealedRequest, wanted: Set[bytes], rows: Iterable[ShareRow]
) -> None:
    """A record is opened by as many shares as it was sealed for; no deposit is taken with another number."""
    epochs = {row.epoch for row in rows if row.commitment in wanted} - {sealed.view.epoch}
    if any(chain.committee(epoch).quorum != sealed.committee.quorum for epoch in epochs):
        raise TurnRefused(
            code="committee_changed",
            message=f"This cohort has records sealed for another quorum than {sealed.committee.quorum}.",
            remedy="Have these records sealed and attested anew, or an epoch opened with the quorum "
            "that they were sealed for.",
        )
