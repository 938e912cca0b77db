"""Files on their way to and from the server, in chunks. Both can begin anew, for a call may be repeated."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from penstock.client.errors import UnexpectedAnswer

CHUNK = 256 * 1024


class Upload:
    """What is sent: a file by its path, an open binary file from where it stands, or bytes."""

    def __init__(self, source: Path | BinaryIO | bytes) -> None:
        self._source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._start = 0 if isinstance(self._source, Path) or not self._source.seekable() else self._source.tell()
        self._begun = False

    def chunks(self) -> Iterator[bytes]:
        """From the start. Raises: OSError, also when it would be read twice and cannot be rewound."""
        if isinstance(self._source, Path):
            with self._source.open("rb") as file:
                yield from _read(file)
            return
        if self._begun:
            self._source.seek(self._start)
        self._begun = True
        yield from _read(self._source)


def _read(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk


class Download:
    """Where an answer goes: a path, which gets the whole or is not touched, or an open binary file."""

    def __init__(self, target: Path | BinaryIO) -> None:
        self._path = target if isinstance(target, Path) else None
        self._part = target.with_name(target.name + ".part") if isinstance(target, Path) else None
        self._file = None if isinstance(target, Path) else target
        self._start = self._file.tell() if self._file is not None and self._file.seekable() else None
        self._digest = hashlib.sha256()
        self._size = 0

    def begin(self) -> None:
        """Nothing has come yet. Raises: OSError."""
        self._digest = hashlib.sha256()
        if self._part is not None:
            self._close()
            self._file = self._part.open("wb")
        elif self._size:
            assert self._file is not None
            if self._start is None:
                raise OSError("the connection broke, and what was written cannot be taken back")
            self._file.seek(self._start)
            self._file.truncate()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Raises: OSError."""
        assert self._file is not None, "begin comes first"
        self._digest.update(chunk)
        self._size += len(chunk)
        self._file.write(chunk)

    def end(self, etag: str | None) -> None:
        """All has come. Raises: OSError, UnexpectedAnswer when it is not what the server has."""
        digest = self._digest.hexdigest()
        told = (etag or "").strip('"')
        if len(told) == len(digest) and told != digest:
            raise UnexpectedAnswer("what came is not what the server has: its SHA-256 is another")
        if self._part is not None and self._path is not None:
            self._close()
            self._part.replace(self._path)

    def give_up(self) -> None:
        """A path is not touched."""
        if self._part is not None:
            self._close()
            self._part.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._part is not None and self._file is not None:
            self._file.close()
            self._file = None
