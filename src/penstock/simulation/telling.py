"""Reports in words. A line is pieces of text, each with a style's name, so that a terminal may colour them; `text_of` is
the same without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgspec

from penstock.simulation.comparing import NOTHING, Change, Row
from penstock.simulation.findings import Difference, Moment, span

Piece = tuple[str, str]
Line = list[Piece]
"""Styles: "" plain, "good", "bad", "dim", "strong", "yaml"."""

_STATES = {"COMPLETED": "good", "SKIPPED": "good", "FAILED": "bad", "OPEN": "strong", "THROWN": "strong"}
_LONGEST = 160
_MOST_ROWS = 200


class Told(Protocol):
    """What can be told of: a report."""

    name: str
    file: str
    ok: bool
    duration: int
    took: float
    differences: list[Difference]
    timeline: list[Moment]


def text_of(report: Told) -> str:
    """A report as plain text."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines_of(report, timeline=True))


def lines_of(report: Told, *, timeline: bool) -> Iterator[Line]:
    """A case on one line; below it what went wrong, and its timeline if it went wrong or one is asked for."""
    mark = ("✓ ", "good") if report.ok else ("✗ ", "bad")
    took = f"  {report.took * 1000:.1f} ms"
    yield [mark, (report.name, "" if report.ok else "strong"), (f"  {span(report.duration)}", "dim"), (took, "dim")]
    for difference in report.differences:
        yield from _difference(report, difference)
    if report.timeline and (timeline or not report.ok):
        yield [("    timeline", "dim")]
        for line in _timeline(report.timeline):
            yield [("      ", ""), *line]


def _difference(report: Told, difference: Difference) -> Iterator[Line]:
    line: Line = [("    ", ""), (f"{difference.kind:<10} ", "bad"), (difference.message, "")]
    if difference.line is not None:
        line.append((f"  {report.file}:{difference.line}", "dim"))
    yield line
    for change in difference.changes:
        yield [("      ", ""), *_change(change)]
    if difference.rows:
        for row in _rows(difference.rows):
            yield [("      ", ""), *row]
    if difference.add:
        yield [("      to answer it, add", "dim")]
        for each in difference.add.splitlines():
            yield [("        ", ""), (each, "yaml")]


def _change(change: Change) -> Line:
    place = change.pointer or "it"
    return [
        (f"{place}: ", "strong"), ("expected ", ""), (_json(change.expected), "good"),
        (", was ", ""), (_json(change.actual), "bad"),
    ]  # fmt: skip


def _json(value: Any) -> str:
    if value is NOTHING:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _rows(rows: Iterable[Row]) -> Iterator[Line]:
    shown = list(rows)
    width = max([len("expected"), *(len(row.expected) for row in shown)]) + 2
    yield [(f"  {'expected':<{width}}actual", "dim")]
    for row in shown[:_MOST_ROWS]:
        left, right = ("dim", "dim") if row.mark == " " else ("good", "bad")
        yield [(f"{row.mark} ", "strong"), (f"{row.expected:<{width}}", left), (row.actual, right)]
    if len(shown) > _MOST_ROWS:
        yield [(f"  … and {len(shown) - _MOST_ROWS:,} more", "dim")]


def _timeline(moments: list[Moment]) -> Iterator[Line]:
    times = [span(moment.at) for moment in moments]
    nodes = ["  " * moment.depth + (f"{moment.process}/" if moment.process else "") + moment.node for moment in moments]
    wide, wider = max(map(len, times)), max(map(len, nodes))
    for moment, time, node in list(zip(moments, times, nodes, strict=True))[:_MOST_ROWS]:
        state = "WAITING" if moment.state == "OPEN" else moment.state
        ended = moment.ended is not None and moment.ended > moment.at
        lasted = f" after {span((moment.ended or 0) - moment.at)}" if ended else ""
        attempts = f", {moment.attempt} attempts" if moment.attempt > 1 else ""
        yield [
            (f"{time:>{wide}} ", "dim"), (f"{moment.visit:>4}  ", "dim"), (f"{node:<{wider}}  ", ""),
            (f"{moment.kind:<9}", "dim"), (state, _STATES.get(moment.state, "dim")), (lasted + attempts, "dim"),
        ]  # fmt: skip
        for trouble in moment.troubles:
            yield [(" " * (wide + 7) + f"↳ {trouble}", "bad")]
    if len(moments) > _MOST_ROWS:
        yield [(f"… and {len(moments) - _MOST_ROWS:,} visits more", "dim")]
