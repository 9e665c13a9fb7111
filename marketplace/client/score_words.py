"""Why somebody has no score, or gets none, in words; and why a model scores nobody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marketplace.client.documents import Dataset
from marketplace.client.http import objects, reading
from marketplace.client.messages import account_of
from marketplace.client.scores import OwnScores
from marketplace.wire.data_use import PERSONAL_SCORE
from marketplace.wire.terms import index_of
from ml.ckks.models import model_of

NEVER: Final = (
    "You have handed in no record to be scored here: `usufruct score-record` hands one in."
)
GONE: Final = (
    "This operator has no record of yours to be scored, though one was made in this folder: it destroys "
    "record and scores once your consent ends or your record is erased. While you take part, `usufruct "
    "score-record` hands one in anew."
)
UNASKED: Final = (
    "Your record was handed in. No request that asks for scores has counted you since, so there is no score "
    "yet."
)
NOT_READY: Final = "A score of yours is not ready; above stands which, and why."
FORBIDS: Final = (
    "Your consent is to class {index}, which lets out no personal scores: while it is, no model runs on this "
    "record. For scores, consent to a class that allows them (`usufruct datasets` says which)."
)


def why_none(
    record: str | None, listed: Sequence[Mapping[str, Any]], handed_in_from_here: bool
) -> str:
    """One sentence or two for somebody without a score.

    Args:
        record: what the operator has of theirs to be scored. listed: scores that it knows of, none of them
            ready. handed_in_from_here: whether this folder ever made a record for it.
    """
    if listed:
        return NOT_READY
    if record is not None:
        return UNASKED
    return GONE if handed_in_from_here else NEVER


def forbidding_class(own: OwnScores) -> int | None:
    """The index of the class that one's consent is to, where it lets out no personal scores; None where it
    does, or without a consent.

    By the chain where `own` is proved, else by the operator's word. Raises Refusal (`malformed_answer`);
    NodeUnreachable, ...
    """
    index, kinds = _by_chain(own) if own.proved else _by_operator(own)
    return index if index and not kinds & PERSONAL_SCORE else None


def _by_chain(own: OwnScores) -> tuple[int, int]:
    chain = own.market.chain
    class_ = chain.consent_of(own.dataset, account_of(own.key)).class_
    return (index_of(class_), chain.class_terms(class_).release_kinds) if any(class_) else (0, 0)


def _by_operator(own: OwnScores) -> tuple[int, int]:
    """Class index, 0 without a consent, and its `releaseKinds`."""
    consent = own.market.consent(own.dataset, account_of(own.key))
    with reading("class_index"):
        index = int(consent["class_index"])
    if index == 0:
        return 0, 0
    classes = objects(own.market.dataset_document(own.dataset), "classes")
    with reading("class"):
        return index, int(dict(enumerate(classes, 1))[index]["terms"]["releaseKinds"])


# ---- Models that nobody can be asked about ----


def variables_of_model(document: Any) -> list[str]:
    """What a model reads, in its order: `age`, or `sex=1`. Raises BadDocument for what is no model."""
    return [each.name for each in model_of(document).inputs]


def unencoded_words(reads: Sequence[str], datasets: Sequence[Dataset]) -> str | None:
    """That no dataset can be asked for a model's scores, and for want of what; None where one can.

    Args:
        reads: the model's variables, `age` or `sex=1`.
    """
    wanted = dict.fromkeys(each.partition("=")[0] for each in reads)
    lacking = [
        [each for each in wanted if each not in _encoded(dataset)] for dataset in datasets
    ] or [list(wanted)]
    fewest = min(lacking, key=len)
    if not fewest:
        return None
    return (
        "Published, but no dataset of this operator encodes all that the model reads, so nobody can ask for "
        f"its scores here. The one that has most of it lacks: {', '.join(fewest)}."
    )


def _encoded(dataset: Dataset) -> set[str]:
    """The variables that a dataset's encoding has; none where it has no encoding."""
    if dataset.dictionary is None or dataset.dictionary.encoding is None:
        return set()
    return {each.name for each in dataset.dictionary.encoding.variables}
