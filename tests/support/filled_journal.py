"""A custodian's journal with many records that were taken in, put there at once."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eth_utils.crypto import keccak
from sqlalchemy import insert

from marketplace.chain.adapter import Chain
from marketplace.custodian.journal import Journal
from marketplace.custodian.models import ShareRow, TallyRow
from marketplace.custodian.tallies import Tallies, folder_of
from marketplace.wire.canonical import canonical
from ml.homomorphic.curve import times_base
from ml.homomorphic.elgamal import draw_randomness, encrypt
from ml.homomorphic.threshold import Sum

DATASET = bytes(31) + b"\x01"
PROOF, HEADER = 25_000, 1_500
"""Bytes, of a record of 64 variables."""
AT_ONCE = 500


@dataclass(frozen=True)
class Filled:
    """The records of one dataset, under a key whose secret is known; the i-th has `values[i % len]`."""

    folder: Path
    secret: int
    values: Sequence[Sequence[int]]
    commitments: tuple[bytes, ...]

    @property
    def public_key(self) -> bytes:
        return times_base(self.secret).to_bytes()

    def tallies(self) -> Tallies:
        """As the custodian's process has them after a start."""
        return Tallies(NOBODY_ASKS, Journal.open(self.folder), self.folder)

    def sums(self, tallies: Tallies, commitments: Sequence[bytes] | None = None) -> list[Sum]:
        """Of every column, over all records, or these."""
        forms = [{column: 1} for column in range(len(self.values[0]))]
        chosen = self.commitments if commitments is None else commitments
        return tallies.sums(DATASET, self.public_key, chosen, forms)

    def require_right(self, sums: Sequence[Sum], counted: Sequence[int]) -> None:
        """The sums are those of the records at these places."""
        for column, found in enumerate(sums):
            true = sum(self.values[at % len(self.values)][column] for at in counted)
            assert found.value - found.key * self.secret == times_base(true)


NOBODY_ASKS = Chain.__new__(Chain)
"""Sums are added up without a look at the chain."""


def fill(
    folder: Path,
    records: int,
    values: Sequence[Sequence[int]],
    proof: int = PROOF,
    header: int = HEADER,
) -> Filled:
    """A journal of so many records, of which the i-th has the i-th of `values`, in a circle."""
    secret = 1 + secrets.randbelow(2**250)
    key = times_base(secret)
    columns = [encrypt(row, draw_randomness(len(row)), key) for row in values]
    commitments = tuple(keccak(at.to_bytes(8, "big")) for at in range(records))
    made = Filled(folder, secret, values, commitments)
    journal = Journal.open(folder)
    for start in range(0, records, AT_ONCE):
        places = range(start, min(start + AT_ONCE, records))
        with journal.writing() as session:
            session.execute(insert(ShareRow), list(_shares(made, places, header)))
            session.execute(insert(TallyRow), list(_tallies(made, places, columns, proof)))
    journal.engine.dispose()
    return made


def _shares(made: Filled, places: range, header: int) -> Iterator[dict[str, object]]:
    named = {"public_key": "0x" + made.public_key.hex(), "filling": "0" * header}
    for at in places:
        yield {
            "commitment": made.commitments[at],
            "dataset": DATASET,
            "holder": f"0x{at:040x}",
            "version": 1,
            "epoch": 1,
            "share_index": 1,
            "header": canonical(named).decode(),
            "sealed": bytes(60),
            "signature": bytes(65),
        }


def _tallies(
    made: Filled, places: range, columns: Sequence[bytes], proof: int
) -> Iterator[dict[str, object]]:
    for at in places:
        yield {
            "commitment": made.commitments[at],
            "folder": folder_of(DATASET, made.public_key),
            "row": at,
            "public_key": made.public_key,
            "columns": columns[at % len(columns)],
            "proof": secrets.token_bytes(proof),
        }
