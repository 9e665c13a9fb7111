"""How a command has a message carried, and does not take it for done before it is seen to be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from marketplace.cli.way import Way
from marketplace.client import Route, account_of
from marketplace.client.http import reading
from marketplace.errors import Refusal
from marketplace.vocabulary import address

Done = Callable[[dict[str, Any]], bool]

OPERATORS_WORD: Final = (
    "So far this is the operator's word: `usufruct status` with --node and --manifest asks "
    "the chain."
)
SEEN_SECONDS: Final = 60.0
"""A node may be that far behind the one which carried a message."""
LOOK_SECONDS: Final = 1.0
NOT_DONE: Final = "The chain does not show it."


def signed(
    way: Way,
    own: bytes,
    dataset: bytes,
    patient: str | None,
    message: Callable[[Any], Callable[..., dict[str, Any]]],
    is_done: Done,
) -> dict[str, Any]:
    """Signs and carries a message about the consent as it stands, by its patient or a guardian.

    Returns the consent once it is done. Raises Refusal (`not_done`).
    """
    who, route = acts_for(own, patient), way.route(own)
    sequence = route.consent(dataset, who)["sequence"]
    entry = message(way.market)(own, dataset, sequence, who, own_node=way.past_operator)
    route.carry(entry)
    return seen(route, dataset, who, is_done)


def carried(
    way: Way, own: bytes, dataset: bytes, message: dict[str, Any], is_done: Done
) -> dict[str, Any]:
    """Carries a message of the patient's own, and returns the consent once it is done. As `seen`."""
    route = way.route(own)
    route.carry(message)
    return seen(route, dataset, account_of(own), is_done)


def seen(route: Route, dataset: bytes, who: str, is_done: Done) -> dict[str, Any]:
    """The consent once what was signed is so: whoever carried it may only say that it did.

    Raises:
        Refusal: `not_done`, if that is not seen within `SEEN_SECONDS`.
    """
    until, why = time.monotonic() + SEEN_SECONDS, NOT_DONE
    while True:
        try:
            found = route.consent(dataset, who)
            with reading("consent"):
                if is_done(found):
                    return found
        except Refusal as refusal:  # it was carried: that nobody answers now does not undo it
            why = refusal.message
        if time.monotonic() > until:
            raise Refusal(
                code="not_done",
                message=f"It was taken and called done, and yet it was not seen so. {why}",
                remedy="Do not rely on it. `usufruct status` shows where you stand; sign again another way: "
                "past the operator with --node and --manifest, by yourself or through another --custodian.",
            )
        time.sleep(LOOK_SECONDS)


def whose_word(way: Way) -> list[str]:
    """What is still to be known of an end that only the operator shows."""
    return [] if way.past_operator else [OPERATORS_WORD]


def acts_for(own: bytes, patient: str | None) -> str:
    """Whose consent it is about: the key's own, or that of the patient whose guardian signs."""
    return account_of(own) if patient is None else address(patient, "patient")
