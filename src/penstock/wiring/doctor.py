"""`penstock doctor`: whether an installation is well. It looks, beside a server that may run, and changes nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping

import penstock
from penstock.audit import signing
from penstock.config import Settings
from penstock.documents import Blobs
from penstock.errors import Invalid, PenstockError
from penstock.store import maintenance, open_reader
from penstock.wiring.places import database_url, documents_url, known_keys

Check = tuple[str, bool, str]
"""What, whether it is well, details."""

SKEW = 2_000
"""Milliseconds that this machine's clock may be from the database's."""


def doctor(settings: Settings, sources: Mapping[str, str]) -> list[Check]:
    """`sources`: where each setting came from."""
    url = database_url(settings)
    files = maintenance.check(url)
    there = maintenance.exists(url)
    return [
        ("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        ("penstock", True, penstock.__version__),
        ("settings", True, _from(sources)),
        _tried("secret key", lambda: _secret_key(settings)),
        _tried("audit key", lambda: _audit_key(settings)),
        *files,
        *(_database(url) if there and all(good for _, good, _ in files) else ()),
        _tried("documents", lambda: _documents(settings)),
    ]


def _from(sources: Mapping[str, str]) -> str:
    named = sorted({source for source in sources.values() if source != "default"})
    return f"from {', '.join(named)}" if named else "all as by default"


def _tried(what: str, look: Callable[[], str]) -> Check:
    try:
        return what, True, look()
    except (PenstockError, OSError) as error:
        return what, False, error.message if isinstance(error, PenstockError) else str(error)


def _secret_key(settings: Settings) -> str:
    keys = known_keys(settings)
    if keys is None and not database_url(settings).startswith("sqlite"):
        raise Invalid("none: the server does not start (penstock generate-key)")
    if keys is None:
        return "none yet; the first start makes it"
    more = f", and {len(keys.ids) - 1} older" if len(keys.ids) > 1 else ""
    return f"{keys.newest} encrypts{more}"


def _audit_key(settings: Settings) -> str:
    if settings.audit_key is None:
        return "none: seals are not signed"
    signing.signer(settings.audit_key)
    return "seals are signed"


def _documents(settings: Settings) -> str:
    folder = Blobs(documents_url(settings)).folder
    if folder is None:
        return f"in {settings.documents_url}, which is not looked at"
    if not folder.exists():
        return f"{folder} is not there yet; the first document makes it"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written")
    return str(folder)


def _database(url: str) -> Iterator[Check]:
    try:
        with contextlib.closing(open_reader(url)) as reader:
            now = reader.read(lambda read: read.now())
            skew = abs(now - time.time() * 1000)
            yield "database", True, f"{url.partition(':')[0].partition('+')[0]} answers"
            yield _tried("schema", lambda: reader.read(maintenance.schema))
            yield "clock", skew < SKEW, f"{skew:.0f} ms from the database's"
    except PenstockError as error:
        yield "database", False, error.message
