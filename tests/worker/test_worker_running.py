"""The worker's loops against a server that speaks docs/api.md."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from client.remote import Answer, problem
from penstock.client import AsyncClient, Client, Forbidden, LeaseLost, NotFound, Retry
from penstock.worker import AsyncJob, Job, PermanentFailure, RetryLater, Throw, Worker
from worker.door import eventually, open_door

QUICK = Retry(delay=0.01, cap=0.03)


@pytest.fixture
def door():
    with open_door() as door:
        yield door


def worker_at(door, **options):
    given = {"concurrency": 4, "wait": 1, "grace": 2, "backoff": QUICK} | options
    return Worker(door.url, "id", "secret", **given)


@contextmanager
def working(worker):
    """The worker runs in a thread for the time of the block."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(8)
        assert not thread.is_alive()


# ------------------------------------------------------------------------------------------------------- the handler


def test_both_kinds_of_handler_work(door):
    worker = worker_at(door)
    threads = set()

    @worker.job("async")
    async def one(job: AsyncJob):
        threads.add(threading.current_thread().name)
        assert await job.values.put("a", job.input) == await job.values.get("a")
        assert (await job.values.increment("n")).value == 1
        job.set_value("k", [1])
        job.increment("c")
        job.increment("c")
        await job.extend(120)
        return {"doubled": job.input * 2}

    @worker.job("plain")
    def two(job: Job):
        threads.add(threading.current_thread().name)
        with pytest.raises(NotFound):
            job.values.get("absent")
        job.values.put("b", job.input_as(dict[str, int]))
        job.log("half of it", "warning")
        job.extend(120)
        return job.attempt

    first, second = door.offer("async", 4), door.offer("plain", {"x": 1}, attempt=3)
    with working(worker):
        assert door.result(first)[1] == {
            "id": first, "lease": f"lease-{first}", "output": {"doubled": 8}, "values": {"k": [1]},
            "increments": ["c", "c"],
        }  # fmt: skip
        assert door.result(second) == ("complete", {"id": second, "lease": f"lease-{second}", "output": 3})
        eventually(lambda: door.lines)
    assert door.values == {"a": 4, "n": 1, "b": {"x": 1}}
    assert door.lines == [{"id": second, "lease": f"lease-{second}", "level": "warning", "message": "half of it"}]
    assert any(name.startswith("penstock-job-") for name in threads)
    assert len(threads) == 2


class Cause(Exception):
    pass


def fail_with_cause(job):
    try:
        raise Cause("below")
    except Cause as cause:
        raise KeyError("above") from cause


def raising(error):
    def handler(job):
        raise error

    return handler


@pytest.mark.parametrize(
    ("handler", "verb", "entry"),
    [
        (raising(Throw("NO_STOCK", "none left", {"sku": 1})), "throw",
         {"code": "NO_STOCK", "message": "none left", "data": {"sku": 1}}),
        (raising(Throw("C")), "throw", {"code": "C"}),
        (raising(PermanentFailure("never", type="Wrong")), "fail",
         {"failure": {"type": "Wrong", "message": "never", "permanent": True}}),
        (raising(RetryLater(90)), "fail",
         {"delay": 90, "failure": {"type": "RetryLater", "message": "to be tried again in 90 s"}}),
        (raising(SystemExit(3)), "fail", {"failure": {"type": "SystemExit", "message": "3"}}),
        (raising(StopIteration()), "fail",  # which no coroutine may raise: Python's own rule
         {"failure": {"type": "RuntimeError", "message": "coroutine raised StopIteration",
                      "cause": {"type": "StopIteration", "message": "StopIteration"}}}),
        (fail_with_cause, "fail",
         {"failure": {"type": "KeyError", "message": "'above'",
                      "cause": {"type": "worker.test_worker_running.Cause", "message": "below"}}}),
        (lambda job: object(), "fail", {"failure": {
            "type": "OutputNotJson", "permanent": True,
            "message": "the handler's output is not JSON: Encoding objects of type object is unsupported"}}),
        (lambda job: job.input_as(int), "fail", {"failure": {
            "type": "BadInput", "permanent": True,
            "message": "the input is not what the worker takes: Expected `int`, got `str`",
            "cause": {"type": "msgspec.ValidationError", "message": "Expected `int`, got `str`"}}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_what_a_handler_raises_becomes_data(door, handler, verb, entry, kind):
    worker = worker_at(door)

    async def coroutine(job):
        return handler(job)

    worker.job("t")(handler if kind == "plain" else coroutine)
    job_id = door.offer("t", "text")
    with working(worker):
        got = door.result(job_id)
    expected = {"id": job_id, "lease": f"lease-{job_id}"} | entry
    failure = got[1].get("failure", {})
    failure["type"] = failure.get("type", "").replace("tests.", "")
    if "cause" in failure:
        failure["cause"]["type"] = failure["cause"]["type"].replace("tests.", "")
    if "failure" not in entry:
        got[1].pop("failure", None)
    assert got == (verb, expected)


# --------------------------------------------------------------------------------------------------------- the loops


def test_the_bound_on_concurrency_holds_and_answers_bring_jobs(door):
    worker = worker_at(door, concurrency=5, poll_batch=3)
    at_once, most = 0, 0

    @worker.job("t")
    async def handler(job):
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.002)
        at_once -= 1

    ids = [door.offer("t") for _ in range(200)]
    with working(worker):
        for job_id in ids:
            door.result(job_id)
    assert most == 5
    assert door.most_leased <= 10  # those that run, and those whose answers are on their way
    completes = [size for verb, size in door.batches if verb == "complete"]
    assert sum(completes) == 200
    assert len(completes) < 200
    assert door.calls["jobs/poll"] < 100  # most jobs came with an answer


def test_plain_handlers_run_at_once(door):
    worker = worker_at(door, concurrency=3)
    meeting = threading.Barrier(3)
    worker.job("t")(lambda job: meeting.wait(5) and None)
    ids = [door.offer("t") for _ in range(3)]
    with working(worker):
        assert [door.result(job_id)[0] for job_id in ids] == ["complete"] * 3


def test_heartbeats_keep_leases_and_bring_the_wish_to_stop(door):
    worker = worker_at(door, lease=1)

    @worker.job("async")
    async def one(job: AsyncJob):
        assert not job.cancelled
        assert not await job.wait_cancelled(0.01)
        return await job.wait_cancelled()

    @worker.job("plain")
    def two(job: Job):
        return job.wait_cancelled(5)

    ids = {door.offer("async"), door.offer("plain")}
    with working(worker):
        door.until(lambda: door.leased.keys() == ids)
        door.cancel = ids
        assert {door.result(job_id)[1]["output"] for job_id in ids} == {True}
    assert ("extend", 2) in door.batches


def test_a_lost_lease_is_told_and_forgotten(door, caplog):
    worker = worker_at(door, lease=1)
    caught = []

    @worker.job("t")
    async def handler(job: AsyncJob):
        await job.wait_cancelled()
        with pytest.raises(LeaseLost):
            await job.extend(10)
        caught.append(job.cancelled)

    job_id = door.offer("t")
    with caplog.at_level(logging.WARNING, "penstock.worker"), working(worker):
        door.until(lambda: job_id in door.leased)
        door.take_away(job_id)
        eventually(lambda: caught == [True])
    assert "is no longer ours" in caplog.text
    assert "complete" not in [verb for verb, _ in door.batches]


def test_a_late_answer_is_forgotten(door, caplog):
    worker = worker_at(door)
    go = threading.Event()
    worker.job("t")(lambda job: go.wait(5))
    late, next_ = door.offer("t"), None
    with caplog.at_level(logging.WARNING, "penstock.worker"), working(worker):
        door.until(lambda: late in door.leased)
        door.take_away(late)
        go.set()
        eventually(lambda: "its answer was not applied" in caplog.text)
        next_ = door.offer("t")
        assert door.result(next_)[0] == "complete"
    assert late not in door.ended


def test_an_answer_the_server_refuses_fails_the_job(door):
    worker = worker_at(door)
    worker.job("t")(lambda job: "refuse me")
    job_id = door.offer("t")
    with working(worker):
        verb, entry = door.result(job_id)
    assert verb == "fail"
    assert entry["failure"] == {
        "type": "AnswerRefused", "message": "not this: /output: is bad (400 invalid)", "permanent": True
    }  # fmt: skip


def test_a_batch_refused_as_a_whole_is_sent_one_by_one(door):
    def trouble(name, body):
        if name == "jobs/complete" and any(job.get("output") == "bomb" for job in body["jobs"]):
            return problem(400, "invalid", "boom")
        return None

    door.trouble = trouble
    worker = worker_at(door, concurrency=8)
    worker.job("t")(lambda job: job.input)
    ids = [door.offer("t", "bomb" if n == 3 else n) for n in range(8)]
    with working(worker):
        verbs = [door.result(job_id)[0] for job_id in ids]
    assert verbs == ["complete"] * 3 + ["fail"] + ["complete"] * 4


def test_large_outputs_go_in_several_calls(door):
    worker = worker_at(door, concurrency=4)
    worker.job("t")(lambda job: "x" * 600_000)
    ids = [door.offer("t") for _ in range(4)]
    with working(worker):
        assert {door.result(job_id)[0] for job_id in ids} == {"complete"}
    assert {size for verb, size in door.batches if verb == "complete"} == {1}


@pytest.mark.parametrize("answer", [problem(503, "unavailable"), Answer(hang_up=True), problem(500, "defect")])
def test_trouble_is_outlived(door, answer, caplog):
    troubles = {"jobs/poll": 3, "jobs/complete": 2, "jobs/log": 2}

    def trouble(name, body):
        troubles[name] = troubles.get(name, 0) - 1
        return answer if troubles[name] >= 0 else None

    door.trouble = trouble
    worker = worker_at(door)

    @worker.job("t")
    def handler(job):
        job.log("hello")

    job_id = door.offer("t")
    with caplog.at_level(logging.INFO, "penstock.worker"), working(worker):
        assert door.result(job_id)[0] == "complete"
    assert caplog.text.count("cannot get jobs") == 3
    assert "trying again in 0.0" in caplog.text
    assert "the server answers again" in caplog.text


def test_a_server_that_starts_late_and_starts_again(caplog):
    with open_door() as probe:
        port = int(probe.url.rpartition(":")[2])
    worker = Worker(f"http://127.0.0.1:{port}", token="t", wait=1, grace=2, backoff=QUICK)
    worker.job("t")(lambda job: job.input)
    with caplog.at_level(logging.INFO, "penstock.worker"), working(worker):
        eventually(lambda: "cannot get jobs: no answer" in caplog.text)
        for _ in range(2):
            with open_door(port) as door:
                assert door.result(door.offer("t", 1))[1]["output"] == 1


@pytest.mark.parametrize(("answer", "kind"), [(problem(403, "forbidden", "not you"), Forbidden)])
def test_a_worker_that_can_never_work_says_so_and_ends(door, answer, kind):
    door.trouble = lambda name, body: answer
    worker = worker_at(door)
    worker.job("t")(lambda job: None)
    with pytest.raises(kind, match="not you"):
        worker.run()


def test_a_server_that_does_not_hold_polls_is_not_asked_in_a_tight_loop(door):
    door.trouble = lambda name, body: Answer(200, {"jobs": []}) if name == "jobs/poll" else None
    worker = worker_at(door, wait=30)
    worker.job("t")(lambda job: None)
    with working(worker):
        time.sleep(0.4)
    assert 2 <= door.calls["jobs/poll"] <= 6


# ----------------------------------------------------------------------------------------------------------- the end


def test_what_runs_may_end_within_the_grace(door):
    worker = worker_at(door, concurrency=1)

    began = threading.Event()

    @worker.job("t")
    async def handler(job):
        began.set()
        await asyncio.sleep(0.2)
        return "whole"

    first, second = door.offer("t"), door.offer("t")
    with working(worker):
        began.wait(5)
    assert door.ended[first][1]["output"] == "whole"
    assert second not in door.ended  # no poll after the stop
    assert second not in door.leased


def test_what_does_not_end_is_given_back(door):
    worker = worker_at(door, grace=0.05)
    go = threading.Event()
    told = []
    both = threading.Semaphore(0)

    @worker.job("plain")
    def one(job: Job):
        both.release()
        told.append(job.wait_cancelled(5))
        go.wait(5)

    @worker.job("async")
    async def two(job: AsyncJob):
        both.release()
        await asyncio.sleep(60)

    ids = [door.offer("plain"), door.offer("async")]
    with working(worker):
        both.acquire(timeout=5)
        both.acquire(timeout=5)
    for job_id in ids:
        verb, entry = door.ended[job_id]
        assert verb == "fail"
        assert entry["failure"] == {"type": "WorkerStopped", "message": "the worker was stopped"}
    eventually(lambda: told == [True])
    go.set()


def test_stop_now_ends_the_grace(door):
    worker = worker_at(door, grace=60)

    running = threading.Event()

    @worker.job("t")
    async def handler(job):
        running.set()
        await asyncio.sleep(60)

    job_id = door.offer("t")
    began = time.monotonic()
    with working(worker):
        running.wait(5)
        worker.stop(now=True)
    assert time.monotonic() - began < 3
    assert door.ended[job_id][0] == "fail"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_stop_it_gracefully(door, number):
    program = f"""
import time
from penstock.worker import Worker
worker = Worker({door.url!r}, token="t", wait=1)
@worker.job("t")
def handler(job):
    job.values.put("running", True)
    time.sleep(0.2)
    return "whole"
worker.run()
"""
    job_id = door.offer("t")
    process = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    try:
        door.until(lambda: any(name.endswith("/values/running") for name in door.calls))
        time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait()
    assert door.ended[job_id][1]["output"] == "whole"


# ---------------------------------------------------------------------------------------------------- ways to run it


def test_run_until_works_until_something_has_come_true(door):
    async def main():
        async with AsyncClient(door.url, token="t") as client:
            worker = Worker(client, wait=1)
            done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

            @worker.job("t")
            async def handler(job: AsyncJob):
                done.set_result(job.input)

            door.offer("t", 7)
            assert await worker.run_until(done) == 7
            assert await worker.run_until(asyncio.sleep(0.01, "again")) == "again"

    asyncio.run(main())
    assert door.ended["j1"][0] == "complete"


def test_run_until_raises_what_stops_the_worker(door):
    door.trouble = lambda name, body: problem(403, "forbidden")
    worker = worker_at(door)
    worker.job("t")(lambda job: None)

    async def main():
        await worker.run_until(asyncio.sleep(60))

    with pytest.raises(Forbidden):
        asyncio.run(main())


def test_a_blocking_client_says_where_and_as_whom(door):
    with Client(door.url, token="t") as client:
        worker = Worker(client, wait=1)
        worker.job("t")(lambda job: None)
        job_id = door.offer("t")
        with working(worker):
            door.result(job_id)
