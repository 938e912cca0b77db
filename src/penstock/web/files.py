"""Files over HTTP: uploads as they come (multipart/form-data, or the body itself), names in headers, ranges, what is fresh.

Everything here works on chunks: what a file is, and where it lies, is not known here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.message import Message as Headers
from typing import NamedTuple
from urllib.parse import quote, unquote

import multipart

from penstock.errors import Invalid, Problem, RangeNotSatisfiable
from penstock.web.parsing import MAX_PARAMETERS

MULTIPART = "multipart/form-data"
ANY = "*/*"
OCTETS = "application/octet-stream"
PART = "file"
"""Name of the part that is the file."""
SLOWEST = 4096
"""Bytes a second that an upload must come at, in the long run."""
LONGEST_NAME = 255

_TYPE = re.compile(
    r"[\w!#$&^.+-]{1,100}/[\w!#$&^.+-]{1,100}( *; *[\w!#$&^.+-]{1,50}=[\w!#$&^.+'() -]{1,100})*", re.ASCII
)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_EXTENDED = re.compile(r"""filename\*\s*=\s*utf-8'[^']*'([^;\s]*)""", re.IGNORECASE)
_PLAIN = re.compile(r"[^ !#-\[\]-~]")
"""What cannot stand as it is in a quoted string."""


@dataclass(frozen=True, slots=True)
class File:
    """A file on its way in."""

    name: str
    content_type: str
    chunks: AsyncIterator[bytes]


async def incoming(headers: Mapping[str, str], chunks: AsyncIterator[bytes], name: str | None = None) -> File:
    """The file of a request. `name` wins over what the request calls it.

    Raises: Invalid; so do its chunks, when what follows is not as it should be.
    """
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() == MULTIPART:
        return await _part(given, chunks, name)
    told = _file_name(headers.get("content-disposition"))
    return File(checked_name(name or told), checked_type(given or OCTETS, "Content-Type"), chunks)


def checked_name(name: str | None) -> str:
    """A name to keep a file under; it may be anything that is no path. Raises: Invalid."""
    if not name:
        message = "a file needs a name: `name` in the query, or `filename` in Content-Disposition"
        raise Invalid(message, [Problem("name", message, "missing")])
    if len(name) > LONGEST_NAME:
        raise _bad_name(f"a file's name may have {LONGEST_NAME} characters at most")
    if name in {".", ".."} or "/" in name or "\\" in name:
        raise _bad_name("a file's name may be no path")
    if not name.isprintable() or "\ufffd" in name:
        raise _bad_name("a file's name may hold printable characters only, in UTF-8")
    return name


def checked_type(content_type: str, where: str) -> str:
    """Raises: Invalid."""
    if len(content_type) > 255 or not _TYPE.fullmatch(content_type):
        message = "not a media type of the form type/subtype"
        raise Invalid(f"{where}: {message}", [Problem(where, message)])
    return content_type


def _bad_name(message: str) -> Invalid:
    return Invalid(message, [Problem("name", message)])


def _file_name(disposition: str | None) -> str | None:
    """`filename*` or `filename` of a Content-Disposition (RFC 6266)."""
    if disposition is None:
        return None
    if whole := _EXTENDED.search(disposition):
        return unquote(whole[1], errors="replace")
    message = Headers()
    try:
        message["Content-Disposition"] = disposition.encode("latin-1").decode("utf-8", "replace")
        return message.get_filename()
    except (ValueError, LookupError):  # a charset that nobody knows, or bytes that are none of it
        raise _bad_name("the filename in Content-Disposition cannot be read") from None


# -- a form with a file ------------------------------------------------------------------------------------------------


async def _part(content_type: str, chunks: AsyncIterator[bytes], name: str | None) -> File:
    boundary = multipart.parse_options_header(content_type)[1].get("boundary", "")
    events = _events(boundary, chunks)
    async for event in events:
        assert isinstance(event, multipart.MultipartSegment), "the parser begins with a segment"
        _require_file(event)
        kind = event.content_type or OCTETS
        return File(checked_name(name or event.filename), checked_type(kind, "Content-Type"), _content(events))
    raise _odd(f"there is no part {PART!r}")


async def _content(events: AsyncIterator[object]) -> AsyncIterator[bytes]:
    """The first segment's bytes; whatever comes after it is refused."""
    async for event in events:
        if isinstance(event, bytes | bytearray):
            yield bytes(event)
        elif isinstance(event, multipart.MultipartSegment):
            _require_file(event)
            raise _odd(f"there is more than one part {PART!r}: send each file by itself")


async def _events(boundary: str, chunks: AsyncIterator[bytes]) -> AsyncIterator[object]:
    try:
        parser = multipart.PushMultipartParser(boundary, max_segment_count=MAX_PARAMETERS, strict=True)
        async for chunk in chunks:
            for event in parser.parse(chunk) if chunk else ():
                yield event
        parser.close()
    except (multipart.MultipartError, UnicodeDecodeError) as error:
        raise _odd(str(error)) from None


def _require_file(segment: multipart.MultipartSegment) -> None:
    if segment.name != PART:
        raise _odd(f"the form has a part {segment.name!r}; the only part is {PART!r}, the rest stands in the query")


def _odd(what: str) -> Invalid:
    message = f"not a form with a file: {what}"
    return Invalid(message, [Problem("", message, "malformed")])


# -- pace --------------------------------------------------------------------------------------------------------------


async def paced(chunks: AsyncIterator[bytes], patience: float) -> AsyncIterator[bytes]:
    """The same chunks, as long as they come: each within `patience` seconds, and all of them not much slower than `SLOWEST`.

    Raises: Invalid when the sender is too slow.
    """
    began, size = time.monotonic(), 0
    while True:
        allowed = began + patience + size / SLOWEST - time.monotonic()
        try:
            async with asyncio.timeout(min(patience, allowed)):
                chunk = await anext(chunks, None)
        except TimeoutError:
            message = f"the file comes too slowly: nothing within {patience:g} s, or less than {SLOWEST} bytes a second"
            raise Invalid(message, [Problem("", message, "too_slow")], close=True) from None
        if chunk is None:
            return
        size += len(chunk)
        yield chunk


# -- ranges and freshness ----------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """Bytes from `start` up to before `end`."""

    start: int
    end: int


def wanted_part(headers: Mapping[str, str], size: int, etag: str) -> Part | None:
    """What `Range` asks for; None is the whole: no range, one that cannot be read, several, or one for another content.

    Raises: RangeNotSatisfiable.
    """
    found = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    condition = headers.get("if-range")
    if found is None or found[0] == "bytes=-" or (condition is not None and condition.strip() != etag):
        return None
    first, last = found[1], found[2]
    if first and last and int(last) < int(first):
        return None
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= end:
        message = f"bytes {first}-{last} are not there: it has {size}"
        raise RangeNotSatisfiable(message, [Problem("Range", message)], content_range=f"bytes */{size}")
    return Part(start, end)


def unchanged(headers: Mapping[str, str], etag: str) -> bool:
    """Whether the caller has it already, by `If-None-Match`."""
    given = headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in {etag, "*"} for each in given.split(","))


def attachment(name: str) -> str:
    """A Content-Disposition that never opens in place: the name in ASCII for old clients, and whole (RFC 6266, RFC 5987)."""
    plain = _PLAIN.sub("_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
