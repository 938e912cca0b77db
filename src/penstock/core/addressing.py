"""What an event is about: the scope and the active visit it names, or why it is refused."""

from __future__ import annotations

from typing import NamedTuple

from penstock.core import events as ev
from penstock.core.definition import Http, Job, Robot
from penstock.core.run import Run
from penstock.core.state import Active, Phase, Scope

Attempted = ev.JobCompleted | ev.JobFailed | ev.ErrorThrown | ev.JobReturned


class Rejected(NamedTuple):
    """The event is not legal here and changed nothing. `code` is "wrong_state", "stale" or "unknown"."""

    code: str
    message: str


class Refused(Exception):
    """Ends a step that must not change anything; `decider.step` answers with the rejection."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.rejected = Rejected(code, message)


def scope_of(run: Run, n: int) -> Scope:
    try:
        return run.peek(n)
    except KeyError:
        raise Refused("stale", f"scope {n} is not open") from None


def active_of(run: Run, event: ev.VisitEvent) -> Active:
    """The active visit an event is for."""
    active = scope_of(run, event.scope).active.get(event.visit)
    if active is None:
        raise Refused("stale", f"visit {event.visit} is not open")
    return active


def running_of(run: Run, event: ev.VisitEvent, *kinds: type) -> Active:
    """The active visit an event is for; its node must be of these kinds and its work must be out."""
    active = active_of(run, event)
    node = run.node(active.node)
    if not isinstance(node, kinds):
        raise Refused(
            "unknown", f"visit {event.visit} is at {active.node!r}, of kind {node.kind}: it takes no such answer"
        )
    if active.phase is not Phase.RUN:
        raise Refused("stale", f"visit {event.visit} does not wait for an answer")
    return active


def attempt_of(run: Run, event: Attempted) -> Active:
    """The active visit whose job was answered; the answer must be for its present attempt."""
    active = running_of(run, event, Job, Http, Robot)
    if active.attempt != event.attempt:
        raise Refused("stale", f"attempt {event.attempt} of visit {event.visit} is over")
    return active
