"""The custodians and gates that the operator speaks to, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marketplace.errors import Refusal
from marketplace.wire import http_client

TIMEOUT_SECONDS = 120.0
"""A gate computes on thousands of records within this; a custodian answers in seconds."""


@dataclass(frozen=True)
class Peer:
    """One custodian or gate."""

    name: str
    url: str

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Its answer.

        Raises:
            PeerUnreachable: no usable answer in time.
            Refusal: with the peer's own code; the message says who refused.
        """
        try:
            return http_client.post(self.url, path, body, timeout=TIMEOUT_SECONDS)
        except http_client.PeerUnreachable:
            raise
        except Refusal as refusal:
            raise Refusal(
                code=refusal.code,
                message=f"{self.name}: {refusal.message}",
                remedy=refusal.remedy,
                field=refusal.field,
                facts={"peer": self.name},
            ) from None
