"""Documents on both databases: links, who sees what, races, retention, and the sweep that finds what a crash left."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from engines.stage import Stage, graph
from penstock.documents import Blobs
from penstock.engines import retention, sweeping
from penstock.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge, Unavailable, WrongState
from penstock.operations import processes
from penstock.operations.documents import Documents, Incoming

DAY = 24 * 3600 * 1000
FLOW = {**graph("d", {"i": {"kind": "item", "task": "T"}}), "permissions": {"initiator": ["user:ini@example.com"], "manager": ["user:man@example.com"]}}  # fmt: skip
TASKS = {"T": {"candidates": ["user:can@example.com"]}}


class Set:
    """A stage, documents in a folder of the test's, and a few short words for both."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.folder = folder
        self.blobs = Blobs(folder.as_uri())
        self.documents = Documents(stage.ctx, self.blobs, 100_000)

    async def store(self, actor=None, content=b"content", process=None, item=None, key=None):
        actor = actor or self.stage.actor
        place = await self.documents.place(actor, process, item)
        incoming = Incoming("a.txt", "text/plain", chunks(content))
        made, _ = await self.documents.upload(actor, incoming, place, key)
        return made

    async def content(self, id: str, actor=None) -> bytes:
        view = await self.documents.get(actor or self.stage.actor, id)
        return b"".join([chunk async for chunk in await self.documents.content(view, 0, view.size)])

    async def ids(self, process: str) -> list[str]:
        found = await self.documents.listed(self.stage.actor, process, None, None, 200)
        return [each.id for each in found.items]

    def files(self) -> set[str]:
        return {path.name for path in self.folder.glob("*/*")}

    async def sweep(self, age: int = DAY) -> tuple[int, int]:
        now = await self.stage.store.submit_async(lambda tx: tx.now)
        return await sweeping.sweep(self.stage.store, self.blobs, now - age)


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(content), 1000):
        yield content[at : at + 1000]


@contextlib.asynccontextmanager
async def opened(url: str, folder: Path) -> AsyncIterator[Set]:
    async with Stage.open(url) as stage:
        await stage.deploy({**FLOW, "tasks": TASKS})
        yield Set(stage, folder / "blobs")


def test_who_may_see_store_and_remove(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            stage = a.stage
            starter, candidate, initiator, manager, other = (
                stage.user(f"{name}@example.com") for name in ("sta", "can", "ini", "man", "oth")
            )
            process = await stage.start("d")
            [item] = await stage.inbox(candidate)
            await stage.edit("UPDATE processes SET created_by = ?", starter.principal)
            await stage.edit("UPDATE search SET value = ? WHERE name = 'created_by'", starter.principal)
            for actor in (starter, initiator, manager, candidate):
                place = {"item": item.id} if actor is candidate else {"process": process}
                made = await a.store(actor, actor.principal.encode(), **place)
                assert await a.content(made.id, actor) == actor.principal.encode()
            with pytest.raises(Forbidden):
                await a.store(candidate, process=process)
            with pytest.raises(Forbidden):
                await a.store(other, item=item.id)
            for id in await a.ids(process):
                with pytest.raises(Forbidden):
                    await a.documents.delete(other, id)
            loose = await a.store(other)
            with pytest.raises(NotFound):
                await a.documents.get(manager, loose.id)
            with pytest.raises(NotFound):
                await a.documents.link(manager, process, loose.id, None)
            with pytest.raises(Forbidden):
                await a.documents.link(other, process, loose.id, None)
            first, *_, last = await a.ids(process)
            await a.documents.delete(manager, last)  # though another has stored it
            await a.documents.unlink(starter, process, first)
            assert await a.documents.get(starter, first)
            with pytest.raises(NotFound):
                await a.documents.get(manager, first)
            await stage.check()

    asyncio.run(main())


def test_another_tenant_sees_nothing(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            process = await a.stage.start("d")
            made = await a.store(process=process)
            actor = _stranger(a.stage)
            for tried in (
                a.documents.get(actor, made.id),
                a.documents.delete(actor, made.id),
                a.documents.link(actor, process, made.id, None),
                a.documents.unlink(actor, process, made.id),
                a.documents.listed(actor, process, None, None, 10),
                a.documents.place(actor, process, None),
            ):
                with pytest.raises(NotFound):
                    await tried
            assert await a.ids(process) == [made.id]

    asyncio.run(main())


def _stranger(stage):
    tenant = msgspec.structs.replace(stage.actor.tenant, tid=stage.tid + 1_000_000, id="other", code="other")
    return msgspec.structs.replace(stage.actor, tenant=tenant)


def test_what_is_too_large_or_broken_off_leaves_no_blob(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:

            async def broken():
                yield b"half"
                raise Invalid("the sender is gone")

            with pytest.raises(TooLarge):
                await a.store(content=b"x" * 100_001)
            with pytest.raises(Invalid):
                await a.documents.upload(a.stage.actor, Incoming("a", "text/plain", broken()), None)
            process = await a.stage.start("d")
            place = await a.documents.place(a.stage.actor, process, None)
            await _cancel(a.stage, process)
            with pytest.raises(WrongState):
                await a.documents.upload(a.stage.actor, Incoming("a", "text/plain", chunks(b"x")), place)
            assert a.files() == set()
            assert await a.stage.one("SELECT count(*) FROM documents") == 0

    asyncio.run(main())


async def _cancel(stage, process):
    await processes.cancel(stage.ctx, stage.actor, process, "")


def test_a_key_stores_once_and_its_second_copy_goes(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            process = await a.stage.start("d")
            made = await asyncio.gather(*(a.store(process=process, key="k") for _ in range(5)))
            assert len({each.id for each in made}) == 1
            with pytest.raises(Conflict):
                await a.store(content=b"another", process=process, key="k")
            assert a.files() == {made[0].id}
            assert await a.ids(process) == [made[0].id]

    asyncio.run(main())


def test_racing_links_and_deletes_leave_no_half(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            processes = [await a.stage.start("d") for _ in range(4)]
            for _ in range(5):
                made = await a.store(process=processes[0])
                tries = [a.documents.link(a.stage.actor, process, made.id, None) for process in processes[1:]]
                tries += [
                    a.documents.unlink(a.stage.actor, processes[0], made.id),
                    a.documents.delete(a.stage.actor, made.id),
                ]
                for error in await asyncio.gather(*tries, return_exceptions=True):
                    assert error is None or isinstance(error, NotFound | WrongState) or hasattr(error, "sha256"), error
                known = await a.stage.rows("SELECT doc FROM documents WHERE id = ?", made.id)
                if not known:
                    dangling = await a.stage.one(
                        "SELECT count(*) FROM document_links l WHERE NOT EXISTS (SELECT 1 FROM documents d WHERE d.doc = l.doc)"
                    )
                    assert dangling == 0
                else:
                    assert await a.content(made.id) == b"content"
            await a.stage.check()

    asyncio.run(main())


def test_what_nothing_links_is_forgotten_after_a_while_and_the_rest_stays(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            process = await a.stage.start("d")
            linked, loose, unlinked = await a.store(process=process), await a.store(), await a.store(process=process)
            await a.documents.unlink(a.stage.actor, process, unlinked.id)
            assert await a.sweep() == (0, 0)
            assert await a.sweep(-1000) == (2, 2)
            assert a.files() == {linked.id}
            for gone in (loose, unlinked):
                with pytest.raises(NotFound):
                    await a.documents.get(a.stage.actor, gone.id)
            late = await a.store()
            await a.documents.link(a.stage.actor, process, late.id, None)
            assert await a.sweep(-1000) == (0, 0)
            assert await a.ids(process) == [linked.id, late.id]

    asyncio.run(main())


def test_the_sweep_takes_orphans_and_halves_that_are_old(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            kept = await a.store()
            async with a.blobs.writing("01890a5e-0000-7000-8000-00000000abcd") as writer:
                await writer.write(b"a row never came")
            (a.folder / "cd" / "01890a5e-0000-7000-8000-00000000abcd#1").write_bytes(b"half")
            assert await a.sweep() == (0, 0)
            assert len(a.files()) == 3
            old = time.time() - 2 * 24 * 3600
            for path in a.folder.glob("*/*"):
                os.utime(path, (old, old))
            assert await a.sweep() == (0, 1)
            assert a.files() == {kept.id}

    asyncio.run(main())


def test_retention_takes_a_processs_documents_with_it(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            gone, there = await a.stage.start("d"), await a.stage.start("d")
            own, shared = await a.store(process=gone), await a.store(process=gone)
            await a.documents.link(a.stage.actor, there, shared.id, None)
            await _cancel(a.stage, gone)
            await a.stage.sealed()
            now = await a.stage.store.submit_async(lambda tx: tx.now)
            assert await retention.clean(a.stage.store, 1, now + 2 * DAY) == 1
            with pytest.raises(NotFound):
                await a.documents.get(a.stage.actor, own.id)
            assert await a.content(shared.id) == b"content"
            assert await a.stage.one("SELECT count(*) FROM document_links") == 1
            assert await a.sweep(-1000) == (0, 1)
            assert a.files() == {shared.id}

    asyncio.run(main())


def test_content_that_is_gone_is_told_as_trouble_of_ours(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            made = await a.store()
            assert hashlib.sha256(b"content").hexdigest() == made.sha256
            for path in a.folder.glob("*/*"):
                path.unlink()
            with pytest.raises(Unavailable):
                await a.content(made.id)
            await a.documents.delete(a.stage.actor, made.id)

    asyncio.run(main())


def test_a_row_that_says_loose_costs_nobody_a_linked_file(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            process = await a.stage.start("d")
            made = await a.store(process=process)
            await a.stage.edit("UPDATE documents SET loose_at = 1")
            assert await a.sweep() == (0, 0)
            assert await a.content(made.id) == b"content"
            assert await a.stage.one("SELECT loose_at FROM documents") is None

    asyncio.run(main())


def test_a_document_has_so_many_links_and_no_more(url, tmp_path, monkeypatch):
    monkeypatch.setattr("penstock.operations.documents.MOST_LINKS", 2)

    async def main():
        async with opened(url, tmp_path) as a:
            first, second, third = [await a.stage.start("d") for _ in range(3)]
            made = await a.store(process=first)
            for process in (second, first, second):  # a link that is there is no new one
                await a.documents.link(a.stage.actor, process, made.id, None)
            with pytest.raises(Conflict, match="2 processes"):
                await a.documents.link(a.stage.actor, third, made.id, None)
            await a.documents.unlink(a.stage.actor, first, made.id)
            await a.documents.link(a.stage.actor, third, made.id, None)

    asyncio.run(main())


def test_a_repeat_with_the_key_answers_as_the_first_though_the_first_changed_who_may(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            manager = a.stage.user("man@example.com")
            process = await a.stage.start("d")
            made, other = await a.store(process=process), await a.store(process=process)
            for _ in range(2):
                await a.documents.unlink(manager, process, made.id, "unlink")
                await a.documents.delete(manager, other.id, "delete")
            for key in (None, "another"):
                with pytest.raises(NotFound):
                    await a.documents.unlink(manager, process, made.id, key)
                with pytest.raises(NotFound):
                    await a.documents.delete(manager, other.id, key)
            with pytest.raises(Conflict):
                await a.documents.delete(manager, made.id, "delete")
            assert a.files() == {made.id}

    asyncio.run(main())


def test_links_are_shown_to_who_sees_their_processes(url, tmp_path):
    async def main():
        async with opened(url, tmp_path) as a:
            await a.stage.deploy({**graph("hidden", {"i": {"kind": "item", "task": "T"}}), "tasks": TASKS, "permissions": {"viewer": ["group:few"]}})  # fmt: skip
            hidden, shown = await a.stage.start("hidden"), await a.stage.start("d")
            made = await a.store(process=hidden)
            stranger, candidate = a.stage.user("str@example.com"), a.stage.user("can@example.com")
            with pytest.raises(NotFound):
                await a.documents.known(stranger, made.id)
            await a.documents.link(a.stage.actor, shown, made.id, None)
            for actor, seen in (
                (stranger, {shown}),
                (candidate, {shown, hidden}),
                (a.stage.user("v@example.com", "few"), {shown, hidden}),
                (a.stage.actor, {shown, hidden}),
            ):
                assert {link.process for link in (await a.documents.get(actor, made.id)).links} == seen
                assert (await a.documents.known(actor, made.id)).sha256 == made.sha256

    asyncio.run(main())


# -- two nodes -------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def two(url: str, folder: Path) -> AsyncIterator[tuple[Set, Set]]:
    async with opened(url, folder) as a, Stage.open(url, "two") as stage:
        yield a, Set(stage, folder / "blobs")
        assert await _amiss(a) == []


async def _amiss(a: Set) -> list[tuple[object, ...]]:
    """Links without a document, and documents that are loose by their row alone or by their links alone."""
    return await a.stage.rows(
        "SELECT l.doc, NULL, l.pid FROM document_links l LEFT JOIN documents d ON d.doc = l.doc WHERE d.doc IS NULL "
        "UNION ALL SELECT d.doc, d.loose_at, l.pid FROM documents d LEFT JOIN document_links l ON l.doc = d.doc "
        "WHERE (l.doc IS NULL) <> (d.loose_at IS NOT NULL)"
    )


async def _at_once(*calls) -> None:
    for error in await asyncio.gather(*calls, return_exceptions=True):
        assert not isinstance(error, BaseException) or isinstance(error, NotFound | WrongState), error


@pytest.mark.postgres
def test_two_nodes_link_and_unlink_at_once(postgres_url, tmp_path):
    async def main():
        async with two(postgres_url, tmp_path) as (a, b):
            p, q = await a.stage.start("d"), await a.stage.start("d")
            for _ in range(30):
                made = await a.store(process=p)
                await _at_once(
                    a.documents.link(a.stage.actor, q, made.id, None), b.documents.unlink(b.stage.actor, p, made.id)
                )
                assert await _amiss(a) == [], "beside a link"
                assert await a.ids(q) == [made.id]
                await a.documents.link(a.stage.actor, p, made.id, None)
                await _at_once(
                    a.documents.unlink(a.stage.actor, p, made.id), b.documents.unlink(b.stage.actor, q, made.id)
                )
                assert await _amiss(a) == [], "beside an unlink"

    asyncio.run(main())


@pytest.mark.postgres
def test_two_nodes_link_and_remove_at_once(postgres_url, tmp_path):
    async def main():
        async with two(postgres_url, tmp_path) as (a, b):
            p, q = await a.stage.start("d"), await a.stage.start("d")
            for _ in range(30):
                made, loose = await a.store(process=p), await a.store()
                await _at_once(
                    a.documents.link(a.stage.actor, q, made.id, None), b.documents.delete(b.stage.actor, made.id)
                )
                assert await _amiss(a) == [], "beside a delete"
                await _at_once(a.documents.link(a.stage.actor, q, loose.id, None), b.sweep(-1000))
                assert await _amiss(a) == [], "beside the sweep"

    asyncio.run(main())


@pytest.mark.postgres
def test_a_link_on_one_node_beside_retention_on_another(postgres_url, tmp_path):
    async def main():
        async with two(postgres_url, tmp_path) as (a, b):
            there = await a.stage.start("d")
            for _ in range(5):
                gone = await a.stage.start("d")
                made = [await a.store(process=gone) for _ in range(5)]
                await _cancel(a.stage, gone)
                await a.stage.sealed()
                now = await a.stage.store.submit_async(lambda tx: tx.now)
                links = (a.documents.link(a.stage.actor, there, each.id, None) for each in made)
                await _at_once(retention.clean(b.stage.store, 1, now + 2 * DAY), *links)
                assert await _amiss(a) == []

    asyncio.run(main())
