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


# -- signals ---------------------------------------------------------------------------------------------------------


class Signal(Request, frozen=True, kw_only=True):
    name: Name
    payload: Any = None
