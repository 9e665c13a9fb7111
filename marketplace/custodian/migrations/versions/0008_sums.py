"""The homomorphic lane: what custodians added up, word by word, before anything is decrypted."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("noised", sa.Column("sums_digest", sa.LargeBinary(32), nullable=True))
    op.add_column("contributions", sa.Column("sums_signature", sa.LargeBinary, nullable=True))
    # Sums were as of another block. What was decrypted from them stays, and nothing is said of it any more.
    op.execute(
        "UPDATE noised SET sums = NULL, ciphertext_root = NULL, noise_block = NULL, "
        "noise_block_hash = NULL WHERE partial IS NULL"
    )


def downgrade() -> None:
    op.drop_column("contributions", "sums_signature")
    op.drop_column("noised", "sums_digest")
