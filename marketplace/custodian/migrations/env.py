"""Alembic's way in: runs the migrations on the connection that `open_journal` hands over."""

from alembic import context

from marketplace.custodian.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
