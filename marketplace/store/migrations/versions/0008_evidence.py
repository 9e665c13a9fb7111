"""What a receipt of the homomorphic lane is made of, beside the answer."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("computed") as computed:
        computed.add_column(sa.Column("evidence", sa.JSON, nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("computed") as computed:
        computed.drop_column("evidence")
