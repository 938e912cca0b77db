"""Routes of `/definitions`, `/token` and `/me`."""

from __future__ import annotations

from typing import Any

from penstock.api import mapping, models
from penstock.api.door import ApiCall, Native, page, position
from penstock.errors import Forbidden, Invalid, LimitExceeded, NotFound, Problem, Unauthenticated
from penstock.operations import definitions
from penstock.web.auth import basic_credentials
from penstock.web.routing import FORM, JSON, Auth, Reply, Route

YAML = ("application/yaml", "application/x-yaml", "text/yaml")


async def token(call: ApiCall) -> Reply:
    body: models.TokenRequest = call.body
    credentials = call.door.credentials
    if body.grant_type == "password":
        if body.username is None or body.password is None:
            raise Invalid("username and password are needed", [Problem("", "username and password", "missing")])
        made = await credentials.user_token(body.username, body.password, call.address)
    else:
        id, secret = body.client_id, body.client_secret
        basic = basic_credentials(call.headers.get("authorization")) if secret is None else None
        if basic is not None:
            id, secret = basic
        if id is None or secret is None:
            raise Unauthenticated("client_id and client_secret are needed, in the body or as HTTP Basic")
        made = await credentials.application_token(id, secret, call.address)
    answer = models.Token(access_token=made.access_token, token_type=made.token_type, expires_in=made.expires_in)
    return Reply(answer, headers={"cache-control": "no-store"})


async def me(call: ApiCall) -> models.Me:
    actor = call.actor
    return models.Me(
        tenant=models.TenantRef(id=actor.tenant.id, code=actor.tenant.code),
        principal=actor.principal,
        kind=actor.kind.value,
        groups=sorted(actor.groups),
        roles=sorted(actor.roles),
    )


def _document(call: ApiCall) -> Any:
    told = "content-type" in call.headers
    return definitions.read(call.body, ("json" if call.content_type == JSON else "yaml") if told else None)


async def deploy(call: ApiCall) -> Reply:
    view = await definitions.deploy(call.door.operations, call.actor, _document(call), call.idempotency_key)
    return Reply(mapping.render_deployed(view), 200 if view.unchanged else 201)


async def validate(call: ApiCall) -> models.Validated:
    problems = await definitions.validate(call.door.operations, call.actor, _document(call))
    valid = all(problem.warning for problem in problems)
    return models.Validated(valid=valid, problems=[mapping.render_problem(problem) for problem in problems])


async def listed(call: ApiCall) -> models.Definitions:
    found = await definitions.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(
        call, call.actor, found, lambda view: mapping.render_definition(view, document=False), models.Definitions
    )


async def get(call: ApiCall) -> models.Definition:
    view = await definitions.get(call.door.operations, call.actor, call.path["code"])
    return mapping.render_definition(view, document=True)


async def versions(call: ApiCall) -> models.Versions:
    found = await definitions.versions(
        call.door.operations, call.actor, call.path["code"], position(call, call.actor), call.query.limit
    )
    return page(call, call.actor, found, lambda view: mapping.render_version(view, document=False), models.Versions)


async def version(call: ApiCall) -> models.Version:
    view = await definitions.get_version(call.door.operations, call.actor, call.path["code"], call.path["number"])
    return mapping.render_version(view, document=True)


EXAMPLE = {
    "penstock": 1,
    "code": "hello",
    "driver": "graph",
    "nodes": {"greet": {"kind": "job", "topic": "greet", "input": {"name": "${input.name}"}}},
    "flows": [],
}

ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST",
        path="/token",
        operation="createToken",
        summary="A bearer token for an application's id and secret, or a user's e-mail address and password",
        handler=token,
        request=models.TokenRequest,
        response=models.Token,
        content_types=(FORM, JSON),
        auth=Auth.NONE,
        errors=(Unauthenticated, LimitExceeded),
        tag="Authentication",
        examples={"application": {"grant_type": "client_credentials", "client_id": "…", "client_secret": "…"}},
    ),
    Route(
        method="GET", path="/me", operation="getMe", summary="Who calls", handler=me, response=models.Me,
        tag="Authentication",
    ),
    Route(
        method="POST",
        path="/definitions",
        operation="deployDefinition",
        summary="Make a new version of a definition (200: the same as the latest, none made)",
        handler=deploy,
        request=bytes,
        response=models.Deployed,
        status=201,
        also=(200,),
        content_types=(JSON, *YAML),
        errors=(Forbidden,),
        tag="Definitions",
        examples={"hello": EXAMPLE},
    ),
    Route(
        method="POST",
        path="/definitions/~validate",
        operation="validateDefinition",
        keyed=False,
        summary="Every problem of a definition, with its place; nothing is stored",
        handler=validate,
        request=bytes,
        response=models.Validated,
        content_types=(JSON, *YAML),
        tag="Definitions",
        examples={"hello": EXAMPLE},
    ),
    Route(
        method="GET", path="/definitions", operation="listDefinitions", summary="Definitions, oldest first",
        handler=listed, query=models.Paged, response=models.Definitions, tag="Definitions",
    ),
    Route(
        method="GET", path="/definitions/{code}", operation="getDefinition",
        summary="A definition with its latest document", handler=get, response=models.Definition,
        errors=(NotFound,), tag="Definitions",
    ),
    Route(
        method="GET", path="/definitions/{code}/versions", operation="listVersions",
        summary="Versions of a definition, newest first", handler=versions, query=models.Paged,
        response=models.Versions, errors=(NotFound,), tag="Definitions",
    ),
    Route(
        method="GET", path="/definitions/{code}/versions/{number:int}", operation="getVersion",
        summary="A version with its document", handler=version, response=models.Version, errors=(NotFound,),
        tag="Definitions",
    ),
)  # fmt: skip
