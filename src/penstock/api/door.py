"""What the native door's handlers share: the context they are built with, pages, entries of batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from penstock.api import models
from penstock.errors import PenstockError
from penstock.identity.model import Actor
from penstock.operations.context import Context
from penstock.operations.documents import Documents
from penstock.operations.people import Credentials
from penstock.operations.sessions import Sessions
from penstock.operations.single_sign_on import SingleSignOn
from penstock.operations.views import Page
from penstock.web.cookies import Cookies
from penstock.web.errors import problem_of
from penstock.web.paging import decode_cursor, encode_cursor
from penstock.web.routing import Call


@dataclass(frozen=True, slots=True)
class Native:
    """What the door was built with."""

    operations: Context
    credentials: Credentials
    cursor_key: bytes
    documents: Documents
    patience: float
    """Seconds an upload, or the reader of a download, may stand still."""
    sessions: Sessions
    single_sign_on: SingleSignOn
    cookies: Cookies


ApiCall = Call[Native]
L = TypeVar("L")


def position(call: ApiCall, actor: Actor) -> list[Any] | None:
    """Where the wanted page begins. Raises: Invalid for a cursor of another list, filter or tenant."""
    if call.query.cursor is None:
        return None
    return decode_cursor(call.door.cursor_key, _list_name(call, actor), call.query.cursor, list[Any])


def page(call: ApiCall, actor: Actor, found: Page, render: Callable[[Any], Any], kind: Callable[..., L]) -> L:
    """The answer of a list; `kind` is made of `items` and `next`."""
    after = None
    if found.next is not None:
        after = encode_cursor(call.door.cursor_key, _list_name(call, actor), found.next)
    return kind(items=[render(item) for item in found.items], next=after)


def _list_name(call: ApiCall, actor: Actor) -> str:
    """A cursor is good for one list, with its filters, of one tenant."""
    query = msgspec.structs.replace(call.query, cursor=None, limit=1)
    return f"{actor.tenant.tid} {call.scope['path']} {msgspec.json.encode(query).decode()}"


def entry_error(error: PenstockError) -> models.EntryError:
    """The problem of one entry of a batch."""
    problem = problem_of(error)
    return models.EntryError(
        title=problem.title,
        status=problem.status,
        detail=problem.detail,
        code=problem.code,
        problems=[msgspec.to_builtins(item) for item in problem.problems],
    )
