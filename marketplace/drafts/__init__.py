"""From a sealed record in a patient's browser to one that an issuer attested.

The issuer hands out one-time codes and keeps a desk key; the browser leaves its record with an envelope to
that key; the issuer opens the one, holds it against its own files, and signs; then the record goes the way
of every record, through `intake`. The operator learns neither values, nor codes, nor secrets.
"""

from marketplace.drafts.desks import LONGEST_INVITATION_DAYS, MOST_CODES
from marketplace.drafts.entries import Desk, Draft, Invitation, OpenedDraft, Progress
from marketplace.drafts.service import REASONS, Drafts
from marketplace.store import DraftState

__all__ = [
    "LONGEST_INVITATION_DAYS",
    "MOST_CODES",
    "REASONS",
    "Desk",
    "Draft",
    "DraftState",
    "Drafts",
    "Invitation",
    "OpenedDraft",
    "Progress",
]
