"""How handlers are registered, and how they end, without a server."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest

from penstock.client import Client, Failure
from penstock.worker import AsyncJob, Job, PermanentFailure, RetryLater, Throw, Worker
from penstock.worker.engine import is_coroutine_function
from penstock.worker.outcomes import Completed, Failed, Thrown, completed, ended_by, failure_of
from penstock.worker.threads import Threads


def nested(depth):
    error = ValueError("0")
    for level in range(1, depth):
        try:
            raise RuntimeError(str(level)) from error
        except RuntimeError as caught:
            error = caught
    return error


def test_causes_are_told_to_a_depth():
    failure, messages = failure_of(nested(9)), []
    while failure is not None:
        messages.append(failure.message)
        failure = failure.cause
    assert messages == ["8", "7", "6", "5", "4"]


def test_a_context_is_a_cause_unless_suppressed():
    def chained(suppress):
        try:
            try:
                raise KeyError("below")
            except KeyError:
                if suppress:
                    raise ValueError("above") from None
                raise ValueError("above")  # noqa: B904 - the implicit chain is the point
        except ValueError as error:
            return error

    assert failure_of(chained(suppress=True)) == Failure("ValueError", "above")
    assert failure_of(chained(suppress=False)).cause == Failure("KeyError", "'below'")


def test_messages_are_cut_and_never_empty():
    assert failure_of(ValueError()).message == "ValueError"
    assert len(failure_of(ValueError("x" * 100_000)).message) == 4_000


def test_ends():
    assert ended_by(RetryLater(-5)) == Failed(Failure("RetryLater", "to be tried again in -5 s"), 0.0)
    assert ended_by(PermanentFailure("m")) == Failed(Failure("PermanentFailure", "m", permanent=True))
    thrown = ended_by(Throw("C", "m", {"a": 1}))
    assert isinstance(thrown, Thrown)
    assert bytes(thrown.data or b"") == b'{"a":1}'
    assert isinstance(ended_by(Throw("C", data=object())), Failed)
    assert str(Throw("C")) == "C"
    assert str(Throw("C", "m")) == "C: m"


def test_outputs_are_encoded_once():
    outcome = completed({"a": (1, 2)}, {"k": None}, ["n"])
    assert isinstance(outcome, Completed)
    assert bytes(outcome.output) == b'{"a":[1,2]}'
    assert outcome.size == len(b'{"a":[1,2]}null')
    loop: list[object] = []
    loop.append(loop)
    for bad in (object(), {1, object()}, loop):
        refused = completed(bad, {}, [])
        assert isinstance(refused, Failed)
        assert refused.failure.permanent
    assert isinstance(completed(1, {"k": object()}, []), Failed)


def test_a_topic_has_one_handler():
    worker = Worker("http://127.0.0.1:1", token="t")

    @worker.job("b")
    def plain(job: Job) -> int:
        return 1

    @worker.job("a")
    async def coroutine(job: AsyncJob) -> int:
        return 1

    assert worker.topics == ("a", "b")
    with pytest.raises(ValueError, match="handler already"):
        worker.job("a")(plain)


def test_coroutine_functions_are_known():
    async def one(job):
        pass

    class Two:
        async def __call__(self, job):
            pass

    class Three:
        def __call__(self, job):
            pass

    assert is_coroutine_function(one)
    assert is_coroutine_function(Two())
    assert not is_coroutine_function(Three())
    assert not is_coroutine_function(lambda job: 1)


@pytest.mark.parametrize(
    "options", [{"concurrency": 0}, {"poll_batch": 0}, {"lease": 0.5}, {"lease": 4000}, {"wait": 61}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Worker("http://127.0.0.1:1", **options)


def test_configure_overrides():
    worker = Worker(poll_batch=20, concurrency=30)
    with Client("http://127.0.0.1:1", token="t") as client:
        worker.configure(concurrency=5, client=client)
        assert worker.client is client
    assert (worker.options.concurrency, worker.options.poll_batch) == (5, 5)
    with pytest.raises(ValueError, match="at least 1"):
        worker.configure(concurrency=0)


def test_no_handlers_and_no_second_run():
    worker = Worker("http://127.0.0.1:1", token="t")
    with pytest.raises(ValueError, match="no handlers"):
        asyncio.run(worker.serve())
    worker.stop()  # of one that does not run: nothing


def test_threads_are_used_again_and_carry_context():
    name = contextvars.ContextVar("name", default="none")

    async def main():
        threads = Threads(asyncio.get_running_loop())
        name.set("set")
        first = await threads.call(lambda: (threading.current_thread().name, name.get()))
        second = await threads.call(lambda: (threading.current_thread().name, name.get()))
        both = await asyncio.gather(*(threads.call(threading.get_ident) for _ in range(2)))
        with pytest.raises(KeyboardInterrupt):
            await threads.call(interrupt)
        threads.close()
        return first, second, both

    def interrupt():
        raise KeyboardInterrupt

    first, second, both = asyncio.run(main())
    assert first == second == ("penstock-job-1", "set")
    assert len(both) == 2
