"""Speaking to an operator's API: JSON in, JSON out, problem+json back into refusals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import httpx

from marketplace.chain.faults import shown_url
from marketplace.errors import Refusal
from marketplace.wire.auth import Voice
from marketplace.wire.canonical import canonical
from marketplace.wire.http_client import MOST_ANSWER, PeerUnreachable, download, exchange

TIMEOUT_SECONDS = 300.0
"""From connecting to the answer's last byte: an upload of many records waits for chain and custodians."""
UNREADABLE: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What reading an answer of another shape raises."""
MOST_FILE: Final = 8 * 1024**3
"""Bytes of a file: a bundle of a full shard with a few columns takes one gigabyte."""
READ_SECONDS = 60.0
"""Of a question that changes nothing: whoever wants to revoke must soon hear that there are other ways."""


class OperatorUnreachable(Refusal):
    """The operator did not answer. Revocations also go through any custodian, or the chain itself."""

    CODE = "operator_unreachable"


class Told(dict[str, Any]):
    """An object of an operator's answer. Reading what it lacks raises Refusal (`malformed_answer`)."""

    def __missing__(self, field: str) -> Any:
        raise malformed_answer(field)


def malformed_answer(field: str) -> Refusal:
    """The refusal of an operator's answer that cannot be read."""
    return Refusal(
        code="malformed_answer",
        message=f"The operator's answer has no readable {field}.",
        remedy="It does not keep to the format: ask what it runs, or ask a node that you trust (--node).",
        field=field,
    )


@contextmanager
def reading(field: str) -> Iterator[None]:
    """What is read inside of another shape than it must have is refused (`malformed_answer`)."""
    try:
        yield
    except UNREADABLE:
        raise malformed_answer(field) from None


def objects(answer: Mapping[str, Any], field: str, number: int | None = None) -> list[Told]:
    """The objects that an answer lists in this field, `number` of them where one is given.

    Raises:
        Refusal: `malformed_answer`.
    """
    found = answer[field]
    if not isinstance(found, list) or not all(isinstance(each, Told) for each in found):
        raise malformed_answer(field)
    if number is not None and len(found) != number:
        raise malformed_answer(field)
    return found


def at(url: str) -> str:
    """` at` and a URL's scheme, host and port; nothing where it is not sure what of it is a key."""
    shown = shown_url(url)
    return "" if shown is None else f" at {shown}"


def named(url: str) -> str:
    """Which of several processes, by its URL, without what could be a key."""
    return shown_url(url) or "one that was named"


def listed(said: Mapping[str, str]) -> str:
    """What each of several processes, by URL, said in a word."""
    return ", ".join(f"{named(url)}: {code}" for url, code in said.items()) or "nobody was named"


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        return Told({name: _told(each) for name, each in value.items()})
    return [_told(each) for each in value] if isinstance(value, list) else value


class Api:
    """One operator's API. Safe for threads.

    Args:
        timeout: seconds, of every call, from connecting to the answer's last byte.
        most: bytes of an answer's body. The default holds a receipt of a full shard (80 KB of bitmaps)
            and a list of datasets with their dictionaries with room to spare.
        transport: in the place of the network.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = TIMEOUT_SECONDS,
        most: int = MOST_ANSWER,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.most = most
        self.transport = transport
        self.otherwise = ""
        """Which other way there is, if any: said where the operator cannot be reached."""

    def get(self, path: str) -> dict[str, Any]:
        """The JSON answer; each object in it is a `Told`.

        Raises:
            Refusal: with the operator's code. OperatorUnreachable.
        """
        return self._send("GET", path, b"", {})

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON answer. Raises as `get`."""
        return self._send("POST", path, canonical(dict(body)), {})

    def post_signed(self, path: str, body: Mapping[str, Any], voice: Voice) -> dict[str, Any]:
        """As `post`, signed by an account."""
        content = canonical(dict(body))
        return self._send("POST", path, content, voice.header("POST", path, content))

    def download_signed(
        self, path: str, body: Mapping[str, Any], voice: Voice, to: BinaryIO
    ) -> int:
        """Posts, signed by an account, and writes the file that is answered; its bytes.

        What was written before a refusal is no file. Raises as `get`.
        """
        content = canonical(dict(body))
        signed = voice.header("POST", path, content)
        try:
            return download(
                self.url + path,
                content,
                signed,
                to,
                timeout=self.timeout,
                most=MOST_FILE,
                transport=self.transport,
            )
        except PeerUnreachable as fault:
            raise self._unreachable(fault) from None

    def _send(
        self, method: str, path: str, content: bytes, signed: Mapping[str, str]
    ) -> dict[str, Any]:
        try:
            said = exchange(
                method,
                self.url + path,
                content,
                signed,
                timeout=min(self.timeout, READ_SECONDS) if method == "GET" else self.timeout,
                most=self.most,
                transport=self.transport,
            )
        except PeerUnreachable as fault:
            raise self._unreachable(fault) from None
        return Told({name: _told(each) for name, each in said.items()})

    def _unreachable(self, fault: PeerUnreachable) -> OperatorUnreachable:
        return OperatorUnreachable(
            message=f"The operator{at(self.url)} cannot be reached. {fault.message}",
            remedy=f"Check --url, or try again later. {self.otherwise}".strip(),
        )
