"""What both databases have in common: the address, statements made from Core, the port of a connection, the file
lock and the check of the format. What differs is in `sqlite` and `postgres`, one class for the writer's connection
and one for a reader's each, and nowhere else.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect
from sqlalchemy.schema import CreateIndex, CreateSequence, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import ClauseElement

from penstock.errors import Conflict, Defect, Invalid, PenstockError, Unavailable
from penstock.store.rows import Key, Row, Rows, Statement, Writes
from penstock.store.tables import id_blocks, metadata

FORMAT = 1
"""Number of the newest migration this program knows."""

NEEDS = 1
"""Number of the newest migration that the code before it cannot work with."""

STAMP = (
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)

_COMPILED_AT_MOST = 500

PATIENCE = 0.5
"""Seconds for which a SQLite database that another program holds is asked for."""

Wanted = dict[Rows, list[Key]]
"""Rows to be fetched when a group begins, no key twice."""
Fetched = dict[Rows, dict[Key, Row | None]]
"""Rows by key as the database has them; None for what is not there."""


class Begun(NamedTuple):
    """What opening a group's transaction found."""

    now: int
    generation: int
    """Moves whenever any node changes what hardly ever changes (`Tx.reconfigured`)."""
    locked: dict[int, Row]
    """What the group holds, by key: the rows of processes, and whatever of definitions."""
    held: frozenset[int]
    """Keys that another node holds."""
    fetched: Fetched
    """What the units said they would read."""


class Connection(Protocol):
    """The writer's connection. Raises the driver's errors; `error` turns them into ours."""

    dirty: bool
    """Something was written since `begin` that a commit must keep."""
    statements: int
    """How many statements went out since the start."""
    shared: bool
    """Other nodes write to the same database."""

    @property
    def lost(self) -> bool:
        """The connection is gone; `reconnect` is the only thing left to do with it."""
        ...

    @property
    def in_doubt(self) -> bool:
        """A COMMIT was sent and its answer has not come."""
        ...

    def open(self) -> None: ...
    def begin(self, keys: list[int], wanted: Wanted) -> Begun:
        """`keys`: pids, and the numbers of definitions with a minus before them (`rows.definition_key`)."""
        ...

    def get(self, rows: Rows, key: Key) -> Row | None: ...
    def select(self, statement: Statement, params: Any) -> list[Row]: ...
    def execute(self, statement: Statement, params: Any) -> int: ...
    def returning(self, statement: Statement, params: Any) -> list[Row]: ...
    def id_block(self) -> int: ...
    def reconfigured(self) -> int:
        """Move the generation; answers the new one."""
        ...

    def flush(self, writes: Writes) -> None: ...
    def commit(self, writes: Writes, notices: Sequence[str]) -> None: ...
    def rollback(self) -> None: ...
    def reconnect(self) -> bool:
        """Connect again; true when the commit whose answer was lost was carried out."""
        ...

    def error(self, exc: BaseException) -> PenstockError | None:
        """The driver's error as ours; None if it is not the driver's."""
        ...

    def close(self) -> None: ...


class ReadConnection(Protocol):
    """A reader's connection: one snapshot from `begin` to `end`. It connects when it first begins."""

    shared: bool
    """Other nodes write to the same database."""

    def begin(self, limit: float, *, single: bool) -> None:
        """`single`: one statement follows, and no transaction is needed for it."""
        ...

    def rows(self, statement: Statement, params: Any) -> list[Row]: ...
    def now(self) -> int:
        """The database's clock in milliseconds."""
        ...

    def end(self) -> None: ...
    def error(self, exc: BaseException) -> PenstockError | None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is."""

    dialect: str
    """"sqlite" or "postgresql"."""
    url: str
    path: str = ""
    """The file of a SQLite database."""

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises: Invalid."""
        scheme = urlsplit(url).scheme
        if scheme in ("postgresql", "postgres"):
            return cls("postgresql", "postgresql" + url[len(scheme) :])
        if scheme != "sqlite" or not url.startswith("sqlite:///"):
            raise Invalid("the database is named by sqlite:///PATH or postgresql://…")
        path = unquote(url[len("sqlite:///") :])
        if not path or path == ":memory:":
            raise Invalid("the database needs a file: sqlite:///PATH")
        return cls("sqlite", url, str(Path(path).absolute()))

    @property
    def alchemy(self) -> str:
        """The same place for SQLAlchemy and Alembic."""
        if self.dialect == "sqlite":
            return f"sqlite:///{self.path}"
        return "postgresql+psycopg" + self.url[len("postgresql") :]


class FileLock:
    """Keeps a second program from a SQLite database: `flock` on `PATH.lock`, which holds our process id.

    The file stays: to remove it would let a third program lock a file of the same name that a second one still holds.
    """

    def __init__(self, path: str) -> None:
        """Raises: Unavailable."""
        self.path = path + ".lock"
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise Unavailable(f"cannot open {self.path}: {exc.strerror}") from exc
        try:
            self._take()
        except OSError as exc:
            holder = os.pread(self._fd, 20, 0).decode("ascii", "replace").strip()
            os.close(self._fd)
            by = f" by process {holder}" if holder.isdigit() else ""
            raise Unavailable(f"{path} is in use{by} (it holds {self.path})", path=path, holder=holder) from exc
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        if not Path(path).exists():
            # SQLite gives its log the same mode; nobody else may read what tenants keep
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))

    def _take(self) -> None:
        """Who asks whether it is held (`holder`) has it for an instant: that is no reason to give up. Raises: OSError."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.005)
            else:
                return

    @staticmethod
    def holder(path: str) -> str:
        """The id of the process that has the database now, or nothing. The question takes a share of the lock for an instant."""
        try:
            with Path(path + ".lock").open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read(20).decode("ascii", "replace").strip()
        except OSError:
            return ""
        return ""

    def release(self) -> None:
        with contextlib.suppress(OSError):
            os.ftruncate(self._fd, 0)
        os.close(self._fd)


_Known = tuple[str, list[tuple[str, Any]], frozenset[str]]


class Compiler:
    """Statements for one dialect: Core compiled once for each shape, text with the driver's own marks."""

    def __init__(self, dialect: Dialect, mark: str) -> None:
        self.dialect = dialect
        self._mark = mark
        self._compiled: dict[Any, Any] = {}
        self._known: WeakKeyDictionary[ClauseElement, _Known] = WeakKeyDictionary()
        """Of statements that are kept, those of modules: text, parameters with the values the statement itself has, and
        the names of those given."""
        self._texts: dict[str, str] = {}

    def __call__(self, statement: Statement, params: Any) -> tuple[str, tuple[Any, ...]]:
        if isinstance(statement, str):
            return self._text(statement), tuple(params)
        if not isinstance(statement, ClauseElement):
            raise Defect("a statement is SQL text or SQLAlchemy Core")
        known = self._known.get(statement)
        named = dict(params or {})
        if known is not None and known[2] == named.keys():
            return known[0], tuple([named.get(name, own) for name, own in known[1]])
        if len(self._compiled) >= _COMPILED_AT_MOST:
            self._compiled.clear()
        # what SQLAlchemy's own engine does; its drivers for SQLite are none of apsw
        compiled, extracted, collected, _ = statement._compile_w_cache(  # noqa: SLF001
            self.dialect, compiled_cache=self._compiled, column_keys=sorted(named)
        )
        assert isinstance(compiled, SQLCompiler)
        bound = compiled.construct_params(
            named, extracted_parameters=extracted, escape_names=False, _collected_params=collected
        )
        if compiled.post_compile_params:  # a list of unknown length (IN)
            state = compiled._process_parameters_for_postcompile(bound)  # noqa: SLF001
            return state.statement, tuple(state.positional_parameters)
        if named.keys() <= bound.keys():
            of = [(name, bound[name]) for name in compiled.positiontup or ()]
            self._known[statement] = compiled.string, of, frozenset(named)
        return compiled.string, tuple([bound[name] for name in compiled.positiontup or ()])

    def _text(self, statement: str) -> str:
        if self._mark == "?":
            return statement
        text = self._texts.get(statement)
        if text is None:
            text = statement.replace("%", "%%").replace("?", self._mark)
            if len(self._texts) < _COMPILED_AT_MOST:
                self._texts[statement] = text
        return text


def needs_schema(revision: str | None, needs: str | None, place: str) -> bool:
    """Is the database empty? `revision` is what its `alembic_version` says, None when it has no such table.

    `needs` is the oldest format a program must know to work on it: a migration that is safe under the old code (pre)
    leaves it alone, one that is not (post) raises it, so old nodes may restart during a rolling upgrade.

    Raises: Conflict when this program is too old or too new for the database.
    """
    if revision is None:
        return True
    if int(needs or revision) > FORMAT:
        raise Conflict(f"{place} needs a program of format {needs}, this one knows {FORMAT:04d}: use a newer program")
    if int(revision) < FORMAT:
        raise Conflict(f"{place} has format {revision}, this program needs {FORMAT:04d}: run `penstock migrate`")
    return False


def schema(dialect: Dialect) -> list[str]:
    """The whole schema as statements, for an empty database; the last ones stamp it with `FORMAT`."""
    made: list[Any] = [CreateSequence(id_blocks)] if dialect.supports_sequences else []
    for table in metadata.sorted_tables:
        made.append(CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            only = index.dialect_options["postgresql"]["where"] is not None
            if dialect.name == "postgresql" or not only or index.dialect_options["sqlite"]["where"] is not None:
                made.append(CreateIndex(index))
    texts = [str(statement.compile(dialect=dialect)).strip() for statement in made]
    return [
        *texts,
        f"INSERT INTO meta (key, value) VALUES ('needs', '{NEEDS:04d}')",
        STAMP,
        f"INSERT INTO alembic_version (version_num) VALUES ('{FORMAT:04d}')",
    ]


def unavailable(what: str, exc: BaseException) -> Unavailable:
    text = str(exc).strip().splitlines()
    return Unavailable(f"{what}: {text[0]}" if text else what)
