"""What people edit has a revision: it is told as an `ETag`, and `If-Match` says which one a change was made for (RFC 9110)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from penstock.errors import Invalid, Problem, Stale

_TAG = re.compile(r'"([0-9]{1,18})"')


def etag(rev: int) -> str:
    """A revision as a strong entity tag."""
    return f'"{rev}"'


def expected(headers: Mapping[str, str]) -> int | None:
    """The revision that `If-Match` names; None without one, and for `*`, which takes any.

    Raises: Invalid when it cannot be read, Stale for a weak tag, which never matches.
    """
    given = headers.get("if-match")
    if given is None or given.strip() == "*":
        return None
    text = given.strip()
    if text.startswith("W/"):
        raise Stale("If-Match with a weak tag never matches: send the ETag as it came")
    found = _TAG.fullmatch(text)
    if found is None:
        message = "must be one ETag as it came, or *"
        raise Invalid(f"If-Match: {message}", [Problem("If-Match", message)])
    return int(found[1])
