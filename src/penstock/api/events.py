"""Routes of `/audit` and `/events`: what happened, as a list, as an export, and live."""

from __future__ import annotations

import difflib
import time
from collections.abc import AsyncGenerator
from typing import Annotated, Any, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.api import mapping, models
from penstock.api.door import ApiCall, Native, page, position
from penstock.core.durations import format_time
from penstock.core.events import AnyEvent
from penstock.errors import Forbidden, Invalid, LimitExceeded, NotFound, Problem, Unauthenticated, Unavailable
from penstock.operations import audit, reading
from penstock.operations.channels import Streams
from penstock.operations.events import Mark, Stream, Told, Wanted
from penstock.operations.views import Event as View
from penstock.web.routing import Route
from penstock.web.streaming import Streamed

EVENT_STREAM = "text/event-stream"
LINES = "application/x-ndjson"
RETRY = b"retry: 2000\n\n"
"""Milliseconds until a client that was cut off comes back."""
ASKED_AGAIN = 60.0
"""Seconds after which an open stream's credential is looked at again."""
_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}
LAST_EVENT_ID = "Last-Event-ID"
HISTORY_TYPES = frozenset(kind.__name__ for kind in get_args(AnyEvent))

# -- words -----------------------------------------------------------------------------------------------------------

Feed = Annotated[int, Meta(ge=0, le=2**53)]
Type = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^([A-Z][A-Za-z0-9]*|[a-z_]+\.[a-z_]+)$")]
Word = Annotated[str, Meta(min_length=1, max_length=300)]


class Event(models.Answer, frozen=True, kw_only=True):
    """Of a process are `process`, `definition`, `seq`, `scope`, `visit`; of the journal `kind` and `subject`."""

    feed: int
    at: str
    actor: str
    type: str
    process: str | UnsetType = UNSET
    definition: str | UnsetType = UNSET
    seq: int | UnsetType = UNSET
    scope: int | UnsetType | None = UNSET
    visit: int | UnsetType | None = UNSET
    kind: str | UnsetType = UNSET
    subject: str | UnsetType = UNSET
    data: Any


class Events(models.Answer, frozen=True, kw_only=True):
    items: list[Event]
    next: str | None


class AuditQuery(models.Request, frozen=True, kw_only=True):
    actor: Word | None = None
    type: Type | None = None
    process: str | None = None
    kind: Word | None = None
    subject: Word | None = None
    since: str | None = None
    until: str | None = None
    limit: models.Limit = 50
    cursor: str | None = None


class ExportQuery(models.Request, frozen=True, kw_only=True):
    from_feed: Annotated[int, Meta(ge=1, le=2**53)] = msgspec.field(default=1, name="from")
    to_feed: Annotated[int, Meta(ge=1, le=2**53)] | None = msgspec.field(default=None, name="to")


class ProcessEventQuery(models.Request, frozen=True, kw_only=True):
    type: list[Type] = msgspec.field(default_factory=list)
    after: Feed | None = None


class EventQuery(models.Request, frozen=True, kw_only=True):
    process: str | None = None
    definition: models.Name | None = None
    type: list[Type] = msgspec.field(default_factory=list)
    mine: bool = False
    after: Feed | None = None


def render_event(view: View) -> Event:
    of_journal = view.kind is not None
    return Event(
        feed=view.feed,
        at=format_time(view.at),
        actor=view.actor,
        type=view.type,
        process=UNSET if of_journal else view.process or "",
        definition=UNSET if of_journal else view.definition or "",
        seq=UNSET if view.seq is None else view.seq,
        scope=UNSET if of_journal else view.scope,
        visit=UNSET if of_journal else view.visit,
        kind=UNSET if view.kind is None else view.kind,
        subject=UNSET if view.subject is None else view.subject,
        data=view.data,
    )


# -- the list and the export -----------------------------------------------------------------------------------------


async def listed(call: ApiCall) -> Events:
    query: AuditQuery = call.query
    wanted = audit.Wanted(
        actor=query.actor,
        type=query.type,
        process=query.process,
        kind=query.kind,
        subject=query.subject,
        since=mapping.parse_moment(query.since, "since"),
        until=mapping.parse_moment(query.until, "until"),
    )
    found = await audit.listed(call.door.operations, call.actor, wanted, position(call, call.actor), query.limit)
    return page(call, call.actor, found, render_event, Events)


async def export(call: ApiCall) -> Streamed:
    lines = await audit.export(call.door.operations, call.actor, call.query.from_feed, call.query.to_feed)
    return Streamed(lines, LINES, headers=_HEADERS)


# -- streams ---------------------------------------------------------------------------------------------------------


async def events(call: ApiCall) -> Streamed:
    query: EventQuery = call.query
    return await _stream(call, query.process, query.definition, query.type, mine=query.mine)


async def process_events(call: ApiCall) -> Streamed:
    return await _stream(call, call.path["id"], None, call.query.type, mine=False)


def _known(types: list[str]) -> frozenset[str]:
    """Types of events of processes are a closed set: a slip would make a stream that is silent for ever. Raises: Invalid."""
    for at, name in enumerate(types):
        if name[0].isupper() and name not in HISTORY_TYPES:
            near = difflib.get_close_matches(name, HISTORY_TYPES, 1)
            message = f"there is no event {name!r}" + (
                f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(HISTORY_TYPES))}"
            )
            raise Invalid(
                f"type: {message}", [Problem("type" if len(types) == 1 else f"type/{at}", message, "unknown")]
            )
    return frozenset(types)


async def _stream(
    call: ApiCall, process: str | None, definition: str | None, types: list[str], *, mine: bool
) -> Streamed:
    after, name = _after(call)
    ctx, actor = call.door.operations, call.actor
    pid, id = (None, None) if process is None else await reading.readable(ctx, actor, process)
    wanted = Wanted(process=id, pid=pid, definition=definition, types=_known(types), mine=mine)
    streams: Streams = ctx.streams
    stream = await streams.open(actor, wanted, after, name)
    return Streamed(_frames(call, stream), EVENT_STREAM, stream.leave, stream.breaks_by, _HEADERS)


def _after(call: ApiCall) -> tuple[int | None, str]:
    """From where: what a client that comes back has seen last goes before what its address says. Raises: Invalid."""
    text = call.headers.get("last-event-id")
    if not text:
        return call.query.after, "after"
    if not (text.isascii() and text.isdigit() and len(text) < 17):
        message = "must be the number of an event"
        raise Invalid(f"{LAST_EVENT_ID}: {message}", [Problem(LAST_EVENT_ID, message)])
    return int(text), LAST_EVENT_ID


async def _frames(call: ApiCall, stream: Stream) -> AsyncGenerator[bytes, None]:
    """The stream as text, until it ends or its credential does."""
    yield RETRY
    asked_at = time.monotonic()
    async for batch in stream.batches():
        yield b"".join([_frame(each) for each in batch])
        if time.monotonic() - asked_at > ASKED_AGAIN:
            asked_at = time.monotonic()
            try:
                stream.goes_on_as(await call.reauthenticate())
            except Unauthenticated:
                return
            except Unavailable:
                continue


_encode = msgspec.json.Encoder().encode


def _frame(each: Told | Mark) -> bytes:
    """A mark is an id alone: nothing is dispatched, and the client resumes from there."""
    if isinstance(each, Mark):
        return b"id: %d\n:\n\n" % each.feed
    if each.frame is None:
        each.frame = b"id: %d\ndata: %b\n\n" % (each.event.feed, _encode(render_event(each.event)))
    return each.frame


_RESUME = (
    "Server-sent events. `id` is the feed number; a client that comes back says it in `Last-Event-ID` (or `?after=`) and gets "
    "every event after it once, in order. Without either the stream begins now. An `id` without data tells how far the "
    "stream has come. At least every 15 s something is sent."
)

ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="GET", path="/audit", operation="listAudit", summary="What was done by whom, newest first", handler=listed,
        query=AuditQuery, response=Events, errors=(Forbidden, NotFound), tag="Audit",
        description="A page may hold fewer than `limit`, or none, and have a `next` all the same.",
    ),
    Route(
        method="GET", path="/audit/export", operation="exportAudit",
        summary="All of it with its seals, a JSON text a line, for `penstock audit verify`", handler=export,
        query=ExportQuery, response=Any, media=LINES, errors=(Forbidden,), tag="Audit",
        description='`from` and `to` are feed numbers, both included. The last line is `{"end": true, …}`.',
    ),
    Route(
        method="GET", path="/events", operation="streamEvents", summary="What happens in the tenant, live", handler=events,
        query=EventQuery, response=Event, media=EVENT_STREAM, errors=(NotFound, LimitExceeded), tag="Events",
        description=_RESUME,
    ),
    Route(
        method="GET", path="/processes/{id}/events", operation="streamProcessEvents",
        summary="What happens to a process, live", handler=process_events, query=ProcessEventQuery, response=Event,
        media=EVENT_STREAM, errors=(NotFound, LimitExceeded), tag="Events", description=_RESUME,
    ),
)  # fmt: skip
