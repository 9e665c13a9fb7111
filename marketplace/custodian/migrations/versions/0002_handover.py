"""Rotation: shares that a successor acknowledged, and handovers that a predecessor finished."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

HASH = sa.LargeBinary(32)


def upgrade() -> None:
    op.create_table(
        "deliveries",
        sa.Column("epoch", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("commitment", HASH, primary_key=True),
    )
    op.create_table(
        "handovers",
        sa.Column("predecessor", sa.String(42), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("shares", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("handovers")
    op.drop_table("deliveries")
