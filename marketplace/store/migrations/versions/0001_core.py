"""Requests, stage log, records, computed answers, receipts, API nonces."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "requests",
        sa.Column("id", sa.String(66), primary_key=True),
        sa.Column("researcher", sa.String(42), nullable=False, index=True),
        sa.Column("stage", sa.String(16), nullable=False, index=True),
        sa.Column("terms", sa.JSON, nullable=False),
        sa.Column("analysis", sa.String(40), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("reason", sa.JSON, nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "stage_log",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("request", sa.String(66), sa.ForeignKey("requests.id"), nullable=False),
        sa.Column("before", sa.String(16), nullable=True),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_stage_log_request", "stage_log", ["request", "id"])
    op.create_table(
        "records",
        sa.Column("commitment", sa.String(66), primary_key=True),
        sa.Column("dataset", sa.String(66), nullable=False),
        sa.Column("patient", sa.String(42), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("header", sa.JSON, nullable=False),
        sa.Column("attestation", sa.JSON, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "computed",
        sa.Column("request", sa.String(66), sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("settlement", sa.JSON, nullable=False),
        sa.Column("sealed_result", sa.LargeBinary, nullable=False),
        sa.Column("gate_signature", sa.LargeBinary, nullable=False),
        sa.Column("signatures", sa.JSON, nullable=True),
    )
    op.create_table(
        "receipts",
        sa.Column("request", sa.String(66), sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("receipt", sa.JSON, nullable=False),
    )
    op.create_table(
        "api_nonces",
        sa.Column("address", sa.String(42), primary_key=True),
        sa.Column("nonce", sa.String(66), primary_key=True),
        sa.Column("deadline", sa.BigInteger, nullable=False, index=True),
    )


def downgrade() -> None:
    for table in ("api_nonces", "receipts", "computed", "records", "stage_log", "requests"):
        op.drop_table(table)
