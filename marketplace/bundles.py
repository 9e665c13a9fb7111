"""Bundles: what a receipt of the homomorphic lane is verified with, handed to the request's own researcher.

A bundle shows encrypted columns of everybody who counted. They are ciphertext, and whoever collects it waits
for the day on which it can be read; so its researcher is given it, to hand on, and nobody else. It is written
anew each time, from what is kept: what a patient had erased since is not kept, and not shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from marketplace.analyses.catalogue import analysis_in
from marketplace.analyses.variables import variables_of
from marketplace.chain.adapter import Chain
from marketplace.dictionaries import Dictionaries
from marketplace.errors import Refusal
from marketplace.receipts.bundling import Kept, write_bundle
from marketplace.records import RecordStore
from marketplace.store import ERASED, Database
from marketplace.vocabulary import Address, Lane
from marketplace.wire.header import read_header
from marketplace.wire.http import to_hex


@dataclass(frozen=True)
class Bundles:
    """One operator's bundles."""

    chain: Chain
    database: Database
    dictionaries: Dictionaries
    records: RecordStore

    def write(self, request: str, asker: Address, out: BinaryIO, *, whole: bool = False) -> int:
        """Writes the bundle of a settled request; the number of records that it shows, `whole` with their
        proofs.

        Raises:
            Refusal: unknown_request; not_the_researcher; no_bundle, in the vault lane; not_settled.
            EvidenceMissing: a record that counted was erased since.
        """
        row = self.database.request(request)
        if row.researcher != asker:
            raise _refused("not_the_researcher", "This request is another researcher's.")
        if row.terms["lane"] != Lane.HOMOMORPHIC:
            raise _refused("no_bundle", "Only requests of the homomorphic lane have a bundle.")
        kept = self.database.computed(request)
        if self.database.receipt(request) is None or kept is None or not kept.evidence:
            raise _refused("not_settled", "The request has no receipt here, and so no bundle.")
        identity = bytes.fromhex(request[2:])
        dictionary = self.dictionaries.of(self.chain.request(identity).dataset)
        analysis = analysis_in(Lane.HOMOMORPHIC, row.analysis)
        parsed = analysis.parse(row.parameters, variables_of(dictionary))
        written = analysis.canonical(parsed)
        given = (self.chain, identity, written, kept.evidence, dictionary)
        return write_bundle(*given, self._records, out, whole)

    def _records(self, commitments: Sequence[bytes]) -> Mapping[bytes, Kept]:
        rows = self.database.records([to_hex(each) for each in commitments])
        found: dict[bytes, Kept] = {}
        for commitment in commitments:
            row = rows.get(to_hex(commitment))
            if row is not None and row.state != ERASED:
                found[commitment] = read_header(row.header), self.records.tally(commitment)
        return found


def _refused(code: str, message: str) -> Refusal:
    return Refusal(
        code=code,
        message=message,
        remedy="Ask for the bundle of a settled request of your own, in the homomorphic lane.",
        field="request",
    )
