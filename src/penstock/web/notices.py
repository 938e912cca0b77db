"""A small page that tells somebody what went wrong, where a browser was sent and not a program. It loads nothing."""

from __future__ import annotations

from html import escape

from penstock.web.errors import Answer
from penstock.web.routing import Raw

_HEADERS = {
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1>{title}</h1>
<p>{text}</p>
<p><a href="/">Go on</a></p>
</html>
"""


def wanted(accept: str | None) -> bool:
    """Whether the caller takes a page rather than JSON: it names HTML, and no JSON before it."""
    kinds = [part.partition(";")[0].strip().lower() for part in (accept or "").split(",")]
    json = (at for at, kind in enumerate(kinds) if kind.endswith("json"))
    html = (at for at, kind in enumerate(kinds) if kind in {"text/html", "application/xhtml+xml"})
    return next(html, len(kinds)) < next(json, len(kinds))


def page(title: str, text: str, error: Answer) -> Raw:
    """The page; status and headers are those of the error as programs get it."""
    content = _PAGE.format(title=escape(title), text=escape(text)).encode("utf-8", "replace")
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return Raw(content, "text/html; charset=utf-8", error.status, {**headers, **_HEADERS})
