"""What a process is found by: a row for each name and value, in an encoding whose order is the values' own.

Names are those a definition lists under `search:`, and four of the platform's own: who created the process, when it
ended, whether it has incidents, and each word of its searchable texts. The rows of a process follow from its data, so a change finds the rows it
replaces by their keys.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.core.definition import Version
from penstock.store.held import Held
from penstock.store.rows import SEARCH, Tx

CREATED_BY, ENDED, INCIDENTS, WORD = "created_by", "ended", "incidents", "word"
"""Names that no definition can list: its own begin with `metadata.`, `entity.` or `input.`."""

LONGEST = 200
"""Characters of a value that are compared."""
LONGEST_WORD = 40
MOST_WORDS = 32
"""Words of a process that free text finds it by."""

LAST = "\U0010ffff"
"""Behind every text that begins like another."""

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][-+]?[0-9]{1,4})?")
_EXACT = 2**53

Entry = tuple[str, str]
"""Name and encoded value."""


# -- encodings ---------------------------------------------------------------------------------------------------------


def text_key(text: str) -> str:
    return f"t{text[:LONGEST]}"


def number_key(number: float) -> str:
    """Sixteen hexadecimal digits that stand in the order of the numbers; what a double cannot tell apart stands behind."""
    try:
        double = float(number) + 0.0  # no negative zero
    except OverflowError:
        double = math.inf if number > 0 else -math.inf
    (bits,) = struct.unpack(">Q", struct.pack(">d", double))
    ordered = bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63)
    exact = isinstance(number, int) and abs(number) > _EXACT
    return f"n{ordered:016x}{str(number)[:LONGEST] if exact else ''}"


def time_key(ms: int) -> str:
    return f"{ms:015d}"


def value_key(value: Any) -> str | None:
    """How a value is kept; None when it cannot be searched."""
    if isinstance(value, bool):
        return "btrue" if value else "bfalse"
    if isinstance(value, int | float):
        return number_key(value)
    return text_key(value) if isinstance(value, str) else None


def keys_of(text: str) -> tuple[str, ...]:
    """What a caller's text may stand for: itself, a number, true or false."""
    found = [text_key(text)]
    if (number := _number(text)) is not None:
        found.append(number_key(number))
    if text in ("true", "false"):
        found.append(f"b{text}")
    return tuple(found)


def bound_key(text: str) -> str:
    """Where a range begins or ends: among numbers when the text is one, else among texts."""
    number = _number(text)
    return text_key(text) if number is None else number_key(number)


def _number(text: str) -> int | float | None:
    if not _NUMBER.fullmatch(text):
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


def words_of(text: str) -> list[str]:
    """The words of a text, without regard to case."""
    return [word[:LONGEST_WORD] for word in _WORD.findall(text.casefold())]


# -- rows --------------------------------------------------------------------------------------------------------------


def entries(version: Version, data: Mapping[str, Any]) -> set[Entry]:
    """What a process of a version is found by, from its data."""
    found: set[Entry] = set()
    words: dict[str, None] = {}
    for name in version.search:
        value = _at(name, data)
        key = value_key(value)
        if key is not None:
            found.add((name, key))
        if isinstance(value, str | int) and not isinstance(value, bool):
            words.update(dict.fromkeys(words_of(str(value)[:LONGEST])))
    return found | {(WORD, word) for word in list(words)[:MOST_WORDS]}


def created(tx: Tx, tid: int, pid: int, created_at: int, created_by: str) -> None:
    """A process is made."""
    _put(tx, tid, pid, created_at, [(CREATED_BY, created_by)])


def ended(tx: Tx, tid: int, pid: int, created_at: int, ended_at: int) -> None:
    """It has ended."""
    _put(tx, tid, pid, created_at, [(ENDED, time_key(ended_at))])


def incidents(tx: Tx, tid: int, pid: int, created_at: int, *, some: bool) -> None:
    """It has its first incident, or none any more."""
    change = _put if some else _delete
    change(tx, tid, pid, created_at, [(INCIDENTS, "")])


def update(held: Held, before: Mapping[str, Any]) -> None:
    """Bring the rows up to date with data of which `before` has what it was."""
    # the first step has set all there is
    now = _data(held, held.version) if held.process.seq > 1 else {root: held.data(root) for root in before}
    _replace(held, entries(held.version, {**now, **before}), entries(held.version, now))


def move(held: Held, to: Version) -> None:
    """The process comes to a version that lists other names."""
    _replace(held, entries(held.version, _data(held, held.version)), entries(to, _data(held, to)))


def remove(tx: Tx, row: Mapping[str, Any], version: Version, data: Mapping[str, Any]) -> None:
    """The process is removed; `row` is its own, by column."""
    found = entries(version, data) | {(CREATED_BY, row["created_by"])}
    if row["ended_at"] is not None:
        found.add((ENDED, time_key(row["ended_at"])))
    if row["incidents"]:
        found.add((INCIDENTS, ""))
    _delete(tx, row["tid"], row["pid"], row["created_at"], found)


def _data(held: Held, version: Version) -> dict[str, Any]:
    return {root: held.data(root) for root in dict.fromkeys(name.partition(".")[0] for name in version.search)}


def _at(name: str, data: Mapping[str, Any]) -> Any:
    value: Any = data
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _replace(held: Held, old: set[Entry], new: set[Entry]) -> None:
    _delete(held.tx, held.tid, held.pid, held.created_at, old - new)
    _put(held.tx, held.tid, held.pid, held.created_at, new - old)


def _put(tx: Tx, tid: int, pid: int, created_at: int, found: Iterable[Entry]) -> None:
    for name, value in found:
        tx.put(SEARCH, (tid, name, value, created_at, pid))


def _delete(tx: Tx, tid: int, pid: int, created_at: int, found: Iterable[Entry]) -> None:
    for name, value in found:
        tx.delete(SEARCH, (tid, name, value, created_at, pid))
