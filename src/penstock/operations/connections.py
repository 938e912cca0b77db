"""Connections of the tenant: where http nodes call, with which headers and which credential. They name secrets, they hold none."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from penstock.core import codec
from penstock.core.durations import Duration
from penstock.core.expression import compile_template
from penstock.core.references import names_in, references
from penstock.errors import Conflict, Invalid, NotFound, Problem
from penstock.identity.model import Actor
from penstock.identity.policy import Action
from penstock.operations.context import Context
from penstock.operations.named import Named
from penstock.outbound import OutboundError
from penstock.store import connections, vault
from penstock.store.rows import Tx

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
MAX_HEADERS = 50
LONGEST_TIMEOUT = 600_000

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_SECRET_MEMBERS = frozenset({"password", "token", "client_secret", "value"})
"""Members of `auth` that are credentials: they must name a secret."""
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Headers that are."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """`document`: {base_url, headers, auth, timeout}, secrets as references. Times in milliseconds."""

    name: str
    document: dict[str, Any]
    revision: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    warnings: list[Problem] = []


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """What a call by hand met: a status, or what kept it from one."""

    ok: bool
    status: int | None
    error: str | None
    milliseconds: int


async def put(
    ctx: Context,
    actor: Actor,
    name: str,
    document: dict[str, Any],
    expected: frozenset[int] | None,
    key: str | None = None,
) -> tuple[Connection, bool]:
    """Store a connection; the flag tells whether the name is new. Secrets it names and that are not there are warnings.

    Raises: Forbidden, Invalid with every problem, Stale when what is there is none of `expected`.
    """
    _NAMED.require_write(actor, name)
    problems = list(_problems(document))
    if not NAME.fullmatch(name):
        problems.insert(0, Problem("name", "must be 1 to 64 letters, digits, _ and -, no digit first", "code"))
    if problems:
        raise Invalid(f"{problems[0].pointer}: {problems[0].message}", problems)
    tid, text = actor.tenant.tid, codec.encode_json(document)
    # not the headers: somebody may have written there what should have been a secret
    told = {"base_url": document["base_url"], "auth": (document.get("auth") or {"type": "none"})["type"]}
    _, known_secrets = await ctx.store.async_read(lambda read: vault.several(read, tid, names_in(document)))
    warnings = [
        Problem(pointer, f"there is no secret {each!r} yet", "unknown_secret", warning=True)
        for pointer, each in references(document)
        if each not in known_secrets
    ]

    def unit(tx: Tx) -> tuple[Connection, bool]:
        def make(revision: int, created_at: int, created_by: str) -> connections.Row:
            return connections.Row(tid, name, text, revision, created_at, created_by, tx.now, actor.principal)

        row, fresh = _NAMED.keep(tx, actor, name, expected, make, told)
        return _view(row, warnings), fresh

    request = ["connection.put", name, expected, document]
    answer, _ = await ctx.once(actor, key, request, unit, tuple[Connection, bool])
    return answer


async def probe(ctx: Context, actor: Actor, name: str, method: str, path: str) -> Probe:
    """Call through a connection and tell what came of it; the answer's content is not shown. Raises: NotFound, Forbidden."""
    _NAMED.require_write(actor, name)
    tid = actor.tenant.tid
    if await ctx.store.async_read(lambda read: connections.NAMED.get(read, tid, name)) is None:
        raise NotFound("connection", name)
    if ctx.calls is None:
        raise Conflict("no calls leave from here")
    began = time.monotonic()
    status, trouble = None, None
    try:
        status = (await ctx.calls.probe(tid, name, method, path)).status
    except OutboundError as error:
        trouble = f"{type(error).__name__}: {error}"
    ok = status is not None and status < 400
    return Probe(ok=ok, status=status, error=trouble, milliseconds=round((time.monotonic() - began) * 1000))


def _view(row: connections.Row, warnings: list[Problem] | None = None) -> Connection:
    return Connection(
        name=row.name,
        document=codec.decode_json(row.document),
        revision=row.revision,
        created_at=row.created_at,
        created_by=row.created_by,
        modified_at=row.modified_at,
        modified_by=row.modified_by,
        warnings=warnings or [],
    )


_NAMED = Named("connection", connections.NAMED, _view, Action.CONNECTION_READ, Action.CONNECTION_WRITE)
get, listed, delete = _NAMED.get, _NAMED.listed, _NAMED.delete


# -- checking --------------------------------------------------------------------------------------------------------


def _problems(document: dict[str, Any]) -> list[Problem]:
    found = [
        *_url_problems("/base_url", document["base_url"]),
        *_header_problems(document.get("headers") or {}),
        *_auth_problems(document.get("auth") or {"type": "none"}),
        *_template_problems(document),
    ]
    if document.get("timeout") is not None:
        found += _timeout_problems(document["timeout"])
    return found


def _url_problems(pointer: str, url: str) -> list[Problem]:
    def problem(message: str) -> list[Problem]:
        return [Problem(pointer, message, "url")]

    if not url.isprintable() or " " in url:
        return problem("may not hold blanks or control characters")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return problem(f"is not a URL: {error}")
    if parts.scheme.lower() not in {"http", "https"} or not host:
        return problem("must begin with http:// or https:// and name a host")
    if parts.username is not None or parts.password is not None:
        return problem("may not hold credentials: they belong in auth")
    if "${" in parts.netloc:
        return problem("must name its host in clear")
    if pointer == "/base_url" and (parts.query or parts.fragment or url.endswith(("?", "#"))):
        return problem("may have neither a query nor a fragment")
    return []


def _header_problems(headers: dict[str, str]) -> list[Problem]:
    found = []
    if len(headers) > MAX_HEADERS:
        found.append(Problem("/headers", f"may have {MAX_HEADERS} entries", "limit"))
    for name, value in headers.items():
        if not _HEADER.fullmatch(name):
            found.append(Problem("/headers", f"{name[:80]!r} is not the name of a header", "header"))
        elif name.lower() in _SECRET_HEADERS and not names_in(value):
            found.append(Problem(f"/headers/{name}", "must name a secret: ${secrets.NAME}", "secret"))
        elif any(ord(character) < 32 and character != "\t" for character in value):
            found.append(Problem(f"/headers/{name}", "must be one line", "header"))
    return found


def _auth_problems(auth: dict[str, Any]) -> list[Problem]:
    found = [
        Problem(f"/auth/{member}", "must name a secret: ${secrets.NAME}", "secret")
        for member in sorted(_SECRET_MEMBERS & auth.keys())
        if not names_in(auth[member])
    ]
    if "token_url" in auth:
        found += _url_problems("/auth/token_url", auth["token_url"])
    if auth["type"] == "api_key" and auth.get("in", "header") == "header" and not _HEADER.fullmatch(auth["name"]):
        found.append(Problem("/auth/name", "is not the name of a header", "header"))
    if auth["type"] == "basic" and ":" in auth["username"]:
        found.append(Problem("/auth/username", "may not hold a colon", "invalid"))
    return found


def _template_problems(value: Any, pointer: str = "") -> list[Problem]:
    """Of every text: nothing but references to secrets may stand in `${…}`."""
    if isinstance(value, dict):
        return [each for key, below in value.items() for each in _template_problems(below, f"{pointer}/{key}")]
    if not isinstance(value, str) or "${" not in value:
        return []
    try:
        template = compile_template(value, secrets=True)
    except ValueError as error:
        return [Problem(pointer, str(error), "expression")]
    if template.expressions:
        return [Problem(pointer, "only ${secrets.NAME} can stand here", "expression")]
    return []


def _timeout_problems(text: str) -> list[Problem]:
    try:
        timeout = Duration.parse(text)
    except ValueError as error:
        return [Problem("/timeout", str(error), "duration")]
    if timeout.months or not 100 <= timeout.milliseconds <= LONGEST_TIMEOUT:
        return [Problem("/timeout", "must be from PT0.1S to PT10M", "range")]
    return []
