"""The native door's words for what people and programs prove themselves with: tokens and access keys."""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from penstock.api.models import Answer, Request


class HeldToken(Answer, frozen=True, kw_only=True):
    id: str
    name: str | None
    kind: str
    """`access`, of `POST /token`; `session`, of a log-in; `named`."""
    created_at: str
    expires_at: str
    token: str | UnsetType = UNSET
    """Only in the answer that made it."""


class HeldTokens(Answer, frozen=True, kw_only=True):
    items: list[HeldToken]
    next: str | None


class NewToken(Request, frozen=True, kw_only=True):
    name: str
    expires_at: str | None = None
    days: Annotated[int, Meta(ge=1, le=365)] | None = None


class AccessKey(Answer, frozen=True, kw_only=True):
    ak: str
    name: str
    disabled: bool
    created_at: str
    created_by: str
    sk: str | UnsetType = UNSET
    """Only in the answer that made it."""


class AccessKeys(Answer, frozen=True, kw_only=True):
    items: list[AccessKey]
    next: str | None


class NewAccessKey(Request, frozen=True, kw_only=True):
    name: str


class ChangeAccessKey(Request, frozen=True, kw_only=True):
    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
