"""`penstock doctor`: whether an installation is well. It looks, beside a server that may run, and changes nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import penstock
from penstock.audit import signing
from penstock.config import Settings
from penstock.documents import Blobs
from penstock.errors import Invalid, PenstockError, Unavailable
from penstock.operations import signing as token_keys
from penstock.store import Read, maintenance, open_reader, seals
from penstock.store.reader import Reader
from penstock.wiring.places import (
    NO_KEY,
    NOT_SIGNED_ANY_MORE,
    database_url,
    documents_url,
    key_file,
    known_keys,
    lost_key,
)  # fmt: skip
from penstock.wiring.private_files import read_by_others

T = TypeVar("T")
Check = tuple[str, bool, str]
"""What, whether it is well, details."""

SKEW = 2_000
"""Milliseconds that this machine's clock may be from the database's."""


def doctor(settings: Settings, sources: Mapping[str, str], files: Mapping[str, Path]) -> list[Check]:
    """`sources`: where each setting came from; `files`: of the secrets that were read from files, which."""
    url = database_url(settings)
    stored = maintenance.check(url)
    there = maintenance.exists(url) and all(good for _, good, _ in stored)
    with contextlib.ExitStack() as stack:
        reader = stack.enter_context(contextlib.closing(open_reader(url))) if there else None
        return [
            ("python", sys.version_info >= (3, 11), sys.version.split()[0]),
            ("penstock", True, penstock.__version__),
            ("settings", True, _from(sources)),
            _tried("secret key", lambda: _secret_key(settings, files, reader)),
            _tried("audit key", lambda: _audit_key(settings, files, reader)),
            *stored,
            *(_database(url, reader) if reader is not None else ()),
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


def _secret_key(settings: Settings, files: Mapping[str, Path], reader: Reader | None) -> str:
    keys = known_keys(settings)
    signs = _looked(reader, token_keys.signing)
    if keys is None and not database_url(settings).startswith("sqlite"):
        raise Invalid(NO_KEY)
    if keys is None and signs is not None:
        raise lost_key(settings)
    if keys is None:
        return "none yet; the first start makes it"
    if signs is not None:
        token_keys.require_readable(keys, signs)
    _require_private(key_file(settings, files))
    more = f", and {len(keys.ids) - 1} older" if len(keys.ids) > 1 else ""
    return f"{keys.newest} encrypts{more}"


def _audit_key(settings: Settings, files: Mapping[str, Path], reader: Reader | None) -> str:
    if settings.audit_key is None:
        if _looked(reader, seals.were_signed):
            raise Invalid(NOT_SIGNED_ANY_MORE)
        return "none: seals are not signed"
    signing.signer(settings.audit_key)
    _require_private(files.get("audit_key"))
    return "seals are signed"


def _looked(reader: Reader | None, question: Callable[[Read], T]) -> T | None:
    """None where there is nothing to ask yet; that a database does not answer is told in its own line."""
    if reader is None:
        return None
    try:
        return reader.read(lambda read: question(read) if maintenance.has_seals_and_keys(read) else None)
    except Unavailable:
        return None


def _require_private(path: Path | None) -> None:
    if path is not None and (said := read_by_others(path)) is not None:
        raise Invalid(said)


def _documents(settings: Settings) -> str:
    folder = Blobs(documents_url(settings)).folder
    if folder is None:
        return f"in {settings.documents_url}, which is not looked at"
    if not folder.exists():
        return f"{folder} is not there yet; the first document makes it"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"{folder} cannot be written")
    return str(folder)


def _database(url: str, reader: Reader) -> Iterator[Check]:
    try:
        now = reader.read(lambda read: read.now())
        skew = abs(now - time.time() * 1000)
        yield "database", True, f"{url.partition(':')[0].partition('+')[0]} answers"
        yield _tried("schema", lambda: reader.read(maintenance.schema))
        yield "clock", skew < SKEW, f"{skew:.0f} ms from the database's"
    except PenstockError as error:
        yield "database", False, error.message
