"""Between the native door's models of people, permissions and approval, and operations. Pure translation."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from penstock.api import people_models as models
from penstock.api import tenant_models
from penstock.api.mapping import time_of
from penstock.core.approval import Approval
from penstock.core.durations import format_time
from penstock.core.requests import UserFilter
from penstock.identity.model import UNLIMITED
from penstock.operations import applications, installation, tenants, users, views


def parse_query(query: models.UserQuery) -> UserFilter:
    return UserFilter(query.email, query.name, query.group, query.disabled, query.sort)


def parse_new_user(body: models.NewUser) -> users.NewUser:
    return users.NewUser(
        email=body.email, name=body.name, password=body.password, groups=body.groups, roles=body.roles
    )  # fmt: skip


def parse_user(body: models.ChangeUser) -> users.Change:
    return users.Change(
        name=body.name, password=body.password, groups=body.groups, roles=body.roles, disabled=body.disabled
    )


def parse_application(body: models.ChangeApplication) -> applications.Change:
    return applications.Change(name=body.name, roles=body.roles, disabled=body.disabled)


def parse_tenant(body: models.ChangeTenant) -> tenants.Change:
    approval = UNSET if body.approval is UNSET else Approval(body.approval)
    return tenants.Change(name=body.name, approval=approval, four_eyes=body.four_eyes)


def render_user(view: views.User) -> models.User:
    account = view.account
    if account is None:
        return models.User(id=view.id, email=view.email, name=view.name, groups=view.groups)
    return models.User(
        id=view.id,
        email=view.email,
        name=view.name,
        groups=view.groups,
        roles=account.roles,
        disabled=account.disabled,
        password=account.password,
        created_at=format_time(account.created_at),
    )


def render_group(view: views.Group) -> models.Group:
    return models.Group(code=view.code, name=view.name, created_at=format_time(view.created_at))


def render_application(view: views.Application, secret: str | None = None) -> models.Application:
    return models.Application(
        id=view.id,
        name=view.name,
        roles=view.roles,
        disabled=view.disabled,
        created_at=format_time(view.created_at),
        old_secret_until=time_of(view.old_secret_until),
        secret=UNSET if secret is None else secret,
    )


def render_tenant(view: views.Tenant) -> models.Tenant:
    return models.Tenant(
        id=view.id,
        code=view.code,
        name=view.name,
        approval=view.approval,
        four_eyes=view.four_eyes,
        created_at=format_time(view.created_at),
    )


def parse_new_tenant(body: tenant_models.NewTenant) -> installation.NewTenant:
    given = {name: value for name, value in msgspec.structs.asdict(body.quotas).items() if value is not UNSET}
    return installation.NewTenant(
        code=body.code,
        name=body.name,
        email=body.administrator.email,
        password=body.administrator.password,
        administrator=body.administrator.name,
        quotas=msgspec.structs.replace(UNLIMITED, **given),
    )


def parse_installed(body: tenant_models.ChangeInstalled) -> installation.Change:
    quotas = installation.QuotaChange(**msgspec.structs.asdict(body.quotas))
    return installation.Change(name=body.name, disabled=body.disabled, quotas=quotas)


def render_installed(view: views.Installed) -> tenant_models.Installed:
    return tenant_models.Installed(
        id=view.id,
        code=view.code,
        name=view.name,
        disabled=view.disabled,
        quotas=tenant_models.Quotas(**msgspec.structs.asdict(view.quotas)),
        created_at=format_time(view.created_at),
        revision=view.revision,
    )


def render_made_tenant(made: installation.Made) -> tenant_models.MadeTenant:
    password = UNSET if made.password is None else made.password
    administrator = tenant_models.Administrator(email=made.email, password=password)
    return tenant_models.MadeTenant(tenant=render_installed(made.tenant), administrator=administrator)


def render_decided(view: Any) -> models.Decided:
    return models.Decided(
        n=view.n,
        at=format_time(view.at),
        actor=view.actor,
        action=view.action,
        state=view.state,
        comment=view.comment,
    )
