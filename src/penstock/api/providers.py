"""Routes of `/providers`: administrators say who vouches for the tenant's users."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from penstock.api import models
from penstock.api import session_models as words
from penstock.api.door import ApiCall, Native, page, position
from penstock.core.durations import format_time
from penstock.errors import AlreadyExists, Conflict, Forbidden, NotFound
from penstock.operations import providers
from penstock.web.routing import Reply, Route


async def list_providers(call: ApiCall) -> words.Providers:
    found = await providers.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, lambda view: render_provider(call, view), words.Providers)


async def create_provider(call: ApiCall) -> Reply:
    body: words.NewProvider = call.body
    spec = providers.Spec(
        name=body.name,
        issuer=body.issuer,
        client_id=body.client_id,
        scopes=tuple(body.scopes),
        enabled=body.enabled,
        create_users=body.create_users,
        domains=tuple(body.domains),
        groups_claim=body.groups_claim,
    )
    made = await providers.create(
        call.door.operations, call.actor, body.code, spec, body.client_secret, call.idempotency_key
    )
    return _reply(call, made)


async def get_provider(call: ApiCall) -> Reply:
    return _reply(call, await providers.get(call.door.operations, call.actor, call.path["code"]))


async def change_provider(call: ApiCall) -> Reply:
    body: words.ChangeProvider = call.body
    given = providers.Change(
        name=body.name,
        issuer=body.issuer,
        client_id=body.client_id,
        client_secret=body.client_secret,
        scopes=UNSET if body.scopes is UNSET else tuple(body.scopes),
        enabled=body.enabled,
        create_users=body.create_users,
        domains=UNSET if body.domains is UNSET else tuple(body.domains),
        groups_claim=body.groups_claim,
    )
    at = (call.door.operations, call.actor, call.path["code"])
    return _reply(call, await providers.change(*at, given, call.revisions, call.idempotency_key))


async def delete_provider(call: ApiCall) -> None:
    await providers.remove(
        call.door.operations, call.actor, call.path["code"], call.revisions, call.idempotency_key
    )  # fmt: skip


def _reply(call: ApiCall, view: providers.Provider) -> Reply:
    return Reply(render_provider(call, view), revision=view.revision)


def render_provider(call: ApiCall, view: providers.Provider) -> words.Provider:
    spec = view.spec
    return words.Provider(
        code=view.code,
        name=spec.name,
        issuer=spec.issuer,
        client_id=spec.client_id,
        client_secret=view.secret,
        scopes=list(spec.scopes),
        enabled=spec.enabled,
        create_users=spec.create_users,
        domains=list(spec.domains),
        groups_claim=spec.groups_claim,
        redirect_uri=call.door.single_sign_on.redirect_uri,
        created_at=format_time(view.created_at),
        created_by=view.created_by,
        modified_at=format_time(view.modified_at),
        modified_by=view.modified_by,
    )


_EXAMPLE = {
    "code": "corporate",
    "name": "Corporate log-in",
    "issuer": "https://login.example.com",
    "client_id": "penstock",
    "client_secret": "…",
    "create_users": True,
    "domains": ["example.com"],
    "groups_claim": "groups",
}
_TAG: dict[str, Any] = {"tag": "Providers"}
_CHANGED = (Forbidden, NotFound, Conflict)
ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="GET", path="/providers", operation="listProviders", summary="Providers of identity, by code",
        handler=list_providers, query=models.Paged, response=words.Providers, errors=(Forbidden,), **_TAG,
    ),
    Route(
        method="POST", path="/providers", operation="createProvider", summary="Let users log in by an OpenID provider",
        handler=create_provider, request=words.NewProvider, response=words.Provider, status=201, revised=True,
        errors=(Forbidden, AlreadyExists, Conflict), examples={"corporate": _EXAMPLE}, **_TAG,
    ),
    Route(
        method="GET", path="/providers/{code}", operation="getProvider", summary="A provider; its client's secret is not told",
        handler=get_provider, response=words.Provider, revised=True, errors=(Forbidden, NotFound), **_TAG,
    ),
    Route(
        method="PATCH", path="/providers/{code}", operation="changeProvider",
        summary="Change, disable or enable a provider; what is not sent stays", handler=change_provider,
        request=words.ChangeProvider, response=words.Provider, revised=True, errors=_CHANGED,
        examples={"disable": {"enabled": False}}, **_TAG,
    ),
    Route(
        method="DELETE", path="/providers/{code}", operation="deleteProvider", summary="Remove a provider; sessions go on",
        handler=delete_provider, status=204, revised=True, errors=_CHANGED, **_TAG,
    ),
)  # fmt: skip
