"""Answers and log lines on their way to the server, in batches.

While one batch is on its way the next one collects, so batches grow with the load by themselves. Each carries a poll
for the slots that are free, so that under load a worker makes one call for many jobs. An answer is kept until the
server has taken or refused it: trouble on the way is retried for ever, and it is the lease that decides in the end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final

from penstock.client import (
    ApiError,
    AsyncClient,
    ClientError,
    Failure,
    Invalid,
    Retry,
    ServerError,
    models,
)
from penstock.client.errors import LimitExceeded, ProblemDetails, Unavailable, Unreachable, error_from
from penstock.worker.job import Held, Level
from penstock.worker.outcomes import Completed, Failed, Outcome, Thrown

log = logging.getLogger("penstock.worker")

MAX_BATCH: Final = 500
_MAX_BYTES: Final = 1024 * 1024
"""Of outputs in one call: well below the 2 MiB a server takes."""
_MAX_LINES: Final = 10_000
_LONGEST_LINE: Final = 10_000
_GONE: Final = frozenset({"lease_lost", "not_found", "wrong_state"})
_PASSING: Final = frozenset({"unavailable", "limit_exceeded"})
_TRIES: Final = 3


@dataclass(slots=True)
class _Pending:
    held: Held
    outcome: Outcome
    tries: int = 0
    alone: bool = False
    """A batch with it in was refused as a whole: to be sent by itself, so that only the bad one fails."""


@dataclass(frozen=True, slots=True)
class Ties:
    """What the outbox needs of the worker's engine."""

    polling: Callable[[], AbstractContextManager[models.Poll | None]]
    """Keeps free slots for the time of a call."""
    take: Callable[[Sequence[models.Job]], None]
    forget: Callable[[Held], None]
    """Its answer was taken, or never will be."""


class Outbox:
    def __init__(self, client: AsyncClient, backoff: Retry, ties: Ties) -> None:
        self._client = client
        self._backoff = backoff
        self._ties = ties
        self._pending: deque[_Pending] = deque()
        self._lines: deque[tuple[Held, Level, str]] = deque(maxlen=_MAX_LINES)
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    @property
    def waiting(self) -> bool:
        """Whether there are answers that no call has taken up yet."""
        return bool(self._pending)

    def put(self, held: Held, outcome: Outcome) -> None:
        self._pending.append(_Pending(held, outcome))
        self._wake()

    def tell(self, held: Held, level: Level, message: str) -> None:
        self._lines.append((held, level, message[:_LONGEST_LINE]))
        self._wake()

    async def drained(self) -> None:
        """Waits until everything was taken."""
        await self._drained.wait()

    async def run(self) -> None:
        """Sends for ever."""
        troubles = 0
        while True:
            if not self._pending and not self._lines:
                self._filled.clear()
                self._drained.set()
                await self._filled.wait()
            try:
                if self._lines:
                    await self._send_lines()
                if self._pending:
                    await self._send_batch(self._next_batch())
                troubles = 0
            except ClientError as error:
                troubles += 1
                pause = self._backoff.pause_after(error, troubles)
                waiting = len(self._pending)
                log.warning("cannot hand in %d answers: %s; trying again in %.1f s", waiting, error, pause)
                await asyncio.sleep(pause)

    def _wake(self) -> None:
        self._drained.clear()
        self._filled.set()

    async def _send_lines(self) -> None:
        lines = [self._lines.popleft() for _ in range(min(len(self._lines), MAX_BATCH))]
        entries = [
            models.LogEntry(id=held.job.id, lease=held.job.lease, level=level, message=message)
            for held, level, message in lines
        ]
        try:
            await self._client.jobs.log(entries)
        except (Unreachable, Unavailable, LimitExceeded):
            self._lines.extendleft(reversed(lines))
            raise
        except ClientError as error:
            # Log lines must never hold up answers.
            log.warning("the server did not take %d log lines: %s", len(lines), error)

    def _next_batch(self) -> list[_Pending]:
        """The oldest answer and those of its kind after it, as far as one call may carry them."""
        kind = type(self._pending[0].outcome)
        batch: list[_Pending] = []
        kept: deque[_Pending] = deque()
        size, ids = 0, set()
        while self._pending and len(batch) < MAX_BATCH:
            each = self._pending.popleft()
            full = size + each.outcome.size > _MAX_BYTES or each.alone or (batch[:1] and batch[0].alone)
            if batch and (full or type(each.outcome) is not kind or each.held.job.id in ids):
                kept.append(each)
                continue
            batch.append(each)
            ids.add(each.held.job.id)
            size += each.outcome.size
        self._pending.extendleft(reversed(kept))
        return batch

    async def _send_batch(self, batch: list[_Pending]) -> None:
        try:
            with self._ties.polling() as poll:
                answer = await self._call(batch, poll)
                self._ties.take(answer.jobs)
        except (Invalid, ServerError) as error:
            self._refused(batch, error)
            return
        except (ClientError, asyncio.CancelledError):
            self._pending.extendleft(reversed(batch))
            raise
        results = {result.id: result for result in answer.results}
        passing = [self._settle(each, results.get(each.held.job.id)) for each in batch]
        if reason := next(filter(None, passing), None):
            raise reason  # a pause first

    async def _call(self, batch: list[_Pending], poll: models.Poll | None) -> models.JobResults:
        jobs = self._client.jobs
        match batch[0].outcome:
            case Completed():
                return await jobs.complete([_complete_entry(each) for each in batch], poll=poll)
            case Failed():
                return await jobs.fail([_fail_entry(each) for each in batch], poll=poll)
            case Thrown():
                return await jobs.throw([_throw_entry(each) for each in batch], poll=poll)

    def _refused(self, batch: list[_Pending], error: ApiError) -> None:
        """The call as a whole was refused: find out whose fault it is by sending each alone."""
        if len(batch) > 1:
            for each in batch:
                each.alone = True
            self._pending.extendleft(reversed(batch))
            return
        [single] = batch
        single.tries += 1
        if isinstance(error, ServerError) and single.tries < _TRIES:
            self._pending.appendleft(single)
            raise error  # a pause first
        self._reject(single, error)

    def _settle(self, pending: _Pending, result: models.JobResult | None) -> ApiError | None:
        """Done, or kept for another time: then the reason."""
        if result is not None and result.ok:
            self._ties.forget(pending.held)
            return None
        problem = (result and result.error) or ProblemDetails(detail="the server did not say how the answer was taken")
        error = error_from(problem)
        pending.tries += 1
        if problem.code in _GONE:
            log.warning("%s is no longer ours, its answer was not applied: %s", pending.held, error)
            self._ties.forget(pending.held)
        elif problem.code in _PASSING or (not problem.code and pending.tries < _TRIES):
            self._pending.append(pending)
            return error
        else:
            self._reject(pending, error)
        return None

    def _reject(self, pending: _Pending, error: ApiError) -> None:
        """The server does not take this answer and never will: the job fails, so that somebody sees it."""
        log.error("%s: the server refused the answer: %s", pending.held, error)
        if isinstance(pending.outcome, Failed):
            self._ties.forget(pending.held)  # its lease runs out
            return
        failure = Failure("AnswerRefused", str(error), permanent=True)
        self._pending.append(_Pending(pending.held, Failed(failure), alone=True))


def _complete_entry(pending: _Pending) -> models.CompleteEntry:
    job, outcome = pending.held.job, pending.outcome
    assert isinstance(outcome, Completed)
    return models.CompleteEntry(
        id=job.id,
        lease=job.lease,
        traceparent=pending.held.traceparent,
        output=outcome.output,
        values=dict(outcome.values),
        increments=[*outcome.increments],
    )


def _fail_entry(pending: _Pending) -> models.FailEntry:
    job, outcome = pending.held.job, pending.outcome
    assert isinstance(outcome, Failed)
    return models.FailEntry(
        id=job.id,
        lease=job.lease,
        traceparent=pending.held.traceparent,
        failure=outcome.failure,
        delay=outcome.delay,
    )


def _throw_entry(pending: _Pending) -> models.ThrowEntry:
    job, outcome = pending.held.job, pending.outcome
    assert isinstance(outcome, Thrown)
    message = outcome.message or None
    return models.ThrowEntry(
        id=job.id,
        lease=job.lease,
        traceparent=pending.held.traceparent,
        code=outcome.code,
        message=message,
        data=outcome.data,
    )
