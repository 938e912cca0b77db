"""Counters, answers under keys, tokens: small things that must be exact."""

import pytest

from penstock.errors import Conflict, Defect
from penstock.store import Store, idempotency, lookups, people, values
from penstock.store.rows import DEFINITIONS
from store.making import processes, row


def run(store, unit, *keys):
    return store.submit(unit, keys).result(30)


@pytest.mark.parametrize("rows", [values.OF_PROCESS, values.OF_DEFINITION], ids=["process", "definition"])
def test_values(store, rows):
    key = values.unit_key(rows, 1)

    def get(owner):
        of_process = rows is values.OF_PROCESS
        return store.read(lambda read: lookups.value(read, owner, "k", of_process=of_process))

    assert get(1) is None
    for expected in (1, 2, 3):
        assert run(store, lambda tx: values.increment(tx, rows, 1, "k"), key) == expected
    assert run(store, lambda tx: [values.increment(tx, rows, 1, "k") for _ in range(3)], key) == [4, 5, 6]
    assert get(1) == (6,)
    assert get(2) is None
    for text in ('"x"', "1.5", "true", "null", "[1]", str(2**63 - 1)):
        run(store, lambda tx, text=text: values.put(tx, rows, 1, "k", text), key)
        with pytest.raises(Conflict):
            run(store, lambda tx: values.increment(tx, rows, 1, "k"), key)
        assert get(1) is not None
    assert run(store, lambda tx: values.delete(tx, rows, 1, "k"), key) is True
    assert run(store, lambda tx: values.delete(tx, rows, 1, "k"), key) is False
    run(store, lambda tx: values.put(tx, rows, 1, "n", str(2**63 - 2)), key)
    assert run(store, lambda tx: values.increment(tx, rows, 1, "n"), key) == 2**63 - 1
    run(store, lambda tx: values.put(tx, rows, 1, "low", "-1"), key)
    assert run(store, lambda tx: values.increment(tx, rows, 1, "low"), key) == 0


def test_a_unit_that_changes_a_definitions_values_it_has_not_named_is_refused(store):
    with pytest.raises(Defect, match="definition not among its keys"):
        run(store, lambda tx: values.increment(tx, values.OF_DEFINITION, 1, "k"), 1)
    assert store.read(lambda read: lookups.value(read, 1, "k", of_process=False)) is None


@pytest.mark.parametrize("rows", [values.OF_PROCESS, values.OF_DEFINITION], ids=["process", "definition"])
def test_two_nodes_count_one_key_together(url, rows):
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one node")
    with Store.open(url, "one") as one, Store.open(url, "two") as two:
        [pid] = processes(one, 1)
        run(one, lambda tx: tx.put(DEFINITIONS, row(DEFINITIONS, did=7, code="d")))
        owner = pid if rows is values.OF_PROCESS else 7
        key = values.unit_key(rows, owner)
        futures = [
            store.submit(lambda tx: values.increment(tx, rows, owner, "k"), (key,))
            for _ in range(300)
            for store in (one, two)
        ]
        assert sorted(future.result(30) for future in futures) == list(range(1, 601))


def test_a_key_answers_as_it_did_first(store):
    run(store, lambda tx: idempotency.keep(tx, 1, "k", "digest", 201, '{"a": 1}'))
    assert run(store, lambda tx: idempotency.recall(tx, 1, "k", "digest")) == (201, '{"a": 1}')
    assert run(store, lambda tx: idempotency.recall(tx, 2, "k", "digest")) is None
    with pytest.raises(Conflict):
        run(store, lambda tx: idempotency.recall(tx, 1, "k", "another"))
    for n in range(5):
        run(store, lambda tx, n=n: idempotency.keep(tx, 1, f"k{n}", "d", 200, ""))
    assert run(store, lambda tx: idempotency.forget(tx, 1, 10)) == 0
    assert [run(store, lambda tx: idempotency.forget(tx, tx.now + 1, 4)) for _ in range(3)] == [4, 2, 0]


def test_people_are_found_by_what_they_say_they_are(store):
    def unit(tx):
        for code in ("a", "b"):
            tid = people.add_tenant(tx, f"id {code}", code, code)
            uid = people.add_user(tx, tid, f"user {code}", "Ann@Example.com", "Ann", "hash", ("admin",))
            people.add_member(tx, people.add_group(tx, tid, "staff", "Staff"), uid)
            people.add_application(tx, tid, f"app {code}", "App", "hash")
            people.add_token(tx, f"token {code}", tid, "user:ann@example.com", "x", 60_000)
            people.add_token(tx, f"old {code}", tid, f"app:app {code}", "x", -1)

    run(store, unit)
    found = store.read(lambda read: people.users(read, "ann@example.com"))
    assert [(one.id, one.roles) for one in found] == [("ann@example.com", ("admin",))] * 2
    assert found[0].tid != found[1].tid
    ann = store.read(lambda read: people.principal(read, "token b", "x"))
    assert store.read(lambda read: people.principal(read, "token b", "y")) is None  # for another audience
    assert (ann.tenant_code, ann.groups, ann.roles) == ("b", ("staff",), ("admin",))
    app = store.read(lambda read: people.principal(read, "old a", "x"))
    assert (app.principal, app.tenant_code) == ("app:app a", "a")
    assert store.read(lambda read: people.application(read, "app b")).hash == "hash"
    assert store.read(lambda read: people.principal(read, "nobody", "x")) is None
    assert [run(store, lambda tx: people.forget_tokens(tx, tx.now, 1)) for _ in range(3)] == [1, 1, 0]
    assert store.read(lambda read: people.principal(read, "token a", "x")) is not None
