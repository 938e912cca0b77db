"""Rows of documents and of what they are linked to. Content lies elsewhere (`penstock.documents`), under the document's id.

A document that nothing links is loose since `loose_at`, and is forgotten after a while; one that is linked has none.
A unit's keys hold processes, and a document may hang on several: whoever changes its links or removes it holds its row first
(`hold`), so two nodes do it one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, bindparam, delete, exists, func, select

from penstock.store import tables
from penstock.store.reader import Read
from penstock.store.rows import DOCUMENT_LINKS, DOCUMENTS, Tx

_d, _l = tables.documents.c, tables.document_links.c
_p, _i = tables.processes.c, tables.items.c


class Row(NamedTuple):
    """A row of `documents`, in the order of its columns."""

    doc: int
    tid: int
    id: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_by: str
    created_at: int
    loose_at: int | None


class Link(NamedTuple):
    """What a document is linked to, with what policy asks about it."""

    pid: int
    process_id: str
    vid: int
    starter: str
    visit: int | None
    item: str | None
    candidates: str | None
    owner: str | None


class Listed(NamedTuple):
    """A document in the list of a process."""

    row: Row
    visit: int | None
    item: str | None


_tid: BindParameter[int] = bindparam("tid")
_doc: BindParameter[int] = bindparam("of_doc")
_pids: BindParameter[Sequence[int]] = bindparam("pids", expanding=True)
_ids: BindParameter[Sequence[str]] = bindparam("ids", expanding=True)
_docs: BindParameter[Sequence[int]] = bindparam("docs", expanding=True)
_BY_ID = select(*_d).where(_d.tid == _tid, _d.id == bindparam("id"))
_AT_ITEM = (_i.pid == _l.pid) & (_i.n == _l.visit)
_LINKS = (
    select(_l.pid, _p.id, _p.vid, _p.created_by, _l.visit, _i.id, _i.candidates, _i.owner)
    .select_from(tables.document_links)
    .join(tables.processes, _p.pid == _l.pid)
    .outerjoin(tables.items, _AT_ITEM)
    .where(_l.doc == _doc)
    .order_by(_l.pid)
)
_OF_PROCESS = (
    select(*_d, _l.visit, _i.id)
    .select_from(tables.document_links)
    .join(tables.documents, _d.doc == _l.doc)
    .outerjoin(tables.items, _AT_ITEM)
    .where(_l.pid == bindparam("of_pid"), _l.doc > bindparam("after"))
    .order_by(_l.doc)
    .limit(bindparam("most"))
)
_OF_ITEM = _OF_PROCESS.where(_l.visit == bindparam("visit"))
_OTHER = tables.document_links.alias("other")
_LINKED_ELSEWHERE = select(_OTHER.c.pid).where(_OTHER.c.doc == _doc, _OTHER.c.pid != bindparam("of_pid")).limit(1)
_LOOSE = select(*_d).where(_d.loose_at < bindparam("before")).order_by(_d.loose_at).limit(bindparam("most"))
# in one order, so that nobody waits in a circle
_HOLD = select(*_d).where(_d.doc.in_(_docs)).order_by(_d.doc).with_for_update(key_share=True)
_LINKED_BY = select(_l.doc).where(_l.pid.in_(_pids)).distinct()
_LINKED = select(_l.doc).where(_l.doc.in_(_docs)).distinct()
_COUNT = select(func.count()).select_from(tables.document_links).where(_l.doc == _doc)
_KNOWN = select(_d.id).where(_d.id.in_(_ids))
_DELETE_OF = delete(tables.documents).where(
    _d.doc.in_(select(_l.doc).where(_l.pid.in_(_pids))),
    ~exists().where(_OTHER.c.doc == _d.doc, _OTHER.c.pid.not_in(_pids)),
)
_DELETE_LINKS_OF = delete(tables.document_links).where(_l.pid.in_(_pids))


# -- reading ---------------------------------------------------------------------------------------------------------


def by_id(reader: Read, tid: int, id: str) -> Row | None:
    row = reader.row(_BY_ID, {"tid": tid, "id": id})
    return None if row is None else Row(*row)


def links(reader: Read, doc: int) -> list[Link]:
    return [Link(*row) for row in reader.rows(_LINKS, {"of_doc": doc})]


def listed(reader: Read, pid: int, visit: int | None, after: int, most: int) -> list[Listed]:
    """Documents of a process, or of one visit's item, in the order they were stored."""
    of: dict[str, Any] = {"of_pid": pid, "after": after, "most": most}
    rows = reader.rows(_OF_PROCESS, of) if visit is None else reader.rows(_OF_ITEM, {**of, "visit": visit})
    return [Listed(Row(*row[:-2]), *row[-2:]) for row in rows]


def loose(reader: Read, before: int, most: int) -> list[Row]:
    """Documents that nothing has linked since before a time (ms), the oldest first."""
    return [Row(*row) for row in reader.rows(_LOOSE, {"before": before, "most": most})]


def known(reader: Read, ids: Sequence[str]) -> set[str]:
    """Which of these ids have a row, in any tenant."""
    return {id for (id,) in reader.rows(_KNOWN, {"ids": list(ids)})} if ids else set()


# -- in a unit -------------------------------------------------------------------------------------------------------


def add(tx: Tx, row: Row) -> Row:
    """Keeps the row under a new number; it is loose until it is linked."""
    made = row._replace(doc=tx.next_id(DOCUMENTS), created_at=tx.now, loose_at=tx.now)
    tx.put(DOCUMENTS, tuple(made))
    return made


def hold(tx: Tx, docs: Sequence[int]) -> dict[int, Row]:
    """Those of these documents that are there, as they stay but for this unit until its commit."""
    return {row[0]: Row(*row) for row in tx.select(_HOLD, {"docs": list(docs)}, of=[DOCUMENTS])} if docs else {}


def link(tx: Tx, doc: int, pid: int, visit: int | None, by: str) -> bool:
    """One link for each process and document; the last word says of which item. False when nothing changed.

    The document is held, or made in this unit; so for all that follows.
    """
    before = tx.get(DOCUMENT_LINKS, (pid, doc))
    if before is not None and before[2] == visit:
        return False
    tx.put(DOCUMENT_LINKS, (pid, doc, visit, by, tx.now))
    not_loose(tx, doc)
    return True


def linked(tx: Tx, doc: int, pid: int) -> tuple[int | None] | None:
    """The visit of the link, in a tuple; None when the process does not link the document."""
    row = tx.get(DOCUMENT_LINKS, (pid, doc))
    return None if row is None else (row[2],)


def link_count(tx: Tx, doc: int) -> int:
    [(count,)] = tx.select(_COUNT, {"of_doc": doc}, of=[DOCUMENT_LINKS])
    return int(count)


def linked_ones(tx: Tx, docs: Sequence[int]) -> set[int]:
    """Those of these documents that a process links."""
    return {doc for (doc,) in tx.select(_LINKED, {"docs": list(docs)}, of=[DOCUMENT_LINKS])} if docs else set()


def unlink(tx: Tx, doc: int, pid: int) -> None:
    """The document is loose from now on, if no other process links it."""
    tx.delete(DOCUMENT_LINKS, (pid, doc))
    if not tx.select(_LINKED_ELSEWHERE, {"of_doc": doc, "of_pid": pid}, of=[DOCUMENT_LINKS]):
        tx.patch(DOCUMENTS, (doc,), {"loose_at": tx.now})


def not_loose(tx: Tx, doc: int) -> None:
    tx.patch(DOCUMENTS, (doc,), {"loose_at": None})


def links_in(tx: Tx, doc: int) -> list[Link]:
    return [Link(*row) for row in tx.select(_LINKS, {"of_doc": doc}, of=[DOCUMENT_LINKS])]


def remove(tx: Tx, doc: int, pids: Sequence[int] = ()) -> None:
    """The row and its links; whoever asks removes the content afterwards."""
    for pid in pids:
        tx.delete(DOCUMENT_LINKS, (pid, doc))
    tx.delete(DOCUMENTS, (doc,))


def remove_of_processes(tx: Tx, pids: Sequence[int]) -> None:
    """What these processes alone link, and their links. The content is an orphan then, and swept."""
    hold(tx, [doc for (doc,) in tx.select(_LINKED_BY, {"pids": list(pids)}, of=[DOCUMENT_LINKS])])
    tx.execute(_DELETE_OF, {"pids": list(pids)})
    tx.execute(_DELETE_LINKS_OF, {"pids": list(pids)})
