"""What operations answer: plain values in the platform's words. Times are milliseconds since 1970 UTC; doors render them."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.errors import PenstockError, Problem
from penstock.identity.model import Quotas


class Page(msgspec.Struct, frozen=True):
    """A part of a list. `next` is the position to go on from, None at the end."""

    items: list[Any]
    next: list[Any] | None = None


class Deployed(msgspec.Struct, frozen=True):
    id: str
    code: str
    version: int
    version_id: str
    created_at: int
    warnings: list[Problem]
    unchanged: bool
    state: str = ""


class Definition(msgspec.Struct, frozen=True):
    id: str
    code: str
    name: Any
    latest: int
    active: int | None
    created_at: int
    document: Any = None


class Decided(msgspec.Struct, frozen=True):
    """What was decided about a version; `state` is its state after it."""

    n: int
    at: int
    actor: str
    action: str
    state: str
    comment: str


class Permissions(msgspec.Struct, frozen=True):
    permissions: dict[str, list[str]]
    revision: int


class Tenant(msgspec.Struct, frozen=True):
    id: str
    code: str
    name: str
    approval: str
    four_eyes: bool
    created_at: int
    revision: int


class Installed(msgspec.Struct, frozen=True):
    """A tenant as operators see it."""

    id: str
    code: str
    name: str
    disabled: bool
    quotas: Quotas
    created_at: int
    revision: int


class Account(msgspec.Struct, frozen=True):
    """What administrators see of a user, and the user; `password`: there is one."""

    roles: list[str]
    disabled: bool
    password: bool
    created_at: int


class User(msgspec.Struct, frozen=True):
    """`account` None: as everybody of the tenant may see them."""

    id: str
    email: str
    name: str
    groups: list[str]
    revision: int
    account: Account | None = None


class Group(msgspec.Struct, frozen=True):
    code: str
    name: str
    created_at: int
    revision: int


class Application(msgspec.Struct, frozen=True):
    """`old_secret_until`: ms, while the secret before is good, too."""

    id: str
    name: str
    roles: list[str]
    disabled: bool
    created_at: int
    old_secret_until: int | None
    revision: int


class Version(msgspec.Struct, frozen=True):
    version: int
    version_id: str
    state: str
    created_at: int
    created_by: str
    document: Any = None


class Parent(msgspec.Struct, frozen=True):
    id: str
    visit: int


class Process(msgspec.Struct, frozen=True):
    """A process; lists leave out input, metadata, entity and output."""

    id: str
    definition: str
    version: int
    status: str
    created_at: int
    created_by: str
    modified_at: int
    ended_at: int | None
    incidents: int
    retries: int
    seq: int
    parent: Parent | None = None
    input: Any = None
    metadata: Any = None
    entity: Any = None
    output: Any = None


class HistoryEntry(msgspec.Struct, frozen=True):
    seq: int
    feed: int | None
    at: int
    actor: str
    type: str
    scope: int | None
    visit: int | None
    data: dict[str, Any]


class Visit(msgspec.Struct, frozen=True):
    n: int
    scope: int
    node: str
    kind: str
    state: str
    attempt: int
    input: Any
    output: Any
    failure: Any
    started_at: int
    ended_at: int | None


class Move(msgspec.Struct, frozen=True):
    visit: int
    node: str
    to: str


class Migration(msgspec.Struct, frozen=True):
    process: Process
    moves: list[Move]
    problems: list[Problem]


class Value(msgspec.Struct, frozen=True):
    key: str
    value: Any


class Item(msgspec.Struct, frozen=True):
    """An item; lists leave out schema and ui."""

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
    delegator: str | None
    candidates: list[str]
    data: Any
    output: Any
    priority: int
    due_at: int | None
    created_at: int
    ended_at: int | None
    ended_by: str | None
    posts: int
    rev: int
    schema: Any = None
    ui: Any = None


class DocumentLink(msgspec.Struct, frozen=True):
    """`item` None: of the process itself."""

    process: str
    item: str | None


class Document(msgspec.Struct, frozen=True):
    """A stored file; `links` are those the caller may see."""

    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_by: str
    created_at: int
    links: list[DocumentLink]


class Draft(msgspec.Struct, frozen=True):
    """What an item's owner has saved of unfinished data."""

    owner: str
    data: Any
    rev: int
    saved_at: int


class ItemLine(msgspec.Struct, frozen=True):
    """A line of an item's log; `type` "log" has a level and a message, the others tell what was done."""

    line: int
    at: int
    actor: str
    type: str
    data: dict[str, Any]


class Post(msgspec.Struct, frozen=True):
    """`text` is None once it is deleted."""

    number: int
    author: str
    text: str | None
    at: int
    edited_at: int | None
    deleted_at: int | None


class Inbox(msgspec.Struct, frozen=True):
    """How many open items wait for somebody."""

    mine: int
    groups: int
    overdue: int
    messages: int
    threads: int
    capped: bool


class Result(msgspec.Struct, frozen=True):
    """The outcome for one entry of a batch: `error` None is success."""

    id: str
    value: Any = None
    error: PenstockError | None = None


class Extended(msgspec.Struct, frozen=True):
    leased_until: int
    cancel: bool


class Sent(msgspec.Struct, frozen=True):
    id: str
    duplicate: bool


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A row of history or of the journal. Of history are `process`, `definition`, `seq`, `scope`, `visit`; of the journal `kind`
    and `subject`.
    """

    feed: int
    at: int
    actor: str
    type: str
    process: str | None = None
    definition: str | None = None
    seq: int | None = None
    scope: int | None = None
    visit: int | None = None
    kind: str | None = None
    subject: str | None = None
    data: Any = None


class Bulk(msgspec.Struct, frozen=True):
    """A bulk operation; `filter` None: its processes were named."""

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
    created_at: int
    ended_at: int | None


class BulkResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one process; `code` and `detail` of what was not done."""

    process: str
    outcome: str
    at: int
    code: str | None = None
    detail: str | None = None
    problems: list[dict[str, Any]] = []
    moves: list[Any] = []
