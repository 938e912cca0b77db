"""Answers made smaller on their way, for clients that say they take it (`Accept-Encoding: gzip`).

JSON and text of a kilobyte and more alone: below that a packet is sent anyway, and the work is not won back. Streams are
left alone, for their parts must leave at once, and so is what is compressed already.
"""

from __future__ import annotations

import asyncio
import zlib

from penstock.web.errors import Answer, Headers

SMALLEST = 1024
"""Bytes."""
LEVEL = 1
"""Of zlib; docs/performance.md has what the levels cost."""
ASIDE = 128 * 1024
"""Bytes from which a thread does it: the event loop is not held for longer than a few milliseconds."""

_TEXT = (b"application/json", b"application/problem+json", b"text/", b"application/yaml", b"application/xml")
_VARY = (b"vary", b"accept-encoding")
_GZIP = 16 + zlib.MAX_WBITS


async def compressed(answer: Answer, accepted: str | None) -> Answer:
    """The answer as it is, or gzipped. One that could be either says so (`Vary`)."""
    if len(answer.content) < SMALLEST or not answer.content_type.startswith(_TEXT) or _encoded(answer.headers):
        return answer
    answer.headers.append(_VARY)
    if not accepted or not takes_gzip(accepted):
        return answer
    if len(answer.content) < ASIDE:
        content = _gzip(answer.content)
    else:
        content = await asyncio.to_thread(_gzip, answer.content)
    answer.headers.append((b"content-encoding", b"gzip"))
    return answer._replace(content=content)


def takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` takes gzip: by name, or by `*` where gzip is not named; `q=0` is a no."""
    known: dict[str, bool] = {}
    for each in accepted.lower().split(","):
        name, _, parameter = each.replace(" ", "").partition(";")
        known[name] = not (parameter.startswith("q=0") and not parameter[3:].strip(".0"))
    return known.get("gzip", known.get("x-gzip", known.get("*", False)))


def _encoded(headers: Headers) -> bool:
    return any(name == b"content-encoding" for name, _ in headers)


def _gzip(content: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP)
    return packer.compress(content) + packer.flush()
