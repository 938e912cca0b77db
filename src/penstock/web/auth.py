"""Who calls: from a request's headers to an `Actor`. What a credential is worth, wiring's authenticator knows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import Protocol

from penstock.errors import Forbidden, Unauthenticated
from penstock.identity.model import Actor
from penstock.identity.tokens import same
from penstock.web.asked import Asked
from penstock.web.cookies import SESSION, Cookies

CSRF = "x-csrf-token"
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

Authenticate = Callable[[Asked], Awaitable[Actor]]
"""A door's way from a request to an actor. Raises: Unauthenticated, Forbidden."""


class Authenticator(Protocol):
    """Knows which token belongs to whom."""

    async def authenticate(self, token: str) -> Actor:
        """Raises: Unauthenticated."""
        ...


def bearer(authenticator: Authenticator) -> Authenticate:
    """For doors that take `Authorization: Bearer TOKEN`."""

    async def authenticate(asked: Asked) -> Actor:
        token = bearer_token(asked.headers.get("authorization"))
        if token is None:
            raise Unauthenticated("Authorization: Bearer TOKEN is needed")
        return await authenticator.authenticate(token)

    return authenticate


class Session(Protocol):
    """An open session of a browser."""

    @property
    def actor(self) -> Actor: ...

    @property
    def csrf(self) -> str:
        """Goes with every change, in the header `X-CSRF-Token`."""
        ...


class Sessions(Protocol):
    """Knows whose cookie it is."""

    async def authenticate(self, secret: str) -> Session:
        """Raises: Unauthenticated."""
        ...


def bearer_or_session(authenticator: Authenticator, sessions: Sessions, cookies: Cookies) -> Authenticate:
    """For doors that take a browser's cookie as well, from whoever sends no `Authorization`."""
    by_token = bearer(authenticator)

    async def authenticate(asked: Asked) -> Actor:
        secret = cookies.read(asked, SESSION) if "authorization" not in asked.headers else None
        if secret is None:
            return await by_token(asked)
        session = await sessions.authenticate(secret)
        if asked.method not in SAFE:
            require_own_page(asked, cookies)
            if not same(asked.headers.get(CSRF, ""), session.csrf):
                raise Forbidden("a change with a session's cookie needs its `csrf` in the header X-CSRF-Token")
        return session.actor

    return authenticate


def require_own_page(asked: Asked, cookies: Cookies) -> None:
    """Raises: Forbidden."""
    if not cookies.from_own_page(asked):
        raise Forbidden(
            "another site's page has sent this: nothing was done. (Behind a proxy: is public_url what browsers see?)"
        )


async def nobody(_: Asked) -> Actor:
    """For doors without credentials."""
    raise Unauthenticated("this door knows no credentials")


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization` header; None when there is no header.

    Raises: Unauthenticated when the header is of another scheme, or no token.
    """
    if header is None:
        return None
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or not token.isascii() or " " in token:
        raise Unauthenticated("the Authorization header is not of the form: Bearer TOKEN")
    return token


def basic_credentials(header: str | None) -> tuple[str, str] | None:
    """User and password of an `Authorization: Basic` header; None when there is no such header.

    Raises: Unauthenticated when it cannot be read.
    """
    if header is None or header[:6].lower() != "basic ":
        return None
    try:
        user, colon, password = base64.b64decode(header[6:].strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unauthenticated("the Authorization header is not of the form: Basic BASE64") from None
    if not colon or "\0" in user or "\0" in password:
        raise Unauthenticated("the Authorization header holds no user:password")
    return user, password
