"""Addresses, the file lock, the format, and that each database is really as durable as it says."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from penstock import errors
from penstock.store import Store
from penstock.store.database import Address, FileLock
from penstock.store.rows import ITEM_GRANTS, MEMBERSHIPS, SUBSCRIPTIONS, VISITS
from penstock.store.sqlite import _text
from store.making import put_value, values


@pytest.mark.parametrize("url", ["", "penstock.db", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql://x/y"])
def test_an_address_of_another_kind_is_invalid(url):
    with pytest.raises(errors.Invalid):
        Address.parse(url)


def test_addresses_name_a_file_or_a_server(tmp_path):
    assert Address.parse("sqlite:////var/a%20b.db").path == "/var/a b.db"
    assert Address.parse("sqlite:///var/a.db").path == f"{Path.cwd()}/var/a.db"
    assert Address.parse("postgres://u@h/d").url == "postgresql://u@h/d"
    assert Address.parse("postgresql://u@h/d").alchemy == "postgresql+psycopg://u@h/d"


def test_a_second_opener_is_refused_and_told_who_has_it(tmp_path):
    path = tmp_path / "penstock.db"
    url = f"sqlite:///{path}"
    with Store.open(url) as store:
        with pytest.raises(errors.Unavailable) as caught:
            Store.open(url)
        assert str(path) in caught.value.message
        assert str(os.getpid()) in caught.value.message
        program = f"from penstock.store import Store; Store.open({url!r})"
        other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert other.returncode == 1
        assert f"in use by process {os.getpid()}" in other.stderr
        store.submit(put_value("a")).result(10)
    with Store.open(url) as store:
        assert values(store) == ["a"]


def test_who_asks_whether_a_database_is_used_keeps_nobody_from_opening_it(tmp_path):
    path, over = str(tmp_path / "penstock.db"), threading.Event()

    def ask():
        while not over.is_set():
            FileLock.holder(path)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(100):
            FileLock(path).release()
    finally:
        over.set()
        for thread in asking:
            thread.join()
    lock = FileLock(path)
    assert FileLock.holder(path) == str(os.getpid())
    lock.release()
    assert FileLock.holder(path) == ""


def test_nobody_else_may_read_the_file(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/deep/er/penstock.db") as store:
        store.submit(put_value("a")).result(10)
        files = list((tmp_path / "deep" / "er").iterdir())
        assert {file.name for file in files} >= {"penstock.db", "penstock.db-wal", "penstock.db.lock"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_a_database_that_cannot_be_reached_is_unavailable(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("x")
    with pytest.raises(errors.Unavailable):
        Store.open(f"sqlite:///{blocked}/penstock.db")
    not_a_database = tmp_path / "text.db"
    not_a_database.write_text("this is no database, whatever its name says" * 100)
    with pytest.raises(errors.Unavailable):
        Store.open(f"sqlite:///{not_a_database}")
    with pytest.raises(errors.Unavailable):
        Store.open("postgresql://nobody@127.0.0.1:1/none")


def test_a_database_of_a_newer_format_is_refused_unless_this_program_may_work_on_it(url):
    with Store.open(url) as store:
        store.submit(lambda tx: tx.execute("UPDATE alembic_version SET version_num = '9999'")).result(10)
    with Store.open(url) as store:  # a pre migration: the code before it may go on
        store.submit(lambda tx: tx.execute("UPDATE meta SET value = '9999' WHERE key = 'needs'")).result(10)
    with pytest.raises(errors.Conflict, match="newer program"):
        Store.open(url)


def test_a_database_of_an_older_format_is_refused(url):
    with Store.open(url) as store:
        store.submit(lambda tx: tx.execute("UPDATE alembic_version SET version_num = '0000'")).result(10)
    with pytest.raises(errors.Conflict, match="penstock migrate"):
        Store.open(url)


def test_the_writer_is_durable(store):
    if store.dialect == "sqlite":
        pragmas = {"journal_mode": "wal", "synchronous": 2}
        for name, expected in pragmas.items():
            assert store.submit(lambda tx, name=name: tx.select(f"PRAGMA {name}")).result(10) == [(expected,)]
    else:
        for name in ("synchronous_commit", "fsync"):
            assert store.submit(lambda tx, name=name: tx.select(f"SHOW {name}")).result(10) == [("on",)]


@pytest.mark.postgres
def test_a_database_whose_default_is_not_durable_is_written_durably(server):
    url = server.database()
    server.psql("postgres", f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = off")
    with Store.open(url) as store:
        assert store.submit(lambda tx: tx.select("SHOW synchronous_commit")).result(10) == [("on",)]


@pytest.mark.postgres
def test_nodes_that_start_together_make_one_schema(server):
    url = server.database()
    program = f"from penstock.store import Store; Store.open({url!r}).close()"
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(4)]
    assert [node.wait(30) for node in running] == [0] * 4


@pytest.mark.postgres
def test_statements_by_key_use_the_index_however_small_the_table_was_when_they_were_prepared(server):
    url = server.database()
    with Store.open(url) as store:

        def explain(tx):
            plan = tx.select(
                "EXPLAIN UPDATE visits AS t SET state = 'X' FROM jsonb_array_elements('[[1,1]]'::jsonb) AS j(a) "
                "WHERE t.pid = (a->>0)::bigint AND t.n = (a->>1)::bigint"
            )
            return "\n".join(line for (line,) in plan)

        assert "visits_pkey" in store.submit(explain).result(10)


def test_statements_by_key_use_the_index_on_sqlite(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:
        for rows in (VISITS, SUBSCRIPTIONS, ITEM_GRANTS, MEMBERSHIPS):
            statements = [(_text(rows).delete(8), 8 * rows.keyed)]
            if rows.width > rows.keyed:
                columns = rows.columns[rows.keyed :]
                statements.append((_text(rows).patch(columns, 8), 8 * rows.width))
            for statement, count in statements:
                found = store.submit(
                    lambda tx, statement=statement, count=count: tx.select(
                        "EXPLAIN QUERY PLAN " + statement, [1] * count
                    )
                ).result(10)
                plan = "\n".join(step[3] for step in found)
                [search] = [step for step in plan.splitlines() if step.startswith(f"SEARCH {rows.name} ")]
                # the key itself, or an index of a table without rowids, which ends in it
                assert "USING PRIMARY KEY" in search or "USING COVERING INDEX" in search, plan
                assert search.count("=?") == rows.keyed, plan
                assert f"SCAN {rows.name}" not in plan, plan


def test_only_the_driver_that_is_used_is_imported(tmp_path):
    program = (
        "import sys; from penstock.store import Store\n"
        f"Store.open('sqlite:///{tmp_path}/penstock.db').close()\n"
        "print([name for name in ('alembic', 'psycopg', 'sqlite3') if name in sys.modules])"
    )
    source = Path(__file__).parents[2] / "src"
    environment = {"PYTHONPATH": str(source), "PATH": os.environ["PATH"]}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
