"""The homomorphic lane: key generation, shares of joint keys, tallies, dictionaries."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "keygen",
        sa.Column("session", sa.LargeBinary(32), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("origin", sa.BigInteger, nullable=False),
        sa.Column("dealing", sa.LargeBinary, nullable=True),
        sa.Column("polynomial", sa.LargeBinary, nullable=True),
        sa.Column("envelopes", sa.Text, nullable=True),
        sa.Column("commits", sa.LargeBinary(32), nullable=True),
        sa.Column("dealt", sa.LargeBinary(32), nullable=True),
        sa.Column("complaints", sa.Text, nullable=True),
        sa.Column("answers", sa.LargeBinary(32), nullable=True),
    )
    op.create_table(
        "joint_shares",
        sa.Column("commitments", sa.LargeBinary(32), primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False, index=True),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("transcript", sa.LargeBinary(32), nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "tallies",
        sa.Column("commitment", sa.LargeBinary(32), primary_key=True),
        sa.Column("folder", sa.String(64), nullable=False),
        sa.Column("row", sa.Integer, nullable=False),
        sa.Column("public_key", sa.LargeBinary(33), nullable=False),
        sa.Column("columns", sa.LargeBinary, nullable=True),
        sa.Column("proof", sa.LargeBinary, nullable=True),
        sa.UniqueConstraint("folder", "row"),
    )
    op.create_table(
        "dictionaries",
        sa.Column("hash", sa.LargeBinary(32), primary_key=True),
        sa.Column("document", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("dictionaries")
    op.drop_table("tallies")
    op.drop_table("joint_shares")
    op.drop_table("keygen")
