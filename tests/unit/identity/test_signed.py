"""What we sign we know again, and nothing else: whatever a caller makes up is refused by a word, before anybody is asked."""

from __future__ import annotations

import base64
import hmac
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe, jws
from joserfc.jwk import ECKey

from penstock.errors import Unauthenticated
from penstock.identity import signed
from penstock.identity.tokens import proof

KEY = ECKey.generate_key("P-256", private=True, auto_kid=False)
KID = KEY.thumbprint()
PUBLIC = ECKey.import_key(KEY.as_dict(private=False))
NOW = 1_800_000_000
CLAIMS = {
    "iss": "https://flows.example.com",
    "aud": "penstock",
    "sub": "user:é@example.com",
    "tenant": "t",
    "jti": "j",
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 3600,
}
HEADER = {"alg": "ES256", "kid": KID, "typ": "at+jwt"}


def check(token, *, now=NOW, issuer="https://flows.example.com"):
    assert signed.kid_of(token) == KID
    return signed.claims_of(token, PUBLIC, audience="penstock", issuer=issuer, now=now)


def part(value) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def forged(header, claims=CLAIMS, key=KEY) -> str:
    """A token of any header, with a signature that is good for it."""
    text = f"{part(header)}.{part(claims)}"
    made = jws.JWSRegistry.algorithms["ES256"].sign(text.encode(), key)
    return f"{text}.{part(made)}"


def test_what_was_signed_is_known_again():
    token = signed.sign(CLAIMS, KID, KEY)
    assert signed.is_signed(token)
    assert check(token) == CLAIMS
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert header == HEADER
    assert check(forged(HEADER)) == CLAIMS  # what the tests below change one thing of


HEADERS = [
    {**HEADER, "alg": "none"}, {**HEADER, "alg": "HS256"}, {**HEADER, "alg": "ES384"}, {**HEADER, "alg": "es256"},
    {**HEADER, "typ": "JWT"}, {**HEADER, "crit": ["exp"]}, {**HEADER, "crit": []}, {**HEADER, "b64": False},
    {**HEADER, "jwk": KEY.as_dict(private=False)}, {**HEADER, "jku": "https://evil.example.com/keys"},
    {**HEADER, "x5u": "https://evil.example.com"}, {**HEADER, "cty": "JWT"}, {**HEADER, "zip": "DEF"},
    {**HEADER, "kid": "../../etc/passwd"}, {**HEADER, "kid": "k' OR 1=1 --"}, {**HEADER, "kid": "A" * 2000},
    {**HEADER, "kid": ""}, {**HEADER, "kid": 1}, {**HEADER, "kid": None}, {**HEADER, "kid": [KID]},
    {"alg": "ES256", "typ": "at+jwt"}, {"alg": "ES256", "kid": KID}, {}, [], "ES256", None, [[[[]]]],
]  # fmt: skip


@pytest.mark.parametrize("header", HEADERS, ids=lambda header: json.dumps(header)[:60])
def test_a_header_that_is_not_ours_is_refused_before_a_key_is_looked_for(header):
    for token in (forged(header), f"{part(header)}.{part(CLAIMS)}."):
        with pytest.raises(signed.Refused) as caught:
            signed.kid_of(token)
        assert caught.value.details["error"] == "invalid_token"
        assert KID not in caught.value.message


def test_the_public_key_is_no_secret_of_hs256():
    for secret in (KEY.as_pem(private=False), json.dumps(KEY.as_dict(private=False)).encode()):
        for algorithm, word in (("HS256", "ES256"), ("ES256", "signature")):
            text = f"{part({**HEADER, 'alg': algorithm})}.{part(CLAIMS)}"
            token = f"{text}.{part(hmac.digest(secret, text.encode(), 'sha256'))}"
            with pytest.raises(signed.Refused, match=word):
                check(token)


def test_another_key_of_the_same_name_is_refused():
    other = ECKey.generate_key("P-256", private=True, auto_kid=False)
    with pytest.raises(signed.Refused, match="signature"):
        check(forged(HEADER, key=other))


def test_a_token_that_was_changed_is_refused():
    header, claims, signature = signed.sign(CLAIMS, KID, KEY).split(".")
    root = part({**CLAIMS, "sub": "user:root@example.com"})
    other = signed.sign({**CLAIMS, "jti": "k"}, KID, KEY).split(".")
    for token in (f"{header}.{root}.{signature}", f"{header}.{claims}.{other[2]}", f"{header}.{claims}.AAAA"):
        with pytest.raises(signed.Refused, match="signature"):
            check(token)


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"aud": "other"}, "audience"), ({"aud": ["other"]}, "audience"), ({"aud": ""}, "audience"), ({"aud": 1}, "audience"),
        ({"iss": "https://flows.example.com.evil.com"}, "issuer"), ({"iss": None}, "lacks"), ({"iss": 1}, "issuer"),
        ({"exp": NOW - 31}, "expired"), ({"exp": None}, "lacks"), ({"exp": "never"}, "lacks"), ({"exp": float("nan")}, "lacks"),
        ({"nbf": NOW + 60}, "not valid yet"), ({"iat": NOW + 60}, "not valid yet"), ({"nbf": None}, "lacks"),
        ({"sub": None}, "lacks"), ({"sub": 1}, "lacks"), ({"jti": None}, "lacks"), ({"jti": {}}, "lacks"),
    ],
)  # fmt: skip
def test_claims_that_do_not_fit_are_refused_by_a_word(changed, word):
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    with pytest.raises(signed.Refused, match=word):
        check(forged(HEADER, claims))


def test_time_is_the_one_that_is_given_with_half_a_minute_for_clocks_that_differ():
    token = signed.sign(CLAIMS, KID, KEY)
    assert check(token, now=NOW + 3600 + 29)
    assert check(token, now=NOW - 30)
    for now, word in ((NOW + 3600 + 30, "expired"), (NOW - 31, "not valid yet")):
        with pytest.raises(signed.Untimely, match=word):
            check(token, now=now)


def test_any_issuer_is_good_where_none_is_named_but_there_must_be_one():
    assert check(signed.sign({**CLAIMS, "iss": "http://127.0.0.1:1"}, KID, KEY), issuer=None)
    with pytest.raises(signed.Refused, match="lacks"):
        check(forged(HEADER, {name: value for name, value in CLAIMS.items() if name != "iss"}), issuer=None)


def test_what_is_nested_or_encrypted_is_refused():
    inner = signed.sign(CLAIMS, KID, KEY)
    with pytest.raises(signed.Refused):
        check(forged(HEADER, inner))
    with pytest.raises(signed.Refused):
        check(forged(HEADER, [CLAIMS]))
    sealed = jwe.encrypt_compact({"alg": "ECDH-ES", "enc": "A128GCM"}, inner.encode(), PUBLIC)
    with pytest.raises(signed.Refused):
        signed.kid_of(sealed)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "x",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        "a b.c.d",
        "!.!.!",
        "\n",
        "=.=.=",
        "a" * 4096 + ".b.c",
    ],
)
def test_what_is_no_token_is_refused(text):
    with pytest.raises(signed.Refused):
        signed.kid_of(text)


def test_a_long_one_is_refused_before_it_is_read():
    token = signed.sign({**CLAIMS, "pad": "x" * 4096}, KID, KEY)
    with pytest.raises(signed.Refused, match="longer than 4096"):
        signed.kid_of(token)
    longest = {**CLAIMS, "sub": "user:" + "é" * 200, "name": "é" * 200, "iss": "https://" + "a" * 200}
    assert len(signed.sign(longest, KID, KEY)) < signed.LONGEST


@given(st.text(max_size=300) | st.binary(max_size=200).map(part))
def test_whatever_comes_is_refused_and_nothing_else_happens(text):
    for token in (
        text,
        f"{text}.{text}.{text}",
        f"{part(HEADER)}.{text}.{text}",
        f"{part(HEADER)}.{part(CLAIMS)}.{text}",
    ):
        with pytest.raises(Unauthenticated):
            check(token)


def test_a_published_key_has_no_private_member():
    shown = signed.published(KID, KEY.as_dict(private=True))
    assert shown.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
    assert ECKey.import_key(shown).thumbprint() == KID


def test_a_proof_is_of_one_text_and_one_key():
    key = b"k" * 32
    assert len(proof("a", key)) == 43
    assert len({proof("a", key), proof("b", key), proof("a", b"x")}) == 3
