"""Was it as expected? Each question answers with the differences it finds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.core.durations import Duration, format_duration
from penstock.simulation.case import Case, Expect, Incident, Match
from penstock.simulation.comparing import aligned, changes, follows
from penstock.simulation.findings import Difference, span
from penstock.simulation.report import Report
from penstock.simulation.waiting import Waiting


def judge(case: Case, report: Report, waits: list[Waiting]) -> Iterator[Difference]:
    """Of a process that was started."""
    expect = case.expect
    at = f"{case.pointer}/expect"
    assert expect is not None
    if expect.refused is not None:
        yield Difference(kind="refused", message="the start was expected to be refused, and was not", pointer=at)
        return
    yield from _open(expect, report, waits, at)
    yield from _incidents(expect, report, at)
    if report.status != expect.status:
        message = f"expected {expect.status}, was {report.status}"
        yield Difference(kind="status", message=message, pointer=f"{at}/status")
    for name in ("result", "values", "vars", "metadata", "entity"):
        match: Match | None = getattr(expect, name)
        if match is not None:
            yield from _value(name, match, getattr(report, name), f"{at}/{name}")
    for node, match in expect.inputs.items():
        yield from _input(node, match, report, f"{at}/inputs/{node}")
    yield from _path(expect, report, at)
    yield from _duration(case, expect, report, at)


def judge_refusal(case: Case, reason: str) -> Iterator[Difference]:
    """Of a start that was refused."""
    expect = case.expect
    if expect is None or expect.refused is None:
        yield Difference(kind="refused", message=f"the start was refused: {reason}", pointer=f"{case.pointer}/input")
    elif expect.refused not in reason:
        message = f"expected a refusal with {expect.refused!r}, was: {reason}"
        yield Difference(kind="refused", message=message, pointer=f"{case.pointer}/expect/refused")


def _open(expect: Expect, report: Report, waits: list[Waiting], at: str) -> Iterator[Difference]:
    if expect.open is not None:
        if sorted(expect.open) != sorted(report.open):
            rows = tuple(aligned(sorted(expect.open), sorted(report.open)))
            message = "other nodes wait for somebody than expected"
            yield Difference(kind="open", message=message, pointer=f"{at}/open", rows=rows)
        return
    yield from unanswered(waits)


def unanswered(waits: list[Waiting]) -> Iterator[Difference]:
    for each in waits:
        if each.promised:
            continue
        message = f"{each.place} (visit {each.visit}) still waits for {each.what}"
        yield Difference(kind="unanswered", message=message, add=each.add)


def _incidents(expect: Expect, report: Report, at: str) -> Iterator[Difference]:
    if expect.incidents is None:
        if expect.status != "FAILED":
            for found in report.incidents:
                message = f"{found.node} (visit {found.visit}, attempt {found.attempt}) has an incident: "
                yield Difference(kind="incident", message=message + f"{found.failure.type}: {found.failure.message}")
        return
    rest = list(report.incidents)
    for index, wanted in enumerate(expect.incidents):
        match = next(
            (found for found in rest if _is(wanted, found.node, found.failure.type, found.failure.message)), None
        )
        if match is None:
            message = f"there is no incident {_named(wanted)}"
            yield Difference(kind="incident", message=message, pointer=f"{at}/incidents/{index}")
        else:
            rest.remove(match)
    for found in rest:
        message = f"an incident more than expected, at {found.node}: {found.failure.type}: {found.failure.message}"
        yield Difference(kind="incident", message=message, pointer=f"{at}/incidents")


def _is(wanted: Incident, node: str, type: str, message: str) -> bool:
    return wanted.node == node and wanted.type in (None, type) and (wanted.message or "") in message


def _named(wanted: Incident) -> str:
    text = f"at {wanted.node}" + (f" of type {wanted.type}" if wanted.type else "")
    return text + (f" with {wanted.message!r}" if wanted.message else "")


def _value(name: str, match: Match, actual: Any, pointer: str) -> Iterator[Difference]:
    found = changes(match.value, actual, subset=match.subset)
    if found:
        yield Difference(kind=name, message=f"{name} is not as expected", pointer=pointer, changes=tuple(found))


def _input(node: str, match: Match, report: Report, pointer: str) -> Iterator[Difference]:
    if node not in report.inputs:
        yield Difference(kind="inputs", message=f"{node} was given nothing: no token came there", pointer=pointer)
        return
    for found in _value("inputs", match, report.inputs[node], pointer):
        yield Difference(
            kind=found.kind, message=f"the input of {node} is another", pointer=pointer, changes=found.changes
        )


def _path(expect: Expect, report: Report, at: str) -> Iterator[Difference]:
    path = report.path
    if expect.path is not None and list(expect.path) != path:
        rows = tuple(aligned(expect.path, path))
        yield Difference(kind="path", message="another path was taken", pointer=f"{at}/path", rows=rows)
    missing = follows(expect.path_includes, path)
    if missing is not None:
        rows = tuple(aligned(expect.path_includes, path))
        message = f"{missing} does not come in its place" if missing in path else f"no token came to {missing}"
        yield Difference(kind="path", message=message, pointer=f"{at}/path_includes", rows=rows)
    for index, node in enumerate(expect.never):
        if node in path:
            message = f"{node} was run, and never should be"
            yield Difference(kind="never", message=message, pointer=f"{at}/never/{index}")


def _duration(case: Case, expect: Expect, report: Report, at: str) -> Iterator[Difference]:
    wanted = expect.duration
    if wanted is None:
        return
    least, most = (None if each is None else each.after(case.now) - case.now for each in (wanted.least, wanted.most))
    if (least is None or report.duration >= least) and (most is None or report.duration <= most):
        return
    bounds = [_bound("at least", wanted.least), _bound("at most", wanted.most)]
    text = _bound("", wanted.least) if wanted.least == wanted.most else " and ".join(filter(None, bounds))
    message = f"expected {text.strip()}, took {span(report.duration)}"
    yield Difference(kind="duration", message=message, pointer=f"{at}/duration")


def _bound(word: str, duration: Duration | None) -> str:
    return "" if duration is None else f"{word} {format_duration(duration)}"
