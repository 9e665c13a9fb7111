"""Journal, shares, erasures, turns, settlements, cursor."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

HASH = sa.LargeBinary(32)


def upgrade() -> None:
    op.create_table(
        "journal",
        sa.Column("height", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("prev", HASH, nullable=False),
        sa.Column("head", HASH, nullable=False),
    )
    op.create_table(
        "shares",
        sa.Column("commitment", HASH, primary_key=True),
        sa.Column("dataset", HASH, nullable=False),
        sa.Column("holder", sa.String(42), nullable=False, index=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("share_index", sa.Integer, nullable=False),
        sa.Column("header", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table("erased", sa.Column("commitment", HASH, primary_key=True))
    op.create_table(
        "turns",
        sa.Column("request", HASH, primary_key=True),
        sa.Column("root", HASH, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("gate_key", HASH, nullable=False),
        sa.Column("envelope", sa.LargeBinary, nullable=True),
        sa.Column("signature", sa.LargeBinary, nullable=False),
        sa.Column("journal_height", sa.BigInteger, nullable=False),
        sa.Column("journal_head", HASH, nullable=False),
        sa.Column("journal_signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "settlements",
        sa.Column("request", HASH, primary_key=True),
        sa.Column("digest", HASH, nullable=False),
        sa.Column("signature", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "cursor",
        sa.Column("name", sa.String(16), primary_key=True),
        sa.Column("block", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    for table in ("cursor", "settlements", "turns", "erased", "shares", "journal"):
        op.drop_table(table)
