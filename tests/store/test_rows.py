"""The unit's buffer: what it says is what the database says afterwards."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import bindparam, delete, select

from penstock.errors import AlreadyExists, Defect
from penstock.store import Store, tables
from penstock.store.rows import (
    HISTORY,
    INBOX,
    ITEM_GRANTS,
    MEMBERSHIPS,
    META,
    PROCESS_VALUES,
    PROCESSES,
    VISITS,
    Rows,
)
from penstock.store.tables import metadata
from store.making import held, row, value, values

MORE_INDEXES = {"users": 5, "items": 7}
"""Tables that people write to, now and then, and look through in many ways; programs' have four at most."""


def test_every_table_has_its_key_first_and_few_indexes():
    for table in metadata.tables.values():
        rows = Rows(table)
        assert rows.columns[: rows.keyed] == rows.key
        uniques = [c for c in table.constraints if type(c).__name__ == "UniqueConstraint"]
        everywhere = [i for i in table.indexes if not i.name.endswith("_unfed")]
        assert len(everywhere) + len(uniques) <= MORE_INDEXES.get(table.name, 4), table.name


def test_a_unit_sees_its_own_writes(store):
    def unit(tx):
        visit = row(VISITS, pid=1, n=1, node="a", state="OPEN")
        assert tx.get(VISITS, (1, 1)) is None
        tx.put(VISITS, visit)
        tx.patch(VISITS, (1, 1), {"state": "COMPLETED"})
        tx.patch(VISITS, (1, 1), {"output": "{}"})
        found = tx.get(VISITS, (1, 1))
        tx.put(VISITS, row(VISITS, pid=1, n=2, node="b"))
        tx.delete(VISITS, (1, 2))
        assert tx.get(VISITS, (1, 2)) is None
        tx.put(VISITS, row(VISITS, pid=1, n=3, node="c"))
        tx.delete(VISITS, (1, 3))
        tx.put(VISITS, row(VISITS, pid=1, n=3, node="d"))
        return found

    found = store.submit(unit).result(10)
    assert (value(VISITS, found, "state"), value(VISITS, found, "output")) == ("COMPLETED", "{}")
    stored = store.read(lambda read: read.rows("SELECT n, node, state, output FROM visits ORDER BY n"))
    assert stored == [(1, "a", "COMPLETED", "{}"), (3, "d", "", None)]


def test_units_of_one_group_see_each_other(store):
    with held(store):
        store.submit(lambda tx: tx.put(VISITS, row(VISITS, pid=1, n=1, node="a")))
        store.submit(lambda tx: tx.patch(VISITS, (1, 1), {"node": "b"}))
        seen = store.submit(lambda tx: value(VISITS, tx.get(VISITS, (1, 1)), "node"))
        gone = store.submit(lambda tx: tx.delete(VISITS, (1, 1)))
        after = store.submit(lambda tx: tx.get(VISITS, (1, 1)))
    assert seen.result(10) == "b"
    assert gone.result(10) is None
    assert after.result(10) is None
    assert store.read(lambda read: read.rows("SELECT n FROM visits")) == []


def test_a_patch_of_a_stored_row_keeps_the_rest(store):
    store.submit(lambda tx: tx.put(VISITS, row(VISITS, pid=7, n=1, node="a", input="{}"))).result(10)
    store.submit(lambda tx: tx.patch(VISITS, (7, 1), {"state": "FAILED", "failure": "{}"})).result(10)
    found = store.submit(lambda tx: tx.get(VISITS, (7, 1))).result(10)
    assert [value(VISITS, found, name) for name in ("node", "input", "state", "failure")] == ["a", "{}", "FAILED", "{}"]


def test_a_patch_of_nothing_changes_nothing(store):
    store.submit(lambda tx: tx.patch(VISITS, (9, 9), {"state": "FAILED"})).result(10)
    assert store.submit(lambda tx: tx.get(VISITS, (9, 9))).result(10) is None


def test_random_writes_leave_what_a_dictionary_would(store):
    chance = random.Random(7)
    model: dict[tuple[int, int], tuple] = {}
    for _ in range(12):
        futures, expected = [], []
        with held(store):
            for _ in range(chance.randrange(1, 30)):
                script = [
                    (chance.choice("ppaadg"), (chance.randrange(3), chance.randrange(4)), str(chance.random()))
                    for _ in range(6)
                ]
                failing, flushing = chance.random() < 0.15, chance.random() < 0.1
                futures.append(store.submit(_scripted(script, failing=failing, flushing=flushing)))
                trial = dict(model)
                expected.append(_model(trial, script))
                if not failing:
                    model = trial
                else:
                    expected[-1] = None
        for future, want in zip(futures, expected, strict=True):
            if want is None:
                with pytest.raises(ZeroDivisionError):
                    future.result(10)
            else:
                assert future.result(10) == want
        stored = store.read(lambda read: read.rows("SELECT * FROM visits"))
        assert {found[:2]: found for found in stored} == model


def _scripted(script, *, failing, flushing):
    def unit(tx):
        seen = []
        for i, (verb, key, text) in enumerate(script):
            if verb == "p":
                tx.put(VISITS, row(VISITS, pid=key[0], n=key[1], node=text))
            elif verb == "a":
                tx.patch(VISITS, key, {"output": text} if i % 2 else {"state": text, "attempt": i})
            elif verb == "d":
                tx.delete(VISITS, key)
            else:
                seen.append(tx.get(VISITS, key))
            if flushing and i == 3:
                tx.select("SELECT 1")
        if failing:
            raise ZeroDivisionError
        return seen

    return unit


def _model(rows, script):
    seen = []
    for i, (verb, key, text) in enumerate(script):
        if verb == "p":
            rows[key] = row(VISITS, pid=key[0], n=key[1], node=text)
        elif verb == "a" and key in rows:
            rows[key] = VISITS.patched(rows[key], {"output": text} if i % 2 else {"state": text, "attempt": i})
        elif verb == "d":
            rows.pop(key, None)
        elif verb == "g":
            seen.append(rows.get(key))
    return seen


@pytest.mark.parametrize("count", [1, 2, 3, 5, 63, 64, 65, 200])
def test_many_rows_of_a_table_are_written_changed_and_deleted(store, count):
    def fill(tx):
        for n in range(count):
            tx.put(VISITS, row(VISITS, pid=1, n=n, node="a" * n))
            tx.put(MEMBERSHIPS, (1, n))
            tx.put(ITEM_GRANTS, row(ITEM_GRANTS, tid=1, grantee=f"user:{n}", pid=1, n=n))

    def change(tx):
        for n in range(count):
            tx.patch(VISITS, (1, n), {"state": f"S{n}", "ended_at": None if n % 2 else n})

    def empty(tx):
        for n in range(0, count, 2):
            tx.delete(VISITS, (1, n))
            tx.delete(MEMBERSHIPS, (1, n))
            tx.delete(ITEM_GRANTS, (1, f"user:{n}", 0, 1, n))

    store.submit(fill).result(10)
    store.submit(fill).result(10)  # rows that are their own keys are not doubled, nor refused
    store.submit(change).result(10)
    found = store.read(lambda read: read.rows("SELECT n, node, state, ended_at FROM visits ORDER BY n"))
    assert found == [(n, "a" * n, f"S{n}", None if n % 2 else n) for n in range(count)]
    store.submit(empty).result(10)
    for table in ("visits", "memberships", "item_grants"):
        assert store.read(lambda read, table=table: read.row(f"SELECT count(*) FROM {table}")) == (count // 2,)


def test_texts_come_back_as_they_were(store):
    texts = ["", "'", '"', "\\", "\n\t\r", "ünï", "🙂", '{"a":"\\u0000\\n"}', "%s ? :x $1", " x ", "null", "\x01\x7f"]

    def unit(tx):
        for i, text in enumerate(texts):
            tx.put(PROCESS_VALUES, (i, text, text))

    store.submit(unit).result(10)
    found = store.read(lambda read: read.rows("SELECT key, value FROM process_values ORDER BY pid"))
    assert found == [(text, text) for text in texts]
    assert store.submit(lambda tx: [tx.get(PROCESS_VALUES, (i, t)) for i, t in enumerate(texts)]).result(10) == [
        (i, t, t) for i, t in enumerate(texts)
    ]


def test_numbers_keep_all_their_bits(store):
    numbers = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
    store.submit(lambda tx: [tx.put(VISITS, row(VISITS, pid=i, n=n)) for i, n in enumerate(numbers)]).result(10)
    assert store.read(lambda read: read.rows("SELECT n FROM visits ORDER BY pid")) == [(n,) for n in numbers]


def test_serial_rows_are_numbered_in_their_order(store):
    def unit(tx):
        for i in range(100):
            tx.put(INBOX, row(INBOX, iid=None, pid=1, event=str(i)))
        with pytest.raises(Defect):
            tx.next_id(INBOX)

    store.submit(unit).result(10)
    store.submit(unit).result(10)
    found = store.read(lambda read: read.rows("SELECT iid, event FROM inbox ORDER BY iid"))
    assert [int(event) for _, event in found] == [*range(100), *range(100)]
    iid = found[0][0]
    store.submit(lambda tx: tx.patch(INBOX, (iid,), {"kept": 1})).result(10)
    assert store.submit(lambda tx: value(INBOX, tx.get(INBOX, (iid,)), "kept")).result(10) == 1


def test_keys_rise_and_are_not_used_twice(url):
    seen: list[int] = []
    for _ in range(3):
        with Store.open(url, "test") as store:
            for _ in range(3):
                seen += store.submit(lambda tx: [tx.next_pid() for _ in range(200)]).result(10)
                failing = store.submit(lambda tx: [tx.next_id(META), tx.execute("DELETE FROM visits"), 1 / 0])
                with pytest.raises(ZeroDivisionError):
                    failing.result(10)
    assert seen == sorted(set(seen))


def test_an_append_only_row_is_not_overwritten(store):
    first = row(HISTORY, pid=1, seq=1, type="Started")
    store.submit(lambda tx: tx.put(HISTORY, first)).result(10)
    again = store.submit(lambda tx: tx.put(HISTORY, row(HISTORY, pid=1, seq=1, type="Other")))
    with pytest.raises(AlreadyExists):
        again.result(10)
    assert store.read(lambda read: read.rows("SELECT type FROM history")) == [("Started",)]


def test_a_wrong_row_is_refused_where_it_is_made(store):
    def short(tx):
        tx.put(PROCESSES, (1, 2))

    def key(tx):
        tx.patch(VISITS, (1, 1), {"pid": 2})

    def unknown(tx):
        tx.patch(VISITS, (1, 1), {"colour": 2})

    for unit in (short, key, unknown):
        with pytest.raises(Defect):
            store.submit(unit).result(10)


def test_other_reads_and_writes_see_the_buffers(store):
    statement = select(tables.process_values.c.key).where(tables.process_values.c.pid == bindparam("pid"))
    statement = statement.order_by("key")

    with held(store):
        store.submit(lambda tx: tx.put(PROCESS_VALUES, (1, "a", "1")))

        def reads(tx):
            tx.put(PROCESS_VALUES, (1, "b", "2"))
            by_core = tx.select(statement, {"pid": 1})
            by_text = tx.select("SELECT key FROM process_values WHERE pid = ? ORDER BY key", (1,))
            only = tx.select(statement, {"pid": 1}, of=[PROCESS_VALUES])
            met = tx.execute("UPDATE process_values SET value = ? WHERE pid = ?", ("9", 1))
            gone = tx.execute(delete(tables.process_values).where(tables.process_values.c.key.in_(["a", "z"])))
            return by_core, by_text, only, met, gone, tx.get(PROCESS_VALUES, (1, "b"))

        read = store.submit(reads)
    both = [("a",), ("b",)]
    assert read.result(10) == (both, both, both, 2, 1, (1, "b", "9"))
    assert values(store) == ["b"]
