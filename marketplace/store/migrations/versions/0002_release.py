"""What a gate states of its answer; what became of a record's ciphertext."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
RECORD = sa.ForeignKey("records.commitment")


def upgrade() -> None:
    op.add_column("computed", sa.Column("stated", sa.JSON, nullable=True))
    op.create_table(
        "record_log",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("commitment", sa.String(66), RECORD, nullable=False),
        sa.Column("before", sa.String(16), nullable=False),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_record_log_commitment", "record_log", ["commitment", "id"])


def downgrade() -> None:
    op.drop_table("record_log")
    op.drop_column("computed", "stated")
