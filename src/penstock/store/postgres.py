"""PostgreSQL through psycopg 3: the writer's connection and a reader's.

A flush sends each table's rows as one JSON parameter to one prepared statement, all statements and the COMMIT in one
pipeline: one round trip, and the least work under the interpreter's lock (docs/decisions/0001-writer-thread.md).
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8Dumper
from sqlalchemy.dialects.postgresql import psycopg as dialect

from penstock.errors import AlreadyExists, Conflict, Defect, Invalid, PenstockError, TooLarge, Unavailable
from penstock.store.database import Address, Begun, Compiler, Fetched, Wanted, needs_schema, schema
from penstock.store.rows import PROCESSES, Key, Row, Rows, Statement, Writes

log = logging.getLogger(__name__)

CHANNEL = "penstock"
LARGEST = 64 << 20
"""Bytes of one statement's rows as JSON; a single row that is larger is refused."""
NOTICE_LIMIT = 7_900
"""Bytes a NOTIFY may carry."""
_SCHEMA_LOCK = 0x70656E73
"""Advisory lock of those who create the schema: nodes start at the same time."""
_FORGOTTEN = 24 * 3600 * 1000
"""Milliseconds after which a silent node's row goes."""

_dialect = dialect.dialect(paramstyle="format")  # type: ignore[no-untyped-call]
_compile = Compiler(_dialect, "%s")
_encode = msgspec.json.Encoder().encode

_CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
_GENERATION = "(SELECT value::bigint FROM meta WHERE key = 'generation')"
_BEGIN_NODE = (
    f"UPDATE nodes SET group_no = %s, seen_at = {_CLOCK} WHERE node = %s AND group_no = %s "
    f"RETURNING seen_at, coalesce({_GENERATION}, 0)"
)
_RECONFIGURED = (
    "INSERT INTO meta (key, value) VALUES ('generation', '1') ON CONFLICT (key) "
    "DO UPDATE SET value = (meta.value::bigint + 1)::text RETURNING value::bigint"
)
_INSERT_NODE = (
    f"INSERT INTO nodes (node, group_no, started_at, seen_at) SELECT %s, c * 1000, c, c FROM (SELECT {_CLOCK}) AS t(c)"
)
_LOCK = (
    f"SELECT {','.join(PROCESSES.columns)} FROM processes WHERE pid = ANY(%s) "
    "ORDER BY pid FOR NO KEY UPDATE SKIP LOCKED"
)
_THERE = "SELECT pid FROM processes WHERE pid = ANY(%s)"
_LOCK_DEFINITIONS = "SELECT -did FROM definitions WHERE did = ANY(%s) ORDER BY did FOR NO KEY UPDATE SKIP LOCKED"
_THERE_DEFINITIONS = "SELECT -did FROM definitions WHERE did = ANY(%s)"


def attach(address: Address, purpose: str) -> psycopg.Connection[Row]:
    """A new connection. Raises: the driver's errors."""
    # what the operator's address says wins; a peer that is gone is noticed within half a minute
    defaults: dict[str, Any] = {
        "connect_timeout": 5,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
        "application_name": f"penstock {purpose}",
    }
    defaults.update(conninfo_to_dict(address.url))
    connection = psycopg.connect(autocommit=True, prepare_threshold=5, **defaults)
    # one type for every int, so that a statement is prepared once and not for each mix of sizes; flags are numbers
    connection.adapters.register_dumper(int, Int8Dumper)
    connection.adapters.register_dumper(bool, Int8Dumper)
    return connection


_ERRORS: list[tuple[type[Exception] | tuple[type[Exception], ...], type[PenstockError], str]] = [
    (psycopg.errors.NotNullViolation, Defect, "PostgreSQL"),
    (psycopg.IntegrityError, Conflict, "a constraint is violated"),
    ((psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex), TooLarge, "a value is too large"),
    (psycopg.errors.QueryCanceled, Unavailable, "the statement took longer than its limit"),
    (psycopg.DataError, Invalid, "a value cannot be stored"),
    (psycopg.ProgrammingError, Defect, "PostgreSQL"),
    ((psycopg.OperationalError, psycopg.InterfaceError), Unavailable, "the database does not answer"),
    (psycopg.errors.ReadOnlySqlTransaction, Unavailable, "the database takes no writes"),
    (psycopg.Error, Defect, "PostgreSQL"),
    ((UnicodeEncodeError, OverflowError), Invalid, "a value cannot be stored"),
]
"""The first that fits counts: the narrow before the wide."""


def error(exc: BaseException) -> PenstockError | None:
    """A driver's error as ours."""
    if isinstance(exc, psycopg.errors.UniqueViolation):
        table, name = exc.diag.table_name or "", exc.diag.constraint_name
        return AlreadyExists(f"{table} has another row with the same key ({name})", table=table)
    if isinstance(exc, psycopg.errors.DeadlockDetected | psycopg.errors.SerializationFailure):
        return Unavailable("two nodes met", again=True)
    for kinds, ours, what in _ERRORS:
        if isinstance(exc, kinds):
            # the first line alone: the others quote values
            text = (exc.diag.message_primary if isinstance(exc, psycopg.Error) else None) or str(exc)
            return ours(f"{what}: {text.strip().partition(chr(10))[0]}")
    return None


class _Texts:
    """SQL text for one table, made when first used. Rows come as one JSON array of arrays, `j.a` is a row."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        columns = ",".join(_quoted(column) for column in rows.columns)
        key = ",".join(_quoted(column) for column in rows.key)
        self.get = (
            f"SELECT {columns} FROM {_quoted(rows.name)} WHERE {' AND '.join(f'{_quoted(k)}=%s' for k in rows.key)}"
        )
        values = [self._value(column, i) for i, column in enumerate(rows.columns)]
        if rows.serial:
            values[0] = f"coalesce({values[0]}, nextval(pg_get_serial_sequence('{rows.name}', '{rows.key[0]}')))"
        rest = ",".join(f"{_quoted(c)}=excluded.{_quoted(c)}" for c in rows.columns[rows.keyed :])
        self.fetch = (
            f"SELECT {','.join(f't.{_quoted(column)}' for column in rows.columns)} FROM {_quoted(rows.name)} AS t "
            f"JOIN jsonb_array_elements(%s::jsonb) AS j(a) ON {self._same(0)}"
        )
        self.put = (
            f"INSERT INTO {_quoted(rows.name)} ({columns}) SELECT {','.join(values)} "
            "FROM jsonb_array_elements(%s::jsonb) AS j(a)"
        )
        if not rows.append:
            self.put += f" ON CONFLICT ({key}) DO " + (f"UPDATE SET {rest}" if rest else "NOTHING")
        self.delete = (
            f"DELETE FROM {_quoted(rows.name)} AS t USING jsonb_array_elements(%s::jsonb) AS j(a) WHERE {self._same(0)}"
        )
        self._patches: dict[tuple[str, ...], str] = {}

    def _value(self, column: str, i: int) -> str:
        return f"(a->>{i})::bigint" if column in self.rows.integers else f"a->>{i}"

    def _same(self, start: int) -> str:
        return " AND ".join(f"t.{_quoted(k)}={self._value(k, i)}" for i, k in enumerate(self.rows.key, start))

    def patch(self, columns: tuple[str, ...]) -> str:
        """Each row: the new values, then the key."""
        text = self._patches.get(columns)
        if text is None:
            new = ",".join(f"{_quoted(column)}={self._value(column, i)}" for i, column in enumerate(columns))
            text = self._patches[columns] = (
                f"UPDATE {_quoted(self.rows.name)} AS t SET {new} "
                f"FROM jsonb_array_elements(%s::jsonb) AS j(a) WHERE {self._same(len(columns))}"
            )
        return text


def _quoted(name: str) -> str:
    return f'"{name}"'


_texts: dict[Rows, _Texts] = {}


def _text(rows: Rows) -> _Texts:
    text = _texts.get(rows)
    if text is None:
        text = _texts[rows] = _Texts(rows)
    return text


class PostgresWriter:
    """The writer's connection.

    Each group moves the number in this node's row as its first act, so the row is locked before COMMIT can be sent:
    whoever asks for the number `FOR UPDATE` on a new connection waits for the end of the old one's transaction, and
    then knows whether it was carried out.
    """

    shared = True

    def __init__(self, address: Address, node: str) -> None:
        self._address = address
        self._node = node
        self._number = 0
        self._doubt: int | None = None
        self._backend: tuple[Any, ...] | None = None
        self._open = False
        self.dirty = False
        self.statements = 0

    @property
    def lost(self) -> bool:
        return self._open and bool(self._db.closed)

    @property
    def in_doubt(self) -> bool:
        return self._doubt is not None

    @property
    def backend(self) -> int:
        """The server's process id of this connection; notices carry it."""
        return int(self._backend[0]) if self._backend else 0

    # --- connecting ---

    def open(self) -> None:
        """Raises: the driver's errors, Conflict."""
        self._use(*self._attach())
        self._create()
        self._open = True
        run = self._db.execute
        run(f"DELETE FROM nodes WHERE seen_at < {_CLOCK} - %s AND node <> %s", (_FORGOTTEN, self._node))
        # A number no earlier run under this name has used. Two programs under one name: the later one wins, the
        # earlier finds its number moved and stops writing.
        self._number = _first(
            run(
                f"{_INSERT_NODE} ON CONFLICT (node) DO UPDATE SET group_no = greatest(excluded.group_no, "
                "nodes.group_no + 1), started_at = excluded.started_at, seen_at = excluded.seen_at RETURNING group_no",
                (self._node,),
            )
        )

    def _attach(self) -> tuple[psycopg.Connection[Row], Row]:
        db = attach(self._address, f"writer {self._node}")
        db.prepared_max = 500
        for setting in (
            # indexes always: a plan made while a table was small must not stay a scan when it has grown
            "enable_seqscan=off",
            "enable_hashjoin=off",
            "enable_mergejoin=off",
            "jit=off",
            "statement_timeout='30s'",
            "lock_timeout='10s'",
            "idle_in_transaction_session_timeout='15s'",
        ):
            db.execute(f"SET {setting}".encode())
        # stronger settings of the operator (remote_apply) stay
        db.execute(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
        )
        backend = db.execute("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
        assert backend is not None
        return db, backend

    def _use(self, db: psycopg.Connection[Row], backend: Row) -> None:
        self._db, self._backend = db, backend
        self._cursor = db.cursor()
        self._node_cursor = db.cursor()
        self._lock_cursor = db.cursor()
        self._definition_cursor = db.cursor()

    def _create(self) -> None:
        run = self._db.execute
        with self._db.transaction():
            run("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            stamped = run("SELECT 1 WHERE to_regclass('alembic_version') IS NOT NULL").fetchone()
            revision = run("SELECT version_num FROM alembic_version").fetchone() if stamped else None
            needs = run("SELECT value FROM meta WHERE key = 'needs'").fetchone() if stamped else None
            if needs_schema(revision[0] if revision else None, needs[0] if needs else None, "the database"):
                for statement in schema(_compile.dialect):
                    run(statement.encode())

    def reconnect(self) -> bool:
        self._db.close()
        db, backend = self._attach()
        try:
            # the old backend may still be at work on what we sent before the connection broke
            db.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s",
                self._backend,
            )
            found = db.execute("SELECT group_no FROM nodes WHERE node = %s FOR UPDATE", (self._node,)).fetchone()
            # no row: we were silent for so long that we were forgotten, and wrote nothing
            number = found[0] if found else _first(db.execute(f"{_INSERT_NODE} RETURNING group_no", (self._node,)))
            if found and number not in (self._number, self._doubt):
                raise self._taken()
        except BaseException:
            db.close()  # not settled: the old one stays the lost one
            raise
        carried_out = self._doubt is not None and number == self._doubt
        self._number, self._doubt = number, None
        self._use(db, backend)
        return carried_out

    def _remember(self) -> None:
        """Our number is not in the database: another program took our name, or we were silent until forgotten."""
        found = self._db.execute(
            f"{_INSERT_NODE} ON CONFLICT (node) DO NOTHING RETURNING group_no", (self._node,)
        ).fetchone()
        if found is None:
            raise self._taken()
        self._number = found[0]

    def _taken(self) -> Unavailable:
        return Unavailable(f"another program runs as node {self._node!r}")

    # --- a group ---

    def begin(self, keys: list[int], wanted: Wanted) -> Begun:
        self.dirty = False
        pids = [key for key in keys if key > 0]
        dids = [-key for key in keys if key < 0]
        try:
            cursors = self._begin(pids, dids, wanted)
        except psycopg.errors.ReadOnlySqlTransaction:
            self._db.close()  # the roles of the servers have changed: connect again, by the address
            raise
        self.statements += 2 + bool(pids) + bool(dids) + len(wanted)
        noted = self._node_cursor.fetchone()
        if noted is None:
            self.rollback()
            self._remember()
            return self.begin(keys, wanted)
        locked: dict[int, Row] = {}
        if pids:
            locked.update((row[0], row) for row in self._lock_cursor.fetchall())
        if dids:
            locked.update((row[0], row) for row in self._definition_cursor.fetchall())
        fetched: Fetched = {rows: dict.fromkeys(keys) for rows, keys in wanted.items()}
        for rows, cursor in cursors:
            fetched[rows].update((row[: rows.keyed], row) for row in cursor.fetchall())
        # not there at all (a start), or there and held by another node
        held = self._there(_THERE, [pid for pid in pids if pid not in locked])
        held += self._there(_THERE_DEFINITIONS, [did for did in dids if -did not in locked])
        now, generation = noted
        return Begun(now, generation, locked, frozenset(held), fetched)

    def _there(self, statement: str, absent: list[int]) -> list[int]:
        if not absent:
            return []
        self.statements += 1
        found = self._lock_cursor.execute(statement.encode(), (absent,), prepare=True).fetchall()
        return [int(row[0]) for row in found]

    def _begin(self, pids: list[int], dids: list[int], wanted: Wanted) -> list[tuple[Rows, psycopg.Cursor[Row]]]:
        cursors: list[tuple[Rows, psycopg.Cursor[Row]]] = []
        with self._pipeline():
            self._cursor.execute("BEGIN ISOLATION LEVEL READ COMMITTED", prepare=False)
            self._node_cursor.execute(_BEGIN_NODE, (self._number + 1, self._node, self._number), prepare=True)
            if pids:
                self._lock_cursor.execute(_LOCK, (pids,), prepare=True)
            if dids:
                self._definition_cursor.execute(_LOCK_DEFINITIONS, (dids,), prepare=True)
            for rows, keys in wanted.items():
                # after the locks: what it reads is as the last who held them left it
                cursor = self._db.cursor()
                cursor.execute(_text(rows).fetch.encode(), (_encode(keys).decode(),), prepare=True)
                cursors.append((rows, cursor))
        return cursors

    def get(self, rows: Rows, key: Key) -> Row | None:
        self.statements += 1
        return self._cursor.execute(_text(rows).get, key, prepare=True).fetchone()

    def select(self, statement: Statement, params: Any) -> list[Row]:
        self.statements += 1
        text, values = _compile(statement, params)
        return self._cursor.execute(text.encode(), values).fetchall()

    def execute(self, statement: Statement, params: Any) -> int:
        self.statements += 1
        self.dirty = True
        text, values = _compile(statement, params)
        return self._cursor.execute(text.encode(), values).rowcount

    def returning(self, statement: Statement, params: Any) -> list[Row]:
        self.dirty = True
        return self.select(statement, params)

    def id_block(self) -> int:
        self.statements += 1
        return _first(self._cursor.execute("SELECT nextval('id_blocks')", prepare=True))

    def reconfigured(self) -> int:
        self.statements += 1
        self.dirty = True
        return _first(self._cursor.execute(_RECONFIGURED, prepare=True))

    def flush(self, writes: Writes) -> None:
        with self._pipeline():
            self._flush(writes)

    def commit(self, writes: Writes, notices: Sequence[str]) -> None:
        self._doubt = self._number + 1
        with self._pipeline():
            self._flush(writes)
            for notice in _notices(notices):
                self._cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, notice), prepare=True)
                self.statements += 1
            self._node_cursor.execute("COMMIT", prepare=False)
        self.statements += 1
        if self._node_cursor.statusmessage != "COMMIT":
            # PostgreSQL answers so, without an error, when a statement before had failed
            raise Defect("PostgreSQL: COMMIT of a failed transaction")
        self._number += 1
        self._doubt = None

    @contextlib.contextmanager
    def _pipeline(self) -> Iterator[None]:
        """One round trip for many statements. The first error is the one that is raised; what follows is only noise."""
        first: Exception | None = None
        try:
            with self._db.pipeline():
                try:
                    yield
                except Exception as exc:  # noqa: BLE001 - raised again below
                    first = exc
        except psycopg.Error as exc:
            raise first or exc from None
        if first is not None:
            raise first

    def _flush(self, writes: Writes) -> None:
        self.dirty = True
        for rows, ops in writes.items():
            text = _text(rows)
            puts: list[Row] = []
            deletes: list[Key] = []
            patches: dict[tuple[str, ...], list[Row]] = {}
            for key, op in ops.items():
                if type(op) is tuple:
                    puts.append(op)
                elif type(op) is dict:
                    patches.setdefault(tuple(op), []).append((*op.values(), *key))
                else:
                    deletes.append(key)
            # a row that goes may hold the unique value of one that comes
            if deletes:
                self._send(text.delete, deletes)
            for columns, changes in patches.items():
                self._send(text.patch(columns), changes)
            if puts:
                self._send(text.put, puts)

    def _send(self, text: str, values: list[Row]) -> None:
        encoded = _encode(values)
        if len(encoded) > LARGEST:
            if len(values) == 1:
                raise TooLarge(f"a row is larger than {LARGEST >> 20} MiB")
            half = len(values) // 2
            self._send(text, values[:half])
            self._send(text, values[half:])
            return
        self._cursor.execute(text.encode(), (encoded.decode(),), prepare=True)
        self.statements += 1

    def rollback(self) -> None:
        # past psycopg, which would forget all prepared statements; they outlive a rollback
        result = self._db.pgconn.exec_(b"ROLLBACK")
        if result.status != pq.ExecStatus.COMMAND_OK:
            raise psycopg.OperationalError(f"ROLLBACK: {result.error_message.decode(errors='replace')}")
        self._doubt = None

    def error(self, exc: BaseException) -> PenstockError | None:
        return error(exc)

    def close(self) -> None:
        if self._open and not self._db.closed:
            try:
                self._db.execute("DELETE FROM nodes WHERE node = %s AND group_no = %s", (self._node, self._number))
            except psycopg.Error as exc:
                log.info("node %s leaves its row behind: %s", self._node, exc)
        self._db.close()


def _first(cursor: psycopg.Cursor[Row]) -> int:
    found = cursor.fetchone()
    assert found is not None
    return int(found[0])


def _notices(notices: Sequence[str]) -> list[str]:
    """One NOTIFY a group: its payloads, a line each; `*` ("anything") when they are too many to carry."""
    if not notices:
        return []
    joined = "\n".join(dict.fromkeys(notices))
    return [joined if len(joined.encode()) <= NOTICE_LIMIT else "*"]


class PostgresReader:
    """A reader's connection. It connects at the first read, and again after the connection was lost."""

    shared = True

    def __init__(self, address: Address) -> None:
        self._address = address
        self._db: psycopg.Connection[Row] | None = None
        self._single = False
        self._limit = 0.0
        """Seconds a statement outside of a transaction may take on this connection."""

    def begin(self, limit: float, *, single: bool) -> None:
        self._single = single
        if single:
            self._begin_single(limit)
            return
        text = f"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = {int(limit * 1000) + 1}"
        if self._db is not None and not self._db.closed:
            try:
                self._db.execute(text.encode())
                return
            except psycopg.OperationalError:
                if not self._db.closed:
                    raise
        self._db = attach(self._address, "reader")
        self._limit = 0.0
        self._db.execute(text.encode())

    def _begin_single(self, limit: float) -> None:
        if self._db is None or self._db.closed:
            self._db = attach(self._address, "reader")
            self._limit = 0.0
        if self._limit != limit:
            self._db.execute(f"SET statement_timeout = {int(limit * 1000) + 1}".encode())
            self._limit = limit

    def rows(self, statement: Statement, params: Any) -> list[Row]:
        assert self._db is not None
        text, values = _compile(statement, params)
        try:
            return self._db.execute(text.encode(), values).fetchall()
        except psycopg.OperationalError:
            if not self._single or not self._db.closed:
                raise
        # the connection was lost since the last read: no `begin` has noticed
        self._begin_single(self._limit)
        return self._db.execute(text.encode(), values).fetchall()

    def now(self) -> int:
        assert self._db is not None
        return _first(self._db.execute(f"SELECT {_CLOCK}".encode()))

    def end(self) -> None:
        if not self._single and self._db is not None and not self._db.closed:
            self._db.execute("COMMIT")

    def error(self, exc: BaseException) -> PenstockError | None:
        return error(exc)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
