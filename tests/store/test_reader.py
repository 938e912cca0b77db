"""Reading outside the writer: what was acknowledged is seen, one snapshot a read, a time limit; a bounded log."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import bindparam, func, select

from penstock import errors
from penstock.store import Store, checkpointer, sqlite, tables
from penstock.store.rows import PROCESS_VALUES
from store.making import counter, increment, processes, put_value, values

ENDLESS = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n",
    "postgresql": "SELECT pg_sleep(60)",
}


def test_a_reader_sees_all_that_was_acknowledged(store):
    pids = processes(store, 4)

    def client(pid):
        for number in range(1, 100):
            assert store.submit(increment(pid), (pid,)).result(10) == number
            assert counter(store, pid) == number

    failures = []

    def guarded(pid):
        try:
            client(pid)
        except BaseException as exc:  # noqa: BLE001
            failures.append(exc)

    threads = [threading.Thread(target=guarded, args=(pid,)) for pid in pids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_read_is_one_snapshot(store):
    pid = processes(store, 1)[0]
    query = "SELECT value FROM process_values WHERE pid = ?"

    def look(read):
        before = read.row(query, (pid,))
        store.submit(increment(pid), (pid,)).result(10)
        return before, read.row(query, (pid,))

    assert store.read(look) == (("0",), ("0",))
    assert counter(store, pid) == 1


def test_a_read_ends_at_its_limit_and_the_connection_goes_on(store, dialect):
    for _ in range(6):  # more often than there are connections
        start = time.monotonic()
        with pytest.raises(errors.Unavailable, match=r"took longer than 0\.2 s"):
            store.read(lambda read: read.rows(ENDLESS[dialect]), limit=0.2)
        assert time.monotonic() - start < 2
    assert store.read(lambda read: read.rows("SELECT 1")) == [(1,)]


def test_a_read_of_many_statements_ends_at_its_limit(store):
    def many(read):
        while True:
            read.rows("SELECT 1")

    with pytest.raises(errors.Unavailable, match="took longer"):
        store.read(many, limit=0.2)


def test_a_read_that_raises_gives_its_connection_back(store):
    for _ in range(10):
        with pytest.raises(ZeroDivisionError):
            store.read(lambda read: read.rows("SELECT 1") and 1 / 0)
        with pytest.raises(errors.Defect):
            store.read(lambda read: read.rows("SELECT nothing FROM nowhere"))
    assert store.read(lambda read: read.rows("SELECT 1")) == [(1,)]


def test_a_reader_cannot_write(store):
    with pytest.raises(errors.PenstockError):
        store.read(lambda read: read.rows("DELETE FROM process_values"))


def test_async_reads_wait_in_threads_and_not_in_the_loop(store, dialect):
    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.ensure_future(tick())
        slow = [store.async_read(lambda read: read.rows(ENDLESS[dialect]), limit=0.3) for _ in range(3)]
        quick = await store.async_read(lambda read: read.rows("SELECT 1"))
        ended = await asyncio.gather(*slow, return_exceptions=True)
        ticking.cancel()
        return quick, ended, ticks

    quick, ended, ticks = asyncio.run(main())
    assert quick == [(1,)]
    assert all(isinstance(error, errors.Unavailable) for error in ended)
    assert ticks > 3


def test_when_all_connections_are_busy_a_read_waits_and_then_says_so(store, dialect):
    def occupy():
        with pytest.raises(errors.Unavailable):
            store.read(lambda read: read.rows(ENDLESS[dialect]), limit=0.6)

    threads = [threading.Thread(target=occupy) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    with pytest.raises(errors.Unavailable, match="no connection"):
        store.read(lambda read: read.rows("SELECT 1"), limit=0.1)
    assert store.read(lambda read: read.rows("SELECT 1"), limit=5) == [(1,)]
    for thread in threads:
        thread.join()


def test_core_statements_are_compiled_once_for_each_shape(store):
    c = tables.process_values.c
    store.submit(lambda tx: [put_value(key, pid=pid)(tx) for pid, key in ((1, "a"), (1, "b"), (2, "a"))]).result(10)

    def keys(pid, *, limit=9, start=""):
        return select(c.key).where(c.pid == pid, c.key > start).order_by(c.key).limit(limit)

    assert store.read(lambda read: read.rows(keys(1))) == [("a",), ("b",)]
    assert store.read(lambda read: read.rows(keys(1, limit=1))) == [("a",)]
    assert store.read(lambda read: read.rows(keys(1, start="a"))) == [("b",)]
    assert store.read(lambda read: read.rows(keys(2))) == [("a",)]
    module = sqlite if store.dialect == "sqlite" else __import__("penstock.store.postgres", fromlist=["_compile"])
    compiled = len(module._compile._compiled)
    assert store.read(lambda read: read.rows(keys(3))) == []
    assert len(module._compile._compiled) == compiled

    for wanted, count in (([1], 2), ([1, 2], 3), ([], 0), ([2, 3, 4], 1)):
        listed = select(func.count()).where(c.pid.in_(wanted))
        assert store.read(lambda read, listed=listed: read.row(listed)) == (count,)
        given = select(func.count()).where(c.pid.in_(bindparam("pids", expanding=True)))
        assert store.read(lambda read, given=given, wanted=wanted: read.row(given, {"pids": wanted})) == (count,)
    like = select(c.pid).where(c.key.like("%a%")).order_by(c.pid)
    assert store.read(lambda read: read.rows(like)) == [(1,), (2,)]
    assert store.read(lambda read: read.rows("SELECT pid FROM process_values WHERE key LIKE '%b%'")) == [(1,)]


# --- SQLite's log --------------------------------------------------------------------------------------------------


@pytest.fixture
def small_log(monkeypatch):
    monkeypatch.setattr(checkpointer, "CHECKPOINT_PAGES", 200)
    monkeypatch.setattr(sqlite, "LOG_LIMIT", 200 * 4096)


def test_the_log_stays_small_under_writes_with_readers(tmp_path, small_log):
    log = Path(f"{tmp_path}/penstock.db-wal")
    stop = threading.Event()
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:

        def reads():
            while not stop.is_set():
                store.read(lambda read: [read.rows("SELECT count(*) FROM process_values"), time.sleep(0.002)])

        readers = [threading.Thread(target=reads) for _ in range(2)]
        for reader in readers:
            reader.start()
        largest = written = 0
        until = time.monotonic() + 2
        while time.monotonic() < until:
            for future in [store.submit(put_value(f"{written}-{i}", "x" * 2000)) for i in range(50)]:
                future.result(10)
            written += 1
            largest = max(largest, log.stat().st_size)
        stop.set()
        for reader in readers:
            reader.join()
    assert written * 50 * 2000 > 4 * largest  # far less than was written
    assert largest < 40 * 200 * 4096


def test_the_log_shrinks_again_after_a_long_read(tmp_path, small_log, caplog):
    log = Path(f"{tmp_path}/penstock.db-wal")
    number = iter(range(1_000_000))
    with Store.open(f"sqlite:///{tmp_path}/penstock.db") as store:

        def write(times):
            for _ in range(times):
                for future in [store.submit(put_value(f"{next(number)}", "x" * 2000)) for _ in range(50)]:
                    future.result(10)

        def long_read(read):
            before = read.row("SELECT count(*) FROM process_values")
            write(60)
            assert read.row("SELECT count(*) FROM process_values") == before

        store.read(long_read, limit=30)
        grown = log.stat().st_size
        assert grown > 1600 * 4096
        assert any("old snapshot" in record.message for record in caplog.records)
        until = time.monotonic() + 5
        while log.stat().st_size >= grown / 2 and time.monotonic() < until:
            write(1)
            time.sleep(0.02)
        assert log.stat().st_size < grown / 2
        assert len(values(store)) == next(number)


def test_a_single_read_costs_no_transaction_and_asks_but_once(store):
    store.submit(lambda tx: tx.put(PROCESS_VALUES, (1, "a", "x"))).result(10)

    def one(read):
        return read.rows("SELECT value FROM process_values")

    assert store.read(one) == store.reader.read(one, single=True) == [("x",)]
    with pytest.raises(errors.Defect):
        store.reader.read(lambda read: (one(read), one(read)), single=True)
    assert store.reader.read(one, single=True, limit=3.0) == [("x",)]
    assert store.read(one) == [("x",)]


@pytest.mark.postgres
def test_a_single_read_connects_again_after_the_connection_was_lost(server):
    url = server.schema()
    with Store.open(url, "test") as store:
        store.submit(lambda tx: tx.put(PROCESS_VALUES, (1, "a", "x"))).result(10)

        def one(read):
            return read.rows("SELECT value FROM process_values")

        reader = store.reader
        assert reader.read(one, single=True) == [("x",)]
        ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'penstock reader'"
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(ends)
        assert [reader.read(one, single=True) for _ in range(8)] == [[("x",)]] * 8
