"""What is believed of a provider of identity: addresses, paths, claims."""

from __future__ import annotations

import base64
import json
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.identity.oidc import Untrusted, challenge, check_claims, local_path, person, read_keys, safe_url

HERE = "https://workflows.example.com"
SIGNS = st.text(st.sampled_from("/\\.:@?#%09\t\r\n aevil-"), max_size=30)


def as_browsers_read(location: str) -> str:
    """Browsers take a backslash for / and leave out what is no sign (WHATWG)."""
    plain = "".join(sign for sign in location if sign not in "\t\r\n").replace("\\", "/")
    return urlsplit(urljoin(f"{HERE}/api/v1/login/callback", plain.strip())).netloc


@given(SIGNS | st.text(max_size=30))
@example("//evil.example")
@example("/\\evil.example")
@example("\\\\evil.example")
@example("https:evil.example")
@example("/\t/evil.example")
@example("/\r\nSet-Cookie: a=b")
def test_a_path_that_is_let_through_stays_here_and_is_one_line(text):
    if local_path(text):
        assert as_browsers_read(text) == urlsplit(HERE).netloc
        assert text.isprintable()
        assert text.isascii()


@pytest.mark.parametrize(
    "path", ["/", "/tasks", "/tasks?mine=1&x=%2F%2Fevil", "/a#b", "/a//b", "/.//evil.example", "/@evil.example"]
)
def test_paths_of_ours_are_let_through(path):
    assert local_path(path)
    assert as_browsers_read(path) == urlsplit(HERE).netloc


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://login.example.com", True), ("https://login.example.com:8443/realms/a", True), ("http://127.0.0.1:3000", True),
        ("http://localhost/x", True), ("http://[::1]:3000", True), ("http://login.example.com", False), ("http://127.0.0.1.evil.example", False),
        ("http://localhost@evil.example", False), ("https://a:b@c.example", False), ("ftp://a.example", False), ("//a.example", False),
        ("https://", False), ("https:///x", False), ("https://a.example/#x", False), ("https://a.example/\\x", False), ("https://a .example", False),
        ("https://ä.example", False), ("https://a.example:x", False), ("https://[::1", False), ("javascript:alert(1)", False), ("", False),
    ],
)  # fmt: skip
def test_a_provider_is_asked_by_https_or_on_this_machine(url, safe):
    assert safe_url(url) is safe


@given(st.text())
def test_no_address_breaks_the_check(text):
    assert safe_url(text) in (True, False)


ODD = st.sampled_from(
    [
        None,
        True,
        False,
        0,
        -1,
        1e308,
        2**70,
        10**400,
        -(10**400),
        "",
        "c",
        "\ud800",
        "\0",
        [],
        ["c"],
        ["c", "d"],
        [None, 7],
        {},
        {"c": 1},
    ]
)
NAMES = ("iss", "sub", "aud", "azp", "exp", "iat", "nbf", "nonce", "email", "email_verified", "name", "groups")


@given(st.dictionaries(st.sampled_from(NAMES), ODD))
def test_claims_of_any_kind_are_believed_or_not_and_break_nothing(claims):
    right = {"iss": "i", "aud": "c", "exp": 2_000, "iat": 1_000, "nonce": "n", "sub": "s", "email": "a@b.example"}
    try:
        subject = check_claims({**right, **claims}, issuer="i", client_id="c", nonce="n", now=1_000)
        found = person(subject, {**right, **claims}, "groups")
    except Untrusted:
        return
    assert {**right, **claims}["nonce"] == "n"
    assert found.subject == {**right, **claims}["sub"]


def test_the_challenge_is_that_of_the_standard():
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
    assert challenge(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_groups_of_a_claim_are_texts_and_a_missing_claim_is_none_of_them():
    claims = {"email": "a@b.example", "groups": ["b", "a", 7, None, "b"], "one": "a"}
    assert person("s", claims, "groups").groups == ("a", "b")
    assert person("s", claims, "one").groups == ("a",)
    assert person("s", claims, "other").groups == ()
    assert person("s", claims, None).groups is None


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b'{"keys": null}', b"\xff"])
def test_what_is_no_key_set_is_none(document):
    with pytest.raises(Untrusted):
        read_keys(document)


@pytest.mark.parametrize("bits", [2_040, 2_047])
def test_leading_zeros_make_no_key_of_rsa_longer(bits):
    def key(bits: int, zeros: int) -> bytes:
        octets = bytes(zeros) + (1 << (bits - 1)).to_bytes((bits + 7) // 8)
        return json.dumps(
            {"keys": [{"kty": "RSA", "n": base64.urlsafe_b64encode(octets).rstrip(b"=").decode()}]}
        ).encode()

    assert read_keys(key(bits, 0)) == read_keys(key(bits, 1)) == read_keys(key(bits, 100)) == []
    assert len(read_keys(key(2_048, 0))) == len(read_keys(key(2_048, 1))) == 1


@pytest.mark.parametrize("modulus", [None, 7, [], "", "A" * 400, "=" * 400, "\u00e4" * 400, "AAAAA"])
def test_a_key_of_rsa_without_a_modulus_signs_nothing(modulus):
    assert read_keys(json.dumps({"keys": [{"kty": "RSA", "n": modulus}]}).encode()) == []


@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_time_that_no_float_can_hold_is_not_believed(name, number):
    right = {"iss": "i", "aud": "c", "exp": 2_000, "iat": 1_000, "nonce": "n", "sub": "s"}
    with pytest.raises(Untrusted, match="a time that is none"):
        check_claims({**right, name: number}, issuer="i", client_id="c", nonce="n", now=1_000)
