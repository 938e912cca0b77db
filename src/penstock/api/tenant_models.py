"""The native door's words for the installation's tenants."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from penstock.api.models import Answer, Request
from penstock.api.people_models import Password


class Quotas(Answer, frozen=True, kw_only=True):
    """None: no limit. `burst` None: the requests of one second."""

    open_processes: int | None
    requests_per_second: float | None
    burst: int | None
    writer_share: int


class Installed(Answer, frozen=True, kw_only=True):
    """A tenant of the installation."""

    id: str
    code: str
    name: str
    disabled: bool
    quotas: Quotas
    created_at: str
    revision: int


class Administrator(Answer, frozen=True, kw_only=True):
    email: str
    password: str | UnsetType = UNSET
    """Only where it was made here, and only in this answer."""


class MadeTenant(Answer, frozen=True, kw_only=True):
    tenant: Installed
    administrator: Administrator


class InstalledTenants(Answer, frozen=True, kw_only=True):
    items: list[Installed]
    next: str | None


class SetQuotas(Request, frozen=True, kw_only=True):
    """What is not sent stays; null is no limit."""

    open_processes: int | UnsetType | None = UNSET
    requests_per_second: float | UnsetType | None = UNSET
    burst: int | UnsetType | None = UNSET
    writer_share: int | UnsetType = UNSET


class NewAdministrator(Request, frozen=True, kw_only=True):
    email: str
    name: str | None = None
    password: Password | None = None
    """Without one it is made, and told in the answer."""


class NewTenant(Request, frozen=True, kw_only=True):
    code: Annotated[str, Meta(max_length=64)]
    administrator: NewAdministrator
    name: str | None = None
    quotas: SetQuotas = field(default_factory=SetQuotas)


class ChangeInstalled(Request, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    quotas: SetQuotas = field(default_factory=SetQuotas)
