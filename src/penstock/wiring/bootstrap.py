"""`penstock bootstrap`: the first tenant and its administrator, or the way back in for who has lost a password."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.config import Settings
from penstock.engines.embedded import EmbeddedEngine
from penstock.errors import Conflict
from penstock.operations import installation
from penstock.operations.context import Context
from penstock.store import Store, maintenance
from penstock.store import installation as tenants
from penstock.wiring.places import address, database_url
from penstock.wiring.private_files import write_private


@dataclass(frozen=True, slots=True)
class Bootstrapped:
    """What was done, and the credentials, in the shape of `credentials.json`; `written`: they are in this file."""

    done: list[str]
    credentials: dict[str, Any]
    written: Path | None
    database: str
    """Which: its kind and where it is, without a password."""
    created: bool
    """It was not there before; of PostgreSQL: it had no tenant."""


def bootstrap(settings: Settings, asked: installation.Bootstrap, write: Path | None) -> Bootstrapped:
    """While no server has a SQLite database, or at any time on PostgreSQL.

    Raises: Unavailable, Invalid, Conflict (the file is there: it may be the only place of another secret).
    """
    if write is not None:
        _require_writable(write)
    url = database_url(settings)
    created = not maintenance.exists(url)
    store = Store.open(url)
    try:
        created = created or (store.dialect != "sqlite" and store.read(tenants.is_empty))
        made = asyncio.run(installation.bootstrap(Context(store, EmbeddedEngine()), asked))
    finally:
        store.close()
    credentials = _credentials(made, settings.public_url or address(settings.host, settings.port))
    if write is not None:
        write_private(write, credentials)
    return Bootstrapped(made.done, credentials, write, maintenance.place(url), created)


def _require_writable(path: Path) -> None:
    """Nothing is made whose secrets could not be kept."""
    if path.exists():
        raise Conflict(f"{path} is there already: name another file, or remove it first")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise Conflict(f"cannot write {path}: {path.parent} is no folder that can be written to")


def _credentials(made: installation.Bootstrapped, url: str) -> dict[str, Any]:
    content: dict[str, Any] = {"url": url, "tenant": {"id": made.tenant_id, "code": made.code}}
    if made.application_id is not None:
        content["application"] = {"id": made.application_id, "secret": made.application_secret}
    return {**content, "users": [{"email": made.email, "password": made.password, "groups": []}]}
