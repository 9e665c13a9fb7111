"""Records that count and are not here, brought later: this custodian was down when they were stored, or lives
on from an old copy of its journal.

A record's share was sealed to this custodian and kept by nobody else, so it does not come back; the vault
lane opens the record with the others' shares. Its tally is the same for everybody. It is taken from whoever
brings it, under the header that leads to the very commitment which the chain has in use, and with its proof
verified as at any deposit. No storage receipt is signed for it: that is of shares.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from marketplace.custodian.journal import Journal
from marketplace.custodian.models import ErasedRow, RestoredRow, ShareRow
from marketplace.custodian.tallies import OfferedTally, Tallies
from marketplace.custodian.vault import RecordRefused, Seat, Vault
from marketplace.errors import Refusal
from marketplace.wire.canonical import canonical
from marketplace.wire.http import problem_document, to_hex


class Restoring:
    """What one custodian takes in without a share."""

    def __init__(
        self,
        journal: Journal,
        vault: Vault,
        tallies: Tallies,
        require_current: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._vault = vault
        self._tallies = tallies
        self._require_current = require_current

    def take_all(self, offered: Sequence[OfferedTally | Refusal]) -> list[dict[str, Any]]:
        """For each record, in order, that it is here, or why it is not taken; all proofs at once.

        Raises:
            RecordRefused (wrong_epoch): this custodian has no seat now; as `Custodian.require_current`.
        """
        self._require_current()
        seat = self._vault.seat()
        found = [self._unfit(each, seat) for each in offered]
        good = {
            at: each
            for at, each in enumerate(offered)
            if found[at] is None and isinstance(each, OfferedTally) and self._lacks(each)
        }
        for (at, each), fault in zip(
            good.items(), self._tallies.faults(list(good.values())), strict=True
        ):
            found[at] = fault or self._keep(each)
        return [{"kept": True} if why is None else problem_document(why) for why in found]

    def _unfit(self, offered: OfferedTally | Refusal, seat: Seat) -> Refusal | None:
        """Why a record does not count here, by the chain."""
        if isinstance(offered, Refusal):
            return offered
        try:
            self._vault.require_in_use(offered, seat)
        except Refusal as refusal:
            return refusal
        return None

    def _lacks(self, offered: OfferedTally) -> bool:
        commitment = offered.header.commitment
        if commitment not in self._journal.headers([commitment]):
            return True
        return offered.tally is not None and not self._tallies.holds(commitment)

    def _keep(self, offered: OfferedTally) -> Refusal | None:
        """The tally, and whom an erasure of it concerns, in one transaction; why not, where it went by."""
        header, commitment = offered.header, offered.header.commitment
        with self._journal.writing() as session:
            if session.get(ErasedRow, commitment) is not None:
                return RecordRefused(
                    code="record_erased",
                    message="This record was erased meanwhile.",
                    remedy="Nothing is to be done: it counts for nobody who asks from now on.",
                    field="record",
                )
            if session.get(ShareRow, commitment) is None:
                row = RestoredRow(
                    commitment=commitment,
                    dataset=header.context.dataset,
                    holder=offered.holder,
                    version=header.context.record_version,
                    header=canonical(header.to_json()).decode(),
                )
                session.merge(row)
            if offered.tally is not None:
                self._tallies.keep(session, header, offered.tally)
            self._journal.append(session, "tally-restored", {"commitment": to_hex(commitment)})
        return None
