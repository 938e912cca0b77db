"""Comparing what was expected with what was there: values by their places, paths side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import msgspec

from penstock.core.pointers import escape

MOST = 20
"""Differences of one value that are told."""

NOTHING = msgspec.UNSET
"""In place of a value that is not there."""


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One place in which two values differ."""

    pointer: str
    expected: Any = NOTHING
    actual: Any = NOTHING


class Row(msgspec.Struct, frozen=True):
    """One place of two paths side by side: " " the same, "-" missing, "+" not expected, "~" another."""

    mark: str
    expected: str
    actual: str


def changes(expected: Any, actual: Any, *, subset: bool) -> list[Change]:
    """Where the values differ, at most `MOST`; of a subset, maps may have more members."""
    found: list[Change] = []
    for change in _changes(expected, actual, "", subset):
        found.append(change)
        if len(found) == MOST:
            break
    return found


def _changes(expected: Any, actual: Any, pointer: str, subset: bool) -> Iterator[Change]:  # noqa: FBT001
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in expected:
            below = f"{pointer}/{escape(key)}"
            if key in actual:
                yield from _changes(expected[key], actual[key], below, subset)
            else:
                yield Change(below, expected[key])
        if not subset:
            yield from (
                Change(f"{pointer}/{escape(key)}", NOTHING, actual[key]) for key in actual if key not in expected
            )
    elif isinstance(expected, list) and isinstance(actual, list):
        for index in range(max(len(expected), len(actual))):
            below = f"{pointer}/{index}"
            if index >= len(actual):
                yield Change(below, expected[index])
            elif index >= len(expected):
                yield Change(below, NOTHING, actual[index])
            else:
                yield from _changes(expected[index], actual[index], below, subset)
    elif not _same(expected, actual):
        yield Change(pointer, expected, actual)


def _same(expected: Any, actual: Any) -> bool:
    """1 and 1.0 are one number in JSON; true is none."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    return bool(expected == actual)


def aligned(expected: Sequence[str], actual: Sequence[str]) -> list[Row]:
    """Two paths side by side; runs of one node are told once."""
    rows: list[Row] = []
    for tag, i, j, k, m in SequenceMatcher(None, expected, actual, autojunk=False).get_opcodes():
        left, right = _runs(expected[i:j]), _runs(actual[k:m])
        if tag == "equal":
            rows += [Row(" ", each, each) for each in left]
            continue
        for index in range(max(len(left), len(right))):
            was = left[index] if index < len(left) else ""
            now = right[index] if index < len(right) else ""
            rows.append(Row("~" if was and now else "-" if was else "+", was, now))
    return rows


def _runs(nodes: Sequence[str]) -> list[str]:
    found: list[tuple[str, int]] = []
    for node in nodes:
        if found and found[-1][0] == node:
            found[-1] = node, found[-1][1] + 1
        else:
            found.append((node, 1))
    return [node if times == 1 else f"{node} * {times}" for node, times in found]


def follows(wanted: Sequence[str], path: Sequence[str]) -> str | None:
    """The first of the wanted nodes that does not come in its order; None when all do. Others may lie between."""
    rest = iter(path)
    return next((node for node in wanted if node not in rest), None)
