"""Routes of `/session`, `/me/sessions` and `/login`: what browsers log in and out by."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from penstock.api import models
from penstock.api import session_models as words
from penstock.api.door import ApiCall, Native
from penstock.core.durations import format_time
from penstock.errors import (
    Conflict,
    Forbidden,
    LimitExceeded,
    NotFound,
    PenstockError,
    Unauthenticated,
    UnsupportedMediaType,
    UpstreamFailed,
)
from penstock.operations import providers, sessions
from penstock.operations.single_sign_on import MINUTES, Answered
from penstock.web import notices
from penstock.web.auth import require_own_page
from penstock.web.cookies import LOGIN, SESSION
from penstock.web.errors import PROBLEM_DETAILS
from penstock.web.routing import Auth, Raw, Reply, Route

NO_STORE = {"cache-control": "no-store"}


def _place(call: ApiCall) -> sessions.Place:
    return sessions.Place(call.address, call.headers.get("user-agent", ""), call.door.cookies.read(call, SESSION))


def _cookie(call: ApiCall, secret: str) -> dict[str, str]:
    door = call.door
    return {**NO_STORE, "set-cookie": door.cookies.write(call, SESSION, secret, door.sessions.seconds if secret else 0)}


async def _current(call: ApiCall) -> sessions.Session:
    """The session that asks. Raises: NotFound where it is a token."""
    secret = call.door.cookies.read(call, SESSION) if call.token is None else None
    if secret is None:
        raise NotFound("session", "of a token")
    return await call.door.sessions.authenticate(secret)


# -- with a password -------------------------------------------------------------------------------------------------


async def log_in(call: ApiCall) -> Reply:
    require_own_page(call, call.door.cookies)
    if "content-type" not in call.headers:
        # without it any page may send a body, and a browser asks nobody before
        raise UnsupportedMediaType("send Content-Type: application/json")
    body: words.LogIn = call.body
    opened = await call.door.sessions.log_in(body.email, body.password, body.tenant, _place(call))
    return Reply(render_session(opened.session), headers=_cookie(call, opened.secret))


async def get_session(call: ApiCall) -> Reply:
    return Reply(render_session(await _current(call)), headers=NO_STORE)


async def log_out(call: ApiCall) -> Reply:
    await _current(call)
    await call.door.sessions.log_out(call.door.cookies.read(call, SESSION) or "")
    return Reply(headers=_cookie(call, ""))


async def list_sessions(call: ApiCall) -> words.OwnSessions:
    found = await call.door.sessions.listed(call.actor)
    current = None if call.token is not None else (await _current(call)).id
    return words.OwnSessions(items=[render_own(each, current) for each in found])


async def close_session(call: ApiCall) -> None:
    await call.door.sessions.close_own(call.actor, call.path["id"])


def render_session(session: sessions.Session) -> words.Session:
    actor = session.actor
    return words.Session(
        id=session.id,
        tenant=models.TenantRef(id=actor.tenant.id, code=actor.tenant.code),
        principal=actor.principal,
        kind=actor.kind.value,
        groups=sorted(actor.groups),
        roles=sorted(actor.roles),
        csrf=session.csrf,
        provider=session.provider,
        **_times(session),
    )


def render_own(session: sessions.Session, current: str | None) -> words.OwnSession:
    return words.OwnSession(
        id=session.id,
        current=session.id == current,
        provider=session.provider,
        address=session.address,
        agent=session.agent,
        **_times(session),
    )


def _times(session: sessions.Session) -> dict[str, str]:
    return {name: format_time(getattr(session, name)) for name in ("created_at", "seen_at", "expires_at")}


# -- through a provider ----------------------------------------------------------------------------------------------


def _for_people(handler: Callable[[ApiCall], Awaitable[Reply]]) -> Callable[[ApiCall], Awaitable[Reply | Raw]]:
    """A browser that was sent here shows what is answered: a failure is a page, for who prefers one."""

    @wraps(handler)
    async def answer(call: ApiCall) -> Reply | Raw:
        try:
            return await handler(call)
        except PenstockError as error:
            if not notices.wanted(call.headers.get("accept")):
                raise
            return notices.page("You are not logged in", error.message, PROBLEM_DETAILS.render(error))

    return answer


async def offered(call: ApiCall) -> words.OfferedList:
    found = await providers.offered(call.door.operations, call.query.tenant)
    return words.OfferedList(items=[words.Offered(code=each.code, name=each.name) for each in found])


@_for_people
async def begin(call: ApiCall) -> Reply:
    door, browser = call.door, call.door.cookies.read(call, LOGIN)
    tenant, code = call.path["tenant"], call.path["provider"]
    leaving = await door.single_sign_on.begin(tenant, code, call.query.return_to, browser, call.address)
    cookie = door.cookies.write(call, LOGIN, leaving.browser, MINUTES * 60)
    return Reply(headers={**NO_STORE, "location": leaving.location, "set-cookie": cookie})


@_for_people
async def callback(call: ApiCall) -> Reply:
    query: words.Callback = call.query
    answered = Answered(
        state=query.state, code=query.code, error=query.error, description=query.error_description, issuer=query.iss
    )
    browser = call.door.cookies.read(call, LOGIN)
    opened, return_to = await call.door.single_sign_on.finish(answered, browser, _place(call))
    return Reply(headers={**_cookie(call, opened.secret), "location": return_to})


# -- the table -------------------------------------------------------------------------------------------------------

_TAG: dict[str, Any] = {"tag": "Sessions"}
_AWAY = (LimitExceeded, NotFound, UpstreamFailed)
_COOKIE = {"Set-Cookie": "The session's secret, which scripts cannot read."}
ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST", path="/session", operation="openSession", summary="Log a browser in with a password",
        handler=log_in, request=words.LogIn, response=words.Session, status=201, auth=Auth.NONE, keyed=False,
        errors=(Unauthenticated, Forbidden, LimitExceeded, Conflict), answer_headers=_COOKIE, max_body=16 * 1024,
        examples={"ana": {"email": "ana@example.com", "password": "…", "tenant": "demo"}},
        description="409 where the password is good in several tenants: send `tenant`. Too many wrong ones: 429 with Retry-After.",
        **_TAG,
    ),
    Route(
        method="GET", path="/session", operation="getSession", summary="Who the cookie speaks for, and its `csrf`",
        handler=get_session, response=words.Session, errors=(NotFound,), **_TAG,
    ),
    Route(
        method="DELETE", path="/session", operation="closeSession", summary="Log out", handler=log_out, status=204,
        keyed=False, errors=(NotFound,), **_TAG,
    ),
    Route(
        method="GET", path="/me/sessions", operation="listMySessions", summary="Where one is logged in, newest first",
        handler=list_sessions, response=words.OwnSessions, **_TAG,
    ),
    Route(
        method="DELETE", path="/me/sessions/{id}", operation="closeMySession", summary="End one of one's sessions",
        handler=close_session, status=204, keyed=False, errors=(NotFound,), **_TAG,
    ),
    Route(
        method="GET", path="/login/providers", operation="listLogins", summary="Providers by which a tenant's users log in",
        handler=offered, query=words.OfferedQuery, response=words.OfferedList, auth=Auth.NONE, **_TAG,
    ),
    Route(
        method="GET", path="/login/callback", operation="finishLogin", summary="Where providers send browsers back",
        handler=callback, query=words.Callback, open_query=True, status=303, auth=Auth.NONE,
        errors=(*_AWAY, Forbidden), answer_headers={**_COOKIE, "Location": "The path that was wanted."}, **_TAG,
    ),
    Route(
        method="GET", path="/login/{tenant}/{provider}", operation="beginLogin", summary="Send a browser to a provider",
        handler=begin, query=words.Begin, status=303, auth=Auth.NONE, errors=_AWAY,
        answer_headers={"Location": "The provider's page, with state, nonce and a PKCE challenge."}, **_TAG,
    ),
)  # fmt: skip
