"""Lists leave out what somebody may not see, and nothing else, whatever else is asked for."""

from __future__ import annotations

import itertools

import pytest

from penstock.core.requests import Condition, Filter, Viewer
from penstock.store import grants, listing, search, visibility
from penstock.store.rows import DEFINITIONS, ITEM_GRANTS, ITEMS, PROCESSES, SEARCH, VERSIONS
from store.making import row

ME = "user:me@x.y"
VIEWER = Viewer(ME, ("group:mine", "role:everyone", ME))
STATES = ("RUNNING", "COMPLETED", "FAILED")
BLOCKS = {
    10: {"viewer": ["group:mine"]},
    11: {"viewer": ["group:others"]},
    12: {"viewer": ["group:others"], "manager": [ME]},
    13: {"initiator": ["group:others"]},
    14: {"viewer": ["role:starter"], "initiator": [ME]},
}
HIDDEN = {11, 14}


def starter(pid):
    return ME if pid % 11 == 0 else "user:other@x.y"


def granted(pid):
    return pid % 13 == 0


def owned(pid):
    return pid % 17 == 0


def visible(pid):
    return 10 + pid % 5 not in HIDDEN or starter(pid) == ME or granted(pid) or owned(pid)


@pytest.fixture
def filled(store):
    def unit(tx):
        for did, block in BLOCKS.items():
            tx.put(
                DEFINITIONS, row(DEFINITIONS, did=did, tid=1, id=f"d{did}", code=f"d{did}", latest=1, permissions="{}")
            )
            tx.put(VERSIONS, row(VERSIONS, vid=did, did=did, tid=1, id=f"v{did}", number=1, digest="x"))
            grants.replace(tx, 1, did, block)
        for pid in range(1, 401):
            did = 10 + pid % 5
            given = {"tid": 1, "did": did, "vid": did, "status": STATES[pid % 3], "created_by": starter(pid)}
            tx.put(PROCESSES, row(PROCESSES, pid=pid, id=f"p{pid}", created_at=pid // 3, **given))
            tx.put(SEARCH, (1, "input.a", search.text_key(str(pid % 2)), pid // 3, pid))
            tx.put(SEARCH, (1, search.CREATED_BY, starter(pid), pid // 3, pid))
            if granted(pid):
                for n, grantee in enumerate(("group:mine", ME)):
                    tx.put(ITEM_GRANTS, row(ITEM_GRANTS, tid=1, grantee=grantee, pid=pid, n=n))
            if owned(pid):
                for n in (5, 6):
                    item = {"tid": 1, "id": f"i{pid}.{n}", "owner": ME, "state": "COMPLETED"}
                    tx.put(ITEMS, row(ITEMS, pid=pid, n=n, **item))

    store.submit(unit).result(30)
    return store


WANTED = [
    (Filter(), lambda pid: True),
    (Filter(statuses=("FAILED",)), lambda pid: pid % 3 == 2),
    (Filter(statuses=("FAILED", "RUNNING")), lambda pid: pid % 3 != 1),
    (Filter(definition="d11"), lambda pid: pid % 5 == 1),
    (Filter(definition="d11", statuses=("FAILED",)), lambda pid: pid % 5 == 1 and pid % 3 == 2),
    (Filter(definition="d12"), lambda pid: pid % 5 == 2),
    (Filter(definition="nobody"), lambda pid: False),
    (Filter(search=(Condition("input.a", "1", "is"),)), lambda pid: pid % 2 == 1),
    (
        Filter(search=(Condition("input.a", "1", "is"),), definition="d14"),
        lambda pid: pid % 2 == 1 and pid % 5 == 4,
    ),
    (Filter(created_by=ME), lambda pid: pid % 11 == 0),
]


@pytest.mark.parametrize("ranges", [64, 1])
def test_pages_hold_what_is_seen(filled, monkeypatch, ranges):
    monkeypatch.setattr(visibility, "MOST_RANGES", ranges)
    for (wanted, holds), oldest in itertools.product(WANTED, (True, False)):
        expected = [pid for pid in range(1, 401) if holds(pid) and visible(pid)]
        asked = wanted._replace(viewer=VIEWER)
        assert pages(filled, asked, oldest=oldest) == (expected if oldest else expected[::-1]), (wanted, oldest)
        assert filled.read(lambda read, a=asked: listing.count(read, 1, a)) == len(expected), wanted
        everything = [pid for pid in range(1, 401) if holds(pid)]
        assert pages(filled, wanted, oldest=oldest) == (everything if oldest else everything[::-1])


def pages(store, wanted, *, oldest):
    found, after = [], None
    while True:
        page = store.read(lambda read, a=after: listing.page(read, 1, wanted._replace(oldest=oldest), a, 7))
        found += [each.pid for each in page]
        if len(page) < 7:
            return found
        after = page[-1].position


def test_a_page_and_a_look_at_one_agree(filled):
    for pid in range(1, 401):
        starter_, permissions, involved = filled.read(lambda read, p=pid: visibility.of_process(read, 1, p, VIEWER))
        assert starter_ == starter(pid)
        assert permissions == BLOCKS[10 + pid % 5]
        assert involved is (bool(permissions.get("viewer")) and (granted(pid) or owned(pid)))
        [names] = filled.read(lambda read, p=pid: visibility.all_involved(read, [p])).values()
        assert names == ({ME, "group:mine"} if granted(pid) else {ME} if owned(pid) else set())
    assert filled.read(lambda read: visibility.of_process(read, 2, 5, VIEWER)) is None


def test_each_who_is_involved_in_a_process_of_many_items_is_named_once(store):
    def unit(tx):
        for pid in (1, 2):
            given = {"tid": 1, "did": 10, "vid": 10, "status": "RUNNING", "created_by": ME}
            tx.put(PROCESSES, row(PROCESSES, pid=pid, id=f"p{pid}", created_at=pid, **given))
        for n in range(2_000):
            owner = {"owner": f"user:{n % 3}"} if n % 2 else {}
            tx.put(ITEMS, row(ITEMS, pid=1, n=n, tid=1, id=f"i{n}", state="READY", **owner))
            tx.put(ITEM_GRANTS, row(ITEM_GRANTS, tid=1, grantee=f"group:{n % 2}", pid=1, n=n))

    store.submit(unit).result(30)
    expected = {1: {"user:0", "user:1", "user:2", "group:0", "group:1"}, 2: set()}
    assert store.read(lambda read: visibility.all_involved(read, [1, 2])) == expected
    params = {"pids": [1, 2]}
    found = store.read(lambda read: read.rows(visibility._OWNERS, params) + read.rows(visibility._GRANTEES, params))
    assert len(found) == 5
    assert store.read(lambda read: visibility.all_involved(read, [])) == {}


def test_without_viewers_nothing_is_hidden(filled):
    assert filled.read(lambda read: grants.hidden(read, 1, VIEWER.grantees)) == HIDDEN
    assert filled.read(lambda read: grants.hidden(read, 2, VIEWER.grantees)) == frozenset()

    def unit(tx):
        for did in BLOCKS:
            grants.replace(tx, 1, did, {})

    filled.submit(unit).result(10)
    assert filled.read(lambda read: grants.hidden(read, 1, VIEWER.grantees)) == frozenset()
