"""What the native door says of jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.api.models import Answer, EntryError, Key, Lease, Most, Name, Request, Seconds, Topics

Opened = Annotated[str, Meta(description="W3C Trace Context: the step that opened the job, where the server traces.")]
Told = Annotated[
    str,
    Meta(
        description="W3C Trace Context: the span in which the job was done. One that is malformed is as if it were not there."
    ),
]


class Poll(Request, frozen=True, kw_only=True):
    topics: Topics
    max: Most = 1
    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0
    lease: Lease = 60.0
    worker: Annotated[str, Meta(max_length=200)] = ""


class Then(Request, frozen=True, kw_only=True):
    """The next jobs, in the answer to this call."""

    topics: Topics
    max: Most = 1
    lease: Lease = 60.0
    worker: Annotated[str, Meta(max_length=200)] = ""


class Job(Answer, frozen=True, kw_only=True):
    id: str
    process: str
    definition: str
    version: int
    node: str
    visit: int
    topic: str
    attempt: int
    execution_id: int
    token: str
    lease: str
    leased_until: str
    input: Any
    timeout_at: str | None
    created_at: str
    traceparent: Opened | UnsetType = UNSET


class Jobs(Answer, frozen=True, kw_only=True):
    jobs: list[Job]


class Cause(Request, frozen=True, kw_only=True):
    type: Name
    message: Annotated[str, Meta(max_length=10_000)] = ""
    permanent: bool = False
    cause: Cause | None = None


class CompleteOne(Request, frozen=True, kw_only=True):
    lease: str | None = None
    traceparent: Told | None = None
    output: Any = None
    values: Annotated[dict[str, Any], Meta(max_length=100)] = msgspec.field(default_factory=dict)
    increments: Annotated[list[Key], Meta(max_length=100)] = msgspec.field(default_factory=list)


class CompleteEntry(CompleteOne, frozen=True, kw_only=True):
    id: str


class FailOne(Request, frozen=True, kw_only=True):
    failure: Cause
    lease: str | None = None
    traceparent: Told | None = None
    delay: Seconds | None = None


class FailEntry(FailOne, frozen=True, kw_only=True):
    id: str


class ThrowOne(Request, frozen=True, kw_only=True):
    code: Name
    lease: str | None = None
    traceparent: Told | None = None
    message: Annotated[str, Meta(max_length=10_000)] = ""
    data: Any = None


class ThrowEntry(ThrowOne, frozen=True, kw_only=True):
    id: str


class CompleteMany(Request, frozen=True, kw_only=True):
    jobs: Annotated[list[CompleteEntry], Meta(max_length=500)]
    poll: Then | None = None


class FailMany(Request, frozen=True, kw_only=True):
    jobs: Annotated[list[FailEntry], Meta(max_length=500)]
    poll: Then | None = None


class ThrowMany(Request, frozen=True, kw_only=True):
    jobs: Annotated[list[ThrowEntry], Meta(max_length=500)]
    poll: Then | None = None


class ExtendEntry(Request, frozen=True, kw_only=True):
    id: str
    lease: str
    seconds: Lease = 60.0


class ExtendMany(Request, frozen=True, kw_only=True):
    jobs: Annotated[list[ExtendEntry], Meta(min_length=1, max_length=500)]


class LogEntry(Request, frozen=True, kw_only=True):
    id: str
    lease: str
    message: Annotated[str, Meta(max_length=10_000)]
    level: Literal["debug", "info", "warning", "error"] = "info"


class LogMany(Request, frozen=True, kw_only=True):
    jobs: Annotated[list[LogEntry], Meta(min_length=1, max_length=500)]


class Result(Answer, frozen=True, kw_only=True):
    id: str
    status: str
    error: EntryError | UnsetType = UNSET
    leased_until: str | UnsetType = UNSET
    cancel: bool | UnsetType = UNSET


class Results(Answer, frozen=True, kw_only=True):
    results: list[Result]
    jobs: list[Job] = msgspec.field(default_factory=list)
