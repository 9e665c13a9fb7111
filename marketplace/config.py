"""What an operator is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from marketplace.wire.configuration import read_configuration
from marketplace.wire.settings import Endpoint, ServerSettings, Strict

REMEDY = "Correct the file; `usufruct up` writes a working one."

MAX_UPLOAD_BYTES = 8 * 1024 * 1024
"""Largest request body: about 1,000 sealed records of ten variables."""


MAX_FEE_GWEI = 500.0
"""Ten times what an ordinary busy hour of the main net costs: it stops runaway fees, not ordinary work."""
WEI_IN_GWEI = 10**9


class GateEndpoint(Strict):
    """Where the gate with this registered address answers."""

    address: str
    url: str


class OperatorConfig(ServerSettings):
    """Paths are relative to the file's folder. Times in seconds.

    `max_fee_gwei` is the most that this operator's account pays for a gas (maxFeePerGas, or the gas price
    of chains before EIP-1559). Above it no step of a request is sent: it waits, and says so
    (`fee_above_ceiling`, or `fee_ceiling_holds` where it was sent already and its fee cannot be raised
    further), until fees fall. A request may then miss its deadlines, so set it to what an answer is worth,
    not to an ordinary day's fee. What ends a consent or pays money out is relayed at any fee, and while it
    waits so is all that this process has before it in the account's line.
    """

    port: int = 8000
    """where it listens"""
    key_file: Path
    """the account that posts the bond and pays for transactions"""
    database_url: str | None = None
    """SQLAlchemy URL, such as `postgresql+psycopg://USER@HOST/NAME`; unless given, SQLite in `data`"""
    records_url: str | None = None
    """fsspec URL of the folder of ciphertexts; unless given, `records` in `data`"""
    custodians: Annotated[tuple[Endpoint, ...], Field(min_length=1)]
    """place and URL of every custodian"""
    gates: tuple[GateEndpoint, ...]
    """address and URL of every gate"""
    poll_interval: Annotated[float, Field(gt=0)] = 0.5
    """seconds between two looks for work"""
    database_max_pages: int | None = None
    """most pages of its SQLite database, of 4,096 bytes; a write beyond them is refused (`storage_full`)"""
    fee: Annotated[int, Field(ge=0)] = 5_000_000
    """token units that a request pays it"""
    max_fee_gwei: Annotated[float, Field(ge=1 / WEI_IN_GWEI, allow_inf_nan=False)] = MAX_FEE_GWEI
    """most that it pays for a gas"""

    @field_validator("custodians")
    @classmethod
    def _one_at_each_place(cls, given: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
        """By place: who sits where decides whose share each is sent."""
        seated = tuple(sorted(given, key=lambda each: each.place))
        if [each.place for each in seated] != list(range(len(seated))):
            raise ValueError(f"places must be 0 to {len(seated) - 1}, each of them once")
        return seated

    @property
    def max_fee(self) -> int:
        """The ceiling in wei a gas."""
        return round(self.max_fee_gwei * WEI_IN_GWEI)

    @property
    def database(self) -> str:
        """The SQLAlchemy URL."""
        return self.database_url or f"sqlite:///{self.data / 'operator.sqlite'}"

    @property
    def records(self) -> str:
        """The fsspec URL of the folder of ciphertexts."""
        return self.records_url or (self.data / "records").absolute().as_uri()


def load_config(path: Path) -> OperatorConfig:
    """Reads an operator's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    return read_configuration(path, OperatorConfig, "operator", REMEDY)
