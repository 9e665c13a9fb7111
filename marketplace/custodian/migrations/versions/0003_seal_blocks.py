"""The block of each turn's seal, and violations of finality that the owner has to resolve."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

HASH = sa.LargeBinary(32)


def upgrade() -> None:
    op.add_column("turns", sa.Column("seal_block", sa.BigInteger, nullable=True))
    op.add_column("turns", sa.Column("seal_block_hash", HASH, nullable=True))
    # Answers from the index alone: a row's envelope may be megabytes long.
    op.create_index("ix_turns_seal", "turns", ["seal_block", "seal_block_hash", "request"])
    op.create_table(
        "violations",
        sa.Column("height", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("resolved", sa.Boolean, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("violations")
    op.drop_index("ix_turns_seal", "turns")
    op.drop_column("turns", "seal_block_hash")
    op.drop_column("turns", "seal_block")
