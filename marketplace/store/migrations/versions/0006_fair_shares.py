"""From which network somebody signs in, how often a code is used on a day, whose drafts wait."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

OF_A_NETWORK = ("web_challenges", "web_sessions")


def upgrade() -> None:
    for table in OF_A_NETWORK:
        network = sa.Column("network", sa.String(64), nullable=False, server_default="")
        op.add_column(table, network)
        op.create_index(f"ix_{table}_network", table, ["network"])
    uses = sa.Column("uses", sa.Integer, nullable=False, server_default="0")
    op.add_column("invitations", sa.Column("used_on", sa.Integer, nullable=True))
    op.add_column("invitations", uses)
    op.create_index("ix_invitations_used", "invitations", ["issuer", "used_on"])
    op.create_index("ix_drafts_issuer", "drafts", ["issuer"])


def downgrade() -> None:
    op.drop_index("ix_drafts_issuer", "drafts")
    op.drop_index("ix_invitations_used", "invitations")
    op.drop_column("invitations", "uses")
    op.drop_column("invitations", "used_on")
    for table in OF_A_NETWORK:
        op.drop_index(f"ix_{table}_network", table)
        op.drop_column(table, "network")
