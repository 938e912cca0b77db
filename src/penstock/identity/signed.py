"""Signed tokens: JSON Web Tokens in the shape of RFC 9068, signed with ES256, and the public keys that they are checked by.

What is not exactly what `sign` makes is refused, and the header is read by a type of our own before the library sees the token: one
algorithm, one type, a key's id and nothing else. So there is no `none`, no key inside the token, no `crit`, and nothing nested.
Pure: the time is given. The library draws what a signature needs of chance.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Any

import msgspec

from penstock.errors import Unauthenticated

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

ALGORITHM = "ES256"
CURVE = "P-256"
TYPE = "at+jwt"
LONGEST = 4096
"""Characters of a token of any kind: an e-mail address of 200 characters fits in."""
LEEWAY = 30
"""Seconds that two clocks may differ. Who a token speaks for is asked by the database's clock, exactly."""

_SIGNED = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+", re.ASCII)
_KID = re.compile(r"[\w-]{43}", re.ASCII)


class Refused(Unauthenticated):
    """A bearer token that is not good; the message says why."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error="invalid_token")


class Untimely(Refused):
    """It has expired, or is not valid yet, by the clock that was given."""


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    alg: str
    kid: str
    typ: str


def is_signed(token: str) -> bool:
    """Whether it has the form of what `sign` makes."""
    return _SIGNED.fullmatch(token) is not None


def sign(claims: dict[str, Any], kid: str, key: ECKey) -> str:
    """A token that says so; `key` is private."""
    from joserfc import jwt  # noqa: PLC0415 - when the first token is asked for

    return jwt.encode({"alg": ALGORITHM, "kid": kid, "typ": TYPE}, claims, key, [ALGORITHM])


def kid_of(token: str) -> str:
    """The id of the key that a token says it is signed with. Raises: Refused."""
    if len(token) > LONGEST:
        raise Refused(f"the token is longer than {LONGEST} characters")
    if not is_signed(token):
        raise Refused("the token is not of a form that is issued here")
    encoded = token.partition(".")[0]
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)), type=_Header)
    except (binascii.Error, ValueError, msgspec.MsgspecError, RecursionError):
        raise Refused("the token's header is not one that is issued here") from None
    if header.alg != ALGORITHM or header.typ != TYPE:
        raise Refused(f"the token is not signed with {ALGORITHM}, or no access token")
    if not _KID.fullmatch(header.kid):
        raise Refused("the token is signed with a key that there is not")
    return header.kid


def claims_of(token: str, key: ECKey, *, audience: str, issuer: str | None, now: float) -> dict[str, Any]:
    """What a token says that this key has signed, for this audience, at this time (seconds). `issuer` None: any.

    Raises: Refused, Untimely.
    """
    from joserfc import errors, jwt  # noqa: PLC0415

    known: Any = {"essential": True}
    named: Any = known if issuer is None else {"essential": True, "value": issuer}
    asked = jwt.JWTClaimsRegistry(
        now=int(now), leeway=LEEWAY, iss=named, sub=known, jti=known, exp=known, nbf=known,
        aud={"essential": True, "value": audience},
    )  # fmt: skip
    try:
        claims = jwt.decode(token, key, [ALGORITHM]).claims
    except (errors.JoseError, ValueError):
        raise Refused("the token's signature is not good") from None
    try:
        asked.validate(claims)
    except errors.ExpiredTokenError:
        raise Untimely("the token has expired") from None
    except errors.MissingClaimError:
        raise _unfit(None) from None
    except errors.ClaimError as error:
        raise _unfit(error.claim) from None
    return claims


def _unfit(claim: str | None) -> Refused:
    if claim == "aud":
        return Refused("the token is for another audience")
    if claim == "iss":
        return Refused("the token is of another issuer")
    if claim in {"nbf", "iat"}:
        return Untimely("the token is not valid yet")
    return Refused("the token lacks what an access token has")


def published(kid: str, public: dict[str, Any]) -> dict[str, str]:
    """A key as everybody may see it (RFC 7517). Members are named one by one: none that is private can come along."""
    named = {name: str(public[name]) for name in ("kty", "crv", "x", "y")}
    return {**named, "kid": kid, "use": "sig", "alg": ALGORITHM}
