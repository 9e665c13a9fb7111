"""Records that a bundle shows whole: each one's own proof that it lies within the encoding's bounds.

Custodians verify the same when they take a record in. Here anybody does it again, so that no quorum of
custodians can have counted a record that moves an answer beyond one patient's bounds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from marketplace.chain.adapter import Chain, Stored
from marketplace.receipts.bundle import Shown, unfit
from marketplace.vocabulary import Address, DatasetId, DictionaryHash, Lane, PatientAddress
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.record import RecordContext
from marketplace.wire.tally import SealedTally, TallyHeader, encoding_of, require_valid

PROOFS: Final = "proofs"
"""The step that this is."""
BATCH: Final = 32
"""Proofs that are verified at once: a batch takes a third of the time that they take one by one."""


@dataclass(frozen=True)
class Bound:
    """What the proofs of a dataset's records are bound to, beside patient and version."""

    chain: Chain
    dataset: DatasetId
    dictionary: Dictionary

    def context(self, stored: Stored) -> bytes:
        """Of one record, as the registry has it."""
        manifest = self.chain.manifest
        return RecordContext(
            chain_id=manifest.chain_id,
            registry=manifest.address("DatasetRegistry"),
            dataset=self.dataset,
            patient=PatientAddress(Address(stored.bound_to)),
            dictionary_hash=DictionaryHash(self.dictionary.hash()),
            record_version=stored.version,
            lane=Lane.HOMOMORPHIC,
        ).aad()


class Proofs:
    """Takes in a bundle's records in order, and verifies those that are shown whole.

    complete: whether every record so far with a part under the joint key was.
    """

    def __init__(self, bound: Bound, records: Iterable[Stored], key: bytes) -> None:
        """
        Args:
            records: those that counted, in cohort order.
            key: the joint key, 33 bytes.
        """
        self.complete = True
        self._bound = bound
        self._encoding = encoding_of(bound.dictionary)
        self._records = iter(records)
        self._key = key
        self._waiting: list[tuple[int, SealedTally, bytes]] = []

    def take(self, line: int, tally: Shown | SealedTally | TallyHeader | None) -> None:
        """The next record. Raises ReceiptInvalid (step proofs), naming a line whose proof does not hold."""
        stored = next(self._records)
        if isinstance(tally, Shown):
            self.complete = False
        if isinstance(tally, SealedTally):
            self._waiting.append((line, tally, self._bound.context(stored)))
            if len(self._waiting) == BATCH:
                self.finish()

    def finish(self) -> None:
        """Verifies what waits. Raises as `take`."""
        given = [(tally, context) for _, tally, context in self._waiting]
        problems = require_valid(given, self._encoding, self._key)
        for (line, _, _), problem in zip(self._waiting, problems, strict=True):
            if problem is not None:
                raise unfit(PROOFS, line, str(problem.field), f"is not valid: {problem.message}")
        self._waiting.clear()
