"""Whether somebody agreed to what cannot be taken back: by a limit, at a terminal, or by --yes."""

from __future__ import annotations

import sys

import click

from marketplace.cli.say import Whole
from marketplace.client.offers import require_within
from marketplace.errors import Refusal

AT_MOST = click.option(
    "--at-most",
    type=Whole(0),
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
    if at_most is not None:
        require_within(escrow, shown, at_most)
    if at_most is not None or yes:
        return
    if not _is_at_terminal():
        raise _not_paid(f"An escrow of {escrow} token units ({shown}) was agreed to by nobody.")
    if not click.confirm(f"Pay an escrow of {shown}?", err=True):
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


def require_attestation_meant(yes: bool) -> None:
    """Asks at a terminal, where the values were just shown; elsewhere nobody saw them, and nothing is signed.

    Raises:
        Refusal: `not_agreed`; before anything was signed.
    """
    if yes:
        return
    if not _is_at_terminal():
        raise _not_attested("That these are the values in your files was said by nobody.")
    if not click.confirm("Are these the values in your files, of this very person?", err=True):
        raise _not_attested("These are not the values in your files.")


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


def _not_attested(message: str) -> Refusal:
    return Refusal(
        code="not_agreed",
        message=message,
        remedy="Nothing was signed. Give --fhir with your own bundle to have them compared, or decline the "
        "draft on the clinic's page.",
        field="yes",
    )


def _not_paid(message: str) -> Refusal:
    return Refusal(
        code="not_agreed",
        message=message,
        remedy="Nothing was paid. Give --at-most with the most that you pay, in token units, or --yes.",
        field="at_most",
    )
