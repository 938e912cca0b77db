"""The door's words: camelCase, every answer with a `status`. What is sent may hold members nobody knows."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

Text = Annotated[str, msgspec.Meta(max_length=1000)] | int | float
"""The vendor's document says string, its client sends numbers as well."""
Key = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Words(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all."""


# -- the envelope ----------------------------------------------------------------------------------------------------


class Done(Words, frozen=True, kw_only=True):
    """It was done, and there is nothing to tell."""

    status: Literal["OK"] = "OK"


class Found(Words, frozen=True, kw_only=True):
    """`value` is there always: clients stumble over a member that is missing."""

    status: Literal["OK"] = "OK"
    value: Any


class Counted(Words, frozen=True, kw_only=True):
    status: Literal["OK"] = "OK"
    value: int


class Failed(Words, frozen=True, kw_only=True):
    """Every answer that is not a success. Clients go by `status`, and not by that of HTTP, which `code` repeats."""

    status: Literal["ERROR"] = "ERROR"
    code: int
    title: str
    message: str


# -- values ----------------------------------------------------------------------------------------------------------


class Reference(Words, frozen=True, kw_only=True):
    """Which key is meant, and the job that asks, as it stands in its task request."""

    wf_uid: Text
    wf_inst_uid: Text
    version: Text
    token: Text
    node_uid: Text
    """The node, or its type: the vendor's own client sends that."""
    execution_id: Text
    key: Key


class Put(Reference, frozen=True, kw_only=True):
    value: Any
    """Any JSON, null too."""


# -- log-in ----------------------------------------------------------------------------------------------------------


class LogIn(Words, frozen=True, kw_only=True):
    """Nothing: who logs in stands in a header."""


class Session(Words, frozen=True, kw_only=True):
    status: Literal["OK"] = "OK"
    org_uid: str
    session_id: str
    user_name: str
    display_name: str
    email_address: str
    """Empty for an application."""


class NewSession(Session, frozen=True, kw_only=True):
    """Both go with later calls: `jwt` says who, `csrf` that it is meant."""

    csrf: str
    jwt: str
