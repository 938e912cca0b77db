"""Cursors: where a list goes on. Opaque to the caller, and signed, so that what comes back is what was handed out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import Any, TypeVar

import msgspec

from penstock.errors import Invalid, Problem

T = TypeVar("T")
_SEAL = 12
"""Bytes of the signature that are kept: guessing 96 bits is out of reach, and cursors stay short."""
_MAX = 2048


def encode_cursor(key: bytes, scope: str, position: Any) -> str:
    """Seals a position; `scope` names the list (and its tenant and filters) the cursor is good for."""
    packed = msgspec.msgpack.encode(position)
    return base64.urlsafe_b64encode(_seal(key, scope, packed) + packed).rstrip(b"=").decode()


def decode_cursor(key: bytes, scope: str, cursor: str, kind: type[T]) -> T:
    """Opens a cursor.

    Raises: Invalid for anything `encode_cursor` did not make with this key, for this list.
    """
    try:
        if len(cursor) > _MAX:
            raise _odd()
        data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        packed = data[_SEAL:]
        if not hmac.compare_digest(data[:_SEAL], _seal(key, scope, packed)):
            raise _odd()
        return msgspec.msgpack.decode(packed, type=kind)
    except (binascii.Error, ValueError):
        raise _odd() from None


def _seal(key: bytes, scope: str, packed: bytes) -> bytes:
    return hmac.digest(key, scope.encode() + b"\0" + packed, hashlib.sha256)[:_SEAL]


def _odd() -> Invalid:
    message = "not a cursor of this list"
    return Invalid(f"cursor: {message}", [Problem("cursor", message)])
