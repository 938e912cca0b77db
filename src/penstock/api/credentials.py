"""Routes of what people and programs prove themselves with: `/me/tokens`, tokens of others, access keys of applications."""

from __future__ import annotations

from msgspec import UNSET

from penstock.api import credential_models as own
from penstock.api import models
from penstock.api.door import ApiCall, Native, page, position
from penstock.api.mapping import parse_moment
from penstock.core.durations import format_time
from penstock.errors import Conflict, Forbidden, NotFound
from penstock.operations import access_keys, named_tokens
from penstock.web.cookies import SESSION
from penstock.web.routing import Reply, Route

NO_STORE = {"cache-control": "no-store"}

# -- tokens ----------------------------------------------------------------------------------------------------------


def _token(view: named_tokens.HeldToken, token: str | None = None) -> own.HeldToken:
    return own.HeldToken(
        id=view.id,
        name=view.name,
        kind=view.kind,
        created_at=format_time(view.created_at),
        expires_at=format_time(view.expires_at),
        token=UNSET if token is None else token,
    )


async def create_own_token(call: ApiCall) -> Reply:
    body: own.NewToken = call.body
    new = named_tokens.New(name=body.name, expires_at=parse_moment(body.expires_at, "/expires_at"), days=body.days)
    used = call.token or call.door.cookies.read(call, SESSION) or ""
    made, text = await named_tokens.create(call.door.operations, call.actor, used, new, call.idempotency_key)
    return Reply(_token(made, text), headers={} if text is None else NO_STORE)


async def list_own_tokens(call: ApiCall) -> own.HeldTokens:
    found = await named_tokens.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, _token, own.HeldTokens)


async def delete_own_token(call: ApiCall) -> None:
    await named_tokens.remove(call.door.operations, call.actor, call.path["id"], call.idempotency_key)


async def list_user_tokens(call: ApiCall) -> own.HeldTokens:
    at = (call.door.operations, call.actor, call.path["id"])
    found = await named_tokens.listed_of_user(*at, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, _token, own.HeldTokens)


async def list_application_tokens(call: ApiCall) -> own.HeldTokens:
    at = (call.door.operations, call.actor, call.path["id"])
    found = await named_tokens.listed_of_application(*at, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, _token, own.HeldTokens)


# -- access keys -----------------------------------------------------------------------------------------------------


def _access_key(view: access_keys.AccessKey, sk: str | None = None) -> own.AccessKey:
    return own.AccessKey(
        ak=view.ak,
        name=view.name,
        disabled=view.disabled,
        created_at=format_time(view.created_at),
        created_by=view.created_by,
        sk=UNSET if sk is None else sk,
    )


async def list_access_keys(call: ApiCall) -> own.AccessKeys:
    at = (call.door.operations, call.actor, call.path["id"])
    found = await access_keys.listed(*at, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, _access_key, own.AccessKeys)


async def create_access_key(call: ApiCall) -> Reply:
    at = (call.door.operations, call.actor, call.path["id"])
    made, sk = await access_keys.create(*at, call.body.name, call.idempotency_key)
    return Reply(_access_key(made, sk), headers={} if sk is None else NO_STORE)


async def change_access_key(call: ApiCall) -> own.AccessKey:
    body: own.ChangeAccessKey = call.body
    at = (call.door.operations, call.actor, call.path["id"], call.path["ak"])
    given = access_keys.Change(name=body.name, disabled=body.disabled)
    return _access_key(await access_keys.change(*at, given, call.idempotency_key))


async def delete_access_key(call: ApiCall) -> None:
    at = (call.door.operations, call.actor, call.path["id"], call.path["ak"])
    await access_keys.remove(*at, call.idempotency_key)


# -- the table -------------------------------------------------------------------------------------------------------

_KEYS = "/applications/{id}/access-keys"

ROUTES: tuple[Route[Native], ...] = (
    Route(method="POST", path="/me/tokens", operation="createOwnToken", summary="Make a token under a name, for a script or a device; it is in this answer alone",
          handler=create_own_token, request=own.NewToken, response=own.HeldToken, status=201,
          errors=(Forbidden, Conflict), tag="Authentication",
          description="It lives for `days` (1 to 365), until `expires_at`, or for 90 days. A named token makes no other. The same "
          "Idempotency-Key again answers without the token.",
          examples={"script": {"name": "Nightly report", "days": 30}}),
    Route(method="GET", path="/me/tokens", operation="listOwnTokens", summary="One's own tokens that have not expired, of every kind",
          handler=list_own_tokens, query=models.Paged, response=own.HeldTokens, tag="Authentication"),
    Route(method="DELETE", path="/me/tokens/{id}", operation="deleteOwnToken", summary="End a token of one's own",
          handler=delete_own_token, status=204, errors=(NotFound, Conflict), tag="Authentication"),
    Route(method="GET", path="/users/{id}/tokens", operation="listUserTokens", summary="Tokens a user holds",
          handler=list_user_tokens, query=models.Paged, response=own.HeldTokens, errors=(Forbidden, NotFound), tag="Users"),
    Route(method="GET", path="/applications/{id}/tokens", operation="listApplicationTokens",
          summary="Tokens an application holds", handler=list_application_tokens, query=models.Paged,
          response=own.HeldTokens, errors=(Forbidden, NotFound), tag="Applications"),
    Route(method="GET", path=_KEYS, operation="listAccessKeys", summary="An application's access keys, by AK",
          handler=list_access_keys, query=models.Paged, response=own.AccessKeys, errors=(Forbidden, NotFound),
          tag="Applications"),
    Route(method="POST", path=_KEYS, operation="createAccessKey",
          summary="Make an access key for signed requests; its SK is in this answer alone", handler=create_access_key,
          request=own.NewAccessKey, response=own.AccessKey, status=201, errors=(Forbidden, NotFound, Conflict),
          description="The same Idempotency-Key again answers without the SK.",
          examples={"playbooks": {"name": "Playbooks"}}, tag="Applications"),
    Route(method="PATCH", path=f"{_KEYS}/{{ak}}", operation="changeAccessKey", summary="Rename, disable or enable an access key",
          handler=change_access_key, request=own.ChangeAccessKey, response=own.AccessKey,
          errors=(Forbidden, NotFound, Conflict), examples={"disable": {"disabled": True}}, tag="Applications"),
    Route(method="DELETE", path=f"{_KEYS}/{{ak}}", operation="deleteAccessKey", summary="Remove an access key",
          handler=delete_access_key, status=204, errors=(Forbidden, NotFound, Conflict), tag="Applications"),
)  # fmt: skip
