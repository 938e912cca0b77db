"""Every call of the native door (`docs/api.md`), once. What is here is what both clients can do.

Each method only builds a request; `verb` and `listing` make it a call. Nothing here sends.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from penstock.client import models
from penstock.client.building import change as _change
from penstock.client.building import get as _get
from penstock.client.building import given as _given
from penstock.client.bulk import Bulk
from penstock.client.documents import Documents
from penstock.client.items import Items
from penstock.client.jobs import Jobs
from penstock.client.objects import Connections, Schedules, Secrets
from penstock.client.people import Applications, Groups, Tokens, Users
from penstock.client.request import API, M, Namespace, Request, Sender, listing, segment, verb
from penstock.client.sign_on import Providers, Sessions
from penstock.client.tenants import Tenants

T = TypeVar("T")

Document = Mapping[str, Any] | str | bytes
"""A definition: decoded, or its YAML or JSON text."""


class Values(Namespace[M]):
    """Keys, values and counters of one process or one definition."""

    def __init__(self, sender: Sender, path: str) -> None:
        super().__init__(sender)
        self._path = path

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.Value]]:
        return _get(self._path, models.Page[models.Value], limit=limit, cursor=cursor)

    @verb
    def get(self, key: str) -> Request[models.Value]:
        """Raises `NotFound` for an absent key."""
        return _get(f"{self._path}/{segment(key)}", models.Value)

    @verb
    def put(self, key: str, value: Any) -> Request[models.Value]:
        return _change("PUT", f"{self._path}/{segment(key)}", models.Value, value)

    @verb
    def delete(self, key: str) -> Request[None]:
        return _change("DELETE", f"{self._path}/{segment(key)}", type(None))

    @verb
    def increment(self, key: str) -> Request[models.Value]:
        """Adds exactly one; an absent key becomes 1."""
        return _change("POST", f"{self._path}/{segment(key)}/increment", models.Value)


class Definitions(Namespace[M]):
    @verb
    def deploy(self, document: Document) -> Request[models.Deployed]:
        """Makes a new version, unless it is the same as the latest. Raises `Invalid` with every problem."""
        return _document("/definitions", models.Deployed, document)

    @verb
    def validate(self, document: Document) -> Request[models.Validation]:
        return _document("/definitions/~validate", models.Validation, document)

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.Definition]]:
        return _get("/definitions", models.Page[models.Definition], limit=limit, cursor=cursor)

    @verb
    def get(self, code: str) -> Request[models.Definition]:
        return _get(f"/definitions/{segment(code)}", models.Definition)

    @listing
    def versions(
        self, code: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.Version]]:
        return _get(f"/definitions/{segment(code)}/versions", models.Page[models.Version], limit=limit, cursor=cursor)

    @verb
    def version(self, code: str, number: int) -> Request[models.Version]:
        return _get(f"/definitions/{segment(code)}/versions/{number}", models.Version)

    @verb
    def decide(self, code: str, number: int, decision: str, comment: str = "") -> Request[models.Version]:
        """`submit`, `withdraw`, `approve`, `reject` (with a comment), `activate` or `retire`. Raises `WrongState`."""
        path = f"/definitions/{segment(code)}/versions/{number}/{segment(decision)}"
        return _change("POST", path, models.Version, {"comment": comment})

    @listing
    def decisions(
        self, code: str, number: int, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.Decided]]:
        path = f"/definitions/{segment(code)}/versions/{number}/decisions"
        return _get(path, models.Page[models.Decided], limit=limit, cursor=cursor)

    @verb
    def permissions(self, code: str) -> Request[models.Permissions]:
        return replace(_get(f"/definitions/{segment(code)}/permissions", models.Permissions), revised=True)

    @verb
    def put_permissions(
        self, code: str, permissions: Mapping[str, Sequence[str]], *, revision: int | None = None
    ) -> Request[models.Permissions]:
        """In place of all there are."""
        body = {"permissions": {name: [*grantees] for name, grantees in permissions.items()}}
        path = f"/definitions/{segment(code)}/permissions"
        return replace(_change("PUT", path, models.Permissions, body, revision=revision), revised=True)

    def values(self, code: str) -> Values[M]:
        return Values(self.sender, f"/definitions/{segment(code)}/values")


class Processes(Namespace[M]):
    @verb
    def start(
        self,
        definition: str,
        input: Any = None,
        *,
        version: int | None = None,
        id: str | None = None,
        metadata: Any = None,
        entity: Any = None,
    ) -> Request[models.Process]:
        """The same `id` a second time answers with the process that is there."""
        new = models.NewProcess(definition, version, id, input, metadata, entity)
        return _change("POST", "/processes", models.Process, new)

    @verb
    def start_many(self, processes: Sequence[models.NewProcess]) -> Request[models.StartResults]:
        """1 to 500 in one call; each entry of the answer stands for itself."""
        return _change("POST", "/processes/~batch", models.StartResults, {"processes": list(processes)})

    @listing
    def list(  # noqa: PLR0913 - the filters of the call
        self,
        *,
        status: str | Sequence[str] | None = None,
        definition: str | None = None,
        version: int | None = None,
        created_from: datetime | None = None,
        created_to: datetime | None = None,
        created_by: str | None = None,
        ended_from: datetime | None = None,
        ended_to: datetime | None = None,
        parent: str | None = None,
        incidents: bool | None = None,
        search: Mapping[str, str] | None = None,
        q: str | None = None,
        sort: str | None = None,
        order: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Request[models.Page[models.Process]]:
        """`search` maps `metadata.NAME`, `input.NAME` or `entity.NAME`, and these with `[prefix]`, `[from]` or `[to]`, to
        what is wanted; `q` finds beginnings of words. `sort`: "created", "ended" or "modified".
        """
        return _get(
            "/processes", models.Page[models.Process], status=status, definition=definition, version=version,
            created_from=created_from, created_to=created_to, created_by=created_by, ended_from=ended_from,
            ended_to=ended_to, parent=parent, incidents=incidents, q=q, sort=sort, order=order, limit=limit,
            cursor=cursor, **(search or {}),
        )  # fmt: skip

    @verb
    def get(self, id: str) -> Request[models.Process]:
        return _get(_process(id), models.Process)

    @listing
    def history(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.HistoryEntry]]:
        return _get(_process(id, "history"), models.Page[models.HistoryEntry], limit=limit, cursor=cursor)

    @listing
    def visits(
        self,
        id: str,
        *,
        state: str | Sequence[str] | None = None,
        node: str | Sequence[str] | None = None,
        kind: str | Sequence[str] | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Request[models.Page[models.Visit]]:
        return _get(
            _process(id, "visits"), models.Page[models.Visit], state=state, node=node, kind=kind, limit=limit,
            cursor=cursor,
        )  # fmt: skip

    @verb
    def complete(self, id: str, output: Any = None) -> Request[models.Process]:
        """For processes that a client or code drives."""
        return _command(id, "complete", output=output)

    @verb
    def cancel(self, id: str, reason: str | None = None) -> Request[models.Process]:
        return _command(id, "cancel", reason=reason)

    @verb
    def terminate(self, id: str, reason: str | None = None) -> Request[models.Process]:
        return _command(id, "terminate", reason=reason)

    @verb
    def suspend(self, id: str) -> Request[models.Process]:
        return _command(id, "suspend")

    @verb
    def resume(self, id: str) -> Request[models.Process]:
        return _command(id, "resume")

    @verb
    def retry(self, id: str) -> Request[models.Process]:
        """A new attempt of each incident's visit, in place."""
        return _command(id, "retry")

    @verb
    def debug(
        self, id: str, at: int | str, *, input: Any = msgspec.UNSET, output: Any = msgspec.UNSET
    ) -> Request[models.Process]:
        """Gives a visit (by number) or a node (by code) its input or its output by hand, one of both."""
        if (input is msgspec.UNSET) == (output is msgspec.UNSET):
            raise TypeError("debug takes one of input= and output=")
        given = {"output": output} if input is msgspec.UNSET else {"input": input}
        return _change("POST", _process(id, "debug"), models.Process, _place(at) | given)

    @verb
    def skip(self, id: str, at: int | str, output: Any = None) -> Request[models.Process]:
        """Ends a visit (by number) or a node's visit (by code) with an output."""
        return _command(id, "skip", **_place(at), output=output)

    @verb
    def restart(self, id: str, node: str, *, scope: int | None = None) -> Request[models.Process]:
        return _command(id, "restart", node=node, scope=scope)

    @verb
    def migrate(
        self, id: str, version: int, *, mapping: Mapping[str, str] | None = None, dry_run: bool = False
    ) -> Request[models.Migration]:
        body = _given(version=version, mapping=mapping, dry_run=dry_run or None)
        return _change("POST", _process(id, "migrate"), models.Migration, body)

    @verb
    def signal(self, id: str, name: str, *, key: str | None = None, payload: Any = None) -> Request[models.Delivery]:
        body = _given(name=name, key=key, payload=payload)
        return _change("POST", _process(id, "signal"), models.Delivery, body)

    @verb
    def begin_thread(
        self, id: str, name: str, *, candidates: Sequence[str] | None = None, text: str | None = None
    ) -> Request[models.Item]:
        """A conversation between its candidates, the caller and the managers; `text` is its first post."""
        body = _given(name=name, candidates=candidates, text=text)
        return _change("POST", _process(id, "threads"), models.Item, body)

    @listing
    def threads(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.Item]]:
        return _get(_process(id, "threads"), models.Page[models.Item], limit=limit, cursor=cursor)

    def values(self, id: str) -> Values[M]:
        return Values(self.sender, _process(id, "values"))


class Audit(Namespace[M]):
    @listing
    def list(  # noqa: PLR0913 - the filters of the call
        self,
        *,
        actor: str | None = None,
        type: str | None = None,
        process: str | None = None,
        kind: str | None = None,
        subject: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Request[models.Page[models.Event]]:
        """Newest first. A page may hold none and have a next all the same."""
        return _get(
            "/audit", models.Page[models.Event], actor=actor, type=type, process=process, kind=kind, subject=subject,
            since=since, until=until, limit=limit, cursor=cursor,
        )  # fmt: skip


class Api(Namespace[M]):
    """The whole door; the base of both clients."""

    def __init__(self, sender: Sender) -> None:
        super().__init__(sender)
        self.definitions: Definitions[M] = Definitions(sender)
        self.processes: Processes[M] = Processes(sender)
        self.bulk: Bulk[M] = Bulk(sender)
        self.items: Items[M] = Items(sender)
        self.jobs: Jobs[M] = Jobs(sender)
        self.documents: Documents[M] = Documents(sender)
        self.schedules: Schedules[M] = Schedules(sender)
        self.secrets: Secrets[M] = Secrets(sender)
        self.connections: Connections[M] = Connections(sender)
        self.audit: Audit[M] = Audit(sender)
        self.users: Users[M] = Users(sender)
        self.tenants: Tenants[M] = Tenants(sender)
        self.groups: Groups[M] = Groups(sender)
        self.applications: Applications[M] = Applications(sender)
        self.tokens: Tokens[M] = Tokens(sender)
        self.providers: Providers[M] = Providers(sender)
        self.sessions: Sessions[M] = Sessions(sender)

    @verb
    def me(self) -> Request[models.Me]:
        return _get("/me", models.Me)

    @verb
    def change_me(
        self, *, name: str | None = None, password: str | None = None, old_password: str | None = None
    ) -> Request[models.User]:
        """One's own name, or password with the old one."""
        return _change("PATCH", "/me", models.User, _given(name=name, password=password, old_password=old_password))

    @verb
    def revoke_token(self, token: str) -> Request[None]:
        return _change("POST", "/tokens/revoke", type(None), {"token": token})

    @verb
    def tenant(self) -> Request[models.Tenant]:
        return _get("/tenant", models.Tenant)

    @verb
    def change_tenant(self, /, **members: Any) -> Request[models.Tenant]:
        """`name`, `approval`, `four_eyes`: what is not given stays."""
        return _change("PATCH", "/tenant", models.Tenant, members)

    @verb
    def message(
        self,
        name: str,
        *,
        key: str | None = None,
        payload: Any = None,
        id: str | None = None,
        ttl: float | None = None,
    ) -> Request[models.Accepted]:
        """To one waiter with this name and key, now or within `ttl` seconds; deduplicated by `id`."""
        body = _given(name=name, key=key, payload=payload, id=id, ttl=ttl)
        return _change("POST", "/messages", models.Accepted, body)

    @verb
    def broadcast(self, name: str, payload: Any = None) -> Request[models.Delivery]:
        """A signal to everyone who waits for it now."""
        return _change("POST", "/signals", models.Delivery, _given(name=name, payload=payload))

    @verb
    def openapi(self) -> Request[dict[str, Any]]:
        return _get("/openapi.json", dict[str, Any])


def token_request(form: Mapping[str, str], basic: tuple[str, str] | None = None) -> Request[models.Token]:
    """A new access token. Repeating it does no harm: it makes another one."""
    headers = {}
    if basic:
        pair = base64.b64encode(":".join(basic).encode()).decode()
        headers["Authorization"] = f"Basic {pair}"
    body = msgspec.json.encode(form)
    return Request(
        "POST", f"{API}/token", models.Token, body=body, headers=headers, repeatable=True, keyed=False, bearer=""
    )


def _process(id: str, *rest: str) -> str:
    return "/".join(("/processes", segment(id), *rest))


def _command(id: str, name: str, **members: Any) -> Request[models.Process]:
    # A command that takes nothing has no body; one that may take something has an object, if an empty one.
    body = _given(**members) if members else msgspec.UNSET
    return _change("POST", _process(id, name), models.Process, body)


def _place(at: int | str) -> dict[str, Any]:
    return {"visit": at} if isinstance(at, int) else {"node": at}


def _document(path: str, answer: type[T], document: Document) -> Request[T]:
    if isinstance(document, Mapping):
        return Request("POST", API + path, answer, body=msgspec.json.encode(document))
    body = document.encode() if isinstance(document, str) else document
    # JSON is YAML too, but a JSON parser tells better what is wrong with JSON.
    kind = "application/json" if body.lstrip()[:1] == b"{" else "application/yaml"
    return Request("POST", API + path, answer, body=body, content_type=kind)
