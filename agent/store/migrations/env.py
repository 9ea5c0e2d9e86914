"""Where alembic starts: the connection is handed in by `agent.store.engine`."""

from __future__ import annotations

from alembic import context

from agent.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
with context.begin_transaction():
    context.run_migrations()
