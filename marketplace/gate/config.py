"""What a gate is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from marketplace.wire.configuration import read_configuration

REMEDY = "Correct the file and start again."

MINIMUM_COHORT = 20
"""The gate's own floor, whatever the market's policy says (design, section 3)."""


class Endpoint(BaseModel):
    """Where one custodian answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    place: Annotated[int, Field(ge=0, lt=16)]
    url: str


class GateConfig(BaseModel):
    """Paths are relative to the file's folder. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    node_url: str
    manifest: Path
    data: Path
    custodians: tuple[Endpoint, ...]
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    confirmations: Annotated[int, Field(ge=0)] = 0
    use_finalized_tag: bool = True
    max_head_age: Annotated[int, Field(gt=0)] = 120
    node_timeout: Annotated[float, Field(gt=0)] = 20.0
    minimum_cohort: Annotated[int, Field(ge=2)] = MINIMUM_COHORT
    turn_timeout: Annotated[float, Field(gt=0)] = 120.0
    turn_grace: Annotated[float, Field(ge=0)] = 2.0  # for the others, once a quorum has answered
    max_pages: Annotated[int, Field(gt=0)] | None = None


def load_config(path: Path) -> GateConfig:
    """Reads a gate's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    return read_configuration(path, GateConfig, "gate", REMEDY)
