"""Desks of issuers, invitations, records that wait for an issuer, and which custodians hold a part."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

BIG_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "issuer_desks",
        sa.Column("dataset", sa.String(66), primary_key=True),
        sa.Column("issuer", sa.String(42), primary_key=True),
        sa.Column("key", sa.String(66), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
    )
    op.create_table(
        "invitations",
        sa.Column("code", sa.String(66), primary_key=True),
        sa.Column("dataset", sa.String(66), nullable=False),
        sa.Column("issuer", sa.String(42), nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
        sa.Column("used_by", sa.String(66), nullable=True),
    )
    op.create_index("ix_invitations_of", "invitations", ["dataset", "issuer", "expires_at"])
    op.create_table(
        "drafts",
        sa.Column("commitment", sa.String(66), primary_key=True),
        sa.Column("dataset", sa.String(66), nullable=False),
        sa.Column("patient", sa.String(42), nullable=False),
        sa.Column("issuer", sa.String(42), nullable=False),
        sa.Column("code", sa.String(66), nullable=False),
        sa.Column("record", sa.Text, nullable=False),
        sa.Column("opening", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, index=True),
        sa.Column("reason", sa.JSON, nullable=True),
        sa.Column("attestation", sa.JSON, nullable=True),
        sa.Column("signature", sa.Text, nullable=True),
        sa.Column("made_at", sa.BigInteger, nullable=False, index=True),
    )
    op.create_index("ix_drafts_desk", "drafts", ["dataset", "issuer", "state"])
    op.create_index("ix_drafts_patient", "drafts", ["dataset", "patient"], unique=True)
    op.create_table(
        "draft_log",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=True),
        sa.Column("commitment", sa.String(66), nullable=False),
        sa.Column("before", sa.String(16), nullable=True),
        sa.Column("after", sa.String(16), nullable=False),
        sa.Column("because", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_draft_log_commitment", "draft_log", ["commitment", "id"])
    op.create_table(
        "confirmations",
        sa.Column("commitment", sa.String(66), primary_key=True),
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("confirmations", "draft_log", "drafts", "invitations", "issuer_desks"):
        op.drop_table(table)
