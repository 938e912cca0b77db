"""Where the data of an installation lies, and the key that encrypts in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from penstock.config import Settings
from penstock.errors import Invalid, Unavailable
from penstock.identity.keys import KEY_BYTES, Keys, encode_key
from penstock.store import Store, signing_keys
from penstock.wiring.private_files import write_text_private

SECRET_KEY = "secret.key"  # noqa: S105 - a file's name
NO_KEY = (
    "there is no secret_key: `penstock generate-key > secret.key` makes one; keep it out of the database, give every node the "
    "same, and name its file with PENSTOCK_SECRET_KEY_FILE"
)

NOT_SIGNED_ANY_MORE = (
    "seals of the audit were signed before, and there is no audit_key: seals made now are not signed, which `penstock audit verify "
    "--public-key` will find for good. Stop the server, name the key's file with PENSTOCK_AUDIT_KEY_FILE, and start it again"
)


def database_url(settings: Settings) -> str:
    """Where the data is: the database named, else SQLite in the data directory."""
    if settings.database_url is not None:
        return settings.database_url
    return f"sqlite:///{settings.data_dir.absolute() / 'penstock.db'}"


def documents_url(settings: Settings) -> str:
    """Where the content of documents is: the place named, else a folder in the data directory."""
    if settings.documents_url is not None:
        return settings.documents_url
    return (settings.data_dir.absolute() / "documents").as_uri()


def new_key() -> str:
    """A fresh key, as it stands in `secret_key`."""
    return encode_key(os.urandom(KEY_BYTES))


def known_keys(settings: Settings) -> Keys | None:
    """The keys of the configuration; on SQLite, where it names none, those of the data directory. None: there are none.

    Raises: Invalid.
    """
    if settings.secret_key is not None:
        return Keys.parse(settings.secret_key)
    path = _key_file(settings)
    if path is None or not path.exists():
        return None
    try:
        return Keys.parse(path.read_text())
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read the key in {path}: {error}") from None


def keys_of(settings: Settings, store: Store) -> Keys:
    """The same, and on SQLite made in the data directory where there are none; only who has the store open may make them.

    Raises: Invalid, Unavailable (the file cannot be written).
    """
    known = known_keys(settings)
    if known is not None:
        return known
    path = _key_file(settings)
    if path is None:
        raise Invalid(NO_KEY)
    if store.read(signing_keys.every):
        raise lost_key(settings)
    text = new_key()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_private(path, text)
    except OSError as error:
        raise Unavailable(f"cannot write a new key to {path}: {error.strerror or error}") from None
    return Keys.parse(text)


def lost_key(settings: Settings) -> Invalid:
    """There is no key, and what is encrypted with it is there."""
    return Invalid(
        f"{_key_file(settings)} is not there, and the database has keys that are encrypted with it: put it back, or set secret_key. "
        "If it is lost, set secret_key to a new one (`penstock generate-key`) and run `penstock rotate-keys --signing`"
    )


def key_file(settings: Settings, files: Mapping[str, Path]) -> Path | None:
    """Where the key was read from; None: not from a file of its own. `files`: of the settings that were."""
    if settings.secret_key is not None:
        return files.get("secret_key")
    return _key_file(settings)


def _key_file(settings: Settings) -> Path | None:
    """Beside the database of a server that is the only one."""
    return settings.data_dir / SECRET_KEY if database_url(settings).startswith("sqlite") else None


def address(host: str, port: int) -> str:
    """The server's own."""
    return f"http://{printable_host(host)}:{port}"


def printable_host(host: str) -> str:
    return "127.0.0.1" if host in ("", "0.0.0.0") else f"[{host}]" if ":" in host else host  # noqa: S104
