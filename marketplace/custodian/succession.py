"""Rotation, seen by whoever takes a place over: has the custodian before it handed everything on?

Until it has, a share that is missing here may be one that the predecessor still holds, and turning
without it would count its record as null: a bias that nobody asked for. So this custodian does not
turn for such a cohort. Once the predecessor has signed that all went over, a share that is still
missing never was at this place, and its record lives on the other custodians' shares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import HandoverRow
from marketplace.errors import Refusal
from marketplace.wire.custody import Handover
from marketplace.wire.http import to_hex
from marketplace.wire.structs import require_signed


class HandoverUnfinished(Refusal):
    """A place whose last holder has not handed on all its shares."""

    CODE = "handover_unfinished"


@dataclass(frozen=True)
class Predecessor:
    """Who held the place last before this custodian's present time there, which began with `since`."""

    signer: str
    since: int


class Succession:
    """Whom this custodian follows at its place, and what that one handed over."""

    def __init__(self, chain: Chain, journal: Journal, place: int, signer: str) -> None:
        self._chain = chain
        self._journal = journal
        self._place = place
        self._signer = signer

    def predecessor(self, epoch: int) -> Predecessor | None:
        """Whom this custodian of `epoch` follows; None if nobody held the place before.

        Its present time may span several epochs: whoever stays has nothing to take over.
        """
        for earlier in range(epoch - 1, 0, -1):
            holder = self._chain.signer_of(earlier, self._place)
            if holder != self._signer:
                return None if holder is None else Predecessor(holder, earlier + 1)
        return None

    def require_finished(self, epoch: int) -> None:
        """Raises HandoverUnfinished where a predecessor's word that all went over is missing."""
        before = self.predecessor(epoch)
        if before is not None and not self._has_word_of(before):
            raise HandoverUnfinished(
                message=f"Not all shares of place {self._place} have come over from {before.signer}.",
                remedy=f"Have that custodian run `usufruct custodian rewrap --epoch {epoch}`, "
                "then ask again.",
                facts={"place": self._place, "epoch": epoch, "predecessor": before.signer},
            )

    def receive(self, handover: Handover, signature: bytes) -> dict[str, Any]:
        """Keeps the predecessor's word that everything went over. Said twice, it is kept once.

        Raises:
            Refusal: `wrong_handover` with `field`. BadSignature: not the predecessor's.
        """
        before = self._require_mine(handover)
        domain = self._chain.domain("CustodianCommittee")
        require_signed(handover, domain, signature, before.signer)
        if not self._has_word_of(before):
            self._keep(before.signer, handover, signature)
        return {"place": self._place, "epoch": handover.epoch, "predecessor": before.signer}

    def _require_mine(self, handover: Handover) -> Predecessor:
        epoch = int(self._chain.current_epoch())
        mine = {"epoch": epoch, "place": self._place, "successor": self._signer}
        for field, expected in mine.items():
            if getattr(handover, field) != expected:
                raise _wrong(field, f"It is for another {field} than this custodian's {expected}.")
        before = self.predecessor(epoch)
        if before is None or self._chain.signer_of(epoch, self._place) != self._signer:
            raise _wrong("place", "This custodian follows nobody at this place.")
        return before

    def _has_word_of(self, before: Predecessor) -> bool:
        """Its word of another time, when the two followed each other before, does not count."""
        with self._journal.reading() as session:
            row = session.get(HandoverRow, before.signer)
            return row is not None and row.epoch >= before.since

    def _keep(self, predecessor: str, handover: Handover, signature: bytes) -> None:
        row = HandoverRow(
            predecessor=predecessor,
            epoch=handover.epoch,
            shares=handover.shares,
            signature=signature,
        )
        body = handover.to_json() | {"predecessor": predecessor, "signature": to_hex(signature)}
        with self._journal.writing() as session:
            session.merge(row)
            self._journal.append(session, "handover-received", body)


def _wrong(field: str, why: str) -> Refusal:
    return Refusal(
        code="wrong_handover",
        message=f"This handover is not for here: {why}",
        remedy="Send it to the custodian that the chain seats at that place in the current epoch.",
        field=f"handover.{field}",
    )
