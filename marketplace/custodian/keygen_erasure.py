"""Erasing what key generations leave behind, once nothing needs it any more.

    what                                            until when
    polynomials and the shares dealt from them      their epoch, or a later one, has its key in a final block
    shares of keys that were never recorded         the same: of a session that came to nothing
    the share of a key that was handed on           the epoch that has it now has it in a final block, and
                                                    no request of the old epoch can be answered any more

Never before: a custodian that forgot its polynomial could not answer complaints, and a block that is not
final may vanish, and the key with it. A share of a key that nobody handed on (`generate-key --anew`) stays: a
later epoch may still take that key over. Old and new shares of a key say nothing together as long as fewer
than k of each are known, so old ones are erased: whoever breaks into k hosts over the years, fewer than k in
any one epoch, has nothing (A. Herzberg, S. Jarecki, H. Krawczyk, M. Yung, "Proactive secret sharing", CRYPTO
1995).

On chain a key counts as handed on by the word of the epoch's members alone. Whoever opens epochs could seat
itself at every place, and record whatever begins with the same key, to have the true shares erased. So this
custodian believes a key only if it signed it itself, and holds its share; or, where it left, if its host
knows every member that did (`holders`).

Erased means overwritten in the file and gone from its log (`Journal.wipe`). A process that dies between the
two finds by its journal that the second is missing, and does that first.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog
from eth_hash.auto import keccak
from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.orm import Session as Transaction

from marketplace.chain.adapter import Chain, ContractRefusal, RequestStage
from marketplace.chain.following import Followed, Following
from marketplace.custodian.holders import known_holders, strangers
from marketplace.custodian.journal import Journal, last_of
from marketplace.custodian.models import JointShareRow, KeygenRow, NoisedRow
from marketplace.custodian.successors import last_seat
from marketplace.wire.http import to_hex
from ml.homomorphic.curve import POINT_BYTES

ERASED: Final = "joint-erased"
WIPED: Final = "joint-wiped"
ANSWERABLE: Final = frozenset({RequestStage.FROZEN, RequestStage.SEALED})

log = structlog.get_logger()


@dataclass
class _Frozen:
    """Requests by the epoch that they were frozen under, as far as blocks were followed."""

    followed: Followed | None = None
    requests: dict[int, set[bytes]] = field(default_factory=dict)


class KeygenErasure:
    """One custodian's erasures.

    Args:
        generating: held while a round of a session is answered: what was erased is not written again.
    """

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        place: int,
        signer: str,
        data: Path,
        generating: threading.Lock,
    ) -> None:
        self._data = data
        self._chain = chain
        self._journal = journal
        self._place = place
        self._signer = signer
        self._generating = generating
        self._looked: tuple[int, int] | None = None  # final block and journal height
        self._frozen = _Frozen()
        self._is_wiped = False

    def run(self) -> None:
        """Erases what may be, as of the newest final block; repeating that changes nothing.

        Raises:
            NodeUnreachable, NodeFault, ForgedLogs, ...; Refusal (storage_full): what was erased stays so.
        """
        self._wipe_what_a_crash_left()
        first = self._oldest()
        if first is None:
            return
        final = self._chain.finalized()
        if self._looked != (final, self._journal.head().height):
            self._look(first, final)
            self._looked = final, self._journal.head().height

    # --- what may go

    def _look(self, first: int, final: int) -> None:
        keys = self._keys_at(final, first)
        done = max((epoch for epoch in keys if self._is_done(epoch, keys[epoch])), default=0)
        shares = [each for each in self._shares() if self._is_over(each, keys, done, final)]
        self._erase(done, shares)

    def _oldest(self) -> int | None:
        """The lowest epoch that anything secret is kept of; None where nothing is."""
        with self._journal.reading() as session:
            found = [
                session.scalar(select(func.min(JointShareRow.epoch))),
                session.scalar(select(func.min(KeygenRow.epoch)).where(_secret())),
            ]
        return min((each for each in found if each is not None), default=None)

    def _keys_at(self, final: int, first: int) -> dict[int, bytes]:
        """The joint keys in this block, by epoch, from the first one on; without epochs that have none."""
        found = {}
        for epoch in range(first, int(self._chain.current_epoch()) + 1):
            try:
                raw, _ = self._chain.joint_key(epoch, block=final)
            except ContractRefusal:
                break  # not opened in that block yet
            if raw:
                found[epoch] = raw
        return found

    def _is_done(self, epoch: int, raw: bytes) -> bool:
        """Whether this is the epoch's key, by more than the chain's word."""
        if self._chain.signer_of(epoch, self._place) != self._signer:
            return self._is_known(epoch)
        with self._journal.reading() as session:
            if session.get(JointShareRow, bytes(keccak(raw))) is not None:
                return True
        log.warning("joint_key_unknown", epoch=epoch)
        return False

    def _is_known(self, epoch: int) -> bool:
        """Whether all who signed this key are custodians that the host knows, this one not among them."""
        last = last_seat(self._chain, self._place, self._signer, epoch)
        before, after = self._chain.committee(last), self._chain.committee(epoch)
        unknown = strangers(before, after, known_holders(self._data))
        for each in unknown:
            log.warning("joint_key_of_strangers", epoch=epoch, place=each.place, signer=each.signer)
        return not unknown

    def _is_over(
        self, row: JointShareRow, keys: Mapping[int, bytes], done: int, final: int
    ) -> bool:
        recorded = keys.get(row.epoch, b"")
        if recorded != row.raw:
            return row.epoch <= done
        key = recorded[:POINT_BYTES]
        later = (
            epoch
            for epoch, raw in keys.items()
            if row.epoch < epoch <= done and raw[:POINT_BYTES] == key
        )
        handed_on = any(self._is_done(epoch, keys[epoch]) for epoch in later)
        return handed_on and not self._is_needed(row.epoch, final)

    def _is_needed(self, epoch: int, final: int) -> bool:
        """Whether a request that was frozen under the epoch may still be answered, as of a final block.

        By the chain's events and by this journal: either of them keeps the share.
        """
        with self._journal.reading() as session:
            live = (NoisedRow.epoch == epoch) & NoisedRow.ended.is_(False)
            if session.scalar(select(NoisedRow.request).where(live).limit(1)) is not None:
                return True
        self._follow()
        now = self._chain.node.header(final).timestamp
        frozen = self._frozen.requests.setdefault(epoch, set())
        frozen -= {each for each in frozen if not self._is_answerable(each, epoch, final, now)}
        return bool(frozen)

    def _is_answerable(self, request: bytes, epoch: int, final: int, now: int) -> bool:
        view = self._chain.request(request, final)
        return view.epoch == epoch and view.stage in ANSWERABLE and now <= view.settle_deadline

    def _follow(self) -> None:
        """Every request that was ever frozen; read once a process, and only where a share waits for it."""
        following = Following(self._chain, ("ResearchMarket",), ("RequestFrozen",))
        for page in following.pages(self._frozen.followed):
            if page.anew:
                self._frozen.requests.clear()
            for event in page.events:
                epoch = self._frozen.requests.setdefault(int(event.args["epoch"]), set())
                epoch.add(event.args["request"])
            self._frozen.followed = page.end

    # --- erasing

    def _shares(self) -> list[JointShareRow]:
        with self._journal.reading() as session:
            return list(session.scalars(select(JointShareRow)))

    def _erase(self, done: int, shares: list[JointShareRow]) -> None:
        over = (KeygenRow.epoch <= done) & _secret()
        with self._generating, self._journal.writing() as session:
            sessions = list(session.scalars(select(KeygenRow.session).where(over)))
            if not sessions and not shares:
                return
            session.execute(update(KeygenRow).where(over).values(polynomial=None, envelopes=None))
            for each in shares:
                mine = JointShareRow.commitments == each.commitments
                session.execute(delete(JointShareRow).where(mine))
            self._note(session, sessions, shares)
        self._wipe()
        log.info(
            "joint_secrets_erased",
            sessions=len(sessions),
            shares_of_epochs=sorted({each.epoch for each in shares}),
        )

    def _note(
        self, session: Transaction, sessions: list[bytes], shares: list[JointShareRow]
    ) -> None:
        body = {
            "sessions": [to_hex(each) for each in sessions],
            "shares": [
                {"epoch": each.epoch, "commitments": to_hex(each.commitments)} for each in shares
            ],
        }
        self._journal.append(session, ERASED, body)

    def _wipe(self) -> None:
        self._is_wiped = False  # until it is: what a reader of the file prevents is tried again
        self._journal.wipe()
        with self._journal.writing() as session:
            self._journal.append(session, WIPED, {})
        self._is_wiped = True

    def _wipe_what_a_crash_left(self) -> None:
        """Also what a reader of the file kept from being wiped."""
        if self._is_wiped:
            return
        with self._journal.reading() as session:
            erased, wiped = (last_of(session, kind) for kind in (ERASED, WIPED))
        if erased > wiped:
            self._wipe()
        self._is_wiped = True


def _secret() -> ColumnElement[bool]:
    """Rows that still hold a polynomial, or what was dealt from it."""
    return or_(KeygenRow.polynomial.is_not(None), KeygenRow.envelopes.is_not(None))
