"""Read the audit: its list, and the export that can be verified elsewhere."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from penstock.core.durations import format_time
from penstock.errors import Invalid, Problem
from penstock.identity.model import Actor
from penstock.identity.policy import Action, require
from penstock.operations.context import Context
from penstock.operations.events import event
from penstock.operations.views import Page
from penstock.store import Read, feed, seals, trail
from penstock.store.feed import Entry
from penstock.store.seals import Seal

FORMAT = 1
"""Of the export's lines."""
ROWS = 500
"""Rows of an export read, and sent, in one go."""
SEALS = 50


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of the list; times are milliseconds, `until` not included."""

    actor: str | None = None
    type: str | None = None
    process: str | None = None
    kind: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None


async def listed(ctx: Context, actor: Actor, wanted: Wanted, after: list[Any] | None, limit: int) -> Page:
    """Newest first. A page may hold few or none though there is a next: it looks at so many rows and no more.

    Raises: Forbidden, NotFound (the process), Invalid.
    """
    require(actor, Action.AUDIT_READ)
    tid = actor.tenant.tid
    if wanted.process is not None and (wanted.kind, wanted.subject) != (None, None):
        message = "process cannot be asked for together with kind or subject"
        raise Invalid(message, [Problem("process", message)])
    pid, process = None, None
    if wanted.process is not None:
        pid, process = await ctx.pid(tid, wanted.process), str(UUID(wanted.process))
    chosen = trail.Wanted(
        wanted.actor, wanted.type, pid, process, wanted.kind, wanted.subject, wanted.since, wanted.until
    )  # fmt: skip
    before = after[0] if after else None
    found, position = await ctx.store.async_read(lambda read: trail.page(read, tid, chosen, before, limit))
    return Page([event(entry) for entry in found], None if position is None else [position])


# -- export ----------------------------------------------------------------------------------------------------------


class _Begin(msgspec.Struct):
    audit: int
    tenant: dict[str, str]
    from_feed: int = msgspec.field(name="from")
    to_feed: int = msgspec.field(name="to")


class _Row(msgspec.Struct, omit_defaults=True):
    feed: int
    at: str
    actor: str
    type: str
    content: str
    """As it is stored, for its digest."""
    process: str | None = None
    definition: str | None = None
    seq: int | None = None
    scope: int | None = None
    visit: int | None = None
    journal: int | None = None
    kind: str | None = None
    subject: str | None = None


class _Sealed(msgspec.Struct, omit_defaults=True):
    seal: int
    from_feed: int = msgspec.field(name="from")
    to_feed: int = msgspec.field(name="to")
    count: int
    at: str
    previous: str
    leaves: str
    digest: str
    signature: str | None = None


class _Erased(msgspec.Struct):
    """What retention has removed, by a row of the journal above the exported part."""

    erased: str


class _End(msgspec.Struct):
    end: bool
    to: int


_line = msgspec.json.Encoder().encode


async def export(ctx: Context, actor: Actor, start: int, to: int | None) -> AsyncGenerator[bytes, None]:
    """Lines of JSON, some at a time: a beginning, rows in feed order, after its last row each seal, an end.

    `start` and `to` are feed numbers, both included; without `to` it goes to the newest. Raises: Forbidden, Invalid.
    """
    require(actor, Action.AUDIT_READ)
    tid = actor.tenant.tid
    head = await ctx.store.async_read(lambda read: feed.head(read, tid))
    if start > head + 1:
        message = f"the feed has only come to {head}"
        raise Invalid(f"from: {message}", [Problem("from", message, "out_of_range")])
    if to is not None and to < start - 1:  # one below it: a client whose connection broke wants the end alone
        raise Invalid("to: is below from", [Problem("to", "is below from", "out_of_range")])
    return _lines(ctx, actor, start, head if to is None else min(to, head))


async def _lines(ctx: Context, actor: Actor, start: int, end: int) -> AsyncGenerator[bytes, None]:
    tenant = actor.tenant
    yield _line(_Begin(FORMAT, {"id": tenant.id, "code": tenant.code}, start, end)) + b"\n"
    position = start - 1
    while position < end:
        text, position = await ctx.store.async_read(partial(_part, tid=tenant.tid, position=position, end=end))
        if text:
            yield text
    later = await ctx.store.async_read(lambda read: seals.erasures(read, tenant.tid, end))
    yield b"".join(_line(_Erased(feeds)) + b"\n" for feeds in later) + _line(_End(end=True, to=end)) + b"\n"


def _part(read: Read, tid: int, position: int, end: int) -> tuple[bytes, int]:
    """The next lines, and the number they go to."""
    rows = feed.after(read, tid, position, ROWS, end)
    upto = rows[-1].feed if len(rows) == ROWS else end
    sealed = seals.between(read, tid, position, upto, SEALS)
    if len(sealed) == SEALS:
        upto = sealed[-1].to_feed
    lines = [(row.feed, 0, _row(row)) for row in rows if row.feed <= upto]
    lines += [(seal.to_feed, 1, _seal(seal)) for seal in sealed]
    return b"".join(line for _, _, line in sorted(lines)), upto


def _row(row: Entry) -> bytes:
    line = _Row(
        row.feed, format_time(row.at), row.actor, row.type, row.data, row.process, row.definition, row.seq, row.scope,
        row.visit, row.jid, row.kind, row.subject,
    )  # fmt: skip
    return _line(line) + b"\n"


def _seal(seal: Seal) -> bytes:
    line = _Sealed(
        seal=seal.number, from_feed=seal.from_feed, to_feed=seal.to_feed, count=seal.rows, at=format_time(seal.at),
        previous=seal.previous, leaves=seal.leaves, digest=seal.digest, signature=seal.signature,
    )  # fmt: skip
    return _line(line) + b"\n"
