"""The header of W3C Trace Context, as its specification says it is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.telemetry.traceparent import Context, parse, render

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE, SPAN = GOOD.split("-")[1:3]


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        (GOOD, 1),
        (GOOD[:-2] + "00", 0),
        (GOOD[:-2] + "03", 1),  # bits that are not known are not sent on
        (GOOD[:-2] + "fe", 0),
        ("01" + GOOD[2:], 1),
        ("fe" + GOOD[2:] + "-", 1),
        ("cc" + GOOD[2:] + "-whatever a later version has", 1),
    ],
)
def test_what_can_be_read(text, flags):
    assert parse(text) == Context(TRACE, SPAN, flags)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        GOOD[:-1],
        GOOD + "1",
        GOOD + "-",
        GOOD + "\n",
        " " + GOOD,
        GOOD.upper(),
        GOOD.replace("f", "F"),
        "ff" + GOOD[2:],
        "FE" + GOOD[2:],
        "cc" + GOOD[2:] + ".x",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}",
        GOOD.replace("4", "٤"),  # another alphabet's four
        "cc" + GOOD[2:] + "-" + "x" * 500,
    ],
)
def test_what_is_malformed_is_as_if_it_were_not_there(text):
    assert parse(text) is None


@given(st.text(max_size=80) | st.from_regex(r"\A[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]*)?\Z"))
def test_what_is_sent_on_can_be_read_by_the_next(text):
    context = parse(text)
    if context is not None:
        assert text[3:52] == f"{context.trace_id}-{context.span_id}"
        assert len(render(context)) == 55
        assert parse(render(context)) == context
