"""How alembic reaches the desk's tables: by the connection that it is given."""

from __future__ import annotations

from alembic import context

from secondlook.review.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
)
context.run_migrations()
