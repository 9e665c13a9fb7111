"""What a gate is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from marketplace.wire.configuration import read_configuration
from marketplace.wire.settings import Endpoint, ServerSettings

REMEDY = "Correct the file and start again."

MINIMUM_COHORT = 20
"""The gate's own floor, whatever the market's policy says (design, section 3)."""


class GateConfig(ServerSettings):
    """Paths are relative to the file's folder. Times in seconds."""

    custodians: tuple[Endpoint, ...]
    """place and URL of every custodian"""
    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """where it listens; 0 takes any free one"""
    node_timeout: Annotated[float, Field(gt=0)] = 20.0
    """seconds that it waits for its node"""
    minimum_cohort: Annotated[int, Field(ge=2)] = MINIMUM_COHORT
    """its own floor, whatever the market's is"""
    turn_timeout: Annotated[float, Field(gt=0)] = 120.0
    """seconds that it waits for one custodian's turn"""
    turn_grace: Annotated[float, Field(ge=0)] = 2.0
    """seconds for the other custodians, once a quorum has answered"""
    max_pages: Annotated[int, Field(gt=0)] | None = None
    """most pages of its SQLite database, of 4,096 bytes; a write beyond them is refused (`storage_full`)"""


def load_config(path: Path) -> GateConfig:
    """Reads a gate's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    return read_configuration(path, GateConfig, "gate", REMEDY)
