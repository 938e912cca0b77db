"""Calls for items: what waits for people, and their threads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.client import models
from penstock.client.building import change, get, given
from penstock.client.request import M, Namespace, Request, listing, segment, verb


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
        return get(
            "/items", models.Page[models.Item], state=state, kind=kind, mine=mine, owner=owner, group=group,
            process=process, task=task, definition=definition, overdue=overdue, due_before=due_before, sort=sort,
            order=order, limit=limit, cursor=cursor,
        )  # fmt: skip

    @verb
    def counts(self) -> Request[models.ItemCounts]:
        """What waits for the caller."""
        return get("/items/~counts", models.ItemCounts)

    @verb
    def get(self, id: str) -> Request[models.Item]:
        return get(f"/items/{segment(id)}", models.Item)

    @verb
    def claim(self, id: str) -> Request[models.Item]:
        return change("POST", f"/items/{segment(id)}/claim", models.Item)

    @verb
    def unclaim(self, id: str) -> Request[models.Item]:
        """Back to who delegated it, else to its candidates."""
        return change("POST", f"/items/{segment(id)}/unclaim", models.Item)

    @verb
    def assign(self, id: str, to: str) -> Request[models.Item]:
        """To `user:EMAIL`, `app:ID` or `group:CODE`."""
        return change("POST", f"/items/{segment(id)}/assign", models.Item, {"to": to})

    @verb
    def delegate(self, id: str, to: str, note: str | None = None) -> Request[models.Item]:
        """It comes back when it is unclaimed, or when the caller claims it again."""
        return change("POST", f"/items/{segment(id)}/delegate", models.Item, given(to=to, note=note))

    @verb
    def cancel(self, id: str, reason: str | None = None) -> Request[models.Item]:
        return change("POST", f"/items/{segment(id)}/cancel", models.Item, given(reason=reason))

    @verb
    def acknowledge(self, id: str) -> Request[models.Item]:
        """A message has been read."""
        return change("POST", f"/items/{segment(id)}/acknowledge", models.Item)

    @verb
    def complete(self, id: str, output: Any = None) -> Request[models.Item]:
        return change("POST", f"/items/{segment(id)}/complete", models.Item, {"output": output})

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
        return change("PATCH", f"/items/{segment(id)}", models.Item, body)

    @verb
    def command_many(self, items: Sequence[models.ItemCommand]) -> Request[models.ItemResults]:
        """Claim, unclaim, complete or acknowledge many; each succeeds or fails by itself."""
        return change("POST", "/items/~batch", models.ItemResults, {"items": items})

    @verb
    def draft(self, id: str) -> Request[models.Draft]:
        """Raises `NotFound` where the owner has saved none."""
        return get(f"/items/{segment(id)}/draft", models.Draft)

    @verb
    def save_draft(self, id: str, data: Any) -> Request[models.Draft]:
        return change("PUT", f"/items/{segment(id)}/draft", models.Draft, data)

    @verb
    def drop_draft(self, id: str) -> Request[None]:
        return change("DELETE", f"/items/{segment(id)}/draft", type(None))

    @verb
    def write_log(self, id: str, message: str, *, level: str | None = None) -> Request[models.ItemLine]:
        return change("POST", f"/items/{segment(id)}/log", models.ItemLine, given(message=message, level=level))

    @listing
    def log(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.ItemLine]]:
        return get(f"/items/{segment(id)}/log", models.Page[models.ItemLine], limit=limit, cursor=cursor)

    @listing
    def posts(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.Post]]:
        """What was said in a thread."""
        return get(f"/items/{segment(id)}/posts", models.Page[models.Post], limit=limit, cursor=cursor)

    @verb
    def write_post(self, id: str, text: str) -> Request[models.Post]:
        return change("POST", f"/items/{segment(id)}/posts", models.Post, {"text": text})

    @verb
    def edit_post(self, id: str, number: int, text: str) -> Request[models.Post]:
        return change("PUT", f"/items/{segment(id)}/posts/{number}", models.Post, {"text": text})

    @verb
    def delete_post(self, id: str, number: int) -> Request[None]:
        return change("DELETE", f"/items/{segment(id)}/posts/{number}", type(None))
