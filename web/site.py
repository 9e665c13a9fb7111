"""What every page may use: the operator behind it, and where browsers reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast
from urllib.parse import urlsplit

import flask

from marketplace.config import OperatorConfig, is_loopback
from marketplace.operator import Operator, Worker
from web.assets import Assets

EXTENSION: Final = "usufruct_web"


@dataclass(frozen=True)
class Site:
    """One operator's pages. `origin` is scheme, host and port as browsers write them."""

    operator: Operator
    worker: Worker
    origin: str
    assets: Assets = field(default_factory=Assets)

    @property
    def config(self) -> OperatorConfig:
        """What the operator was told at start."""
        return self.operator.config

    @property
    def host(self) -> str:
        """The one Host that is answered; also the domain of every sign-in."""
        return urlsplit(self.origin).netloc

    @property
    def is_secure(self) -> bool:
        """Whether browsers come by https; otherwise only from this machine (see `OperatorConfig`)."""
        return self.origin.startswith("https:")

    @property
    def is_local(self) -> bool:
        """Whether the origin is this machine's loopback."""
        return is_loopback(urlsplit(self.origin).hostname or "")

    @property
    def custodians(self) -> tuple[str, ...]:
        """Origins of the custodians, which browsers ask when this operator does not answer."""
        return tuple(each.for_browsers for each in self.config.custodians)


def site() -> Site:
    """Of the application at hand."""
    return cast(Site, flask.current_app.extensions[EXTENSION])
