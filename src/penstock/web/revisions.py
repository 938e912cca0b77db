"""ETag, If-Match, If-None-Match: what people edit is not overwritten by who has not seen its last change.

A tag is the number of a revision in quotes, as `"7"`, and strong: it names the state of the thing, which all its
representations share. `If-Match` compares strongly (RFC 9110, 13.1.1), so `W/"7"` fits nothing there; `If-None-Match`
compares weakly. No precondition is demanded: without one the last word counts.
"""

from __future__ import annotations

import re

from penstock.errors import Invalid, Problem

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_LONGEST = 1_000


def etag(revision: int) -> str:
    """The tag of a revision."""
    return f'"{revision}"'


def if_match(header: str | None) -> frozenset[int] | None:
    """The revisions of which one must be there; None: whichever is. Tags that are none of ours fit nothing.

    Raises: Invalid.
    """
    if header is None or header.strip() == "*":
        return None
    return frozenset(number for weak, number in _tags("If-Match", header) if not weak and number is not None)


def is_known(header: str | None, revision: int) -> bool:
    """Whether `If-None-Match` says that the caller has this revision. Raises: Invalid."""
    if header is None:
        return False
    if header.strip() == "*":
        return True
    return any(number == revision for _, number in _tags("If-None-Match", header))


def _tags(name: str, header: str) -> list[tuple[bool, int | None]]:
    """(weak, revision or None where it is no number) of each tag of a list."""
    found: list[tuple[bool, int | None]] = []
    rest = header.strip() if len(header) <= _LONGEST else ""
    while rest:
        tag = _TAG.match(rest)
        if tag is None:
            break
        found.append((bool(tag[1]), int(tag[2]) if _NUMBER.fullmatch(tag[2]) else None))
        rest = rest[tag.end() :].lstrip()
        if rest and not rest.startswith(","):
            break
        rest = rest.lstrip(", \t")
    if rest or not found:
        message = f'must be "*" or tags in quotes, as "7", {_LONGEST} characters at most'
        raise Invalid(f"{name}: {message}", [Problem(name, message, "malformed")])
    return found
