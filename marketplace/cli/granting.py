"""What a patient is told before a grant is signed, and where its cap is too low."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from marketplace.cli.way import Way
from marketplace.client import ConsentClass
from marketplace.client.http import reading
from marketplace.client.waiting import DATE
from marketplace.errors import Refusal
from marketplace.words import grant_words


def before_granting(way: Way, class_: ConsentClass, cap: int, spent: Any, expiry: int) -> list[str]:
    """What is about to be signed. Raises Refusal (`malformed_answer`)."""
    token = way.token
    with reading("consent"):
        words = grant_words(
            class_.terms, class_.index, cap, token, live=class_.live, spent=int(spent)
        )
    until = datetime.fromtimestamp(expiry, UTC).strftime(DATE)
    return [*words, f"It ends on {until}, or when you revoke: `usufruct revoke`, at any time."]


@contextmanager
def cap_in_words(cap: int, spent: int) -> Iterator[None]:
    """A cap that leaves too little is told beside what it counts from."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code != "budget_too_small":
            raise
        counted = f"A cap counts from the first grant: of {cap:,} nano-rho, {spent:,} are spent."
        raise Refusal(
            code=refusal.code,
            message=f"{counted} {refusal.message}",
            remedy=f"Give a --cap at least {spent:,} above what the class needs, or choose another class.",
            field="cap",
        ) from None
