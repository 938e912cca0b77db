"""Signatures of seals (Ed25519): who holds the database and not the key cannot write the chain anew unseen.

A key is PEM, as `openssl genpkey -algorithm ed25519` makes it. The library is imported when there is a key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable

from penstock.errors import Invalid

Sign = Callable[[str], str]
"""A seal's digest -> its signature, base64."""
Check = Callable[[str, str], bool]
"""A seal's digest and signature -> whether they belong together."""


def signer(pem: str) -> Sign:
    """Raises: Invalid for what is not a private Ed25519 key in PEM."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        key = load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid("audit_key is not a private key in PEM, or it has a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise Invalid("audit_key is not an Ed25519 key (openssl genpkey -algorithm ed25519)")
    return lambda digest: base64.b64encode(key.sign(digest.encode())).decode()


def checker(pem: str) -> Check:
    """Raises: Invalid for what is not an Ed25519 key in PEM; of a private key the public half is taken."""
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key  # noqa: PLC0415

    try:
        given = load_pem_private_key(pem.encode(), None) if "PRIVATE KEY" in pem else load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise Invalid("the key is not one in PEM, or it has a password") from error
    key = given.public_key() if isinstance(given, Ed25519PrivateKey) else given
    if not isinstance(key, Ed25519PublicKey):
        raise Invalid("the key is not an Ed25519 key")
    public = key

    def check(digest: str, signature: str) -> bool:
        try:
            public.verify(base64.b64decode(signature, validate=True), digest.encode())
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    return check
