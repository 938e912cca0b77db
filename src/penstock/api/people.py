"""Routes of `/users`, `/groups`, `/applications`, `/tokens` and `/tenant`."""

from __future__ import annotations

from typing import Any

from penstock.api import mapping, models
from penstock.api import people_mapping as words
from penstock.api import people_models as own
from penstock.api.door import ApiCall, Native, page, position
from penstock.errors import AlreadyExists, Conflict, Forbidden, LimitExceeded, NotFound
from penstock.operations import applications, groups, tenants, tokens, users, views
from penstock.web.cookies import SESSION
from penstock.web.routing import Reply, Route

NO_STORE = {"cache-control": "no-store"}

# -- users -----------------------------------------------------------------------------------------------------------


def _user(view: views.User) -> Reply:
    return Reply(words.render_user(view), revision=view.revision)


async def list_users(call: ApiCall) -> own.Users:
    wanted = words.parse_query(call.query)
    found = await users.listed(call.door.operations, call.actor, wanted, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, words.render_user, own.Users)


async def create_user(call: ApiCall) -> Reply:
    new, door = words.parse_new_user(call.body), call.door
    return _user(await users.create(door.operations, door.credentials, call.actor, new, call.idempotency_key))


async def get_user(call: ApiCall) -> Reply:
    return _user(await users.get(call.door.operations, call.actor, call.path["id"]))


async def change_user(call: ApiCall) -> Reply:
    given, door = words.parse_user(call.body), call.door
    return _user(
        await users.change(
            *(door.operations, door.credentials, call.actor, call.path["id"], given),
            *(call.revisions, call.idempotency_key),
        )
    )


async def delete_user(call: ApiCall) -> None:
    await users.remove(call.door.operations, call.actor, call.path["id"], call.revisions, call.idempotency_key)


async def change_me(call: ApiCall) -> Reply:
    body: own.ChangeMe = call.body
    view = await users.change_own(
        call.door.operations,
        call.door.credentials,
        call.actor,
        users.Caller(call.token or call.door.cookies.read(call, SESSION) or "", call.address),
        name=body.name,
        password=body.password,
        old_password=body.old_password,
        key=call.idempotency_key,
    )
    return _user(view)


# -- groups ----------------------------------------------------------------------------------------------------------


def _group(view: views.Group) -> Reply:
    return Reply(words.render_group(view), revision=view.revision)


async def list_groups(call: ApiCall) -> own.Groups:
    found = await groups.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, words.render_group, own.Groups)


async def create_group(call: ApiCall) -> Reply:
    body: own.NewGroup = call.body
    return _group(await groups.create(call.door.operations, call.actor, body.code, body.name, call.idempotency_key))


async def get_group(call: ApiCall) -> Reply:
    return _group(await groups.get(call.door.operations, call.actor, call.path["code"]))


async def change_group(call: ApiCall) -> Reply:
    at = (call.door.operations, call.actor, call.path["code"])
    return _group(await groups.change(*at, call.body.name, call.revisions, call.idempotency_key))


async def delete_group(call: ApiCall) -> None:
    await groups.remove(call.door.operations, call.actor, call.path["code"], call.revisions, call.idempotency_key)


async def list_members(call: ApiCall) -> own.Users:
    at = (call.door.operations, call.actor, call.path["code"])
    found = await groups.members(*at, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, words.render_user, own.Users)


async def add_member(call: ApiCall) -> None:
    at = (call.door.operations, call.actor, call.path["code"], call.path["id"])
    await groups.add_member(*at, call.idempotency_key)


async def remove_member(call: ApiCall) -> None:
    at = (call.door.operations, call.actor, call.path["code"], call.path["id"])
    await groups.remove_member(*at, call.idempotency_key)


# -- applications ----------------------------------------------------------------------------------------------------


def _application(view: views.Application, secret: str | None = None) -> Reply:
    headers = {} if secret is None else NO_STORE
    return Reply(words.render_application(view, secret), headers=headers, revision=view.revision)


async def list_applications(call: ApiCall) -> own.Applications:
    found = await applications.listed(call.door.operations, call.actor, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, words.render_application, own.Applications)


async def create_application(call: ApiCall) -> Reply:
    body: own.NewApplication = call.body
    made = await applications.create(call.door.operations, call.actor, body.name, body.roles, call.idempotency_key)
    return _application(*made)


async def get_application(call: ApiCall) -> Reply:
    return _application(await applications.get(call.door.operations, call.actor, call.path["id"]))


async def change_application(call: ApiCall) -> Reply:
    at, given = (call.door.operations, call.actor, call.path["id"]), words.parse_application(call.body)
    return _application(await applications.change(*at, given, call.revisions, call.idempotency_key))


async def delete_application(call: ApiCall) -> None:
    at = (call.door.operations, call.actor, call.path["id"])
    await applications.remove(*at, call.revisions, call.idempotency_key)


async def rotate_secret(call: ApiCall) -> Reply:
    until = mapping.parse_moment(call.body.old_secret_until, "/old_secret_until")
    at = (call.door.operations, call.actor, call.path["id"])
    return _application(*await applications.rotate(*at, until, call.revisions, call.idempotency_key))


# -- tokens ----------------------------------------------------------------------------------------------------------


async def revoke_token(call: ApiCall) -> None:
    await tokens.revoke(call.door.operations, call.actor, call.body.token)


async def revoke_user_tokens(call: ApiCall) -> own.Revoked:
    return own.Revoked(revoked=await tokens.revoke_user(call.door.operations, call.actor, call.path["id"]))


async def revoke_application_tokens(call: ApiCall) -> own.Revoked:
    return own.Revoked(revoked=await tokens.revoke_application(call.door.operations, call.actor, call.path["id"]))


# -- the tenant ------------------------------------------------------------------------------------------------------


async def get_tenant(call: ApiCall) -> Reply:
    view = await tenants.get(call.door.operations, call.actor)
    return Reply(words.render_tenant(view), revision=view.revision)


async def change_tenant(call: ApiCall) -> Reply:
    given = words.parse_tenant(call.body)
    view = await tenants.change(call.door.operations, call.actor, given, call.revisions, call.idempotency_key)
    return Reply(words.render_tenant(view), revision=view.revision)


# -- the table -------------------------------------------------------------------------------------------------------

_CHANGED = (Forbidden, NotFound, Conflict)
_USERS: dict[str, Any] = {"tag": "Users"}
_GROUPS: dict[str, Any] = {"tag": "Groups"}
_APPLICATIONS: dict[str, Any] = {"tag": "Applications"}

ROUTES: tuple[Route[Native], ...] = (
    Route(method="GET", path="/users", operation="listUsers", summary="Users; who is no administrator sees whom to delegate to",
          handler=list_users, query=own.UserQuery, response=own.Users, errors=(Forbidden,), **_USERS),
    Route(method="POST", path="/users", operation="createUser", summary="Make a user", handler=create_user,
          request=own.NewUser, response=own.User, status=201, revised=True,
          errors=(Forbidden, AlreadyExists, LimitExceeded, Conflict),
          examples={"ana": {"email": "ana@example.com", "name": "Ana Ruiz", "groups": ["staff"]}}, **_USERS),
    Route(method="GET", path="/users/{id}", operation="getUser", summary="A user, by id or e-mail address",
          handler=get_user, response=own.User, revised=True, errors=(NotFound,), **_USERS),
    Route(method="PATCH", path="/users/{id}", operation="changeUser",
          summary="Change, disable or enable a user; what is not sent stays", handler=change_user,
          request=own.ChangeUser, response=own.User, revised=True, errors=(*_CHANGED, LimitExceeded),
          description="Who is given the role `operator` is logged out everywhere, and has no password any more (`password` is false "
          "in the answer) unless the same change gives one.",
          examples={"disable": {"disabled": True}}, **_USERS),
    Route(method="DELETE", path="/users/{id}", operation="deleteUser", summary="Remove a user whom nothing open names",
          handler=delete_user, status=204, revised=True, errors=_CHANGED, **_USERS),
    Route(method="DELETE", path="/users/{id}/tokens", operation="revokeUserTokens", summary="Log a user out everywhere",
          handler=revoke_user_tokens, response=own.Revoked, keyed=False, errors=(Forbidden, NotFound), **_USERS),
    Route(method="PATCH", path="/me", operation="changeMe", summary="Change one's own name, or password with the old one",
          handler=change_me, request=own.ChangeMe, response=own.User, errors=(Forbidden, Conflict, LimitExceeded),
          tag="Authentication"),
    Route(method="POST", path="/tokens/revoke", operation="revokeToken",
          summary="End a token that one holds, one's own or another", handler=revoke_token,
          request=own.RevokeToken, status=204, keyed=False, tag="Authentication"),
    Route(method="GET", path="/groups", operation="listGroups", summary="Groups, by code", handler=list_groups,
          query=models.Paged, response=own.Groups, **_GROUPS),
    Route(method="POST", path="/groups", operation="createGroup", summary="Make a group", handler=create_group,
          request=own.NewGroup, response=own.Group, status=201, revised=True,
          errors=(Forbidden, AlreadyExists, Conflict), examples={"risk": {"code": "risk", "name": "Risk"}}, **_GROUPS),
    Route(method="GET", path="/groups/{code}", operation="getGroup", summary="A group", handler=get_group,
          response=own.Group, revised=True, errors=(NotFound,), **_GROUPS),
    Route(method="PATCH", path="/groups/{code}", operation="changeGroup", summary="Give a group another name",
          handler=change_group, request=own.ChangeGroup, response=own.Group, revised=True, errors=_CHANGED, **_GROUPS),
    Route(method="DELETE", path="/groups/{code}", operation="deleteGroup", summary="Remove a group that nothing open names",
          handler=delete_group, status=204, revised=True, errors=_CHANGED, **_GROUPS),
    Route(method="GET", path="/groups/{code}/members", operation="listMembers", summary="Users of a group, by e-mail address",
          handler=list_members, query=models.Paged, response=own.Users, errors=(NotFound,), **_GROUPS),
    Route(method="PUT", path="/groups/{code}/members/{id}", operation="addMember", summary="Put a user into a group",
          handler=add_member, status=204, errors=_CHANGED, **_GROUPS),
    Route(method="DELETE", path="/groups/{code}/members/{id}", operation="removeMember",
          summary="Take a user out of a group", handler=remove_member, status=204, errors=_CHANGED, **_GROUPS),
    Route(method="GET", path="/applications", operation="listApplications", summary="Applications, oldest first",
          handler=list_applications, query=models.Paged, response=own.Applications, errors=(Forbidden,), **_APPLICATIONS),
    Route(method="POST", path="/applications", operation="createApplication",
          summary="Make an application; its secret is in this answer alone", handler=create_application,
          request=own.NewApplication, response=own.Application, status=201, revised=True, errors=(Forbidden, Conflict),
          description="The same Idempotency-Key again answers the application without its secret.",
          examples={"worker": {"name": "Mail worker"}}, **_APPLICATIONS),
    Route(method="GET", path="/applications/{id}", operation="getApplication", summary="An application",
          handler=get_application, response=own.Application, revised=True, errors=(Forbidden, NotFound), **_APPLICATIONS),
    Route(method="PATCH", path="/applications/{id}", operation="changeApplication",
          summary="Change, disable or enable an application", handler=change_application,
          request=own.ChangeApplication, response=own.Application, revised=True, errors=_CHANGED,
          description="409 where it would get the role `operator`: make a new application with it.", **_APPLICATIONS),
    Route(method="DELETE", path="/applications/{id}", operation="deleteApplication",
          summary="Remove an application that nothing open names", handler=delete_application, status=204, revised=True,
          errors=_CHANGED, **_APPLICATIONS),
    Route(method="POST", path="/applications/{id}/rotate", operation="rotateSecret",
          summary="A new secret; the old one is good until a time, or no more at once", handler=rotate_secret,
          request=own.Rotate, response=own.Application, revised=True, errors=_CHANGED, **_APPLICATIONS),
    Route(method="DELETE", path="/applications/{id}/tokens", operation="revokeApplicationTokens",
          summary="End every token of an application", handler=revoke_application_tokens, response=own.Revoked,
          keyed=False, errors=(Forbidden, NotFound), **_APPLICATIONS),
    Route(method="GET", path="/tenant", operation="getTenant", summary="The caller's tenant and its rules",
          handler=get_tenant, response=own.Tenant, revised=True, errors=(Forbidden,), tag="Tenant"),
    Route(method="PATCH", path="/tenant", operation="changeTenant", summary="Change the tenant's name or rules",
          handler=change_tenant, request=own.ChangeTenant, response=own.Tenant, revised=True,
          errors=(Forbidden, Conflict), examples={"approval": {"approval": "required", "four_eyes": True}}, tag="Tenant"),
)  # fmt: skip
