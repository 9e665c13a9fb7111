"""What an operator is told at start: one JSON file, every unknown key refused."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from marketplace.wire.configuration import read_configuration
from marketplace.wire.paging import LARGEST_SCORED, LARGEST_UPLOAD
from marketplace.wire.settings import Endpoint, ServerSettings, Strict

REMEDY = "Correct the file; `usufruct up` writes a working one."

MAX_UPLOAD_BYTES = LARGEST_UPLOAD
"""Largest batch of records."""
MAX_BODY_BYTES = max(MAX_UPLOAD_BYTES, LARGEST_SCORED)
"""Largest request body of any path; see `most_body`."""
SCORED_PATH = re.compile(r"/api/v1/datasets/[^/]+/score-records")
"""Where a patient hands in a record to be scored."""


MAX_FEE_GWEI = 500.0
"""Ten times what an ordinary busy hour of the main net costs: it stops runaway fees, not ordinary work."""
WEI_IN_GWEI = 10**9


class CustodianEndpoint(Endpoint):
    """Where one custodian answers this operator, and where it answers everybody."""

    public_url: str | None = None
    """where patients' browsers reach it, to revoke past this operator; unless given, `url`"""

    @property
    def for_browsers(self) -> str:
        """Its origin, without a slash at the end."""
        return (self.public_url or self.url).rstrip("/")


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
    custodians: Annotated[tuple[CustodianEndpoint, ...], Field(min_length=1)]
    """place and URL of every custodian"""
    gates: tuple[GateEndpoint, ...]
    """address and URL of every gate"""
    poll_interval: Annotated[float, Field(gt=0)] = 0.5
    """seconds between two looks for work"""
    most_scored: Annotated[int, Field(ge=0)] = 4_000
    """most patients whose records it keeps to be scored, half of them of one dataset; up to 21 MB each"""
    database_max_pages: int | None = None
    """most pages of its SQLite database, of 4,096 bytes; a write beyond them is refused (`storage_full`)"""
    fee: Annotated[int, Field(ge=0)] = 5_000_000
    """token units that a request pays it"""
    max_fee_gwei: Annotated[float, Field(ge=1 / WEI_IN_GWEI, allow_inf_nan=False)] = MAX_FEE_GWEI
    """most that it pays for a gas"""

    public_url: str | None = None
    """origin of its pages, such as `https://market.example`; unless given, `http`, `host` and `port`"""
    trusted_proxy: str | None = None
    """address of the TLS proxy whose X-Forwarded-For is believed; unless given, all behind one are one"""
    threads: Annotated[int, Field(ge=4, le=256)] = 24
    """threads that answer; each open stream of events holds one"""
    streams: Annotated[int, Field(ge=0)] = 12
    """most streams of events at once; pages without one ask again every few seconds"""
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """port on loopback for Prometheus; unless given, no metrics are served"""

    @field_validator("custodians")
    @classmethod
    def _one_at_each_place(
        cls, given: tuple[CustodianEndpoint, ...]
    ) -> tuple[CustodianEndpoint, ...]:
        """By place: who sits where decides whose share each is sent."""
        seated = tuple(sorted(given, key=lambda each: each.place))
        if [each.place for each in seated] != list(range(len(seated))):
            raise ValueError(f"places must be 0 to {len(seated) - 1}, each of them once")
        return seated

    @field_validator("public_url")
    @classmethod
    def _is_an_origin(cls, given: str | None) -> str | None:
        """Scheme, host and port, and nothing else; https, but for loopback."""
        return None if given is None else _origin(given)

    @model_validator(mode="after")
    def _leaves_threads_for_people(self) -> Self:
        """Streams and strangers may not take every thread: a revocation needs one."""
        if self.streams > self.threads // 2:
            raise ValueError("streams must leave half of the threads free")
        if self.crowd + self.uploads >= self.threads - self.streams:
            raise ValueError("streams must leave three threads free")
        return self

    @property
    def crowd(self) -> int:
        """How many are served at once what costs much and anybody may ask."""
        return max(1, self._strangers - self.uploads)

    @property
    def uploads(self) -> int:
        """How many hand in at once what is large, or dear to check: a quarter of the strangers."""
        return max(1, self._strangers // 4)

    @property
    def _strangers(self) -> int:
        """Two thirds of what streams leave."""
        return (self.threads - self.streams) * 2 // 3

    @property
    def origin(self) -> str:
        """What its pages are reached at, as browsers write an origin."""
        return self.public_url or f"http://{self.host}:{self.port}"

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

    @property
    def scores(self) -> str:
        """The fsspec URL of the folder of scores and what is scored: below that of ciphertexts, if given."""
        if self.records_url is not None:
            return self.records_url.rstrip("/") + "/scores"
        return (self.data / "scores").absolute().as_uri()


def most_body(path: str) -> int:
    """Bytes that a request's body may have, by its path: nobody sends more than that to be put aside."""
    return LARGEST_SCORED if SCORED_PATH.fullmatch(path) else MAX_UPLOAD_BYTES


def _origin(given: str) -> str:
    """As browsers write it. Raises ValueError."""
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be such as https://market.example")
    if parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("must be scheme, host and port alone")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise ValueError("must be https: over http, cookies and keys could be read on the way")
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def load_config(path: Path) -> OperatorConfig:
    """Reads an operator's configuration.

    Raises:
        Refusal: `bad_configuration`, naming the field.
    """
    return read_configuration(path, OperatorConfig, "operator", REMEDY)
