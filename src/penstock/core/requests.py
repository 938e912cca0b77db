"""What may be asked, in the platform's words: filters of lists, and what a job's token is held to."""

from __future__ import annotations

from typing import NamedTuple


class Viewer(NamedTuple):
    """Who looks, where a list may hold what not everybody may see."""

    principal: str
    grantees: tuple[str, ...]


class Condition(NamedTuple):
    """What a searchable value must be. `name` is as under `search:`, or "" for the words of all of them."""

    name: str
    value: str
    op: str = "is"
    """"is"; "prefix"; "from" (at least) and "to" (less than), among numbers when `value` is one, else among texts."""


class Filter(NamedTuple):
    """What a list of processes is narrowed to, and its order; None or empty is no condition. Times in ms.

    `..._from` is included, `..._to` is not.
    """

    statuses: tuple[str, ...] = ()
    definition: str | None = None
    version: int | None = None
    created_from: int | None = None
    created_to: int | None = None
    created_by: str | None = None
    ended_from: int | None = None
    ended_to: int | None = None
    parent_pid: int | None = None
    incidents: bool | None = None
    search: tuple[Condition, ...] = ()
    """All must hold."""
    sort: str = "created"
    """One of `SORTS`; "ended" lists what has ended alone."""
    oldest: bool = False
    """Earliest first."""
    viewer: Viewer | None = None
    """Only what they may see; None sees everything."""


class UserFilter(NamedTuple):
    """What a list of users is narrowed to. `email` and `name` are beginnings, case-folded."""

    email: str = ""
    name: str = ""
    group: str | None = None
    disabled: bool | None = None
    sort: str = "email"
    """`email` or `name`; with a `-` before it, from the end."""


class JobClaim(NamedTuple):
    """What a caller says of the job whose token it holds. All are texts as they were sent."""

    token: str
    definition: str
    """Its code or its id."""
    process: str
    version: str
    node: str
    """Its code, or the kind of work: the job's topic."""
    execution: str


SORTS = ("created", "ended", "modified")


class VisitFilter(NamedTuple):
    """What a list of a process's visits is narrowed to; empty is no condition."""

    states: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class ItemFilter(NamedTuple):
    """What a list of items is narrowed to, and its order; None or empty is no condition. Times in ms.

    `grantees` limits it to what is granted to one of them, and to what `principal` owned while it was open. In the orders
    `due` and `priority` stand open items alone.
    """

    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    principal: str | None = None
    owner: str | None = None
    group: str | None = None
    """A grantee, `group:CODE`: what its members may claim or read."""
    of_pid: int | None = None
    did: int | None = None
    task: str | None = None
    overdue: bool = False
    due_before: int | None = None
    sort: str = "created"
    descending: bool = True
