"""Lists of items: every filter and order against a plain model, page by page; and every page is the end of an index."""

import itertools

import pytest

from penstock.core.requests import ItemFilter
from penstock.store import Store, item_lists
from penstock.store.items import NEVER, Role
from penstock.store.rows import ITEM_GRANTS, ITEMS, PROCESSES
from store.making import row

COUNT = 240
STATES = ("READY", "CLAIMED", "COMPLETED", "CANCELLED")
NOW = 1_000_000


class Made:
    """Item `i` of the model: its row, and whom it is granted to."""

    def __init__(self, i):
        self.tid, self.pid, self.n = 1 + i % 2, 1 + i // 3, 1 + i % 3
        self.kind = ("TASK", "TASK", "TASK", "MESSAGE", "THREAD")[i % 5]
        self.state = STATES[i * 7 // 5 % 4]
        if self.kind != "TASK" and self.state == "CLAIMED":
            self.state = "READY"
        self.did, self.task = 10 * self.tid + i % 3, f"t{i % 4}"
        self.created_at, self.due_at = i * 37 % 100, (NEVER, NOW - i, NOW + i)[i % 3]
        self.priority = i % 7 - 3
        self.owner = f"user:{'xy'[i % 2 * (i % 3) % 2]}" if self.state in ("CLAIMED", "COMPLETED") else None
        self.open = self.state in STATES[:2]
        self.granted = {}
        if self.state == "CLAIMED":
            self.granted = {self.owner: Role.OWNER}
            if i % 11 == 0:
                self.granted["user:z"] = Role.DELEGATOR
        elif self.state == "READY":
            role = {"TASK": Role.CANDIDATE, "MESSAGE": Role.READER, "THREAD": Role.PARTICIPANT}[self.kind]
            self.granted = dict.fromkeys(("group:a", "group:b", "user:x", "role:everyone")[i % 4 : i % 4 + 2], role)

    @property
    def key(self):
        return self.pid, self.n

    def rows(self):
        names = ("tid", "pid", "n", "kind", "state", "did", "task", "created_at", "due_at", "priority", "owner")
        values = {name: getattr(self, name) for name in names}
        yield ITEMS, row(ITEMS, id=f"{self.pid}.{self.n}", data="null", candidates="[]",
                         ended_at=None if self.open else 5, **values)  # fmt: skip
        for grantee, role in self.granted.items():
            of = (self.tid, grantee, self.created_at, self.pid, self.n, self.due_at, self.priority, int(role))
            yield ITEM_GRANTS, of


MODEL = [Made(i) for i in range(COUNT)]


def fill(store):
    def unit(tx):
        for pid in {made.pid for made in MODEL}:
            tx.put(PROCESSES, row(PROCESSES, pid=pid, tid=1, id=f"p{pid}", status="RUNNING"))
        for made in MODEL:
            for rows, values in made.rows():
                tx.put(rows, values)

    store.submit(unit).result(30)


@pytest.fixture
def filled(store):
    fill(store)
    return store


X = {"grantees": ("group:a", "role:everyone", "user:x"), "principal": "user:x"}
FILTERS = [
    ItemFilter(),
    ItemFilter(states=("READY",)),
    ItemFilter(states=("CLAIMED", "COMPLETED")),
    ItemFilter(kinds=("MESSAGE", "THREAD")),
    ItemFilter(kinds=("TASK",), states=("CANCELLED",)),
    ItemFilter(did=11),
    ItemFilter(did=11, task="t1"),
    ItemFilter(task="t2", states=("READY", "CLAIMED")),
    ItemFilter(task="nothing"),
    ItemFilter(owner="user:x"),
    ItemFilter(owner="user:y", did=21, kinds=("TASK",)),
    ItemFilter(group="group:a"),
    ItemFilter(group="group:b", task="t1"),
    ItemFilter(of_pid=7),
    ItemFilter(of_pid=7, owner="user:x"),
    ItemFilter(of_pid=8, **X),
    ItemFilter(of_pid=9, group="group:b"),
    ItemFilter(**X),
    ItemFilter(states=("READY", "CLAIMED"), **X),
    ItemFilter(states=("COMPLETED",), did=21, **X),
    ItemFilter(kinds=("MESSAGE",), **X),
    ItemFilter(group="group:a", **X),
    ItemFilter(group="group:b", **X),
    ItemFilter(task="t3", owner="user:x", **X),
]
TIMED = [
    *(each for each in FILTERS if set(each.states) <= set(STATES[:2])),
    *(each._replace(due_before=NOW + 50) for each in FILTERS if not each.states),
    ItemFilter(due_before=NOW),
]


def holds(made, wanted, tid):
    given = wanted
    same = {"did": given.did, "task": given.task, "owner": given.owner, "pid": given.of_pid}
    mine = not given.grantees or not set(given.grantees).isdisjoint(made.granted)
    mine = mine or (not made.open and made.owner == given.principal)
    return (
        made.tid == tid
        and all(value is None or getattr(made, name) == value for name, value in same.items())
        and made.state in (given.states or STATES)
        and made.kind in (given.kinds or ("TASK", "MESSAGE", "THREAD"))
        and mine
        and (given.group is None or (given.group in made.granted and (not given.grantees or given.group in given.grantees)))
        and (given.due_before is None or made.due_at < given.due_before)
        and (given.sort == "created" or made.open)
    )  # fmt: skip


COLUMNS = {"created": "created_at", "due": "due_at", "priority": "priority"}


def expected(wanted, tid):
    found = [made for made in MODEL if holds(made, wanted, tid)]
    found.sort(key=lambda made: (getattr(made, COLUMNS[wanted.sort]), *made.key), reverse=wanted.descending)
    return [made.key for made in found]


def pages(store, tid, wanted, size=7):
    found, after = [], None
    while True:
        page = store.read(lambda read, a=after: item_lists.page(read, tid, wanted, a, size))
        found += [(seen.item.pid, seen.item.n) for seen in page]
        if len(page) < size:
            return found
        after = item_lists.position(page[-1].item, wanted.sort)


def asked():
    for wanted in FILTERS:
        yield from (wanted._replace(descending=descending) for descending in (True, False))
    for wanted, sort in itertools.product(TIMED, ("due", "priority")):
        yield from (wanted._replace(sort=sort, descending=descending) for descending in (True, False))


def test_pages_hold_what_the_model_holds(filled):
    seen = 0
    for wanted, tid in itertools.product(asked(), (1, 2)):
        keys = expected(wanted, tid)
        assert pages(filled, tid, wanted) == keys, wanted
        seen += bool(keys)
    assert seen > 200


def test_overdue_is_judged_by_the_clock_of_the_database(filled):
    now = filled.read(lambda read: read.now())
    assert now > NOW + COUNT
    found = pages(filled, 1, ItemFilter(overdue=True, sort="due", descending=False))
    assert found == expected(ItemFilter(due_before=now, sort="due", descending=False), 1)


def test_a_grantee_of_many_groups_gets_the_same(filled):
    many = tuple(sorted([*X["grantees"], *(f"group:{i}" for i in range(item_lists.MOST_PARTS))]))
    wanted = ItemFilter(grantees=many, principal="user:x")
    assert pages(filled, 1, wanted) == expected(wanted, 1)


def test_a_task_of_many_definitions_is_found(filled, monkeypatch):
    monkeypatch.setattr(item_lists, "MOST_PARTS", 2)
    for wanted in (ItemFilter(task="t1"), ItemFilter(did=11)):
        assert pages(filled, 1, wanted) == expected(wanted, 1)


def test_counts_count_each_item_once(filled):
    found = filled.read(lambda read: item_lists.counts(read, 1, X["grantees"]))
    mine = [made for made in MODEL if made.tid == 1 and not set(X["grantees"]).isdisjoint(made.granted)]
    by_role = {role: [made for made in mine if role in made.granted.values()] for role in Role}
    assert (found.groups, found.messages, found.threads) == tuple(
        len(by_role[role]) for role in (Role.CANDIDATE, Role.READER, Role.PARTICIPANT)
    )
    assert found.mine == len([made for made in mine if made.owner == "user:x"])
    due = [made for made in mine if made.due_at < NEVER and made.kind == "TASK"]
    assert (found.overdue, found.capped) == (len(due), False)


def test_counting_ends(filled, monkeypatch):
    monkeypatch.setattr(item_lists, "MOST_COUNTED", 3)
    found = filled.read(lambda read: item_lists.counts(read, 1, X["grantees"]))
    assert found.capped
    assert found.mine + found.groups + found.messages + found.threads == 4


# -- plans -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('plans')}/p.db", "test") as opened:
        fill(opened)
        yield opened


class Recording:
    """A reader that asks the database for its plan, too."""

    def __init__(self, read):
        self._read = read
        self.plans = []

    def rows(self, statement, params=()):
        plan = self._read.rows(f"EXPLAIN QUERY PLAN {statement}", params)
        self.plans.append([step[3] for step in plan])
        return self._read.rows(statement, params)

    def row(self, statement, params=()):
        return next(iter(self.rows(statement, params)), None)

    def now(self):
        return self._read.now()


@pytest.mark.parametrize("wanted", list(asked()), ids=str)
def test_a_page_is_read_from_the_end_of_a_range(planned, wanted):
    """Nothing walks a table, and no part sorts what it has found: only the merged ends are sorted."""

    def ask(read):
        recording = Recording(read)
        item_lists.page(recording, 1, wanted, (5, 5, 1), 10)
        return recording.plans

    for steps in planned.read(ask):
        assert not [step for step in steps if step.startswith("SCAN ") and "part" not in step and "page" not in step]
        assert not [step for step in steps if step.endswith("(tid=?)")], steps
        indexed = [step for step in steps if step.startswith("SEARCH i ") and "pid=? AND n=?" not in step]
        if wanted.of_pid is None and wanted.sort != "created" and not wanted.grantees and not wanted.group:
            assert all(f"items_{wanted.sort}" in step for step in indexed), steps
