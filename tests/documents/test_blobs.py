"""The place of documents: a folder, and a bucket that speaks S3. Both keep the same promises."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from penstock.documents import PART, Blobs, copied
from penstock.errors import Invalid, Unavailable
from support.bucket import Bucket, serving

ID = "01890a5e-0000-7000-8000-00000000ab"
CONTENT = random.Random(3).randbytes(2 * PART + 12_345)


class Place:
    """Blobs, and a look behind them."""

    def __init__(self, blobs: Blobs, folder: Path | None, bucket: Bucket | None) -> None:
        self.blobs, self.folder, self.bucket = blobs, folder, bucket

    def names(self) -> set[str]:
        if self.bucket is not None:
            assert not self.bucket.uploads, "an upload was left open"
            return {name.rpartition("/")[2] for name in self.bucket.objects}
        assert self.folder is not None
        return {path.name for path in self.folder.glob("*/*")}

    def age(self, by: timedelta) -> None:
        if self.bucket is not None:
            self.bucket.age = by
        for path in self.folder.glob("*/*") if self.folder else ():
            then = time.time() - by.total_seconds()
            os.utime(path, (then, then))


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path: Path, monkeypatch) -> Iterator[Place]:
    if request.param == "folder":
        yield Place(Blobs((tmp_path / "a folder").as_uri()), tmp_path / "a folder", None)
        return
    with serving() as bucket:
        settings = {"ENDPOINT": bucket.url, "ALLOW_HTTP": "true", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "s"}
        for name, value in {**settings, "REGION": "us-east-1"}.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        yield Place(Blobs("s3://papers/of/ours"), None, bucket)


async def write(blobs: Blobs, id: str, content: bytes) -> None:
    async with blobs.writing(id) as writer:
        for at in range(0, len(content), 100_000):
            await writer.write(content[at : at + 100_000])


async def read(blobs: Blobs, id: str, start: int, end: int) -> bytes:
    return b"".join([chunk async for chunk in await blobs.reading(id, start, end)])


async def listed(blobs: Blobs, before: datetime) -> set[str]:
    return {id async for ids in blobs.old(before) for id in ids}


@pytest.mark.parametrize("size", [0, 1, PART, len(CONTENT)])
def test_what_was_written_is_read_whole_and_in_part(place: Place, size: int):
    async def main() -> None:
        await write(place.blobs, ID, CONTENT[:size])
        assert await read(place.blobs, ID, 0, size) == CONTENT[:size]
        assert await read(place.blobs, ID, size // 3, size // 2) == CONTENT[size // 3 : size // 2]
        await place.blobs.delete(ID)
        await place.blobs.delete(ID)  # it is gone: that is all that was asked
        assert place.names() == set()

    asyncio.run(main())


@pytest.mark.parametrize("size", [10, len(CONTENT)])
@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_what_breaks_off_leaves_nothing(place: Place, size: int, error: Any):
    async def broken_off() -> None:
        async with place.blobs.writing(ID) as writer:
            for at in range(0, size, 100_000):
                await writer.write(CONTENT[at : min(size, at + 100_000)])
            raise error

    async def main() -> None:
        with pytest.raises(error):
            await broken_off()
        assert place.names() == set()

    asyncio.run(main())


def test_old_ones_are_listed(place: Place):
    async def main() -> None:
        for n in range(3):
            await write(place.blobs, f"{ID}0{n}", b"x")
        now = datetime.now(UTC)
        assert await listed(place.blobs, now - timedelta(days=1)) == set()
        place.age(timedelta(days=2))
        assert await listed(place.blobs, now - timedelta(days=1)) == {f"{ID}0{n}" for n in range(3)}

    asyncio.run(main())


def test_a_place_that_cannot_be_reached_is_told_as_that(place: Place):
    async def main() -> None:
        await write(place.blobs, ID, b"x")
        if place.bucket is not None:
            place.bucket.down = True
        else:
            assert place.folder is not None
            (place.folder / "ab" / ID).unlink()
            (place.folder / "ab").rmdir()
            (place.folder / "ab").write_text("in the way")
        with pytest.raises(Unavailable):
            await read(place.blobs, ID, 0, 1)
        with pytest.raises(Unavailable):
            await write(place.blobs, ID, b"x")

    asyncio.run(main())


@pytest.mark.parametrize("url", ["ftp://x/y", "/a/folder", "", "http://x", "memory:///"])
def test_an_address_of_another_kind_is_refused(url: str):
    with pytest.raises(Invalid):
        Blobs(url)


def test_a_folder_is_copied_once(tmp_path: Path):
    async def main() -> None:
        blobs = Blobs((tmp_path / "from").as_uri())
        assert copied(tmp_path / "from", tmp_path / "to") == 0
        await write(blobs, ID, b"one")
        (tmp_path / "from" / "ab" / f"{ID}#1").write_bytes(b"half")
        assert copied(tmp_path / "from", tmp_path / "to") == 1
        assert copied(tmp_path / "from", tmp_path / "to") == 1
        assert [path.name for path in (tmp_path / "to").glob("*/*")] == [ID]

    asyncio.run(main())
