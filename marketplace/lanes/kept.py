"""Records as the operator keeps them, for a custodian that was down when they came, or lost them since.

No share is among them: those were sealed to each custodian, and only passed through.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marketplace.chain.adapter import Chain
from marketplace.chain.moves import moves_of, way
from marketplace.records import RecordStore
from marketplace.store import ERASED, RecordRow
from marketplace.wire.http import to_hex


@dataclass(frozen=True)
class Kept:
    """One dataset's records in this operator's folder."""

    chain: Chain
    records: RecordStore
    dataset: bytes

    def found(self, commitments: Sequence[bytes]) -> Iterator[Mapping[str, Any]]:
        """Those of these records that are here, whole, as a custodian takes them without their shares.

        An erased one is not; neither is another dataset's, whoever names it.
        """
        rows = self.records.database.records([to_hex(each) for each in commitments])
        wanted = [rows[name] for each in commitments if (name := to_hex(each)) in rows]
        mine = [row for row in wanted if self._is_mine(row)]
        for row, holder in zip(mine, self._holders(mine), strict=True):
            tally = self.records.tally(bytes.fromhex(row.commitment[2:]))
            if tally is not None:
                yield {"record": row.header, "holder": holder, "tally": tally.to_json()}
            elif "tally" not in row.header:
                yield {"record": row.header, "holder": holder}

    def _is_mine(self, row: RecordRow) -> bool:
        return row.state != ERASED and row.dataset == to_hex(self.dataset)

    def _holders(self, rows: Sequence[RecordRow]) -> list[str]:
        """The patients' addresses of today: they may have moved since they handed their records in."""
        stored = self.chain.commitments_of(self.dataset, [row.patient for row in rows])
        pairs = list(zip(rows, stored, strict=True))
        if all(to_hex(now.commitment) == row.commitment for row, now in pairs):
            return [row.patient for row in rows]
        went = moves_of(self.chain, self.dataset, self.chain.manifest.deployed_block)
        return [way(went, row.patient)[-1] for row in rows]
