"""Who calls: from a request's headers to an `Actor`. What a credential is worth, wiring's authenticator knows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

from penstock.errors import Unauthenticated
from penstock.identity.model import Actor

Authenticate = Callable[[Mapping[str, str]], Awaitable[Actor]]
"""A door's way from headers (names in lower case) to an actor. Raises: Unauthenticated."""


class Authenticator(Protocol):
    """Knows which token belongs to whom."""

    async def authenticate(self, token: str) -> Actor:
        """Raises: Unauthenticated."""
        ...


def bearer(authenticator: Authenticator) -> Authenticate:
    """For doors that take `Authorization: Bearer TOKEN`."""

    async def authenticate(headers: Mapping[str, str]) -> Actor:
        token = bearer_token(headers.get("authorization"))
        if token is None:
            raise Unauthenticated("Authorization: Bearer TOKEN is needed")
        return await authenticator.authenticate(token)

    return authenticate


async def nobody(_: Mapping[str, str]) -> Actor:
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
