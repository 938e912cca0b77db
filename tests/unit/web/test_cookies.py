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


OWN, NEIGHBOUR = "http://flows.example:8080", "http://evil.example:8080"


@pytest.mark.parametrize(
    ("public_url", "headers", "own"),
    [
        (None, {}, True),
        (None, {"sec-fetch-site": "same-origin"}, True),
        (None, {"sec-fetch-site": "none"}, True),
        (None, {"sec-fetch-site": "Same-Site"}, False),
        (None, {"sec-fetch-site": "cross-site"}, False),
        (None, {"sec-fetch-site": "anything"}, False),
        (None, {"origin": OWN}, True),
        (None, {"origin": OWN.upper()}, True),
        (None, {"origin": OWN.replace("http:", "https:")}, True),
        (None, {"origin": NEIGHBOUR}, False),
        (None, {"origin": "null"}, False),
        (None, {"origin": ""}, False),
        (None, {"origin": "http://flows.example"}, False),
        (None, {"origin": "http://flows.example:8081"}, False),
        (None, {"origin": "http://x.flows.example:8080"}, False),
        (None, {"origin": "https://", "host": ""}, False),
        (None, {"origin": "http://h", "host": "h:80"}, True),
        (None, {"origin": "https://h", "host": "h:443"}, True),
        (None, {"origin": "https://h", "host": "h"}, True),
        (None, {"origin": NEIGHBOUR, "sec-fetch-site": "same-site"}, False),
        (None, {"origin": OWN, "sec-fetch-site": "same-site"}, False),
        (None, {"origin": "https://seen.example", "sec-fetch-site": "same-origin"}, True),
        ("https://seen.example", {"origin": "https://seen.example"}, True),
        ("https://seen.example/", {"origin": "https://seen.example"}, True),
        ("https://Seen.Example:443", {"origin": "https://seen.example", "sec-fetch-site": "same-origin"}, True),
        ("https://seen.example", {}, True),
        ("https://seen.example", {"origin": OWN}, False),
        ("https://seen.example", {"origin": "http://seen.example"}, False),
        ("https://seen.example", {"origin": "https://evil.example", "sec-fetch-site": "same-origin"}, False),
        ("https://seen.example", {"origin": "null"}, False),
    ],
)
def test_what_another_page_sends_is_told_from_what_an_own_one_does(public_url, headers, own):
    given = SimpleNamespace(headers={"host": "flows.example:8080", **headers}, scheme="http", method="POST")
    assert Cookies(public_url).from_own_page(given) is own
