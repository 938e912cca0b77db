"""Jobs as rows: offered oldest first, passed over while another node has their process, given back."""

import threading

from sqlalchemy import select

from penstock.core import commands as do
from penstock.store import Store, jobs, tables
from penstock.store.rows import JOBS, PROCESSES, VISITS
from store.making import processes, row


def run(store, unit, keys=()):
    return store.submit(unit, keys).result(30)


def offered(store, pids, queue="t", **more):
    def unit(tx):
        for i, pid in enumerate(pids):
            at = {"available_at": 100 - i, **more}
            tx.put(JOBS, row(JOBS, pid=pid, n=1, queue=queue, state="READY", attempt=1, **at))

    run(store, unit)


def test_the_oldest_first_and_of_its_queue_alone(store):
    pids = processes(store, 5)
    offered(store, pids)
    offered(store, pids[:1], queue="other", available_at=0)
    offered(store, pids)
    assert [one.row.pid for one in run(store, lambda tx: jobs.ready(tx, "t", 3))] == pids[:1:-1]
    assert run(store, lambda tx: jobs.ready(tx, "nothing", 3)) == []


def test_a_ready_job_brings_its_input_and_its_process(store):
    [pid] = processes(store, 1)
    offered(store, [pid])

    def unit(tx):
        tx.put(VISITS, row(VISITS, pid=pid, n=1, input="[1]"))
        [found] = jobs.ready(tx, "t", 5)
        before = store.writer.connection.statements
        process = tx.get(PROCESSES, (pid,)) if not tx.sole_writer else None
        assert store.writer.connection.statements == before
        return found.input, process

    text, process = run(store, unit)
    assert text == "[1]"
    if process is not None:
        assert process == store.read(lambda read: tuple(read.row(select(tables.processes))))


def test_a_lease_is_taken_given_back_and_counted(store):
    [pid] = processes(store, 1)
    offered(store, [pid])
    lease = jobs.Lease("l", 2**50, "w", "hash")

    def take(tx):
        [found] = jobs.ready(tx, "t", 5)
        return jobs.take(tx, found.row, lease, found.row.vid)

    taken = run(store, take)
    assert run(store, lambda tx: jobs.get(tx, pid, 1)) == taken
    assert (taken.state, taken.deliveries, taken.lease) == ("LEASED", 1, "l")
    assert run(store, lambda tx: (jobs.ready(tx, "t", 5), jobs.expired(tx, 5))) == ([], [])
    run(store, lambda tx: jobs.extend(tx, taken, 1))
    assert run(store, lambda tx: jobs.expired(tx, 5)) == [(pid, 1, 0)]
    run(store, lambda tx: jobs.give_back(tx, taken, held=False))
    again = run(store, take)
    assert again.deliveries == 2
    run(store, lambda tx: jobs.give_back(tx, again, held=False, delivered=False))
    assert run(store, take).deliveries == 2
    run(store, lambda tx: jobs.give_back(tx, again, held=True))
    assert run(store, lambda tx: jobs.ready(tx, "t", 5)) == []


def test_a_queue_tells_its_tenant_and_the_engines_own_has_none():
    assert jobs.queue_of(5, "a/b") == "5/a/b"
    assert jobs.topic_of("5/a/b") == "a/b"
    assert jobs.queue_of(5, "http:") == jobs.queue_of(6, "http:")


def test_a_job_is_born_ready_or_leased(store):
    [pid] = processes(store, 1)
    command = do.OpenJob(1, 0, "n", "t", 1, None, 5)
    queue = run(store, lambda tx: jobs.open(tx, 7, 1, pid, command, None))
    assert queue == "7/t"
    assert run(store, lambda tx: jobs.get(tx, pid, 1)).state == "READY"
    run(store, lambda tx: jobs.open(tx, 7, 1, pid, command, jobs.Lease("l", 9, "w", "h")))
    born = run(store, lambda tx: jobs.get(tx, pid, 1))
    assert (born.state, born.lease, born.leased_until, born.deliveries, born.timeout) == ("LEASED", "l", 9, 1, 5)


def test_jobs_of_processes_another_node_holds_are_passed_over_and_known(dialect, url):
    if dialect == "sqlite":
        return  # one writer: nobody else holds anything
    with Store.open(url, "a") as first, Store.open(url, "b") as second:
        pids = processes(first, 4)
        offered(first, pids)
        entered, leave = threading.Event(), threading.Event()
        held = first.submit(lambda tx: (entered.set(), leave.wait(20)), pids[:2])
        assert entered.wait(20)
        assert [one.row.pid for one in run(second, lambda tx: jobs.ready(tx, "t", 4))] == [pids[3], pids[2]]
        assert run(second, lambda tx: jobs.left(tx, "t", 9)) == 4
        # the row of a job that was passed over is not locked by the one who passed it over
        blocked = second.submit(lambda tx: (jobs.ready(tx, "t", 4), leave.wait(20)))
        leave.set()
        held.result(20)
        blocked.result(20)
        assert len(run(second, lambda tx: jobs.ready(tx, "t", 4))) == 4
