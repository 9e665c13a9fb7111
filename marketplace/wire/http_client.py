"""Speaking to a custodian or gate: time limits, bounded answers, problems back into refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from marketplace.errors import Refusal
from marketplace.wire.canonical import canonical, parse

MOST_ANSWER = 64 * 1024 * 1024
"""Bytes. A turn for 655,360 members (a full shard) is 22 MB, 29 MB in base64."""


class PeerUnreachable(Refusal):
    """The other process did not answer, not in time, or not in its format."""

    CODE = "peer_unreachable"


def post(
    url: str, path: str, document: Mapping[str, Any], *, timeout: float, most: int = MOST_ANSWER
) -> dict[str, Any]:
    """The JSON object that the peer answers.

    Raises:
        Refusal: with the peer's own code where it declined.
        PeerUnreachable: no answer in `timeout` seconds, or none that can be read.
    """
    try:
        with httpx.stream(
            "POST",
            url.rstrip("/") + path,
            content=canonical(dict(document)),
            headers={"content-type": "application/json"},
            timeout=timeout,
            follow_redirects=False,
        ) as response:
            return _read(response.status_code, _bounded(response, most))
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        raise _unreachable(type(fault).__name__) from None


def _bounded(response: httpx.Response, most: int) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > most:
            raise _unreachable("AnswerTooLarge")
        parts.append(part)
    return b"".join(parts)


def _read(status: int, body: bytes) -> dict[str, Any]:
    try:
        document = parse(body, limit=MOST_ANSWER)
    except Refusal:
        raise _unreachable("NotJson") from None
    if not isinstance(document, dict):
        raise _unreachable("NotAnObject")
    if status != 200:
        raise _declined(document)
    return document


def _declined(document: Mapping[str, Any]) -> Refusal:
    """The peer's refusal, every text bounded: it is another party's word."""
    return Refusal(
        code=_text(document, "code", 60),
        message=_text(document, "detail", 400),
        remedy=_text(document, "remedy", 400),
        field=_text(document, "field", 80) if "field" in document else None,
    )


def _text(document: Mapping[str, Any], key: str, most: int) -> str:
    return str(document.get(key, "not said"))[:most]


def _unreachable(kind: str) -> PeerUnreachable:
    return PeerUnreachable(
        message=f"The other process did not answer as it must ({kind}).",
        remedy="Start it, or check its URL and the network; the request can be repeated.",
    )
