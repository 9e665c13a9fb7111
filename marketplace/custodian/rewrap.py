"""Rotation: a place's shares handed to whoever holds the place in the new epoch.

A share belongs to a place, so with the same n and k it goes over member for member, HPKE-sealed to
the key that the chain lists for the new epoch. The successor takes it in as any deposit: held against
the chain and the dealer's commitments, acknowledged with a signed storage receipt. What it has
acknowledged is noted, so an interrupted rewrap goes on where it was. At the end the custodian signs
that all went over, which is what lets the successor turn.

No key, turn or settlement signature is involved: a custodian whose journal is behind its anchor may
hand its shares on, and that is its way back, under another identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import exists, func, select

from marketplace.chain.adapter import Chain, CommitteeView, ContractRefusal
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import DeliveryRow, ShareRow
from marketplace.custodian.succession import Succession
from marketplace.custodian.vault import X25519, Deposit, Vault, receipt_of
from marketplace.errors import Refusal
from marketplace.vocabulary import Address, Epoch
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.custody import Handover
from marketplace.wire.header import read_header
from marketplace.wire.http import hex_field, to_base64, to_hex
from marketplace.wire.http_client import SMALL_ANSWER, PeerUnreachable, declined, post
from marketplace.wire.keyfiles import Signer
from marketplace.wire.record import seal_share
from marketplace.wire.structs import require_signed, sign

PAGE: Final = 200
"""Shares of one upload: each takes about 1.5 KB, and the successor asks its node about each."""
TIMEOUT_SECONDS: Final = 120.0
SIGNATURE_BYTES: Final = 65
BEFORE_ALL: Final = b""


@dataclass(frozen=True)
class Successor:
    """Who holds the place in the new epoch: as the chain has it, and as its host said by another way."""

    epoch: Epoch
    signer: str
    key: bytes


class Rewrap:
    """One custodian's shares on their way to one successor."""

    def __init__(
        self, chain: Chain, journal: Journal, vault: Vault, signer: Signer, successor: Successor
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._vault = vault
        self._signer = signer
        self.successor = successor

    def left(self) -> int:
        """How many shares the successor has not acknowledged."""
        with self._journal.reading() as session:
            query = select(func.count()).select_from(ShareRow).where(self._undelivered())
            return int(session.scalar(query) or 0)

    def deliver(self, url: str, size: int = PAGE) -> Iterator[int]:
        """Sends every share of a usable record that is not there yet, `size` at a time.

        Yields how many were looked at in each step.

        Raises:
            PeerUnreachable, or what the successor refuses with: run it again, it goes on from there.
        """
        last = BEFORE_ALL
        while page := self._page(last, size):
            last = page[-1].commitment
            wanted = self._usable(page)
            if wanted:
                self._send(url, wanted)
            yield len(page)

    def finish(self, url: str) -> int:
        """Signs that everything went over, and tells the successor. Returns how many shares did.

        Raises:
            HandoverUnfinished: this custodian itself waits for its own predecessor.
        """
        self._require_whole()
        handover = Handover(
            self.successor.epoch, self._vault.place, self.successor.signer, self._delivered()
        )
        signature = sign(handover, self._chain.domain("CustodianCommittee"), self._signer.secret)
        with self._journal.writing() as session:
            self._journal.append_once(session, "handed-over", handover.to_json())
        body = {"handover": handover.to_json(), "signature": to_hex(signature)}
        post(url, "/handovers", body, timeout=TIMEOUT_SECONDS, most=SMALL_ANSWER)
        return handover.shares

    def _require_whole(self) -> None:
        place, own = self._vault.place, self._signer.address
        seated = last_seat(self._chain, place, own, self.successor.epoch)
        Succession(self._chain, self._journal, place, own).require_finished(seated)

    # --- which shares

    def _undelivered(self) -> Any:
        same_share = DeliveryRow.commitment == ShareRow.commitment
        there = exists().where(same_share, DeliveryRow.epoch == self.successor.epoch)
        return (ShareRow.share_index == self._vault.index) & ~there

    def _page(self, after: bytes, size: int) -> Sequence[ShareRow]:
        query = (
            select(ShareRow)
            .where(ShareRow.commitment > after, self._undelivered())
            .order_by(ShareRow.commitment)
            .limit(size)
        )
        with self._journal.reading() as session:
            return list(session.scalars(query))

    def _usable(self, page: Sequence[ShareRow]) -> list[ShareRow]:
        """Those that the chain has in use: not replaced, erased or suspended.

        A record still waiting for its receipts is not: those of the old epoch no longer count, so it
        has to be sealed for the new committee.
        """
        found: list[ShareRow] = []
        for dataset in dict.fromkeys(row.dataset for row in page):
            rows = [row for row in page if row.dataset == dataset]
            stored = self._chain.commitments_of(dataset, [row.holder for row in rows])
            pairs = zip(rows, stored, strict=True)
            found += [row for row, now in pairs if now.commitment == row.commitment]
        return found

    def _delivered(self) -> int:
        with self._journal.reading() as session:
            query = select(func.count()).where(DeliveryRow.epoch == self.successor.epoch)
            return int(session.scalar(query) or 0)

    # --- sending

    def _send(self, url: str, rows: Sequence[ShareRow]) -> None:
        deposits = [self._sealed(row) for row in rows]
        body = {"deposits": [_document(each) for each in deposits]}
        outcomes = post(url, "/deposits", body, timeout=TIMEOUT_SECONDS).get("outcomes")
        if not isinstance(outcomes, list) or len(outcomes) != len(rows):
            raise PeerUnreachable(
                message="The successor did not answer for every share.",
                remedy="Check that its URL is that of a custodian, then run this again.",
            )
        said = [self._declined(*each) for each in zip(deposits, outcomes, strict=True)]
        self._note([each for each, why in zip(deposits, said, strict=True) if why is None])
        for refusal in filter(None, said):
            raise refusal

    def _sealed(self, row: ShareRow) -> Deposit:
        """The share in an envelope to the successor's key, under the record's unchanged commitment."""
        old = read_header(parse(row.header.encode(), limit=JSON_LIMIT))
        epoch = self.successor.epoch
        header = replace(old, epoch=epoch)
        share = self._vault.unlock(row)
        sealed = seal_share(share, self.successor.key, header.context, header.commitment, epoch)
        return Deposit(header, sealed.index, sealed.envelope, row.holder)

    def _declined(self, deposit: Deposit, outcome: Any) -> Refusal | None:
        """None if the outcome carries the successor's own signed receipt, else why not."""
        said = outcome if isinstance(outcome, dict) else {}
        if "signature" not in said:
            why = declined(said)
            return Refusal(
                code=why.code,
                message=f"The successor refused a share: {why.message}",
                remedy="Let both nodes catch up, then run this again; it goes on where it was.",
            )
        try:
            signature = hex_field(said["signature"], "signature", SIGNATURE_BYTES)
            domain = self._chain.domain("DatasetRegistry")
            require_signed(receipt_of(deposit), domain, signature, self.successor.signer)
        except Refusal as refusal:
            return refusal
        return None

    def _note(self, taken: Sequence[Deposit]) -> None:
        """What the successor acknowledged, with its entry: a share never leaves without one."""
        if not taken:
            return
        commitments = [each.header.commitment for each in taken]
        body = {
            "epoch": int(self.successor.epoch),
            "successor": self.successor.signer,
            "commitments": [to_hex(each) for each in commitments],
        }
        with self._journal.writing() as session:
            session.add_all(
                DeliveryRow(epoch=self.successor.epoch, commitment=c) for c in commitments
            )
            self._journal.append(session, "shares-rewrapped", body)


def _document(deposit: Deposit) -> dict[str, Any]:
    return {
        "record": deposit.header.to_json(),
        "share": {"index": deposit.index, "envelope": to_base64(deposit.envelope)},
        "holder": deposit.holder,
    }


# --- to whom


def require_successor(
    chain: Chain, place: int, own: str, epoch: int, signer: Address, key: bytes
) -> Successor:
    """Whoever the chain seats at `place` in the current epoch, if it is who its host says it is.

    Args:
        own: the address of the custodian that hands over.
        signer, key: the successor's identity, as it reached this custodian by another way. The chain
            alone would let whoever opens epochs collect all shares.

    Raises:
        Refusal: `wrong_epoch`, `not_yet_final`, `successor_mismatch`, `still_seated`,
            `custodian_moved`, `committee_changed`.
    """
    committee = _final_committee(chain, epoch)
    if chain.signer_of(epoch, place) == own:
        raise _refused("still_seated", f"This custodian keeps place {place} in epoch {epoch}.")
    _require_same_shape(chain.committee(last_seat(chain, place, own, epoch)), committee)
    seat = committee.members[place]
    if (seat.signer, seat.keys[X25519]) != (signer, key):
        raise _refused(
            "successor_mismatch",
            f"The chain seats {seat.signer} at place {place} of epoch {epoch}, and its identity is "
            "not the one given.",
        )
    for earlier in range(1, epoch):
        _require_one_place(chain.committee(earlier), place, signer)
    return Successor(committee.epoch, signer, key)


def last_seat(chain: Chain, place: int, signer: str, before: int) -> int:
    """The newest epoch before `before` that seats this custodian at its place.

    Raises:
        Refusal: `wrong_epoch`, if none does.
    """
    for epoch in range(before - 1, 0, -1):
        if chain.signer_of(epoch, place) == signer:
            return epoch
    raise _refused("wrong_epoch", f"This custodian never held place {place} of the committee.")


def _final_committee(chain: Chain, epoch: int) -> CommitteeView:
    """Only the newest epoch, and only once nothing can undo it."""
    current = chain.current_epoch()
    if epoch != current:
        raise _refused("wrong_epoch", f"Epoch {epoch} is not the current one, {current}.")
    try:
        return chain.committee(epoch, block=chain.finalized())
    except ContractRefusal:
        raise _refused("not_yet_final", f"Epoch {epoch} is not in a final block yet.") from None


def _require_same_shape(old: CommitteeView, new: CommitteeView) -> None:
    """Shares are cut for one n and k."""
    if (old.quorum, len(old.members)) != (new.quorum, len(new.members)):
        raise _refused(
            "committee_changed",
            f"Epoch {old.epoch} is {old.quorum} of {len(old.members)}, "
            f"epoch {new.epoch} {new.quorum} of {len(new.members)}.",
        )


def _require_one_place(earlier: CommitteeView, place: int, signer: str) -> None:
    """Two places in one hand are two shares, and so one custodian fewer to agree."""
    if any(m.signer == signer and m.place != place for m in earlier.members):
        raise _refused("custodian_moved", f"{signer} held another place in epoch {earlier.epoch}.")


REMEDIES: Final = {
    "wrong_epoch": "Give the current epoch, and the configuration of the place that changes hands.",
    "not_yet_final": "Wait until the chain has finalised it, then run this again.",
    "still_seated": "Nothing has to be handed over here.",
    "successor_mismatch": "Ask its host for what `usufruct custodian init` printed; if the chain "
    "differs from that, hand nothing over and ask the committee's administrator.",
    "committee_changed": "Have the committee opened with the same n and k, or the records sealed and "
    "attested anew.",
    "custodian_moved": "Have the committee opened with everybody who stays at the place held before.",
}


def _refused(code: str, message: str) -> Refusal:
    return Refusal(code=code, message=message, remedy=REMEDIES[code], field="epoch")
