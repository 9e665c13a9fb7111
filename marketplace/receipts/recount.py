"""Recomputes an answer of the homomorphic lane from a bundle: its records, added up again, and its noise.

Which records these are and what their commitments are, whose noise counts and what it was committed to, and
what was asked: all that is the chain's word. The bundle only shows what stands behind those hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np

from marketplace.chain.adapter import Chain
from marketplace.errors import BadParameter
from marketplace.questions import Asked
from marketplace.receipts.bundle import (
    MOST_LINE,
    Header,
    Lines,
    Member,
    Shown,
    read_header,
    read_member,
    unfit,
)
from marketplace.receipts.format import Receipt, ReceiptInvalid, invalid
from marketplace.receipts.proofs import PROOFS, Bound, Proofs
from marketplace.receipts.tally_checks import tally_of
from marketplace.receipts.tally_steps import DICTIONARY, question, records_of
from marketplace.vocabulary import DatasetId
from marketplace.wire.feldman import POINT_BYTES
from marketplace.wire.tally import SealedTally
from marketplace.wire.tallying import Question, Reveal, noised
from ml.homomorphic.curve import NotAPoint, Point, Points
from ml.homomorphic.elgamal import COLUMN_BYTES
from ml.homomorphic.noise import Contribution, Contributor, verify_contribution
from ml.homomorphic.threshold import Sum, sums_to_bytes
from ml.homomorphic.validity import ProofInvalid

STEPS: Final = ("bundle", "question", "reveals", "members", "sums")
"""In order: the file's head, what was asked, the noise, the records, and what they add up to. `PROOFS` is
done beside the records, if the bundle shows them whole.
"""
BATCH: Final = 256
"""Records whose columns are added at once: 256 records of 64 columns are 1.1 MB."""

Form = Mapping[int, int]
"""Column -> coefficient."""


@dataclass(frozen=True)
class Recounted:
    """What a bundle led to: the names of the steps that were done, and what was asked."""

    steps: tuple[str, ...]
    asked: Asked


def recount(receipt: Receipt, chain: Chain, source: BinaryIO) -> Recounted:
    """Adds up a bundle's records again, and verifies the proofs of those that it shows whole. For a receipt
    whose other steps hold.

    Memory does not grow with the cohort but for its commitments, which the chain gives.

    Raises:
        ReceiptInvalid: `facts["step"]` is one of `STEPS` or `PROOFS`, `field` names the line of the bundle,
            and what is wrong.
        StateUnavailable, PartialLogs, ForgedLogs, Reorganised, NodeUnreachable, NodeFault.
    """
    tally, lines = tally_of(receipt), Lines(source)
    header = read_header(lines)
    if header.request != receipt.request:
        raise unfit("bundle", 1, "request", "is not the receipt's")
    asked = _asked(receipt, chain, header)
    key = tally.joint_key[:POINT_BYTES]
    noise = verified_noise(header, asked.question, dict(tally.commitments), tally.places, key)
    encoding = header.dictionary.encoding
    columns = 0 if encoding is None else len(encoding.columns)
    wanted = Wanted(asked.forms, columns, key, header.dictionary.hash())
    records = [each for each in records_of(receipt, chain) if each.usable]
    bound = Bound(chain, DatasetId(receipt.terms.dataset), header.dictionary)
    proofs = Proofs(bound, records, key)
    sums = added(lines, [each.commitment for each in records], wanted, proofs)
    if sums_to_bytes(noised(sums, noise)) != tally.noised:
        raise invalid(
            "sums", "tally.noised", "is not what the bundle's records and noise add up to"
        )
    return Recounted((*STEPS, PROOFS) if proofs.complete else STEPS, asked)


def _asked(receipt: Receipt, chain: Chain, header: Header) -> Asked:
    try:
        return question(receipt, chain, header.dictionary)
    except ReceiptInvalid as fault:
        if fault.field != DICTIONARY:
            raise
        raise unfit("question", 1, DICTIONARY, "is not the one that the dataset has") from None


# --- noise


def verified_noise(
    header: Header,
    asked: Question,
    commitments: Mapping[int, bytes],
    places: Sequence[int],
    key: bytes,
) -> list[Contribution]:
    """What the places that count contributed, each as it was committed to, proven to be within its bound.

    Raises:
        ReceiptInvalid (step reveals), naming which.
    """
    if [place for place, _ in header.reveals] != list(places):
        raise unfit("reveals", 1, "reveals", "are not of the places whose noise counts, in order")
    for position, (place, reveal) in enumerate(header.reveals):
        problem = _misfit(reveal, asked, asked.session.contributor(place), commitments[place])
        if problem is None and reveal.size != len(places):
            problem = "is of a set of another size"
        if problem is not None:
            raise unfit("reveals", 1, f"reveals[{position}]", problem)
    for position, (place, reveal) in enumerate(header.reveals):
        by, public = asked.session.contributor(place), Point.from_bytes(key)
        try:
            verify_contribution(reveal.contribution, asked.shares, len(places), public, by)
        except ProofInvalid as fault:
            why = f"does not prove its range: {fault}"
            raise unfit("reveals", 1, f"reveals[{position}]", why) from None
    return [reveal.contribution for _, reveal in header.reveals]


def _misfit(reveal: Reveal, asked: Question, by: Contributor, committed: bytes) -> str | None:
    """Why this is not what its maker put on chain; None if it is. Its proof is another matter."""
    columns = COLUMN_BYTES * asked.shares.sums
    if (len(reveal.digests), len(reveal.contribution.columns)) != (len(asked.sizes), columns):
        return "is of another committee, or of another number of sums"
    try:
        found = reveal.commitment(by, asked.shares.quorum)
    except BadParameter:
        return "is not among the digests beside it"
    return None if found == committed else "is not what was committed to on chain"


# --- records


@dataclass(frozen=True)
class Wanted:
    """What a question adds up: forms over columns, of so many, under the joint key (33 bytes)."""

    forms: Sequence[Form]
    columns: int
    key: bytes
    dictionary_hash: bytes

    @property
    def used(self) -> list[int]:
        """The columns of any form, ascending."""
        return sorted({column for form in self.forms for column in form})


def added(
    lines: Lines, commitments: Iterable[bytes], wanted: Wanted, proofs: Proofs | None = None
) -> list[Sum]:
    """For each form, the weighed sum over the records with these commitments, of which each line has one.

    Args:
        proofs: takes in every record, too.

    Raises:
        ReceiptInvalid (step members, or proofs), naming the line.
    """
    sums = _Sums(wanted)
    for commitment in commitments:
        raw = lines.next("members", MOST_LINE)
        if raw is None:
            raise unfit("members", lines.number, "", "is missing: the bundle lacks a record")
        member = read_member(raw, lines.number)
        if member.commitment != commitment:
            raise unfit("members", lines.number, "commitment", "is not the next record's on chain")
        columns = _columns_of(member, lines.number, wanted, sums.used)
        if columns:
            sums.add(lines.number, columns)
        if proofs is not None:
            proofs.take(lines.number, member.tally)
    if lines.next("members", MOST_LINE) is not None:
        raise unfit("members", lines.number, "", "is of a record more than counted")
    if proofs is not None:
        proofs.finish()
    return sums.weighed()


def _columns_of(member: Member, line: int, wanted: Wanted, used: Sequence[int]) -> bytes:
    """What a record adds: nothing where it shows that it has no part under the joint key."""
    tally = member.tally
    if isinstance(tally, Shown | SealedTally):
        if tally.public_key != wanted.key:
            raise unfit("members", line, "tally.public_key", "is not the joint key")
        if isinstance(tally, Shown) and tally.number != wanted.columns:
            raise unfit("members", line, "tally.columns_number", "is not the encoding's")
        if isinstance(tally, SealedTally) and len(tally.columns) != COLUMN_BYTES * wanted.columns:
            raise unfit("members", line, "tally.columns", "are not as many as the encoding's")
    elif tally is not None and tally.public_key == wanted.key:
        raise unfit("members", line, "tally", "is under the joint key and shows no columns")
    try:
        root = member.root(wanted.dictionary_hash, used)
    except ValueError as fault:
        raise unfit("members", line, "tally", str(fault)) from None
    if root != member.commitment:
        raise unfit("members", line, "", "does not lead to the record's commitment")
    if isinstance(tally, SealedTally):
        starts = (COLUMN_BYTES * column for column in used)
        return b"".join(tally.columns[at : at + COLUMN_BYTES] for at in starts)
    return tally.columns if isinstance(tally, Shown) else b""


class _Sums:
    """Of each column that is used, what was added so far; some records' columns wait to be added at once."""

    def __init__(self, wanted: Wanted) -> None:
        self.used = wanted.used
        self._forms = wanted.forms
        self._sums = [Sum.zero() for _ in self.used]
        self._waiting: list[tuple[int, bytes]] = []

    def add(self, line: int, columns: bytes) -> None:
        """66 bytes for each of `used`."""
        self._waiting.append((line, columns))
        if len(self._waiting) == BATCH:
            self._take_in()

    def weighed(self) -> list[Sum]:
        """One of each form."""
        self._take_in()
        found = dict(zip(self.used, self._sums, strict=True))
        return [
            sum((found[column] * factor for column, factor in form.items()), Sum.zero())
            for form in self._forms
        ]

    def _take_in(self) -> None:
        keys = np.arange(0, 2 * len(self._waiting), 2, dtype=np.int64)
        for position in range(len(self.used)):
            points = self._points(position)
            self._sums[position] += Sum(points.sum(keys), points.sum(keys + 1))
        self._waiting.clear()

    def _points(self, position: int) -> Points:
        """(A, B) of one column, of every record that waits."""
        at = COLUMN_BYTES * position
        raw = b"".join(columns[at : at + COLUMN_BYTES] for _, columns in self._waiting)
        try:
            return Points.parse(raw)
        except NotAPoint as fault:
            line, _ = self._waiting[fault.position // 2]
            raise unfit("members", line, "tally.columns", "holds what is no point") from None
