"""The native door's words for sessions, log-ins and providers of identity."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType, field

from penstock.api.models import Answer, Request, TenantRef

Code = Annotated[str, Meta(min_length=1, max_length=64)]
Text = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[str, Meta(min_length=1, max_length=2_000)]
Parameter = Annotated[str, Meta(max_length=8_000)]
Scopes = Annotated[list[str], Meta(min_length=1, max_length=20)]
Domains = Annotated[list[Annotated[str, Meta(max_length=255)]], Meta(max_length=100)]
Secret = Annotated[str, Meta(min_length=1, max_length=4_000)]


class LogIn(Request, frozen=True, kw_only=True):
    email: Annotated[str, Meta(min_length=1, max_length=300)]
    password: Annotated[str, Meta(min_length=1, max_length=1_000)]
    tenant: Code | None = None
    """Code of one, where the address is somebody's in several."""


class Session(Answer, frozen=True, kw_only=True):
    """One log-in of a browser, and who it speaks for."""

    id: str
    tenant: TenantRef
    principal: str
    kind: str
    groups: list[str]
    roles: list[str]
    csrf: str
    """Goes with every change, in the header `X-CSRF-Token`."""
    created_at: str
    seen_at: str
    expires_at: str
    """At the latest; sooner when it is not used."""
    provider: str | None
    """Code of the provider it came from; null: a password."""


class OwnSession(Answer, frozen=True, kw_only=True):
    id: str
    current: bool
    """It is the one that asks."""
    created_at: str
    seen_at: str
    """To within five minutes."""
    expires_at: str
    provider: str | None
    address: str
    agent: str
    """What the browser calls itself, shortened."""


class OwnSessions(Answer, frozen=True, kw_only=True):
    items: list[OwnSession]


# -- log-in through a provider ---------------------------------------------------------------------------------------


class OfferedQuery(Request, frozen=True, kw_only=True):
    tenant: Code


class Offered(Answer, frozen=True, kw_only=True):
    code: str
    name: str


class OfferedList(Answer, frozen=True, kw_only=True):
    items: list[Offered]


class Begin(Request, frozen=True, kw_only=True):
    return_to: Annotated[str, Meta(max_length=2_000)] = "/"
    """A path on this host."""


class Callback(Request, frozen=True, kw_only=True):
    state: Parameter | None = None
    code: Parameter | None = None
    error: Parameter | None = None
    error_description: Parameter | None = None
    iss: Parameter | None = None


# -- providers -------------------------------------------------------------------------------------------------------


class Provider(Answer, frozen=True, kw_only=True):
    code: str
    name: str
    issuer: str
    client_id: str
    client_secret: bool
    """Whether there is one; nobody can read it."""
    scopes: list[str]
    enabled: bool
    create_users: bool
    domains: list[str]
    groups_claim: str | None
    redirect_uri: str
    """What the provider must know this server by."""
    created_at: str
    created_by: str
    modified_at: str
    modified_by: str


class Providers(Answer, frozen=True, kw_only=True):
    items: list[Provider]
    next: str | None


class NewProvider(Request, frozen=True, kw_only=True):
    code: Code
    name: Text
    issuer: Url
    client_id: Text
    client_secret: Secret | None = None
    scopes: Scopes = field(default_factory=lambda: ["openid", "email", "profile"])
    enabled: bool = True
    create_users: bool = False
    """Make a user of whom the provider vouches for and who is none yet."""
    domains: Domains = field(default_factory=list)
    """Of e-mail addresses that may come from there; none: all."""
    groups_claim: Text | None = None
    """The claim that says which groups a user is in, at each log-in; null: the provider has no say in it."""


class ChangeProvider(Request, frozen=True, kw_only=True):
    name: Text | UnsetType = UNSET
    issuer: Url | UnsetType = UNSET
    client_id: Text | UnsetType = UNSET
    client_secret: Secret | UnsetType | None = UNSET
    scopes: Scopes | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    create_users: bool | UnsetType = UNSET
    domains: Domains | UnsetType = UNSET
    groups_claim: Text | UnsetType | None = UNSET
