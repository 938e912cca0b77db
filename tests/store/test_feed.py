"""Feed numbers on one node; several are in tests/engines/test_nodes.py."""

from penstock.store import feed, journal
from penstock.store.rows import HISTORY, JOURNAL
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


def test_history_and_journal_are_one_order(store):
    """By time where both wait for their numbers, as they are written where one writes."""
    if store.dialect == "sqlite":
        store.submit(lambda tx: journal.record(tx, 7, "app:a", "group.created", "group", "g", {"name": "G"})).result(30)
        store.submit(lambda tx: tx.put(HISTORY, row(HISTORY, pid=1, seq=1, tid=7, feed=feed.place(tx, 7)))).result(30)
        store.submit(lambda tx: journal.record(tx, 7, "app:a", "group.created", "group", "h", {})).result(30)
        found = store.read(lambda read: feed.after(read, 7, 0, 10))
        assert [entry.subject for entry in found] == ["g", None, "h"]
        assert [entry.feed for entry in found] == sorted({entry.feed for entry in found})
        return
    write(store, (1, 1, 30), (2, 1, 10))

    def unit(tx):
        for at in (20, 40):
            tx.put(JOURNAL, row(JOURNAL, jid=None, at=at, feed=None))

    store.submit(unit).result(30)
    assert store.submit(lambda tx: feed.number(tx, 3)).result(30) == 3
    assert store.submit(lambda tx: feed.number(tx, 3)).result(30) == 1
    found = store.read(lambda read: feed.after(read, 0, 0, 10))
    assert [(entry.feed, entry.at, entry.of_process) for entry in found] == [
        (1, 10, True), (2, 20, False), (3, 30, True), (4, 40, False),
    ]  # fmt: skip
    assert [entry.feed for entry in store.read(lambda read: feed.after(read, 0, 1, 2))] == [2, 3]
    assert [entry.feed for entry in store.read(lambda read: feed.after(read, 0, 1, 9, 3))] == [2, 3]
    assert store.read(lambda read: feed.head(read, 0)) == 4
    assert store.read(lambda read: feed.head(read, 1)) == 0


def test_listeners_hear_whose_rows_got_numbers(store):
    heard: list[str] = []
    store.listen(heard.extend)

    def unit(tx):
        for tid in (3, 4, 3):
            tx.put(JOURNAL, row(JOURNAL, jid=None, tid=tid, feed=feed.place(tx, tid)))

    store.submit(unit).result(30)
    store.submit(lambda tx: feed.number(tx, 10)).result(30)
    assert sorted(each for each in heard if each.startswith("feed:")) == ["feed:3", "feed:4"]
