"""A platform for a journey: what a test does to it in one line each. No HTTP; real store, engine and loops."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from engines import invariants
from penstock.config import Settings
from penstock.core.requests import Condition, Filter, ItemFilter, VisitFilter
from penstock.errors import Invalid, PenstockError
from penstock.identity.model import Actor, Kind, Tenant
from penstock.operations import definitions, items, jobs, messages, people, processes, reading
from penstock.operations.commands import Commands
from penstock.operations.jobs import Completed, Failed, Poll, Thrown, job_id
from penstock.operations.processes import StartProcess
from penstock.store import feed, seals
from penstock.store import people as stored_people
from penstock.wiring.platform import Platform
from support.server import SECRET_KEY

PATIENCE = 20.0
"""Seconds a test waits for what must happen; it is over when it has happened."""


class Stage:
    def __init__(self, platform: Platform, actor: Actor) -> None:
        self.platform = platform
        self.store = platform.store
        self.engine = platform.engine
        self.loops = platform.loops
        self.ctx = platform.operations
        self.actor = actor
        self.tid = actor.tenant.tid
        self.began: dict[int, int] = {}
        """Of processes that were migrated: the version they began with."""

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, url: str, node: str = "one", *, tenant: str = "t", running: bool = True, retention: int | None = None
    ) -> AsyncIterator[Stage]:
        """A platform that the test calls `node`, for its reader's eyes; the tenant is made where it is not there."""
        settings = Settings(
            database_url=url,
            data_dir=Path("unused"),
            outbound_allow=("127.0.0.0/8",),
            retention_days=retention,
            secret_key=SECRET_KEY,
        )
        platform = Platform.build(settings)
        try:
            known = await platform.store.async_read(lambda read: stored_people.tenant(read, tenant))
            if known is None:
                made = (await people.seed(platform.operations, tenant, tenant, [])).tenant
            else:
                made = Tenant(tid=known[0], id=known[1], code=known[2])
            stage = cls(platform, Actor(tenant=made, principal="app:test", kind=Kind.APPLICATION))
            if running:
                async with platform.running():
                    yield stage
            else:
                yield stage
        finally:
            await asyncio.to_thread(platform.close)

    # -- what people and programs do -------------------------------------------------------------------------------

    async def deploy(self, document: dict[str, Any]) -> Any:
        try:
            return await definitions.deploy(self.ctx, self.actor, {"penstock": 1, **document})
        except Invalid as error:
            raise AssertionError(f"{error}: {error.problems}") from error

    async def start(self, code: str, input: Any = None, *, key: str | None = None, **more: Any) -> str:
        request = StartProcess(definition=code, input=input, **more)
        process, _ = await processes.start(self.ctx, self.actor, request, key)
        return process.id

    async def poll(
        self, *topics: str, max: int = 1, wait: float = PATIENCE, lease: float = 60.0, worker: str = "w"
    ) -> list[Any]:
        request = Poll(topics=list(topics), max=max, wait=wait, lease=lease, worker=worker)
        return await jobs.poll(self.ctx, self.actor, request)

    async def take(self, *topics: str, lease: float = 60.0) -> Any:
        """One job; waits for it."""
        [taken] = await self.poll(*topics, lease=lease)
        return taken

    async def complete(self, taken: Any, output: Any = None, **more: Any) -> None:
        await jobs.answer(self.ctx, self.actor, Completed(id=_id(taken), lease=taken.lease, output=output, **more))

    async def fail(self, taken: Any, failure: Any, delay: int | None = None) -> None:
        await jobs.answer(self.ctx, self.actor, Failed(id=_id(taken), lease=taken.lease, failure=failure, delay=delay))

    async def throw(self, taken: Any, code: str, data: Any = None) -> None:
        await jobs.answer(self.ctx, self.actor, Thrown(id=_id(taken), lease=taken.lease, code=code, data=data))

    async def work(self, *topics: str, output: Callable[[Any], Any] = lambda taken: None, count: int = 1) -> list[Any]:
        """Do so many jobs."""
        done: list[Any] = []
        while len(done) < count:
            taken = await self.poll(*topics, max=min(64, count - len(done)))
            assert taken, f"no job on {topics}: {len(done)} of {count} done"
            await asyncio.gather(*(self.complete(each, output(each)) for each in taken))
            done += taken
        return done

    async def publish(
        self, name: str, key: str = "", payload: Any = None, *, id: str | None = None, ttl: float = 60.0
    ) -> Any:
        return await messages.publish(self.ctx, self.actor, name, key, payload, id, ttl)

    async def broadcast(self, name: str, payload: Any = None) -> int:
        return await messages.broadcast(self.ctx, self.actor, name, payload)

    async def do(self, command: str, id: str, *args: Any, **more: Any) -> Any:
        """A command of `operations.processes`; cancel and terminate get a reason."""
        if command in ("cancel", "terminate") and not args:
            args = ("test",)
        return await getattr(processes, command)(self.ctx, self.actor, id, *args, **more)

    async def skip(self, id: str, node: str, output: Any = None) -> Any:
        return await processes.skip(self.ctx, self.actor, id, Commands(node=node), output)

    def user(self, email: str, *groups: str) -> Actor:
        return Actor(tenant=self.actor.tenant, principal=f"user:{email}", kind=Kind.USER, groups=frozenset(groups))

    async def inbox(self, actor: Actor, **wanted: Any) -> list[Any]:
        """What somebody has to do."""
        found = await items.listed(
            self.ctx, actor, ItemFilter(states=("READY", "CLAIMED"), **wanted), None, 100, mine=True
        )
        return found.items

    async def search(self, *conditions: tuple[str, ...], **wanted: Any) -> list[str]:
        """Ids of the processes that meet all conditions (name, value[, op]), oldest first."""
        search = tuple(Condition(*each) for each in conditions)
        found = await reading.listed(self.ctx, self.actor, Filter(search=search, oldest=True, **wanted), None, 1000)
        return [process.id for process in found.items]

    # -- what is there ---------------------------------------------------------------------------------------------

    async def show(self, id: str) -> Any:
        return await reading.get(self.ctx, self.actor, id)

    async def status(self, id: str) -> str:
        return (await self.show(id)).status

    async def pid(self, id: str) -> int:
        return await self.ctx.pid(self.tid, id)

    async def visits(self, id: str, node: str | None = None) -> list[Any]:
        found = (await reading.visits(self.ctx, self.actor, id, VisitFilter(), None, 100_000)).items
        return [visit for visit in found if node is None or visit.node == node]

    async def events(self, id: str) -> list[str]:
        return [entry.type for entry in (await reading.history(self.ctx, self.actor, id, None, 100_000)).items]

    async def rows(self, statement: str, *params: Any) -> list[tuple[Any, ...]]:
        return await self.store.async_read(lambda read: read.rows(statement, params))

    async def one(self, statement: str, *params: Any) -> Any:
        [(value,)] = await self.rows(statement, *params)
        return value

    async def edit(self, statement: str, *params: Any) -> int:
        """Change rows behind the engine's back; its loops look again."""
        changed = await self.store.submit_async(lambda tx: tx.execute(statement, params))
        self.hurry()
        return changed

    def hurry(self) -> None:
        """Have the timers looked at now."""
        self.loops.look_for_timers()

    async def overdue(self, purpose: str | None = None) -> int:
        """Make timers due now: all, or those of one purpose."""
        if purpose is None:
            return await self.edit("UPDATE timers SET due_at = 1")
        return await self.edit("UPDATE timers SET due_at = 1 WHERE purpose = ?", purpose)

    async def lapse(self) -> int:
        """Make every lease run out, and have the loop see it now."""
        changed = await self.edit("UPDATE jobs SET leased_until = 1 WHERE leased_until IS NOT NULL")
        await self.loops._expire_leases()
        return changed

    # -- waiting ---------------------------------------------------------------------------------------------------

    async def until(self, what: Callable[[], Any], seconds: float = PATIENCE) -> Any:
        """Wait until `what` gives (a coroutine that gives) something true, and answer it."""
        end = time.monotonic() + seconds
        while True:
            found = what()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            assert time.monotonic() < end, f"waited {seconds} s in vain"
            await asyncio.sleep(0.004)

    async def reached(self, id: str, *statuses: str) -> Any:
        """Wait until a process is in one of these states."""

        async def there() -> Any:
            found = await self.show(id)
            return found if found.status in statuses else None

        try:
            return await self.until(there)
        except AssertionError:
            failures = [visit.failure for visit in await self.visits(id) if visit.failure]
            raise AssertionError(f"{await self.status(id)}, not {statuses}; {failures}") from None

    async def completed(self, id: str) -> Any:
        return (await self.reached(id, "COMPLETED")).output

    async def quiet(self) -> None:
        """Wait until nothing waits to be applied and no timer is due."""

        async def still() -> bool:
            waiting = await self.one("SELECT count(*) FROM inbox WHERE kept = 0")
            now = await self.store.submit_async(lambda tx: tx.now)
            due = await self.one("SELECT count(*) FROM timers WHERE due_at <= ?", now)
            return waiting == 0 and due == 0

        await self.until(still)

    async def sealed(self) -> None:
        """Wait until every row has its number and is sealed."""
        sealer = self.platform.sealer
        sealer._mine = True  # no other node seals: nobody to wait for

        async def all_sealed() -> bool:
            await sealer.turn()
            if not await self._numbered():
                return False
            return not await self.store.async_read(seals.waiting)

        await self.until(all_sealed)

    async def check(self) -> None:
        """The invariants of every process in the database."""
        await self.quiet()
        if self.store.dialect != "sqlite":
            await self.until(self._numbered)  # not at the loops' pace
        problems = await self.store.async_read(
            lambda read: invariants.problems(read, self.store.dialect, self.began), limit=60
        )
        assert not problems, "\n".join(problems[:20])

    async def _numbered(self) -> bool:
        await self.store.submit_async(lambda tx: feed.number(tx, 10_000))
        return await self.one("SELECT count(*) FROM history WHERE feed IS NULL") == 0


def _id(taken: Any) -> str:
    return job_id(taken.process_id, taken.visit)


async def gathered(*awaitables: Any) -> list[Any]:
    """Results and errors of ours, side by side."""
    results = await asyncio.gather(*awaitables, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, PenstockError):
            raise result
    return results


# -- definitions -----------------------------------------------------------------------------------------------------


def graph(code: str, nodes: dict[str, Any], *flows: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    """A definition; flows are (from, to[, members])."""
    return {"code": code, "nodes": nodes, "flows": _flows(flows), **more}


def scope(nodes: dict[str, Any], *flows: tuple[Any, ...], **more: Any) -> dict[str, Any]:
    return {"kind": "scope", "nodes": nodes, "flows": _flows(flows), **more}


def _flows(flows: tuple[tuple[Any, ...], ...]) -> list[dict[str, Any]]:
    return [{"from": flow[0], "to": flow[1], **(flow[2] if len(flow) > 2 else {})} for flow in flows]


def job(topic: str, **more: Any) -> dict[str, Any]:
    return {"kind": "job", "topic": topic, **more}


ONCE = {"max_attempts": 1}
"""A retry policy without retries."""
