"""The operator's database: stages, their log, sealed records, computed answers, receipts, sessions, drafts.

Commitments of the chain are only mirrored here. SQLite (WAL) by default, PostgreSQL by URL; the schema
comes from Alembic migrations in both.
"""

from marketplace.store.database import Database, open_database
from marketplace.store.drafts import DraftState
from marketplace.store.models import (
    ComputedRow,
    DraftRow,
    InvitationRow,
    IssuerDeskRow,
    RecordRow,
    RequestRow,
    ScoreModelRow,
    ScoreRecordRow,
    ScoreRow,
    StageLogRow,
    WebChallengeRow,
    WebSessionRow,
)
from marketplace.store.scores import DUE, FAILED, SCORED
from marketplace.store.sealed_records import ERASED
from marketplace.store.shares import Shares

__all__ = [
    "DUE",
    "ERASED",
    "FAILED",
    "SCORED",
    "ComputedRow",
    "Database",
    "DraftRow",
    "DraftState",
    "InvitationRow",
    "IssuerDeskRow",
    "RecordRow",
    "RequestRow",
    "ScoreModelRow",
    "ScoreRecordRow",
    "ScoreRow",
    "Shares",
    "StageLogRow",
    "WebChallengeRow",
    "WebSessionRow",
    "open_database",
]
