"""Who acts: tenant, actor, and the notation of grantees (`user:EMAIL`, `group:CODE`, `app:ID`, `role:NAME`)."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import NewType

import msgspec

from penstock.errors import Invalid, Problem

Grantee = NewType("Grantee", str)
"""A parsed and normalised grantee, as `format_grantee` writes it."""

STARTER = Grantee("role:starter")
"""Who started the process."""
EVERYONE = Grantee("role:everyone")
"""All of the tenant."""

MAX_NAME = 200


class Kind(StrEnum):
    """What sort of principal acts."""

    USER = "user"
    APPLICATION = "application"
    SYSTEM = "system"


class GranteeKind(StrEnum):
    """The word before the colon."""

    USER = "user"
    GROUP = "group"
    APPLICATION = "app"
    ROLE = "role"


_KINDS = {kind.value: kind for kind in GranteeKind}


class Quotas(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What of the installation a tenant may use; None: as much as there is."""

    open_processes: int | None = None
    requests_per_second: float | None = None
    burst: int | None = None
    """Requests that may come at once; None: those of one second."""
    writer_share: int = 1
    """Its weight where tenants compete for the writer."""


UNLIMITED = Quotas()


class Tenant(msgspec.Struct, frozen=True):
    """Whose data it is. `tid` is the store's number, `id` what the world sees."""

    tid: int
    id: str
    code: str
    quotas: Quotas = UNLIMITED


class Actor(msgspec.Struct, frozen=True, kw_only=True):
    """A principal in one request. `principal` is in the grantee notation (`app:ID`, `user:EMAIL`, `system`)."""

    tenant: Tenant
    principal: str
    kind: Kind
    groups: frozenset[str] = frozenset()
    """Codes."""
    roles: frozenset[str] = frozenset()
    """Of the tenant, such as `admin`; `role:` grantees of a definition are another thing."""


def format_grantee(kind: GranteeKind, name: str) -> Grantee:
    """Writes a grantee. E-mail addresses are compared case-folded."""
    return Grantee(f"{kind}:{fold_email(name) if kind is GranteeKind.USER else name}")


def parse_grantee(text: str, pointer: str = "") -> Grantee:
    """Reads and normalises a grantee.

    Raises: Invalid, pointing at `pointer`.
    """
    word, _, name = text.partition(":")
    kind = _KINDS.get(word)
    if kind is None:
        raise _bad(pointer, f"{text!r} is not a grantee: user:EMAIL, group:CODE, app:ID or role:NAME")
    if not name or name != name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise _bad(pointer, f"{text!r}: the name must be 1 to {MAX_NAME} printable characters")
    grantee = format_grantee(kind, name)
    if kind is GranteeKind.ROLE and grantee not in (STARTER, EVERYONE):
        raise _bad(pointer, f"{text!r}: the roles are role:starter and role:everyone")
    if kind is GranteeKind.USER and name.count("@") != 1:
        raise _bad(pointer, f"{text!r}: a user is named by an e-mail address")
    return grantee


_LOCAL = r"[^\s@.\"(),:;<>\[\]\\]+"
_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_EMAIL = re.compile(rf"{_LOCAL}(?:\.{_LOCAL})*@{_LABEL}(?:\.{_LABEL})*")
_LONGEST_LOCAL = 64


def fold_email(text: str) -> str:
    """An e-mail address as it is compared and kept: in one Unicode form, case-folded."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())


def parse_email(text: str, pointer: str = "/email") -> str:
    """Reads an e-mail address, as it is kept. Quoted local parts and addresses of IP numbers are none to us.

    Raises: Invalid, pointing at `pointer`.
    """
    email = fold_email(text) if len(text) <= MAX_NAME else text
    if len(email) > MAX_NAME or len(email.partition("@")[0]) > _LONGEST_LOCAL:
        raise _bad(pointer, f"an e-mail address has at most {MAX_NAME} characters, {_LONGEST_LOCAL} before the @")
    if not email.isprintable() or not _EMAIL.fullmatch(email):
        raise _bad(pointer, f"{text!r} is not an e-mail address")
    return email


def parse_name(text: str, pointer: str = "/name") -> str:
    """Reads what people call something: 1 to 200 printable characters, none of them a blank at an end.

    Raises: Invalid, pointing at `pointer`.
    """
    if not text or len(text) > MAX_NAME or text != text.strip() or not text.isprintable():
        raise _bad(pointer, f"must be 1 to {MAX_NAME} printable characters, without blanks at the ends")
    return text


_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def is_code(text: str) -> bool:
    """Whether a group could have this code."""
    return _CODE.fullmatch(text) is not None


def parse_code(text: str, pointer: str = "/code") -> str:
    """Reads the code of a group, as definitions may name it. Raises: Invalid, pointing at `pointer`."""
    if not is_code(text):
        raise _bad(pointer, f"must be 1 to 64 of the letters A to Z, digits, '_', '.' and '-', and is {text[:80]!r}")
    return text


def grantees_of(actor: Actor, *, starter: str | None = None) -> frozenset[str]:
    """Every grantee the actor is; `role:starter` too when `starter` (of the process) is this principal."""
    found = {actor.principal, EVERYONE, *(format_grantee(GranteeKind.GROUP, code) for code in actor.groups)}
    if starter is not None and starter == actor.principal:
        found.add(STARTER)
    return frozenset(found)


def _bad(pointer: str, message: str) -> Invalid:
    return Invalid(message, [Problem(pointer, message)])
