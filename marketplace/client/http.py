"""Speaking to an operator's API: JSON in, JSON out, problem+json back into refusals."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import httpx

from marketplace.errors import Refusal
from marketplace.wire.auth import Voice
from marketplace.wire.canonical import canonical, parse

TIMEOUT_SECONDS = 300.0
"""An upload of hundreds of records waits for chain and custodians."""
MOST_ANSWER = 64 * 1024 * 1024
"""Bytes; a receipt of a full shard carries 80 KB of bitmaps, a list of datasets their dictionaries."""


class OperatorUnreachable(Refusal):
    """The operator did not answer. Revocations also go through any custodian, or the chain itself."""

    CODE = "operator_unreachable"


class Api:
    """One operator's API."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self._http = httpx.Client(base_url=self.url, timeout=TIMEOUT_SECONDS)
        except httpx.InvalidURL:
            raise self._unreachable() from None
        weakref.finalize(self, self._http.close)  # a command that ends leaves no socket open

    def get(self, path: str) -> dict[str, Any]:
        """The JSON answer. Raises Refusal with the operator's code, OperatorUnreachable."""
        return self._send("GET", path, b"", {})

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer. Raises as `get`."""
        return self._send("POST", path, canonical(dict(body)), {})

    def post_signed(self, path: str, body: Mapping[str, Any], voice: Voice) -> dict[str, Any]:
        """As `post`, signed by an account."""
        content = canonical(dict(body))
        return self._send("POST", path, content, voice.header("POST", path, content))

    def _send(
        self, method: str, path: str, content: bytes, headers: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            response = self._http.request(
                method,
                path,
                content=content,
                headers={"Content-Type": "application/json", **headers},
            )
            document = parse(response.content, limit=MOST_ANSWER)
        except (httpx.HTTPError, httpx.InvalidURL, Refusal):
            raise self._unreachable() from None
        if not isinstance(document, dict):
            raise self._unreachable()
        if response.status_code != httpx.codes.OK:
            raise _refusal(document)
        return dict(document)

    def _unreachable(self) -> OperatorUnreachable:
        return OperatorUnreachable(
            message=f"The operator at {self.url} did not answer.",
            remedy="Try again later. To revoke now, use a custodian's relay or the chain.",
        )


def _refusal(problem: Mapping[str, Any]) -> Refusal:
    return Refusal(
        code=str(problem.get("code", "unknown")),
        message=str(problem.get("detail", "The operator refused.")),
        remedy=str(problem.get("remedy", "Ask the operator.")),
        field=problem.get("field"),
    )
