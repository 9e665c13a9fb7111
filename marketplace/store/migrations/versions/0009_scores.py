"""Published models, records that patients handed in to be scored, and their scores."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "score_models",
        sa.Column("model", sa.String(66), primary_key=True),
        sa.Column("publisher", sa.String(42), nullable=False, index=True),
        sa.Column("shown", sa.JSON, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False, index=True),
    )
    op.create_table(
        "score_records",
        sa.Column("dataset", sa.String(66), primary_key=True),
        sa.Column("patient", sa.String(42), primary_key=True),
        sa.Column("record", sa.String(66), nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("handed_in_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "score_rounds",
        sa.Column("request", sa.String(66), sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "scores",
        sa.Column("request", sa.String(66), sa.ForeignKey("requests.id"), primary_key=True),
        sa.Column("patient", sa.String(42), primary_key=True),
        sa.Column("dataset", sa.String(66), nullable=False),
        sa.Column("model", sa.String(66), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("record", sa.String(66), nullable=True),
    )
    op.create_index("ix_scores_patient", "scores", ["dataset", "patient"])
    op.create_index("ix_scores_state", "scores", ["state"])


def downgrade() -> None:
    for table in ("scores", "score_rounds", "score_records", "score_models"):
        op.drop_table(table)
