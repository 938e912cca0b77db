"""What happened: past tense, immutable, self-contained. `decider.step` takes one and nothing else changes a process.

`at` is milliseconds since 1970 UTC; `actor` is who did it, in the grantee notation (`app:ID`, `user:EMAIL`,
`system`). `scope` and `visit` are the numbers of the visit an answer is for.
"""

from __future__ import annotations

from typing import Any

import msgspec


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure of a user's work, as data."""

    type: str
    message: str
    permanent: bool = False
    cause: Failure | None = None
    """What lay below it, as the worker told."""


class Event(msgspec.Struct, frozen=True, tag=True, tag_field="type", kw_only=True, omit_defaults=True):
    """Base of all events."""

    at: int
    actor: str = "system"


class Started(Event, frozen=True):
    """The process began. `start` names a message start node; None starts every plain start."""

    input: Any = None
    metadata: Any = None
    entity: Any = None
    start: str | None = None
    payload: Any = None
    """What the starting message carried: the output of the start node."""
    called: bool = False
    """Started by another process's `call` node."""


class VisitEvent(Event, frozen=True):
    """Something about one visit."""

    scope: int
    visit: int


class JobCompleted(VisitEvent, frozen=True):
    attempt: int
    output: Any = None


class JobFailed(VisitEvent, frozen=True):
    """A technical failure: retried by the node's policy unless permanent. `delay` (ms) overrules the policy's."""

    attempt: int
    failure: Failure
    delay: int | None = None


class ErrorThrown(VisitEvent, frozen=True):
    """A business error: never retried, caught by the nearest boundary outwards."""

    attempt: int
    code: str
    message: str = ""
    data: Any = None


class JobReturned(VisitEvent, frozen=True):
    """While TERMINATING: a job that was told to stop ended in any way, or its lease ran out."""

    attempt: int


class ItemClaimed(VisitEvent, frozen=True):
    owner: str


class ItemUnclaimed(VisitEvent, frozen=True):
    """Given back: to who delegated it, else to its candidates."""


class ItemAssigned(VisitEvent, frozen=True):
    """Given to a principal, who owns it now, or to a group, which may claim it; `to` is a grantee."""

    to: str


class ItemDelegated(VisitEvent, frozen=True):
    """Handed on by its owner, to whom it comes back."""

    to: str
    note: str = ""


class ItemChanged(VisitEvent, frozen=True):
    """When it is due (ms, None: at no time) and how urgent it is, as they are from now on."""

    due_at: int | None = None
    priority: int = 0


class ItemCompleted(VisitEvent, frozen=True):
    output: Any = None


class ItemCancelled(VisitEvent, frozen=True):
    """The visit ends with the error `ItemCancelled`: a boundary may take it, else it is an incident."""

    reason: str = ""


class ThreadOpened(Event, frozen=True):
    """Somebody began a conversation on the process; no token waits for it."""

    name: str
    candidates: tuple[str, ...] = ()


class TimerFired(VisitEvent, frozen=True):
    """`purpose`: one of `core.state`'s, or the code of a boundary or of a target of an event gateway."""

    purpose: str
    attempt: int = 1


class MessageArrived(VisitEvent, frozen=True):
    """A message or signal for a subscription, which is gone unless `signal`. `purpose` is as in `TimerFired`."""

    purpose: str
    name: str
    payload: Any = None
    message_id: str = ""
    signal: bool = False


class ChildEnded(VisitEvent, frozen=True):
    """A called process ended. `status` is the child's; `code` is set when it ended with an error nobody caught."""

    status: str
    output: Any = None
    code: str | None = None
    message: str = ""


class ElementsDue(Event, frozen=True):
    """The for_each scope numbered `scope` has more elements to start."""

    scope: int


class CompleteRequested(Event, frozen=True):
    """End a process whose driver is outside (`code`, `client`)."""

    output: Any = None


class CancelRequested(Event, frozen=True):
    reason: str = ""


class TerminateRequested(Event, frozen=True):
    """`running`: how many jobs are leased at this moment (the store counts them)."""

    running: int = 0
    reason: str = ""


class TerminationTimedOut(Event, frozen=True):
    pass


class SuspendRequested(Event, frozen=True):
    pass


class ResumeRequested(Event, frozen=True):
    pass


class RetryRequested(Event, frozen=True):
    """Opens a round of retries; a `VisitRetried` follows for each incident in the same commit."""


class VisitRetried(VisitEvent, frozen=True):
    pass


class DebugRequested(VisitEvent, frozen=True):
    """Give a visit its input, or its result, by hand. Exactly one of `has_input`, `has_output` is true."""

    has_input: bool = False
    input: Any = None
    has_output: bool = False
    output: Any = None


class SkipRequested(VisitEvent, frozen=True):
    output: Any = None


class RestartRequested(Event, frozen=True):
    """Restart from `node` in scope number `scope`."""

    scope: int
    node: str


class Migrated(Event, frozen=True):
    """Moved to another version; `mapping` is old node -> new node. The scopes came changed from `core.migration`."""

    version: int
    mapping: dict[str, str]


class DocumentLinked(Event, frozen=True):
    """A document became one of the process's; or of an item's, by its id."""

    document: str
    name: str
    item: str | None = None


class DocumentUnlinked(Event, frozen=True):
    """A document is no longer one of the process's."""

    document: str
    name: str


AnyEvent = (
    Started
    | JobCompleted
    | JobFailed
    | ErrorThrown
    | JobReturned
    | ItemClaimed
    | ItemUnclaimed
    | ItemAssigned
    | ItemDelegated
    | ItemChanged
    | ItemCompleted
    | ItemCancelled
    | ThreadOpened
    | TimerFired
    | MessageArrived
    | ChildEnded
    | ElementsDue
    | CompleteRequested
    | CancelRequested
    | TerminateRequested
    | TerminationTimedOut
    | SuspendRequested
    | ResumeRequested
    | RetryRequested
    | VisitRetried
    | DebugRequested
    | SkipRequested
    | RestartRequested
    | Migrated
    | DocumentLinked
    | DocumentUnlinked
)
"""The closed union; `step` matches on it and a new member does not type-check until it is handled."""
