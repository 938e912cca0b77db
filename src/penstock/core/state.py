"""What a running process is: process, scopes, active visits. Plain values, no behaviour that needs I/O.

A *visit* is one activation of a node by a token; a token is always either at an active visit or
waiting at a join. Numbers (`n`) come from one counter per process that never goes back; a scope node's
visit and the scope it opens share one number, the root scope is 0.

Times are integers: milliseconds since 1970-01-01 UTC. The structs are mutable because a step copies
what it touches and changes the copy; what a step was given it never changes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

FORMAT = 1
"""Number of the stored format of `Scope` and of events; `core.codec` upcasts older ones."""

ROOT = 0

# What a timer or subscription of a visit is for, when it is not a boundary or an event gateway's target, which are named
# by their codes: no code has an "@".
OWN = "@own"
"""What the node itself waits for."""
RETRY = "@retry"
"""The next attempt of a job."""
TIMEOUT = "@timeout"
"""The end of an attempt's time."""
TERMINATION = "@terminate"
"""The end of a terminated process's grace; its visit is 0."""


class Status(StrEnum):
    """State of a process."""

    RUNNING = "RUNNING"
    SUSPENDED = "SUSPENDED"
    FAILED = "FAILED"
    RETRYING = "RETRYING"
    TERMINATING = "TERMINATING"
    TERMINATED = "TERMINATED"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"


ENDED = frozenset({Status.TERMINATED, Status.CANCELLED, Status.COMPLETED})


class VisitState(StrEnum):
    """State of a visit, as kept in its row."""

    OPEN = "OPEN"
    COMPLETED = "COMPLETED"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"
    """An incident is open on it."""
    CANCELLED = "CANCELLED"
    """Withdrawn: its scope was cancelled, or a boundary interrupted it, or another event won."""
    SUPERSEDED = "SUPERSEDED"
    """Withdrawn or overtaken by a restart from an earlier node."""
    THROWN = "THROWN"
    """Ended by a business error that a boundary caught."""


class Phase(StrEnum):
    """Where an active visit stands."""

    RUN = "run"
    """Its job, item, timer, subscription, child or scope is out."""
    BACKOFF = "backoff"
    """Waiting for the retry timer."""
    ENTER_FAILED = "enter_failed"
    """Incident before the work began (an input expression, a limit): retry enters anew."""
    RUN_FAILED = "run_failed"
    """Incident in the work itself: retry makes a new attempt."""
    LEAVE_FAILED = "leave_failed"
    """Incident after the work was done (a flow's condition): retry only leaves anew."""
    STUCK = "stuck"
    """A join that can never be complete: no token is left that could reach it."""


FAILED_PHASES = frozenset({Phase.ENTER_FAILED, Phase.RUN_FAILED, Phase.LEAVE_FAILED, Phase.STUCK})


class Active(msgspec.Struct, omit_defaults=True):
    """A visit that holds a token now."""

    node: str
    phase: Phase = Phase.RUN
    attempt: int = 1
    """Numbers the tries of this visit, 1 up, over all retries."""
    tries: int = 1
    """Attempts since the last retry command; the retry policy counts these."""
    retrying: bool = False
    """Re-armed by a retry command and not ended since."""
    armed: bool = False
    """The timers and subscriptions of its boundaries are out."""


class Each(msgspec.Struct, omit_defaults=True):
    """The counts of a for_each scope. Element i is the scope numbered `first + i`, a row of its own."""

    total: int
    first: int
    next: int = 0
    """Index of the first element not yet started."""
    done: int = 0
    failed: int = 0
    """Elements with at least one open incident."""
    due: bool = False
    """An `ElementsDue` is on its way, which will start more."""


class Scope(msgspec.Struct, omit_defaults=True):
    """Where tokens and variables live: the process, a sub-process, one element of a for_each, or its counts."""

    n: int
    parent: int | None = None
    node: str = ""
    """Code of the scope node; "" for the root."""
    index: int | None = None
    """Of an element."""
    vars: dict[str, Any] = {}
    active: dict[int, Active] = {}
    waiting: dict[str, dict[int, int]] = {}
    """Join node -> incoming flow's index -> tokens waiting there."""
    done: dict[str, int] = {}
    """Node -> its last ended visit, where outputs are read."""
    incidents: int = 0
    """Open incidents in this very scope and the scopes below it."""
    retrying: int = 0
    """Visits re-armed by a retry and not ended since, in this scope and below."""
    each: Each | None = None
    """Set on a for_each's own scope; such a scope has no tokens, its elements do."""


class Process(msgspec.Struct, omit_defaults=True):
    """The thin row: what is true of the process as a whole."""

    status: Status = Status.RUNNING
    seq: int = 0
    """Number of the last history row."""
    next_n: int = 1
    at: int = 0
    """Time of the last event; never goes back."""
    incidents: int = 0
    retrying: int = 0
    """Visits re-armed by a retry command and not ended since."""
    retries: int = 0
    """How often a retry command was accepted."""
    running: int = 0
    """While TERMINATING: jobs told to stop that have not answered."""
    called: bool = False
    """Another process called it and waits for its end."""
