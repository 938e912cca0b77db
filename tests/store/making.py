"""Rows for the store's exam, made from the tables so that a new column does not break it."""

from __future__ import annotations

import threading
from contextlib import contextmanager

from penstock.store import Store, Tx, tables
from penstock.store.rows import PROCESS_VALUES, PROCESSES, Rows


def row(rows: Rows, **values):
    """A row with these values; other columns are null, "" or 0."""
    table = tables.metadata.tables[rows.name]
    made = []
    for column in rows.columns:
        if column in values:
            made.append(values.pop(column))
        elif table.columns[column].nullable:
            made.append(None)
        else:
            made.append(0 if column in rows.integers else "")
    assert not values, values
    return tuple(made)


def value(rows: Rows, found, column: str):
    return found[rows.index[column]]


def processes(store: Store, count: int) -> list[int]:
    """So many processes, each with a counter at 0."""

    def unit(tx: Tx) -> list[int]:
        pids = [tx.next_pid() for _ in range(count)]
        for pid in pids:
            tx.put(PROCESSES, row(PROCESSES, pid=pid, tid=1, id=f"process {pid}", status="RUNNING"))
            tx.put(PROCESS_VALUES, (pid, "n", "0"))
        return pids

    return store.submit(unit).result(30)


def increment(pid: int):
    """A unit that adds one to a process's counter and returns the sum."""

    def unit(tx: Tx) -> int:
        found = tx.get(PROCESS_VALUES, (pid, "n"))
        number = int(found[2]) + 1
        tx.put(PROCESS_VALUES, (pid, "n", str(number)))
        tx.patch(PROCESSES, (pid,), {"seq": number})
        return number

    return unit


def counter(store: Store, pid: int) -> int:
    return int(store.read(lambda read: read.row("SELECT value FROM process_values WHERE pid = ?", (pid,)))[0])


def put_value(key: str, text: str = "x", pid: int = 1):
    def unit(tx: Tx) -> str:
        tx.put(PROCESS_VALUES, (pid, key, text))
        return key

    return unit


def values(store: Store) -> list[str]:
    """All keys in `process_values`, in order."""
    found = store.read(lambda read: read.rows("SELECT key FROM process_values ORDER BY key"))
    return [key for (key,) in found]


@contextmanager
def held(store: Store):
    """Keep the writer busy, so that what is submitted meanwhile makes one group."""
    go, running = threading.Event(), threading.Event()

    def unit(_tx: Tx) -> None:
        running.set()
        assert go.wait(30)

    waiting = store.submit(unit)
    assert running.wait(30)
    try:
        yield
    finally:
        go.set()
        waiting.result(30)
