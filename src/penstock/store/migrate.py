"""The schema's versions: Alembic, imported when something is migrated and at no other time.

A migration is named `NNNN_pre_…` (safe while the old code still runs) or `NNNN_post_…` (only once every node is new);
a post migration also raises `needs` in `meta` to its own number. An empty database gets the whole schema at once,
which is what all migrations together give (tests/store/test_migrations.py).

Alembic reaches SQLite through the standard library's copy of SQLite, the store through apsw's. Two copies in one
process undo each other's file locks, so nobody may have the database open while this runs; the file lock sees to it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.errors import Conflict
from penstock.store.database import FORMAT, Address, FileLock, schema, unavailable

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x70656E73  # the same as the store's own when it creates the schema


def upgrade(url: str) -> str:
    """Bring the database to the newest version; returns that. Nothing happens when it is there already.

    Raises: Invalid (address), Unavailable (in use, cannot be reached), Conflict (newer than this program).
    """
    address = Address.parse(url)
    lock = FileLock(address.path) if address.dialect == "sqlite" else None
    try:
        return _upgrade(address)
    finally:
        if lock is not None:
            lock.release()


def _upgrade(address: Address) -> str:
    from sqlalchemy import create_engine, inspect  # noqa: PLC0415
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    engine = create_engine(address.alchemy, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            _begin(connection)
            if not inspect(connection).has_table("alembic_version"):
                for statement in schema(engine.dialect):
                    connection.exec_driver_sql(statement)
            else:
                run(connection)
            connection.commit()
    except OperationalError as exc:
        raise unavailable("the database cannot be reached", exc.orig or exc) from exc
    finally:
        engine.dispose()
    return f"{FORMAT:04d}"


def _begin(connection: Connection) -> None:
    """One transaction for all of it, on both databases, and nobody else at it."""
    if connection.dialect.name == "sqlite":
        # the driver's own transactions would leave the schema's statements outside
        driver: Any = connection.connection.driver_connection
        driver.isolation_level = None
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
    else:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def run(connection: Connection, revision: str = "head") -> None:
    """Run what is missing up to `revision`, in the connection's transaction."""
    from alembic import command  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    try:
        command.upgrade(config(connection), revision)
    except CommandError as exc:
        raise Conflict(f"the database is not one this program can migrate: {exc}") from exc


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; `migrations/env.py` takes the connection from it."""
    from alembic.config import Config  # noqa: PLC0415

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    made.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    made.attributes["connection"] = connection
    return made


def draft(kind: str, message: str, url: str) -> Path:
    """Write the next migration from what `tables` has and the database at `url` has not. To be read and completed.

    Raises: Conflict when the database is not at the newest version, or `kind` is not pre or post.
    """
    from alembic import command  # noqa: PLC0415
    from sqlalchemy import create_engine  # noqa: PLC0415
    from sqlalchemy.pool import NullPool  # noqa: PLC0415

    if kind not in ("pre", "post"):
        raise Conflict("a migration is pre (safe under the old code) or post (all nodes are new)")
    engine = create_engine(Address.parse(url).alchemy, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            script: Any = command.revision(
                config(connection), f"{kind} {message}", autogenerate=True, rev_id=f"{FORMAT + 1:04d}"
            )
    finally:
        engine.dispose()
    return Path(script.path)
