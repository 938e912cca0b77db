"""Deliveries: in order for each receiver and process, each claimed by one, a dead receiver in nobody's way."""

import threading

from penstock.store import Store, outbox


def publish(store, *rows, tid=1):
    """Rows of (pid, kind)."""

    def unit(tx):
        for pid, kind in rows:
            outbox.publish(tx, tid, pid, kind, {"n": kind})

    store.submit(unit).result(30)


def add(store, *ids, tid=1):
    return [store.submit(lambda tx, id=id: outbox.add_receiver(tx, tid, id)).result(30) for id in ids]


def claim(store, rid, most=100, hold=60_000):
    return store.submit(lambda tx: outbox.claim(tx, rid, most, hold)).result(30)


def kinds(deliveries):
    return [(one.pid, one.kind) for one in deliveries]


def test_without_a_receiver_nothing_is_written(store):
    publish(store, (1, "a"))
    assert store.read(lambda read: read.rows("SELECT * FROM outbox")) == []
    [rid] = add(store, "r")
    publish(store, (1, "b"))
    publish(store, (1, "c"), tid=2)
    assert kinds(claim(store, rid)) == [(1, "b")]


def test_only_the_lowest_of_each_process_may_be_claimed(store):
    [rid] = add(store, "r")
    publish(store, (1, "a"), (2, "x"), (1, "b"), (1, "c"), (2, "y"))
    first = claim(store, rid)
    assert kinds(first) == [(1, "a"), (2, "x")]
    assert claim(store, rid) == []
    store.submit(lambda tx: outbox.delivered(tx, first[0].oid)).result(30)
    second = claim(store, rid)
    assert kinds(second) == [(1, "b")]
    store.submit(lambda tx: outbox.failed(tx, first[1], tx.now + 60_000)).result(30)
    assert claim(store, rid) == []  # y waits behind x, which waits for its next try
    store.submit(lambda tx: outbox.failed(tx, first[1], tx.now)).result(30)
    [again] = claim(store, rid)
    assert (again.kind, again.attempts) == ("x", 1)


def test_a_claim_that_ran_out_is_made_again(store):
    [rid] = add(store, "r")
    publish(store, (1, "a"), (1, "b"))
    assert kinds(claim(store, rid, hold=-1)) == [(1, "a")]
    assert kinds(claim(store, rid)) == [(1, "a")]
    assert claim(store, rid) == []


def test_a_dead_receiver_blocks_only_itself(store):
    dead, alive = add(store, "dead", "alive")
    publish(store, *((pid, kind) for kind in "abc" for pid in range(1, 31)))
    stuck = claim(store, dead, 10)
    assert len(stuck) == 10
    got: list = []
    while batch := claim(store, alive, 10):
        got += kinds(batch)
        store.submit(lambda tx, batch=batch: [outbox.delivered(tx, one.oid) for one in batch]).result(30)
    assert len(got) == 90
    for pid in range(1, 31):
        assert [kind for of, kind in got if of == pid] == ["a", "b", "c"]
    assert len(claim(store, dead)) == 20


def test_two_claimers_never_have_the_same_and_keep_the_order(url):
    """On PostgreSQL two nodes, on SQLite two threads."""
    with Store.open(url, "a") as first:
        second = Store.open(url, "b") if first.dialect == "postgresql" else first
        [rid] = add(first, "r")
        publish(first, *((pid, str(n)) for n in range(8) for pid in range(1, 21)))
        delivered: dict = {}
        door = threading.Lock()
        taken: list = []

        def deliver(store):
            idle = 0
            while idle < 20:
                batch = claim(store, rid, 7)
                idle = 0 if batch else idle + 1
                with door:
                    taken.extend(one.oid for one in batch)
                    for one in batch:
                        delivered.setdefault(one.pid, []).append(int(one.kind))
                store.submit(lambda tx, batch=batch: [outbox.delivered(tx, one.oid) for one in batch]).result(30)

        threads = [threading.Thread(target=deliver, args=(store,)) for store in (first, second) * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if second is not first:
            second.close()
        assert len(taken) == len(set(taken)) == 160
        assert all(found == list(range(8)) for found in delivered.values())
