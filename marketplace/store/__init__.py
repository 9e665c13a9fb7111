"""The operator's database: stages, stage log, sealed records, computed answers, receipts.

Commitments of the chain are only mirrored here. SQLite (WAL) by default, PostgreSQL by URL; the schema
comes from Alembic migrations in both.
"""

from marketplace.store.database import Database, open_database
from marketplace.store.models import ComputedRow, RecordRow, RequestRow, StageLogRow
from marketplace.store.sealed_records import ERASED

__all__ = [
    "ERASED",
    "ComputedRow",
    "Database",
    "RecordRow",
    "RequestRow",
    "StageLogRow",
    "open_database",
]
