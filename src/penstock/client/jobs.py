"""Calls of workers: poll, answer, extend, log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from penstock.client import models
from penstock.client.building import given
from penstock.client.request import API, M, Namespace, Request, segment, verb

T = TypeVar("T")


class Jobs(Namespace[M]):
    """What workers call. Leases fence every answer, so these calls carry no idempotency key and may be repeated."""

    @verb
    def poll(
        self,
        topics: Iterable[str],
        *,
        max: int = 1,
        wait: float | None = None,
        lease: float | None = None,
        worker: str | None = None,
    ) -> Request[models.Jobs]:
        body = models.Poll(sorted(topics), max, lease, worker, wait)
        return _jobs("poll", models.Jobs, body, wait=wait or 0.0)

    @verb
    def complete(
        self, jobs: Sequence[models.CompleteEntry], *, poll: models.Poll | None = None
    ) -> Request[models.JobResults]:
        return _batch("complete", jobs, poll)

    @verb
    def fail(self, jobs: Sequence[models.FailEntry], *, poll: models.Poll | None = None) -> Request[models.JobResults]:
        return _batch("fail", jobs, poll)

    @verb
    def throw(
        self, jobs: Sequence[models.ThrowEntry], *, poll: models.Poll | None = None
    ) -> Request[models.JobResults]:
        return _batch("throw", jobs, poll)

    @verb
    def extend(self, jobs: Sequence[models.ExtendEntry]) -> Request[models.JobResults]:
        return _batch("extend", jobs, None)

    @verb
    def log(self, jobs: Sequence[models.LogEntry]) -> Request[models.JobResults]:
        return _batch("log", jobs, None)

    @verb
    def complete_one(
        self,
        id: str,
        output: Any = None,
        *,
        lease: str | int | None = None,
        token: str | None = None,
        values: Mapping[str, Any] | None = None,
        increments: Sequence[str] | None = None,
    ) -> Request[None]:
        """With the job's lease, or with its token in place of the client's."""
        return _one(id, "complete", token, output=output, lease=lease, values=values, increments=increments)

    @verb
    def fail_one(
        self,
        id: str,
        failure: models.Failure,
        *,
        lease: str | int | None = None,
        token: str | None = None,
        delay: float | None = None,
    ) -> Request[None]:
        return _one(id, "fail", token, failure=failure, lease=lease, delay=delay)

    @verb
    def throw_one(
        self,
        id: str,
        code: str,
        message: str | None = None,
        data: Any = None,
        *,
        lease: str | int | None = None,
        token: str | None = None,
    ) -> Request[None]:
        return _one(id, "throw", token, code=code, message=message, data=data, lease=lease)


def _jobs(name: str, answer: type[T], body: Any, wait: float = 0.0) -> Request[T]:
    encoded = msgspec.json.encode(body)
    return Request("POST", f"{API}/jobs/{name}", answer, body=encoded, repeatable=True, keyed=False, wait=wait)


def _batch(name: str, jobs: Sequence[models.Entry], poll: models.Poll | None) -> Request[models.JobResults]:
    return _jobs(name, models.JobResults, given(jobs=list(jobs), poll=poll))


def _one(id: str, name: str, token: str | None, **members: Any) -> Request[None]:
    body = msgspec.json.encode(given(**members))
    path = f"{API}/jobs/{segment(id)}/{name}"
    return Request("POST", path, type(None), body=body, repeatable=True, keyed=False, bearer=token)
