"""What a consent class lets out: held against a question before anybody pays, as the market does.

Terms name a kind of release that follows from the analysis, so nobody chooses it: what can be changed are the
classes that are asked, or the analysis.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from marketplace.chain.adapter import Chain
from marketplace.errors import Refusal
from marketplace.wire.data_use import RELEASES
from marketplace.wire.terms import class_id

MOST_LOOKED_AT: Final = 64
"""Classes of a dataset that are looked at for one that allows it; as many as a request can name."""


class ReleaseNotAllowed(Refusal):
    """A class whose patients do not allow what the analysis lets out."""

    CODE = "release_not_allowed"


def require_release_allowed(
    chain: Chain, dataset: bytes, indices: Iterable[int], kind: int, analysis: str
) -> None:
    """Every class that is asked lets this kind of thing out.

    Args:
        kind: of release: a bit of `releaseKinds`.
        analysis: its id, or another name for it, for the words.

    Raises:
        ReleaseNotAllowed: naming those that do not, and those of the dataset that do.
        Refusal: `unknown_class`.
    """
    asked = list(indices)
    allows = {index: _kinds(chain, dataset, index) for index in asked}
    if not _against(kind, asked, allows):
        return
    known = len(chain.class_ids(dataset))
    others = {
        index: _kinds(chain, dataset, index)
        for index in range(1, min(known, MOST_LOOKED_AT) + 1)
        if index not in allows
    }
    raise not_allowed(analysis, kind, _against(kind, asked, allows), allows | others, known)


def not_allowed(
    analysis: str, kind: int, against: list[int], allows: Mapping[int, int], known: int
) -> ReleaseNotAllowed:
    """Why the classes `against` cannot be asked for it.

    Args:
        allows: `releaseKinds` of classes, by index: of those that are asked, and of others to ask instead.
        known: how many classes the dataset has; more, perhaps, than were looked at.
    """
    one = len(against) == 1
    classes = f"Class {against[0]} does" if one else f"Classes {_listed(against)} do"
    return ReleaseNotAllowed(
        message=f"{classes} not allow {RELEASES[kind]}, which is what {analysis} lets out "
        f"(releaseKinds {_listed([allows[each] for each in against])}).",
        remedy=_remedy(sorted(each for each in allows if allows[each] >> kind & 1), known),
        field="class",
        facts={"classes": against, "release_kind": kind},
    )


def _remedy(others: list[int], known: int) -> str:
    if others:
        return f"Ask only classes of this dataset that allow it; these allow it: {_listed(others)}."
    is_all = known <= MOST_LOOKED_AT
    none = "No class of this dataset" if is_all else f"None of its first {MOST_LOOKED_AT} classes"
    return (
        f"{none} allows it: ask for an analysis that lets out something else (`usufruct catalogue`), or ask "
        "another dataset (`usufruct datasets`)."
    )


def _against(kind: int, asked: Iterable[int], allows: Mapping[int, int]) -> list[int]:
    return [each for each in asked if not allows[each] >> kind & 1]


def _kinds(chain: Chain, dataset: bytes, index: int) -> int:
    return chain.class_terms(class_id(dataset, index)).release_kinds


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
