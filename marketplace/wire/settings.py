"""What operator, custodian and gate are all told at start. Every setting's text is in the README's table.

Attribute docstrings are the descriptions (pydantic's `use_attribute_docstrings`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """Every unknown key is refused; nothing changes after the start."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Endpoint(Strict):
    """Where one custodian answers."""

    place: Annotated[int, Field(ge=0, lt=16)]
    url: str


class ServerSettings(Strict):
    """Paths are relative to the file's folder. Times in seconds."""

    node_url: str
    """JSON-RPC URL of its own node"""
    manifest: Path
    """the deployment's manifest"""
    data: Path
    """its folder: keys, database, records"""
    host: str = "127.0.0.1"
    """where it listens; a TLS proxy goes before it"""
    confirmations: Annotated[int, Field(ge=0)] = 0
    """blocks that must follow one before it acts on it, besides what the node calls final"""
    use_finalized_tag: bool = True
    """acts only on what the node calls final; false where a chain has no finalized tag (`confirmations`)"""
    max_head_age: Annotated[int, Field(gt=0)] = 120
    """a node whose newest block is older than so many seconds is stale, and refused"""
