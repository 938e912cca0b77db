"""What the native door says of items, messages and threads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.api.models import Answer, EntryError, Limit, Name, Request


class ItemQuery(Request, frozen=True, kw_only=True):
    state: list[Literal["READY", "CLAIMED", "COMPLETED", "CANCELLED"]] = msgspec.field(default_factory=list)
    kind: list[Literal["TASK", "MESSAGE", "THREAD"]] = msgspec.field(default_factory=list)
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
    candidates: Annotated[list[Name], Meta(max_length=100)] = msgspec.field(default_factory=list)
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
