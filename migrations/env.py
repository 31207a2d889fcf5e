"""Where Alembic meets our tables: on the connection that agentpane/db/migrate.py hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from agentpane.db.schema import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by rebuilding it
    transactional_ddl=True,
)
context.run_migrations()
