"""Many rows at once: a scope with all below it, and nothing beside it."""

from penstock.core.state import VisitState
from penstock.store import cascade
from penstock.store.rows import INBOX, JOBS, SCOPES, SUBSCRIPTIONS, TIMERS, VISITS
from store.making import processes, row


def run(store, unit):
    return store.submit(unit).result(30)


def visit(tx, pid, n, scope, kind, state="OPEN"):
    tx.put(VISITS, row(VISITS, pid=pid, n=n, scope=scope, node=f"n{n}", kind=kind, state=state))
    if state == "OPEN" and kind == "job":
        tx.put(JOBS, row(JOBS, pid=pid, n=n, state="READY", queue="q"))
    if state == "OPEN":
        tx.put(TIMERS, row(TIMERS, pid=pid, n=n, purpose="b"))
        tx.put(SUBSCRIPTIONS, row(SUBSCRIPTIONS, pid=pid, n=n, purpose="b", tid=1))


def tree(tx, pid, *, fresh=False):
    """Root: job 1, scope 2, scope 30. In 2: job 3, call 4, for_each 5 of elements 6 to 8. In element 7: scope 10 with job 11.

    `fresh`: as it is while a step carries out its commands, when scopes opened in it have no rows yet.
    """
    for n, parent in ((0, None), (2, 0), (5, 2), (10, 7), (30, 0)):
        if not fresh or n in (0, 30):
            tx.put(SCOPES, row(SCOPES, pid=pid, n=n, parent=parent, state="1{}"))
    for n in (6, 7, 8):
        tx.put(SCOPES, row(SCOPES, pid=pid, n=n, parent=5, state="1{}"))
    for n, scope, kind in (
        *((1, 0, "job"), (2, 0, "scope"), (3, 2, "job"), (4, 2, "call"), (5, 2, "scope"), (9, 6, "job")),
        *((10, 7, "scope"), (11, 10, "job"), (30, 0, "scope"), (31, 30, "job")),
    ):
        visit(tx, pid, n, scope, kind)
    visit(tx, pid, 12, 10, "job", "COMPLETED")
    visit(tx, pid, 13, 2, "job", "FAILED")


def left(store, pid):
    def rows(table, where=""):
        return [
            n
            for (n,) in store.read(
                lambda read: read.rows(f"SELECT n FROM {table} WHERE pid = ? {where} ORDER BY n", (pid,))
            )
        ]

    return {
        "visits": rows("visits", "AND state IN ('OPEN', 'FAILED')"),
        **{table: rows(table) for table in ("scopes", "jobs", "timers", "subscriptions")},
    }


def test_a_scope_goes_with_all_below_it_and_nothing_beside_it(store):
    for fresh in (False, True):
        pid, other = processes(store, 2)

        def unit(tx, pid=pid, other=other, fresh=fresh):
            tree(tx, other)
            tree(tx, pid, fresh=fresh)
            return cascade.drop_scope(tx, pid, 2, VisitState.CANCELLED, 77)

        before = run(store, lambda tx, other=other: tree(tx, other))
        dropped = run(store, unit)
        assert before is None
        assert dropped.scopes == {2, 5, 6, 7, 8, 10}
        assert [child.visit for child in dropped.children] == [4]
        # the visit of the scope itself is ended by the step that drops it
        assert left(store, pid) == {
            "visits": [1, 2, 30, 31],
            "scopes": [0, 30],
            "jobs": [1, 31],
            "timers": [1, 2, 30, 31],
            "subscriptions": [1, 2, 30, 31],
        }
        assert len(left(store, other)["visits"]) == 11
        ended = store.read(
            lambda read, pid=pid: read.rows(
                "SELECT n, ended_at FROM visits WHERE pid = ? AND state = 'CANCELLED' ORDER BY n", (pid,)
            )
        )
        assert ended == [(n, 77) for n in (3, 4, 5, 9, 10, 11, 13)]


def test_all_of_a_process_goes_and_its_messages_are_told(store):
    from penstock.core.events import CancelRequested, MessageArrived
    from penstock.store import inbox, messages

    pid, other = processes(store, 2)

    def unit(tx):
        tree(tx, pid)
        tree(tx, other)
        messages.keep(tx, 1, "m", "key", "id", "1", tx.now + 60_000)
        messages.consume(tx, 1, "m", "id")
        of = {"at": 1, "scope": 0, "visit": 1, "purpose": "b", "name": "m"}
        inbox.post(tx, pid, MessageArrived(message_id="id", **of), kept=True)
        inbox.post(tx, pid, MessageArrived(message_id="id", signal=True, **of))
        inbox.post(tx, pid, CancelRequested(at=1))
        inbox.post(tx, other, CancelRequested(at=1))
        return cascade.withdraw(tx, 1, pid, VisitState.CANCELLED, 77)

    withdrawn = run(store, unit)
    assert [child.visit for child in withdrawn.children] == [4]
    assert withdrawn.given_back == [("m", "key")]
    nothing: list = []
    assert left(store, pid) == {
        "visits": nothing, "scopes": [0], "jobs": nothing, "timers": nothing, "subscriptions": nothing,
    }  # fmt: skip
    assert len(left(store, other)["visits"]) == 11
    assert store.read(lambda read: read.rows("SELECT pid FROM inbox")) == [(other,)]
    assert store.read(lambda read: read.rows("SELECT state FROM messages")) == [("KEPT",)]


def test_jobs_are_held_released_and_told(store):
    [pid] = processes(store, 1)

    def unit(tx):
        for n, state in enumerate(("READY", "READY", "LEASED", "AWAITING"), start=1):
            tx.put(JOBS, row(JOBS, pid=pid, n=n, state=state, queue=f"q{n}"))
            tx.put(VISITS, row(VISITS, pid=pid, n=n, kind="job", state="OPEN"))

    run(store, unit)
    states = lambda: [s for (s,) in store.read(lambda read: read.rows("SELECT state FROM jobs ORDER BY n"))]  # noqa: E731
    run(store, lambda tx: cascade.hold_jobs(tx, pid))
    assert states() == ["HELD", "HELD", "LEASED", "AWAITING"]
    assert run(store, lambda tx: cascade.release_jobs(tx, pid)) == {"q1", "q2"}
    assert run(store, lambda tx: cascade.leased(tx, pid)) == 2
    run(store, lambda tx: cascade.tell_jobs(tx, pid, 5))
    assert store.read(lambda read: read.rows("SELECT n, told FROM jobs ORDER BY n")) == [(3, 1), (4, 1)]
    assert left(store, pid)["visits"] == [3, 4]


def test_an_event_that_cannot_be_applied_is_set_aside(store):
    from penstock.core.events import CancelRequested
    from penstock.store import inbox

    pid, other = processes(store, 2)

    def unit(tx):
        for name in ("bad", "good"):
            inbox.post(tx, pid, CancelRequested(at=1, reason=name))
        inbox.post(tx, other, CancelRequested(at=1))
        tx.put(INBOX, row(INBOX, iid=None, pid=pid, event="1{}", kept=1))

    run(store, unit)
    run(store, lambda tx: inbox.set_aside(tx, inbox.pending(tx, pid, 1)[0].iid))
    assert [entry.event.reason for entry in run(store, lambda tx: inbox.pending(tx, pid, 9))] == ["good"]
    assert run(store, lambda tx: (inbox.pids(tx, 0, 9), inbox.pids(tx, pid, 9), inbox.pids(tx, 0, 1))) == (
        [(pid, 1), (other, 1)],
        [(other, 1)],
        [(pid, 1)],
    )
