"""The pages of an account's own roles: what leads whoever is signed in to where they work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marketplace.standing import Standing
from marketplace.wire.http import to_hex
from web import access
from web.pages.requests import dataset_name


@dataclass(frozen=True)
class Desk:
    """One page and what it is for."""

    url: str
    label: str


def desks() -> list[Desk]:
    """Of the account that is signed in; none where the chain cannot be asked, which decides nothing."""
    standing = access.standing()
    return [] if standing is None else of(standing, dataset_name)


def of(standing: Standing, name_of: Callable[[bytes], str]) -> list[Desk]:
    """Every page that is there for a role of this account, and not for everybody.

    Args:
        name_of: what a dataset is called, by its id.
    """
    found = []
    if standing.is_researcher:
        found += [Desk("/my", "Your requests"), Desk("/ask", "Ask a question")]
    if standing.is_steward:
        found.append(Desk("/steward", "The steward's desk"))
    found += [_of_dataset("steward", each, name_of) for each in standing.steward_of]
    found += [_of_dataset("clinic", each, name_of) for each in standing.issuer_of]
    if standing.is_authority:
        found.append(Desk("/authority", "The credential authority's desk"))
    if standing.is_operator:
        found.append(Desk("/operator", "The operator's page"))
    return found


def _of_dataset(place: str, dataset: bytes, name_of: Callable[[bytes], str]) -> Desk:
    return Desk(f"/{place}/{to_hex(dataset)}", f"{place.title()}'s desk: {name_of(dataset)}")
