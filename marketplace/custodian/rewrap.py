"""Rotation: a place's shares and tallies handed to whoever holds the place in the new epoch.

A share belongs to a place, so with the same n and k it goes over member for member, HPKE-sealed to
the key that the chain lists for the new epoch. The successor takes it in as any deposit: held against
the chain and the dealer's commitments, acknowledged with a signed storage receipt. What it has
acknowledged is noted, so an interrupted rewrap goes on where it was. At the end the custodian signs
that all went over, which is what lets the successor turn. A record's tally goes with its share, as it
was attested, and the successor verifies it as any other; the dataset's dictionary where it asks for it.

No key, turn or settlement signature is involved: a custodian whose journal is behind its anchor may
hand its shares on, and that is its way back, under another identity.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import exists, func, select

from marketplace.chain.adapter import Chain
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import DeliveryRow, ShareRow
from marketplace.custodian.succession import Succession
from marketplace.custodian.successors import Successor, last_seat
from marketplace.custodian.tallies import Tallies
from marketplace.custodian.vault import Deposit, Vault, receipt_of
from marketplace.errors import Refusal
from marketplace.wire.canonical import JSON_LIMIT, parse
from marketplace.wire.custody import Handover
from marketplace.wire.header import read_header
from marketplace.wire.http import hex_field, to_base64, to_hex
from marketplace.wire.http_client import SMALL_ANSWER, PeerUnreachable, declined, post
from marketplace.wire.keyfiles import Signer
from marketplace.wire.paging import LARGEST_DEPOSITS, MOST_DEPOSITS, pages, sent_bytes
from marketplace.wire.record import seal_share
from marketplace.wire.structs import require_signed, sign

PAGE: Final = 200
"""Shares of one upload at most: the successor asks its node about each."""
TIMEOUT_SECONDS: Final = 120.0
SIGNATURE_BYTES: Final = 65
BEFORE_ALL: Final = b""


@dataclass(frozen=True)
class _Parcel:
    """A deposit for the successor, and as it is sent."""

    deposit: Deposit
    document: dict[str, Any]

    @property
    def size(self) -> int:
        return sent_bytes(self.document)


class Rewrap:
    """One custodian's shares and tallies on their way to one successor."""

    def __init__(
        self,
        chain: Chain,
        journal: Journal,
        vault: Vault,
        tallies: Tallies,
        signer: Signer,
        successor: Successor,
    ) -> None:
        self._chain = chain
        self._journal = journal
        self._vault = vault
        self._tallies = tallies
        self._signer = signer
        self.successor = successor

    def left(self) -> int:
        """How many shares the successor has not acknowledged."""
        with self._journal.reading() as session:
            query = select(func.count()).select_from(ShareRow).where(self._undelivered())
            return int(session.scalar(query) or 0)

    def deliver(self, url: str, size: int = PAGE) -> Iterator[int]:
        """Sends every share of a usable record that is not there yet, at most `size` at a time.

        Yields how many were looked at in each step.

        Raises:
            PeerUnreachable, or what the successor refuses with: run it again, it goes on from there.
        """
        last = BEFORE_ALL
        while page := self._page(last, size):
            last = page[-1].commitment
            parcels = (self._parcel(row) for row in self._usable(page))
            for upload in pages(
                parcels, lambda each: each.size, most=MOST_DEPOSITS, largest=LARGEST_DEPOSITS
            ):
                self._send(url, upload)
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

    def _send(self, url: str, upload: Sequence[_Parcel]) -> None:
        outcomes = self._outcomes(url, upload)
        lacking = [at for at, outcome in enumerate(outcomes) if _lacks_dictionary(outcome)]
        if lacking:
            self._hand_dictionaries(url, [upload[at] for at in lacking])
            again = self._outcomes(url, [upload[at] for at in lacking])
            for at, outcome in zip(lacking, again, strict=True):
                outcomes[at] = outcome
        deposits = [each.deposit for each in upload]
        said = [self._declined(*each) for each in zip(deposits, outcomes, strict=True)]
        self._note([each for each, why in zip(deposits, said, strict=True) if why is None])
        for refusal in filter(None, said):
            raise refusal

    def _outcomes(self, url: str, upload: Sequence[_Parcel]) -> list[Any]:
        body = {"deposits": [each.document for each in upload]}
        outcomes = post(url, "/deposits", body, timeout=TIMEOUT_SECONDS).get("outcomes")
        if not isinstance(outcomes, list) or len(outcomes) != len(upload):
            raise PeerUnreachable(
                message="The successor did not answer for every share.",
                remedy="Check that its URL is that of a custodian, then run this again.",
            )
        return outcomes

    def _hand_dictionaries(self, url: str, upload: Sequence[_Parcel]) -> None:
        """Those that the successor needs to verify these tallies: it keeps what a dataset on chain has."""
        for digest in {each.deposit.header.context.dictionary_hash for each in upload}:
            document = parse(self._tallies.dictionary(digest).to_bytes(), limit=JSON_LIMIT)
            body = {"dictionary": document}
            post(url, "/dictionaries", body, timeout=TIMEOUT_SECONDS, most=SMALL_ANSWER)

    def _parcel(self, row: ShareRow) -> _Parcel:
        deposit = self._sealed(row)
        return _Parcel(deposit, _document(deposit))

    def _sealed(self, row: ShareRow) -> Deposit:
        """The share in an envelope to the successor's key, under the record's unchanged commitment; and the
        record's tally as it is here."""
        old = read_header(parse(row.header.encode(), limit=JSON_LIMIT))
        epoch = self.successor.epoch
        header = replace(old, epoch=epoch)
        share = self._vault.unlock(row)
        sealed = seal_share(share, self.successor.key, header.context, header.commitment, epoch)
        tally = self._tallies.of(row.commitment)
        return Deposit(
            header=header,
            holder=row.holder,
            tally=tally,
            index=sealed.index,
            envelope=sealed.envelope,
        )

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


def _lacks_dictionary(outcome: Any) -> bool:
    return isinstance(outcome, dict) and outcome.get("code") == "dictionary_missing"


def _document(deposit: Deposit) -> dict[str, Any]:
    tally = {} if deposit.tally is None else {"tally": deposit.tally.to_json()}
    return {
        "record": deposit.header.to_json(),
        "share": {"index": deposit.index, "envelope": to_base64(deposit.envelope)},
        "holder": deposit.holder,
        **tally,
    }
