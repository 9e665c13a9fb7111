"""What the page of one's own request says of money that is held: what happened, what comes back, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marketplace.recourse import Recourse, Way
from web.showing import amount, moment
from web.site import site

CREDIT: Final = "Credit is paid out under My requests, to whatever address you name."
PAYS: Final = "You pay the transaction."


@dataclass(frozen=True)
class Back:
    """A title and paragraphs; `command` to type; the market's `call` and its `button`.

    `after` stands behind the command. `is_news`: it is said at the head of the page, too.
    """

    title: str
    words: tuple[str, ...]
    call: str | None = None
    button: str = ""
    command: str | None = None
    after: str = ""
    is_danger: bool = False
    is_news: bool = True


def money_back(request: str, found: Recourse) -> dict[str, Any] | None:
    """For template and module alike; None where nothing is held or owed, or nothing can be done yet."""
    told = _TOLD.get(found.way)
    if told is None:
        return None
    back = told(request, found)
    return {
        "title": back.title,
        "words": list(back.words),
        "call": back.call,
        "button": back.button,
        "command": back.command,
        "after": back.after,
        "news": back.is_news,
        "danger": back.is_danger,
    }


def _cancel(_: str, found: Recourse) -> Back:
    return Back(
        "Cancel",
        (
            "Until it is frozen you can take it back. "
            f"All that is held, {amount(found.held)}, becomes your credit. {PAYS}",
        ),
        "cancel",
        "Cancel this request",
        is_news=False,
    )


def _reclaim(_: str, found: Recourse) -> Back:
    bond = f" {amount(found.bond)} of the operator's bond are added." if found.bond else ""
    return Back(
        "It was not sealed in time",
        (
            f"The time for it ended on {moment(found.since or 0)}, and no answer will come.",
            f"What is held, {amount(found.held)}, becomes your credit.{bond} {PAYS} {CREDIT}",
        ),
        "reclaim",
        "Take the money back",
    )


def _certify(request: str, found: Recourse) -> Back:
    return Back(
        "It was not settled in time",
        _unsettled(found),
        command=_command(request),
        after=f"After {moment(found.until or 0)} it can be ended without them, too: {_alone(found)}.",
    )


def _default(request: str, found: Recourse) -> Back:
    return Back(
        "It was not settled in time",
        _unsettled(found),
        "defaultUncertified",
        "End it without certificates",
        _command(request),
        "Ask them first: the button below ends it without them, for ever. "
        f"Then {_alone(found)}. {PAYS}",
        is_danger=True,
    )


def _unsettled(found: Recourse) -> tuple[str, ...]:
    return (
        f"The answer was due on {moment(found.since or 0)} and cannot come any more. The patients who were "
        "counted keep what they were paid: their budget was spent.",
        "This command asks the custodians whether they turned their keys. If a quorum of them shows it, "
        f"the {amount(found.held)} that are held become your credit, and {amount(found.bond)} of the "
        "operator's bond repay what the patients were paid.",
    )


def _alone(found: Recourse) -> str:
    return f"{amount(found.held)} become your credit, and the operator keeps its bond"


def _command(request: str) -> str:
    """The gas may be anybody's; the node and the manifest are the researcher's own."""
    asked = " ".join(f"--custodian {each}" for each in site().custodians)
    return (
        f"usufruct default --request {request} {asked} "
        "--node NODE --manifest manifest.json --key-file KEY"
    )


def _credited(_: str, __: Recourse) -> Back:
    words = f"What came back to you is your credit. {CREDIT}"
    return Back("What came back", (words,), is_news=False)


_TOLD: Final[Mapping[Way, Callable[[str, Recourse], Back]]] = {
    Way.CANCEL: _cancel,
    Way.RECLAIM: _reclaim,
    Way.CERTIFY: _certify,
    Way.DEFAULT: _default,
    Way.CREDITED: _credited,
}
