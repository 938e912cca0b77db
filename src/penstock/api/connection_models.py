"""The words of `/secrets` and `/connections`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from penstock.api.models import Answer, Problem, Request

Text = Annotated[str, Meta(min_length=1, max_length=2_000)]
Url = Annotated[str, Meta(min_length=1, max_length=2_000)]


class SecretValue(Request, frozen=True, kw_only=True):
    value: Annotated[str, Meta(min_length=1, max_length=64 * 1024)]


class Secret(Answer, frozen=True, kw_only=True):
    """All that is told of a secret; its value is not."""

    name: str
    revision: int
    key: str
    """Id of the key it is encrypted with."""
    created_at: str
    created_by: str
    modified_at: str
    modified_by: str


class Secrets(Answer, frozen=True, kw_only=True):
    items: list[Secret]
    next: str | None


class _Auth(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", omit_defaults=True
):
    """Base of the ways to authenticate."""


class NoAuth(_Auth, frozen=True, kw_only=True, tag="none"):
    """No credential is sent."""


class BasicAuth(_Auth, frozen=True, kw_only=True, tag="basic"):
    username: Text
    password: Text
    """Names a secret: `${secrets.NAME}`."""


class BearerAuth(_Auth, frozen=True, kw_only=True, tag="bearer"):
    token: Text


class ApiKeyAuth(_Auth, frozen=True, kw_only=True, tag="api_key"):
    name: Text
    value: Text
    where: Literal["header", "query"] = msgspec.field(default="header", name="in")


class ClientCredentials(_Auth, frozen=True, kw_only=True, tag="oauth2_client_credentials"):
    token_url: Url
    client_id: Text
    client_secret: Text
    scope: Text | None = None
    audience: Text | None = None
    client_auth: Literal["basic", "body"] = "basic"


Auth = NoAuth | BasicAuth | BearerAuth | ApiKeyAuth | ClientCredentials


class ConnectionSpec(Request, frozen=True, kw_only=True):
    base_url: Url
    headers: dict[str, Annotated[str, Meta(max_length=8_000)]] = msgspec.field(default_factory=dict)
    auth: Auth = NoAuth()
    timeout: Annotated[str, Meta(max_length=100)] | None = None
    """Of one call, PT0.1S to PT10M; a node's own wins."""


class Connection(Answer, frozen=True, kw_only=True):
    name: str
    base_url: str
    headers: dict[str, str]
    auth: Auth
    timeout: str | None
    revision: int
    created_at: str
    created_by: str
    modified_at: str
    modified_by: str
    warnings: list[Problem] = msgspec.field(default_factory=list)


class Connections(Answer, frozen=True, kw_only=True):
    items: list[Connection]
    next: str | None


class Trial(Request, frozen=True, kw_only=True):
    method: Literal["GET", "HEAD", "POST"] = "GET"
    path: Annotated[str, Meta(max_length=2_000)] = ""


class TrialResult(Answer, frozen=True, kw_only=True):
    ok: bool
    """An answer came, and its status is below 400."""
    status: int | None
    error: str | None
    milliseconds: int
