"""Options that say how a signed message travels: through the operator, a custodian, or by oneself."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from marketplace.chain.adapter import Manifest
from marketplace.cli.environment import from_environment, is_typed
from marketplace.cli.say import FILE
from marketplace.client import (
    ByOneself,
    Marketplace,
    Route,
    ThroughCustodian,
    ThroughOperator,
)
from marketplace.wire import keyfiles
from marketplace.wire.amounts import Token

R = TypeVar("R")

OPTIONS = (
    from_environment(
        "--url", default="http://127.0.0.1:8000", show_default=True, help="The operator's API."
    ),
    from_environment("--node", help="Past the operator: JSON-RPC URL of a node that you trust."),
    from_environment("--manifest", type=FILE, help="Past the operator: the deployment's manifest."),
)
PAST: Final = ("node", "manifest", "gas_key_file", "custodian")
"""Who types one of these goes past the operator. The environment then fills in, and never chooses: what is
set for other commands must not make a patient pay gas, nor stop a revocation for want of its other half."""
GAS = click.option(
    "--gas-key-file",
    type=FILE,
    help="Past the operator: the account that pays for the transaction, seen beside yours on chain. "
    "Without it, your own does.",
)
CUSTODIAN = click.option(
    "--custodian", help="Past the operator: the URL of a custodian that carries it and pays."
)


@dataclass(frozen=True)
class Way:
    """What was chosen."""

    url: str
    node: str | None
    manifest: Path | None
    gas_key_file: Path | None = None
    custodian: str | None = None
    otherwise: str = ""

    @property
    def past_operator(self) -> bool:
        """Whether the operator is asked nothing."""
        return self.node is not None

    @functools.cached_property
    def market(self) -> Marketplace:
        """Raises UsageError unless node and manifest come together."""
        given = {"--node": self.node, "--manifest": self.manifest}
        if any(given.values()) and not all(given.values()):
            raise click.UsageError("--node and --manifest are needed together")
        if not self.past_operator and (self.gas_key_file or self.custodian):
            option = "--gas-key-file" if self.custodian is None else "--custodian"
            raise click.UsageError(f"{option} needs --node and --manifest")
        if self.manifest is not None:
            return Marketplace(self.url, self.node, Manifest.load(self.manifest))
        market = Marketplace(self.url)
        market.api.otherwise = self.otherwise
        return market

    def route(self, own: bytes) -> Route:
        """The route for messages of this key."""
        market = self.market
        if not self.past_operator:
            return ThroughOperator(market)
        if self.custodian is not None:
            return ThroughCustodian(market.chain, self.custodian)
        gas = own if self.gas_key_file is None else keyfiles.read(self.gas_key_file)
        return ByOneself(market.chain, gas)

    @functools.cached_property
    def token(self) -> Token:
        """How amounts of the token that the market is paid in are written."""
        if self.past_operator:
            return self.market.chain.token
        return Token.told(self.market.api.get("/api/v1/market"))

    def amount(self, units: int) -> str:
        """Token units in words."""
        return self.token.amount(units)


def travels(*more: Callable[[Any], Any]) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Adds the options and hands them to the command as `way`. `more`: GAS and CUSTODIAN, where they fit."""

    otherwise = "Or go past the operator: --node and --manifest"
    otherwise += ", with --custodian by a custodian's relay." if CUSTODIAN in more else "."

    def decorate(command: Callable[..., R]) -> Callable[..., R]:
        @functools.wraps(command)
        def spoken(
            url: str,
            node: str | None,
            manifest: Path | None,
            gas_key_file: Path | None = None,
            custodian: str | None = None,
            **given: Any,
        ) -> R:
            if not is_typed(*PAST):
                node = manifest = None
            way = Way(url, node, manifest, gas_key_file, custodian, otherwise)
            return command(way=way, **given)

        for option in reversed((*OPTIONS, *more)):
            spoken = option(spoken)
        return spoken

    return decorate
