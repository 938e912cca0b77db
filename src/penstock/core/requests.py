"""What may be asked, in the platform's words: filters of lists, and what a job's token is held to."""

from __future__ import annotations

from typing import NamedTuple


class Filter(NamedTuple):
    """What a list of processes is narrowed to; None or empty is no condition. Times in ms."""

    statuses: tuple[str, ...] = ()
    definition: str | None = None
    version: int | None = None
    created_from: int | None = None
    created_to: int | None = None
    created_by: str | None = None
    search: tuple[tuple[str, str], ...] = ()
    """(name as under `search:`, value as text), all must hold."""


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


class ItemFilter(NamedTuple):
    """What a list of items is narrowed to. `grantees` limits it to what one of them may claim, or `owner` owns."""

    states: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    owner: str | None = None
    of_pid: int | None = None
    task: str | None = None
    definition: str | None = None
