"""Lists of processes: each filter alone and with others, in every order, page by page; and how they are read."""

import itertools
import re

import pytest

from penstock.core.requests import SORTS, Condition, Filter
from penstock.store import Store, listing, search
from penstock.store.rows import DEFINITIONS, PROCESSES, SEARCH, VERSIONS
from store.making import row

STATES = ("RUNNING", "COMPLETED", "FAILED", "SUSPENDED", "CANCELLED")
ENDED = ("COMPLETED", "CANCELLED")
COUNT = 210


def made(pid):
    """A process as a dict: numbers do not rise with the time, and some are of the same time."""
    tid = 1 + pid % 2
    did = 10 * tid + pid % 3
    status = STATES[pid % 5]
    created_at = 1_000 + (pid * 37 % COUNT) // 2
    return {
        "pid": pid, "tid": tid, "id": f"p{pid}", "did": did, "vid": 10 * did + pid // 3 % 2, "status": status,
        "created_at": created_at, "created_by": f"user:{pid % 4}", "at": 5_000 - pid % 50,
        "ended_at": created_at + pid % 7 if status in ENDED else None, "incidents": int(status == "FAILED"),
        "parent_pid": pid - pid % 10 if pid % 10 and pid % 4 == 0 else None,
        # what is searched
        "a": str(pid % 7), "n": pid % 11 - 5, "word": ("red", "Green", "blue green")[pid % 3],
    }  # fmt: skip


ALL = [made(pid) for pid in range(1, COUNT + 1)]


@pytest.fixture
def filled(store):
    """Two tenants with three definitions of two versions each."""
    columns = set(PROCESSES.columns)

    def unit(tx):
        for tid in (1, 2):
            for did in (10 * tid, 10 * tid + 1, 10 * tid + 2):
                tx.put(DEFINITIONS, row(DEFINITIONS, did=did, tid=tid, id=f"d{did}", code=f"d{did % 10}", latest=2))
                for at in (0, 1):
                    vid = 10 * did + at
                    tx.put(VERSIONS, row(VERSIONS, vid=vid, did=did, tid=tid, id=f"v{vid}", number=at + 1, digest="x"))
        for each in ALL:
            tx.put(PROCESSES, row(PROCESSES, **{name: value for name, value in each.items() if name in columns}))
            found = {(search.CREATED_BY, each["created_by"]), ("metadata.a", search.value_key(each["a"]))}
            found |= {("metadata.n", search.value_key(each["n"])), ("metadata.word", search.value_key(each["word"]))}
            found |= {(search.WORD, word) for word in search.words_of(each["word"])}
            if each["ended_at"] is not None:
                found.add((search.ENDED, search.time_key(each["ended_at"])))
            if each["incidents"]:
                found.add((search.INCIDENTS, ""))
            for name, value in found:
                tx.put(SEARCH, (each["tid"], name, value, each["created_at"], each["pid"]))

    store.submit(unit).result(30)
    return store


def is_(name, value, op="is"):
    return (Condition(name, value, op),)


WANTED = [
    (Filter(), lambda p: True),
    (Filter(statuses=("FAILED",)), lambda p: p["status"] == "FAILED"),
    (Filter(statuses=("FAILED", "RUNNING")), lambda p: p["status"] in ("FAILED", "RUNNING")),
    (Filter(definition="d1"), lambda p: p["did"] % 10 == 1),
    (Filter(definition="d1", version=2), lambda p: p["did"] % 10 == 1 and p["vid"] % 10 == 1),
    (Filter(definition="d1", version=7), lambda p: False),
    (Filter(definition="nobody"), lambda p: False),
    (Filter(version=1), lambda p: p["vid"] % 10 == 0),
    (Filter(created_by="user:1"), lambda p: p["created_by"] == "user:1"),
    (Filter(created_from=1_040, created_to=1_060), lambda p: 1_040 <= p["created_at"] < 1_060),
    (Filter(created_from=1_060, created_to=1_040), lambda p: False),
    (Filter(ended_from=1_040), lambda p: (p["ended_at"] or 0) >= 1_040),
    (Filter(ended_to=1_060), lambda p: p["ended_at"] is not None and p["ended_at"] < 1_060),
    (Filter(parent_pid=20), lambda p: p["parent_pid"] == 20),
    (Filter(incidents=True), lambda p: p["incidents"] > 0),
    (Filter(incidents=False), lambda p: p["incidents"] == 0),
    (Filter(incidents=True, statuses=("RUNNING",)), lambda p: False),
    (Filter(search=is_("metadata.a", "3")), lambda p: p["a"] == "3"),
    (Filter(search=is_("metadata.n", "3")), lambda p: p["n"] == 3),
    (Filter(search=is_("metadata.n", "-2", "from")), lambda p: p["n"] >= -2),
    (Filter(search=is_("metadata.n", "-3.5", "from") + is_("metadata.n", "2", "to")), lambda p: -3.5 <= p["n"] < 2),
    (Filter(search=is_("metadata.word", "blue", "prefix")), lambda p: p["word"].startswith("blue")),
    (Filter(search=is_("metadata.word", "H", "to")), lambda p: p["word"] == "Green"),
    (Filter(search=is_("", "gre", "prefix")), lambda p: "green" in p["word"].lower()),
    (Filter(search=is_("", "gre", "prefix") + is_("", "b", "prefix")), lambda p: p["word"] == "blue green"),
    (Filter(search=is_("metadata.a", "3") + is_("metadata.n", "3")), lambda p: p["a"] == "3" and p["n"] == 3),
    (Filter(definition="d1", statuses=("RUNNING",)), lambda p: p["did"] % 10 == 1 and p["status"] == "RUNNING"),
    (
        Filter(statuses=("RUNNING",), created_by="user:1", created_from=1_020),
        lambda p: p["status"] == "RUNNING" and p["created_by"] == "user:1" and p["created_at"] >= 1_020,
    ),
    (
        Filter(search=is_("metadata.n", "0", "from") + is_("", "red", "prefix"), statuses=("FAILED", "COMPLETED")),
        lambda p: p["n"] >= 0 and p["word"] == "red" and p["status"] in ("FAILED", "COMPLETED"),
    ),
    (
        Filter(definition="d2", ended_from=1_010, created_to=1_090, search=is_("metadata.a", "1")),
        lambda p: p["did"] % 10 == 2 and (p["ended_at"] or 0) >= 1_010 and p["created_at"] < 1_090 and p["a"] == "1",
    ),
]
KEYS = {
    "created": lambda p: (p["created_at"], p["pid"]),
    "ended": lambda p: (p["ended_at"], p["created_at"], p["pid"]),
    "modified": lambda p: (p["at"], p["created_at"], p["pid"]),
}


@pytest.mark.parametrize("peek", [2, 2_000])
def test_every_filter_in_every_order_page_by_page(filled, monkeypatch, peek):
    """Whichever range is read: all of them are large when hardly any is counted."""
    monkeypatch.setattr(listing, "PEEK", (peek, 2 * peek))
    monkeypatch.setattr(listing, "FEW_PARTS", 3)
    for (wanted, holds), sort, oldest, tid in itertools.product(WANTED, SORTS, (True, False), (1, 2)):
        mine = [p for p in ALL if p["tid"] == tid and holds(p) and (sort != "ended" or p["ended_at"] is not None)]
        expected = [p["pid"] for p in sorted(mine, key=KEYS[sort], reverse=not oldest)]
        asked = wanted._replace(sort=sort, oldest=oldest)
        assert pages(filled, tid, asked) == expected, asked
        if oldest:
            assert filled.read(lambda read, t=tid, a=asked: listing.count(read, t, a)) == len(expected)


def pages(store, tid, wanted, most=7):
    found, after = [], None
    while True:
        page = store.read(lambda read, a=after: listing.page(read, tid, wanted, a, most))
        found += [each.pid for each in page]
        if len(page) < most:
            return found
        after = page[-1].position


def test_a_name_is_known_by_its_rows(filled):
    known = [filled.read(lambda read, n=name: listing.has_name(read, 1, n)) for name in ("metadata.a", "metadata.b")]
    assert known == [True, False]


# -- how they are read -------------------------------------------------------------------------------------------------


class Recording:
    """A reader that keeps what it is asked; ranges are as large as it is told."""

    def __init__(self, size):
        self.asked = []
        self.size = size

    def rows(self, statement, params=()):
        self.asked.append((statement, params))
        return [(self.size, 1, 1)[: len(statement.selected_columns)]]


def asked():
    for (wanted, _), sort, size in itertools.product(WANTED, SORTS, (5, 20_000)):
        if sort == "modified" and size == 20_000:
            continue  # it sorts what it has
        reader = Recording(size)
        after = {"created": (5, 1)}.get(sort, (5, 5, 1))
        listing.page(reader, 1, wanted._replace(sort=sort), after, 10)
        for at, (statement, params) in enumerate(reader.asked):
            yield pytest.param(statement, params, id=f"{sort}-{size}-{WANTED.index((wanted, _))}-{at}")


@pytest.fixture(scope="module")
def sqlite_store(tmp_path_factory):
    with Store.open(f"sqlite:///{tmp_path_factory.mktemp('plans')}/p.db", "test") as opened:
        yield opened


@pytest.mark.parametrize(("statement", "params"), list(asked()))
def test_lists_read_ranges(sqlite_store, statement, params):
    """And never all of a table, nor all of a tenant's rows."""
    from penstock.store.sqlite import _compile

    text, bound = _compile(statement, params)
    steps = [row[3] for row in sqlite_store.read(lambda read: read.rows(f"EXPLAIN QUERY PLAN {text}", bound))]
    tables = [step for step in steps if re.match(r"(SCAN|SEARCH) (processes|search|x|y|versions)\b", step)]
    assert tables, steps
    assert not [step for step in tables if step.startswith("SCAN") or step.endswith("(tid=?)")], steps
