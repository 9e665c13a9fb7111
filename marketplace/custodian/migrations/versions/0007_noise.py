"""The homomorphic lane: requests that noise was committed to, and contributions."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "noised",
        sa.Column("request", sa.LargeBinary(32), primary_key=True),
        sa.Column("root", sa.LargeBinary(32), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("seal_block", sa.BigInteger, nullable=False),
        sa.Column("seal_block_hash", sa.LargeBinary(32), nullable=False),
        sa.Column("parameters", sa.LargeBinary, nullable=False),
        sa.Column("commitment", sa.LargeBinary(32), nullable=False),
        sa.Column("noise_block", sa.BigInteger, nullable=True),
        sa.Column("noise_block_hash", sa.LargeBinary(32), nullable=True),
        sa.Column("ciphertext_root", sa.LargeBinary(32), nullable=True),
        sa.Column("sums", sa.LargeBinary, nullable=True),
        sa.Column("aggregate", sa.LargeBinary(32), nullable=True),
        sa.Column("partial", sa.LargeBinary, nullable=True),
        sa.Column("ended", sa.Boolean, nullable=False, index=True),
    )
    op.create_table(
        "contributions",
        sa.Column("request", sa.LargeBinary(32), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("size", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("columns", sa.LargeBinary, nullable=False),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sa.Column("digests", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("contributions")
    op.drop_table("noised")
