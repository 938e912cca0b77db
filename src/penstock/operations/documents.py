"""Documents: store, link, list, read, remove. The content goes by in chunks; it is never whole in memory.

A document is a process's, or an item's, by a link. What nothing links is its creator's alone, and is forgotten after a day: so a
file can be stored first and the process that it is for be started then. A value refers to a document by the text `document:ID`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from penstock.core import codec
from penstock.core import events as ev
from penstock.core.decider import LEGAL
from penstock.documents import CHUNK, Blobs, Writer
from penstock.errors import Conflict, Invalid, NotFound, PenstockError, Problem, TooLarge, Unavailable, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action, Target, may, require, sees_everything
from penstock.operations import views
from penstock.operations.context import Context, found_or_refused, new_uuid, own, tried
from penstock.operations.sight import viewer_of
from penstock.store import documents, grants, item_lists, lookups, processes, visibility
from penstock.store.documents import Link, Row
from penstock.store.reader import Read
from penstock.store.rows import Tx

MOST_LINKS = 1_000
"""Of a document: who wants to see or remove it is looked for along them."""


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


class _Found(NamedTuple):
    """A document that the actor sees: all its links, and those it sees it by, the first or every one."""

    row: Row
    links: list[Link]
    seen: list[Link]


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

        Raises: NotFound, Forbidden, WrongState, Conflict (more links than a document may have).
        """
        row = (await self._visible(actor, id)).row
        place = await self.place(actor, process, item)
        assert place is not None

        def unit(tx: Tx) -> None:
            now = documents.hold(tx, [row.doc]).get(row.doc)
            if now is None:
                raise NotFound("document", id)
            if documents.linked(tx, row.doc, place.pid) is None and documents.link_count(tx, row.doc) >= MOST_LINKS:
                raise Conflict(f"a document may be linked to {MOST_LINKS} processes: store it again for more")
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
        canonical = _canonical(id)
        pid = await self._ctx.pid(actor.tenant.tid, process)
        checked = await tried(key, self._removable(actor, id, pid))

        def unit(tx: Tx) -> None:
            row, _ = found_or_refused(checked)
            own(processes.load(tx, pid), actor, process)
            if not documents.hold(tx, [row.doc]) or documents.linked(tx, row.doc, pid) is None:
                raise NotFound("document", id)
            documents.unlink(tx, row.doc, pid)
            self._note_unlinked(tx, actor, row, pid)

        await self._ctx.once(actor, key, ["document.unlink", pid, canonical], unit, type(None), (pid,))

    async def delete(self, actor: Actor, id: str, key: str | None = None) -> None:
        """The document and its content go, with every link.

        Raises: NotFound, Forbidden, WrongState (a process that links it has ended: retention removes both).
        """
        canonical = _canonical(id)
        checked = await tried(key, self._removable(actor, id, None))
        pids = () if isinstance(checked, PenstockError) else tuple(sorted(link.pid for link in checked[1]))

        def unit(tx: Tx) -> None:
            row, _ = found_or_refused(checked)
            if not documents.hold(tx, [row.doc]):
                raise NotFound("document", id)
            links = documents.links_in(tx, row.doc)
            now = tuple(link.pid for link in links)
            if set(now) - set(pids):
                raise WrongState("cannot delete: the document was linked to another process just now")
            for link in links:
                _require_open(tx, link)
                self._note_unlinked(tx, actor, row, link.pid)
            documents.remove(tx, row.doc, now)

        await self._ctx.once(actor, key, ["document.delete", canonical], unit, type(None), pids)
        await self._forget(canonical)

    def _note_unlinked(self, tx: Tx, actor: Actor, row: Row, pid: int) -> None:
        event = ev.DocumentUnlinked(at=tx.now, actor=actor.principal, document=row.id, name=row.name)
        self._ctx.engine.accept(tx, pid, event)

    async def _removable(self, actor: Actor, id: str, pid: int | None) -> tuple[Row, list[Link]]:
        """A document, and its links to a process or all of them, that the actor may remove.

        Raises: NotFound, Forbidden when one of the places does not let its document go.
        """
        row, links, _ = await self._visible(actor, id)
        here = [link for link in links if pid is None or link.pid == pid]
        if pid is not None and not here:
            raise NotFound("document", id)

        def check(reader: Read) -> None:
            for link, target in _targets(reader, actor, here):
                of = msgspec.structs.replace(target, creator=row.created_by)
                if not may(actor, Action.DOCUMENT_REMOVE, of):
                    require(actor, Action.DOCUMENT_REMOVE, _involved(reader, actor, link, of))

        if here:
            await self._ctx.store.async_read(check)
        else:
            require(actor, Action.DOCUMENT_REMOVE, _loose_target(row))
        return row, here

    # -- out -------------------------------------------------------------------------------------------------------

    async def get(self, actor: Actor, id: str) -> views.Document:
        """A document with the links that the actor may see. Raises: NotFound."""
        row, _, seen = await self._visible(actor, id, every=True)
        return _view(row, [views.DocumentLink(link.process_id, link.item) for link in seen])

    async def known(self, actor: Actor, id: str) -> views.Document:
        """A document without its links, for its content. Raises: NotFound."""
        return _view((await self._visible(actor, id)).row, [])

    async def content(self, document: views.Document, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to before `end` of a document that `get` or `known` has answered. Raises: Unavailable."""
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

    async def _visible(self, actor: Actor, id: str, *, every: bool = False) -> _Found:
        """The document; whoever sees one of its links sees it. Raises: NotFound."""
        tid = actor.tenant.tid
        canonical = _canonical(id)

        def read(reader: Read) -> _Found | None:
            row = documents.by_id(reader, tid, canonical)
            if row is None:
                return None
            links = documents.links(reader, row.doc)
            seen = _seen(reader, actor, links)
            return _Found(row, links, list(seen if every else itertools.islice(seen, 1)))

        found = await self._ctx.store.async_read(read)
        if found is None:
            raise NotFound("document", id)
        if not found.seen and (found.links or not may(actor, Action.DOCUMENT_READ, _loose_target(found.row))):
            raise NotFound("document", id)
        return found


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
    [(_, target)] = _targets(reader, actor, [link])
    return Place(pid, row.id, visit, item), _involved(reader, actor, link, target)


def _targets(reader: Read, actor: Actor, links: list[Link]) -> Iterable[tuple[Link, Target]]:
    """Each place as policy sees it, but for `_involved`: that is asked for each by itself, and hardly ever wanted."""
    tid = actor.tenant.tid
    vids = [] if sees_everything(actor) else sorted({link.vid for link in links})
    permissions = grants.of_versions(reader, tid, vids)
    for link in links:
        candidates = () if link.candidates is None else codec.decode_json(link.candidates)
        yield (
            link,
            Target(
                kind="process",
                id=link.process_id,
                tid=tid,
                permissions=permissions.get(link.vid, {}),
                starter=link.starter,
                candidates=candidates,
                owner=link.owner,
            ),
        )


def _involved(reader: Read, actor: Actor, link: Link, target: Target) -> Target:
    viewer = viewer_of(actor)
    if viewer is None or not (target.permissions or {}).get("viewer"):
        return target
    found = visibility.involved(reader, actor.tenant.tid, link.pid, viewer)
    return msgspec.structs.replace(target, involved=found)


def _seen(reader: Read, actor: Actor, links: list[Link]) -> Iterator[Link]:
    """The links by which the actor sees their document."""
    for link, target in _targets(reader, actor, links):
        if may(actor, Action.DOCUMENT_READ, target) or may(
            actor, Action.DOCUMENT_READ, _involved(reader, actor, link, target)
        ):
            yield link


def _loose_target(row: Row) -> Target:
    return Target(kind="document", id=row.id, tid=row.tid, creator=row.created_by)


def _uuid(kind: str, id: str) -> str:
    try:
        return str(UUID(id))
    except ValueError:
        raise NotFound(kind, id) from None


def _require_open(tx: Tx, link: Link) -> None:
    """A process that has ended keeps its documents. Raises: WrongState."""
    held = processes.load(tx, link.pid)
    if held is not None and held.process.status not in LEGAL[ev.DocumentUnlinked][1]:
        raise WrongState(
            f"cannot delete: the process {link.process_id} is {held.process.status} and keeps its documents"
        )


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
