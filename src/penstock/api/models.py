"""The native door's words. Times are RFC 3339 texts, ids texts; requests refuse members they do not know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Name = Annotated[str, Meta(min_length=1, max_length=200)]
Key = Annotated[str, Meta(max_length=255)]
Number = Annotated[int, Meta(ge=0, le=2**53)]
"""Of a visit or scope in its process."""
Limit = Annotated[int, Meta(ge=1, le=200)]
Topics = Annotated[list[Name], Meta(min_length=1, max_length=100)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Lease = Annotated[float, Meta(ge=1, le=3600)]
Most = Annotated[int, Meta(ge=1, le=500)]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what is sent."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of what is answered."""


class Problem(Answer, frozen=True, kw_only=True):
    pointer: str
    message: str
    code: str
    warning: bool = False


class EntryError(Answer, frozen=True, kw_only=True):
    """A problem (RFC 9457) of one entry of a batch."""

    title: str
    status: int
    detail: str
    code: str
    problems: list[dict[str, str]] = []


class Paged(Request, frozen=True, kw_only=True):
    limit: Limit = 50
    cursor: str | None = None


# -- tokens ----------------------------------------------------------------------------------------------------------


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    grant_type: Literal["client_credentials", "password"]
    client_id: str | None = None
    client_secret: str | None = None
    username: str | None = None
    password: str | None = None
    scope: str | None = None


class Token(Answer, frozen=True, kw_only=True):
    access_token: str
    token_type: str
    expires_in: int


class TenantRef(Answer, frozen=True, kw_only=True):
    id: str
    code: str


class Me(Answer, frozen=True, kw_only=True):
    tenant: TenantRef
    principal: str
    kind: str
    groups: list[str]
    roles: list[str]


# -- definitions -----------------------------------------------------------------------------------------------------


class Deployed(Answer, frozen=True, kw_only=True):
    id: str
    code: str
    version: int
    version_id: str
    created_at: str
    warnings: list[Problem]
    unchanged: bool
    state: str


class Validated(Answer, frozen=True, kw_only=True):
    valid: bool
    problems: list[Problem]


class Definition(Answer, frozen=True, kw_only=True):
    id: str
    code: str
    name: Any
    latest: int
    active: int | None
    """The version that new processes start with."""
    created_at: str
    document: Any | UnsetType = UNSET


class Definitions(Answer, frozen=True, kw_only=True):
    items: list[Definition]
    next: str | None


class Version(Answer, frozen=True, kw_only=True):
    version: int
    version_id: str
    state: str
    created_at: str
    created_by: str
    document: Any | UnsetType = UNSET


class Versions(Answer, frozen=True, kw_only=True):
    items: list[Version]
    next: str | None


# -- processes -------------------------------------------------------------------------------------------------------


class Start(Request, frozen=True, kw_only=True):
    definition: Name
    version: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    id: str | None = None
    input: Any = None
    metadata: Any = None
    entity: Any = None


class StartMany(Request, frozen=True, kw_only=True):
    processes: Annotated[list[Start], Meta(min_length=1, max_length=500)]


class Parent(Answer, frozen=True, kw_only=True):
    id: str
    visit: int


class Process(Answer, frozen=True, kw_only=True):
    id: str
    definition: str
    version: int
    status: str
    created_at: str
    created_by: str
    modified_at: str
    ended_at: str | None
    incidents: int
    retries: int
    seq: int
    parent: Parent | None
    input: Any | UnsetType = UNSET
    metadata: Any | UnsetType = UNSET
    entity: Any | UnsetType = UNSET
    output: Any | UnsetType = UNSET


class Processes(Answer, frozen=True, kw_only=True):
    items: list[Process]
    next: str | None


class Started(Answer, frozen=True, kw_only=True):
    status: int
    process: Process | UnsetType = UNSET
    error: EntryError | UnsetType = UNSET


class StartedMany(Answer, frozen=True, kw_only=True):
    results: list[Started]


VersionNumber = Annotated[int, Meta(ge=1, le=2**63 - 1)]


class ProcessQuery(Request, frozen=True, kw_only=True):
    status: list[str] = []
    definition: str | None = None
    version: VersionNumber | None = None
    created_from: str | None = None
    created_to: str | None = None
    created_by: str | None = None
    ended_from: str | None = None
    ended_to: str | None = None
    parent: str | None = None
    incidents: bool | None = None
    input: dict[str, str] = {}
    metadata: dict[str, str] = {}
    entity: dict[str, str] = {}
    q: str | None = None
    sort: str = "created"
    order: Literal["newest", "oldest"] = "newest"
    limit: Limit = 50
    cursor: str | None = None


class VisitQuery(Paged, frozen=True, kw_only=True):
    state: list[str] = []
    node: list[str] = []
    kind: list[str] = []


class HistoryEntry(Answer, frozen=True, kw_only=True):
    seq: int
    feed: int | None
    at: str
    actor: str
    type: str
    scope: int | None
    visit: int | None
    data: Any


class History(Answer, frozen=True, kw_only=True):
    items: list[HistoryEntry]
    next: str | None


class Visit(Answer, frozen=True, kw_only=True):
    n: int
    scope: int
    node: str
    kind: str
    state: str
    attempt: int
    input: Any
    output: Any
    failure: Any
    started_at: str
    ended_at: str | None


class Visits(Answer, frozen=True, kw_only=True):
    items: list[Visit]
    next: str | None


class Complete(Request, frozen=True, kw_only=True):
    output: Any = None


class Reason(Request, frozen=True, kw_only=True):
    reason: Annotated[str, Meta(max_length=1000)] = ""


class Nothing(Request, frozen=True, kw_only=True):
    pass


class Debug(Request, frozen=True, kw_only=True):
    visit: Number | None = None
    node: str | None = None
    input: Any | UnsetType = UNSET
    output: Any | UnsetType = UNSET


class Skip(Request, frozen=True, kw_only=True):
    visit: Number | None = None
    node: str | None = None
    output: Any = None


class Restart(Request, frozen=True, kw_only=True):
    node: str
    scope: Number | None = None


class Migrate(Request, frozen=True, kw_only=True):
    version: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    mapping: dict[str, str] = {}
    dry_run: bool = False


class Move(Answer, frozen=True, kw_only=True):
    visit: int
    node: str
    to: str


class Migration(Answer, frozen=True, kw_only=True):
    process: Process
    moves: list[Move]
    problems: list[Problem]


class SignalOne(Request, frozen=True, kw_only=True):
    name: Name
    key: Key | None = None
    payload: Any = None


class Delivered(Answer, frozen=True, kw_only=True):
    delivered: int


# -- values ----------------------------------------------------------------------------------------------------------


class Value(Answer, frozen=True, kw_only=True):
    key: str
    value: Any


class Values(Answer, frozen=True, kw_only=True):
    items: list[Value]
    next: str | None


# -- items -----------------------------------------------------------------------------------------------------------


class ItemQuery(Request, frozen=True, kw_only=True):
    state: list[Literal["READY", "CLAIMED", "COMPLETED", "CANCELLED"]] = []
    kind: list[Literal["TASK", "MESSAGE", "THREAD"]] = []
    mine: bool = False
    owner: str | None = None
    group: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    process: str | None = None
    task: str | None = None
    definition: str | None = None
    overdue: bool = False
    due_before: str | None = None
    sort: Literal["created", "due", "priority"] | None = None
    order: Literal["asc", "desc"] | None = None
    limit: Limit = 50
    cursor: str | None = None


class Item(Answer, frozen=True, kw_only=True):
    id: str
    process: str
    definition: str
    visit: int
    node: str
    task: str
    name: Any
    description: Any
    kind: str
    state: str
    owner: str | None
    delegated_by: str | None
    candidates: list[str]
    data: Any
    output: Any
    priority: int
    due_at: str | None
    created_at: str
    ended_at: str | None
    ended_by: str | None
    posts: int
    schema: Any | UnsetType = UNSET
    ui: Any | UnsetType = UNSET


class Items(Answer, frozen=True, kw_only=True):
    items: list[Item]
    next: str | None


class ItemCounts(Answer, frozen=True, kw_only=True):
    mine: int
    groups: int
    overdue: int
    messages: int
    threads: int
    capped: bool


class CompleteItem(Request, frozen=True, kw_only=True):
    output: Any = None


class AssignItem(Request, frozen=True, kw_only=True):
    to: Name


class DelegateItem(Request, frozen=True, kw_only=True):
    to: Name
    note: Annotated[str, Meta(max_length=10_000)] = ""


class ChangeItem(Request, frozen=True, kw_only=True):
    """A member that is not there stays; `due_at` null is due at no time."""

    due_at: str | UnsetType | None = UNSET
    priority: Annotated[int, Meta(ge=-1_000, le=1_000)] | UnsetType = UNSET


class ItemCommand(Request, frozen=True, kw_only=True):
    id: str
    command: Literal["claim", "unclaim", "complete", "acknowledge"]
    output: Any = None


class ItemCommands(Request, frozen=True, kw_only=True):
    items: Annotated[list[ItemCommand], Meta(min_length=1, max_length=500)]


class ItemResult(Answer, frozen=True, kw_only=True):
    id: str
    status: int
    item: Item | UnsetType = UNSET
    error: EntryError | UnsetType = UNSET


class ItemResults(Answer, frozen=True, kw_only=True):
    results: list[ItemResult]


class Draft(Answer, frozen=True, kw_only=True):
    owner: str
    data: Any
    saved_at: str


class NewLine(Request, frozen=True, kw_only=True):
    message: Annotated[str, Meta(min_length=1, max_length=10_000)]
    level: Literal["debug", "info", "warning", "error"] = "info"


class ItemLine(Answer, frozen=True, kw_only=True):
    line: int
    at: str
    actor: str
    type: str
    data: Any


class ItemLog(Answer, frozen=True, kw_only=True):
    items: list[ItemLine]
    next: str | None


class NewThread(Request, frozen=True, kw_only=True):
    name: Name
    candidates: Annotated[list[Name], Meta(max_length=100)] = []
    text: Annotated[str, Meta(min_length=1, max_length=10_000)] | None = None


class NewPost(Request, frozen=True, kw_only=True):
    text: Annotated[str, Meta(min_length=1, max_length=10_000)]


class Post(Answer, frozen=True, kw_only=True):
    number: int
    author: str
    text: str | None
    at: str
    edited_at: str | None
    deleted_at: str | None


class Posts(Answer, frozen=True, kw_only=True):
    items: list[Post]
    next: str | None


# -- jobs ------------------------------------------------------------------------------------------------------------


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


class Jobs(Answer, frozen=True, kw_only=True):
    jobs: list[Job]


class Cause(Request, frozen=True, kw_only=True):
    type: Name
    message: Annotated[str, Meta(max_length=10_000)] = ""
    permanent: bool = False
    cause: Cause | None = None


class CompleteOne(Request, frozen=True, kw_only=True):
    lease: str | None = None
    output: Any = None
    values: Annotated[dict[str, Any], Meta(max_length=100)] = {}
    increments: Annotated[list[Key], Meta(max_length=100)] = []


class CompleteEntry(CompleteOne, frozen=True, kw_only=True):
    id: str


class FailOne(Request, frozen=True, kw_only=True):
    failure: Cause
    lease: str | None = None
    delay: Seconds | None = None


class FailEntry(FailOne, frozen=True, kw_only=True):
    id: str


class ThrowOne(Request, frozen=True, kw_only=True):
    code: Name
    lease: str | None = None
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
    jobs: list[Job] = []


# -- messages --------------------------------------------------------------------------------------------------------


class Message(Request, frozen=True, kw_only=True):
    name: Name
    key: Key = ""
    payload: Any = None
    id: Name | None = None
    ttl: Annotated[float, Meta(ge=1, le=31_536_000)] = 3600.0


class Sent(Answer, frozen=True, kw_only=True):
    id: str
    duplicate: bool


# -- documents -------------------------------------------------------------------------------------------------------


class UploadQuery(Request, frozen=True, kw_only=True):
    process: str | None = None
    item: str | None = None
    name: str | None = None


class DocumentQuery(Request, frozen=True, kw_only=True):
    item: str | None = None
    limit: Limit = 50
    cursor: str | None = None


class DocumentLink(Answer, frozen=True, kw_only=True):
    process: str
    item: str | None


class Document(Answer, frozen=True, kw_only=True):
    id: str
    uri: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_by: str
    created_at: str
    links: list[DocumentLink]


class Documents(Answer, frozen=True, kw_only=True):
    items: list[Document]
    next: str | None


class LinkDocument(Request, frozen=True, kw_only=True):
    item: str | None = None


# -- signals ---------------------------------------------------------------------------------------------------------


class Signal(Request, frozen=True, kw_only=True):
    name: Name
    payload: Any = None


# -- bulk operations -------------------------------------------------------------------------------------------------


class BulkFilter(Request, frozen=True, kw_only=True):
    """The filters of `GET /processes`; `search` has those of searchable values by name."""

    status: Annotated[list[str], Meta(max_length=20)] = []
    definition: Name | None = None
    version: VersionNumber | None = None
    created_from: str | None = None
    created_to: str | None = None
    created_by: str | None = None
    ended_from: str | None = None
    ended_to: str | None = None
    parent: str | None = None
    incidents: bool | None = None
    search: Annotated[dict[str, str], Meta(max_length=20)] = {}
    q: str | None = None


class NewBulk(Request, frozen=True, kw_only=True):
    """`filter` or `ids`; `arguments` are the members of the command's body for one process."""

    command: Literal["cancel", "terminate", "suspend", "resume", "retry", "skip", "signal", "migrate", "delete"]
    filter: BulkFilter | None = None
    ids: Annotated[list[str], Meta(min_length=1, max_length=10_000)] | None = None
    arguments: dict[str, Any] = {}
    dry_run: bool = False


class BulkSkip(Request, frozen=True, kw_only=True):
    node: Name
    output: Any = None


class BulkMigrate(Request, frozen=True, kw_only=True):
    version: VersionNumber
    mapping: dict[str, str] = {}


class Bulk(Answer, frozen=True, kw_only=True):
    id: str
    command: str
    state: str
    filter: dict[str, Any] | None
    arguments: dict[str, Any]
    dry_run: bool
    total: int | None
    done: int
    failed: int
    skipped: int
    message: str | None
    created_by: str
    created_at: str
    ended_at: str | None


class Bulks(Answer, frozen=True, kw_only=True):
    items: list[Bulk]
    next: str | None


class BulkResult(Answer, frozen=True, kw_only=True):
    process: str
    outcome: str
    at: str
    code: str | None
    detail: str | None
    problems: list[Problem]
    moves: list[Move]


class BulkResults(Answer, frozen=True, kw_only=True):
    items: list[BulkResult]
    next: str | None


class BulkResultQuery(Paged, frozen=True, kw_only=True):
    outcome: Literal["DONE", "FAILED", "SKIPPED"] | None = None
