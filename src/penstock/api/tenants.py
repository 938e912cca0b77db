"""Routes of `/tenants`: the installation's, for its operators."""

from __future__ import annotations

from typing import Any

from penstock.api import models
from penstock.api import people_mapping as words
from penstock.api import tenant_models as own
from penstock.api.door import ApiCall, Native, page, position
from penstock.errors import AlreadyExists, Conflict, Forbidden, LimitExceeded, NotFound
from penstock.operations import installation
from penstock.web.routing import Reply, Route

NO_STORE = {"cache-control": "no-store"}


async def list_tenants(call: ApiCall) -> own.InstalledTenants:
    found = await installation.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, words.render_installed, own.InstalledTenants)


async def create_tenant(call: ApiCall) -> Reply:
    door, new = call.door, words.parse_new_tenant(call.body)
    made = await installation.create(door.operations, door.credentials, call.actor, new, call.idempotency_key)
    return Reply(words.render_made_tenant(made), headers=NO_STORE, revision=made.tenant.revision)


async def get_tenant(call: ApiCall) -> Reply:
    view = await installation.get(call.door.operations, call.actor, call.path["code"])
    return Reply(words.render_installed(view), revision=view.revision)


async def change_tenant(call: ApiCall) -> Reply:
    at, given = (call.door.operations, call.actor, call.path["code"]), words.parse_installed(call.body)
    view = await installation.change(*at, given, call.revisions, call.idempotency_key)
    return Reply(words.render_installed(view), revision=view.revision)


_INSTALLATION: dict[str, Any] = {"tag": "Installation"}

ROUTES: tuple[Route[Native], ...] = (
    Route(method="GET", path="/tenants", operation="listTenants", summary="Tenants of the installation, oldest first",
          handler=list_tenants, query=models.Paged, response=own.InstalledTenants, errors=(Forbidden,), **_INSTALLATION),
    Route(method="POST", path="/tenants", operation="createTenant", summary="Make a tenant with its first administrator",
          handler=create_tenant, request=own.NewTenant, response=own.MadeTenant, status=201, revised=True,
          errors=(Forbidden, AlreadyExists, Conflict, LimitExceeded),
          description="A password that was made is in this answer alone: the same Idempotency-Key again answers without it.",
          examples={"acme": {"code": "acme", "name": "Acme", "administrator": {"email": "ada@example.com"},
                             "quotas": {"open_processes": 10000, "requests_per_second": 200}}}, **_INSTALLATION),
    Route(method="GET", path="/tenants/{code}", operation="getInstalledTenant", summary="A tenant and its quotas",
          handler=get_tenant, response=own.Installed, revised=True, errors=(Forbidden, NotFound), **_INSTALLATION),
    Route(method="PATCH", path="/tenants/{code}", operation="changeInstalledTenant",
          summary="Rename, disable or enable a tenant, and set its quotas; what is not sent stays",
          description="Nobody of a disabled tenant gets in, or keeps in; what it has begun goes on.",
          handler=change_tenant, request=own.ChangeInstalled, response=own.Installed, revised=True,
          errors=(Forbidden, NotFound, Conflict),
          examples={"quotas": {"quotas": {"open_processes": 1000, "requests_per_second": None, "writer_share": 2}},
                    "disable": {"disabled": True}}, **_INSTALLATION),
)  # fmt: skip
