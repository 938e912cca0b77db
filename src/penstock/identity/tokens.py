"""Secrets we make: 256 random bits, kept as SHA-256. They need no slow hash, because nobody can guess them.

Pure: chance is given, never taken. Passwords, which people can guess, are not for this module.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

RANDOM_BYTES = 32
TOKEN = "pt_"  # noqa: S105 - a beginning
"""What a bearer token that is random begins with."""


def new_secret(prefix: str, random: bytes) -> str:
    """A secret to hand out once, `PREFIX_` and 43 characters; `random` is 32 bytes fresh from the system.

    The prefix tells people and secret scanners what they have found.
    """
    if len(random) != RANDOM_BYTES:
        raise ValueError(f"{RANDOM_BYTES} random bytes are needed, not {len(random)}")
    return f"{prefix}_{base64.urlsafe_b64encode(random).rstrip(b'=').decode()}"


def hash_secret(secret: str) -> str:
    """What is kept of a secret: SHA-256, as 64 hexadecimal digits."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(a: str, b: str) -> bool:
    """Whether two texts are equal, in a time that tells nothing about where they differ."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))


def proof(text: str, key: bytes) -> str:
    """43 characters nobody can make for a text who has not the key."""
    return _base64url(hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256"))


def _base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()
