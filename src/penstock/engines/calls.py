"""Calls on a tenant's behalf: secrets are put into a request here, and a connection lends it address and credential.

Nothing of a secret leaves but in the call itself: errors of a call whose address holds one do not show the address, and answers
are masked by whoever keeps them (`Sendable.hidden`). Tokens of OAuth 2.0 are fetched through the same guarded client, kept in
memory until they expire, and fetched anew once when an endpoint answers 401.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode

from penstock.core import codec
from penstock.core.durations import Duration
from penstock.core.expression import compile_template
from penstock.core.references import names_in, put_in
from penstock.errors import Conflict
from penstock.identity.keys import Keys
from penstock.outbound import Outbound, OutboundError, Response
from penstock.store import Store, connections, vault
from penstock.store.vault import bound_to

OAUTH2 = "oauth2_client_credentials"
DEFAULT_TIMEOUT = 30.0
MOST_TOKENS = 1_000
EARLY = 30.0
"""Seconds before its end a token is not used any more."""
UNTOLD = 300.0
"""Seconds a token is used when its lifetime was not told."""


class MissingSecret(OutboundError):
    """A secret is not there, or cannot be read."""

    permanent = True


class MissingConnection(OutboundError):
    """A connection is not there."""

    permanent = True


class BadPath(OutboundError):
    """What is called through a connection is not below its address."""

    permanent = True


class TokenRefused(OutboundError):
    """The token endpoint gave no token."""

    permanent = True


class TokenUnavailable(OutboundError):
    """The token endpoint cannot give one now."""


class HiddenFailure(OutboundError):
    """A call failed whose address holds a secret."""


class HiddenBlocked(OutboundError):
    """A call may not leave, and its address holds a secret."""

    permanent = True


class Target(NamedTuple):
    """A connection, its secrets in their places."""

    tid: int
    name: str
    base_url: str
    headers: dict[str, str]
    auth: dict[str, Any]
    timeout: float | None
    secrets: Mapping[str, str]
    private: bool
    """Its address holds a secret."""


class Sendable(NamedTuple):
    """A request whole: secrets are in it, and nobody may keep it."""

    method: str
    url: str
    headers: dict[str, str]
    content: bytes
    hidden: frozenset[str]
    """Values that must not be kept with what comes back."""
    private: bool
    target: Target | None


class Calls:
    """One for the server."""

    def __init__(self, store: Store, client: Outbound, keys: Keys | None) -> None:
        self._store = store
        self._client = client
        self._keys = keys
        self._tokens: OrderedDict[str, tuple[float, str]] = OrderedDict()
        """Of a digest of who asks whom for what: until when it is good (by the clock that never jumps), and the token."""
        self._fetching: dict[str, asyncio.Task[str]] = {}

    async def secrets(self, tid: int, names: frozenset[str]) -> dict[str, str]:
        """Values by name. Raises: MissingSecret, which names every one that is not there."""
        if not names:
            return {}
        tenant, rows = await self._store.async_read(lambda read: vault.several(read, tid, names))
        missing = sorted(names - rows.keys())
        if missing:
            plural = "s" * (len(missing) > 1)
            raise MissingSecret(f"there is no secret{plural} {', '.join(map(repr, missing))}")
        if self._keys is None:
            raise MissingSecret("secrets cannot be read: this installation has no secret_key")
        found = {}
        for name, row in rows.items():
            try:
                found[name] = self._keys.open(row.key, row.value, bound_to(tenant, name))
            except Conflict as error:
                raise MissingSecret(f"the secret {name!r} cannot be read: {error.message}") from None
        return found

    async def target(self, tid: int, name: str) -> Target:
        """Raises: MissingConnection, MissingSecret."""
        row = await self._store.async_read(lambda read: connections.NAMED.get(read, tid, name))
        if row is None:
            raise MissingConnection(f"there is no connection {name!r}")
        document = codec.decode_json(row.document)
        values = await self.secrets(tid, names_in(document))
        private = bool(names_in(document["base_url"]))
        whole = put_in(compile_template(document, secrets=True).render({}), values)
        timeout = whole.get("timeout")
        return Target(
            tid=tid,
            name=name,
            base_url=whole["base_url"],
            headers={key.lower(): value for key, value in (whole.get("headers") or {}).items()},
            auth=whole.get("auth") or {"type": "none"},
            timeout=None if timeout is None else Duration.parse(timeout).milliseconds / 1000,
            secrets=values,
            private=private,
        )

    async def send(self, request: Sendable, seconds: float | None = None) -> tuple[Response, frozenset[str]]:
        """Send it, with the connection's credential; answers too what may not be kept of the answer. Raises: OutboundError."""
        target = request.target
        seconds = seconds or (target.timeout if target is not None else None) or DEFAULT_TIMEOUT
        until = time.monotonic() + seconds
        sent = await self._authorised(request, seconds)
        response = await self._send(sent, seconds)
        if response.status == 401 and target is not None and target.auth["type"] == OAUTH2:
            self._tokens.pop(_digest(target), None)
            left = max(0.1, until - time.monotonic())
            sent = await self._authorised(request, left)
            response = await self._send(sent, left)
        return response, sent.hidden

    async def probe(self, tid: int, connection: str, method: str, path: str) -> Response:
        """A call by hand. Raises: OutboundError."""
        target = await self.target(tid, connection)
        url = joined(target, path)
        hidden = frozenset(target.secrets.values())
        request = Sendable(method, url, {"accept": "*/*"}, b"", hidden, target.private, target)
        return (await self.send(request))[0]

    async def _send(self, sent: Sendable, seconds: float) -> Response:
        try:
            return await self._client.request(sent.method, sent.url, sent.headers, sent.content, timeout=seconds)
        except OutboundError as error:
            if not sent.private:
                raise
            kind = HiddenBlocked if error.permanent else HiddenFailure
            text = f"{type(error).__name__}; the address holds a secret and is not shown"
            raise kind(text) from None

    async def _authorised(self, request: Sendable, seconds: float) -> Sendable:
        """The request with the connection's headers and credential."""
        target = request.target
        if target is None:
            return request
        headers, auth = {**target.headers, **request.headers}, target.auth
        url, private, hidden = request.url, request.private, request.hidden
        match auth["type"]:
            case "basic":
                pair = base64.b64encode(f"{auth['username']}:{auth['password']}".encode()).decode()
                headers["authorization"], hidden = f"Basic {pair}", hidden | {pair}
            case "bearer":
                headers["authorization"] = f"Bearer {auth['token']}"
            case "api_key" if auth.get("in", "header") == "query":
                separator = "&" if "?" in url else "?"
                url = f"{url}{separator}{quote(auth['name'], safe='')}={quote(auth['value'], safe='')}"
                private = True
            case "api_key":
                headers[auth["name"].lower()] = auth["value"]
            case "oauth2_client_credentials":
                token = await self._token(target, seconds)
                headers["authorization"], hidden = f"Bearer {token}", hidden | {token}
        return request._replace(url=url, headers=headers, private=private, hidden=hidden)

    # -- OAuth 2.0 -----------------------------------------------------------------------------------------------------

    async def _token(self, target: Target, seconds: float) -> str:
        """A token that is good for a while; calls at the same time ask once for it."""
        digest = _digest(target)
        known = self._tokens.get(digest)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        task = self._fetching.get(digest)
        if task is None:
            task = self._fetching[digest] = asyncio.create_task(self._fetch(target, digest, seconds))
            task.add_done_callback(partial(self._fetched, digest))
        return await asyncio.shield(task)

    def _fetched(self, digest: str, task: asyncio.Task[str]) -> None:
        self._fetching.pop(digest, None)
        if not task.cancelled():
            task.exception()  # who waited for it may have left

    async def _fetch(self, target: Target, digest: str, seconds: float) -> str:
        auth = target.auth
        about = f"the token endpoint of connection {target.name!r}"
        form = {"grant_type": "client_credentials"}
        form |= {name: auth[name] for name in ("scope", "audience") if auth.get(name)}
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if auth.get("client_auth", "basic") == "basic":
            pair = f"{quote(auth['client_id'], safe='')}:{quote(auth['client_secret'], safe='')}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            form |= {"client_id": auth["client_id"], "client_secret": auth["client_secret"]}
        try:
            response = await self._client.request(
                "POST", auth["token_url"], headers, urlencode(form).encode(), timeout=seconds
            )
        except OutboundError as error:
            kind = TokenRefused if error.permanent else TokenUnavailable
            raise kind(f"{about} cannot be asked: {type(error).__name__}") from None
        if response.status in (408, 429) or response.status >= 500:
            raise TokenUnavailable(f"{about} answered {response.status}")
        token, lifetime = _granted(response)
        if token is None:
            raise TokenRefused(f"{about} answered {response.status} and gave no token")
        self._tokens[digest] = (time.monotonic() + lifetime - min(EARLY, lifetime / 2), token)
        self._tokens.move_to_end(digest)
        if len(self._tokens) > MOST_TOKENS:
            self._tokens.popitem(last=False)
        return token


def joined(target: Target, path: str) -> str:
    """What is called: always below the connection's address, whatever data has put into the path. Raises: BadPath."""
    base = target.base_url.rstrip("/")
    if not path:
        return target.base_url
    if path.startswith(("?", "#")):
        return f"{base}{path}"
    if "://" in path.partition("?")[0] or path.startswith("//"):
        raise BadPath(f"the url of a call through the connection {target.name!r} must be a path, not an address")
    plain = unquote(path.partition("?")[0].partition("#")[0]).replace("\\", "/")
    if any(segment in (".", "..") for segment in plain.split("/")):
        raise BadPath(f"the path of a call through the connection {target.name!r} may not climb: it holds . or ..")
    return f"{base}/{path.lstrip('/')}"


def _digest(target: Target) -> str:
    text = json.dumps([target.tid, target.name, target.auth], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _granted(response: Response) -> tuple[str | None, float]:
    """Token and seconds it is good for."""
    if not 200 <= response.status < 300:
        return None, 0.0
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return None, 0.0
    token = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
        return None, 0.0
    told = answer.get("expires_in")
    try:
        lifetime = float(told) if isinstance(told, int | float | str) and not isinstance(told, bool) else UNTOLD
    except (ValueError, OverflowError):  # no number, or one of more digits than a float has
        lifetime = UNTOLD
    return token, min(max(lifetime, 0.0), 86_400.0) if lifetime == lifetime else UNTOLD  # noqa: PLR0124 - NaN
