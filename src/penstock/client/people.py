"""Calls for administrators: users, groups, applications. And one's own tokens."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.client import models
from penstock.client.request import API, M, Namespace, Request, listing, segment, verb


class Users(Namespace[M]):
    """`who` is a user's id or e-mail address."""

    @listing
    def list(
        self,
        *,
        email: str | None = None,
        name: str | None = None,
        group: str | None = None,
        disabled: bool | None = None,
        sort: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Request[models.Page[models.User]]:
        """`email` and `name` are beginnings; `sort` is `email`, `name`, or one of them with a `-` before it."""
        query = {"email": email, "name": name, "group": group, "sort": sort, "limit": limit, "cursor": cursor}
        pairs = [(key, str(value)) for key, value in query.items() if value is not None]
        if disabled is not None:
            pairs.append(("disabled", "true" if disabled else "false"))
        return _read("/users", models.Page[models.User], pairs)

    @verb
    def get(self, who: str) -> Request[models.User]:
        return _read(f"/users/{segment(who)}", models.User)

    @verb
    def create(
        self,
        email: str,
        *,
        name: str | None = None,
        password: str | None = None,
        groups: Sequence[str] = (),
        roles: Sequence[str] = (),
    ) -> Request[models.User]:
        """Raises `AlreadyExists` for an address that is there, in any case."""
        body: dict[str, Any] = {"email": email, "groups": [*groups], "roles": [*roles]}
        body |= {key: value for key, value in (("name", name), ("password", password)) if value is not None}
        return _change("POST", "/users", models.User, body)

    @verb
    def change(self, who: str, /, **members: Any) -> Request[models.User]:
        """`name`, `password`, `groups`, `roles`, `disabled`: what is not given stays."""
        return _change("PATCH", f"/users/{segment(who)}", models.User, members)

    @verb
    def delete(self, who: str) -> Request[None]:
        """Raises `Conflict` while something open names the user: disable instead."""
        return _change("DELETE", f"/users/{segment(who)}", type(None))

    @verb
    def revoke_tokens(self, who: str) -> Request[models.Revoked]:
        return _change("DELETE", f"/users/{segment(who)}/tokens", models.Revoked)

    @listing
    def tokens(
        self, who: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.HeldToken]]:
        """Those that have not expired."""
        return _read(f"/users/{segment(who)}/tokens", models.Page[models.HeldToken], _paging(limit, cursor))


class Groups(Namespace[M]):
    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.Group]]:
        return _read("/groups", models.Page[models.Group], _paging(limit, cursor))

    @verb
    def get(self, code: str) -> Request[models.Group]:
        return _read(f"/groups/{segment(code)}", models.Group)

    @verb
    def create(self, code: str, name: str | None = None) -> Request[models.Group]:
        return _change("POST", "/groups", models.Group, {"code": code} | ({} if name is None else {"name": name}))

    @verb
    def rename(self, code: str, name: str) -> Request[models.Group]:
        return _change("PATCH", f"/groups/{segment(code)}", models.Group, {"name": name})

    @verb
    def delete(self, code: str) -> Request[None]:
        """Raises `Conflict` while something open names the group."""
        return _change("DELETE", f"/groups/{segment(code)}", type(None))

    @listing
    def members(
        self, code: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.User]]:
        return _read(f"/groups/{segment(code)}/members", models.Page[models.User], _paging(limit, cursor))

    @verb
    def add(self, code: str, who: str) -> Request[None]:
        return _change("PUT", f"/groups/{segment(code)}/members/{segment(who)}", type(None))

    @verb
    def remove(self, code: str, who: str) -> Request[None]:
        return _change("DELETE", f"/groups/{segment(code)}/members/{segment(who)}", type(None))


class Applications(Namespace[M]):
    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.Application]]:
        return _read("/applications", models.Page[models.Application], _paging(limit, cursor))

    @verb
    def get(self, id: str) -> Request[models.Application]:
        return _read(f"/applications/{segment(id)}", models.Application)

    @verb
    def create(self, name: str, *, roles: Sequence[str] = ()) -> Request[models.Application]:
        """The answer alone has the `secret`."""
        return _change("POST", "/applications", models.Application, {"name": name, "roles": [*roles]})

    @verb
    def change(self, id: str, /, **members: Any) -> Request[models.Application]:
        """`name`, `roles`, `disabled`: what is not given stays."""
        return _change("PATCH", f"/applications/{segment(id)}", models.Application, members)

    @verb
    def rotate(self, id: str, *, old_secret_until: datetime | None = None) -> Request[models.Application]:
        """A new `secret`; without a time the old one and every token of the application end at once."""
        body = {} if old_secret_until is None else {"old_secret_until": old_secret_until.isoformat()}
        return _change("POST", f"/applications/{segment(id)}/rotate", models.Application, body)

    @verb
    def delete(self, id: str) -> Request[None]:
        return _change("DELETE", f"/applications/{segment(id)}", type(None))

    @verb
    def revoke_tokens(self, id: str) -> Request[models.Revoked]:
        return _change("DELETE", f"/applications/{segment(id)}/tokens", models.Revoked)

    @listing
    def tokens(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.HeldToken]]:
        """Those that have not expired."""
        return _read(f"/applications/{segment(id)}/tokens", models.Page[models.HeldToken], _paging(limit, cursor))

    @listing
    def access_keys(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.AccessKey]]:
        return _read(f"/applications/{segment(id)}/access-keys", models.Page[models.AccessKey], _paging(limit, cursor))

    @verb
    def create_access_key(self, id: str, name: str) -> Request[models.AccessKey]:
        """The answer alone has the `sk`."""
        return _change("POST", f"/applications/{segment(id)}/access-keys", models.AccessKey, {"name": name})

    @verb
    def change_access_key(self, id: str, ak: str, /, **members: Any) -> Request[models.AccessKey]:
        """`name`, `disabled`: what is not given stays."""
        return _change("PATCH", f"/applications/{segment(id)}/access-keys/{segment(ak)}", models.AccessKey, members)

    @verb
    def delete_access_key(self, id: str, ak: str) -> Request[None]:
        return _change("DELETE", f"/applications/{segment(id)}/access-keys/{segment(ak)}", type(None))


class Tokens(Namespace[M]):
    """One's own."""

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.HeldToken]]:
        """Those that have not expired, of every kind."""
        return _read("/me/tokens", models.Page[models.HeldToken], _paging(limit, cursor))

    @verb
    def create(
        self, name: str, *, days: int | None = None, expires_at: datetime | None = None
    ) -> Request[models.HeldToken]:
        """The answer alone has the `token`. Without `days` or `expires_at` it lives for 90 days."""
        body: dict[str, Any] = {"name": name}
        if days is not None:
            body["days"] = days
        if expires_at is not None:
            body["expires_at"] = expires_at.isoformat()
        return _change("POST", "/me/tokens", models.HeldToken, body)

    @verb
    def delete(self, id: str) -> Request[None]:
        return _change("DELETE", f"/me/tokens/{segment(id)}", type(None))


def _paging(limit: int | None, cursor: str | None) -> builtins.list[tuple[str, str]]:
    return [(key, str(value)) for key, value in (("limit", limit), ("cursor", cursor)) if value is not None]


def _read(path: str, answer: Any, query: Sequence[tuple[str, str]] = ()) -> Request[Any]:
    return Request("GET", API + path, answer, query=tuple(query), repeatable=True, keyed=False)


def _change(method: str, path: str, answer: Any, body: Any = msgspec.UNSET) -> Request[Any]:
    encoded = None if body is msgspec.UNSET else msgspec.json.encode(body)
    return Request(method, API + path, answer, body=encoded)
