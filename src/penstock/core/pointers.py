"""RFC 6901 JSON pointers."""

from __future__ import annotations

from collections.abc import Iterable


def pointer_to(path: Iterable[str | int]) -> str:
    return "".join("/" + escape(str(step)) for step in path)


def escape(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
