"""Between the door's words and the platform's: what a caller says of its job, credentials, sessions, errors. Pure translation."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from penstock import errors
from penstock.core.requests import JobClaim
from penstock.dialects.cloudio import models
from penstock.errors import PenstockError, Unauthenticated

# -- values ----------------------------------------------------------------------------------------------------------


def parse_claim(body: models.Reference) -> JobClaim:
    """What the caller says of its job."""
    return JobClaim(
        token=text_of(body.token),
        definition=text_of(body.wf_uid),
        process=text_of(body.wf_inst_uid),
        version=text_of(body.version),
        node=text_of(body.node_uid),
        execution=text_of(body.execution_id),
    )


def text_of(value: str | float) -> str:
    """A text, however it was sent; JSON libraries that know one kind of number send `1.0` for 1."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def render_refusal(body: models.Reference) -> str:
    """The vendor's sentence, to the letter."""
    return f"Invalid token: `{text_of(body.token)}`!"


# -- log-in ----------------------------------------------------------------------------------------------------------

SCHEME = "Token"
_HEADERS = ("authorization", "authentication")
"""The vendor's table names the second, its own code sends the first."""


def parse_credentials(headers: Mapping[str, str]) -> tuple[str, str]:
    """User and password of `Token BASE64(user:password)`. Raises: Unauthenticated."""
    for header in _HEADERS:
        scheme, _, given = headers.get(header, "").strip().partition(" ")
        if scheme.lower() == SCHEME.lower():
            return _user_and_password(given.strip())
    raise Unauthenticated("a header is needed: Authorization: Token BASE64(user:password)")


def _user_and_password(given: str) -> tuple[str, str]:
    try:
        content = base64.b64decode(given + "=" * (-len(given) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        raise Unauthenticated("what follows the word Token is not the base64 of user:password") from None
    user, colon, password = content.partition(":")
    if not colon or "\0" in content:
        raise Unauthenticated("what follows the word Token is not the base64 of user:password")
    return user, password


def render_session(session: Any) -> models.Session:
    return models.Session(**_session(session))


def render_new_session(session: Any) -> models.NewSession:
    return models.NewSession(**_session(session), csrf=session.proof, jwt=session.token)


def _session(session: Any) -> dict[str, Any]:
    kind, _, name = session.actor.principal.partition(":")
    return {
        "org_uid": session.actor.tenant.id,
        "session_id": session.id,
        "user_name": name,
        "display_name": session.name,
        "email_address": name if kind == "user" else "",
    }


# -- errors ----------------------------------------------------------------------------------------------------------

BAD = "Invalid Request"
ERRORS: Mapping[type[BaseException], tuple[int, str]] = {
    errors.Invalid: (400, BAD),
    errors.TooLarge: (413, BAD),
    errors.UnsupportedMediaType: (415, BAD),
    errors.Unauthenticated: (401, "Unauthorized"),
    errors.Forbidden: (403, BAD),
    errors.NotFound: (404, BAD),
    errors.MethodNotAllowed: (405, BAD),
    errors.Conflict: (409, BAD),
    errors.LimitExceeded: (429, "Too Many Requests"),
    errors.Unavailable: (503, "Service Unavailable"),
    errors.PenstockError: (500, "Internal Error"),
}


def render_failure(shape: Any, error: PenstockError) -> models.Failed:
    """The envelope of an answer that is not a success; `shape.code` is the title."""
    return models.Failed(code=shape.status, title=shape.code, message=error.message)
