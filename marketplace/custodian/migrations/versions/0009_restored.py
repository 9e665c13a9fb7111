"""Records whose tally came without a share: what an erasure or a move of them is known by."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "restored",
        sa.Column("commitment", sa.LargeBinary(32), primary_key=True),
        sa.Column("dataset", sa.LargeBinary(32), nullable=False),
        sa.Column("holder", sa.String(42), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("header", sa.Text, nullable=False),
    )
    op.create_index("ix_restored_holder", "restored", ["holder"])


def downgrade() -> None:
    op.drop_index("ix_restored_holder", table_name="restored")
    op.drop_table("restored")
