"""Calls for what a tenant keeps beside its definitions: schedules, secrets, connections; and what they answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.client.building import change, get, given
from penstock.client.errors import Problem
from penstock.client.models import Answer, Page
from penstock.client.request import M, Namespace, Request, listing, segment, verb


class Schedule(Answer, frozen=True):
    id: str
    definition: str
    state: str
    revision: int
    version: int | None = None
    cron: str | None = None
    every: str | None = None
    timezone: str = "UTC"
    input: Any = None
    start: datetime | None = None
    end: datetime | None = None
    jitter: str | None = None
    overlap: str = "allow"
    catch_up: str = "last"
    catch_up_limit: int = 100
    next: datetime | None = None
    last_due: datetime | None = None
    last_process: str | None = None
    last_error: str | None = None
    failures: int = 0
    skipped: int = 0
    created_at: datetime | None = None
    created_by: str = ""
    modified_at: datetime | None = None
    modified_by: str = ""


class Coming(Answer, frozen=True):
    times: list[datetime]
    timezone: str = "UTC"


class RunNow(Answer, frozen=True):
    process: str


class Secret(Answer, frozen=True):
    """All but the value."""

    name: str
    revision: int
    key: str = ""
    modified_at: datetime | None = None
    modified_by: str = ""


class Connection(Answer, frozen=True):
    name: str
    base_url: str
    revision: int
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    auth: dict[str, Any] = msgspec.field(default_factory=dict)
    timeout: str | None = None
    warnings: list[Problem] = msgspec.field(default_factory=list)


class Trial(Answer, frozen=True):
    ok: bool
    status: int | None = None
    error: str | None = None
    milliseconds: int = 0


class Schedules(Namespace[M]):
    """Processes started by the clock. `revision` on a change: refuse it when somebody else was first."""

    @verb
    def create(
        self,
        /,
        definition: str,
        *,
        id: str | None = None,
        cron: str | None = None,
        every: str | None = None,
        timezone: str | None = None,
        input: Any = None,
        **more: Any,
    ) -> Request[Schedule]:
        """Exactly one of `cron`, `every`; `more` is any other member of a schedule, such as `overlap` or `catch_up`."""
        body = given(
            definition=definition, id=id, cron=cron, every=every, timezone=timezone, input=input, **_times(more)
        )  # fmt: skip
        return change("POST", "/schedules", Schedule, body)

    @listing
    def list(
        self,
        *,
        state: str | Sequence[str] | None = None,
        definition: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Request[Page[Schedule]]:
        return get("/schedules", Page[Schedule], state=state, definition=definition, limit=limit, cursor=cursor)

    @verb
    def get(self, id: str) -> Request[Schedule]:
        return get(_schedule(id), Schedule)

    @verb
    def update(self, /, id: str, definition: str, *, revision: int | None = None, **members: Any) -> Request[Schedule]:
        """Replaces all that the schedule says."""
        body = given(definition=definition, **_times(members))
        return change("PUT", _schedule(id), Schedule, body, revision=revision)

    @verb
    def delete(self, id: str, *, revision: int | None = None) -> Request[None]:
        return change("DELETE", _schedule(id), type(None), revision=revision)

    @verb
    def pause(self, id: str, *, revision: int | None = None) -> Request[Schedule]:
        return change("POST", f"{_schedule(id)}/pause", Schedule, revision=revision)

    @verb
    def resume(self, id: str, *, revision: int | None = None) -> Request[Schedule]:
        return change("POST", f"{_schedule(id)}/resume", Schedule, revision=revision)

    @verb
    def run(self, id: str) -> Request[RunNow]:
        """Starts its process now."""
        return change("POST", f"{_schedule(id)}/run", RunNow)

    @verb
    def next(self, id: str, count: int | None = None) -> Request[Coming]:
        """The coming times."""
        return get(f"{_schedule(id)}/next", Coming, count=count)


class Secrets(Namespace[M]):
    @verb
    def put(self, name: str, value: str, *, revision: int | None = None) -> Request[Secret]:
        return change("PUT", f"/secrets/{segment(name)}", Secret, {"value": value}, revision=revision)

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[Page[Secret]]:
        return get("/secrets", Page[Secret], limit=limit, cursor=cursor)

    @verb
    def get(self, name: str) -> Request[Secret]:
        """All but its value."""
        return get(f"/secrets/{segment(name)}", Secret)

    @verb
    def delete(self, name: str, *, revision: int | None = None) -> Request[None]:
        return change("DELETE", f"/secrets/{segment(name)}", type(None), revision=revision)


class Connections(Namespace[M]):
    @verb
    def put(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        auth: Mapping[str, Any] | None = None,
        timeout: str | None = None,
        revision: int | None = None,
    ) -> Request[Connection]:
        """`auth` is `{"type": "bearer", "token": "${secrets.NAME}"}` or one of the other kinds."""
        body = given(base_url=base_url, headers=headers, auth=auth, timeout=timeout)
        return change("PUT", f"/connections/{segment(name)}", Connection, body, revision=revision)

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[Page[Connection]]:
        return get("/connections", Page[Connection], limit=limit, cursor=cursor)

    @verb
    def get(self, name: str) -> Request[Connection]:
        return get(f"/connections/{segment(name)}", Connection)

    @verb
    def delete(self, name: str, *, revision: int | None = None) -> Request[None]:
        return change("DELETE", f"/connections/{segment(name)}", type(None), revision=revision)

    @verb
    def test(self, name: str, path: str = "", *, method: str = "GET") -> Request[Trial]:
        """Calls through it, and tells the status."""
        return change("POST", f"/connections/{segment(name)}/~test", Trial, {"method": method, "path": path})


def _schedule(id: str) -> str:
    return f"/schedules/{segment(id)}"


def _times(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in members.items()}


__all__ = ["Coming", "Connection", "Connections", "RunNow", "Schedule", "Schedules", "Secret", "Secrets", "Trial"]
