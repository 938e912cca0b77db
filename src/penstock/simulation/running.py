"""Runs one case from its start to the end of time, and reports."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from penstock.core.definition import Version
from penstock.core.schema import coerce, compile_schema
from penstock.core.state import ENDED, ROOT, VisitState
from penstock.errors import Invalid, Problem
from penstock.simulation.answering import Chooser
from penstock.simulation.case import Case, Order, Send
from penstock.simulation.catalogue import Known
from penstock.simulation.findings import Difference, Incident, Moment, span
from penstock.simulation.judging import judge, judge_refusal, unanswered
from penstock.simulation.orders import give
from penstock.simulation.process import Simulated, Visit
from penstock.simulation.report import Report
from penstock.simulation.waiting import Waiting, waiting
from penstock.simulation.world import COMMAND, SEND, Endless, World


def run(case: Case, known: Mapping[str, Known], report: Report) -> Report:
    """Fill the report of a case; `known` begins with its own definition."""
    began = time.perf_counter()
    world = World(known, Chooser(case.answers), case.now)
    found: list[Difference] = []
    try:
        main = _start(world, case, next(iter(known)))
    except Invalid as error:
        reason = "; ".join(f"{each.pointer}: {each.message}" for each in error.problems) or error.message
        report.refused = reason
        found += judge_refusal(case, reason)
    else:
        found += _live(world, case)
        endless = any(each.kind == "endless" for each in found)
        waits = [] if endless else waiting(world)
        _fill(report, world, main, waits)
        found += [Difference(kind="answer", message=each.message, pointer=each.pointer) for each in world.unfit]
        if case.expect is None:
            found += unanswered(waits)
        elif not endless:
            found += judge(case, report, waits)
        _mark(world, known)
    report.differences = found
    report.ok = not found
    report.took = time.perf_counter() - began
    return report


# -- the start ---------------------------------------------------------------------------------------------------------


def _start(world: World, case: Case, code: str) -> Simulated:
    """Raises: Invalid."""
    version = world.definitions[code].version
    if case.start is not None:
        # A message's payload is the input as it is: nobody is there to be told that it does not fit.
        return world.start(code, input=case.input, start=version.messages[case.start], payload=case.input)
    return world.start(code, **_checked(version, case))


def _checked(version: Version, case: Case) -> dict[str, Any]:
    """Input, metadata and entity in the types of their schemas. Raises: Invalid."""
    problems: list[Problem] = []
    data: dict[str, Any] = {}
    for name in ("input", "metadata", "entity"):
        value = getattr(case, name)
        schema = version.schemas.get(name)
        if schema is not None:
            value = coerce(schema, {} if value is None and schema.get("type") == "object" else value)
            problems += compile_schema(schema).check(value, f"/{name}")
        if value is not None:
            data[name] = value
    if problems:
        raise Invalid("the data does not fit the definition's schemas", problems)
    return data


# -- the life ----------------------------------------------------------------------------------------------------------


def _live(world: World, case: Case) -> list[Difference]:
    found: list[Difference] = []

    def send(number: int, sent: Send) -> None:
        world.plan(sent.at.after(case.now), SEND, lambda: world.send(number, sent))

    def order(given: Order) -> None:
        def act() -> None:
            refused = give(world, given)
            if bool(refused) is not given.refused:
                message = f"{given.do} was refused: {refused}" if refused else f"{given.do} was not refused"
                found.append(Difference(kind="command", message=message, pointer=given.pointer))

        world.plan(given.at.after(case.now), COMMAND, act)

    for number, sent in enumerate(case.send):
        send(number, sent)
    for each in case.commands:
        order(each)
    try:
        world.run(None if case.until is None else case.until.after(case.now))
    except Endless:
        return [*found, Difference(kind="endless", message=_endless(world), pointer=case.pointer)]
    return found + _unsent(world, case)


def _endless(world: World) -> str:
    counts = Counter(visit.node for process in world.processes for visit in process.visits.values())
    most = ", ".join(f"{node} {times:,} times" for node, times in counts.most_common(3))
    return f"it comes to no end: {most}. Give it `until`, or an answer that ends the loop (`times` limits one)"


def _unsent(world: World, case: Case) -> list[Difference]:
    found = []
    for number, sent in enumerate(case.send):
        if (number in world.taken) is not sent.taken:
            what = f"the {'signal' if sent.signal else 'message'} {sent.name}" + (f" {sent.key}" if sent.key else "")
            message = f"nobody took {what}" if sent.taken else f"{what} was taken, and should not be"
            found.append(Difference(kind="send", message=message, pointer=sent.pointer))
    return found


# -- the report --------------------------------------------------------------------------------------------------------


def _fill(report: Report, world: World, main: Simulated, waits: list[Waiting]) -> None:
    visits = sorted(main.visits.values(), key=lambda each: each.n)
    ended = main.process.status in ENDED
    began = world.began
    root = main.scopes.get(ROOT)
    report.status = main.process.status.value
    report.result = main.datas.get("output")
    report.path = [visit.node for visit in visits]
    report.values = dict(main.keys)
    report.vars = dict(root.vars) if root is not None else {}
    report.metadata = main.datas.get("metadata")
    report.entity = main.datas.get("entity")
    report.inputs = {visit.node: visit.input for visit in visits if visit.input is not None}
    report.open = [each.place for each in waits]
    report.duration = (main.process.at if ended else world.now) - began
    report.incidents = [incident for process in world.processes for incident in _incidents(process)]
    report.timeline = [
        _moment(process, visit, began)
        for process in world.processes
        for visit in sorted(process.visits.values(), key=lambda each: each.n)
    ]


def _incidents(process: Simulated) -> list[Incident]:
    prefix = "" if process.number == 1 else f"{process.version.code}/"
    return [
        Incident(node=prefix + visit.node, visit=visit.n, attempt=visit.attempt, failure=visit.failure)
        for visit in process.open.values()
        if visit.state is VisitState.FAILED and visit.failure is not None
    ]


def _moment(process: Simulated, visit: Visit, began: int) -> Moment:
    depth, scope = 0, process.scope_of(visit.scope)
    while scope is not None:
        depth, scope = depth + 1, process.scope_of(scope)
    return Moment(
        process="" if process.number == 1 else process.version.code,
        visit=visit.n,
        node=visit.node,
        kind=visit.kind,
        state=visit.state.value,
        attempt=visit.attempt,
        depth=depth + process.depth,
        at=visit.started_at - began,
        ended=None if visit.ended_at is None else visit.ended_at - began,
        troubles=tuple(
            f"{span(each.at - began)} attempt {each.attempt}: {each.failure.type}: {each.failure.message}".rstrip(": ")
            for each in visit.troubles
        ),
    )


def _mark(world: World, known: Mapping[str, Known]) -> None:
    """Which nodes were run."""
    for process in world.processes:
        known[process.version.code].trail.visited.update(visit.node for visit in process.visits.values())
