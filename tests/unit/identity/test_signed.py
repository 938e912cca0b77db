"""What we sign we know again, and nothing else."""

import base64
import json

import pytest

from penstock.identity.tokens import claims_of, proof, sign

KEY = b"k" * 32


def test_what_was_signed_is_known_again():
    claims = {"sub": "user:é@example.com", "iat": 1}
    token = sign(claims, KEY)
    assert token.isascii()
    assert token.count(".") == 2
    assert claims_of(token, KEY) == claims
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert header == {"alg": "HS256", "typ": "JWT"}


def test_nothing_else_is():
    token = sign({"sub": "a"}, KEY)
    header, claims, signature = token.split(".")
    for other in (
        "",
        ".",
        "..",
        "x",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{claims}.{header}.{signature}",
        token + "=",
        "é.é.é",
    ):
        assert claims_of(other, KEY) is None
    assert claims_of(token, b"x" * 32) is None


@pytest.mark.parametrize("payload", ["", "!!", "bm8", "WzFd"])
def test_what_is_signed_and_no_claims_is_nothing(payload):
    assert claims_of(f"h.{payload}.{proof(f'h.{payload}', KEY)}", KEY) is None


def test_a_proof_is_of_one_text_and_one_key():
    assert len(proof("a", KEY)) == 43
    assert len({proof("a", KEY), proof("b", KEY), proof("a", b"x")}) == 3
