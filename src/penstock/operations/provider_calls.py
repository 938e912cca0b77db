"""What is asked of a provider of identity: its description, its keys, a code's tokens, what it knows of a person.

Every call leaves through the guarded client. A provider that lies or hangs is an error of its own, and the log says which lie.
"""

from __future__ import annotations

import base64
import logging
import time
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from penstock.errors import Forbidden, Unavailable, UpstreamFailed
from penstock.identity.oidc import (
    Claims,
    Endpoints,
    Key,
    UnknownKey,
    Untrusted,
    read_endpoints,
    read_keys,
    subject_of,
    verified,
)
from penstock.operations.context import Remembered
from penstock.operations.fetched import Fetched
from penstock.outbound import Failed, Outbound, OutboundError, Response

log = logging.getLogger(__name__)
SECONDS = 10.0
"""Of one call."""
DISCOVERY_KEPT, KEYS_KEPT = 600.0, 3600.0
KEYS_AGAIN = 60.0
"""Seconds between two looks for a key that is not known."""
MOST_PROVIDERS = 1_000
_PRINTED = 200

V = TypeVar("V")


class Client(msgspec.Struct, frozen=True):
    """What we are to the provider."""

    id: str
    secret: str | None
    redirect_uri: str


class Tokens(msgspec.Struct, frozen=True):
    id_token: str
    access_token: str | None = None


class ProviderCalls:
    """One for the whole server: what providers publish is remembered for a while."""

    def __init__(self, client: Outbound) -> None:
        self._client = client
        self._endpoints: Remembered[str, Fetched[Endpoints]] = Remembered(MOST_PROVIDERS)
        self._keys: Remembered[str, Fetched[list[Key]]] = Remembered(MOST_PROVIDERS)

    async def endpoints(self, issuer: str) -> Endpoints:
        """Raises: Unavailable, UpstreamFailed, Untrusted."""

        async def fetch() -> Endpoints:
            answer = await self._ask("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
            return read_endpoints(_content(answer), issuer)

        return await _of(self._endpoints, issuer).get(DISCOVERY_KEPT, fetch)

    async def exchange(self, at: Endpoints, client: Client, code: str, verifier: str) -> Tokens:
        """The tokens of a code. Raises: Unavailable, UpstreamFailed, Untrusted, Forbidden where the provider does not take the code."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": client.redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
        if client.secret is None:
            form["client_id"] = client.id
        elif "client_secret_basic" in at.token_endpoint_auth_methods_supported:
            pair = f"{quote(client.id, safe='')}:{quote(client.secret, safe='')}".encode()
            headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        else:
            form |= {"client_id": client.id, "client_secret": client.secret}
        answer = await self._ask("POST", at.token_endpoint, headers, urlencode(form).encode())
        if answer.status == 400 and _refusal(answer) == "invalid_grant":
            raise Forbidden("the provider does not take the code (any more): begin again")
        try:
            return msgspec.json.decode(_content(answer), type=Tokens)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Untrusted("its token endpoint answered something that holds no ID token") from None

    async def verified(self, at: Endpoints, token: str) -> Claims:
        """What an ID token says, its signature checked. Raises: Unavailable, UpstreamFailed, Untrusted."""
        known = _of(self._keys, at.jwks_uri)

        async def fetch() -> list[Key]:
            return read_keys(_content(await self._ask("GET", at.jwks_uri)))

        try:
            return verified(token, await known.get(KEYS_KEPT, fetch))
        except UnknownKey:
            if time.monotonic() - known.looked_again < KEYS_AGAIN and not known.fetching:
                raise
        keys = await known.anew(fetch)
        known.looked_again = time.monotonic()
        return verified(token, keys)

    async def userinfo(self, at: Endpoints, access_token: str, subject: str) -> dict[str, Any]:
        """What else the provider tells of the subject. Raises: Unavailable, UpstreamFailed, Untrusted."""
        if at.userinfo_endpoint is None:
            return {}
        headers = {"authorization": f"Bearer {access_token}", "accept": "application/json"}
        answer = await self._ask("GET", at.userinfo_endpoint, headers)
        try:
            found = msgspec.json.decode(_content(answer), type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Untrusted("its userinfo endpoint answered something else") from None
        if subject_of(found) != subject:
            raise Untrusted("its userinfo endpoint tells of somebody else")
        return found

    async def _ask(
        self, method: str, url: str, headers: dict[str, str] | None = None, content: bytes = b""
    ) -> Response:
        try:
            answer = await self._client.request(
                method, url, headers or {"accept": "application/json"}, content, SECONDS
            )
        except Failed as error:
            log.warning("a provider of identity does not answer: %s", error)
            raise Unavailable("the provider does not answer", retry_after=5) from None
        except OutboundError as error:
            # what is wrong with the way there is the operator's business alone
            log.warning("a provider of identity has given nothing to use: %s", error)
            raise UpstreamFailed(
                "the provider cannot be asked, or answers too much; the server's log says more"
            ) from None
        if answer.status >= 500 or answer.status == 429:
            log.warning("a provider of identity answered %d at %s", answer.status, url[:_PRINTED])
            raise Unavailable(f"the provider answers {answer.status}", retry_after=answer.retry_after or 5)
        return answer


def _of(known: Remembered[str, Fetched[V]], url: str) -> Fetched[V]:
    found = known.get(url)
    if found is None:
        found = known[url] = Fetched()
    return found


def _content(answer: Response) -> bytes:
    if answer.status != 200:
        raise Untrusted(f"it answered {answer.status}{_why(answer)}")
    return answer.content


def _refusal(answer: Response) -> str | None:
    try:
        told = msgspec.json.decode(answer.content, type=dict[str, Any]).get("error")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return told if isinstance(told, str) else None


def _why(answer: Response) -> str:
    """The word of OAuth's own list, such as `invalid_client`; not what else may stand there."""
    told = _refusal(answer)
    return f", {told}" if told is not None and told in _WORDS else ""


_WORDS = frozenset(
    {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
    }
)
