"""The noise of requests of the homomorphic lane, as this custodian's journal keeps it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select, update

from marketplace.custodian.journal import Journal
from marketplace.custodian.models import ContributionRow, NoisedRow
from marketplace.wire.http import to_hex
from marketplace.wire.tallying import Reveal
from ml.homomorphic.noise import Contribution

DIGEST_BYTES = 32


class Noises:
    """Rows of requests and of contributions; what was kept first stays."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def of(self, request: bytes) -> NoisedRow | None:
        """What this custodian committed to for a request; None if nothing."""
        with self._journal.reading() as session:
            return session.get(NoisedRow, request)

    def begin(self, row: NoisedRow, place: int, drawn: Sequence[Reveal]) -> None:
        """Keeps a request with this custodian's own contributions, one for each size, and its entry."""
        with self._journal.writing() as session:
            session.add(row)
            session.add_all(_row(row.request, place, each) for each in drawn)
            body = {"request": to_hex(row.request), "commitment": to_hex(row.commitment)}
            self._journal.append(session, "noise-committed", body)

    def keep(self, request: bytes, place: int, reveal: Reveal, sums_signature: bytes) -> None:
        """Keeps a verified contribution, and its maker's word that it added up the same sums."""
        with self._journal.writing() as session:
            row = session.get(ContributionRow, (request, place, reveal.size))
            if row is None:
                row = _row(request, place, reveal)
                session.add(row)
            if row.sums_signature is None:
                row.sums_signature = sums_signature

    def reveal(self, request: bytes, place: int, size: int) -> tuple[Reveal, bytes | None] | None:
        """One place's contribution to a set of this size, and its maker's signature of its sums, unless that
        is this custodian; None if it is not here.
        """
        with self._journal.reading() as session:
            row = session.get(ContributionRow, (request, place, size))
        if row is None:
            return None
        starts = range(0, len(row.digests), DIGEST_BYTES)
        digests = tuple(row.digests[at : at + DIGEST_BYTES] for at in starts)
        return Reveal(size, Contribution(row.columns, row.proof), digests), row.sums_signature

    def held(
        self, request: bytes, places: Iterable[int], size: int, own: int
    ) -> dict[int, Contribution]:
        """The contributions of these places that are here, each but `own` with its maker's word on sums."""
        found = {place: self.reveal(request, place, size) for place in places}
        return {
            place: each[0].contribution
            for place, each in found.items()
            if each is not None and (place == own or each[1] is not None)
        }

    def keep_sums(
        self, request: bytes, block: int, block_hash: bytes, root: bytes, sums: bytes
    ) -> NoisedRow:
        """The sums over the records that counted in the block with the commitments, before they change.

        Those of the same block that were kept first stay, and any that were said to others. Returns the row.
        """
        values = {
            "noise_block": block,
            "noise_block_hash": block_hash,
            "ciphertext_root": root,
            "sums": sums,
        }
        with self._journal.writing() as session:
            row = session.get_one(NoisedRow, request)
            is_new = row.sums is None or row.noise_block_hash != block_hash
            if row.sums_digest is None and is_new:
                for name, value in values.items():
                    setattr(row, name, value)
            return row

    def say_sums(self, read: NoisedRow, digest: bytes) -> bytes:
        """Notes, once, what this custodian says of the sums that it has just read; returns what it said
        first, or nothing if others are kept by now.

        From then on the sums stay as they are.
        """
        with self._journal.writing() as session:
            row = session.get_one(NoisedRow, read.request)
            if row.sums_digest is None and _kept(row) == _kept(read):
                row.sums_digest = digest
                body = {"request": to_hex(row.request), "sums": to_hex(digest)}
                self._journal.append(session, "sums-said", body)
            return row.sums_digest or b""

    def unsaid(self) -> Sequence[bytes]:
        """Live requests of which nothing was said of the sums yet."""
        waiting = NoisedRow.ended.is_(False) & NoisedRow.sums_digest.is_(None)
        with self._journal.reading() as session:
            return list(session.scalars(select(NoisedRow.request).where(waiting)))

    def live(self) -> Sequence[bytes]:
        """Requests whose noise is still kept."""
        with self._journal.reading() as session:
            return list(session.scalars(select(NoisedRow.request).where(~NoisedRow.ended)))

    def end(self, request: bytes) -> None:
        """The request has ended: nobody needs its noise, sums or partial any more."""
        with self._journal.writing() as session:
            session.execute(delete(ContributionRow).where(ContributionRow.request == request))
            mine = NoisedRow.request == request
            gone = {"sums": None, "partial": None, "ended": True}
            session.execute(update(NoisedRow).where(mine).values(gone))


def _kept(row: NoisedRow) -> tuple[bytes | None, ...]:
    return row.sums, row.ciphertext_root, row.noise_block_hash


def _row(request: bytes, place: int, reveal: Reveal) -> ContributionRow:
    return ContributionRow(
        request=request,
        place=place,
        size=reveal.size,
        columns=reveal.contribution.columns,
        proof=reveal.contribution.proof,
        digests=b"".join(reveal.digests),
    )
