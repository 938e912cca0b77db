"""The inbox: one row for each grantee of an open item, kept to what the item says; drafts, lines and posts."""

from types import SimpleNamespace

import pytest

from penstock.core import commands as do
from penstock.core.codec import decode_json
from penstock.store import items
from penstock.store.items import Role
from store.making import processes

PROCESS = "0d9f4c3e-6c1a-4b1e-9a51-0f8d6d3c2b1a"


def opened(store, *candidates, n=1, **more):
    [pid] = processes(store, 1)
    command = do.OpenItem(n, 0, "n", "T", {"a": 1}, candidates, 5, 2, **more)

    def unit(tx):
        held = SimpleNamespace(tx=tx, tid=1, pid=pid, did=3, process_id=PROCESS, created_by="user:starter")
        items.open(held, command)

    run(store, unit)
    return pid


def grants(store):
    rows = store.read(lambda read: read.rows("SELECT grantee, role FROM item_grants ORDER BY 1"))
    return {grantee: Role(role) for grantee, role in rows}


def run(store, unit):
    return store.submit(unit).result(30)


def row_of(store, pid, n=1):
    return run(store, lambda tx: items.get(tx, pid, n))


def test_candidates_are_granted_and_nobody_named_is_everybody(store):
    opened(store, "group:a", "role:starter", "group:a")
    assert list(grants(store)) == ["group:a", "user:starter"]
    pid = opened(store, n=2)
    assert list(grants(store)) == ["group:a", "role:everyone", "user:starter"]
    row = row_of(store, pid, 2)
    assert (row.state, row.due_at, row.priority, decode_json(row.data)) == ("READY", 5, 2, {"a": 1})


def test_a_claim_leaves_the_owner_alone_and_an_end_nobody(store):
    pid = opened(store, "group:a", "user:b")
    run(store, lambda tx: items.claim(tx, pid, 1, "user:c"))
    assert grants(store) == {"user:c": Role.OWNER}
    run(store, lambda tx: items.close(tx, pid, do.CloseItem(1, completed=True, output={"x": 1})))
    assert grants(store) == {}
    run(store, lambda tx: items.close(tx, pid, do.CloseItem(1, completed=False)))
    row = row_of(store, pid)
    assert (row.state, row.ended_by, row.output) == ("COMPLETED", "user:c", '{"x":1}')


def test_one_that_is_withdrawn_or_opened_again(store):
    pid = opened(store, "group:a")
    run(store, lambda tx: items.add_line(tx, pid, 1, "user:x", "log", {}))
    run(store, lambda tx: items.close(tx, pid, do.CloseItem(1, completed=False)))
    assert grants(store) == {}
    assert row_of(store, pid).ended_by == "system"

    def again(tx):
        held = SimpleNamespace(tx=tx, tid=1, pid=pid, did=3, process_id=PROCESS, created_by="x")
        items.open(held, do.OpenItem(1, 0, "n", "T", None, ("group:b",), again=True))

    run(store, again)
    assert list(grants(store)) == ["group:b"]
    assert run(store, lambda tx: items.add_line(tx, pid, 1, "user:x", "log", {})).line == 2
    both = lambda tx: (items.claim(tx, pid, 1, "user:c"), items.close(tx, pid, do.CloseItem(1, completed=True)))  # noqa: E731
    run(store, both)
    assert grants(store) == {}


def test_what_is_delegated_comes_back_to_its_first_owner(store):
    pid = opened(store, "group:a")
    run(store, lambda tx: items.claim(tx, pid, 1, "user:a"))
    run(store, lambda tx: items.delegate(tx, pid, 1, "user:b"))
    run(store, lambda tx: items.delegate(tx, pid, 1, "user:c"))
    assert grants(store) == {"user:a": Role.DELEGATOR, "user:c": Role.OWNER}
    run(store, lambda tx: items.unclaim(tx, pid, 1))
    assert grants(store) == {"user:a": Role.OWNER}
    run(store, lambda tx: items.unclaim(tx, pid, 1))
    assert grants(store) == {"group:a": Role.CANDIDATE}
    run(store, lambda tx: items.claim(tx, pid, 1, "user:a"))
    run(store, lambda tx: items.delegate(tx, pid, 1, "user:b"))
    run(store, lambda tx: items.delegate(tx, pid, 1, "user:a"))
    assert (grants(store), row_of(store, pid).delegator) == ({"user:a": Role.OWNER}, None)


def test_an_assignment_is_to_an_owner_or_to_a_group(store):
    pid = opened(store, "group:a")
    run(store, lambda tx: items.assign(tx, pid, 1, "user:b"))
    assert grants(store) == {"user:b": Role.OWNER}
    run(store, lambda tx: items.unclaim(tx, pid, 1))
    assert grants(store) == {"group:a": Role.CANDIDATE}
    run(store, lambda tx: items.claim(tx, pid, 1, "user:b"))
    run(store, lambda tx: items.delegate(tx, pid, 1, "user:c"))
    run(store, lambda tx: items.assign(tx, pid, 1, "group:z"))
    assert grants(store) == {"group:z": Role.CANDIDATE}


def test_grants_carry_what_they_are_sorted_by(store):
    pid = opened(store, "group:a")
    before = row_of(store, pid)
    run(store, lambda tx: items.change(tx, pid, 1, None, -7))
    rows = store.read(lambda read: read.rows("SELECT created_at, due_at, priority FROM item_grants"))
    assert rows == [(before.created_at, items.NEVER, -7)]
    assert row_of(store, pid).rev == before.rev + 1


@pytest.mark.parametrize(("kind", "role"), [("MESSAGE", Role.READER), ("THREAD", Role.PARTICIPANT)])
def test_messages_and_threads_are_granted_too(store, kind, role):
    opened(store, "group:a", kind=kind, waits=False, owner="user:o" if kind == "THREAD" else None)
    assert grants(store) == dict.fromkeys(["group:a", *(["user:o"] if kind == "THREAD" else [])], role)


def test_drafts_are_each_owners_and_end_with_the_item(store):
    pid = opened(store)
    run(store, lambda tx: items.claim(tx, pid, 1, "user:a"))

    def save(owner, text):
        return run(store, lambda tx: items.save_draft(tx, items.get(tx, pid, 1), owner, text))

    first = save("user:a", "1")
    assert save("user:a", "2").rev == first.rev + 1
    save("user:b", "3")
    assert run(store, lambda tx: items.draft(tx, items.get(tx, pid, 1), "user:a")).data == "2"
    run(store, lambda tx: items.close(tx, pid, do.CloseItem(1, completed=True)))
    assert store.read(lambda read: read.rows("SELECT * FROM drafts")) == []


def test_lines_and_posts_are_numbered_in_their_item(store):
    pid = opened(store, kind="THREAD", waits=False)
    two = lambda tx: [items.add_post(tx, pid, 1, "user:a", text).post for text in "xy"]  # noqa: E731
    assert run(store, two) == [1, 2]
    assert run(store, two) == [3, 4]
    assert run(store, lambda tx: items.post(tx, pid, 1, 3)).text == "x"
    assert run(store, lambda tx: items.post(tx, pid, 1, 9)) is None
