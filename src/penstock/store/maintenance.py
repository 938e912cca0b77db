"""For the operator: copy a database while it is in use, put a copy in its place, look whether all is well."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import apsw
from psycopg.conninfo import conninfo_to_dict

from penstock.errors import Conflict, Unavailable
from penstock.store.database import Address, FileLock, needs_schema
from penstock.store.reader import Read

PAGES = 1000
"""Pages copied at a time; writers go on in between."""


_BOTH = "SELECT COUNT(*) FROM sqlite_master WHERE name IN ('seals', 'signing_keys')"
_BOTH_SHARED = "SELECT num_nonnulls(to_regclass('seals'), to_regclass('signing_keys'))"
_STAMPED = "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"


def backup(url: str, target: Path) -> str:
    """Copy the database to a new file. Answers what was done.

    Raises: Conflict when the target is there already, Unavailable.
    """
    address = Address.parse(url)
    if target.exists():
        raise Conflict(f"{target} is there already")
    if not target.parent.is_dir():
        raise Conflict(f"there is no folder {target.parent}")
    if address.dialect == "sqlite":
        return _backup_sqlite(address, target)
    _private(target)
    _run(["pg_dump", "--format=custom", f"--file={target}"], address)
    return f"{target}: {target.stat().st_size:,} bytes, by pg_dump"


def _backup_sqlite(address: Address, target: Path) -> str:
    if not Path(address.path).exists():
        raise Unavailable(f"there is no database at {address.path}")
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    try:
        source = apsw.Connection(address.path, flags=apsw.SQLITE_OPEN_READONLY)
        source.set_busy_timeout(10_000)
        _private(part)
        copy = apsw.Connection(str(part))
        with copy.backup("main", source, "main") as work:
            while not work.done:
                work.step(PAGES)
        copy.pragma("journal_mode", "DELETE")
        _check(copy)
        copy.close()
        source.close()
    except apsw.Error as exc:
        part.unlink(missing_ok=True)
        raise Unavailable(f"the backup failed: {exc}") from exc
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    return f"{target}: {target.stat().st_size:,} bytes, a checked copy of {address.path}"


def restore(url: str, source: Path) -> str:
    """Put a backup in the place of the database; what was there is kept beside it. Answers what was done.

    Raises: Unavailable when a server has the database, or the backup is not sound.
    """
    address = Address.parse(url)
    if address.dialect != "sqlite":
        _run(
            ["pg_restore", "--clean", "--if-exists", "--single-transaction", "--dbname=" + _name(address), str(source)],
            address,
        )
        return f"{source} restored by pg_restore"
    lock = FileLock(address.path)
    try:
        check = apsw.Connection(str(source), flags=apsw.SQLITE_OPEN_READONLY)
        _check(check)
        check.close()
        place = Path(address.path)
        part = place.with_name(place.name + ".part")
        _private(part)
        shutil.copyfile(source, part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        kept = _set_aside(place)
        part.replace(place)
    except (apsw.Error, OSError) as exc:
        raise Unavailable(f"the backup cannot be restored: {exc}") from exc
    finally:
        lock.release()
    return f"{place} restored" + (f"; what was there is {kept}" if kept else "")


def _set_aside(place: Path) -> Path | None:
    if not place.exists():
        return None
    n = 1
    while (kept := place.with_name(f"{place.name}.before-restore-{n}")).exists():
        n += 1
    # the log belongs to the file: together they are what was there
    for suffix in ("", "-wal", "-shm"):
        old = place.with_name(place.name + suffix)
        if old.exists():
            old.rename(kept.with_name(kept.name + suffix))
    return kept


def check(url: str) -> list[tuple[str, bool, str]]:
    """(what, whether it is well, details) of the database's files."""
    address = Address.parse(url)
    if address.dialect != "sqlite":
        return []
    path = Path(address.path)
    if not path.exists():
        return [("file", True, f"{path} is not there yet; the first start makes it"), _disk(path)]
    used = f", in use by process {holder}" if (holder := FileLock.holder(address.path)) else ""
    found = [("file", os.access(path, os.W_OK), f"{path}, {path.stat().st_size:,} bytes{used}")]
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        connection.set_busy_timeout(5_000)
        answer = next(connection.execute("PRAGMA quick_check(1)"))[0]
        found.append(("integrity", answer == "ok", str(answer)))
        connection.close()
    except apsw.Error as exc:
        found.append(("integrity", False, str(exc)))
    return [*found, _disk(path)]


def exists(url: str) -> bool:
    """Whether there is a database to be looked at; of PostgreSQL only its answer tells."""
    address = Address.parse(url)
    return address.dialect != "sqlite" or Path(address.path).exists()


def schema(read: Read) -> str:
    """The schema's version, in words. Raises: Conflict when it is not one that this program works on."""
    where = "SELECT to_regclass('alembic_version')" if read.shared else _STAMPED
    if (found := read.row(where)) is None or found[0] is None:
        return "none yet; the first start makes it"
    row = read.row("SELECT version_num FROM alembic_version")
    needs = read.row("SELECT value FROM meta WHERE key = 'needs'")
    needs_schema(str(row[0]) if row else None, str(needs[0]) if needs else None, "the database")
    return f"version {row[0] if row else '?'}"


def place(url: str) -> str:
    """The kind of a database and where it is, without the password: for people."""
    address = Address.parse(url)
    if address.dialect == "sqlite":
        return f"sqlite {address.path}"
    parts = conninfo_to_dict(address.url)
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql {parts.get('host') or parts.get('hostaddr') or 'local'}{port}/{_name(address)}"


def has_seals_and_keys(read: Read) -> bool:
    """Whether seals and signing keys can be looked at: an older schema may not have their tables yet."""
    row = read.row(_BOTH_SHARED if read.shared else _BOTH)
    return row is not None and row[0] == 2


def _disk(path: Path) -> tuple[str, bool, str]:
    """Of the folder, or of the nearest one above it that is there."""
    folder = next(each for each in path.absolute().parents if each.exists())
    free = shutil.disk_usage(folder).free
    return "disk", free > 256 * 1024**2, f"{free / 1024**3:.1f} GiB free"


def _check(connection: apsw.Connection) -> None:
    answer = next(connection.execute("PRAGMA quick_check(1)"))[0]
    if answer != "ok":
        raise Unavailable(f"the copy is not sound: {answer}")


def _private(path: Path) -> None:
    """An empty file that its owner alone may read, before anything is in it."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))


def _name(address: Address) -> str:
    return str(conninfo_to_dict(address.url).get("dbname") or "postgres")


_VARIABLES = {
    "dbname": "PGDATABASE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "hostaddr": "PGHOSTADDR",
    **{
        name: "PG" + name.upper().replace("_", "")
        for name in ("host", "port", "user", "password", "options", "sslmode")
    },
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "service": "PGSERVICE",
    "passfile": "PGPASSFILE",
}


def _run(command: list[str], address: Address) -> None:
    """A tool of PostgreSQL; the address goes by the environment, for a command line can be read by everybody."""
    if shutil.which(command[0]) is None:
        raise Unavailable(f"{command[0]} is not installed; it comes with PostgreSQL's client tools")
    env = {**os.environ, "PGDATABASE": _name(address)}
    for name, value in conninfo_to_dict(address.url).items():
        if name not in _VARIABLES:
            raise Unavailable(f"{command[0]} cannot be given {name!r} of the database's address; call it by hand")
        env[_VARIABLES[name]] = str(value)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
