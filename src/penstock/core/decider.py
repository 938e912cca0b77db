"""The decider: what a process does next.

Theory of operation
-------------------
`step(version, process, view, event)` is a pure function. It takes the compiled version, the thin row of the process, a view
to look its scopes and outputs up, and one event; it answers with a `Step` (what changed, and commands for the engine) or a
`Rejected` (why not), in which case nothing changed. No I/O, no clock, no randomness: time is `event.at`, never less than the time
of the last event; numbers come from the process's counter; jitter is a hash.

A process is a tree of scopes. A scope holds tokens: each is at an *active visit* or waits at a join. An event names a visit by
its scope and number; an event for a visit that is not active any more is *stale* and rejected, which is what makes late and
repeated answers harmless. Handling an event ends, fails or re-arms a visit; then `moves.settle` moves every token as far as
it goes: nodes that need nobody (gateways, `set`, starts, ends) run through, the others open a job, an item, a timer, a
subscription, a child or a scope and wait.

There are three kinds of trouble, and they do not mix:

* a technical failure of a job is tried again by its node's policy, then becomes an *incident*;
* a business error (`throw`) goes outwards to the nearest boundary that takes it, else becomes an incident;
* an expression that fails, a gateway without a way on, a join that can never be complete: an incident on that node at once.

An incident is a visit that keeps its token in one of the failed phases; the process is FAILED while there is one, and its other
tokens go on. Commands (retry, debug, skip, restart) take it up in place.

The state of the process as a whole is derived after each event: ended, TERMINATING and SUSPENDED are set by commands; else
FAILED while an incident is open, RETRYING while a re-armed visit has not ended, RUNNING otherwise. While SUSPENDED every
answer, message and due timer is kept as it is (`KeepEvent`) and applied at resume. While TERMINATING only the returns of the
jobs that were told to stop count.

`LEGAL` is the whole table of commands by state. The semantics of nodes, flows and joins are BPMN 2.0's (chapter 13).

Where what stands, each using only what is above it: `run` the working set of a step, `naming` what expressions read, `arming`
timers and subscriptions, `incidents`, `joins`, `leaving` nodes, `withdrawal` and errors outwards, `scopes` and for_each,
`entering` nodes, `moves` the loop, `addressing` what an event is about, `answers` to what is out, `interventions` of people.
"""

from __future__ import annotations

from typing import NamedTuple, assert_never

from penstock.core import answers, interventions
from penstock.core import commands as do
from penstock.core import events as ev
from penstock.core.addressing import Refused, Rejected, running_of
from penstock.core.definition import Driver, Item, ItemKind, Start, Version
from penstock.core.leaving import pass_through
from penstock.core.moves import settle
from penstock.core.run import Run, View
from penstock.core.state import ENDED, ROOT, TERMINATION, Process, Scope, Status, VisitState
from penstock.errors import Invalid

__all__ = ["LEGAL", "TERMINATE_TIMER", "Rejected", "Step", "finish", "start", "step"]

TERMINATE_TIMER = TERMINATION
"""Purpose of the timer whose event is `TerminationTimedOut`."""

_MOVING = frozenset({Status.RUNNING, Status.FAILED, Status.RETRYING})
_OPEN = _MOVING | {Status.SUSPENDED}

LEGAL: dict[type[ev.Event], tuple[str, frozenset[Status]]] = {
    ev.CompleteRequested: ("complete", _MOVING),
    ev.CancelRequested: ("cancel", _OPEN),
    ev.TerminateRequested: ("terminate", _OPEN),
    ev.SuspendRequested: ("suspend", _MOVING),
    ev.ResumeRequested: ("resume", frozenset({Status.SUSPENDED})),
    ev.RetryRequested: ("retry", frozenset({Status.FAILED})),
    ev.VisitRetried: ("retry", frozenset({Status.FAILED, Status.RETRYING})),
    ev.DebugRequested: ("debug", _MOVING),
    ev.SkipRequested: ("skip", _MOVING),
    ev.RestartRequested: ("restart", _MOVING),
    ev.Migrated: ("migrate", _OPEN),
    ev.ItemClaimed: ("claim", _OPEN),
    ev.DocumentLinked: ("link a document", _OPEN),
    ev.DocumentUnlinked: ("unlink a document", _OPEN),
    ev.ItemUnclaimed: ("unclaim", _OPEN),
    ev.ItemAssigned: ("assign", _OPEN),
    ev.ItemDelegated: ("delegate", _OPEN),
    ev.ItemChanged: ("change", _OPEN),
    ev.ThreadOpened: ("open a thread", _OPEN),
}
"""Event of a command -> its name and the states it is legal in. Every other event is an answer, a timer or a message."""


class Step(NamedTuple):
    """What an event did. `scopes` maps number -> new scope; dropped ones are named by `DropScope` commands."""

    process: Process
    scopes: dict[int, Scope]
    visits: list[do.Command]
    commands: list[do.Command]


def start(version: Version, view: View, event: ev.Started) -> Step:
    """The first step of a process.

    Raises: Invalid when the definition cannot be started this way; a called process ends at once instead.
    """
    starts = version.root.starts if event.start is None else ()
    refusal = _start_refusal(version, event)
    if refusal and not event.called:
        raise Invalid(refusal)
    run = Run(version, Process(called=event.called), view, event.at)
    run.add_scope(Scope(n=ROOT))
    for name, value in (("input", event.input), ("metadata", event.metadata), ("entity", event.entity)):
        if value is not None:
            run.set_data(name, value)
    run.commands.append(do.Publish("process.started", {}))
    if refusal:
        run.end_process(Status.TERMINATED, message=refusal)
    elif version.driver is Driver.GRAPH:
        for code in starts:
            run.enqueue(ROOT, code)
        if event.start is not None:
            pass_through(run, ROOT, event.start, event.payload)
    return finish(run)


def _start_refusal(version: Version, event: ev.Started) -> str:
    """Why the definition cannot be started this way; "" when it can."""
    if version.driver is not Driver.GRAPH:
        return ""
    if event.start is None:
        names = ", ".join(sorted(version.messages))
        return "" if version.root.starts else f"{version.code} has no plain start, it is started by a message: {names}"
    if isinstance(version.root.nodes.get(event.start), Start):
        return ""
    return f"{version.code} has no start node {event.start!r}"


def step(version: Version, process: Process, view: View, event: ev.AnyEvent) -> Step | Rejected:
    """Apply one event. Never raises for a legal process, whatever the event."""
    try:
        return _step(version, process, view, event)
    except Refused as refused:
        return refused.rejected


def _step(version: Version, process: Process, view: View, event: ev.AnyEvent) -> Step:
    status = process.status
    legal = LEGAL.get(type(event))
    if legal is not None and status not in legal[1]:
        raise Refused("wrong_state", f"cannot {legal[0]}: the process is {status}")
    if status in ENDED:
        raise Refused("wrong_state", f"the process has ended: it is {status}")
    run = Run(version, process, view, max(event.at, process.at))
    if status is Status.TERMINATING:
        interventions.terminating(run, event)
    else:
        _handle(run, event)
    return finish(run)


def finish(run: Run) -> Step:
    """Let every token move as far as it goes, and derive the state of the process."""
    process = run.process
    if process.status in _MOVING:
        settle(run)
    if process.status in _MOVING:
        process.status = Status.FAILED if process.incidents else Status.RETRYING if process.retrying else Status.RUNNING
    return Step(process, run.changed, run.visit_commands(), run.final_commands())


def _handle(run: Run, event: ev.AnyEvent) -> None:
    match event:
        case (
            ev.JobCompleted()
            | ev.JobFailed()
            | ev.ErrorThrown()
            | ev.ItemCompleted()
            | ev.ItemCancelled()
            | ev.TimerFired()
            | ev.MessageArrived()
            | ev.ChildEnded()
            | ev.ElementsDue()
        ):
            answers.check(run, event)
            (answers.keep if run.process.status is Status.SUSPENDED else answers.apply)(run, event)
        case ev.ItemClaimed() | ev.ItemUnclaimed() | ev.ItemAssigned() | ev.ItemDelegated() | ev.ItemChanged():
            running_of(run, event, Item)
            run.commands.append(_item_command(event))
        case ev.VisitRetried():
            interventions.retry(run, event)
        case ev.DebugRequested():
            interventions.debug(run, event)
        case ev.SkipRequested():
            interventions.skip(run, event)
        case ev.RestartRequested():
            interventions.restart(run, event)
        case ev.Started():
            raise Refused("wrong_state", f"the process has started already: it is {run.process.status}")
        case ev.JobReturned() | ev.TerminationTimedOut():
            raise Refused("stale", f"the process is not being terminated: it is {run.process.status}")
        case ev.Migrated():
            raise Refused("wrong_state", "a migration is applied by core.migration")
        case _:
            _handle_process(run, event)


ItemEvent = ev.ItemClaimed | ev.ItemUnclaimed | ev.ItemAssigned | ev.ItemDelegated | ev.ItemChanged
"""What happens to an item while its visit waits."""


def _item_command(event: ItemEvent) -> do.Command:
    match event:
        case ev.ItemClaimed():
            return do.ClaimItem(event.visit, event.owner)
        case ev.ItemUnclaimed():
            return do.UnclaimItem(event.visit)
        case ev.ItemAssigned():
            return do.AssignItem(event.visit, event.to)
        case ev.ItemDelegated():
            return do.DelegateItem(event.visit, event.to)
        case ev.ItemChanged():
            return do.ChangeItem(event.visit, event.due_at, event.priority)
        case _:
            assert_never(event)


def _thread(n: int, event: ev.ThreadOpened) -> do.OpenItem:
    return do.OpenItem(
        n,
        ROOT,
        "",
        "",
        None,
        event.candidates,
        kind=ItemKind.THREAD.value,
        waits=False,
        owner=event.actor,
        name=event.name,
    )


ProcessEvent = (
    ev.ThreadOpened
    | ev.CompleteRequested
    | ev.CancelRequested
    | ev.TerminateRequested
    | ev.SuspendRequested
    | ev.ResumeRequested
    | ev.RetryRequested
    | ev.DocumentLinked
    | ev.DocumentUnlinked
)


def _handle_process(run: Run, event: ProcessEvent) -> None:
    match event:
        case ev.ThreadOpened():
            run.commands.append(_thread(run.new_number(), event))
        case ev.CompleteRequested():
            if run.version.driver is Driver.GRAPH:
                raise Refused("wrong_state", "cannot complete: the graph decides when this process is over")
            _end(run, Status.COMPLETED, event)
        case ev.CancelRequested():
            _end(run, Status.CANCELLED, event)
        case ev.TerminateRequested():
            interventions.terminate(run, event)
        case ev.SuspendRequested():
            run.process.status = Status.SUSPENDED
            run.commands += [do.HoldJobs(), do.Publish("process.suspended", {})]
        case ev.ResumeRequested():
            run.process.status = Status.RUNNING
            run.commands += [do.ReleaseJobs(), do.Publish("process.resumed", {})]
        case ev.RetryRequested():
            run.process.retries += 1
        case ev.DocumentLinked() | ev.DocumentUnlinked():
            pass  # for the record: no token waits for a document
        case _:
            assert_never(event)


def _end(run: Run, status: Status, event: ev.CompleteRequested | ev.CancelRequested) -> None:
    run.commands.append(do.Withdraw(VisitState.CANCELLED))
    run.end_process(status, event.output if isinstance(event, ev.CompleteRequested) else None)
