"""What may be asked of lists, in the platform's words."""

from __future__ import annotations

from typing import NamedTuple


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


SORTS = ("created", "ended", "modified")


class VisitFilter(NamedTuple):
    """What a list of a process's visits is narrowed to; empty is no condition."""

    states: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


class ItemFilter(NamedTuple):
    """What a list of items is narrowed to. `grantees` limits it to what one of them may claim, or `owner` owns."""

    states: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    owner: str | None = None
    of_pid: int | None = None
    task: str | None = None
    definition: str | None = None
