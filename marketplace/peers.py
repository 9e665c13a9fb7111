"""The custodians and gates that the operator speaks to, by name."""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from marketplace.errors import Refusal
from marketplace.wire import http_client
from marketplace.wire.auth import Voice

TIMEOUT_SECONDS = 120.0
"""A gate computes on thousands of records within this; a custodian answers in seconds."""

HEALTH_SECONDS = 30.0
MOST_REASONS = 8
CODE = re.compile(r"[a-z0-9_]{1,60}")
NOT_READY = "not_ready"
"""In place of a reason, where a peer gives none that is a code, and does not say that it is ready."""

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True)
class Peer:
    """One custodian or gate. With `voice`, what is posted is signed: a gate serves only its operator."""

    name: str
    url: str
    voice: Voice | None = None

    def reasons(self) -> list[str]:
        """Codes of what keeps it from working, by its own word; none when it is ready.

        Raises:
            PeerUnreachable.
        """
        said = http_client.get(
            self.url, "/health", timeout=HEALTH_SECONDS, most=http_client.SMALL_ANSWER
        )
        given = said.get("reasons")
        if not isinstance(given, list) or (not given and said.get("ready") is not True):
            return [NOT_READY]
        return [_code(each) for each in given[:MOST_REASONS]]

    def post(
        self, path: str, body: Mapping[str, Any], *, most: int = http_client.MOST_ANSWER
    ) -> dict[str, Any]:
        """Its answer, of at most `most` bytes.

        Raises:
            PeerUnreachable: no usable answer in time.
            Refusal: with the peer's own code; the message says who refused.
        """
        try:
            return http_client.post(
                self.url, path, body, timeout=TIMEOUT_SECONDS, most=most, voice=self.voice
            )
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


def _code(given: object) -> str:
    """A reason as it may be shown to anybody: it is another party's word."""
    return given if isinstance(given, str) and CODE.fullmatch(given) else NOT_READY


def ask_all(
    number: int,
    ask: Callable[[int], T],
    enough: Callable[[Mapping[int, T]], bool],
    *,
    grace: float | Callable[[Collection[int]], float] = 0.0,
    patience: float | None = None,
) -> dict[int, T | Refusal]:
    """What `ask(place)` brought for each place below `number`, all asked at once.

    Goes on `grace` seconds after `enough` says of the good answers that they do (or as many as it says of the
    places that are left), and `patience` seconds after the beginning in any case; a place that has not
    answered by then is left out. `ask` must end by itself, as a call to a peer does.
    """
    said: queue.SimpleQueue[tuple[int, T | Refusal]] = queue.SimpleQueue()
    for place in range(number):
        # Daemons: a process that is told to stop does not wait for a slow peer.
        threading.Thread(target=_put, args=(said, place, ask), daemon=True).start()
    found: dict[int, T | Refusal] = {}
    last = None if patience is None else time.monotonic() + patience
    until, enough_at = last, None
    while len(found) < number:
        try:
            place, found[place] = said.get(
                timeout=None if until is None else max(0.0, until - time.monotonic())
            )
        except queue.Empty:
            break
        good = {at: each for at, each in found.items() if not isinstance(each, Refusal)}
        if enough_at is None and enough(good):
            enough_at = time.monotonic()
        if enough_at is not None:
            left = [at for at in range(number) if at not in found]
            end = enough_at + (grace(left) if callable(grace) else grace)
            until = end if last is None else min(last, end)
    return found


def _put(
    said: queue.SimpleQueue[tuple[int, T | Refusal]], place: int, ask: Callable[[int], T]
) -> None:
    said.put((place, _tried(place, ask)))


def _tried(place: int, ask: Callable[[int], T]) -> T | Refusal:
    try:
        return ask(place)
    except Refusal as refusal:
        return refusal
    except Exception as fault:
        # A peer whose answer trips this process is at fault; the others still count.
        log.warning("answer_unreadable", place=place, kind=type(fault).__name__)
        return Refusal(
            code="peer_unreadable",
            message=f"The answer of the one at place {place} cannot be read.",
            remedy="Check that it runs this version.",
        )
