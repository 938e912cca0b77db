"""A real PostgreSQL for the tests: a cluster of its own in a temporary directory, with full durability.

The server refuses to run as root, so root starts it as the user `postgres`, whom Debian's package makes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

USER = "penstock"


def binaries() -> Path:
    """Where initdb and pg_ctl are; installs Debian's package once when they are nowhere."""
    found = _find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "postgresql"]):
            subprocess.run(["apt-get", *command], env=environment, check=False, capture_output=True, timeout=600)
        found = _find()
    if found is None:
        raise RuntimeError(
            "PostgreSQL's binaries are missing: no /usr/lib/postgresql/*/bin/initdb and none in PATH; "
            "install Debian's package `postgresql` (`make postgresql`)"
        )
    return found


def _find() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[4]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


class Postgres:
    """A running server; `database()` gives the address of a new, empty database, `schema()` of a new, empty schema."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = binaries()
        self.data = folder / "data"
        self.port = _free_port()
        self._count = 0
        self._shared = ""
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self.data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-locale")
        with (self.data / "postgresql.conf").open("a") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = '{folder}'\n"
                "fsync = on\nsynchronous_commit = on\nfull_page_writes = on\nmax_connections = 100\n"
            )
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-l", str(self.folder / "log"), "-w", "-t", "60", "start")
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server by its own pid: SIGINT is PostgreSQL's fast shutdown, SIGQUIT the one that is a crash."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if not _alive(self.pid):
                return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL {self.pid} does not stop")

    def database(self) -> str:
        self._count += 1
        name = f"test_{self._count}"
        self.psql("postgres", f"CREATE DATABASE {name}")
        return self.url(name)

    def schema(self) -> str:
        """Like a database to whoever uses it, and made without writing its 7 MB."""
        if not self._shared:
            self._shared = self.database()
        self._count += 1
        name = f"schema_{self._count}"
        self.psql(self._shared.rpartition("/")[2], f"CREATE SCHEMA {name}")
        return f"{self._shared}?options=-csearch_path%3D{name}"

    def url(self, name: str, port: int | None = None) -> str:
        return f"postgresql://{USER}@127.0.0.1:{port or self.port}/{name}"

    def psql(self, database: str, statement: str) -> str:
        command = [
            "psql",
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
        ]
        return self._run(*command, "-U", USER, "-d", database, "-c", statement)

    def dump(self, database: str) -> str:
        """The schema as SQL."""
        command = ["pg_dump", "-s", "--no-owner", "-h", str(self.folder), "-p", str(self.port), "-U", USER, database]
        return self._run(*command)

    def _run(self, program: str, *arguments: str) -> str:
        command = [str(self.bin / program), *arguments]
        if os.geteuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        # output by way of files: the server inherits them, and would hold a pipe open
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            done = subprocess.run(
                command, cwd="/", env=environment, stdout=out, stderr=err, stdin=subprocess.DEVNULL, check=False
            )
            out.seek(0)
            err.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program} failed: {err.read() or out.read()}")
            return out.read()


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    folder = Path(tempfile.mkdtemp(prefix="penstock-pg-"))
    server: Postgres | None = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None:
            server.stop(signal.SIGQUIT)  # nothing of it is kept
        # thousands of small files: on a busy disk that takes a minute, which nobody need wait for
        subprocess.run(["sh", "-c", 'rm -rf "$1" &', "sh", str(folder)], check=False, stdout=subprocess.DEVNULL)


def _alive(pid: int) -> bool:
    """A process whose parent has not yet asked how it ended is dead, although it still has its number."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
