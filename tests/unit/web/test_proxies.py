"""Where a call comes from, as proxies tell it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.web.proxies import Proxies

TRUSTED = Proxies(["10.0.0.0/8", "fd00::/8"])
FOR, FORWARDED, PROTO = "x-forwarded-for", "forwarded", "x-forwarded-proto"


def seen(peer: str | None, *headers: tuple[str, str], proxies: Proxies = TRUSTED) -> tuple[Any, Any]:
    scope = {
        "client": None if peer is None else (peer, 1234),
        "scheme": "http",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    found = proxies.seen_through(scope)
    return (found["client"] and found["client"][0]), found["scheme"]


CHAINS: list[tuple[str, list[tuple[str, str]], str]] = [
    ("10.0.0.1", [], "10.0.0.1"),
    ("10.0.0.1", [(FOR, "203.0.113.7")], "203.0.113.7"),
    ("10.0.0.1", [(FOR, "1.1.1.1, 203.0.113.7")], "203.0.113.7"),
    ("10.0.0.1", [(FOR, "1.1.1.1"), (FOR, "203.0.113.7")], "203.0.113.7"),
    ("10.0.0.1", [(FOR, "203.0.113.7, 10.0.0.2, 10.0.0.3")], "203.0.113.7"),
    ("10.0.0.1", [(FOR, "10.0.0.3, 10.0.0.2")], "10.0.0.3"),
    ("10.0.0.1", [(FOR, "203.0.113.7:4711")], "203.0.113.7"),
    ("10.0.0.1", [(FOR, "[2001:db8::1]:4711")], "2001:db8::1"),
    ("10.0.0.1", [(FOR, "2001:db8::1")], "2001:db8::1"),
    ("10.0.0.1", [(FOR, "::ffff:203.0.113.7")], "203.0.113.7"),
    ("::ffff:10.0.0.1", [(FOR, "203.0.113.7")], "203.0.113.7"),
    ("fd00::1", [(FOR, "203.0.113.7")], "203.0.113.7"),
    ("10.0.0.1", [(FOR, "203.0.113.7, unknown")], "10.0.0.1"),
    ("10.0.0.1", [(FOR, "203.0.113.7, unknown, 10.0.0.2")], "10.0.0.2"),
    ("10.0.0.1", [(FOR, "")], "10.0.0.1"),
    ("10.0.0.1", [(FOR, ", , ,")], "10.0.0.1"),
    ("10.0.0.1", [(FORWARDED, "for=203.0.113.7")], "203.0.113.7"),
    ("10.0.0.1", [(FORWARDED, 'for=1.1.1.1, for="[2001:db8::1]:4711";proto=https;by=10.0.0.1')], "2001:db8::1"),
    ("10.0.0.1", [(FORWARDED, "proto=https")], "10.0.0.1"),
    ("10.0.0.1", [(FORWARDED, "for=_hidden")], "10.0.0.1"),
    ("10.0.0.1", [(FORWARDED, "for=203.0.113.7"), (FOR, "203.0.113.7")], "203.0.113.7"),
    ("10.0.0.1", [(FORWARDED, "for=1.1.1.1"), (FOR, "203.0.113.7")], "10.0.0.1"),
    ("203.0.113.1", [(FOR, "1.1.1.1")], "203.0.113.1"),
    ("fe80::1", [(FOR, "1.1.1.1"), (FORWARDED, "for=1.1.1.1")], "fe80::1"),
]


@pytest.mark.parametrize(("peer", "headers", "caller"), CHAINS)
def test_the_caller_is_the_rightmost_that_is_no_trusted_proxy(peer, headers, caller):
    assert seen(peer, *headers)[0] == caller


def test_without_trusted_proxies_nothing_is_believed():
    assert not Proxies([])
    assert seen("10.0.0.1", (FOR, "1.1.1.1"), (PROTO, "https"), proxies=Proxies([])) == ("10.0.0.1", "http")
    assert seen(None, (FOR, "1.1.1.1")) == (None, "http")


@pytest.mark.parametrize(
    ("peer", "told", "scheme"),
    [
        ("10.0.0.1", "https", "https"),
        ("10.0.0.1", "http, HTTPS", "https"),
        ("10.0.0.1", "gopher", "http"),
        ("1.1.1.1", "https", "http"),
    ],
)
def test_the_scheme_is_the_last_that_a_trusted_proxy_tells(peer, told, scheme):
    assert seen(peer, (PROTO, told))[1] == scheme


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_whatever_stands_left_of_what_a_proxy_wrote_changes_nothing(written, more):
    assert seen("10.0.0.1", (FOR, f"{written},{more}, 203.0.113.7"))[0] == "203.0.113.7"


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_no_header_breaks_it(first, second):
    assert seen("10.0.0.1", (FOR, first), (FORWARDED, second))[0]
