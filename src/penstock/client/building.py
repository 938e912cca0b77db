"""Building blocks of calls: requests from paths, parameters and bodies. What they are for stands in `calls` and `objects`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from penstock.client.request import API, Request

T = TypeVar("T")


def get(path: str, answer: type[T], **query: Any) -> Request[T]:
    return Request("GET", API + path, answer, query=tuple(_pairs(query)), repeatable=True, keyed=False)


def change(
    method: str, path: str, answer: type[T], body: Any = msgspec.UNSET, *, revision: int | None = None
) -> Request[T]:
    """`revision`: the one the change is made for; another is refused as `Stale`."""
    encoded = None if body is msgspec.UNSET else msgspec.json.encode(body)
    headers = {} if revision is None else {"If-Match": f'"{revision}"'}
    return Request(method, API + path, answer, body=encoded, headers=headers)


def given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _pairs(query: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    for name, value in query.items():
        if value is None:
            continue
        for one in [value] if isinstance(value, str) or not isinstance(value, Iterable) else value:
            yield name, _text(one)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)
