"""Alembic runs this. The connection comes from `store.migrate`, with its transaction already begun."""

from __future__ import annotations

from typing import Any

from alembic import context

from penstock.store.tables import metadata

connection = context.config.attributes["connection"]


def belongs_here(item: Any, _name: str | None, kind: str, _reflected: bool, _other: Any) -> bool:  # noqa: FBT001
    """Leave out what `tables` gives to another dialect."""
    return not (kind == "index" and str(item.name).endswith("_unfed") and connection.dialect.name == "sqlite")


context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    include_object=belongs_here,
    compare_type=True,
    transactional_ddl=False,  # the transaction is the caller's, on SQLite too
)
context.run_migrations()
