"""Following a request until it ends, saying what happens: through its operator, or on chain."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from marketplace.chain.adapter import Chain, RequestStage
from marketplace.client.http import Api, OperatorUnreachable, malformed_answer
from marketplace.errors import Refusal
from marketplace.wire.plain import counted

ENDED: Final = ("settled", "refused", "cancelled", "reclaimed", "defaulted")
PATIENCE: Final = 600.0
"""Seconds that are waited unless told otherwise."""
POLL: Final = 0.2
POLL_CHAIN: Final = 1.0
TOLD_AFTER: Final = 5.0
"""Seconds: a shorter wait (a block, a draw) is not worth a line."""
PULSE: Final = 60.0
"""Seconds without news after which somebody who watches is told that nothing broke."""

DATE: Final = "%Y-%m-%d %H:%M:%S UTC"
PAST_DATES: Final = 1 << 37
"""Seconds: the year 6325, which every calendar here still knows."""

Seen = Callable[[str], None]


@dataclass
class Teller:
    """Tells each new stage at once, each wait once it lasts, and now and then that it goes on."""

    seen: Seen | None
    stage: str = ""
    _wait: str = ""
    _told: bool = False
    _since: float = field(default_factory=time.monotonic)
    _spoke: float = field(default_factory=time.monotonic)

    def look(self, stage: str, waiting: Mapping[str, Any] | None) -> None:
        """What was found just now."""
        now = time.monotonic()
        if stage != self.stage:
            self.stage = stage
            self._say(stage)
        self._look_at_wait(waiting, now)
        if now - self._spoke >= PULSE:
            self._say(f"still {self.stage}")

    def _look_at_wait(self, waiting: Mapping[str, Any] | None, now: float) -> None:
        code = str(waiting["code"]) if waiting else ""
        if code != self._wait:
            self._wait, self._since, self._told = code, now, False
        elif waiting and not self._told and now - self._since >= TOLD_AFTER:
            self._told = True
            self._say(f"{self.stage}, waiting: {waiting_words(waiting)} [{code}]")

    def _say(self, text: str) -> None:
        self._spoke = time.monotonic()
        if self.seen is not None:
            self.seen(text)


def waiting_words(waiting: Mapping[str, Any]) -> str:
    """What a request waits for, in a sentence, with a date where the end is known."""
    message, until = str(waiting["message"]), waiting.get("until")
    if not isinstance(until, int) or not 0 <= until < PAST_DATES:
        return message
    return message.replace(str(until), datetime.fromtimestamp(until, UTC).strftime(DATE))


def wait(
    api: Api, request: str, patience: float = PATIENCE, seen: Seen | None = None
) -> dict[str, Any]:
    """Follows a request at its operator until it ends; `seen` hears stages and what it waits for.

    An operator that answered once may be away for a while.

    Raises:
        Refusal: `still_running` after `patience` seconds; `malformed_answer`. OperatorUnreachable: it never
            answered.
    """
    until, teller = time.monotonic() + patience, Teller(seen)
    while True:
        try:
            found = _readable(api.get(f"/api/v1/requests/{request}"))
            teller.look(found["stage"], found.get("waiting"))
            if found["stage"] in ENDED:
                return found
        except OperatorUnreachable as refusal:
            if not teller.stage:
                raise
            teller.look(teller.stage, {"code": refusal.code, "message": refusal.message})
        if time.monotonic() >= until:
            raise _still_running(request, teller.stage, patience)
        time.sleep(POLL)


def _readable(found: dict[str, Any]) -> dict[str, Any]:
    """Where a request stands, as whoever waits reads it. Raises Refusal (`malformed_answer`)."""
    for name, kind in (("stage", str), ("waiting", dict | None), ("reason", dict | None)):
        if not isinstance(found.get(name), kind):
            raise malformed_answer(name)
    return found


def wait_on_chain(
    chain: Chain, request: bytes, patience: float = PATIENCE, seen: Seen | None = None
) -> RequestStage:
    """Follows a request at a node until it ends there.

    Raises:
        Refusal: `never_opened`; `still_running` after `patience` seconds. NodeUnreachable, NodeFault.
    """
    until, teller = time.monotonic() + patience, Teller(seen)
    while True:
        stage = chain.request(request).stage
        if stage is RequestStage.NONE:
            raise Refusal(
                code="never_opened",
                message="The chain knows no such request.",
                remedy="Check the id and the manifest; it may never have been opened, and then not paid.",
                field="request",
            )
        teller.look(stage.name.lower(), None)
        if stage.name.lower() in ENDED:
            return stage
        if time.monotonic() >= until:
            raise _still_running("0x" + request.hex(), teller.stage, patience)
        time.sleep(POLL_CHAIN)


def _still_running(request: str, stage: str, patience: float) -> Refusal:
    return Refusal(
        code="still_running",
        message=f"The request is {stage} after {counted(round(patience), 'second')}.",
        remedy="Nothing is lost, and nothing needs to run here: `usufruct result --request "
        f"{request} --delivery-key-file FILE` fetches its answer whenever it is there. After its deadlines, "
        "`usufruct reclaim` or `usufruct default` brings the money back.",
    )
