"""What a provider of identity (OpenID Connect) says, and whether to believe it: its document, its keys, its ID tokens.

Pure: the time is given, nothing is fetched. Every check of a token stands here and nowhere else.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec

from penstock.errors import Invalid
from penstock.identity.model import parse_email
from penstock.identity.tokens import same

ALGORITHMS = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
"""That sign an ID token. None with a shared key: who is asked by it could sign in everybody's name."""
LEEWAY = 60
"""Seconds that two clocks may be apart."""
LONGEST_TOKEN, LONGEST_SUBJECT, MOST_KEYS, MOST_GROUPS = 64 * 1024, 255, 100, 1_000
SHORTEST_RSA = 2_048
"""Bits of a modulus."""
_KINDS = {"RS256": "RSA", "PS256": "RSA", "ES256": "EC", "EdDSA": "OKP"}
_HOST = re.compile(r"[A-Za-z0-9.\-:\[\]]{1,255}")

Key = dict[str, Any]
Claims = dict[str, Any]


class Untrusted(Exception):
    """What the provider says is not believed. The message is for operators; it repeats nothing that may be secret."""


class UnknownKey(Untrusted):
    """The token is signed by a key that is none of those known: there may be new ones."""


class Endpoints(msgspec.Struct, frozen=True):
    """Of a provider's discovery document, what is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class Person(msgspec.Struct, frozen=True):
    """Whom the provider vouches for. `groups` None: nobody asks for them."""

    subject: str
    email: str
    name: str
    groups: tuple[str, ...] | None = None


def safe_url(url: str) -> bool:
    """Whether a provider may be asked there: https, or http on this very machine; no credentials, no fragment."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url or len(url) > 2_000:
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not _HOST.fullmatch(parts.netloc) or not host or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _loopback(host))


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def read_endpoints(document: bytes, issuer: str) -> Endpoints:
    """The provider's own description. Raises: Untrusted where it is none, or another's."""
    try:
        found = msgspec.json.decode(document, type=Endpoints)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise Untrusted("its discovery document is none") from None
    if found.issuer != issuer:
        raise Untrusted("its discovery document is of another issuer")
    urls = (found.authorization_endpoint, found.token_endpoint, found.jwks_uri, found.userinfo_endpoint or issuer)
    if not all(safe_url(url) for url in urls):
        raise Untrusted("its discovery document names an address that is not https")
    return found


def read_keys(document: bytes) -> list[Key]:
    """Those of a key set that can sign. Raises: Untrusted."""
    try:
        keys = msgspec.json.decode(document, type=dict[str, Any])["keys"]
    except (msgspec.MsgspecError, ValueError, KeyError, RecursionError):
        raise Untrusted("its key set is none") from None
    if not isinstance(keys, list):
        raise Untrusted("its key set is none")
    return [key for key in keys[:MOST_KEYS] if isinstance(key, dict) and _can_sign(key)]


def _can_sign(key: Key) -> bool:
    if key.get("use", "sig") != "sig" or key.get("kty") not in _KINDS.values():
        return False
    if key["kty"] != "RSA":
        return True
    return _bits(key.get("n")) >= SHORTEST_RSA


def _bits(number: Any) -> int:
    """Of the number itself: leading zeros make a text longer and a key no stronger."""
    if not isinstance(number, str):
        return 0
    try:
        return int.from_bytes(_decoded(number)).bit_length()
    except ValueError:
        return 0


def _decoded(part: str) -> bytes:
    """Raises: ValueError."""
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def verified(token: str, keys: Sequence[Key]) -> Claims:
    """What an ID token says, if one of the keys has signed it. Raises: Untrusted, UnknownKey."""
    header = _header(token)
    algorithm, name = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Untrusted("its ID token is signed by no algorithm that is allowed")
    fitting = [
        key
        for key in keys
        if key["kty"] == _KINDS[algorithm]
        and key.get("alg", algorithm) == algorithm
        and (name is None or key.get("kid") == name)
    ]
    if not fitting:
        raise UnknownKey("its ID token is signed by a key that is not in its key set")
    for key in fitting:
        claims = _claims(token, key, algorithm)
        if claims is not None:
            return claims
    raise Untrusted("its ID token's signature is not good")


def _header(token: str) -> dict[str, Any]:
    part = token.partition(".")[0]
    if len(token) > LONGEST_TOKEN or token.count(".") != 2 or not token.isascii():
        raise Untrusted("its ID token is none")
    try:
        return msgspec.json.decode(_decoded(part), type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise Untrusted("its ID token is none") from None


def _claims(token: str, key: Key, algorithm: str) -> Claims | None:
    from joserfc import jws  # noqa: PLC0415
    from joserfc.errors import JoseError  # noqa: PLC0415
    from joserfc.jwk import import_key  # noqa: PLC0415

    try:
        # without `alg` and `key_ops`, of which the library thinks more than the standard does
        public = {name: value for name, value in key.items() if name in _PARTS}
        content = jws.deserialize_compact(token, import_key(public), algorithms=[algorithm]).payload
        return msgspec.json.decode(content, type=dict[str, Any])
    except (JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None


_PARTS = frozenset({"kty", "n", "e", "crv", "x", "y"})


def check_claims(claims: Claims, *, issuer: str, client_id: str, nonce: str, now: float) -> str:
    """Whether an ID token is for us, for this log-in, now; answers its subject. Raises: Untrusted."""
    if claims.get("iss") != issuer:
        raise Untrusted("its ID token is of another issuer")
    audience = claims.get("aud")
    for_whom = [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    if client_id not in for_whom:
        raise Untrusted("its ID token is for another client")
    if claims.get("azp", client_id) != client_id or (len(for_whom) > 1 and "azp" not in claims):
        raise Untrusted("its ID token was given to another client")
    expires, issued, begins = (_time(claims.get(name)) for name in ("exp", "iat", "nbf"))
    if expires is None or expires <= now - LEEWAY:
        raise Untrusted("its ID token has expired")
    if issued is None or issued > now + LEEWAY or (begins is not None and begins > now + LEEWAY):
        raise Untrusted("its ID token is of the future")
    given = claims.get("nonce")
    if not isinstance(given, str) or not same(given, nonce):
        raise Untrusted("its ID token is of another log-in")
    return subject_of(claims)


def subject_of(claims: Mapping[str, Any]) -> str:
    """Raises: Untrusted."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT or not subject.isprintable():
        raise Untrusted("it names no subject")
    return subject


def _time(value: Any) -> float | None:
    """None: there is none. Raises: Untrusted."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # JSON has numbers of any size
        raise Untrusted("its ID token tells a time that is none") from None


def person(subject: str, claims: Mapping[str, Any], groups_claim: str | None) -> Person:
    """Whom the claims are about. An address that the provider itself has not verified is nobody's. Raises: Untrusted."""
    email = claims.get("email")
    if not isinstance(email, str):
        raise Untrusted("it tells no e-mail address")
    if claims.get("email_verified", True) not in (True, "true"):
        raise Untrusted("it has not verified the e-mail address")
    try:
        address = parse_email(email)
    except Invalid:
        raise Untrusted("it tells an e-mail address that is none") from None
    name = claims.get("name")
    groups = None
    if groups_claim is not None:
        told = claims.get(groups_claim)
        told = [told] if isinstance(told, str) else told if isinstance(told, list) else []
        groups = tuple(sorted({each for each in told[:MOST_GROUPS] if isinstance(each, str)}))
    return Person(subject, address, name.strip() if isinstance(name, str) else "", groups)


def challenge(verifier: str) -> str:
    """PKCE's S256 (RFC 7636)."""
    digest = hashlib.sha256(verifier.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def local_path(text: str) -> bool:
    """Whether a browser that is sent there stays on this host: a path, and nothing a browser would read as a host."""
    if not text.startswith("/") or text.startswith("//") or "\\" in text or len(text) > 2_000:
        return False
    return text.isascii() and text.isprintable() and " " not in text
