"""Where the content of documents lies: a folder, or a bucket of S3, Google Cloud Storage or Azure, named by one URL.

A blob is named by its document's id and written once. It comes before its row, so a crash leaves a blob that nobody knows,
never a row without a blob: `old` finds such blobs for the sweep. Nothing here knows rows, tenants or who may.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from penstock.errors import Invalid, Problem, Unavailable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("file", "s3", "gs", "az")
PART = 5 * 1024 * 1024
"""Bytes of an upload in memory; the least S3 takes for a part."""
CHUNK = 256 * 1024
"""Bytes of a download in memory."""
_STAGED = re.compile(r"#\d+$")
"""How a file is named while it is written."""


class Blobs:
    """One place. The library that speaks to it is imported when it is first used."""

    def __init__(self, url: str) -> None:
        """Raises: Invalid for an address that is none of ours."""
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES:
            message = f"documents_url is of the form file:///FOLDER, s3://, gs:// or az://, not {url!r}"
            raise Invalid(message, [Problem("", message)])
        self.url = url
        self.folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        """Of blobs that are files here."""
        self._opened: Any = None

    def _store(self) -> ObjectStore:
        if self._opened is None:
            from obstore import store  # noqa: PLC0415 - who keeps no documents does not load it

            try:
                if self.folder is not None:
                    self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                    self._opened = store.LocalStore(self.folder)
                else:
                    self._opened = store.from_url(self.url)
            except Exception as error:
                raise _unavailable("cannot be opened", error) from error
        opened: ObjectStore = self._opened
        return opened

    @asynccontextmanager
    async def writing(self, id: str) -> AsyncIterator[Writer]:
        """A new blob; it is there, whole and on disk, when the block ends well, and not at all when it does not.

        Raises: Unavailable.
        """
        import obstore  # noqa: PLC0415

        path = _path(id)
        writer = Writer(obstore.open_writer_async(self._store(), path, buffer_size=PART, max_concurrency=1))
        try:
            yield writer
            await writer.close()
            if self.folder is not None:
                await asyncio.to_thread(_sync, self.folder / path)
        except BaseException:
            # closed, for an upload in parts that is left open is paid for; then nobody sees it
            await asyncio.shield(self._discard(writer, id))
            raise

    async def _discard(self, writer: Writer, id: str) -> None:
        if self.folder is None and not writer.closed:
            try:
                await writer.close()
            except Unavailable:
                return
        writer.drop()
        try:
            await self.delete(id)
        except Unavailable:
            return  # the sweep comes again

    async def reading(self, id: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to before `end`, in chunks; it is open when this returns.

        Raises: Unavailable, also when the blob is gone.
        """
        import obstore  # noqa: PLC0415

        if start >= end:
            return _nothing()
        try:
            found = await obstore.get_async(self._store(), _path(id), options={"range": (start, end)})
        except Exception as error:
            raise _unavailable("cannot be read", error) from error
        return _chunks(found.stream(min_chunk_size=CHUNK))

    async def delete(self, id: str) -> None:
        """One that is not there is deleted. Raises: Unavailable."""
        import obstore  # noqa: PLC0415

        try:
            await obstore.delete_async(self._store(), _path(id))
        except FileNotFoundError:
            return
        except Exception as error:
            raise _unavailable("cannot be deleted", error) from error

    async def old(self, before: datetime) -> AsyncIterator[list[str]]:
        """Ids of blobs written before a time, many at once. Halves that a crash has left behind are removed on the way.

        Raises: Unavailable.
        """
        if self.folder is not None:
            if not self.folder.exists():
                return  # nobody has stored anything yet
            await asyncio.to_thread(_remove_halves, self.folder, before)
        import obstore  # noqa: PLC0415

        try:
            async for found in obstore.list(self._store(), chunk_size=500):
                yield [meta["path"].rpartition("/")[2] for meta in found if meta["last_modified"] < before]
        except Exception as error:
            raise _unavailable("cannot be listed", error) from error


def copied(source: Path, target: Path) -> int:
    """Copies the blobs that are not in the target yet; a blob never changes. Answers how many there are now.

    Raises: Unavailable.
    """
    count = 0
    try:
        for blob in source.glob("*/*"):
            if _STAGED.search(blob.name):
                continue
            count += 1
            place = target / blob.parent.name / blob.name
            if place.exists():
                continue
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            part = place.with_name(f"{place.name}#0")
            shutil.copyfile(blob, part)
            part.replace(place)
            _sync(place)
    except OSError as error:
        raise _unavailable("cannot be copied", error) from error
    return count


class Writer:
    """Takes a blob's bytes."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.closed = False

    async def write(self, part: bytes) -> None:
        """Raises: Unavailable."""
        try:
            await self._file.write(part)
        except Exception as error:
            raise _unavailable("cannot be written", error) from error

    async def close(self) -> None:
        """Raises: Unavailable."""
        self.closed = True
        try:
            await self._file.close()
        except Exception as error:
            raise _unavailable("cannot be written", error) from error

    def drop(self) -> None:
        """What was not closed is forgotten; a file that was begun goes."""
        self._file = None


def _path(id: str) -> str:
    """Spread over folders: some file systems are slow with many files in one."""
    return f"{id[-2:]}/{id}"


def _sync(path: Path) -> None:
    """The file and its name are on disk. An upload that was acknowledged survives the loss of power."""
    for each in (path, path.parent, path.parent.parent):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_halves(folder: Path, before: datetime) -> None:
    for path in folder.glob("*/*"):
        if _STAGED.search(path.name) and datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
            path.unlink(missing_ok=True)


async def _chunks(stream: Any) -> AsyncIterator[bytes]:
    try:
        async for chunk in stream:
            yield bytes(chunk)
    except Exception as error:
        raise _unavailable("cannot be read", error) from error


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for chunk in nothing:
        yield chunk


def _unavailable(what: str, error: Exception) -> Unavailable:
    """The library's messages run over many lines; the first says it."""
    if isinstance(error, Unavailable):
        return error
    return Unavailable(f"the place of documents {what}: {str(error).partition(chr(10))[0][:300]}", retry_after=5)
