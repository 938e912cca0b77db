"""What the native door says of bulk operations."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from penstock.api.models import Answer, Move, Name, Paged, Problem, Request, VersionNumber


class BulkFilter(Request, frozen=True, kw_only=True):
    """The filters of `GET /processes`; `search` has those of searchable values by name."""

    status: Annotated[list[str], Meta(max_length=20)] = msgspec.field(default_factory=list)
    definition: Name | None = None
    version: VersionNumber | None = None
    created_from: str | None = None
    created_to: str | None = None
    created_by: str | None = None
    ended_from: str | None = None
    ended_to: str | None = None
    parent: str | None = None
    incidents: bool | None = None
    search: Annotated[dict[str, str], Meta(max_length=20)] = msgspec.field(default_factory=dict)
    q: str | None = None


class NewBulk(Request, frozen=True, kw_only=True):
    """`filter` or `ids`; `arguments` are the members of the command's body for one process."""

    command: Literal["cancel", "terminate", "suspend", "resume", "retry", "skip", "signal", "migrate", "delete"]
    filter: BulkFilter | None = None
    ids: Annotated[list[str], Meta(min_length=1, max_length=10_000)] | None = None
    arguments: dict[str, Any] = msgspec.field(default_factory=dict)
    dry_run: bool = False


class BulkSkip(Request, frozen=True, kw_only=True):
    node: Name
    output: Any = None


class BulkMigrate(Request, frozen=True, kw_only=True):
    version: VersionNumber
    mapping: dict[str, str] = msgspec.field(default_factory=dict)


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
