"""Every statement of the store's own rooms finds its rows by an index; and the lists."""

import contextlib

import pytest
from sqlalchemy.sql import Delete, Select, Update

from penstock.core.requests import UserFilter, Viewer
from penstock.store import (
    Store,
    bulks,
    carrying,
    cascade,
    decisions,
    definitions,
    directory,
    feed,
    grants,
    held,
    idempotency,
    inbox,
    installation,
    items,
    jobs,
    lookups,
    messages,
    outbox,
    people,
    processes,
    retention,
    starters,
    timers,
    values,
    visibility,
)
from penstock.store.rows import DEFINITIONS, PROCESSES, VERSIONS
from store.making import row

MODULES = (
    *(
        bulks,
        carrying,
        cascade,
        definitions,
        feed,
        held,
        idempotency,
        inbox,
        installation,
        items,
        jobs,
        lookups,
        messages,
        outbox,
        people,
    ),
    *(processes, retention, starters, timers, values, decisions, directory, grants, visibility),
)

WALKS = {
    # (room, statement): why it may look at more rows than it gives
    ("retention", "_OLD"): "a reader's, in the background",
    ("feed", "_NUMBER"): "PostgreSQL's alone, by its own index",
    ("lookups", "_PROCESSES"): "asked for the keys of a page",
    ("bulks", "_ROW"): "the columns, for others to choose from",
    ("feed", "ENTRIES"): "the columns, for others to choose from",
    ("feed", "JOURNAL_ENTRIES"): "the columns, for others to choose from",
    ("people", "_TENANTS"): "all are wanted",
    ("installation", "_ANY"): "whether there is one",
    ("installation", "_PAGE"): "in the order of its key",
    ("installation", "_NODES"): "nodes are few",
    ("installation", "_OPERATORS"): "of every tenant, and tenants are few",
    ("bulks", "_RUNNING"): "in the order of its partial index, which has what runs alone",
    ("bulks", "_OLD"): "operations are few",
    ("inbox", "_PIDS"): "in the order of its index, from where the last look ended",
}


class Recording:
    """A reader that keeps what it is asked."""

    def __init__(self):
        self.asked = []

    def rows(self, statement, params=()):
        """Rows enough for a page: numbers first, what they are of next."""
        self.asked.append((statement, params))
        return [(1, 1), (2, 1)] if len(self.asked) % 2 else [(1, 1, *range(20)), (2, 1, *range(20))]

    def row(self, statement, params=()):
        return self.rows(statement, params) or None


def own_statements():
    """Statements that stand in the rooms, by name."""
    for module in MODULES:
        room = module.__name__.rpartition(".")[2]
        for name, value in vars(module).items():
            many = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else [value]
            for i, statement in enumerate(many):
                if isinstance(statement, Select | Update | Delete):
                    yield pytest.param(room, name, statement, id=f"{room}.{name}{i or ''}")


def asked_statements():
    """Statements that are made when they are asked."""
    reader = Recording()

    def ask(call, *args, **more):
        with contextlib.suppress(TypeError, ValueError, KeyError):  # the rows are made up
            call(*args, **more)

    ask(lookups.latest_versions, reader, 1, 0, 10)
    ask(lookups.versions, reader, 1, "c", 5, 10)
    for wanted in (
        UserFilter(),
        UserFilter(email="a", sort="-email"),
        UserFilter(name="b", sort="name"),
        UserFilter(group="g", sort="-name"),
        UserFilter(disabled=True),
        UserFilter(disabled=False),
    ):
        ask(directory.users, reader, 1, wanted, ["a"] if wanted.sort.endswith("email") else ["a", 1], 10)
    ask(directory.groups, reader, 1, "a", 10)
    ask(directory.applications, reader, 1, 5, 10)
    viewer = Viewer("user:a", ("user:a", "group:b", "role:everyone"))
    reader.asked.append((visibility.concerned(1, viewer), {}))
    for i, (statement, params) in enumerate(reader.asked):
        yield pytest.param(statement, params, id=f"asked {i}")


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('plans')}/p.db", "test") as opened:
        yield opened


def plan(store, statement, params):
    from penstock.store.sqlite import _compile

    text, bound = _compile(statement, params)
    if "pg_" in text:
        return []
    bound = tuple(1 if value is None else value for value in bound)
    return [row[3] for row in store.read(lambda read: read.rows(f"EXPLAIN QUERY PLAN {text}", bound))]


def params_of(statement):
    compiled = statement.compile()
    return {
        name: [1, 2] if compiled.binds[name].expanding else 1
        for name, value in compiled.params.items()
        if value is None and not name.endswith("_1")
    }


@pytest.mark.parametrize(("room", "name", "statement"), list(own_statements()))
def test_statements_use_an_index(sqlite_store, room, name, statement):
    steps = plan(sqlite_store, statement, params_of(statement))
    if (room, name) not in WALKS:
        assert not walks(steps), steps


@pytest.mark.parametrize(("statement", "params"), list(asked_statements()))
def test_lists_read_the_end_of_a_range(sqlite_store, statement, params):
    """And never all of a tenant's rows, to sort them."""
    steps = plan(sqlite_store, statement, params)
    assert not walks(steps), steps
    whole = [step for step in steps if step.endswith("(tid=?)") and " definitions " not in step]
    assert not whole, steps


def walks(steps):
    """Steps that read a whole table; what a part of the statement has found is small."""
    small = ("SCAN anon_", "SCAN lowest", "SCAN each_name", "SCAN (subquery", "SCAN 2-ROW VALUES", "SCAN CONSTANT ROW")
    return [step for step in steps if step.startswith("SCAN") and not step.startswith(small)]


def test_the_lists_of_plans_are_not_empty():
    assert len(list(own_statements())) > 60
    assert len(list(asked_statements())) > 10


# -- what lists give ---------------------------------------------------------------------------------------------------

STATES = ("RUNNING", "COMPLETED", "FAILED", "SUSPENDED", "CANCELLED")


@pytest.fixture
def filled(store):
    """Two tenants with three definitions each; processes in turn, with something to find."""

    def unit(tx):
        for tid in (1, 2):
            for did in (10 * tid, 10 * tid + 1, 10 * tid + 2):
                tx.put(DEFINITIONS, row(DEFINITIONS, did=did, tid=tid, id=f"d{did}", code=f"d{did % 10}", latest=1))
                tx.put(VERSIONS, row(VERSIONS, vid=did, did=did, tid=tid, id=f"v{did}", number=1, digest="x"))
        for pid in range(1, 201):
            tid = 1 + pid % 2
            did = 10 * tid + pid % 3
            tx.put(
                PROCESSES,
                row(PROCESSES, pid=pid, tid=tid, id=f"p{pid}", did=did, vid=did, status=STATES[pid % 5], created_at=pid,
                    created_by=f"user:{pid % 4}"),
            )  # fmt: skip

    store.submit(unit).result(30)
    return store


def pages(store, page_after):
    """All that the pages of a list hold."""
    found: list = []
    while True:
        after = (found[-1], 1) if found else None
        page = store.read(lambda read, a=after: page_after(read, a))
        found += [each.pid for each in page]
        if len(page) < 7:
            return found
