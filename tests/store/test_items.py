"""The inbox: one row for each grantee of an open item."""

from penstock.core import commands as do
from penstock.core.codec import decode_json
from penstock.store import items
from store.making import processes

PROCESS = "0d9f4c3e-6c1a-4b1e-9a51-0f8d6d3c2b1a"


def opened(store, *candidates, n=1):
    [pid] = processes(store, 1)
    command = do.OpenItem(n, 0, "n", "T", {"a": 1}, candidates, 5, 2)
    store.submit(lambda tx: items.open(tx, 1, pid, PROCESS, command, "user:starter")).result(30)
    return pid


def grants(store):
    return [grantee for (grantee,) in store.read(lambda read: read.rows("SELECT grantee FROM item_grants ORDER BY 1"))]


def run(store, unit):
    return store.submit(unit).result(30)


def test_candidates_are_granted_and_nobody_named_is_everybody(store):
    opened(store, "group:a", "role:starter", "group:a")
    assert grants(store) == ["group:a", "user:starter"]
    pid = opened(store, n=2)
    assert grants(store) == ["group:a", "role:everyone", "user:starter"]
    row = run(store, lambda tx: items.get(tx, pid, 2))
    assert (row.state, row.due_at, row.priority, decode_json(row.data)) == ("READY", 5, 2, {"a": 1})


def test_a_claim_leaves_the_owner_alone_and_an_end_nobody(store):
    pid = opened(store, "group:a", "user:b")
    run(store, lambda tx: items.claim(tx, pid, 1, "user:c"))
    assert grants(store) == ["user:c"]
    done = do.CloseItem(1, completed=True, output={"x": 1})
    run(store, lambda tx: items.close(tx, pid, done))
    assert grants(store) == []
    run(store, lambda tx: items.close(tx, pid, do.CloseItem(1, completed=False), by="system"))
    row = run(store, lambda tx: items.get(tx, pid, 1))
    assert (row.state, row.ended_by, row.output) == ("COMPLETED", "user:c", '{"x":1}')


def test_one_that_is_withdrawn_or_opened_again(store):
    pid = opened(store, "group:a")
    run(store, lambda tx: items.close(tx, pid, do.CloseItem(1, completed=False), by="system"))
    assert grants(store) == []
    again = do.OpenItem(1, 0, "n", "T", None, ("group:b",))
    run(store, lambda tx: items.open(tx, 1, pid, PROCESS, again, "x"))
    assert grants(store) == ["group:b"]
    both = lambda tx: (items.claim(tx, pid, 1, "user:c"), items.close(tx, pid, do.CloseItem(1, completed=True)))  # noqa: E731
    run(store, both)
    assert grants(store) == []
