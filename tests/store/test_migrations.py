"""The migrations and the tables are one schema, on both databases."""

from __future__ import annotations

import re
import shutil

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlalchemy.pool import NullPool

from penstock import errors
from penstock.store import Store, migrate, tables
from penstock.store.database import FORMAT, NEEDS, Address
from store.making import put_value, values

REGENERATE = (
    "until the first release: PYTHONPATH=src python tests/store/regenerate_initial.py; after it: a new migration"
)


@pytest.fixture
def url(dialect, request, tmp_path):
    """A database of its own, so that its schema can be dumped."""
    if dialect == "sqlite":
        return f"sqlite:///{tmp_path}/penstock.db"
    return request.getfixturevalue("server").database()


@pytest.fixture
def other(dialect, request, tmp_path):
    """The address of a second empty database of the same kind."""
    if dialect == "sqlite":
        return f"sqlite:///{tmp_path}/other.db"
    return request.getfixturevalue("server").database()


def by_migrations(url):
    """Run every migration on an empty database."""
    engine = create_engine(Address.parse(url).alchemy, poolclass=NullPool)
    with engine.connect() as connection:
        migrate._begin(connection)
        migrate.run(connection)
        connection.commit()
    engine.dispose()


def schema(url, server):
    """What a database has, as text that can be compared."""
    if url.startswith("sqlite"):
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            found = connection.exec_driver_sql(
                "SELECT type || ' ' || name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY 1"
            ).fetchall()
            columns = [
                (name, connection.exec_driver_sql(f"PRAGMA table_xinfo('{name}')").fetchall())
                for name in sorted(tables.metadata.tables)
            ]
        engine.dispose()
        return [(name, normal(sql)) for name, sql in found], columns
    dump = server.dump(url.rpartition("/")[2])
    return sorted(line for line in dump.splitlines() if line and not line.startswith(("--", "\\")))


def normal(sql):
    """A statement without its line breaks, its constraints in order of their names."""
    one_line = re.sub(r" ?([()]) ?", r"\1", re.sub(r"\s+", " ", sql)).strip()
    body, end, options = one_line.rpartition(")")
    columns, *constraints = body.split(", CONSTRAINT ")
    return columns, sorted(constraints), end + options


def test_the_migrations_give_what_the_tables_say(url, other, dialect, request):
    server = request.getfixturevalue("server") if dialect == "postgresql" else None
    Store.open(url).close()
    by_migrations(other)
    assert schema(url, server) == schema(other, server), REGENERATE
    with Store.open(other) as store:  # and it is one the store opens
        assert store.submit(put_value("a")).result(10) == "a"


def test_the_newest_migration_is_the_one_the_program_knows():
    scripts = ScriptDirectory.from_config(migrate.config())
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert scripts.get_heads() == [f"{FORMAT:04d}"]
    assert sorted(revisions) == [f"{number:04d}" for number in range(1, FORMAT + 1)]
    names = sorted(path.name for path in (migrate.MIGRATIONS / "versions").glob("*.py"))
    assert all(re.fullmatch(r"\d{4}_(pre|post)_\w+\.py", name) for name in names)
    posts = [int(name[:4]) for name in names if "_post_" in name]
    assert max(posts, default=1) == NEEDS


def test_nothing_is_left_to_migrate(url):
    by_migrations(url)
    engine = create_engine(Address.parse(url).alchemy, poolclass=NullPool)
    with engine.connect() as connection:
        here = connection.dialect.name

        def include(item, _name, kind, _reflected, _other):
            return not (kind == "index" and str(item.name).endswith("_unfed") and here == "sqlite")

        context = MigrationContext.configure(connection, opts={"include_object": include, "compare_type": True})
        assert compare_metadata(context, tables.metadata) == [], REGENERATE
    engine.dispose()


def test_upgrading_twice_changes_nothing(url, dialect, request):
    server = request.getfixturevalue("server") if dialect == "postgresql" else None
    assert migrate.upgrade(url) == f"{FORMAT:04d}"
    before = schema(url, server)
    assert migrate.upgrade(url) == f"{FORMAT:04d}"
    assert schema(url, server) == before
    with Store.open(url) as store:
        store.submit(put_value("a")).result(10)
    migrate.upgrade(url)
    with Store.open(url) as store:
        assert values(store) == ["a"]


def test_a_database_in_use_is_not_migrated(tmp_path):
    url = f"sqlite:///{tmp_path}/penstock.db"
    with Store.open(url), pytest.raises(errors.Unavailable, match="in use"):
        migrate.upgrade(url)


def test_a_database_from_the_future_is_not_migrated(url):
    with Store.open(url) as store:
        store.submit(lambda tx: tx.execute("UPDATE alembic_version SET version_num = '9999'")).result(10)
    with pytest.raises(errors.Conflict):
        migrate.upgrade(url)


def test_a_migration_that_fails_leaves_nothing(url, dialect, request, monkeypatch):
    by_migrations(url)
    engine = create_engine(Address.parse(url).alchemy, poolclass=NullPool)

    def half(config, _revision):
        config.attributes["connection"].exec_driver_sql("CREATE TABLE half (a INTEGER)")
        raise ZeroDivisionError

    monkeypatch.setattr(command, "upgrade", half)
    with pytest.raises(ZeroDivisionError):
        migrate.upgrade(url)
    with engine.connect() as connection:
        assert not inspect(connection).has_table("half")
    engine.dispose()


def test_the_next_migration_can_be_drafted(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/penstock.db"
    migrate.upgrade(url)
    copy = tmp_path / "migrations"
    shutil.copytree(migrate.MIGRATIONS, copy)
    monkeypatch.setattr(migrate, "MIGRATIONS", copy)
    path = migrate.draft("pre", "nothing new", url)
    assert path.name == f"{FORMAT + 1:04d}_pre_nothing_new.py"
    assert "def upgrade() -> None:" in path.read_text()
    with pytest.raises(errors.Conflict):
        migrate.draft("sometime", "x", url)
