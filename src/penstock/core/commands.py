"""What is to be done after a step: imperative, immutable. The engine carries them out in the same commit.

A visit is named by its number; the process is the one the step was about. Times are milliseconds since 1970 UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.events import AnyEvent, Failure
from penstock.core.state import VisitState


class Command(msgspec.Struct, frozen=True, tag=True, tag_field="type", omit_defaults=True):
    """Base of all commands."""


class OpenVisit(Command, frozen=True):
    """A visit's row comes to be. A visit that ends in the very step that opened it comes with its end."""

    n: int
    scope: int
    node: str
    kind: str
    state: VisitState
    started_at: int
    input: Any = None
    output: Any = None
    failure: Failure | None = None
    ended_at: int | None = None


class ChangeVisit(Command, frozen=True):
    """A visit's row changes. A member left UNSET keeps its value."""

    n: int
    state: VisitState | msgspec.UnsetType = msgspec.UNSET
    attempt: int | msgspec.UnsetType = msgspec.UNSET
    input: Any = msgspec.UNSET
    output: Any = msgspec.UNSET
    failure: Failure | msgspec.UnsetType | None = msgspec.UNSET
    ended_at: int | msgspec.UnsetType | None = msgspec.UNSET


class RenameVisit(Command, frozen=True):
    """After a migration: the open visit (its job, its item) stands at another node."""

    n: int
    node: str


class OpenJob(Command, frozen=True):
    """Offer work to the workers of `topic` (for `http` nodes the engine's own runner, topic "http:")."""

    visit: int
    scope: int
    node: str
    topic: str
    attempt: int
    input: Any
    timeout: int | None = None
    """Milliseconds the attempt may take in all; a timer is started with it."""


class CloseJob(Command, frozen=True):
    """The job of this visit is over or withdrawn: its row goes, a late answer gets LeaseLost."""

    visit: int


class OpenItem(Command, frozen=True):
    """Show something to people. Texts, candidates and data are resolved."""

    visit: int
    scope: int
    node: str
    task: str
    data: Any
    candidates: tuple[str, ...] = ()
    due_at: int | None = None
    priority: int = 0
    kind: str = "TASK"
    waits: bool = True
    """A token stands at the visit until the item is done; without one, the item's number is no open visit's."""
    owner: str | None = None
    """Who began a thread."""
    name: str = ""
    """Of a thread that no node opened."""
    again: bool = False
    """The visit has had an item before, which was taken back or cancelled: this one takes its place."""


class ClaimItem(Command, frozen=True):
    visit: int
    owner: str


class UnclaimItem(Command, frozen=True):
    """Back to who delegated it, else to its candidates."""

    visit: int


class AssignItem(Command, frozen=True):
    visit: int
    to: str


class DelegateItem(Command, frozen=True):
    visit: int
    to: str


class ChangeItem(Command, frozen=True):
    visit: int
    due_at: int | None
    priority: int


class CloseItem(Command, frozen=True):
    """`completed` false: withdrawn. The row stays, its grants go. `by`: who did it, where somebody did."""

    visit: int
    completed: bool
    output: Any = None
    by: str = ""


class StartTimer(Command, frozen=True):
    visit: int
    scope: int
    purpose: str
    due_at: int
    attempt: int = 1


class StopTimer(Command, frozen=True):
    """The timer may have fired already."""

    visit: int
    purpose: str


class Subscribe(Command, frozen=True):
    """Wait for a message (`key` correlates) or, when `signal`, for a broadcast (key is "")."""

    visit: int
    scope: int
    purpose: str
    name: str
    key: str = ""
    signal: bool = False


class Unsubscribe(Command, frozen=True):
    """The subscription may have been used up already."""

    visit: int
    purpose: str


class StartChild(Command, frozen=True):
    visit: int
    scope: int
    definition: str
    input: Any


class CancelChild(Command, frozen=True):
    visit: int


class CreateElements(Command, frozen=True):
    """Rows for the elements of a for_each: element i is scope `first + i`, child of scope `scope`, not started."""

    scope: int
    node: str
    first: int
    name: str
    """The variable each element's value is bound to."""
    values: list[Any]


class ContinueElements(Command, frozen=True):
    """Send the process an `ElementsDue` for this for_each scope after the commit."""

    scope: int


class DropScope(Command, frozen=True):
    """A scope ended or was withdrawn, with all below it.

    `state` None: it ended by itself and nothing below is open. Otherwise every open visit in it and below gets this
    state, and their jobs, items, timers, subscriptions and children go.
    """

    n: int
    state: VisitState | None = None
    output: Any = msgspec.UNSET
    """Of an element whose output its for_each collects."""
    collected: bool = False
    """A for_each whose elements' rows were kept for their outputs: they go now."""


class SupersedeVisits(Command, frozen=True):
    """Ended visits of these nodes in this scope are overtaken by a restart; visits numbered `before` and up are its own."""

    scope: int
    nodes: tuple[str, ...]
    before: int


class SetData(Command, frozen=True):
    """`name`: "input", "metadata", "entity" or "output"; the whole new value."""

    name: str
    value: Any


class KeepEvent(Command, frozen=True):
    """The process is suspended: keep this event in the inbox until it resumes."""

    event: AnyEvent


class HoldJobs(Command, frozen=True):
    """Hand out no job of this process."""


class ReleaseJobs(Command, frozen=True):
    """Hand them out again, and apply the kept events in their order."""


class TellJobs(Command, frozen=True):
    """Tell the leased jobs to stop (their next heartbeat says so), withdraw everything else that is open."""

    deadline: int


class Withdraw(Command, frozen=True):
    """Withdraw all that is open anywhere in the process: visits get `state`, the rest goes."""

    state: VisitState


class EndProcess(Command, frozen=True):
    """Tell who waits: the calling process (`ChildEnded`), the outbox."""

    status: str
    output: Any = None
    code: str | None = None
    message: str = ""


class Publish(Command, frozen=True):
    """An outbox row for webhooks and event streams: `kind` is e.g. "process.completed", "incident.opened"."""

    kind: str
    data: dict[str, Any]
