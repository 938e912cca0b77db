"""Routes of `/secrets` and `/connections`."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.api import connection_models as words
from penstock.api import models
from penstock.api.door import ApiCall, Native, page, position
from penstock.api.mapping import render_problem, time_of
from penstock.errors import Conflict, Forbidden, NotFound, Stale
from penstock.operations import connections, secrets
from penstock.web.routing import Reply, Route

# -- secrets ---------------------------------------------------------------------------------------------------------


async def put_secret(call: ApiCall) -> Reply:
    name, value, revision = call.path["name"], call.body.value, call.revisions
    view, fresh = await secrets.put(call.door.operations, call.actor, name, value, revision, call.idempotency_key)
    return _reply(render_secret(view), fresh=fresh)


async def get_secret(call: ApiCall) -> Reply:
    return _reply(render_secret(await secrets.get(call.door.operations, call.actor, call.path["name"])))


async def list_secrets(call: ApiCall) -> words.Secrets:
    found = await secrets.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, render_secret, words.Secrets)


async def delete_secret(call: ApiCall) -> None:
    revision = call.revisions
    await secrets.delete(call.door.operations, call.actor, call.path["name"], revision, call.idempotency_key)


def render_secret(view: secrets.Secret) -> words.Secret:
    return words.Secret(name=view.name, key=view.key, **_times(view))


# -- connections -----------------------------------------------------------------------------------------------------


async def put_connection(call: ApiCall) -> Reply:
    name, revision, document = call.path["name"], call.revisions, msgspec.to_builtins(call.body)
    operations, actor = call.door.operations, call.actor
    view, fresh = await connections.put(operations, actor, name, document, revision, call.idempotency_key)
    return _reply(render_connection(view), fresh=fresh)


async def get_connection(call: ApiCall) -> Reply:
    return _reply(render_connection(await connections.get(call.door.operations, call.actor, call.path["name"])))


async def list_connections(call: ApiCall) -> words.Connections:
    found = await connections.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, render_connection, words.Connections)


async def delete_connection(call: ApiCall) -> None:
    revision = call.revisions
    await connections.delete(call.door.operations, call.actor, call.path["name"], revision, call.idempotency_key)


async def test_connection(call: ApiCall) -> words.TrialResult:
    body: words.Trial = call.body
    operations, actor, name = call.door.operations, call.actor, call.path["name"]
    found = await connections.probe(operations, actor, name, body.method, body.path)
    return words.TrialResult(ok=found.ok, status=found.status, error=found.error, milliseconds=found.milliseconds)


def render_connection(view: connections.Connection) -> words.Connection:
    spec = msgspec.convert(view.document, words.ConnectionSpec)
    return words.Connection(
        name=view.name,
        base_url=spec.base_url,
        headers=spec.headers,
        auth=spec.auth,
        timeout=spec.timeout,
        warnings=[render_problem(problem) for problem in view.warnings],
        **_times(view),
    )


def _times(view: Any) -> dict[str, Any]:
    return {
        "revision": view.revision,
        "created_at": time_of(view.created_at),
        "created_by": view.created_by,
        "modified_at": time_of(view.modified_at),
        "modified_by": view.modified_by,
    }


def _reply(view: words.Secret | words.Connection, *, fresh: bool = False) -> Reply:
    return Reply(view, 201 if fresh else 200, revision=view.revision)


# -- the table -------------------------------------------------------------------------------------------------------

_IF_MATCH = "`If-Match` with the ETag that was read refuses the change (412) when somebody else was first."
_CHANGE = (NotFound, Forbidden, Stale, Conflict)
_READ = (NotFound, Forbidden)
EXAMPLES = {
    "token": {"base_url": "https://erp.example.com/api", "auth": {"type": "bearer", "token": "${secrets.ERP}"}},
    "oauth2": {
        "base_url": "https://crm.example.com",
        "auth": {
            "type": "oauth2_client_credentials",
            "token_url": "https://login.example.com/token",
            "client_id": "penstock",
            "client_secret": "${secrets.CRM}",
        },
        "timeout": "PT10S",
    },
}

ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="PUT", path="/secrets/{name}", operation="putSecret", revised=True,
        summary="Store a secret, encrypted; nobody can read it back", handler=put_secret, request=words.SecretValue,
        response=words.Secret, also=(201,), errors=_CHANGE, tag="Secrets", description=_IF_MATCH,
        examples={"password": {"value": "…"}},
    ),
    Route(
        method="GET", path="/secrets", operation="listSecrets", summary="Names of secrets, by name",
        handler=list_secrets, query=models.Paged, response=words.Secrets, errors=_READ, tag="Secrets",
    ),
    Route(
        method="GET", path="/secrets/{name}", operation="getSecret", revised=True, summary="All but the value of a secret",
        handler=get_secret, response=words.Secret, errors=_READ, tag="Secrets",
    ),
    Route(
        method="DELETE", path="/secrets/{name}", operation="deleteSecret", revised=True, summary="Remove a secret",
        handler=delete_secret, status=204, errors=_CHANGE, tag="Secrets", description=_IF_MATCH,
    ),
    Route(
        method="PUT", path="/connections/{name}", operation="putConnection", revised=True,
        summary="Store a connection: address, headers and credential of http nodes that name it",
        handler=put_connection, request=words.ConnectionSpec, response=words.Connection, also=(201,), errors=_CHANGE,
        tag="Connections", description=_IF_MATCH, examples=EXAMPLES,
    ),
    Route(
        method="GET", path="/connections", operation="listConnections", summary="Connections, by name",
        handler=list_connections, query=models.Paged, response=words.Connections, errors=_READ, tag="Connections",
    ),
    Route(
        method="GET", path="/connections/{name}", operation="getConnection", revised=True, summary="A connection",
        handler=get_connection, response=words.Connection, errors=_READ, tag="Connections",
    ),
    Route(
        method="DELETE", path="/connections/{name}", operation="deleteConnection", revised=True, summary="Remove a connection",
        handler=delete_connection, status=204, errors=_CHANGE, tag="Connections", description=_IF_MATCH,
    ),
    Route(
        method="POST", path="/connections/{name}/~test", operation="testConnection", keyed=False,
        summary="Call through a connection; tells the status, not the answer", handler=test_connection,
        request=words.Trial, response=words.TrialResult, errors=_CHANGE, tag="Connections",
    ),
)  # fmt: skip
