"""The hash of the block up to which events were followed: without it, they are read from the beginning."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("cursor", sa.Column("block_hash", sa.LargeBinary(32), nullable=True))


def downgrade() -> None:
    op.drop_column("cursor", "block_hash")
