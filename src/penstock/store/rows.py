"""Hot rows: what a unit reads and writes by key. One `Rows` a table, and `Tx`, the unit's own buffer.

A row is a plain tuple in the order of the table's columns, its key the first of them. A unit's writes stay in its
buffer until the unit returns; then they join the group's, which is flushed by table when the group ends. For each
key the last word wins, so the order of the flush inside a table never matters. SQL text is made by the two drivers
(`sqlite`, `postgres`), decisions about groups by `writer`; here is neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from sqlalchemy import BigInteger, SmallInteger, Table
from sqlalchemy.sql.expression import Executable

from penstock.errors import Defect
from penstock.store import tables

Statement = str | Executable
"""SQLAlchemy Core, with a mapping of parameters; or SQL text with `?`, with a sequence of them."""
Row = tuple[Any, ...]
Key = tuple[Any, ...]
Patch = dict[str, Any]
Op = Row | Patch | None
"""What a buffer holds for a key: the whole row (put), some columns (patch), or None (delete)."""
Ops = dict[Any, Op]
Writes = dict["Rows", Ops]


class _Missing:
    """Type of `MISSING`: the buffer says nothing about a key (None says the row is deleted)."""


MISSING: Final = _Missing()


class Rows:
    """One table as the hot path sees it."""

    __slots__ = ("append", "columns", "index", "integers", "key", "keyed", "name", "serial", "width")

    def __init__(self, table: Table, *, append: bool = False) -> None:
        """`append`: rows are only ever added, so a second row of the same key is an error and not an update."""
        self.name = table.name
        self.columns: tuple[str, ...] = tuple(column.name for column in table.columns)
        self.key: tuple[str, ...] = tuple(column.name for column in table.primary_key)
        self.keyed = len(self.key)
        self.width = len(self.columns)
        self.index = {column: i for i, column in enumerate(self.columns)}
        self.integers = frozenset(c.name for c in table.columns if isinstance(c.type, BigInteger | SmallInteger))
        self.serial = table.primary_key.columns[0].identity is not None
        """The database gives the key at the flush; such a row is put with None for its key."""
        self.append = append
        assert self.columns[: self.keyed] == self.key, f"{self.name}: the key is not its first columns"

    def __repr__(self) -> str:
        return f"<rows of {self.name}>"

    def patched(self, row: Row, patch: Patch) -> Row:
        changed = list(row)
        index = self.index
        for column, value in patch.items():
            changed[index[column]] = value
        return tuple(changed)


META = Rows(tables.meta)
NODES = Rows(tables.nodes)
TENANTS = Rows(tables.tenants)
APPLICATIONS = Rows(tables.applications)
USERS = Rows(tables.users)
GROUPS = Rows(tables.groups)
MEMBERSHIPS = Rows(tables.memberships)
TOKENS = Rows(tables.tokens)
SIGNING_KEYS = Rows(tables.signing_keys)
ACCESS_KEYS = Rows(tables.access_keys)
DEFINITIONS = Rows(tables.definitions)
VERSIONS = Rows(tables.versions)
DEFINITION_GRANTS = Rows(tables.definition_grants)
DECISIONS = Rows(tables.decisions)
PROCESSES = Rows(tables.processes)
SEARCH = Rows(tables.search)
DATA = Rows(tables.data)
SCOPES = Rows(tables.scopes)
VISITS = Rows(tables.visits)
JOBS = Rows(tables.jobs)
ITEMS = Rows(tables.items)
ITEM_GRANTS = Rows(tables.item_grants)
DRAFTS = Rows(tables.drafts)
ITEM_LOG = Rows(tables.item_log, append=True)
POSTS = Rows(tables.posts)
TIMERS = Rows(tables.timers)
SUBSCRIPTIONS = Rows(tables.subscriptions)
MESSAGES = Rows(tables.messages)
INBOX = Rows(tables.inbox)
RECEIVERS = Rows(tables.receivers)
OUTBOX = Rows(tables.outbox)
HISTORY = Rows(tables.history, append=True)
"""Append-only: two writers that number the same step meet here at the latest (AlreadyExists)."""
JOURNAL = Rows(tables.journal, append=True)
SEALS = Rows(tables.seals, append=True)
IDEMPOTENCY = Rows(tables.idempotency, append=True)
DOCUMENTS = Rows(tables.documents)
DOCUMENT_LINKS = Rows(tables.document_links)
PROCESS_VALUES = Rows(tables.process_values)
DEFINITION_VALUES = Rows(tables.definition_values)
SCHEDULES = Rows(tables.schedules)
SECRETS = Rows(tables.secrets)
CONNECTIONS = Rows(tables.connections)


def definition_key(did: int) -> int:
    """What a unit names as its key when it changes values of a definition: numbers of processes are positive."""
    return -did


BULKS = Rows(tables.bulks)
BULK_RESULTS = Rows(tables.bulk_results)


def merge(into: Writes, own: Writes) -> None:
    """Let a unit's writes join its group's; the unit's are given away."""
    for rows, ops in own.items():
        before = into.get(rows)
        if before is None:
            into[rows] = ops
            continue
        for key, op in ops.items():
            if type(op) is dict:
                patch(before, rows, key, op)
            else:
                before[key] = op


def patch(ops: Ops, rows: Rows, key: Key, change: Patch) -> None:
    """Change some columns of a row the buffer may know already."""
    before = ops.get(key, MISSING)
    if before is MISSING:
        ops[key] = change
    elif type(before) is tuple:
        ops[key] = rows.patched(before, change)
    elif type(before) is dict:
        ops[key] = {**before, **change}
    # else the row is deleted, and changing what is not there changes nothing, as in SQL


class Shared(Protocol):
    """What a unit's `Tx` asks of its group."""

    now: int
    node: str
    sole_writer: bool
    locked: dict[int, Row]
    generation: int

    def get(self, rows: Rows, key: Key) -> Row | None: ...
    def select(self, statement: Statement, params: Any) -> list[Row]: ...
    def execute(self, statement: Statement, params: Any) -> int: ...
    def returning(self, statement: Statement, params: Any) -> list[Row]: ...
    def settle(self, own: Writes, of: Sequence[Rows] | None) -> None:
        """Write out what the group and the unit have buffered, all or of the tables named."""
        ...

    def learn(self, rows: Rows, row: Row) -> None: ...
    def reconfigured(self) -> None: ...
    def reread(self) -> None: ...
    def next_id(self) -> int: ...
    def cached(self, name: tuple[str, Any]) -> object | None: ...


class Tx:
    """What a unit works with, valid while the unit runs.

    A driver's error inside it comes out as one of `penstock.errors` and ends the unit, whatever the unit does with
    it: on PostgreSQL the transaction is gone by then.
    """

    __slots__ = ("_group", "_objects", "_writes", "callbacks", "locked", "node", "notices", "now", "sole_writer")

    def __init__(self, group: Shared) -> None:
        self._group = group
        self._writes: Writes = {}
        self._objects: dict[tuple[str, Any], object | None] = {}
        self.callbacks: list[Callable[[], object]] = []
        self.notices: list[str] = []
        self.now: int = group.now
        """The database's clock in milliseconds, read once a group."""
        self.node: str = group.node
        self.sole_writer: bool = group.sole_writer
        """SQLite: nobody else writes to this database, so what was cached and committed is still so."""
        self.locked: Mapping[int, Row] = group.locked
        """PostgreSQL: the processes rows this group holds, by pid, and whatever of definitions it holds, by
        `definition_key`. Empty on SQLite, where a group holds everything.
        """

    # --- rows by key ---

    def put(self, rows: Rows, row: Row) -> None:
        """Write a whole row, new or not. A serial row is put with None for its key."""
        if len(row) != rows.width:
            raise Defect(f"a row of {rows.name} has {rows.width} columns, not {len(row)}")
        if type(row) is not tuple:
            row = tuple(row)  # a named one: the flush tells rows from patches by their type
        ops = self._writes.get(rows)
        if ops is None:
            ops = self._writes[rows] = {}
        if rows.serial and row[0] is None:
            ops[object()] = row
        else:
            ops[row[: rows.keyed]] = row

    def patch(self, rows: Rows, key: Key, change: Patch) -> None:
        """Change some columns of a row; a row that is not there is left alone."""
        for column in change:
            if rows.index.get(column, -1) < rows.keyed:
                raise Defect(f"{rows.name}.{column} is not a column that can be changed")
        ops = self._writes.get(rows)
        if ops is None:
            ops = self._writes[rows] = {}
        patch(ops, rows, key, dict(change))

    def delete(self, rows: Rows, key: Key) -> None:
        ops = self._writes.get(rows)
        if ops is None:
            ops = self._writes[rows] = {}
        ops[key] = None

    def get(self, rows: Rows, key: Key) -> Row | None:
        """The row as this unit would leave it: its own buffer, the group's, then the database."""
        ops = self._writes.get(rows)
        op: Op | _Missing = MISSING if ops is None else ops.get(key, MISSING)
        if op is MISSING:
            return self._group.get(rows, key)
        if type(op) is dict:
            row = self._group.get(rows, key)
            return None if row is None else rows.patched(row, op)
        return op  # type: ignore[return-value]  # a tuple or None is left

    def learn(self, rows: Rows, row: Row) -> None:
        """A row that a `select` brought along, whole: `get` need not ask for it again.

        On PostgreSQL the statement must have locked it, or its process.
        """
        self._group.learn(rows, row)

    # --- anything else ---

    def select(self, statement: Statement, params: Any = (), *, of: Sequence[Rows] | None = None) -> list[Row]:
        """Any other read. What is buffered is written first: of all tables, or of those that `of` names.

        A unit that has written first this way and raises later costs its whole group a second run.
        """
        self._settle(of)
        return self._group.select(statement, params)

    def execute(self, statement: Statement, params: Any = ()) -> int:
        """A write by condition; returns how many rows it met. The rule of `select` holds."""
        self._settle(None)
        return self._group.execute(statement, params)

    def returning(self, statement: Statement, params: Any = ()) -> list[Row]:
        """A write by condition that answers rows. The rule of `select` holds."""
        self._settle(None)
        return self._group.returning(statement, params)

    def _settle(self, of: Sequence[Rows] | None) -> None:
        own = self._writes
        if of is not None:
            own = {rows: own.pop(rows) for rows in of if rows in own}
        else:
            self._writes = {}
        self._group.settle(own, of)

    # --- keys ---

    def next_id(self, rows: Rows) -> int:
        """A new integer key. They rise on one node; gaps are normal."""
        if rows.serial:
            raise Defect(f"the database numbers the rows of {rows.name}: put them with None for their key")
        return self._group.next_id()

    def next_pid(self) -> int:
        return self._group.next_id()

    # --- decoded objects ---

    def cached(self, kind: str, key: Any) -> Any:
        """The object this unit, its group or an earlier, committed group has kept; None when there is none.

        On PostgreSQL another node may have moved on since: compare with the row before trusting it.
        """
        name = (kind, key)
        if name in self._objects:
            return self._objects[name]
        return self._group.cached(name)

    def cache(self, kind: str, key: Any, value: object) -> None:
        """Keep an object: for this unit now, for its group if the unit returns, for later ones if it commits."""
        self._objects[(kind, key)] = value

    def uncache(self, kind: str, key: Any) -> None:
        self._objects[(kind, key)] = None

    # --- what hardly ever changes ---

    def recalled(self, kind: str, key: Any) -> Any:
        """What `recall_later` has kept, on this node, since any node last said `reconfigured`; None when nothing."""
        return self.cached(kind, (self._group.generation, key))

    def recall_later(self, kind: str, key: Any, value: object) -> None:
        """Keep what was read of definitions, receivers and the like. None is not kept."""
        self.cache(kind, (self._group.generation, key), value)

    def reconfigured(self) -> None:
        """To be said by whoever changes what others recall: from here on nobody does, on no node."""
        self._group.reconfigured()

    def reread(self) -> None:
        """To be said after a wait for a lock: what another node has changed meanwhile is recalled no more."""
        self._group.reread()

    # --- after the commit ---

    def after_commit(self, callback: Callable[[], object]) -> None:
        """Run on the writer's thread once the group is on disk; must be short and must not raise."""
        self.callbacks.append(callback)

    def notify(self, payload: str) -> None:
        """Tell every node's listener, after the commit; equal payloads of a group are one."""
        self.notices.append(payload)

    # --- for the group ---

    def take(self) -> tuple[Writes, dict[tuple[str, Any], object | None]]:
        """Hand over what the unit has left: its writes and its objects."""
        return self._writes, self._objects
