"""Documents: store, link, list, read, remove. The content goes by in chunks; it is never whole in memory.

A document is a process's, or an item's, by a link. What nothing links is its creator's alone, and is forgotten after a day: so a
file can be stored first and the process that it is for be started then. A value refers to a document by the text `document:ID`.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.decider import LEGAL
from penstock.documents import CHUNK, Blobs, Writer
from penstock.errors import Invalid, NotFound, Problem, TooLarge, Unavailable, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, may, require
from penstock.operations import views
from penstock.operations.context import Context, new_uuid, own
from penstock.operations.sight import viewer_of
from penstock.store import documents, item_lists, lookups, processes, visibility
from penstock.store.documents import Link, Row
from penstock.store.reader import Read
from penstock.store.rows import Tx


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file on its way in. `name` and `content_type` are checked; `chunks` raises what is wrong with the rest."""

    name: str
    content_type: str
    chunks: AsyncIterator[bytes]


class Place(NamedTuple):
    """What a document is to be linked to."""

    pid: int
    process: str
    visit: int | None
    item: str | None


class _Stored(NamedTuple):
    size: int
    sha256: str


class Documents:
    """Built once by wiring: the platform's documents and where their content lies."""

    def __init__(self, ctx: Context, blobs: Blobs, max_size: int) -> None:
        self.max_size = max_size
        self._ctx = ctx
        self._blobs = blobs

    # -- in --------------------------------------------------------------------------------------------------------

    async def place(self, actor: Actor, process: str | None, item: str | None) -> Place | None:
        """Where an upload is to go, before its content is asked for. None: nowhere yet.

        Raises: NotFound, Forbidden, WrongState (the process has ended), Invalid (an item of another process).
        """
        if process is None and item is None:
            require(actor, Action.DOCUMENT_UPLOAD)
            return None
        place, target = await self._ctx.store.async_read(lambda reader: _place(reader, actor, process, item))
        require(actor, Action.DOCUMENT_LINK, target)
        return place

    async def upload(
        self, actor: Actor, incoming: Incoming, place: Place | None, key: str | None = None
    ) -> tuple[views.Document, bool]:
        """Store a file. The flag is false when the same upload was made before under this key.

        Raises: TooLarge, Invalid (what `incoming` finds), Unavailable, NotFound, WrongState.
        """
        id = new_uuid()
        async with self._blobs.writing(id) as writer:
            size, digest = await self._take(incoming, writer)
        row = Row(
            *(0, actor.tenant.tid, id, incoming.name, incoming.content_type, size, digest, actor.principal, 0, None)
        )

        def unit(tx: Tx) -> views.Document:
            made = documents.add(tx, row)
            if place is not None:
                self._link(tx, actor, made, place)
            return _view(made, [] if place is None else [views.DocumentLink(place.process, place.item)])

        request = ["document.upload", place, row.name, row.content_type, size, digest]
        try:
            view, replayed = await self._ctx.once(
                actor, key, request, unit, views.Document, () if place is None else (place.pid,)
            )
        except Unavailable:
            raise  # a commit whose answer was lost may be there: its blob stays, or the sweep finds it
        except BaseException:
            await self._forget(id)
            raise
        if replayed:
            await self._forget(id)
        return view, not replayed

    async def _take(self, incoming: Incoming, writer: Writer) -> _Stored:
        """The content, written as it comes. Raises: TooLarge."""
        digest, size, waiting = hashlib.sha256(), 0, bytearray()
        async for chunk in incoming.chunks:
            size += len(chunk)
            if size > self.max_size:
                raise too_large(self.max_size)
            digest.update(chunk)
            waiting += chunk
            if len(waiting) >= CHUNK:
                await writer.write(bytes(waiting))
                waiting.clear()
        if waiting:
            await writer.write(bytes(waiting))
        return _Stored(size, digest.hexdigest())

    async def _forget(self, id: str) -> None:
        try:
            await self._blobs.delete(id)
        except Unavailable:
            return  # the sweep comes again

    # -- links -----------------------------------------------------------------------------------------------------

    async def link(
        self, actor: Actor, process: str, id: str, item: str | None, key: str | None = None
    ) -> views.Document:
        """Make a document one of a process's, or of an item's of it.

        Raises: NotFound, Forbidden, WrongState.
        """
        row, _ = await self._visible(actor, id)
        place = await self.place(actor, process, item)
        assert place is not None

        def unit(tx: Tx) -> None:
            now = documents.get(tx, row.doc)
            if now is None:
                raise NotFound("document", id)
            self._link(tx, actor, now, place)

        await self._ctx.once(actor, key, ["document.link", place, row.id], unit, type(None), (place.pid,))
        return await self.get(actor, id)

    def _link(self, tx: Tx, actor: Actor, row: Row, place: Place) -> None:
        own(processes.load(tx, place.pid), actor, place.process)
        if documents.link(tx, row.doc, place.pid, place.visit, actor.principal):
            event = ev.DocumentLinked(at=tx.now, actor=actor.principal, document=row.id, name=row.name, item=place.item)
            self._ctx.engine.accept(tx, place.pid, event)

    async def unlink(self, actor: Actor, process: str, id: str, key: str | None = None) -> None:
        """The document is not the process's any more; when nothing else links it, it is forgotten after a day.

        Raises: NotFound, Forbidden, WrongState.
        """
        row, links = await self._visible(actor, id)
        pid = await self._ctx.pid(actor.tenant.tid, process)
        here = [link for link in links if link.pid == pid]
        if not here:
            raise NotFound("document", id)
        await self._require_removal(actor, row, here)

        def unit(tx: Tx) -> None:
            own(processes.load(tx, pid), actor, process)
            if documents.linked(tx, row.doc, pid) is None:
                raise NotFound("document", id)
            documents.unlink(tx, row.doc, pid)
            self._note_unlinked(tx, actor, row, pid)

        await self._ctx.once(actor, key, ["document.unlink", pid, row.id], unit, type(None), (pid,))

    async def delete(self, actor: Actor, id: str, key: str | None = None) -> None:
        """The document and its content go, with every link.

        Raises: NotFound, Forbidden, WrongState (a process that links it has ended: retention removes both).
        """
        row, links = await self._visible(actor, id)
        await self._require_removal(actor, row, links)
        pids = tuple(sorted(link.pid for link in links))

        def unit(tx: Tx) -> None:
            if documents.get(tx, row.doc) is None:
                raise NotFound("document", id)
            now = tuple(link.pid for link in documents.links_in(tx, row.doc))
            if set(now) - set(pids):
                raise WrongState("cannot delete: the document was linked to another process just now")
            for pid in now:
                self._note_unlinked(tx, actor, row, pid)
            documents.remove(tx, row.doc, now)

        await self._ctx.once(actor, key, ["document.delete", row.id], unit, type(None), pids)
        await self._forget(row.id)

    def _note_unlinked(self, tx: Tx, actor: Actor, row: Row, pid: int) -> None:
        event = ev.DocumentUnlinked(at=tx.now, actor=actor.principal, document=row.id, name=row.name)
        self._ctx.engine.accept(tx, pid, event)

    async def _require_removal(self, actor: Actor, row: Row, links: list[Link]) -> None:
        """Raises: Forbidden when one of the places does not let its document go."""
        targets = await self._ctx.store.async_read(lambda reader: [_target(reader, actor, link) for link in links])
        for target in targets or [_loose_target(row)]:
            require(actor, Action.DOCUMENT_REMOVE, msgspec.structs.replace(target, creator=row.created_by))

    # -- out -------------------------------------------------------------------------------------------------------

    async def get(self, actor: Actor, id: str) -> views.Document:
        """Raises: NotFound."""
        row, links = await self._visible(actor, id)
        return _view(row, [views.DocumentLink(link.process_id, link.item) for link in links])

    async def content(self, document: views.Document, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to before `end` of a document that `get` has answered. Raises: Unavailable."""
        return await self._blobs.reading(document.id, start, end)

    async def listed(
        self, actor: Actor, process: str, item: str | None, after: list[Any] | None, limit: int
    ) -> views.Page:
        """Documents of a process, or of an item of it, in the order they were stored. Raises: NotFound."""
        start = after[0] if after else 0

        def read(reader: Read) -> tuple[Place, Target, list[documents.Listed]]:
            place, target = _place(reader, actor, process, item, ended=True)
            return place, target, documents.listed(reader, place.pid, place.visit, start, limit + 1)

        place, target, found = await self._ctx.store.async_read(read)
        require(actor, Action.DOCUMENT_READ, target)
        page = [_view(each.row, [views.DocumentLink(place.process, each.item)]) for each in found[:limit]]
        return views.Page(page, [found[limit - 1].row.doc] if len(found) > limit else None)

    async def _visible(self, actor: Actor, id: str) -> tuple[Row, list[Link]]:
        """The document with all its links; whoever sees one of them sees it. Raises: NotFound."""
        tid = actor.tenant.tid
        canonical = _canonical(id)

        def read(reader: Read) -> tuple[Row, list[Link], list[Target]] | None:
            row = documents.by_id(reader, tid, canonical)
            if row is None:
                return None
            links = documents.links(reader, row.doc)
            return row, links, [_target(reader, actor, link) for link in links] or [_loose_target(row)]

        found = await self._ctx.store.async_read(read)
        if found is None:
            raise NotFound("document", id)
        row, links, targets = found
        if not any(may(actor, Action.DOCUMENT_READ, target) for target in targets):
            raise NotFound("document", id)
        return row, links


def too_large(limit: int, *, close: bool = False) -> TooLarge:
    """For a file over the limit, told before or while it comes."""
    message = f"a document may have {limit} bytes at most"
    return TooLarge(message, [Problem("", message, "too_large")], close=close)


def _place(
    reader: Read, actor: Actor, process: str | None, item: str | None, *, ended: bool = False
) -> tuple[Place, Target]:
    """What the ids stand for. `ended`: a process that has ended will do.

    Raises: NotFound, WrongState, Invalid.
    """
    tid = actor.tenant.tid
    visit, found = None, None
    id = process or ""
    if item is not None:
        found = item_lists.item(reader, tid, _uuid("item", item))
        if found is None:
            raise NotFound("item", item)
        if process is not None and _uuid("process", process) != found.process_id:
            raise Invalid("the item is of another process", [Problem("item", "not an item of this process")])
        id, visit, item = found.process_id, found.item.n, found.item.id
    pid = lookups.pid(reader, tid, _uuid("process", id))
    known = None if pid is None else lookups.process(reader, tid, pid)
    if pid is None or known is None:
        raise NotFound("process", id)
    row = known[0]
    verb, states = LEGAL[ev.DocumentLinked]
    if not ended and row.status not in states:
        raise WrongState(f"cannot {verb}: the process is {row.status}")
    link = Link(pid, row.id, row.vid, row.created_by, visit, item, None, None)
    if found is not None:
        link = link._replace(candidates=found.item.candidates, owner=found.item.owner)
    return Place(pid, row.id, visit, item), _target(reader, actor, link)


def _target(reader: Read, actor: Actor, link: Link) -> Target:
    tid, viewer = actor.tenant.tid, viewer_of(actor)
    found = None if viewer is None else visibility.of_process(reader, tid, link.pid, viewer)
    _, permissions, involved = found or (link.starter, {}, False)
    return Target(
        kind="process",
        id=link.process_id,
        tid=tid,
        permissions=permissions,
        involved=involved,
        starter=link.starter,
        candidates=() if link.candidates is None else codec.decode_json(link.candidates),
        owner=link.owner,
    )


def _loose_target(row: Row) -> Target:
    return Target(kind="document", id=row.id, tid=row.tid, creator=row.created_by)


def _uuid(kind: str, id: str) -> str:
    try:
        return str(UUID(id))
    except ValueError:
        raise NotFound(kind, id) from None


def _canonical(id: str) -> str:
    return _uuid("document", id)


def _view(row: Row, links: list[views.DocumentLink]) -> views.Document:
    return views.Document(
        id=row.id,
        name=row.name,
        content_type=row.content_type,
        size=row.size,
        sha256=row.sha256,
        created_by=row.created_by,
        created_at=row.created_at,
        links=links,
    )
