"""The header `traceparent` of W3C Trace Context (level 1, and what it says of later versions)."""

from __future__ import annotations

import re
from typing import NamedTuple

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII | re.DOTALL)
_LONGEST = 512
SAMPLED = 0x01


class Context(NamedTuple):
    """Where a trace is: the span that calls. `flags` has the bit `SAMPLED` alone, whatever else was sent."""

    trace_id: str
    span_id: str
    flags: int


def parse(text: str | None) -> Context | None:
    """None for what the specification says to ignore: then a new trace begins.

    Version `ff`, capitals, ids of zeros alone and wrong lengths are malformed. Of a later version what version 00 knows is
    read, if it ends there or a dash follows.
    """
    if text is None or len(text) > _LONGEST:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more is not None):
        return None
    if trace_id == "0" * 32 or span_id == "0" * 16:
        return None
    return Context(trace_id, span_id, int(flags, 16) & SAMPLED)


def render(context: Context) -> str:
    """The header for whoever is called next."""
    return f"00-{context.trace_id}-{context.span_id}-{context.flags:02x}"
