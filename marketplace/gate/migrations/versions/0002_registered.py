"""Answers that a quorum of custodians has noted, and that may therefore go out."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    column = sa.Column("registered", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("computations", column)


def downgrade() -> None:
    op.drop_column("computations", "registered")
