"""The writer: groups, poison among good units, lanes, the overlay, and how results come back."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from penstock import errors
from penstock.store import Store
from penstock.store.fairness import turn
from penstock.store.rows import PROCESS_VALUES, PROCESSES, TENANTS, VISITS
from penstock.store.writer import GROUP_UNITS
from store.making import counter, held, increment, processes, put_value, row, values


def tenant(tid, code):
    return lambda tx: tx.put(TENANTS, (tid, f"id {tid}", code, "", 0, "none", 0, 0, "{}", 1))


def test_units_run_in_the_order_of_arrival(store):
    ran = []
    with held(store):
        futures = [store.submit(lambda _tx, i=i: ran.append(i)) for i in range(500)]
    for future in futures:
        future.result(10)
    assert ran == list(range(500))


def test_units_that_wait_together_are_committed_together(store):
    with held(store):
        before = store.stats.groups
        futures = [store.submit(put_value(f"{i:03}")) for i in range(256)]
    for future in futures:
        future.result(10)
    # the unit that held the writer is a group of its own; ten milliseconds may cut one short on a busy machine
    assert 5 <= store.stats.groups - before <= 12
    assert values(store) == [f"{i:03}" for i in range(256)]


def test_a_unit_that_raises_leaves_nothing_and_harms_nobody(store):
    def bad(tx):
        tx.put(PROCESS_VALUES, (1, "bad", ""))
        tx.after_commit(lambda: pytest.fail("ran"))
        raise errors.WrongState("no")

    with held(store):
        before = store.stats.failed_groups
        good = [store.submit(put_value("a")), store.submit(put_value("b"))]
        poison = store.submit(bad)
        good.append(store.submit(put_value("c")))
    with pytest.raises(errors.WrongState):
        poison.result(10)
    assert [future.result(10) for future in good] == ["a", "b", "c"]
    assert values(store) == ["a", "b", "c"]
    assert store.stats.failed_groups == before


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt, StopIteration, GeneratorExit])
def test_nothing_a_unit_raises_ends_the_writer(store, exception):
    def bad(_tx):
        raise exception

    with pytest.raises(errors.Defect):
        store.submit(bad).result(10)
    assert store.submit(put_value("a")).result(10) == "a"


def test_a_bug_of_the_writer_itself_does_not_end_it(store, monkeypatch):
    def broken(_group):
        monkeypatch.undo()
        raise SystemExit

    monkeypatch.setattr(store.writer, "_finish", broken)
    with pytest.raises(errors.Defect):
        store.submit(put_value("a")).result(10)
    assert store.submit(put_value("b")).result(10) == "b"


def test_a_unit_that_changes_a_process_it_has_not_named_is_refused(store):
    pid = processes(store, 1)[0]
    with pytest.raises(errors.Defect, match="keys"):
        store.submit(increment(pid)).result(10)
    assert store.submit(increment(pid), (pid,)).result(10) == 1


def test_a_row_that_is_held_is_read_once_a_group(store):
    [pid] = processes(store, 1)

    def read(tx):
        return tx.get(PROCESS_VALUES, (pid, "n")), tx.get(PROCESS_VALUES, (pid, "absent"))

    with held(store):
        before = store.stats.statements
        futures = [store.submit(read, (pid,)) for _ in range(40)]
    assert {future.result(10) for future in futures} == {((pid, "n", "0"), None)}
    # ten milliseconds may cut a group short on a busy machine
    assert store.stats.statements - before < 40


def test_what_was_read_is_read_anew_behind_a_write(store):
    [pid] = processes(store, 1)

    def read(tx):
        found = tx.get(PROCESS_VALUES, (pid, "n"))
        return found and found[2]

    def change(tx):
        return tx.execute("UPDATE process_values SET value = 'by statement' WHERE pid = ?", (pid,))

    def put(tx):
        tx.put(PROCESS_VALUES, (pid, "n", "by key"))
        tx.select("SELECT 1")

    def raises(tx):
        tx.put(PROCESS_VALUES, (pid, "n", "never"))
        raise errors.WrongState("no")

    with held(store):
        futures = [store.submit(unit, (pid,)) for unit in (read, change, read, put, read, raises, read)]
    with pytest.raises(errors.WrongState):
        futures[5].result(10)
    assert [futures[at].result(10) for at in (0, 2, 4, 6)] == ["0", "by statement", "by key", "by key"]


def test_a_unit_that_breaks_a_constraint_fails_alone(store):
    store.submit(tenant(1, "acme")).result(10)
    with held(store):
        before = [store.submit(put_value(f"a{i}")) for i in range(5)]
        poison = store.submit(tenant(2, "acme"))
        after = [store.submit(put_value(f"b{i}")) for i in range(5)]
    with pytest.raises(errors.AlreadyExists) as caught:
        poison.result(10)
    assert caught.value.details["table"] == "tenants"
    assert [future.result(10) for future in [*before, *after]] == [f"{x}{i}" for x in "ab" for i in range(5)]
    assert len(values(store)) == 10
    assert store.read(lambda read: read.rows("SELECT tid FROM tenants")) == [(1,)]


def test_of_two_units_of_one_group_that_want_the_same_the_first_gets_it(store):
    with held(store):
        first, second = store.submit(tenant(1, "acme")), store.submit(tenant(2, "acme"))
    assert first.result(10) is None
    with pytest.raises(errors.AlreadyExists):
        second.result(10)


def test_a_unique_value_may_move_from_one_row_to_another_in_a_group(store):
    store.submit(tenant(1, "acme")).result(10)

    def move(tx):
        tx.put(TENANTS, (2, "id 2", "acme", "", 0, "none", 0, 0, "{}", 1))
        tx.delete(TENANTS, (1,))

    store.submit(move).result(10)
    assert store.read(lambda read: read.rows("SELECT tid FROM tenants")) == [(2,)]


@pytest.mark.parametrize(
    ("column", "bad", "expected"),
    [
        ("input", "x" * (65 << 20), errors.TooLarge),
        ("input", "\ud800", errors.Invalid),
        ("started_at", 2**63, errors.Invalid),
        ("node", None, errors.Defect),
        ("started_at", "soon", errors.PenstockError),
    ],
)
def test_a_unit_with_a_value_that_cannot_be_stored_fails_alone(store, column, bad, expected):
    def poison(tx):
        tx.put(VISITS, row(VISITS, pid=1, n=1, **{column: bad}))

    with held(store):
        good = [store.submit(put_value("a"))]
        failing = store.submit(poison)
        good.append(store.submit(put_value("b")))
    with pytest.raises(expected):
        failing.result(60)
    assert [future.result(10) for future in good] == ["a", "b"]
    assert values(store) == ["a", "b"]
    assert store.read(lambda read: read.rows("SELECT n FROM visits")) == []


def test_a_unit_that_had_written_and_raises_is_undone(store):
    runs = []

    def bad(tx):
        runs.append("bad")
        tx.put(PROCESS_VALUES, (1, "bad", ""))
        tx.execute("UPDATE process_values SET value = 'spoilt'")
        raise errors.WrongState("no")

    with held(store):
        first = store.submit(put_value("a", "good"))
        poison = store.submit(bad)
        last = store.submit(put_value("b", "good"))
    with pytest.raises(errors.WrongState):
        poison.result(10)
    assert (first.result(10), last.result(10)) == ("a", "b")
    found = store.read(lambda read: read.rows("SELECT key, value FROM process_values ORDER BY key"))
    assert found == [("a", "good"), ("b", "good")]
    assert runs == ["bad", "bad"]


def test_a_statement_that_fails_ends_its_unit_even_if_the_unit_goes_on(store):
    def bad(tx):
        try:
            tx.select("SELECT nothing FROM nowhere")
        except errors.Defect:
            tx.put(PROCESS_VALUES, (1, "bad", ""))
        return "fine"

    with held(store):
        good = store.submit(put_value("a"))
        poison = store.submit(bad)
    with pytest.raises(errors.Defect):
        poison.result(10)
    assert good.result(10) == "a"
    assert values(store) == ["a"]


def test_an_innocent_read_does_not_answer_for_a_poisonous_write_before_it(store):
    store.submit(tenant(1, "acme")).result(10)
    with held(store):
        poison = store.submit(tenant(2, "acme"))
        innocent = store.submit(lambda tx: tx.select("SELECT count(*) FROM tenants"))
    with pytest.raises(errors.AlreadyExists):
        poison.result(10)
    assert innocent.result(10) == [(1,)]


# --- lanes ---------------------------------------------------------------------------------------------------------


def test_low_units_go_on_under_load_and_hold_nobody_up(store):
    """A steady normal load of four threads, and thirty low units of five milliseconds each."""
    stop = time.monotonic() + 1.5
    waits: list[float] = []

    def client():
        while time.monotonic() < stop:
            start = time.monotonic()
            store.submit(put_value(f"{threading.get_ident()}")).result(10)
            waits.append(time.monotonic() - start)

    def chunk(_tx):
        time.sleep(0.005)
        return time.monotonic()

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    low = [store.submit(chunk, low=True) for _ in range(30)]
    ended = [future.result(20) for future in low]
    for thread in threads:
        thread.join()
    assert ended[-1] < stop + 1  # not starved
    assert ended == sorted(ended)
    waits.sort()
    assert len(waits) > 60
    assert waits[int(len(waits) * 0.9)] < 0.1  # at most one chunk a group


def test_normal_units_go_before_low_ones(store):
    ran = []
    with held(store):
        low = [store.submit(lambda _tx, i=i: ran.append(f"low {i}"), low=True) for i in range(3)]
        normal = [store.submit(lambda _tx, i=i: ran.append(i)) for i in range(100)]
    for future in [*low, *normal]:
        future.result(10)
    assert [entry for entry in ran if isinstance(entry, int)] == list(range(100))
    assert [entry for entry in ran if isinstance(entry, str)] == ["low 0", "low 1", "low 2"]
    assert ran.index("low 0") >= 1
    assert ran.index("low 1") > ran.index("low 0") + 1


def test_a_low_unit_runs_behind_a_group_that_has_used_up_its_time(store):
    def slow(_tx):
        time.sleep(0.02)

    with held(store):
        normal = [store.submit(slow) for _ in range(10)]
        low = store.submit(lambda _tx: time.monotonic(), low=True)
    ended = low.result(10)
    normal[-1].result(10)
    assert ended < time.monotonic() - 0.1


# --- the overlay ---------------------------------------------------------------------------------------------------


def test_cached_objects_are_seen_by_others_only_once_committed(store):
    def keep(value, fail=None, flush=False):
        def unit(tx):
            tx.cache("thing", 1, value)
            tx.put(PROCESS_VALUES, (1, "a", value))
            if flush:
                tx.execute("DELETE FROM visits")
            if fail:
                raise fail
            return tx.cached("thing", 1)

        return unit

    def look(tx):
        return tx.cached("thing", 1)

    assert store.submit(look).result(10) is None
    assert store.submit(keep("one")).result(10) == "one"
    assert store.submit(look).result(10) == "one"
    with held(store):
        failing = store.submit(keep("two", errors.WrongState("no")))
        after = store.submit(look)
    with pytest.raises(errors.WrongState):
        failing.result(10)
    assert after.result(10) == "one"
    with held(store):
        grouped = store.submit(keep("three"))
        inside = store.submit(look)
        poison = store.submit(keep("four", errors.WrongState("no"), flush=True))
        last = store.submit(look)
    with pytest.raises(errors.WrongState):
        poison.result(10)
    assert (grouped.result(10), inside.result(10), last.result(10)) == ("three", "three", "three")


def test_what_a_failed_group_cached_is_gone(store):
    store.submit(tenant(1, "acme")).result(10)

    def poison(tx):
        tx.cache("tenant", 2, "there")
        tx.uncache("tenant", 1)
        tx.put(TENANTS, (2, "id 2", "acme", "", 0, "none", 0, 0, "{}", 1))

    store.submit(lambda tx: tx.cache("tenant", 1, "there")).result(10)
    with pytest.raises(errors.AlreadyExists):
        store.submit(poison).result(10)
    assert store.submit(lambda tx: (tx.cached("tenant", 1), tx.cached("tenant", 2))).result(10) == ("there", None)


def test_uncached_objects_are_gone_for_the_unit_the_group_and_for_good(store):
    store.submit(lambda tx: tx.cache("thing", 1, "x")).result(10)

    def drop(tx):
        tx.uncache("thing", 1)
        return tx.cached("thing", 1)

    with held(store):
        futures = [store.submit(drop), store.submit(lambda tx: tx.cached("thing", 1))]
    assert [future.result(10) for future in futures] == [None, None]
    assert store.submit(lambda tx: tx.cached("thing", 1)).result(10) is None


# --- what is fetched before, and what is recalled ------------------------------------------------------------------


def put_thing(value):
    return lambda tx: tx.put(PROCESS_VALUES, (1, "thing", value))


def get_thing(tx):
    found = tx.get(PROCESS_VALUES, (1, "thing"))
    return None if found is None else found[2]


THING = ((PROCESS_VALUES, (1, "thing")),)


def test_rows_that_units_want_are_fetched_in_one_statement(store):
    keys = [(1, f"key {i}") for i in range(40)]
    for key in keys[::2]:
        store.submit(lambda tx, key=key: tx.put(PROCESS_VALUES, (*key, "v"))).result(10)

    def reading(key):
        return lambda tx: tx.get(PROCESS_VALUES, key)

    with held(store):
        futures = [store.submit(reading(key), wants=[(PROCESS_VALUES, key)]) for key in keys]
        before = store.writer.connection.statements
    found = [future.result(10) for future in futures]
    assert found == [(*key, "v") if i % 2 == 0 else None for i, key in enumerate(keys)]
    assert store.writer.connection.statements - before <= 6


def test_what_was_fetched_is_not_believed_over_what_was_written_since(store):
    assert store.submit(get_thing, wants=THING).result(10) is None
    with held(store):
        futures = [
            store.submit(put_thing("a"), wants=THING),
            store.submit(get_thing, wants=THING),
            store.submit(lambda tx: tx.execute("UPDATE process_values SET value = 'b'"), wants=THING),
            store.submit(get_thing, wants=THING),
            store.submit(put_thing("c"), wants=THING),
            store.submit(lambda tx: tx.select("SELECT value FROM process_values"), wants=THING),
            store.submit(get_thing, wants=THING),
        ]
    assert [future.result(10) for future in futures][1::2] == ["a", "b", [("c",)]]
    assert futures[-1].result(10) == "c"
    assert store.submit(get_thing, wants=THING).result(10) == "c"


def test_a_row_learned_from_a_select_is_not_asked_for_again(store):
    store.submit(put_thing("a")).result(10)

    def unit(tx):
        [found] = tx.select("SELECT pid, key, value FROM process_values")
        tx.learn(PROCESS_VALUES, found)
        before = store.writer.connection.statements
        first = get_thing(tx)
        asked = store.writer.connection.statements - before
        tx.put(PROCESS_VALUES, (1, "thing", "b"))
        return asked, first, get_thing(tx)

    assert store.submit(unit).result(10) == (0, "a", "b")


def recalled(tx):
    return tx.recalled("code", "x")


def test_what_is_recalled_is_forgotten_when_somebody_reconfigures(store):
    def keep(tx):
        tx.recall_later("code", "x", 1)

    store.submit(keep).result(10)
    assert store.submit(recalled).result(10) == 1
    with held(store):
        futures = [
            store.submit(lambda tx: tx.reconfigured()),
            store.submit(recalled),
            store.submit(keep),
            store.submit(recalled),
        ]
    assert [future.result(10) for future in futures][1::2] == [None, 1]
    assert store.submit(recalled).result(10) == 1

    def fails(tx):
        tx.reconfigured()
        tx.recall_later("code", "x", 2)
        raise errors.WrongState("no")

    with pytest.raises(errors.WrongState):
        store.submit(fails).result(10)
    assert store.submit(recalled).result(10) in (None, 1)


def test_what_one_node_recalls_another_reconfigures(dialect, url):
    if dialect == "sqlite":
        return  # one program alone
    with Store.open(url, "a") as first, Store.open(url, "b") as second:
        for store in (first, second):
            store.submit(lambda tx: tx.recall_later("code", "x", 1)).result(10)
        assert second.submit(recalled).result(10) == 1
        first.submit(lambda tx: tx.reconfigured()).result(10)
        assert (first.submit(recalled).result(10), second.submit(recalled).result(10)) == (None, None)


# --- results -------------------------------------------------------------------------------------------------------


def test_callbacks_run_after_the_commit_and_before_the_answer(store):
    seen = []

    def unit(tx):
        tx.put(PROCESS_VALUES, (1, "a", ""))
        tx.after_commit(lambda: seen.append(values(store)))
        tx.after_commit(lambda: 1 / 0)
        tx.after_commit(lambda: seen.append("second"))

    store.submit(unit).result(10)
    assert seen == [["a"], "second"]


def test_results_of_a_group_come_back_to_a_loop_with_one_wake_up(store):
    async def main():
        loop = asyncio.get_running_loop()
        wakes = []
        original = loop.call_soon_threadsafe

        def counted(*args):
            wakes.append(1)
            return original(*args)

        loop.call_soon_threadsafe = counted
        with held(store):
            futures = [store.submit_async(put_value(str(i))) for i in range(40)]
            failing = store.submit_async(lambda _tx: 1 / 0)
        assert await asyncio.gather(*futures) == [str(i) for i in range(40)]
        with pytest.raises(ZeroDivisionError):
            await failing
        return len(wakes)

    assert asyncio.run(main()) <= 2


def test_a_caller_that_has_gone_is_not_worked_for(store):
    async def main():
        with held(store):
            gone = store.submit_async(put_value("gone"))
            stays = store.submit_async(put_value("stays"))
            gone.cancel()
        await stays

    with held(store):
        cancelled = store.submit(put_value("cancelled"))
        assert cancelled.cancel()
    asyncio.run(main())
    assert values(store) == ["stays"]


def test_a_loop_that_has_gone_hurts_nobody(store):
    async def main():
        store.submit_async(put_value("a"))

    with held(store):
        asyncio.run(main())
    assert store.submit(put_value("b")).result(10) == "b"


def test_many_threads_and_loops_lose_nothing(store):
    pids = processes(store, 20)

    def in_thread():
        for i in range(100):
            store.submit(increment(pids[i % 20]), (pids[i % 20],)).result(20)

    def in_loop():
        async def main():
            await asyncio.gather(*(store.submit_async(increment(pids[i % 20]), (pids[i % 20],)) for i in range(200)))

        asyncio.run(main())

    threads = [threading.Thread(target=target) for target in (in_thread, in_thread, in_loop, in_loop)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counter(store, pid) for pid in pids) == 600


def test_too_many_waiting_units_are_refused(url):
    with Store.open(url, "test") as store:
        store.writer._limit = 10
        with held(store):
            futures = [store.submit(put_value(str(i))) for i in range(10)]
            with pytest.raises(errors.Unavailable):
                store.submit(put_value("more"))
        for future in futures:
            future.result(10)
        assert store.submit(put_value("later")).result(10) == "later"


def in_turn_of(tag, submit, weight=1):
    """Submit on a tenant's account."""
    token = turn.set((tag, weight))
    try:
        return submit()
    finally:
        turn.reset(token)


def test_a_tenants_flood_delays_anothers_unit_by_no_more_than_a_group(store):
    ran = []

    def unit(name):
        return lambda _tx: ran.append(name)

    with held(store):
        flood = in_turn_of(1, lambda: [store.submit(unit(("a", i))) for i in range(1000)])
        single = in_turn_of(2, lambda: store.submit(unit("b")))
        heavy = in_turn_of(3, lambda: [store.submit(unit(("c", i))) for i in range(50)], weight=4)
    for future in [*flood, single, *heavy]:
        future.result(20)
    assert ran.index("b") < GROUP_UNITS
    assert [each for each in ran if each[0] == "a"] == [("a", i) for i in range(1000)]
    assert [each for each in ran if each[0] == "c"] == [("c", i) for i in range(50)]
    between = ran[: ran.index(("c", 39)) + 1]
    assert len([each for each in between if each[0] == "a"]) <= 11, "four of its units for one of another's"


def test_a_tenant_that_fills_the_queue_leaves_room_for_others(url):
    with Store.open(url, "test") as store:
        store.writer._limit = 10
        with held(store):
            futures = in_turn_of(1, lambda: [store.submit(put_value(str(i))) for i in range(10)])
            with pytest.raises(errors.Unavailable):
                in_turn_of(1, lambda: store.submit(put_value("more")))
            futures += in_turn_of(2, lambda: [store.submit(put_value(f"b{i}")) for i in range(5)])
            with pytest.raises(errors.Unavailable):
                in_turn_of(2, lambda: store.submit(put_value("more of b")))
            futures.append(store.submit(put_value("the platform's own")))
        for future in futures:
            future.result(10)
        assert in_turn_of(1, lambda: store.submit(put_value("later"))).result(10) == "later"


def test_closing_finishes_what_was_submitted(url):
    store = Store.open(url, "test")
    with held(store):
        futures = [store.submit(put_value(f"{i:03}")) for i in range(200)]
        low = store.submit(put_value("low"), low=True)
        closing = threading.Thread(target=store.close)
        closing.start()
        while not store._closed:
            time.sleep(0.001)
        time.sleep(0.05)
        with pytest.raises(errors.Unavailable):
            store.submit(put_value("late"))
    closing.join()
    assert [future.result(0) for future in futures] == [f"{i:03}" for i in range(200)]
    assert low.result(0) == "low"
    store.close()
    with pytest.raises(errors.Unavailable):
        store.read(lambda read: read.rows("SELECT 1"))
    with Store.open(url, "test") as again:
        assert len(values(again)) == 201


def test_the_clock_is_the_databases_and_one_for_a_group(store):
    with held(store):
        futures = [store.submit(lambda tx: tx.now) for _ in range(20)]
    times = {future.result(10) for future in futures}
    assert len(times) == 1
    assert abs(times.pop() / 1000 - time.time()) < 5


def test_a_unit_that_only_reads_commits_nothing(store):
    pid = processes(store, 1)[0]
    rows = store.stats.rows
    assert store.submit(lambda tx: tx.get(PROCESSES, (pid,))[0], (pid,)).result(10) == pid
    assert store.submit(lambda tx: tx.select("SELECT 1")).result(10) == [(1,)]
    assert store.stats.rows == rows


def test_notices_are_heard_after_the_commit(store):
    heard, event = [], threading.Event()

    def callback(payloads):
        heard.extend(payload for payload in payloads if payload != "*")
        if "last" in heard:
            event.set()

    store.listen(callback)

    def unit(tx):
        tx.notify("jobs:1")
        tx.notify("jobs:1")
        tx.notify("items:2")

    def failing(tx):
        tx.notify("never")
        raise errors.WrongState("no")

    store.submit(unit).result(10)
    with pytest.raises(errors.WrongState):
        store.submit(failing).result(10)
    store.submit(lambda tx: tx.notify("last")).result(10)
    assert event.wait(5)
    assert heard == ["jobs:1", "items:2", "last"]


def test_counters_count(store):
    before = store.stats.as_dict()
    store.submit(put_value("a")).result(10)
    deadline = time.monotonic() + 5
    while store.stats.units == before["units"] and time.monotonic() < deadline:
        time.sleep(0.001)
    after = store.stats.as_dict()
    assert {name: after[name] - before[name] for name in ("groups", "units", "rows")} == {
        "groups": 1,
        "units": 1,
        "rows": 1,
    }
    assert after["statements"] - before["statements"] in (3, 4)
    assert after["commit_ns"] > before["commit_ns"]
