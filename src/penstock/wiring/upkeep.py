"""What an operator does to an installation beside its server."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from penstock.audit import reading, signing
from penstock.audit.verification import Report
from penstock.config import Settings
from penstock.documents import Blobs, copied
from penstock.errors import Invalid
from penstock.operations import signing as token_keys
from penstock.operations.resealing import rotate
from penstock.store import Store, maintenance, open_reader
from penstock.store.migrate import upgrade
from penstock.wiring.places import database_url, documents_url, known_keys


def migrate(settings: Settings) -> str:
    """`penstock migrate`. Raises: Unavailable while a server has a SQLite database."""
    return f"the schema is at version {upgrade(database_url(settings))}"


def backup(settings: Settings, target: Path) -> str:
    """`penstock backup`, while the server runs. Raises: Conflict, Unavailable."""
    said = maintenance.backup(database_url(settings), target)
    # after the database: what it names is there then, but for what was deleted meanwhile
    return f"{said}; {_copied_documents(settings, target, back=False)}"


def restore(settings: Settings, source: Path) -> str:
    """`penstock restore`, while no server runs. Raises: Unavailable."""
    said = maintenance.restore(database_url(settings), source)
    return f"{said}; {_copied_documents(settings, source, back=True)}"


def _copied_documents(settings: Settings, copy: Path, *, back: bool) -> str:
    """The content of documents lies beside the copy of the database, where it is files here."""
    folder = Blobs(documents_url(settings)).folder
    if folder is None:
        return f"the content of documents stays at {settings.documents_url}"
    beside = copy.with_name(copy.name + ".documents")
    source, target = (beside, folder) if back else (folder, beside)
    if not source.exists():
        return "no documents"
    return f"{copied(source, target)} documents in {target}"


def rotate_keys(settings: Settings, *, signing: bool = False) -> str:
    """`penstock rotate-keys`: while no server has a SQLite database, or beside servers on PostgreSQL that know both keys.

    `signing`: a new key that signs tokens, in place of encrypting anew. Raises: Invalid (no key, what cannot be read), Unavailable.
    """
    keys = known_keys(settings)
    if keys is None:
        raise Invalid("there is no secret_key: set PENSTOCK_SECRET_KEY_FILE, the new key first, the old one behind it")
    store = Store.open(database_url(settings))
    try:
        if signing:
            row = token_keys.replace_newest(store, keys)
            return f"access tokens are signed with the key {row.kid} from now on; those of the key before stay good"
        done, unreadable = asyncio.run(rotate(store, keys))
    finally:
        store.close()
    told = f"encrypted anew with the key {keys.newest}: {', '.join(f'{word} {count}' for word, count in done.items())}"
    if unreadable:
        raise Invalid(f"{told}; these could not be read: {'; '.join(unreadable)}")
    return told


def verify_audit(
    settings: Settings, tenant: str | None, key: str | None, anchor: reading.Anchor | None
) -> list[Report]:
    """`penstock audit verify`, of all tenants or one; a server may run. Raises: NotFound, Unavailable, Invalid (the key)."""
    check = None if key is None else signing.checker(key)
    with contextlib.closing(open_reader(database_url(settings))) as opened:
        return [
            reading.verify_database(opened, tid, id, check, anchor) for tid, id, _ in reading.tenants(opened, tenant)
        ]


def verify_export(file: Path, key: str | None, anchor: reading.Anchor | None) -> Report:
    """`penstock audit verify --file`, of one tenant. Raises: Invalid."""
    with file.open("rb") as lines:
        return reading.verify_file(lines, None if key is None else signing.checker(key), anchor)
