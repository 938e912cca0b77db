"""What the calls answer, and what batches send. Unknown members are ignored, so that a newer server stays readable.

States and kinds are plain strings for the same reason: a new one must not break an old client.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from penstock.client.errors import Problem, ProblemDetails

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of everything a server sends."""


class Page(Answer, Generic[T], frozen=True):
    """One page of a list; `next` is the cursor of the following one."""

    items: list[T]
    next: str | None = None


class Token(Answer, frozen=True):
    access_token: str
    token_type: str = ""
    expires_in: float | None = None


class TenantRef(Answer, frozen=True):
    id: str
    code: str = ""


class Me(Answer, frozen=True):
    tenant: TenantRef
    principal: str
    kind: str = ""
    groups: list[str] = []
    roles: list[str] = []


class User(Answer, frozen=True):
    """What stands after `groups` is told to administrators and the user alone; None to others."""

    id: str
    email: str
    name: str = ""
    groups: list[str] = []
    roles: list[str] | None = None
    disabled: bool | None = None
    password: bool | None = None
    """Whether there is one."""
    created_at: datetime | None = None


class Group(Answer, frozen=True):
    code: str
    name: str = ""
    created_at: datetime | None = None


class Application(Answer, frozen=True):
    id: str
    name: str = ""
    roles: list[str] = []
    disabled: bool = False
    created_at: datetime | None = None
    old_secret_until: datetime | None = None
    secret: str | None = None
    """Only in the answer that made it."""


class HeldToken(Answer, frozen=True):
    """A token somebody holds. `kind`: `access`, `session` or `named`."""

    id: str
    name: str | None = None
    kind: str = ""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    token: str | None = None
    """Only in the answer that made it."""


class AccessKey(Answer, frozen=True):
    """For signed requests of an application."""

    ak: str
    name: str = ""
    disabled: bool = False
    created_at: datetime | None = None
    created_by: str = ""
    sk: str | None = None
    """Only in the answer that made it."""


class Revoked(Answer, frozen=True):
    revoked: int


class Tenant(Answer, frozen=True):
    id: str
    code: str
    name: str = ""
    approval: str = ""
    four_eyes: bool = False
    created_at: datetime | None = None


class Permissions(Answer, frozen=True):
    permissions: dict[str, list[str]]
    revision: int | None = None
    """From the answer's `ETag`: give it with the change that is made for these."""


class Decided(Answer, frozen=True):
    """What was decided about a version; `state` is its state after it."""

    n: int
    actor: str
    action: str
    state: str
    at: datetime | None = None
    comment: str = ""


class Deployed(Answer, frozen=True):
    id: str
    code: str
    version: int
    version_id: str
    created_at: datetime
    warnings: list[Problem] = []
    unchanged: bool = False
    state: str = ""


class Validation(Answer, frozen=True):
    valid: bool
    problems: list[Problem] = []


class Definition(Answer, frozen=True):
    id: str
    code: str
    name: Any = ""
    """A text, or a map of texts by language."""
    latest: int | None = None
    active: int | None = None
    """The version that new processes start with."""
    created_at: datetime | None = None
    document: dict[str, Any] | None = None


class Version(Answer, frozen=True):
    version: int
    version_id: str
    state: str = ""
    created_at: datetime | None = None
    created_by: str = ""
    document: dict[str, Any] | None = None


class DocumentLink(Answer, frozen=True):
    process: str
    item: str | None = None


class Document(Answer, frozen=True):
    """A stored file. `uri` is how a value refers to it."""

    id: str
    uri: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_at: datetime
    created_by: str = ""
    links: list[DocumentLink] = []


class ParentRef(Answer, frozen=True):
    id: str
    visit: int


class Process(Answer, frozen=True):
    """Lists leave out input, metadata, entity and output."""

    id: str
    definition: str
    version: int
    status: str
    created_at: datetime
    input: Any = None
    metadata: Any = None
    entity: Any = None
    output: Any = None
    created_by: str = ""
    modified_at: datetime | None = None
    ended_at: datetime | None = None
    incidents: int = 0
    retries: int = 0
    seq: int = 0
    parent: ParentRef | None = None


class NewProcess(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a batch of starts."""

    definition: str
    version: int | None = None
    id: str | None = None
    input: Any = None
    metadata: Any = None
    entity: Any = None


class Started(Answer, frozen=True):
    """One entry of a batch's answer: the process, or why not."""

    status: int
    process: Process | None = None
    error: ProblemDetails | None = None


class StartResults(Answer, frozen=True):
    results: list[Started]


class HistoryEntry(Answer, frozen=True):
    seq: int
    at: datetime
    type: str
    actor: str = ""
    feed: int | None = None
    scope: int | None = None
    visit: int | None = None
    data: Any = None


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure of a user's work, as data."""

    type: str
    message: str
    permanent: bool = False
    cause: Failure | None = None


class Event(msgspec.Struct, frozen=True):
    """What happened, in feed order: to a process, or (`kind`, `subject`) to anything else."""

    feed: int
    at: datetime
    actor: str
    type: str
    data: Any = None
    process: str | None = None
    definition: str | None = None
    seq: int | None = None
    scope: int | None = None
    visit: int | None = None
    kind: str | None = None
    subject: str | None = None


class Visit(Answer, frozen=True):
    n: int
    node: str
    state: str
    scope: int = 0
    kind: str = ""
    attempt: int = 0
    input: Any = None
    output: Any = None
    failure: Failure | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class Move(Answer, frozen=True):
    visit: int
    node: str
    to: str | None = None


class Migration(Answer, frozen=True):
    process: Process | None = None
    moves: list[Move] = []
    problems: list[Problem] = []


class Bulk(Answer, frozen=True):
    """A bulk operation. `total` is what it will deal with, where that is known."""

    id: str
    command: str = ""
    state: str = ""
    filter: dict[str, Any] | None = None
    arguments: dict[str, Any] = {}
    dry_run: bool = False
    total: int | None = None
    done: int = 0
    failed: int = 0
    skipped: int = 0
    message: str | None = None
    created_by: str = ""
    created_at: datetime | None = None
    ended_at: datetime | None = None


class BulkResult(Answer, frozen=True):
    process: str
    outcome: str = ""
    at: datetime | None = None
    code: str | None = None
    detail: str | None = None
    problems: list[Problem] = []
    moves: list[Move] = []


class Delivery(Answer, frozen=True):
    delivered: int


class Value(Answer, frozen=True):
    key: str
    value: Any = None


class Item(Answer, frozen=True):
    """Lists leave out schema and ui."""

    id: str
    state: str
    process: str = ""
    definition: str = ""
    visit: int | None = None
    node: str = ""
    task: str = ""
    name: Any = ""
    description: Any = ""
    kind: str = "TASK"
    owner: str | None = None
    delegated_by: str | None = None
    candidates: list[str] = []
    data: Any = None
    output: Any = None
    schema: Any = None
    ui: Any = None
    priority: int | None = None
    due_at: datetime | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    ended_by: str | None = None
    posts: int = 0


class ItemCounts(Answer, frozen=True):
    """Open items of the caller's: owned, to be claimed, overdue of both, to be read; threads it is in."""

    mine: int
    groups: int
    overdue: int
    messages: int = 0
    threads: int = 0
    capped: bool = False


class ItemCommand(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a batch: `claim`, `unclaim`, `complete` or `acknowledge`."""

    id: str
    command: str
    output: Any = None


class ItemResult(Answer, frozen=True):
    """One entry of a batch's answer: the item, or why not."""

    id: str
    status: int
    item: Item | None = None
    error: ProblemDetails | None = None


class ItemResults(Answer, frozen=True):
    results: list[ItemResult]


class Draft(Answer, frozen=True):
    owner: str
    data: Any = None
    saved_at: datetime | None = None


class ItemLine(Answer, frozen=True):
    line: int
    at: datetime
    actor: str
    type: str
    data: dict[str, Any] = {}


class Post(Answer, frozen=True):
    """`text` is None once it is deleted."""

    number: int
    author: str
    at: datetime
    text: str | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None


class Job(Answer, frozen=True):
    id: str
    topic: str
    lease: str | int
    """Fences the answer; not to be read."""
    process: str = ""
    definition: str = ""
    version: int = 0
    node: str = ""
    visit: int = 0
    attempt: int = 1
    execution_id: int | str | None = None
    token: str = ""
    leased_until: datetime | None = None
    input: Any = None
    timeout_at: datetime | None = None
    created_at: datetime | None = None
    traceparent: str | None = None
    """W3C: the step that opened it, where the server traces."""


class Jobs(Answer, frozen=True):
    jobs: list[Job] = []


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of one job's part of a batch that is sent."""

    id: str
    lease: str | int


class AnswerEntry(Entry, frozen=True, kw_only=True):
    traceparent: str | None = None
    """The worker's span."""


class CompleteEntry(AnswerEntry, frozen=True):
    output: Any = None
    values: dict[str, Any] = {}
    increments: list[str] = []


class FailEntry(AnswerEntry, frozen=True):
    failure: Failure
    delay: float | None = None


class ThrowEntry(AnswerEntry, frozen=True):
    code: str
    message: str | None = None
    data: Any = None


class ExtendEntry(Entry, frozen=True):
    seconds: float | None = None


class LogEntry(Entry, frozen=True):
    message: str
    level: str | None = None


class Poll(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to poll for: a call of its own, or part of an answer that is sent."""

    topics: list[str]
    max: int | None = None
    lease: float | None = None
    worker: str | None = None
    wait: float | None = None


class JobResult(Answer, frozen=True):
    id: str
    status: str
    error: ProblemDetails | None = None
    leased_until: datetime | None = None
    cancel: bool = False

    @property
    def ok(self) -> bool:
        return self.error is None and self.status == "ok"


class JobResults(Answer, frozen=True):
    results: list[JobResult] = []
    jobs: list[Job] = []


class Accepted(Answer, frozen=True):
    """A message was taken; `duplicate` when its id was known."""

    id: str
    duplicate: bool = False
