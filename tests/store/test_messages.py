"""Messages and who waits for them, as rows."""

from penstock.store import inbox, messages
from penstock.store.rows import SUBSCRIPTIONS
from store.making import processes


def run(store, unit):
    return store.submit(unit).result(30)


def keep(store, *ids, name="m", key="k", ttl=60_000):
    return run(store, lambda tx: [messages.keep(tx, 1, name, key, id, f'"{id}"', tx.now + ttl) for id in ids])


def wait(store, *places, name="m", key="k", signal=0):
    def unit(tx):
        for pid, n, purpose in places:
            tx.put(SUBSCRIPTIONS, (pid, n, purpose, 0, 1, name, key, signal))

    run(store, unit)


def states(store):
    return dict(store.read(lambda read: read.rows("SELECT message_id, state FROM messages ORDER BY message_id")))


def test_an_id_is_known_even_within_its_own_unit(store):
    assert keep(store, "a", "a", "b") == [True, False, True]
    assert keep(store, "a", name="other") == [True]


def test_the_oldest_goes_to_the_first_waiter_once(store):
    first, second = processes(store, 2)
    wait(store, (second, 1, "x"), (first, 2, "x"), (first, 1, "y"))
    wait(store, (first, 9, "x"), key="other")
    keep(store, "old", ttl=-1)
    keep(store, "a", "b")
    match = lambda tx: messages.match(tx, 1, "m", "k")  # noqa: E731
    assert [run(store, match) for _ in range(3)] == [first, first, None]
    assert states(store) == {"a": "CONSUMED", "b": "CONSUMED", "old": "KEPT"}
    got = run(store, lambda tx: inbox.pending(tx, first, 9))
    assert [(entry.event.visit, entry.event.payload) for entry in got] == [(1, "a"), (2, "b")]
    assert run(store, lambda tx: messages.give_back(tx, 1, "m", "b")) == "k"
    assert run(store, match) == second
    assert run(store, lambda tx: messages.give_back(tx, 1, "m", "nobody")) is None


def test_listeners_come_in_chunks_that_never_part_a_visit(store):
    [pid] = processes(store, 1)
    places = [(pid, n, purpose) for n in range(10) for purpose in "abc"]
    wait(store, *places, key="", signal=1)
    wait(store, (pid, 99, "x"), key="")
    found: list = []
    after = (0, -1)
    while True:
        chunk = run(store, lambda tx, after=after: messages.listeners(tx, 1, "m", after, 4))
        found += [(one.pid, one.n, one.purpose) for one in chunk]
        if len(chunk) < 4:
            break
        after = chunk[-1].pid, chunk[-1].n
    assert found == places


def test_kept_names_are_walked_in_pages(store):
    for n in range(7):
        keep(store, f"a{n}", f"b{n}", key=str(n))
    names: list = []
    after = (0, "", "")
    while page := run(store, lambda tx, after=after: messages.kept_names(tx, after, 3)):
        names += page
        after = page[-1]
    assert names == [(1, "m", str(n)) for n in range(7)]


def test_what_expired_is_forgotten_in_chunks(store):
    keep(store, *"abcde", ttl=-10)
    keep(store, "fresh")
    assert [run(store, lambda tx: messages.forget(tx, tx.now, 2)) for _ in range(4)] == [2, 2, 1, 0]
    assert list(states(store)) == ["fresh"]
