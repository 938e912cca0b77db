"""The keys that encrypt what must be readable again: AES-256-GCM, several keys at once, the newest first.

Pure: chance is given, never taken. What a text is for (tenant and name) is authenticated with it, so that a row that is moved to
another place cannot be read there. A key's id is made from the key, so a key cannot be taken for another.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

from penstock.errors import Conflict, Invalid, Problem

KEY_BYTES = 32
NONCE_BYTES = 12

_APART = re.compile(r"[\s,]+")


class Unreadable(Conflict):
    """What was encrypted cannot be read: its key is not configured any more, or it was changed."""

    code = "unreadable"


class Keys:
    """A set of keys. The first encrypts, all decrypt."""

    __slots__ = ("_keys", "newest")

    def __init__(self, keys: list[bytes]) -> None:
        self._keys = {key_id(key): key for key in keys}
        self.newest = key_id(keys[0])
        """Its id."""

    @classmethod
    def parse(cls, text: str) -> Keys:
        """Reads keys of 32 bytes in base64, the newest first, with commas or line ends between.

        Raises: Invalid, which shows nothing of a key.
        """
        keys = [_key(part, number) for number, part in enumerate(filter(None, _APART.split(text)), 1)]
        if not keys:
            raise _bad("there is no key in it")
        return cls(keys)

    @property
    def ids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def seal(self, plain: str, of: str, nonce: bytes) -> str:
        """Encrypts with the newest key. `of` says what for; `nonce` is 12 bytes fresh from the system."""
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"{NONCE_BYTES} random bytes are needed, not {len(nonce)}")
        sealed = nonce + _cipher(self._keys[self.newest]).encrypt(nonce, plain.encode(), of.encode())
        return base64.b64encode(sealed).decode()

    def open(self, key: str, sealed: str, of: str) -> str:
        """Decrypts what `seal` made with the key of this id, for the same `of`. Raises: Unreadable."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415

        if key not in self._keys:
            raise Unreadable(f"it was encrypted with the key {key}, which is not configured")
        try:
            data = base64.b64decode(sealed, validate=True)
            plain: bytes = _cipher(self._keys[key]).decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], of.encode())
        except (InvalidTag, binascii.Error, ValueError):
            raise Unreadable("it was changed, or belongs somewhere else") from None
        return plain.decode()

    def fingerprint(self, plain: str) -> str:
        """Tells equal texts from others without telling anything else: it may stand where a hash could be guessed from."""
        return hmac.new(self._keys[self.newest], b"fingerprint\0" + plain.encode(), hashlib.sha256).hexdigest()


def key_id(key: bytes) -> str:
    """Names a key and does not show it."""
    return hashlib.sha256(b"penstock key id\0" + key).hexdigest()[:12]


def encode_key(random: bytes) -> str:
    """A new key as it stands in the configuration; `random` is 32 bytes fresh from the system."""
    if len(random) != KEY_BYTES:
        raise ValueError(f"{KEY_BYTES} random bytes are needed, not {len(random)}")
    return base64.b64encode(random).decode()


def _cipher(key: bytes):  # type: ignore[no-untyped-def]  # noqa: ANN202 - imported when it is used
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

    return AESGCM(key)


def _key(text: str, number: int) -> bytes:
    standard = text.replace("-", "+").replace("_", "/")
    try:
        key = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _bad(f"key {number} is not base64") from None
    if len(key) != KEY_BYTES:
        raise _bad(f"key {number} has {len(key)} bytes, and must have {KEY_BYTES}")
    return key


def _bad(message: str) -> Invalid:
    return Invalid(f"secret_key: {message}", [Problem("", f"secret_key: {message}")])
