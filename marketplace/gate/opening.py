"""From turns and ciphertext to a table, in memory only. What does not open counts as null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from marketplace.chain.adapter import Stored
from marketplace.errors import Refusal, TooFewShares
from marketplace.gate.quorum import Turn
from marketplace.vocabulary import (
    Address,
    DatasetId,
    DictionaryHash,
    Lane,
    PatientAddress,
)
from marketplace.wire import dictionary as wire
from marketplace.wire import feldman
from marketplace.wire.feldman import Share
from marketplace.wire.record import RecordContext, open_box, record_commitment, record_leaf
from ml.dp.domain import Table

Row = tuple[int | None, ...]


@dataclass(frozen=True)
class Ciphertext:
    """One member's sealed record as the operator hands it over; `others` are the leaves of other lanes."""

    box: bytes
    key_commitments: tuple[bytes, ...]
    others: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Opened:
    """The cohort's rows (None where null), and the places whose shares were wrong."""

    rows: tuple[Row | None, ...] = field(repr=False)
    wrong: frozenset[int]


@dataclass(frozen=True)
class Opener:
    """Opens the records of one cohort."""

    chain_id: int
    registry: Address
    dataset: DatasetId
    dictionary: wire.Dictionary
    quorum: int

    def open_all(
        self,
        stored: Sequence[Stored],
        ciphertexts: Mapping[str, Ciphertext],
        turns: Sequence[Turn],
    ) -> Opened:
        """Every member's row, in cohort order.

        A share that contradicts the dealer's commitments, which the chain's commitment covers, can
        only be its custodian's fault: that place is named. Every other defect makes one null.
        """
        wrong: set[int] = set()
        rows = [
            self._open(
                each, ciphertexts.get(each.patient), [turn.shares[i] for turn in turns], wrong
            )
            for i, each in enumerate(stored)
        ]
        return Opened(tuple(rows), frozenset(index - 1 for index in wrong))

    def _open(
        self,
        stored: Stored,
        ciphertext: Ciphertext | None,
        shares: Sequence[Share | None],
        wrong: set[int],
    ) -> Row | None:
        if ciphertext is None or not self.is_committed(stored, ciphertext):
            return None
        if len(ciphertext.key_commitments) != self.quorum:
            return None
        context = self._context(stored)
        held = [share for share in shares if share is not None]
        try:
            combined = feldman.combine(held, ciphertext.key_commitments)
            wrong.update(combined.wrong)
            plaintext = open_box(combined.secret, context, ciphertext.box)
            return wire.decode_row(self.dictionary, plaintext)
        except TooFewShares as few:
            wrong.update(_named(few))
        except Refusal:
            pass
        return None

    def _context(self, stored: Stored) -> RecordContext:
        return RecordContext(
            chain_id=self.chain_id,
            registry=self.registry,
            dataset=self.dataset,
            patient=PatientAddress(Address(stored.bound_to)),
            dictionary_hash=DictionaryHash(self.dictionary.hash()),
            record_version=stored.version,
            lane=Lane.VAULT,
        )

    def is_committed(self, stored: Stored, ciphertext: Ciphertext) -> bool:
        """Whether this is the very ciphertext that the chain has in use for the member."""
        if not stored.usable:
            return False
        context = self._context(stored)
        leaf = record_leaf(context, ciphertext.box, ciphertext.key_commitments)
        leaves = [leaf, *ciphertext.others]
        return record_commitment(stored.version, leaves) == stored.commitment


def _named(few: TooFewShares) -> list[int]:
    wrong = few.facts.get("wrong", [])
    return [int(index) for index in wrong] if isinstance(wrong, list) else []


def table_of(dictionary: wire.Dictionary, rows: Sequence[Row | None]) -> Table:
    """(n,) int64 and bool columns for each variable; a null member is invalid in every column."""
    nothing: Row = (None,) * len(dictionary.variables)
    cells = [row if row is not None else nothing for row in rows]
    columns, valid = {}, {}
    for position, variable in enumerate(dictionary.variables):
        values = [row[position] for row in cells]
        columns[variable.name] = np.array([value or 0 for value in values], dtype=np.int64)
        valid[variable.name] = np.array([value is not None for value in values], dtype=np.bool_)
    return Table(columns, valid, len(cells))
