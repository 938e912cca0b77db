"""Calls for operators of the installation: its tenants and what they may use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from penstock.client.building import change, get, given
from penstock.client.models import Answer, Page
from penstock.client.request import M, Namespace, Request, listing, segment, verb


class Quotas(Answer, frozen=True):
    """None: no limit. `burst` None: the requests of one second."""

    open_processes: int | None = None
    requests_per_second: float | None = None
    burst: int | None = None
    writer_share: int = 1


class Tenant(Answer, frozen=True):
    id: str
    code: str
    name: str
    disabled: bool
    quotas: Quotas
    revision: int
    created_at: datetime | None = None


class Administrator(Answer, frozen=True):
    email: str
    password: str | None = None
    """Only where the server made it, and only in the answer that made the tenant."""


class MadeTenant(Answer, frozen=True):
    tenant: Tenant
    administrator: Administrator


class Tenants(Namespace[M]):
    """Takes the role `operator`."""

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[Page[Tenant]]:
        return get("/tenants", Page[Tenant], limit=limit, cursor=cursor)

    @verb
    def get(self, code: str) -> Request[Tenant]:
        return get(f"/tenants/{segment(code)}", Tenant)

    @verb
    def create(
        self,
        code: str,
        email: str,
        *,
        name: str | None = None,
        password: str | None = None,
        administrator: str | None = None,
        quotas: Mapping[str, Any] | None = None,
    ) -> Request[MadeTenant]:
        """`email`, `password` and `administrator` (a name) are of its first administrator; without a password one is made.

        Raises `AlreadyExists` for a code that is there.
        """
        person = given(email=email, name=administrator, password=password)
        body = {"code": code, "administrator": person, **given(name=name, quotas=quotas)}
        return change("POST", "/tenants", MadeTenant, body)

    @verb
    def change(self, code: str, /, *, revision: int | None = None, **members: Any) -> Request[Tenant]:
        """`name`, `disabled`, `quotas` (a mapping; None in it is no limit): what is not given stays."""
        return change("PATCH", f"/tenants/{segment(code)}", Tenant, members, revision=revision)
