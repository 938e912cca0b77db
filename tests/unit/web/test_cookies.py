"""Cookies: names, attributes, and what is read of a header."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from penstock.web.cookies import SESSION, Cookies


def asked(cookie: str | None = None, scheme: str = "http") -> SimpleNamespace:
    return SimpleNamespace(headers={} if cookie is None else {"cookie": cookie}, scheme=scheme, method="GET")


@pytest.mark.parametrize(
    ("public_url", "scheme", "secure"),
    [
        (None, "http", False), (None, "https", True), ("http://a.example", "https", False), ("https://a.example", "http", True),
    ],
)  # fmt: skip
def test_over_https_a_cookie_is_this_hosts_alone(public_url, scheme, secure):
    cookies = Cookies(public_url)
    written = cookies.write(asked(scheme=scheme), SESSION, "x", 60)
    assert written.startswith("__Host-penstock=x; Path=/; ") is secure
    assert written.endswith("; Secure") is secure
    assert "HttpOnly; SameSite=Lax" in written
    assert "Domain" not in written
    name = "__Host-penstock" if secure else "penstock"
    other = "penstock" if secure else "__Host-penstock"
    assert cookies.read(asked(f"a=b; {name}=x ;c", scheme), SESSION) == "x"
    assert cookies.read(asked(f"{other}=x", scheme), SESSION) is None


@pytest.mark.parametrize(
    ("header", "value"),
    [
        (None, None), ("", None), ("penstock", ""), ("penstock=", ""), ("penstock=a=b", "a=b"), ("xpenstock=a", None),
        ("penstock=a; penstock=a", "a"), ("penstock=a; penstock=b", None), ("penstock=" + "a" * 9_000, None),
    ],
)  # fmt: skip
def test_a_cookie_is_read_where_there_is_one(header, value):
    assert Cookies(None).read(asked(header), SESSION) == value
