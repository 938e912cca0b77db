"""What goes wrong from outside: lost answers, a database that is away, locked or full, kill -9."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import apsw
import psycopg
import pytest

from penstock import errors
from penstock.store import Store, sqlite
from store.making import counter, held, increment, processes, put_value, values
from store.proxy import Proxy

TESTS = Path(__file__).parents[1]
LOADER = Path(__file__).parent / "loader.py"
ENVIRONMENT = {"PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}", "PATH": "/usr/bin:/bin"}


@pytest.fixture
def proxied(server):
    """A store that reaches its PostgreSQL through a proxy, and the proxy."""
    direct = server.database()
    proxy = Proxy(server.port)
    with Store.open(server.url(direct.rpartition("/")[2], proxy.port), "proxied") as store:
        yield store, proxy
    proxy.close()


@pytest.mark.postgres
@pytest.mark.parametrize("mode", ["before", "after", "at once"])
@pytest.mark.parametrize("skip", [0, 3])
def test_a_commit_whose_answer_was_lost_happens_once(proxied, mode, skip):
    store, proxy = proxied
    pids = processes(store, 8)
    proxy.arm(mode, skip)
    for rounds in range(6):
        with held(store):
            futures = [store.submit(increment(pid), (pid,)) for pid in pids for _ in range(4)]
        assert [future.result(20) for future in futures] == [rounds * 4 + i for _ in pids for i in (1, 2, 3, 4)]
    assert proxy.broken == 1
    assert store.stats.reconnects == 1
    assert [counter(store, pid) for pid in pids] == [24] * 8


@pytest.mark.postgres
def test_a_commit_that_the_server_is_still_at_is_waited_for_or_stopped(proxied, server):
    """The connection breaks while the server is in the middle of the COMMIT: asking too early must not double it."""
    store, proxy = proxied
    pid = processes(store, 1)[0]
    name = store._address.url.rpartition("/")[2]
    server.psql(
        name,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END';"
        "CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON process_values DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    for number in (1, 2, 3):
        proxy.arm("at once")
        assert store.submit(increment(pid), (pid,)).result(20) == number
    assert counter(store, pid) == 3


@pytest.mark.postgres
def test_a_fate_that_cannot_be_learnt_is_called_unknown(proxied, monkeypatch):
    monkeypatch.setattr("penstock.store.writer.DOUBT_SECONDS", 0.3)
    store, proxy = proxied
    pid = processes(store, 1)[0]
    proxy.arm("after")
    proxy.refusing = True
    with pytest.raises(errors.Unavailable) as caught:
        store.submit(increment(pid), (pid,)).result(20)
    assert caught.value.details["unknown"] is True
    proxy.refusing = False
    assert store.submit(increment(pid), (pid,)).result(20) == 2


@pytest.mark.postgres
def test_a_lost_connection_is_made_again(proxied):
    store, proxy = proxied
    pid = processes(store, 1)[0]
    for number in (1, 2, 3):
        proxy.cut()
        assert store.submit(increment(pid), (pid,)).result(20) == number
        assert counter(store, pid) == number
    assert store.stats.reconnects == 3


@pytest.mark.postgres
def test_a_connection_lost_inside_a_unit_runs_the_group_again(proxied):
    store, proxy = proxied
    pid = processes(store, 1)[0]
    cuts = iter([True])

    def unit(tx):
        number = increment(pid)(tx)
        if next(cuts, False):
            proxy.cut()
        tx.select("SELECT 1")
        return number

    with held(store):
        first = store.submit(put_value("a"))
        futures = [store.submit(unit, (pid,)) for _ in range(3)]
    assert first.result(20) == "a"
    assert [future.result(20) for future in futures] == [1, 2, 3]


@pytest.mark.postgres
def test_a_database_that_is_away_is_told_to_everyone_and_comes_back_by_itself(proxied, monkeypatch):
    monkeypatch.setattr("penstock.store.writer.RECONNECT_SECONDS", 0.3)
    store, proxy = proxied
    pid = processes(store, 1)[0]
    proxy.refusing = True
    proxy.cut()
    futures = [store.submit(increment(pid), (pid,)) for _ in range(100)]
    futures.append(store.submit(increment(pid), (pid,), low=True))
    for future in futures:
        with pytest.raises(errors.Unavailable):
            future.result(20)
    with pytest.raises(errors.Unavailable):
        store.submit(increment(pid), (pid,)).result(20)
    with pytest.raises(errors.Unavailable):
        counter(store, pid)
    proxy.refusing = False
    assert store.submit(increment(pid), (pid,)).result(20) == 1
    assert counter(store, pid) == 1


@pytest.mark.postgres
def test_two_programs_under_one_name_do_not_both_write(server):
    url = server.database()
    with Store.open(url, "twin") as first:
        first.submit(put_value("a")).result(10)
        with Store.open(url, "twin") as second:
            second.submit(put_value("b")).result(10)
            with pytest.raises(errors.Unavailable, match="twin"):
                first.submit(put_value("c")).result(10)
            assert values(second) == ["a", "b"]


@pytest.mark.postgres
def test_a_node_that_was_forgotten_goes_on(server):
    url = server.database()
    with Store.open(url, "quiet") as store:
        store.submit(put_value("a")).result(10)
        server.psql(url.rpartition("/")[2], "DELETE FROM nodes")
        assert store.submit(put_value("b")).result(10) == "b"


def test_a_database_that_another_program_has_locked_is_unavailable_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "LOCK_WAIT", 0.2)
    path = f"{tmp_path}/penstock.db"
    with Store.open(f"sqlite:///{path}") as store:
        store.submit(put_value("a")).result(10)
        other = apsw.Connection(path)
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO process_values VALUES (1, 'other', '')")
        with pytest.raises(errors.Unavailable):
            store.submit(put_value("b")).result(10)
        assert values(store) == ["a"]  # reading goes on
        other.execute("COMMIT")
        other.close()
        assert store.submit(put_value("c")).result(10) == "c"
        assert values(store) == ["a", "c", "other"]


@pytest.mark.postgres
def test_a_table_that_another_program_has_locked_is_unavailable_and_comes_back(server):
    url = server.database()
    with Store.open(url, "locked") as store:
        done = threading.Event()
        store.submit(lambda tx: tx.execute("SELECT set_config('lock_timeout', '200ms', false)")).result(10)
        with psycopg.connect(url) as other:
            other.execute("LOCK TABLE process_values IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(errors.Unavailable):
                store.submit(put_value("a")).result(10)
            other.rollback()
            done.set()
        assert store.submit(put_value("b")).result(10) == "b"


def test_a_full_disk_is_unavailable_and_comes_back(tmp_path):
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:
        store.submit(put_value("a")).result(10)
        pages = store.submit(lambda tx: tx.select("PRAGMA page_count")).result(10)[0][0]
        store.submit(lambda tx: tx.select(f"PRAGMA max_page_count = {pages}")).result(10)
        with held(store):
            futures = [store.submit(put_value(str(i), "x" * 20_000)) for i in range(5)]
            small = store.submit(put_value("small", ""))
        for future in futures:
            with pytest.raises(errors.Unavailable, match="full"):
                future.result(10)
        assert small.result(10) == "small"
        store.submit(lambda tx: tx.select("PRAGMA max_page_count = 1000000")).result(10)
        assert store.submit(put_value("b", "x" * 20_000)).result(10) == "b"
        assert values(store) == ["a", "b", "small"]


def test_a_killed_writer_has_kept_all_it_acknowledged(url):
    acknowledged: set[str] = set()
    for pid in (1, 2, 3):
        program = [sys.executable, str(LOADER), "endless", url, str(pid)]
        with subprocess.Popen(program, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True) as running:
            assert running.stdout is not None
            lines = [running.stdout.readline() for _ in range(300)]
            running.send_signal(signal.SIGKILL)
            lines += running.stdout.readlines()
        acknowledged |= {f"{pid} {line.strip()}" for line in lines if line.endswith("\n")}
        assert len(acknowledged) >= 300 * pid
        with Store.open(url, "after") as store:
            found = store.read(lambda read: read.rows("SELECT pid, key FROM process_values"))
            assert acknowledged <= {f"{pid} {key}" for pid, key in found}


@pytest.mark.postgres
def test_three_nodes_on_the_same_processes_lose_no_update_and_do_not_deadlock(server):
    url = server.database()
    with Store.open(url, "first") as store:
        pids = processes(store, 200)
        running = [
            subprocess.Popen(
                [sys.executable, str(LOADER), "hot", url, f"node {i}", "4", ",".join(map(str, pids))],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=ENVIRONMENT,
                text=True,
            )
            for i in range(3)
        ]
        outputs = [node.communicate(timeout=60) for node in running]
        assert [node.returncode for node in running] == [0, 0, 0], outputs
        counts = [[int(word) for word in out.split()] for out, _ in outputs]
        print("units, deferred, failed groups of each node:", counts)
        assert sum(counter(store, pid) for pid in pids) == sum(count[0] for count in counts)
        sequences = store.read(lambda read: read.row("SELECT sum(seq) FROM processes"))[0]
        assert int(sequences) == sum(count[0] for count in counts)
        assert all(count[0] > 100 for count in counts)  # nobody was shut out
        assert sum(count[1] for count in counts) > 0  # they did meet
        time.sleep(0.1)
        deadlocks = server.psql("postgres", "SELECT sum(deadlocks) FROM pg_stat_database")
        assert int(deadlocks) == 0
