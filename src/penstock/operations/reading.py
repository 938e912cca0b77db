"""Read processes: one, lists, what happened in them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from penstock.core import codec
from penstock.core.requests import Condition, Filter, VisitFilter
from penstock.errors import Invalid, LimitExceeded, NotFound, Problem, Unavailable
from penstock.identity.model import Actor
from penstock.operations import sight, views
from penstock.operations.context import Context
from penstock.store import Read, listing, lookups, search
from penstock.store.lookups import ProcessRow

DATA = ("input", "metadata", "entity")

LIST_SECONDS = 5.0
"""How long a page of a list may take."""

MOST_WORDS = 5
"""Words in a free text."""

RECENT = 20
"""Versions of a definition whose `search:` a filter may name."""


async def get(ctx: Context, actor: Actor, id: str) -> views.Process:
    """Raises: NotFound."""
    tid = actor.tenant.tid
    pid = await ctx.pid(tid, id)
    found = await ctx.store.async_read(lambda reader: lookups.process(reader, tid, pid))
    if found is None:
        raise NotFound("process", id)
    row, data = found
    await sight.require_process(ctx, actor, id, pid)
    return row_view(row, data)


async def listed(ctx: Context, actor: Actor, wanted: Filter, after: list[Any] | None, limit: int) -> views.Page:
    """A page of a list of processes: of those that are wanted, what the caller may see.

    Raises: Invalid for a definition or a searched name that nobody knows, LimitExceeded when it takes too long.
    """
    tid = actor.tenant.tid
    wanted = wanted._replace(viewer=sight.viewer_of(actor))

    def read(reader: Read) -> tuple[list[listing.Found], list[ProcessRow]]:
        check_filter(reader, tid, wanted)
        found = listing.page(reader, tid, wanted, after, limit + 1)
        return found, lookups.processes(reader, [each.pid for each in found[:limit]])

    try:
        found, rows = await ctx.store.async_read(read, limit=LIST_SECONDS)
    except Unavailable as error:
        if error.details.get("late"):
            raise too_broad() from None
        raise
    more = list(found[limit - 1].position) if len(found) > limit else None
    return views.Page([row_view(row) for row in rows], more)


def too_broad() -> LimitExceeded:
    """What a list answers that reads too much. To ask again soon would cost the same."""
    return LimitExceeded(
        f"the list took longer than {LIST_SECONDS:g} s: add a filter that few processes pass (definition with status, "
        "created_by, a searchable value, a shorter time), or sort by created",
        retry_after=120,
    )


def check_filter(reader: Read, tid: int, wanted: Filter) -> None:
    """Raises: Invalid for what the tenant's definitions do not know."""
    if wanted.definition is not None and not listing.vids(reader, tid, wanted.definition, None):
        message = f"there is no definition {wanted.definition!r}"
        raise Invalid(f"definition: {message}", [Problem("definition", message, "not_found")])
    names = list(dict.fromkeys(each.name for each in wanted.search if each.name))
    if not names:
        return
    known = _searchable(reader, tid, wanted.definition)
    problems = [
        Problem(name, _unknown(name, known), "unknown")
        for name in names
        if name not in known and not (wanted.definition is None and listing.has_name(reader, tid, name))
    ]
    if problems:
        raise Invalid(f"{problems[0].pointer}: {problems[0].message}", problems)


def _unknown(name: str, known: list[str]) -> str:
    which = f"searchable are {', '.join(known)}" if known else "nothing is searchable here (`search:` of a definition)"
    return f"no definition lists {name!r} under `search`; {which}"


def _searchable(reader: Read, tid: int, definition: str | None) -> list[str]:
    """Names under `search:`: of the latest version of each definition, or of a definition's last versions."""
    if definition is None:
        rows = lookups.latest_versions(reader, tid, 0, 1_000)
    else:
        rows = lookups.versions(reader, tid, definition, 2**62, RECENT)
    return sorted({name for row in rows for name in row.compiled.search})


async def parent_of(ctx: Context, actor: Actor, id: str | None) -> int | None:
    """The process whose children are wanted. Raises: Invalid when the caller sees none of this id."""
    if id is None:
        return None
    try:
        return await _readable(ctx, actor, id)
    except NotFound:
        message = f"there is no process {id!r}"
        raise Invalid(f"parent: {message}", [Problem("parent", message, "not_found")]) from None


def words(text: str | None) -> tuple[Condition, ...]:
    """Free text as conditions: each word of a process must begin with one of these. Raises: Invalid."""
    if text is None:
        return ()
    found = list(dict.fromkeys(search.words_of(text)))
    if not found or len(found) > MOST_WORDS:
        message = f"must have 1 to {MOST_WORDS} words"
        raise Invalid(f"q: {message}", [Problem("q", message, "words")])
    return tuple(Condition("", word, "prefix") for word in found)


def row_view(row: ProcessRow, data: Mapping[str, Any] = MappingProxyType({})) -> views.Process:
    """A process as a reader found it; `data` where it was asked for."""
    parent = None
    if row.parent_id is not None and row.parent_visit is not None:
        parent = views.Parent(row.parent_id, row.parent_visit)
    return views.Process(
        id=row.id,
        definition=row.code,
        version=row.number,
        status=row.status,
        created_at=row.created_at,
        created_by=row.created_by,
        modified_at=row.at,
        ended_at=row.ended_at,
        incidents=row.incidents,
        retries=row.retries,
        seq=row.seq,
        parent=parent,
        **{name: data.get(name) for name in (*DATA, "output")},
    )


async def history(ctx: Context, actor: Actor, id: str, after: list[Any] | None, limit: int) -> views.Page:
    """What happened to a process, in order."""
    pid = await _readable(ctx, actor, id)
    start_at = after[0] if after else 0
    rows = await ctx.store.async_read(lambda reader: lookups.history(reader, pid, start_at, limit + 1))
    if not rows and after is None:
        raise _gone(ctx, actor, id)
    entries = [
        views.HistoryEntry(seq, feed, at, actor_, type_, scope, visit, codec.event_data(text))
        for seq, feed, at, actor_, type_, scope, visit, text in rows[:limit]
    ]
    return views.Page(entries, [entries[-1].seq] if len(rows) > limit else None)


async def visits(
    ctx: Context, actor: Actor, id: str, wanted: VisitFilter, after: list[Any] | None, limit: int
) -> views.Page:
    """Activations of nodes, in the order they began."""
    pid = await _readable(ctx, actor, id)
    start_at = after[0] if after else 0
    rows = await ctx.store.async_read(lambda reader: lookups.visits(reader, pid, start_at, limit + 1, wanted))
    if not rows and not await ctx.store.async_read(lambda reader: lookups.process(reader, actor.tenant.tid, pid)):
        raise _gone(ctx, actor, id)
    found = [
        views.Visit(*row[1:7], *(None if text is None else codec.decode_json(text) for text in row[7:10]), *row[10:])
        for row in rows[:limit]
    ]
    return views.Page(found, [found[-1].n] if len(rows) > limit else None)


def _gone(ctx: Context, actor: Actor, id: str) -> NotFound:
    """A process whose number was remembered and that is there no more: retention has removed it."""
    ctx.forget(actor.tenant.tid, id)
    return NotFound("process", id)


async def readable(ctx: Context, actor: Actor, id: str) -> tuple[int, str]:
    """The number and the canonical id of a process that the caller may see. Raises: NotFound."""
    pid = await _readable(ctx, actor, id)
    return pid, str(UUID(id))


async def _readable(ctx: Context, actor: Actor, id: str) -> int:
    pid = await ctx.pid(actor.tenant.tid, id)
    await sight.require_process(ctx, actor, id, pid)
    return pid
