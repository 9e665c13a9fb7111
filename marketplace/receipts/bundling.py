"""Writes the bundle of an answer of the homomorphic lane, from the chain and what its operator kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Final

from marketplace.chain.adapter import Chain
from marketplace.chain.counted import counted
from marketplace.chain.joint_keys import joint_key_of
from marketplace.chain.reads import pages_of
from marketplace.questions import asked
from marketplace.receipts.bundle import Header, Member, Shown
from marketplace.receipts.evidence import Evidence, EvidenceMissing
from marketplace.receipts.tally_steps import committed_in, fixed_in
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.header import RecordHeader
from marketplace.wire.tally import SealedTally, prove_columns
from marketplace.wire.tallying import Reveal
from ml.homomorphic.elgamal import COLUMN_BYTES

PAGE: Final = 256
"""Records that are asked for, and held, at once."""

Kept = tuple[RecordHeader, SealedTally | None]
"""A record's header and its part in the homomorphic lane, where it has one that is kept."""
Records = Callable[[Sequence[bytes]], Mapping[bytes, Kept]]
"""By commitment, what is kept of these records; of one that was erased since, nothing."""


def write_bundle(
    chain: Chain,
    request: bytes,
    canonical_parameters: bytes,
    evidence: Mapping[str, Any],
    dictionary: Dictionary,
    records: Records,
    out: BinaryIO,
    whole: bool = False,
) -> int:
    """Writes the bundle of a request whose noise is fixed; the number of records that it shows.

    Args:
        canonical_parameters: what `terms.parameters` is the keccak256 of: they say which columns are used.
        evidence: as for `build_receipt`.
        dictionary: the dataset's.
        whole: every record's whole part in this lane, with the proof of its validity, instead of the columns
            that the question uses.

    Raises:
        EvidenceMissing: a record that counted is not kept any more, or noise that counted was not given.
            What was written by then is no bundle.
        As `questions.asked` and `counted`; NodeUnreachable, NodeFault.
    """
    view, kept = chain.request(request), Evidence.from_json(evidence)
    question = asked(chain, dictionary, view, request, canonical_parameters)
    cohort = chain.sealed_cohort(request)
    fixed, _ = fixed_in(request, cohort.seal_block, chain)
    committed, _ = committed_in(request, cohort.seal_block, chain)
    with chain.pinned(committed.block):
        used = [each for each in counted(chain, cohort, committed.block) if each.usable]
    out.write(Header(request, dictionary, _reveals(kept, fixed.places)).to_bytes())
    key = joint_key_of(chain, view.epoch)
    columns = sorted({column for form in question.forms for column in form})
    missing = 0
    for page in pages_of([each.commitment for each in used], PAGE):
        found = records(page)
        members = [_member(each, found.get(each), key, None if whole else columns) for each in page]
        missing += members.count(None)
        if not missing:
            out.writelines(member.to_bytes() for member in members if member is not None)
    if missing:
        raise _erased(missing)
    return len(used)


def _member(
    commitment: bytes, kept: Kept | None, key: bytes | None, columns: Sequence[int] | None
) -> Member | None:
    """With these columns, or whole; None where what is kept is not enough to show the record."""
    if kept is None or kept[0].commitment != commitment:
        return None
    header, tally = kept
    version, leaf = header.context.record_version, header.leaves()[0]
    if header.tally is None or header.tally.public_key != key:
        return Member(commitment, version, leaf, header.tally)
    if tally is None or tally.header != header.tally:
        return None
    if columns is None:
        return Member(commitment, version, leaf, tally)
    shown = b"".join(tally.columns[COLUMN_BYTES * at : COLUMN_BYTES * (at + 1)] for at in columns)
    path = tuple(prove_columns(tally.columns, columns))
    number = len(tally.columns) // COLUMN_BYTES
    part = Shown(tally.public_key, number, header.tally.proof_hash, shown, path)
    return Member(commitment, version, leaf, part)


def _reveals(kept: Evidence, places: Sequence[int]) -> tuple[tuple[int, Reveal], ...]:
    lacking = [place for place in places if place not in kept.reveals]
    if lacking:
        raise EvidenceMissing(
            message=f"The noise of the custodians at places {', '.join(map(str, lacking))} is missing.",
            remedy="Ask any custodian for it while the request is open; it cannot be made again.",
            field="evidence.reveals",
            facts={"places": lacking},
        )
    return tuple((place, kept.reveals[place]) for place in places)


def _erased(missing: int) -> EvidenceMissing:
    return EvidenceMissing(
        message=f"{missing} of the records that counted are not kept any more, so no bundle can show them.",
        remedy="Write bundles when requests settle, before patients erase their records. The receipt holds "
        "without one; only the sums cannot be recomputed from it.",
        field="records",
        facts={"missing": missing},
    )
