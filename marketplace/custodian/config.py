"""What a custodian is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from marketplace.analyses import CATALOGUE
from marketplace.analyses.tallies import TALLIES
from marketplace.wire.configuration import read_configuration
from marketplace.wire.settings import ServerSettings

REMEDY = "Correct the file and start again."

RELEASE_KINDS: Final[Mapping[str, int]] = {
    name: int(each.release_kind) for name, each in sorted(CATALOGUE.items())
} | {name: int(each.release_kind) for name, each in sorted(TALLIES.items())}
"""What kind of release each analysis of either lane is (a number, a table): the chain holds the kind that a
request states against what patients allow, and cannot know it."""
KNOWN_ANALYSES: Final = tuple(RELEASE_KINDS)
"""Ids of the analyses that custodians turn for."""

MINIMUM_COHORT = 20
"""The custodian's own floor, whatever the market's policy says (design, section 3)."""


def _known(name: str) -> str:
    if name not in RELEASE_KINDS:
        raise ValueError(f"is none of {', '.join(RELEASE_KINDS)}")
    return name


class CustodianConfig(ServerSettings):
    """Paths are relative to the file's folder. Times in seconds."""

    place: Annotated[int, Field(ge=0, lt=16)]
    """its seat in the committee"""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """where it listens; 0 takes any free one"""
    node_timeout: Annotated[float, Field(gt=0)] = 20.0
    """seconds that it waits for its node"""
    minimum_cohort: Annotated[int, Field(ge=2)] = MINIMUM_COHORT
    """its own floor, whatever the market's is"""
    known_analyses: tuple[Annotated[str, AfterValidator(_known)], ...] = KNOWN_ANALYSES
    """the analyses that it turns for; unless given, all of the catalogue"""
    watch_interval: Annotated[float, Field(gt=0)] = 2.0
    """seconds between two looks at the chain for erasures"""
    anchor: bool = False
    """puts its journal's head on chain from its `relay` account too, besides what each settlement carries"""
    max_pages: Annotated[int, Field(gt=0)] | None = None
    """most pages of its SQLite database, of 4,096 bytes; a write beyond them is refused (`storage_full`)"""


def load_config(path: Path) -> CustodianConfig:
    """Reads a custodian's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    return read_configuration(path, CustodianConfig, "custodian", REMEDY)
