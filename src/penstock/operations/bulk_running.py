"""Carries bulk operations out: a chunk at a time in the low lane, each process in a unit of its own.

Theory of operation
  One node carries an operation; it holds a lease, renewed with each chunk, and another node goes on when it runs out. A
  chunk is the next processes of the filter, oldest first, or of the ids, behind the operation's cursor. The unit of a
  process commands it and writes what came of it under the operation's and the process's number, in one commit. A process
  that has such a row is not commanded again: not after `kill -9`, and not by a node that has taken over while the first
  one was only slow, for both must hold the process. When all of a chunk have their rows, the cursor moves behind it.
  The creator's rights are asked anew for each chunk, and checked for each process.
  What goes wrong with one process is noted as its failure: at once, or after `TRIES` where it may go better later. An
  operation that fails itself goes behind the others that wait, and ends after `TRIES` without a chunk closed. Tries are
  counted in memory: a node that starts again begins anew.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from typing import Any, NamedTuple

from penstock.core import codec
from penstock.core.requests import Filter
from penstock.errors import Defect, Forbidden, Invalid, NotFound, PenstockError, Unavailable, WrongState
from penstock.identity.model import Actor
from penstock.identity.policy import Action
from penstock.operations import bulk, commands, sight
from penstock.operations.context import Context, own
from penstock.operations.people import actor_of
from penstock.store import Read, bulks, journal, listing, lookups, people, processes, retention
from penstock.store.held import Held
from penstock.store.rows import Tx

log = logging.getLogger(__name__)

CHUNK = 32
"""Processes whose units wait at the same time."""
LEASE = 30_000
"""Milliseconds after which another node takes an operation over."""
EVERY = 2.0
"""Seconds between looks for an operation nobody carries."""
LOOKING = 20.0
"""Seconds a look for the next processes may take: less than the lease, or nodes would take the operation from each other for ever."""
TRIES = 10
"""Of one process, or of an operation without a chunk closed, until it is given up."""
PAUSE = 0.5
"""Seconds to wait for a database that has no time."""
GIVEN_UP = "the look for its next processes takes too long, or fails; the log has it"


class _LostError(Exception):
    """The operation has ended, or another node carries it."""


class _One(NamedTuple):
    """A process of a chunk: its number in the operation, and its own; 0: there is none of this id."""

    n: int
    id: str
    pid: int


class BulkRunner:
    """One node's part in bulk operations. `run` until cancelled."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._store = ctx.store
        self._soon = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._failures: Counter[tuple[int, int | None]] = Counter()
        """Of processes by operation and number, None: of the operation itself; until its chunk is closed."""
        ctx.store.listen(self._heard)

    def _heard(self, payloads: list[str]) -> None:
        """On some thread of the store."""
        if bulk.NOTICE in payloads and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is going down
                self._loop.call_soon_threadsafe(self._soon.set)

    async def run(self) -> None:
        """Carry out what is there, one operation after the other."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._soon.clear()
            row: bulks.Row | None = None
            try:
                row = await self._submit(lambda tx: bulks.take(tx, LEASE))
                if row is not None:
                    await self._carry(row)
                    self._forget(row)
                    continue
            except _LostError:
                self._forget(row)
                continue
            except Unavailable as error:
                log.warning("bulk operations wait for the database: %s", error.message)
                if row is not None and error.details.get("late"):
                    self._failures[row.bid, None] += 1
                await asyncio.sleep(PAUSE)
            except Exception:
                log.exception("bulk operations met an error and go on")
                if row is not None:
                    self._failures[row.bid, None] += 1
                await asyncio.sleep(EVERY)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), EVERY)

    def _forget(self, row: bulks.Row | None) -> None:
        """It has moved on, or is not ours any more."""
        for key in [key for key in self._failures if row is not None and key[0] == row.bid]:
            del self._failures[key]

    async def _submit(self, unit: Any, keys: tuple[int, ...] = ()) -> Any:
        return await self._store.submit_async(unit, keys, low=True)

    # -- an operation ----------------------------------------------------------------------------------------------------

    async def _carry(self, row: bulks.Row) -> None:
        """Raises: _LostError, Unavailable; the operation is then taken up again."""
        # here and not where it fails: the operation is surely ours only now
        if self._failures[row.bid, None] >= TRIES:
            await self._end(row, bulks.FAILED, f"given up after {TRIES} tries: {GIVEN_UP}")
            return
        wanted = bulk.request_of(row)
        cursor = codec.decode_json(row.cursor)
        if row.total is None:
            await self._count(row, wanted)
        while True:
            actor = await self._actor(row)
            if actor is None:
                await self._end(row, bulks.FAILED, f"{row.created_by} may not act any more")
                return
            chunk, behind = await self._chunk(row, wanted, actor, cursor)
            if not chunk:
                await self._end(row, bulks.FINISHED)
                return
            one = _Carrier(self._ctx, actor, row, wanted)
            results = await asyncio.gather(*(self._deal(one, each) for each in chunk), return_exceptions=True)
            for error in results:
                if isinstance(error, BaseException):
                    raise error
            await self._submit(lambda tx, to=behind: self._close(tx, row.bid, to))
            self._forget(row)
            cursor = behind

    def _close(self, tx: Tx, bid: int, cursor: Any) -> None:
        row = bulks.carried(tx, bid)
        if row is None:
            raise _LostError
        bulks.close_chunk(tx, row, cursor, LEASE)

    async def _end(self, row: bulks.Row, state: str, message: str | None = None) -> None:
        def unit(tx: Tx) -> None:
            now = bulks.carried(tx, row.bid)
            if now is None:
                raise _LostError
            bulks.end(tx, row.bid, state, message)
            counts = {"command": row.command, "done": now.done, "failed": now.failed, "skipped": now.skipped}
            journal.record(tx, row.tid, row.created_by, "bulk.ended", "bulk", row.id, {"state": state, **counts})

        await self._submit(unit)

    async def _count(self, row: bulks.Row, wanted: bulk.NewBulk) -> None:
        """How many there are to be of those the creator may see, where that is soon known."""
        actor = await self._actor(row)
        if actor is None:
            return
        filter_ = _of_operation(row, wanted)._replace(viewer=sight.viewer_of(actor))
        try:
            total = await self._store.async_read(lambda read: listing.count(read, row.tid, filter_), limit=5)
        except Unavailable:
            return
        await self._submit(lambda tx: bulks.expect(tx, row.bid, total))

    async def _actor(self, row: bulks.Row) -> Actor | None:
        """Who began it, as they are now."""
        found = await self._store.async_read(lambda read: people.named(read, row.tid, row.created_by))
        return None if found is None or found.disabled else actor_of(found)

    async def _chunk(self, row: bulks.Row, wanted: bulk.NewBulk, actor: Actor, cursor: Any) -> tuple[list[_One], Any]:
        """The next processes, and the cursor behind them."""
        if wanted.filter is None:
            first = cursor or 0
            ids = wanted.ids[first : first + CHUNK]

            def known(read: Read) -> list[_One]:
                return [_One(first + at, id, lookups.pid(read, row.tid, id) or 0) for at, id in enumerate(ids)]

            return await self._store.async_read(known), first + len(ids)
        filter_ = _of_operation(row, wanted)._replace(viewer=sight.viewer_of(actor))

        def found(read: Read) -> tuple[list[_One], Any]:
            page = listing.page(read, row.tid, filter_, cursor, CHUNK)
            rows = lookups.processes(read, [each.pid for each in page])
            return [_One(each.pid, each.id, each.pid) for each in rows], list(page[-1].position) if page else None

        return await self._store.async_read(found, limit=LOOKING)

    async def _deal(self, carrier: _Carrier, one: _One) -> None:
        """One process: command it, or note why not. Raises: _LostError, Unavailable."""
        keys = (one.pid,) if one.pid else ()
        try:
            await self._submit(lambda tx: carrier.command(tx, one), keys)
        except _LostError:
            raise
        except Exception as error:
            if isinstance(error, Unavailable):
                self._failures[carrier.row.bid, one.n] += 1
                if self._failures[carrier.row.bid, one.n] < TRIES:
                    raise
            elif isinstance(error, Defect) or not isinstance(error, PenstockError):
                log.exception("bulk operation %s: process %s", carrier.row.id, one.id)
            outcome, data = _refusal(error)
            await self._submit(lambda tx: carrier.note(tx, one, outcome, data), keys)


class _Carrier:
    """What is done to each process of an operation, in the open transaction."""

    def __init__(self, ctx: Context, actor: Actor, row: bulks.Row, wanted: bulk.NewBulk) -> None:
        self.row = row
        self._ctx = ctx
        self._actor = actor
        self._wanted = wanted
        self._states = bulk.legal(wanted.command)
        self._do = bulk.deed(ctx, actor, wanted)

    def _fresh(self, tx: Tx, one: _One) -> bool:
        """Whether the process has still to be dealt with. Raises: _LostError."""
        if bulks.carried(tx, self.row.bid) is None:
            raise _LostError
        return bulks.outcome(tx, self.row.bid, one.n) is None

    def note(self, tx: Tx, one: _One, outcome: str, data: dict[str, Any]) -> None:
        """What came of a process without a command."""
        if self._fresh(tx, one):
            bulks.put(tx, self.row.bid, one.n, one.id, outcome, data)

    def command(self, tx: Tx, one: _One) -> None:
        """Raises: _LostError, and what the command raises; nothing is written then."""
        if not self._fresh(tx, one):
            return
        held = own(processes.load(tx, one.pid) if one.pid else None, self._actor, one.id)
        action = Action.PROCESS_DELETE if self._wanted.command == "delete" else Action.PROCESS_CONTROL
        commands.require_control(tx, self._actor, held, action)
        status = held.process.status
        if status not in self._states:
            raise WrongState(f"cannot {self._wanted.command}: the process is {status}")
        if self._wanted.filter is not None and status not in self._wanted.filter.statuses:
            raise WrongState(f"it is {status} by now, which the filter leaves out")
        bulks.put(tx, self.row.bid, one.n, one.id, bulks.DONE, self._act(tx, held))

    def _act(self, tx: Tx, held: Held) -> dict[str, Any]:
        """Do it; answers what its report has beside the outcome."""
        dry_run, given = bool(self.row.dry_run), self._wanted.arguments
        if self._wanted.command == "migrate":
            return self._migrate(tx, held, dry_run=dry_run)
        if dry_run:
            return {}
        if self._wanted.command == "signal":
            commands.signal(self._ctx, given["name"], given.get("key"), given.get("payload"))(tx, held)
        elif self._wanted.command == "delete":
            # not which one: its id would allow guesses at what its seals' digests cover
            journal.record(
                *(tx, held.tid, self._actor.principal, "process.deleted", "bulk", self.row.id),
                {"definition": held.version.code},
            )
            if not retention.remove(tx, [held.pid]):
                raise Unavailable("what happened to the process is not sealed yet", retry_after=1)
            tx.after_commit(lambda: self._ctx.forget(held.tid, held.process_id))
        else:
            assert self._do is not None
            self._do(tx, held)
        return {}

    def _migrate(self, tx: Tx, held: Held, *, dry_run: bool) -> dict[str, Any]:
        given = self._wanted.arguments
        if held.number == given["version"]:
            raise WrongState(f"the process is at version {held.number}")
        move = commands.migrate(self._ctx, self._actor, given["version"], given.get("mapping", {}), dry_run=dry_run)
        _, moves, problems = move(tx, held)
        if problems:
            raise Invalid("the process cannot be moved", problems)
        return {"moves": moves} if dry_run else {}


def _of_operation(row: bulks.Row, wanted: bulk.NewBulk) -> Filter:
    """What was there when the operation began, to the millisecond."""
    assert wanted.filter is not None
    asked, began = wanted.filter, row.created_at + 1
    latest = began if asked.created_to is None else min(began, asked.created_to)
    return asked._replace(created_to=latest)


def _refusal(error: Exception) -> tuple[str, dict[str, Any]]:
    """Of a process that is not there, or not in a state for the command, nothing is wrong."""
    if not isinstance(error, PenstockError):
        error = Defect(str(error))
    skipped = isinstance(error, WrongState | NotFound)
    problems = [problem._asdict() for problem in error.problems] if isinstance(error, Invalid) else []
    message = "internal error; the log has it" if isinstance(error, Defect) else error.message
    code = "forbidden" if isinstance(error, Forbidden) else error.code
    data = {"code": code, "detail": message, "problems": problems}
    return (bulks.SKIPPED if skipped else bulks.REFUSED), data
