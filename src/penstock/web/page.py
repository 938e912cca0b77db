"""The files of the page that shows a door's OpenAPI document and lets people try it. Nothing comes from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from penstock.web.files import unchanged
from penstock.web.routing import Call, Raw

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


def _asset(name: str, content_type: str) -> Callable[[Call[Any]], Awaitable[Raw]]:
    async def handler(call: Call[Any]) -> Raw:
        content, etag = _content(name)
        headers = {**_HEADERS, "etag": etag}
        if unchanged(call.headers, etag):
            return Raw(b"", "", 304, headers)
        return Raw(content, f"{content_type}; charset=utf-8", headers=headers)

    return handler


@cache
def _content(name: str) -> tuple[bytes, str]:
    content = (Path(__file__).parent / "assets" / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


FILES = {
    "/docs": _asset("docs.html", "text/html"),
    "/docs/page.js": _asset("docs.js", "text/javascript"),
    "/docs/page.css": _asset("docs.css", "text/css"),
}
"""By path below the door's prefix. A link in the page is relative to it."""
