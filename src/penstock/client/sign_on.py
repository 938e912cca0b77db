"""Calls for how people log in: providers of identity (administrators), and where one is logged in oneself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from penstock.client.building import change, get, given
from penstock.client.models import Answer, Page
from penstock.client.request import M, Namespace, Request, listing, segment, verb


class Provider(Answer, frozen=True):
    """All but the client's secret, of which `client_secret` tells whether there is one."""

    code: str
    name: str
    issuer: str
    client_id: str
    client_secret: bool = False
    scopes: list[str] = msgspec.field(default_factory=list)
    enabled: bool = True
    create_users: bool = False
    domains: list[str] = msgspec.field(default_factory=list)
    groups_claim: str | None = None
    redirect_uri: str = ""
    created_at: datetime | None = None
    created_by: str = ""
    modified_at: datetime | None = None
    modified_by: str = ""


class OwnSession(Answer, frozen=True):
    """Where one is logged in with a browser."""

    id: str
    created_at: datetime
    seen_at: datetime
    expires_at: datetime
    current: bool = False
    provider: str | None = None
    address: str = ""
    agent: str = ""


class OwnSessions(Answer, frozen=True):
    items: list[OwnSession]


class Providers(Namespace[M]):
    """`revision` on a change: refuse it when somebody else was first."""

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[Page[Provider]]:
        return get("/providers", Page[Provider], limit=limit, cursor=cursor)

    @verb
    def get(self, code: str) -> Request[Provider]:
        return get(_provider(code), Provider)

    @verb
    def create(
        self,
        /,
        code: str,
        name: str,
        issuer: str,
        client_id: str,
        *,
        client_secret: str | None = None,
        scopes: Sequence[str] | None = None,
        domains: Sequence[str] | None = None,
        **more: Any,
    ) -> Request[Provider]:
        """`more`: `enabled`, `create_users`, `groups_claim`. Raises `AlreadyExists`."""
        body = given(
            code=code, name=name, issuer=issuer, client_id=client_id, client_secret=client_secret, scopes=scopes,
            domains=domains, **more,
        )  # fmt: skip
        return change("POST", "/providers", Provider, body)

    @verb
    def change(self, code: str, /, *, revision: int | None = None, **members: Any) -> Request[Provider]:
        """What is not given stays; `client_secret=None` takes the secret away."""
        return change("PATCH", _provider(code), Provider, members, revision=revision)

    @verb
    def delete(self, code: str, *, revision: int | None = None) -> Request[None]:
        return change("DELETE", _provider(code), type(None), revision=revision)


class Sessions(Namespace[M]):
    """One's own, of browsers; who calls with a user's token sees that user's."""

    @verb
    def list(self) -> Request[OwnSessions]:
        return get("/me/sessions", OwnSessions)

    @verb
    def close(self, id: str) -> Request[None]:
        """Logs that browser out."""
        return change("DELETE", f"/me/sessions/{segment(id)}", type(None))


def _provider(code: str) -> str:
    return f"/providers/{segment(code)}"
