"""Records' parts in the homomorphic lane, held against dictionary and joint key before anything is kept.

Custodians verify every proof themselves, and take nobody's word for one. It is verified here, too, once its
issuer is known to be trusted: an issuer sees no proof, and a record that all custodians refuse
after it was attested has cost its patient a version and the operator gas, and nobody can ever use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from marketplace.errors import Refusal
from marketplace.vocabulary import Lane
from marketplace.wire.dictionary import Dictionary
from marketplace.wire.record import SealedRecord
from marketplace.wire.tally import SealedTally, encoding_of, require_valid

Published = Callable[[bytes], Dictionary]
"""The dictionary of a dataset as the chain names it. Raises Refusal (unknown_dataset, dictionary_missing)."""


def misfits(
    tallied: Mapping[int, SealedRecord], joint_key: bytes | None, published: Published
) -> dict[int, Refusal]:
    """Those that custodians with this joint key would not take, and why; all proofs of a dataset at once.

    Args:
        tallied: records with a tally, each by a number of the caller's.
        joint_key: 33 bytes; None where the committee has none yet.
    """
    found: dict[int, Refusal] = {}
    for dataset in {record.context.dataset for record in tallied.values()}:
        mine = {at: each for at, each in tallied.items() if each.context.dataset == dataset}
        try:
            outcomes = _outcomes(list(mine.values()), joint_key, published(dataset))
        except Refusal as refusal:
            outcomes = [refusal] * len(mine)
        found |= {at: why for at, why in zip(mine, outcomes, strict=True) if why is not None}
    return found


def _outcomes(
    records: Sequence[SealedRecord], joint_key: bytes | None, dictionary: Dictionary
) -> Sequence[Refusal | None]:
    if joint_key is None:
        raise _without_key()
    digest = dictionary.hash()
    outcomes: list[Refusal | None] = [
        None if each.context.dictionary_hash == digest else _other_dictionary() for each in records
    ]
    waiting = [at for at, why in enumerate(outcomes) if why is None]
    pairs = [_with_context(records[at]) for at in waiting]
    refusals = require_valid(pairs, encoding_of(dictionary), joint_key)
    for at, why in zip(waiting, refusals, strict=True):
        outcomes[at] = None if why is None else _in_record(why)
    return outcomes


def _with_context(record: SealedRecord) -> tuple[SealedTally, bytes]:
    if record.tally is None:
        raise TypeError("only records with a tally are verified")
    return record.tally, record.context.in_lane(Lane.HOMOMORPHIC).aad()


def _in_record(refusal: Refusal) -> Refusal:
    """Its field named as it was uploaded."""
    refusal.field = f"record.{refusal.field}"
    return refusal


def _other_dictionary() -> Refusal:
    return Refusal(
        code="wrong_dictionary",
        message="The record is sealed for another data dictionary than its dataset has.",
        remedy="Seal it again with the dictionary on chain.",
        field="record.dictionary_hash",
    )


def _without_key() -> Refusal:
    return Refusal(
        code="no_joint_key",
        message="The record has a tally, and the current committee no joint key yet.",
        remedy="Seal it again once the key is on chain (usufruct generate-key).",
        field="record.tally",
    )
