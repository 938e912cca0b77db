"""SQLite through apsw: the writer's connection and a reader's.

A statement that runs lets go of the interpreter's lock and has to win it back, which under a busy event loop costs
up to a whole switch interval, whatever the statement itself costs. So a flush writes many rows in one statement.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import apsw
from sqlalchemy.dialects import sqlite as dialect

from penstock.errors import AlreadyExists, Conflict, Defect, Invalid, PenstockError, TooLarge, Unavailable
from penstock.store.checkpointer import Checkpointer
from penstock.store.database import Address, Begun, Compiler, Wanted, needs_schema, schema, unavailable
from penstock.store.rows import Key, Row, Rows, Statement, Writes
from penstock.store.tables import ID_BLOCK

LOCK_WAIT = 5.0
"""Seconds to wait for another program's write lock (a backup, a shell) before `Unavailable`."""
LARGEST = 64 << 20
"""Bytes of the largest value or row; the platform's own limits are far below."""
LOG_LIMIT = 64 << 20
"""Bytes the log file keeps after it was moved."""

_SIZES = (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
_compile = Compiler(dialect.dialect(paramstyle="qmark"), "?")


def _open(path: str, flags: int) -> apsw.Connection:
    connection = apsw.Connection(path, flags=flags, statementcachesize=512)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, LARGEST)
    connection.set_busy_timeout(int(LOCK_WAIT * 1000))
    return connection


def error(exc: BaseException) -> PenstockError | None:
    """A driver's error as ours."""
    match exc:
        case apsw.BusyError() | apsw.LockedError():
            return unavailable("another program holds the database", exc)
        case apsw.InterruptError():
            return Unavailable("the statement took longer than its limit")
        case apsw.FullError():
            return Unavailable("the disk is full")
        case apsw.ConstraintError():
            return _constraint(exc)
        case apsw.TooBigError():
            return TooLarge(f"a value is larger than {LARGEST >> 20} MiB")
        case apsw.IOError() | apsw.ReadOnlyError() | apsw.CantOpenError() | apsw.NoMemError():
            return unavailable("the database cannot be written or read", exc)
        case apsw.CorruptError() | apsw.NotADBError() | apsw.PermissionsError():
            return unavailable("the database file cannot be used", exc)
        case apsw.Error():
            return Defect(f"SQLite: {exc}")
        case UnicodeEncodeError() | OverflowError():
            return Invalid(f"a value cannot be stored: {exc}")
    return None


def _constraint(exc: apsw.ConstraintError) -> PenstockError:
    # the text is of the form UNIQUE constraint failed, colon, users.tid, users.email
    columns = str(exc).rpartition(": ")[2]
    table = columns.partition(".")[0]
    names = ", ".join(column.rpartition(".")[2] for column in columns.split(", "))
    match getattr(exc, "extendedresult", 0):
        case apsw.SQLITE_CONSTRAINT_UNIQUE | apsw.SQLITE_CONSTRAINT_PRIMARYKEY | apsw.SQLITE_CONSTRAINT_ROWID:
            return AlreadyExists(f"{table} has another row with the same {names}", table=table)
        case apsw.SQLITE_CONSTRAINT_NOTNULL | apsw.SQLITE_CONSTRAINT_DATATYPE:
            return Defect(f"SQLite: {exc}")
    return Conflict(f"{exc}", table=table)


class _Texts:
    """SQL text for one table, made when first used."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.row = "(" + ",".join("?" * rows.width) + ")"
        self.where = " AND ".join(f'"{column}"=?' for column in rows.key)
        columns = ",".join(f'"{column}"' for column in rows.columns)
        self.get = f'SELECT {columns} FROM "{rows.name}" WHERE {self.where}'
        self.head = f'INSERT INTO "{rows.name}" ({columns}) VALUES '
        key = ",".join(f'"{column}"' for column in rows.key)
        rest = ",".join(f'"{column}"=excluded."{column}"' for column in rows.columns[rows.keyed :])
        self.tail = f" ON CONFLICT ({key}) DO UPDATE SET {rest}" if rest else f" ON CONFLICT ({key}) DO NOTHING"
        if rows.append:
            self.tail = ""
        self._fetches: dict[int, str] = {}
        self._puts: dict[int, str] = {}
        self._deletes: dict[int, str] = {}
        self._patches: dict[tuple[tuple[str, ...], int], str] = {}

    def fetch(self, count: int) -> str:
        text = self._fetches.get(count)
        if text is None:
            rows = self.rows
            columns = ",".join(f'"{column}"' for column in rows.columns)
            text = self._fetches[count] = f'SELECT {columns} FROM "{rows.name}" WHERE {self._among(count)}'
        return text

    def _among(self, count: int) -> str:
        """A condition: the key is one of so many."""
        if count == 1:
            return self.where
        key = ",".join(f'"{column}"' for column in self.rows.key)
        one = "(" + ",".join("?" * self.rows.keyed) + ")"
        return f"({key}) IN (VALUES {','.join([one] * count)})"

    def put(self, count: int) -> str:
        text = self._puts.get(count)
        if text is None:
            text = self._puts[count] = self.head + ",".join([self.row] * count) + self.tail
        return text

    def delete(self, count: int) -> str:
        text = self._deletes.get(count)
        if text is None:
            text = self._deletes[count] = f'DELETE FROM "{self.rows.name}" WHERE {self._among(count)}'
        return text

    def patch(self, columns: tuple[str, ...], count: int) -> str:
        """Parameters: the new values, then the key, of each row."""
        text = self._patches.get((columns, count))
        if text is None:
            name, key = self.rows.name, self.rows.key
            if count == 1:
                text = f'UPDATE "{name}" SET {",".join(f"{_quoted(c)}=?" for c in columns)} WHERE {self.where}'
            else:
                new = ",".join(f'"{c}"=v.v{i}' for i, c in enumerate(columns))
                same = " AND ".join(f'"{name}"."{k}"=v.v{i}' for i, k in enumerate(key, len(columns)))
                names = ",".join(f"v{i}" for i in range(len(columns) + len(key)))
                one = "(" + ",".join("?" * (len(columns) + len(key))) + ")"
                values = ",".join([one] * count)
                text = f'WITH v({names}) AS (VALUES {values}) UPDATE "{name}" SET {new} FROM v WHERE {same}'
            self._patches[(columns, count)] = text
        return text


def _quoted(column: str) -> str:
    return f'"{column}"'


_texts: dict[Rows, _Texts] = {}


def _text(rows: Rows) -> _Texts:
    text = _texts.get(rows)
    if text is None:
        text = _texts[rows] = _Texts(rows)
    return text


def _portions(values: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """Cut rows into portions of the few sizes for which a statement is kept."""
    start, left = 0, len(values)
    for size in _SIZES:
        while left >= size:
            yield values[start : start + size]
            start += size
            left -= size


class SQLiteWriter:
    """The writer's connection."""

    lost = False  # a file does not go away
    in_doubt = False
    shared = False

    def __init__(self, address: Address) -> None:
        self._path = address.path
        self._checkpointer: Checkpointer | None = None
        self._inside = False
        self._generation = 0
        self.dirty = False
        self.statements = 0

    def open(self) -> None:
        """Raises: the driver's errors, Conflict."""
        self._db = _open(self._path, apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE)
        self._cursor = self._db.cursor()
        run = self._cursor.execute
        run("PRAGMA journal_mode=WAL").fetchall()
        for pragma in (
            "synchronous=FULL",
            "fullfsync=1",
            f"journal_size_limit={LOG_LIMIT}",
            "cache_size=-65536",
            "temp_store=MEMORY",
        ):
            run(f"PRAGMA {pragma}").fetchall()
        self._create()
        self._checkpointer = Checkpointer(_open(self._path, apsw.SQLITE_OPEN_READWRITE))
        # replaces the automatic checkpoint, which would run inside a commit
        self._db.set_wal_hook(self._checkpointer.grown)

    def _create(self) -> None:
        run = self._cursor.execute
        run("BEGIN IMMEDIATE")
        try:
            revision = needs = None
            if run("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchall():
                revision = run("SELECT max(version_num) FROM alembic_version").get
                needs = run("SELECT value FROM meta WHERE key = 'needs'").get
            if needs_schema(revision and str(revision), needs and str(needs), self._path):
                for statement in schema(_compile.dialect):
                    run(statement)
        except BaseException:
            run("ROLLBACK")
            raise
        run("COMMIT")

    def begin(self, keys: list[int], wanted: Wanted) -> Begun:  # noqa: ARG002 - one writer holds everything
        if self._checkpointer is not None:
            self._checkpointer.enter()
            self._inside = True
        self.dirty = False
        self.statements += 1
        try:
            self._cursor.execute("BEGIN IMMEDIATE")
            fetched = {rows: self._fetch(rows, keys) for rows, keys in wanted.items()}
        except BaseException:
            if not self._db.in_transaction:
                self._leave()
            raise
        return Begun(time.time_ns() // 1_000_000, self._generation, {}, frozenset(), fetched)

    def _fetch(self, rows: Rows, keys: list[Key]) -> dict[Key, Row | None]:
        found: dict[Key, Row | None] = dict.fromkeys(keys)
        text, keyed = _text(rows), rows.keyed
        for portion in _portions(keys):
            self.statements += 1
            for row in self._cursor.execute(text.fetch(len(portion)), tuple(chain.from_iterable(portion))).fetchall():
                found[row[:keyed]] = row
        return found

    def get(self, rows: Rows, key: Key) -> Row | None:
        self.statements += 1
        found = self._cursor.execute(_text(rows).get, key).fetchall()
        return found[0] if found else None

    def select(self, statement: Statement, params: Any) -> list[Row]:
        self.statements += 1
        return self._cursor.execute(*_compile(statement, params)).fetchall()

    def execute(self, statement: Statement, params: Any) -> int:
        self.statements += 1
        self.dirty = True
        before = self._db.total_changes()
        self._cursor.execute(*_compile(statement, params)).fetchall()
        return self._db.total_changes() - before

    def returning(self, statement: Statement, params: Any) -> list[Row]:
        self.dirty = True
        return self.select(statement, params)

    def id_block(self) -> int:
        self.dirty = True
        self.statements += 1
        end: Any = self._cursor.execute(
            "INSERT INTO meta (key, value) VALUES ('ids', ?1) ON CONFLICT (key) "
            "DO UPDATE SET value = CAST(CAST(value AS INTEGER) + ?1 AS TEXT) RETURNING CAST(value AS INTEGER)",
            (str(ID_BLOCK),),
        ).get
        return int(end) - ID_BLOCK + 1

    def reconfigured(self) -> int:
        self._generation += 1  # nobody else has the database: a number in memory will do
        return self._generation

    def flush(self, writes: Writes) -> None:
        self.dirty = True
        run = self._cursor.execute
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
            for portion in _portions(deletes):
                run(text.delete(len(portion)), tuple(chain.from_iterable(portion)))
                self.statements += 1
            for columns, changes in patches.items():
                for portion in _portions(changes):
                    run(text.patch(columns, len(portion)), tuple(chain.from_iterable(portion)))
                    self.statements += 1
            for portion in _portions(puts):
                run(text.put(len(portion)), tuple(chain.from_iterable(portion)))
                self.statements += 1

    def commit(self, writes: Writes, notices: Sequence[str]) -> None:  # noqa: ARG002 - nobody else listens
        if writes:
            self.flush(writes)
        self.statements += 1
        self._cursor.execute("COMMIT")
        self._leave()

    def rollback(self) -> None:
        # some errors (a full disk) have ended the transaction already
        if self._db.in_transaction:
            self._cursor.execute("ROLLBACK")
        self._leave()

    def _leave(self) -> None:
        if self._checkpointer is not None and self._inside:
            self._inside = False
            self._checkpointer.leave()

    def reconnect(self) -> bool:
        return False

    def error(self, exc: BaseException) -> PenstockError | None:
        return error(exc)

    def close(self) -> None:
        if self._checkpointer is not None:
            self._checkpointer.close()
        self._db.close()


class SQLiteReader:
    """A reader's connection, opened at the first read. The limit is watched every so many virtual machine steps."""

    shared = False

    def __init__(self, address: Address) -> None:
        self._path = address.path
        self._db: apsw.Connection | None = None
        self._until = 0.0

    def _connect(self) -> apsw.Connection:
        db = _open(self._path, apsw.SQLITE_OPEN_READWRITE)
        db.execute("PRAGMA query_only=1").fetchall()
        db.execute("PRAGMA cache_size=-16384").fetchall()
        db.wal_autocheckpoint(0)
        db.set_progress_handler(self._late, 20_000)
        return db

    def _late(self) -> bool:
        return time.monotonic() > self._until

    def begin(self, limit: float, *, single: bool) -> None:
        self._until = time.monotonic() + limit
        if self._db is None:
            self._db = self._connect()
        if not single:
            self._db.execute("BEGIN")

    def rows(self, statement: Statement, params: Any) -> list[Row]:
        assert self._db is not None
        return self._db.execute(*_compile(statement, params)).fetchall()

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def end(self) -> None:
        if self._db is not None and self._db.in_transaction:
            self._until = sys.maxsize
            self._db.execute("ROLLBACK")

    def error(self, exc: BaseException) -> PenstockError | None:
        return error(exc)

    def close(self) -> None:
        if self._db is not None:
            self._db.close()
