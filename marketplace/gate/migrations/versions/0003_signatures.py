"""What custodians signed when they noted an answer: the very signatures that settle it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("computations", sa.Column("signatures", sa.Text, nullable=True))


def downgrade() -> None:
    op.drop_column("computations", "signatures")
