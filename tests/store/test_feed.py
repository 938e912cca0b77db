"""Feed numbers on one node; several are in tests/engines/test_nodes.py."""

from penstock.store import feed
from penstock.store.rows import HISTORY
from store.making import row


def write(store, *rows):
    """History rows of (pid, seq, at), without a number."""

    def unit(tx):
        for pid, seq, at in rows:
            tx.put(HISTORY, row(HISTORY, pid=pid, seq=seq, at=at, feed=None))

    store.submit(unit).result(30)


def numbers(store):
    return store.read(lambda read: read.rows("SELECT pid, seq FROM history WHERE feed IS NOT NULL ORDER BY feed"))


def test_rows_are_numbered_by_time_in_chunks_and_never_again(store):
    if store.dialect == "sqlite":
        assert store.submit(lambda tx: feed.number(tx, 10)).result(30) == 0
        return
    write(store, (1, 1, 30), (2, 1, 10), (3, 1, 20), (1, 2, 30), (2, 2, 40))
    number = lambda: store.submit(lambda tx: feed.number(tx, 3)).result(30)  # noqa: E731
    assert [number(), number(), number()] == [3, 2, 0]
    order = [(2, 1), (3, 1), (1, 1), (1, 2), (2, 2)]
    assert numbers(store) == order
    write(store, (4, 1, 5))  # committed later: it comes later
    assert number() == 1
    assert numbers(store) == [*order, (4, 1)]
    store.submit(lambda tx: tx.execute("DELETE FROM history")).result(30)
    write(store, (5, 1, 50))
    number()
    assert store.read(lambda read: read.rows("SELECT feed FROM history")) == [(7,)]


def test_a_group_that_fails_uses_up_no_number(store):
    if store.dialect == "sqlite":
        return
    write(store, (1, 1, 1))

    def doomed(tx):
        assert feed.number(tx, 10) == 1
        tx.put(HISTORY, row(HISTORY, pid=1, seq=1))

    assert store.submit(doomed).exception(30) is not None
    store.submit(lambda tx: feed.number(tx, 10)).result(30)
    assert store.read(lambda read: read.rows("SELECT feed FROM history")) == [(1,)]
