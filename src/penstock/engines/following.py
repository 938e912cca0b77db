"""Steps as spans, where they are traced: what each is called, and which step left what in whose inbox."""

from __future__ import annotations

import time
from collections import OrderedDict

from penstock.core import events as ev
from penstock.core.decider import Step
from penstock.store import jobs
from penstock.store.held import Held
from penstock.store.rows import Tx
from penstock.telemetry.activity import CURRENT, Activity
from penstock.telemetry.traceparent import parse
from penstock.telemetry.tracing import Span

MOST = 10_000
"""Inboxes of which a node remembers who posted there."""


def step_span(held: Held, event: ev.AnyEvent, step: Step, began: int, parent: str | None) -> Span | None:
    """The span of a step from when the decider `began` (by `perf_counter_ns`); None where the unit is not traced.

    It ends after the commit: a step that was rolled back is none. What the step opens keeps its traceparent (`Tx.trace`).
    """
    tx: Tx = held.tx
    if tx.span is None:
        return None
    attributes: dict[str, str | int] = {
        "penstock.process": held.process_id,
        "penstock.definition": held.version.code,
        "penstock.version": held.number,
        "penstock.step": step.process.seq,
        "penstock.event": type(event).__name__,
        "penstock.status": step.process.status.value,
    }
    if isinstance(event, ev.VisitEvent):
        attributes["penstock.visit"] = event.visit
        if (node := held.node_of(event.visit)) is not None:
            attributes["penstock.node"] = node
    start = time.time_ns() - (time.perf_counter_ns() - began)
    span = tx.step = tx.span.child(f"step {type(event).__name__}", attributes, parent=parent, start=start)
    tx.trace = span.traceparent
    return span


def parent_of(row: jobs.Row, told: str | None) -> str | None:
    """What the step of an answer goes below: the span the worker told, or the step that opened the job.

    None: the unit's own span, where the request says that it is part of a trace.
    """
    if told is not None and parse(told) is not None:
        return told
    called = CURRENT.get()
    return None if called is not None and called.span is not None and called.span.remote else row.trace


def end_later(tx: Tx, span: Span) -> None:
    """The step is done now, if its group is committed."""
    ended = time.time_ns()
    tx.after_commit(lambda: span.end(ended))


class Posted:
    """By process: the step that last left something in its inbox. From any thread."""

    def __init__(self) -> None:
        self._spans: OrderedDict[int, Span] = OrderedDict()

    def note(self, tx: Tx, pid: int) -> None:
        """The unit leaves something there."""
        span = tx.step or tx.span
        if span is not None:
            tx.after_commit(lambda: self._keep(pid, span))

    def _keep(self, pid: int, span: Span) -> None:
        self._spans[pid] = span
        if len(self._spans) > MOST:
            self._spans.popitem(last=False)

    def take(self, pid: int) -> Activity | None:
        """On whose behalf what lies there is applied, as far as this node knows."""
        span = self._spans.pop(pid, None)
        return None if span is None else Activity(span=span)


def of_unit(tx: Tx) -> Activity | None:
    """On whose behalf goes on what the unit has begun."""
    span = tx.step or tx.span
    return None if span is None else Activity(span=span)
