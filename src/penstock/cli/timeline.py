"""How a process is drawn for a person."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.cli.output import brief, lasted, moment, plain, state, table

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from penstock.client.models import Failure, HistoryEntry, Process, Value, Visit

_BAR = 24


def print_process(console: Console, process: Process, visits: Sequence[Visit], values: Sequence[Value]) -> None:
    console.print(
        plain(process.id, "bold"), plain(f"{process.definition} {process.version}"), state(process.status),
        plain(lasted(process.created_at, process.ended_at), "dim"),
    )  # fmt: skip
    console.print(plain(f"started {moment(process.created_at)} by {process.created_by or 'somebody'}", "dim"))
    if process.parent:
        console.print(plain(f"called by {process.parent.id}, visit {process.parent.visit}", "dim"))
    for name in ("input", "metadata", "entity", "output"):
        if (value := getattr(process, name)) is not None:
            console.print(plain(f"{name:9}", "dim"), plain(brief(value, 400)))
    if visits:
        _print_visits(console, visits)
    if values:
        rows = [[plain(each.key), plain(brief(each.value, 200))] for each in values]
        console.print(table(["key", "value"], rows, title="values"))


def _print_visits(console: Console, visits: Sequence[Visit]) -> None:
    rows = []
    for visit in visits:
        attempt = f"attempt {visit.attempt}" if visit.attempt > 1 else ""
        rows.append(
            [
                plain(visit.n, "dim"), plain("  " * (visit.scope > 0) + visit.node, "bold"), plain(visit.kind, "dim"),
                state(visit.state), plain(attempt), moment(visit.started_at),
                plain(lasted(visit.started_at, visit.ended_at)), _bar(visit, visits),
            ]
        )  # fmt: skip
        if visit.failure:
            rows.append([plain(""), plain("  " + failure_text(visit.failure), "red"), *[plain("")] * 6])
    console.print(table(["n", "node", "kind", "state", "", "started", "took", ""], rows, title="visits"))


def _bar(visit: Visit, visits: Sequence[Visit]) -> RenderableType:
    """When it was, within the time of all of them."""
    starts = [each.started_at for each in visits if each.started_at]
    if not visit.started_at or not starts:
        return plain("")
    first, last = min(starts), max([*starts, *(each.ended_at for each in visits if each.ended_at)])
    whole = (last - first).total_seconds() or 1.0
    begin = int((visit.started_at - first).total_seconds() / whole * (_BAR - 1))
    end = int(((visit.ended_at or last) - first).total_seconds() / whole * (_BAR - 1))
    return plain(" " * begin + "━" * max(1, end - begin + 1), "red" if visit.failure else "cyan")


def failure_text(failure: Failure) -> str:
    text = f"{failure.type}: {failure.message}"
    return f"{text} ← {failure_text(failure.cause)}" if failure.cause else text


def print_history(console: Console, entries: Sequence[HistoryEntry]) -> None:
    rows = [
        [
            plain(each.seq, "dim"), moment(each.at), plain(each.type, "bold"), plain(each.actor),
            plain("" if each.visit is None else each.visit), plain("" if each.data is None else brief(each.data, 120)),
        ]
        for each in entries
    ]  # fmt: skip
    console.print(table(["seq", "at", "what", "who", "visit", "data"], rows))
