"""What a custodian is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from marketplace.wire.configuration import read_configuration

REMEDY = "Correct the file and start again."

RELEASE_KINDS: Final[Mapping[str, int]] = {
    "count.v1": 0,
    "cross_table.v1": 1,
    "histogram.v1": 1,
    "mean.v1": 0,
    "quantile.v1": 0,
    "sum.v1": 0,
    "variance.v1": 0,
}
"""What kind of release each analysis is (a number, a table): the chain holds the kind that a request states
against what patients allow, and cannot know it. A test holds both against the catalogue."""
KNOWN_ANALYSES: Final = tuple(RELEASE_KINDS)
"""Ids of the analyses that custodians turn for; a test holds them against the catalogue."""

MINIMUM_COHORT = 20
"""The custodian's own floor, whatever the market's policy says (design, section 3)."""


def _known(name: str) -> str:
    if name not in RELEASE_KINDS:
        raise ValueError(f"is none of {', '.join(RELEASE_KINDS)}")
    return name


class CustodianConfig(BaseModel):
    """Paths are relative to the file's folder. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: Annotated[int, Field(ge=0, lt=16)]
    node_url: str
    manifest: Path
    data: Path
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    confirmations: Annotated[int, Field(ge=0)] = 0
    use_finalized_tag: bool = True
    max_head_age: Annotated[int, Field(gt=0)] = 120
    node_timeout: Annotated[float, Field(gt=0)] = 20.0
    minimum_cohort: Annotated[int, Field(ge=2)] = MINIMUM_COHORT
    known_analyses: tuple[Annotated[str, AfterValidator(_known)], ...] = KNOWN_ANALYSES
    watch_interval: Annotated[float, Field(gt=0)] = 2.0
    anchor: bool = False  # send journal heads from the relay account, besides the operator
    max_pages: Annotated[int, Field(gt=0)] | None = None


def load_config(path: Path) -> CustodianConfig:
    """Reads a custodian's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    return read_configuration(path, CustodianConfig, "custodian", REMEDY)
