"""What operations answer: plain values in the platform's words. Times are milliseconds since 1970 UTC; doors render them."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.errors import PenstockError, Problem


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


class Definition(msgspec.Struct, frozen=True):
    id: str
    code: str
    name: Any
    latest: int
    created_at: int
    document: Any = None


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
    state: str
    owner: str | None
    candidates: list[str]
    data: Any
    output: Any
    priority: int
    due_at: int | None
    created_at: int
    ended_at: int | None
    ended_by: str | None
    schema: Any = None
    ui: Any = None


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
