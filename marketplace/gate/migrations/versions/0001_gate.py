"""Computations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "computations",
        sa.Column("request", sa.LargeBinary(32), primary_key=True),
        sa.Column("settlement", sa.Text, nullable=False),
        sa.Column("sealed_result", sa.LargeBinary, nullable=False),
        sa.Column("gate_signature", sa.LargeBinary, nullable=False),
        sa.Column("turns", sa.Text, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("computations")
