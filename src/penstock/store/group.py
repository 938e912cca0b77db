"""A group: the units of one transaction and what they share until its commit. `writer` decides when there is one.

Also what outlives a group on the writer's thread: the cache of decoded objects, the block of keys, the counters.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from penstock.errors import Defect, PenstockError
from penstock.store.database import Begun, Connection, Fetched, Wanted
from penstock.store.fairness import turn
from penstock.store.rows import (
    DEFINITION_VALUES,
    MISSING,
    PROCESSES,
    Key,
    Op,
    Ops,
    Row,
    Rows,
    Statement,
    Tx,
    Writes,
    _Missing,
    definition_key,
    merge,
)
from penstock.store.tables import ID_BLOCK
from penstock.telemetry.activity import CURRENT, PROCESS
from penstock.telemetry.figures import COMMITS, UNITS, Histogram
from penstock.telemetry.tracing import Span

Answer = tuple["Unit", Any, BaseException | None]
Wants = Sequence[tuple[Rows, Key]]
"""Rows a unit will read by key: those of a group are fetched at once when it begins."""
_NONE: Ops = {}
_GENERATION = "SELECT value FROM meta WHERE key = 'generation'"


class Unit:
    """A function that waits for its turn, and who waits for its result."""

    __slots__ = (
        "activity", "answered", "fn", "future", "held_since", "keys", "loop", "low", "span", "started", "turn", "wants",
    )  # fmt: skip

    def __init__(
        self, fn: Callable[[Tx], Any], keys: Sequence[int], future: Any, loop: Any, wants: Wants = (), *, low: bool
    ) -> None:
        self.fn = fn
        self.keys = keys
        self.wants = wants
        self.low = low
        self.turn = turn.get()
        """Whose share of the writer it uses up."""
        self.future: Any = future
        self.loop: asyncio.AbstractEventLoop | None = loop
        self.held_since = 0.0
        self.started = False
        self.answered = False
        """It has its result, or nobody waits for one."""
        self.activity = CURRENT.get()
        """On whose behalf it runs: the writer's thread takes it over for its log lines and spans."""
        above = None if self.activity is None else self.activity.span
        self.span: Span | None = None if above is None else above.child("unit")

    def done(self, error: BaseException | None) -> None:
        """It has its answer: its span ends here, commit and all."""
        if self.span is not None:
            if error is not None:
                self.span.fail(type(error).__name__)
            self.span.end()

    def begins(self) -> bool:
        """False when nobody waits any more."""
        if not self.started:
            if self.loop is not None:
                self.started = not self.future.cancelled()
            else:
                self.started = bool(self.future.set_running_or_notify_cancel())
            if not self.started:
                self.answered = True
        return self.started

    def unnamed(self, writes: Writes) -> str:
        """What it changes and has not named: nothing would hold it on PostgreSQL. "" when all is named."""
        # those it makes nobody else knows yet
        for key, op in writes.get(PROCESSES, _NONE).items():
            if type(op) is dict and key[0] not in self.keys:
                return "a process"
        for key in writes.get(DEFINITION_VALUES, _NONE):
            if definition_key(key[0]) not in self.keys:
                return "the values of a definition"
        return ""


class Failed(Exception):
    """The group cannot go on; `error` is why."""

    def __init__(self, error: PenstockError) -> None:
        super().__init__(str(error))
        self.error = error


class Stats:
    """Counters since the start, for metrics. Written by the writer's thread alone."""

    __slots__ = (
        "commit_ns", "commits", "deferred", "failed_groups", "flush_ns", "groups", "low_units", "reconnects", "rows", "sizes",
        "statements", "unit_ns", "units",
    )  # fmt: skip

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)
        self.sizes = Histogram(UNITS)
        self.commits = Histogram(COMMITS)

    groups: int
    """Transactions committed."""
    units: int
    """Units answered, well or not."""
    low_units: int
    """Those of them in the low lane."""
    sizes: Histogram
    """Units in a group, of groups that were committed."""
    commits: Histogram
    """Seconds of the last flush and the COMMIT, of groups that wrote something."""
    rows: int
    """Rows flushed."""
    statements: int
    failed_groups: int
    """Groups rolled back and run again one by one."""
    deferred: int
    """Units put back because another node held their process."""
    reconnects: int
    unit_ns: int
    """Time spent in units."""
    flush_ns: int
    """Time spent in flushes that a read forced before the group's end."""
    commit_ns: int
    """Time spent in the last flush and the COMMIT."""

    def as_dict(self) -> dict[str, int]:
        numbers = {name: getattr(self, name) for name in self.__slots__}
        return {name: value for name, value in numbers.items() if isinstance(value, int)}


class Cache:
    """Decoded objects of committed groups, the least recently used first to go. The writer's thread alone uses it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._objects: OrderedDict[tuple[str, Any], object] = OrderedDict()

    def get(self, name: tuple[str, Any]) -> object | None:
        found = self._objects.get(name)
        if found is not None:
            self._objects.move_to_end(name)
        return found

    def update(self, objects: dict[tuple[str, Any], object | None]) -> None:
        for name, value in objects.items():
            if value is None:
                self._objects.pop(name, None)
            else:
                self._objects[name] = value
                self._objects.move_to_end(name)
        while len(self._objects) > self._limit:
            self._objects.popitem(last=False)


class Ids:
    """Integer keys from a block; blocks taken in a transaction that was rolled back are taken again."""

    def __init__(self) -> None:
        self._next = self._end = 0
        self._fresh = False

    def next(self, connection: Connection) -> int:
        if self._next >= self._end:
            self._next = connection.id_block()
            self._end = self._next + ID_BLOCK
            self._fresh = True
        found = self._next
        self._next += 1
        return found

    def settled(self, *, committed: bool) -> None:
        if self._fresh and not committed:
            self._next = self._end = 0
        self._fresh = False


class Kept:
    """What outlives a group. The writer's thread alone uses it."""

    __slots__ = ("cache", "connection", "ids", "node", "stats")

    def __init__(self, connection: Connection, node: str, cache_objects: int) -> None:
        self.connection = connection
        self.node = node
        self.cache = Cache(cache_objects)
        self.ids = Ids()
        self.stats = Stats()


class Group:
    """The units of one transaction, and what they have written and not yet flushed."""

    def __init__(self, kept: Kept, begun: Begun) -> None:
        self.now = begun.now
        self.node = kept.node
        self.locked = begun.locked
        self.generation = begun.generation
        self._fetched: Fetched = begun.fetched
        self.sole_writer = not kept.connection.shared
        self.writes: Writes = {}
        self.objects: dict[tuple[str, Any], object | None] = {}
        self.callbacks: list[Callable[[], object]] = []
        self.notices: list[str] = []
        self.answers: list[tuple[Unit, Any, BaseException | None]] = []
        self.failure: PenstockError | None = None
        self._written = False
        """The unit that runs now has written past its buffer."""
        self._kept = kept
        self._connection = kept.connection

    # --- running ---

    def run(self, unit: Unit) -> None:
        """Raises: Failed."""
        tx = Tx(self)
        tx.span = unit.span
        CURRENT.set(unit.activity)
        PROCESS.set("")
        self._written = False
        try:
            result = unit.fn(tx)
        except BaseException as exc:
            if self.failure is not None:
                raise Failed(self.failure) from exc
            self.answers.append((unit, None, _for_a_future(exc)))
            if self._written:
                raise Failed(Defect("a unit raised after it had written")) from exc
            return
        if self.failure is not None:
            raise Failed(self.failure)
        writes, objects = tx.take()
        if writes:
            if unnamed := unit.unnamed(writes):
                error = Defect(f"a unit changes {unnamed} not among its keys: nothing holds it on PostgreSQL")
                self.answers.append((unit, None, error))
                return
            merge(self.writes, writes)
        if objects:
            self.objects.update(objects)
        if tx.callbacks:
            self.callbacks += tx.callbacks
        if tx.notices:
            self.notices += tx.notices
        self.answers.append((unit, result, None))

    # --- what a Tx asks ---

    def get(self, rows: Rows, key: Key) -> Row | None:
        ops = self.writes.get(rows)
        op: Op | _Missing = MISSING if ops is None else ops.get(key, MISSING)
        if op is MISSING:
            return self._base(rows, key)
        if type(op) is dict:
            row = self._base(rows, key)
            return None if row is None else rows.patched(row, op)
        return op  # type: ignore[return-value]  # a tuple or None is left

    def _base(self, rows: Rows, key: Key) -> Row | None:
        if rows is PROCESSES and key[0] in self.locked:
            return self.locked[key[0]]
        fetched = self._fetched.get(rows)
        if fetched is not None and key in fetched:
            return fetched[key]
        try:
            row = self._connection.get(rows, key)
        except Exception as exc:
            raise self._fail(exc) from exc
        if self._holds(rows, key):
            self._fetched.setdefault(rows, {})[key] = row
        return row

    def _holds(self, rows: Rows, key: Key) -> bool:
        """Whether a row is as it is until the commit, but for what this group does: its process or definition is held."""
        if self.sole_writer:
            return True
        column = rows.key[0]
        return (column == "pid" and key[0] in self.locked) or (
            column == "did" and definition_key(key[0]) in self.locked
        )

    def select(self, statement: Statement, params: Any) -> list[Row]:
        try:
            return self._connection.select(statement, params)
        except Exception as exc:
            raise self._fail(exc) from exc

    def execute(self, statement: Statement, params: Any) -> int:
        self._written = True
        self.locked.clear()  # the rows may change behind it; the locks stay
        self._fetched.clear()
        try:
            return self._connection.execute(statement, params)
        except Exception as exc:
            raise self._fail(exc) from exc

    def returning(self, statement: Statement, params: Any) -> list[Row]:
        self._written = True
        self.locked.clear()
        self._fetched.clear()
        try:
            return self._connection.returning(statement, params)
        except Exception as exc:
            raise self._fail(exc) from exc

    def settle(self, own: Writes, of: Sequence[Rows] | None) -> None:
        """Write out what the group and the unit have buffered, all or of the tables named."""
        if own:
            self._written = True
            merge(self.writes, own)
        writes = self.writes
        if of is None:
            self.writes = {}
        else:
            writes = {rows: writes.pop(rows) for rows in of if rows in writes}
        if not writes:
            return
        started = time.perf_counter_ns()
        processes = writes.get(PROCESSES)
        if processes and self.locked:
            for key, op in processes.items():
                self._relock(key, op)
        for rows in writes:
            self._fetched.pop(rows, None)
        self._count(writes)
        try:
            self._connection.flush(writes)
        except Exception as exc:
            raise self._fail(exc) from exc
        self._kept.stats.flush_ns += time.perf_counter_ns() - started

    def _relock(self, key: Key, op: Op) -> None:
        row = self.locked.pop(key[0], None)
        if type(op) is tuple:
            self.locked[key[0]] = op
        elif type(op) is dict and row is not None:
            self.locked[key[0]] = PROCESSES.patched(row, op)

    def _count(self, writes: Writes) -> None:
        self._kept.stats.rows += sum(map(len, writes.values()))

    def learn(self, rows: Rows, row: Row) -> None:
        self._fetched.setdefault(rows, {})[row[: rows.keyed]] = row

    def reconfigured(self) -> None:
        self._written = True
        try:
            self.generation = self._connection.reconfigured()
        except Exception as exc:
            raise self._fail(exc) from exc

    def reread(self) -> None:
        found = self.select(_GENERATION, ())
        self.generation = int(found[0][0]) if found else 0

    def next_id(self) -> int:
        try:
            return self._kept.ids.next(self._connection)
        except Exception as exc:
            raise self._fail(exc) from exc

    def cached(self, name: tuple[str, Any]) -> object | None:
        if name in self.objects:
            return self.objects[name]
        return self._kept.cache.get(name)

    def _fail(self, exc: Exception) -> PenstockError:
        """A statement failed: so has the group, whatever the unit does with the error."""
        self.failure = ours(exc, self._connection)
        return self.failure

    # --- the end ---

    def commit(self) -> None:
        """Raises: the driver's errors."""
        if not self.writes and not self.notices and not self._connection.dirty:
            self._connection.rollback()  # only read: no number, no disk
            return
        started = time.perf_counter_ns()
        self._count(self.writes)
        self._connection.commit(self.writes, self.notices)
        took = time.perf_counter_ns() - started
        self._kept.stats.commit_ns += took
        self._kept.stats.commits.observe(took / 1e9)


def ours(exc: BaseException, connection: Connection) -> PenstockError:
    """Any exception as one of ours."""
    if isinstance(exc, PenstockError):
        return exc
    return connection.error(exc) or Defect(f"{type(exc).__name__}: {exc}")


def _for_a_future(exc: BaseException) -> Exception:
    """What a future may carry: these would end an event loop or a generator instead."""
    if isinstance(exc, Exception) and not isinstance(exc, StopIteration):
        return exc
    return Defect(f"a unit raised {exc!r}")


def wanted(units: Sequence[Unit]) -> Wanted:
    """What the units of a group will read, by table."""
    found: dict[Rows, dict[Key, None]] = {}
    for unit in units:
        for rows, key in unit.wants:
            found.setdefault(rows, {})[key] = None
    return {rows: list(keys) for rows, keys in found.items()}
