"""What a clinic vouches for with each invitation.

Invitations of before carry nothing that a patient's browser could check, so that no record would be sealed
under one: they end here, and clinics invite anew. Drafts that were left under them wait on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("DELETE FROM invitations")
    with op.batch_alter_table("invitations") as invitations:
        invitations.add_column(sa.Column("voucher", sa.JSON, nullable=False))


def downgrade() -> None:
    with op.batch_alter_table("invitations") as invitations:
        invitations.drop_column("voucher")
