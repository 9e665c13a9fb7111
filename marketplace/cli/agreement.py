"""Whether somebody agreed to what cannot be taken back: by a limit, at a terminal, or by --yes."""

from __future__ import annotations

import sys

import click

from marketplace.errors import Refusal

AT_MOST = click.option(
    "--at-most",
    type=click.IntRange(0),
    help="Token units: refuse a larger escrow, and pay up to it without a question.",
)
YES = click.option("--yes", is_flag=True, help="Pay the escrow that is shown without a question.")


def require_agreed(escrow: int, shown: str, at_most: int | None, yes: bool) -> None:
    """Asks at a terminal, on standard error; elsewhere nobody can be asked, and nothing is paid unsaid.

    Args:
        escrow: token units that are about to be paid.
        shown: the same for people.

    Raises:
        Refusal: `escrow_above_limit`, `not_agreed`; before anything was handed in, made or paid.
    """
    if at_most is not None and escrow > at_most:
        raise Refusal(
            code="escrow_above_limit",
            message=f"The escrow is {escrow} token units ({shown}); you pay at most {at_most}.",
            remedy="Nothing was paid. Raise --at-most, or ask for less: a lower privacy cost, or fewer "
            "classes.",
            field="at_most",
        )
    if at_most is not None or yes:
        return
    if not _is_at_terminal():
        raise _not_paid(f"An escrow of {escrow} token units ({shown}) was agreed to by nobody.")
    if not click.confirm(f"Pay an escrow of {shown} of the market's token?", err=True):
        raise _not_paid(f"The escrow of {escrow} token units was declined.")


def require_erasure_meant(patient: str, yes: bool) -> None:
    """Asks at a terminal, on standard error; elsewhere nobody can be asked, and nothing is erased unsaid.

    Raises:
        Refusal: `not_agreed`; before anything was signed.
    """
    if yes:
        return
    if not _is_at_terminal():
        raise _not_erased(f"That the record of {patient} is erased was agreed to by nobody.")
    asked = f"Erase the record of {patient} for good? Nothing brings it back."
    if not click.confirm(asked, err=True):
        raise _not_erased(f"The erasure of the record of {patient} was declined.")


def _is_at_terminal() -> bool:
    """Whether somebody sees the question and can answer it."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _not_erased(message: str) -> Refusal:
    return Refusal(
        code="not_agreed",
        message=message,
        remedy="Nothing was changed. Give --yes to erase without a question. `usufruct revoke` only ends the "
        "consent, and never asks.",
        field="yes",
    )


def _not_paid(message: str) -> Refusal:
    return Refusal(
        code="not_agreed",
        message=message,
        remedy="Nothing was paid. Give --at-most with the most that you pay, in token units, or --yes.",
        field="at_most",
    )
