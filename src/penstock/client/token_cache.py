"""Tokens that outlive the program they were issued to, so that each call of a command line needs no new one.

A file for each server and name, readable by its owner alone and replaced as a whole, so that programs side by side see one
that is whole or none. It holds the token and never what the token was got with: of that a digest, so that a
token is taken by who shows the same again. What cannot be read or written is as if it were not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from penstock.client.credentials import Grant

OLD = 30 * 86_400
"""Seconds after which a file that nobody wrote any more is swept."""


class _Entry(msgspec.Struct):
    url: str
    name: str
    proof: str
    token: str
    expires_at: float
    """Seconds since 1970."""


class TokenCache:
    def __init__(self, folder: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = folder
        self._clock = clock

    def of(self, url: str, grant: Grant) -> KeptToken:
        url = url.rstrip("/")
        name = f"app:{grant.client_id}" if grant.password is None else f"user:{grant.email}"
        file = hashlib.sha256(f"{url}\n{name}".encode()).hexdigest()[:32]
        return KeptToken(self._folder / f"{file}.json", url, name, _proof(url, grant), self._clock)


class KeptToken:
    """`exchange.Kept` in a file."""

    def __init__(self, path: Path, url: str, name: str, proof: str, clock: Callable[[], float]) -> None:
        self._path = path
        self._url = url
        self._name = name
        self._proof = proof
        self._clock = clock

    def load(self) -> tuple[str, float] | None:
        try:
            entry = msgspec.json.decode(_own(self._path), type=_Entry)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        if (entry.url, entry.name, entry.proof) != (self._url, self._name, self._proof):
            return None
        left = entry.expires_at - self._clock()
        return (entry.token, left) if left > 0 and entry.token else None

    def save(self, token: str, seconds: float) -> None:
        entry = _Entry(self._url, self._name, self._proof, token, self._clock() + seconds)
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._sweep()
            write_private(self._path, msgspec.json.encode(entry))

    def drop(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _sweep(self) -> None:
        for each in self._path.parent.iterdir():
            with contextlib.suppress(OSError):
                if self._clock() - each.stat().st_mtime > OLD:
                    each.unlink()


def write_private(path: Path, content: bytes) -> None:
    """In the place of what is there, whole or not at all, for its owner alone. Raises: OSError."""
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mkstemp: 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(part).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink(missing_ok=True)
        raise


def _own(path: Path) -> bytes:
    """A file that only we can have written. Raises: OSError."""
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(f"{path} is not ours alone")
        return file.read(100_000)


def _proof(url: str, grant: Grant) -> str:
    """Tells whether the same is shown again. An application's secret has 256 random bits; a password is guessed at leisure
    by who has a plain digest of it, so that its digest takes long.
    """
    if grant.password is None:
        return hashlib.sha256((grant.client_secret or "").encode()).hexdigest()
    salt = hashlib.sha256(f"{url}\n{grant.email}".encode()).digest()
    return hashlib.scrypt(grant.password.encode(), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()
