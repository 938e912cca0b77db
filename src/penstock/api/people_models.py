"""The native door's words for people, permissions and approval."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType, field

from penstock.api.models import Answer, Limit, Request

Roles = Annotated[list[str], Meta(max_length=20)]
GroupCodes = Annotated[list[str], Meta(max_length=200)]
Prefix = Annotated[str, Meta(max_length=200)]
Password = Annotated[str, Meta(min_length=8, max_length=1000)]


# -- users -----------------------------------------------------------------------------------------------------------


class User(Answer, frozen=True, kw_only=True):
    """What stands after `groups` is told to administrators and the user alone."""

    id: str
    email: str
    name: str
    groups: list[str]
    roles: list[str] | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    password: bool | UnsetType = UNSET
    """Whether there is one."""
    created_at: str | UnsetType = UNSET


class Users(Answer, frozen=True, kw_only=True):
    items: list[User]
    next: str | None


class UserQuery(Request, frozen=True, kw_only=True):
    email: Prefix = ""
    name: Prefix = ""
    group: str | None = None
    disabled: bool | None = None
    sort: Literal["email", "-email", "name", "-name"] = "email"
    limit: Limit = 50
    cursor: str | None = None


class NewUser(Request, frozen=True, kw_only=True):
    email: str
    name: str | None = None
    password: Password | None = None
    groups: GroupCodes = field(default_factory=list)
    roles: Roles = field(default_factory=list)


class ChangeUser(Request, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    password: Password | UnsetType | None = UNSET
    groups: GroupCodes | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class ChangeMe(Request, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    old_password: Annotated[str, Meta(max_length=1000)] | None = None


# -- groups ----------------------------------------------------------------------------------------------------------


class Group(Answer, frozen=True, kw_only=True):
    code: str
    name: str
    created_at: str


class Groups(Answer, frozen=True, kw_only=True):
    items: list[Group]
    next: str | None


class NewGroup(Request, frozen=True, kw_only=True):
    code: str
    name: str | None = None


class ChangeGroup(Request, frozen=True, kw_only=True):
    name: str


# -- applications ----------------------------------------------------------------------------------------------------


class Application(Answer, frozen=True, kw_only=True):
    id: str
    name: str
    roles: list[str]
    disabled: bool
    created_at: str
    old_secret_until: str | None
    """While the secret before is good, too."""
    secret: str | UnsetType = UNSET
    """Only in the answer that made it."""


class Applications(Answer, frozen=True, kw_only=True):
    items: list[Application]
    next: str | None


class NewApplication(Request, frozen=True, kw_only=True):
    name: str
    roles: Roles = field(default_factory=list)


class ChangeApplication(Request, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    roles: Roles | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class Rotate(Request, frozen=True, kw_only=True):
    old_secret_until: str | None = None


# -- tokens ----------------------------------------------------------------------------------------------------------


class RevokeToken(Request, frozen=True, kw_only=True):
    token: Annotated[str, Meta(min_length=1, max_length=4096)]


class Revoked(Answer, frozen=True, kw_only=True):
    revoked: int


# -- the tenant ------------------------------------------------------------------------------------------------------


class Tenant(Answer, frozen=True, kw_only=True):
    id: str
    code: str
    name: str
    approval: str
    four_eyes: bool
    created_at: str


class ChangeTenant(Request, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    approval: Literal["none", "required"] | UnsetType = UNSET
    four_eyes: bool | UnsetType = UNSET


# -- permissions and approval ----------------------------------------------------------------------------------------


class Permissions(Answer, frozen=True, kw_only=True):
    permissions: dict[str, list[str]]


class PutPermissions(Request, frozen=True, kw_only=True):
    permissions: dict[str, list[str]]


class Comment(Request, frozen=True, kw_only=True):
    comment: Annotated[str, Meta(max_length=2000)] = ""


class Rejection(Request, frozen=True, kw_only=True):
    comment: Annotated[str, Meta(min_length=1, max_length=2000)]
    """Why."""


class Decided(Answer, frozen=True, kw_only=True):
    n: int
    at: str
    actor: str
    action: str
    state: str
    comment: str


class Decisions(Answer, frozen=True, kw_only=True):
    items: list[Decided]
    next: str | None
