"""What may be asked of lists, in the platform's words."""

from __future__ import annotations

from typing import NamedTuple


class Viewer(NamedTuple):
    """Who looks, where a list may hold what not everybody may see."""

    principal: str
    grantees: tuple[str, ...]


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


class ItemFilter(NamedTuple):
    """What a list of items is narrowed to. `grantees` limits it to what one of them may claim, or `owner` owns."""

    states: tuple[str, ...] = ()
    grantees: tuple[str, ...] = ()
    owner: str | None = None
    of_pid: int | None = None
    task: str | None = None
    definition: str | None = None
