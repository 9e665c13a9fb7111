"""Sealed records arriving: kept, registered on chain, held by custodians, confirmed.

The operator forwards each custodian's share envelope and keeps none: it could not open it, and what it
does not keep it cannot lose. Each record goes its way alone; a bad one does not sink the rest.
"""

from marketplace.intake.entries import Entry
from marketplace.intake.service import Intake
from marketplace.wire.paging import MOST_RECORDS

__all__ = ["MOST_RECORDS", "Entry", "Intake"]
