"""What tests break: `penstock serve` as processes of their own on a database of their own."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines import invariants
from penstock.config import Settings
from penstock.operations.people import NewUser, Seeded, seed
from penstock.store import _reader
from penstock.store.database import Address
from penstock.store.reader import Reader
from penstock.wiring.platform import Platform
from support.server import SECRET_KEY, Api, Server

SERVED = Path(__file__).parent / "served.py"
UNWANTED = re.compile(
    r"^.*(?:Traceback|\bdefect\b|background task|loop met an error|writer failed).*(?:\n.*){0,40}", re.MULTILINE
)


def seeded(url: str) -> Seeded:
    """A tenant in an empty database, by the platform's own operation."""
    platform = Platform.build(Settings(database_url=url, data_dir=Path(tempfile.gettempdir()), secret_key=SECRET_KEY))
    try:
        users = [NewUser(email="ana@example.com", password=secrets.token_urlsafe(9))]
        return asyncio.run(seed(platform.operations, "demo", "Demo", users))
    finally:
        platform.close()


class Node(Server):
    """`penstock serve`; several may have one PostgreSQL."""

    def __init__(self, folder: Path, url: str, tenant: Seeded, name: str = "one", **environment: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            folder,
            PENSTOCK_DATABASE_URL=url,
            PENSTOCK_DATA_DIR=str(folder),
            FAULTS_NODE=name,
            PENSTOCK_PORT="0",
            PENSTOCK_SECRET_KEY=SECRET_KEY,
            **environment,
        )
        self.name = name
        self._tenant = tenant

    def command(self) -> list[str]:
        return [str(SERVED), "serve"]

    def application(self) -> Api:
        return self._as_application(self._tenant.application_id, self._tenant.application_secret)

    def token(self) -> str:
        api = self.application()
        assert api.token is not None
        return api.token

    def send(self, how: signal.Signals) -> None:
        os.kill(self.pid, how)

    def complaints(self) -> list[str]:
        """Not what it says about a database that is away: that is so."""
        return UNWANTED.findall(self.log.read_text(errors="replace"))

    def end(self) -> None:
        code = self.stop()
        self.forget_clients()
        assert code == 0
        assert not self.complaints(), "\n".join(self.complaints())


class Look:
    """Into the database, past the server."""

    def __init__(self, url: str) -> None:
        self.dialect = Address.parse(url).dialect
        self._reader = Reader(lambda: _reader(Address.parse(url)), connections=1)

    def rows(self, statement: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._reader.read(lambda read: read.rows(statement, params))

    def one(self, statement: str, params: Sequence[Any] = ()) -> Any:
        [(value,)] = self.rows(statement, params)
        return value

    def problems(self) -> list[str]:
        """Rows that do not agree, and histories whose fold is not the state."""
        return self._reader.read(lambda read: invariants.problems(read, self.dialect, {}), limit=60)

    def close(self) -> None:
        self._reader.close()
