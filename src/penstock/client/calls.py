"""Every call of the native door (`docs/api.md`), once. What is here is what both clients can do.

Each method only builds a request; `verb` and `listing` make it a call. Nothing here sends.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from penstock.client import models
from penstock.client.building import change as _change
from penstock.client.building import get as _get
from penstock.client.building import given as _given
from penstock.client.documents import Documents
from penstock.client.objects import Connections, Schedules, Secrets
from penstock.client.people import Applications, Groups, Users
from penstock.client.request import API, M, Namespace, Request, Sender, listing, segment, verb
from penstock.client.sign_on import Providers, Sessions

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
        return _get(f"/definitions/{segment(code)}/permissions", models.Permissions)

    @verb
    def put_permissions(self, code: str, permissions: Mapping[str, Sequence[str]]) -> Request[models.Permissions]:
        """In place of all there are."""
        body = {"permissions": {name: [*grantees] for name, grantees in permissions.items()}}
        return _change("PUT", f"/definitions/{segment(code)}/permissions", models.Permissions, body)

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


class Bulk(Namespace[M]):
    """One command to many processes, carried out by the server in the background."""

    @verb
    def begin(
        self,
        command: str,
        *,
        filter: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        arguments: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Request[models.Bulk]:
        """`filter` has the members of `POST /bulk`, as `{"definition": "loan", "status": ["FAILED"]}`; or `ids`.

        A dry run changes nothing; `results` then tells of each process.
        """
        body = _given(command=command, filter=filter, ids=ids, arguments=arguments, dry_run=dry_run or None)
        return _change("POST", "/bulk", models.Bulk, body)

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.Bulk]]:
        return _get("/bulk", models.Page[models.Bulk], limit=limit, cursor=cursor)

    @verb
    def get(self, id: str) -> Request[models.Bulk]:
        return _get(f"/bulk/{segment(id)}", models.Bulk)

    @verb
    def cancel(self, id: str) -> Request[models.Bulk]:
        """What is done stays done."""
        return _change("POST", f"/bulk/{segment(id)}/cancel", models.Bulk)

    @listing
    def failures(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.BulkResult]]:
        path = f"/bulk/{segment(id)}/failures"
        return _get(path, models.Page[models.BulkResult], limit=limit, cursor=cursor)

    @listing
    def results(
        self, id: str, *, outcome: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.BulkResult]]:
        """What failed and what was skipped; of a dry run everything."""
        path = f"/bulk/{segment(id)}/results"
        return _get(path, models.Page[models.BulkResult], outcome=outcome, limit=limit, cursor=cursor)


class Items(Namespace[M]):
    @listing
    def list(  # noqa: PLR0913 - all by name
        self,
        *,
        state: str | Sequence[str] | None = None,
        kind: str | Sequence[str] | None = None,
        mine: bool | None = None,
        owner: str | None = None,
        group: str | None = None,
        process: str | None = None,
        task: str | None = None,
        definition: str | None = None,
        overdue: bool | None = None,
        due_before: datetime | None = None,
        sort: str | None = None,
        order: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Request[models.Page[models.Item]]:
        """`mine`: what the caller owns or may claim. `sort`: `created`, `due` or `priority`; `order`: `asc` or `desc`."""
        return _get(
            "/items", models.Page[models.Item], state=state, kind=kind, mine=mine, owner=owner, group=group,
            process=process, task=task, definition=definition, overdue=overdue, due_before=due_before, sort=sort,
            order=order, limit=limit, cursor=cursor,
        )  # fmt: skip

    @verb
    def counts(self) -> Request[models.ItemCounts]:
        """What waits for the caller."""
        return _get("/items/~counts", models.ItemCounts)

    @verb
    def get(self, id: str) -> Request[models.Item]:
        return _get(f"/items/{segment(id)}", models.Item)

    @verb
    def claim(self, id: str) -> Request[models.Item]:
        return _change("POST", f"/items/{segment(id)}/claim", models.Item)

    @verb
    def unclaim(self, id: str) -> Request[models.Item]:
        """Back to who delegated it, else to its candidates."""
        return _change("POST", f"/items/{segment(id)}/unclaim", models.Item)

    @verb
    def assign(self, id: str, to: str) -> Request[models.Item]:
        """To `user:EMAIL`, `app:ID` or `group:CODE`."""
        return _change("POST", f"/items/{segment(id)}/assign", models.Item, {"to": to})

    @verb
    def delegate(self, id: str, to: str, note: str | None = None) -> Request[models.Item]:
        """It comes back when it is unclaimed, or when the caller claims it again."""
        return _change("POST", f"/items/{segment(id)}/delegate", models.Item, _given(to=to, note=note))

    @verb
    def cancel(self, id: str, reason: str | None = None) -> Request[models.Item]:
        return _change("POST", f"/items/{segment(id)}/cancel", models.Item, _given(reason=reason))

    @verb
    def acknowledge(self, id: str) -> Request[models.Item]:
        """A message has been read."""
        return _change("POST", f"/items/{segment(id)}/acknowledge", models.Item)

    @verb
    def complete(self, id: str, output: Any = None) -> Request[models.Item]:
        return _change("POST", f"/items/{segment(id)}/complete", models.Item, {"output": output})

    @verb
    def change(
        self,
        id: str,
        *,
        due_at: datetime | msgspec.UnsetType | None = msgspec.UNSET,
        priority: int | msgspec.UnsetType = msgspec.UNSET,
    ) -> Request[models.Item]:
        """What is not given stays; `due_at` None: due at no time."""
        given = {"due_at": due_at, "priority": priority}
        body = {name: value for name, value in given.items() if value is not msgspec.UNSET}
        return _change("PATCH", f"/items/{segment(id)}", models.Item, body)

    @verb
    def command_many(self, items: Sequence[models.ItemCommand]) -> Request[models.ItemResults]:
        """Claim, unclaim, complete or acknowledge many; each succeeds or fails by itself."""
        return _change("POST", "/items/~batch", models.ItemResults, {"items": items})

    @verb
    def draft(self, id: str) -> Request[models.Draft]:
        """Raises `NotFound` where the owner has saved none."""
        return _get(f"/items/{segment(id)}/draft", models.Draft)

    @verb
    def save_draft(self, id: str, data: Any) -> Request[models.Draft]:
        return _change("PUT", f"/items/{segment(id)}/draft", models.Draft, data)

    @verb
    def drop_draft(self, id: str) -> Request[None]:
        return _change("DELETE", f"/items/{segment(id)}/draft", type(None))

    @verb
    def write_log(self, id: str, message: str, *, level: str | None = None) -> Request[models.ItemLine]:
        return _change("POST", f"/items/{segment(id)}/log", models.ItemLine, _given(message=message, level=level))

    @listing
    def log(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.ItemLine]]:
        return _get(f"/items/{segment(id)}/log", models.Page[models.ItemLine], limit=limit, cursor=cursor)

    @listing
    def posts(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.Post]]:
        """What was said in a thread."""
        return _get(f"/items/{segment(id)}/posts", models.Page[models.Post], limit=limit, cursor=cursor)

    @verb
    def write_post(self, id: str, text: str) -> Request[models.Post]:
        return _change("POST", f"/items/{segment(id)}/posts", models.Post, {"text": text})

    @verb
    def edit_post(self, id: str, number: int, text: str) -> Request[models.Post]:
        return _change("PUT", f"/items/{segment(id)}/posts/{number}", models.Post, {"text": text})

    @verb
    def delete_post(self, id: str, number: int) -> Request[None]:
        return _change("DELETE", f"/items/{segment(id)}/posts/{number}", type(None))


class Jobs(Namespace[M]):
    """What workers call. Leases fence every answer, so these calls carry no idempotency key and may be repeated."""

    @verb
    def poll(
        self,
        topics: Iterable[str],
        *,
        max: int = 1,
        wait: float | None = None,
        lease: float | None = None,
        worker: str | None = None,
    ) -> Request[models.Jobs]:
        body = models.Poll(sorted(topics), max, lease, worker, wait)
        return _jobs("poll", models.Jobs, body, wait=wait or 0.0)

    @verb
    def complete(
        self, jobs: Sequence[models.CompleteEntry], *, poll: models.Poll | None = None
    ) -> Request[models.JobResults]:
        return _batch("complete", jobs, poll)

    @verb
    def fail(self, jobs: Sequence[models.FailEntry], *, poll: models.Poll | None = None) -> Request[models.JobResults]:
        return _batch("fail", jobs, poll)

    @verb
    def throw(
        self, jobs: Sequence[models.ThrowEntry], *, poll: models.Poll | None = None
    ) -> Request[models.JobResults]:
        return _batch("throw", jobs, poll)

    @verb
    def extend(self, jobs: Sequence[models.ExtendEntry]) -> Request[models.JobResults]:
        return _batch("extend", jobs, None)

    @verb
    def log(self, jobs: Sequence[models.LogEntry]) -> Request[models.JobResults]:
        return _batch("log", jobs, None)

    @verb
    def complete_one(
        self,
        id: str,
        output: Any = None,
        *,
        lease: str | int | None = None,
        token: str | None = None,
        values: Mapping[str, Any] | None = None,
        increments: Sequence[str] | None = None,
    ) -> Request[None]:
        """With the job's lease, or with its token in place of the client's."""
        return _one(id, "complete", token, output=output, lease=lease, values=values, increments=increments)

    @verb
    def fail_one(
        self,
        id: str,
        failure: models.Failure,
        *,
        lease: str | int | None = None,
        token: str | None = None,
        delay: float | None = None,
    ) -> Request[None]:
        return _one(id, "fail", token, failure=failure, lease=lease, delay=delay)

    @verb
    def throw_one(
        self,
        id: str,
        code: str,
        message: str | None = None,
        data: Any = None,
        *,
        lease: str | int | None = None,
        token: str | None = None,
    ) -> Request[None]:
        return _one(id, "throw", token, code=code, message=message, data=data, lease=lease)


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
        self.groups: Groups[M] = Groups(sender)
        self.applications: Applications[M] = Applications(sender)
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


def _jobs(name: str, answer: type[T], body: Any, wait: float = 0.0) -> Request[T]:
    encoded = msgspec.json.encode(body)
    return Request("POST", f"{API}/jobs/{name}", answer, body=encoded, repeatable=True, keyed=False, wait=wait)


def _batch(name: str, jobs: Sequence[models.Entry], poll: models.Poll | None) -> Request[models.JobResults]:
    return _jobs(name, models.JobResults, _given(jobs=list(jobs), poll=poll))


def _one(id: str, name: str, token: str | None, **members: Any) -> Request[None]:
    body = msgspec.json.encode(_given(**members))
    path = f"{API}/jobs/{segment(id)}/{name}"
    return Request("POST", path, type(None), body=body, repeatable=True, keyed=False, bearer=token)
