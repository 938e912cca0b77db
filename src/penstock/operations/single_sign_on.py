"""Log-ins that go through a provider of identity: OpenID Connect's code flow, with state, nonce and PKCE.

A browser leaves with a state, which is kept as a hash, good once, for ten minutes, and in the browser that has begun alone.
Nonce and verifier are made from the state by the installation's key, so that nobody can read them anywhere. What comes back is
believed only after every check of `identity.oidc`; then, in one unit, the user is found or made and the session opened.
"""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from penstock.errors import (
    Conflict,
    Forbidden,
    Invalid,
    LimitExceeded,
    NotFound,
    PenstockError,
    Problem,
    UpstreamFailed,
)
from penstock.identity.model import MAX_NAME, is_code
from penstock.identity.oidc import (
    Claims,
    Endpoints,
    Person,
    Untrusted,
    challenge,
    check_claims,
    local_path,
    person,
)
from penstock.identity.policy import OPERATOR
from penstock.identity.tokens import RANDOM_BYTES, hash_secret, new_secret, proof, same
from penstock.operations.context import Context, Remembered, new_uuid
from penstock.operations.login_limits import network_of
from penstock.operations.provider_calls import Client, ProviderCalls
from penstock.operations.providers import Spec, secret_of, spec_of
from penstock.operations.sessions import Opened, Place, Sessions, new_session_secret
from penstock.outbound import Outbound
from penstock.store import directory, journal, people, providers, sessions
from penstock.store.directory import UserRow
from penstock.store.fairness import STRANGERS, in_turn, of_tenant
from penstock.store.rows import USERS, Tx
from penstock.store.sessions import State

log = logging.getLogger(__name__)
MINUTES = 10
"""For which a browser may be away."""
MOST_BEGUN = 300
"""Log-ins a node begins for one address in a minute: each is a row."""
CALLBACK = "/api/v1/login/callback"
_SHOWN = 200
_LONG = len("pb_") + 43
"""Characters of what a browser's cookie holds."""


class Leaving:
    """Where the browser is sent, and what its cookie has to hold when it comes back."""

    __slots__ = ("browser", "location")

    def __init__(self, location: str, browser: str) -> None:
        self.location = location
        self.browser = browser


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What the provider has sent the browser back with."""

    state: str | None = None
    code: str | None = None
    error: str | None = None
    description: str | None = None
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class _Provider:
    """A tenant's provider, whole."""

    tid: int
    tenant: str
    code: str
    spec: Spec
    secret: str | None
    trusted_by: str
    """Who answers for issuer and client."""
    revision: int


class Origin:
    """Where browsers reach this server: what the operator says, or where it listens."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")


class SingleSignOn:
    """One for the whole server."""

    def __init__(self, ctx: Context, client: Outbound, open_: Sessions, key: bytes, origin: Origin) -> None:
        """`key` is the installation's."""
        self._ctx = ctx
        self._calls = ProviderCalls(client)
        self._sessions = open_
        self._key = key
        self._origin = origin
        self._begun: Remembered[str, tuple[float, int]] = Remembered(10_000)
        self._told: Remembered[tuple[int, str], float] = Remembered(10_000)

    @property
    def redirect_uri(self) -> str:
        """What a provider has to know this server by."""
        return self._origin.url + CALLBACK

    # -- leaving -------------------------------------------------------------------------------------------------------

    async def begin(self, tenant: str, code: str, return_to: str, browser: str | None, address: str) -> Leaving:
        """Send a browser to a provider. `browser` is what its cookie holds already, from a log-in that goes on beside this.

        Raises: NotFound, Invalid, LimitExceeded, Unavailable, UpstreamFailed.
        """
        if not local_path(return_to):
            message = "must be a path on this host, as /tasks"
            raise Invalid(f"return_to: {message}", [Problem("return_to", message, "url")])
        self._require_few(address)
        provider = await self._provider(tenant, code)
        at = await self._endpoints(provider)
        state = _random("po")
        mine = browser if browser is not None and len(browser) == _LONG else _random("pb")

        def unit(tx: Tx) -> None:
            until = tx.now + MINUTES * 60_000
            sessions.leave(tx, State(hash_secret(state), provider.tid, code, hash_secret(mine), return_to, until))

        with in_turn(STRANGERS):
            await self._ctx.store.submit_async(unit)
        asked = {
            "response_type": "code",
            "client_id": provider.spec.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(provider.spec.scopes),
            "state": state,
            "nonce": self._nonce(state),
            "code_challenge": challenge(self._verifier(state)),
            "code_challenge_method": "S256",
        }
        joint = "&" if "?" in at.authorization_endpoint else "?"
        return Leaving(f"{at.authorization_endpoint}{joint}{urlencode(asked)}", mine)

    def _require_few(self, address: str) -> None:
        where, now = network_of(address), time.monotonic()
        since, begun = self._begun.get(where, (now, 0))
        if now - since > 60:
            since, begun = now, 0
        if begun >= MOST_BEGUN:
            raise LimitExceeded("too many log-ins begun: wait a minute", retry_after=60)
        self._begun[where] = (since, begun + 1)

    async def _provider(self, tenant: str, code: str) -> _Provider:
        found = await self._ctx.store.async_read(lambda read: providers.at(read, tenant, code))
        return self._whole(tenant, code, found)

    def _whole(self, tenant: str, code: str, found: tuple[str, providers.Row] | None) -> _Provider:
        spec = None if found is None else spec_of(found[1])
        if found is None or spec is None or not spec.enabled:
            raise NotFound("provider", f"{tenant}/{code}" if tenant else code)
        id, row = found
        try:
            secret = secret_of(self._ctx.keys, id, row)
        except Conflict as error:
            log.warning("the secret for the provider %s of tenant %s is not readable: %s", code, id, error.message)
            raise UpstreamFailed(f"{spec.name} cannot be asked; the server's log says more") from None
        return _Provider(row.tid, id, code, spec, secret, row.trusted_by, row.revision)

    async def _endpoints(self, provider: _Provider) -> Endpoints:
        try:
            return await self._calls.endpoints(provider.spec.issuer)
        except Untrusted as lie:
            raise self._distrust(provider, lie) from None

    # -- coming back ---------------------------------------------------------------------------------------------------

    async def finish(self, answered: Answered, browser: str | None, place: Place) -> tuple[Opened, str]:
        """The session, and the path where the browser wanted to be. Nothing is made unless all of it goes well.

        Raises: Invalid (a state that is unknown, used, late or another browser's), Forbidden, Unavailable, UpstreamFailed,
        NotFound where the provider was removed or disabled meanwhile, or its tenant was.
        """
        state = answered.state or ""
        kept = await self._come_back(state, browser)
        found = await self._ctx.store.async_read(lambda read: providers.of(read, kept.tid, kept.provider))
        provider = self._whole("", kept.provider, found)
        try:
            who = await self._vouched(provider, state, answered)
        except Untrusted as lie:
            error: PenstockError = self._distrust(provider, lie)
            await self._tell(provider, error, place)
            raise error from None
        except PenstockError as failure:
            await self._tell(provider, failure, place)
            raise
        return await self._log_in(provider, who, place), kept.return_to

    async def _come_back(self, state: str, browser: str | None) -> State:
        def unit(tx: Tx) -> State | None:
            found = sessions.come_back(tx, hash_secret(state))
            return found if found is not None and found.expires_at > tx.now else None

        with in_turn(STRANGERS):
            kept = await self._ctx.store.submit_async(unit) if state else None
        if kept is None or browser is None or not same(hash_secret(browser), kept.browser_hash):
            message = f"this log-in was not begun in this browser within {MINUTES} minutes, or is done: begin again"
            raise Invalid(message, [Problem("state", message, "unknown")])
        return kept

    async def _vouched(self, provider: _Provider, state: str, answered: Answered) -> Person:
        """Raises: Untrusted, Forbidden, Unavailable, UpstreamFailed."""
        spec = provider.spec
        at = await self._calls.endpoints(spec.issuer)
        if answered.issuer is None and at.authorization_response_iss_parameter_supported:
            raise Untrusted("it did not say who it is")
        if answered.issuer is not None and answered.issuer != spec.issuer:
            raise Untrusted("another issuer has answered")
        if answered.error is not None:
            why = _printable(": ".join(filter(None, (answered.error, answered.description))))
            raise Forbidden(f"{spec.name} has refused the log-in: {why}")
        if not answered.code:
            raise Untrusted("it sent neither a code nor an error")
        client = Client(spec.client_id, provider.secret, self.redirect_uri)
        tokens = await self._calls.exchange(at, client, answered.code, self._verifier(state))
        claims = await self._calls.verified(at, tokens.id_token)
        subject = check_claims(
            claims, issuer=spec.issuer, client_id=spec.client_id, nonce=self._nonce(state), now=time.time()
        )  # fmt: skip
        if tokens.access_token is not None and _wants_more(claims, spec):
            claims = {**await self._calls.userinfo(at, tokens.access_token, subject), **claims}
        return person(subject, claims, spec.groups_claim)

    def _verifier(self, state: str) -> str:
        return proof(f"verifier {state}", self._key)

    def _nonce(self, state: str) -> str:
        return proof(f"nonce {state}", self._key)

    # -- who it is -----------------------------------------------------------------------------------------------------

    async def _log_in(self, provider: _Provider, who: Person, place: Place) -> Opened:
        secret = new_session_secret()

        def unit(tx: Tx) -> str | PenstockError:
            people.hold(tx, provider.tid)
            away = _away(tx, provider)
            if away is not None:
                return away
            try:
                user = self._user(tx, provider, who)
            except Forbidden as refusal:
                data = {"provider": provider.code, "address": place.address, "why": refusal.message}
                if directory.user(tx, provider.tid, who.email) is not None:
                    journal.record(tx, provider.tid, journal.SYSTEM, "login.failed", "user", who.email, data)
                return refusal
            if who.groups is not None:
                _regroup(tx, provider, user, who.groups)
            return self._sessions.open(tx, secret, provider.tid, f"user:{user.email}", place, provider.code)

        with in_turn(of_tenant(provider.tid)):
            opened = await self._ctx.store.submit_async(unit)
        if isinstance(opened, PenstockError):
            self._sessions.refused()
            log.warning("%s of tenant %s: %s", provider.code, provider.tenant, opened.message)
            raise opened
        return await self._sessions.opened(secret)

    def _user(self, tx: Tx, provider: _Provider, who: Person) -> UserRow:
        """The user this is. A subject, once bound, is the user; the address only leads to the one it is bound to first.

        Raises: Forbidden, before anything is written.
        """
        spec, tid = provider.spec, provider.tid
        if spec.domains and who.email.rpartition("@")[2] not in spec.domains:
            raise Forbidden(f"addresses of this domain may not log in by {spec.name}")
        known = providers.user_known_as(tx, tid, spec.issuer, who.subject)
        user = known or directory.user(tx, tid, who.email)
        if user is None:
            if not spec.create_users:
                raise Forbidden(f"there is no user {who.email}: an administrator has to make one")
            user = _made(tx, provider, who)
        elif known is None and providers.subject_of(tx, user.uid, spec.issuer) is not None:
            raise Forbidden(f"{spec.name} knows the user {user.email} as somebody else: an administrator has to look")
        if user.disabled:
            raise Forbidden("the account is disabled")
        if OPERATOR in directory.roles_of(user) and not _is_operator(tx, tid, provider.trusted_by):
            # administrators choose the tenant's providers: they could else have one vouch for an operator
            raise Forbidden(
                f"the account has the role {OPERATOR}, and no operator has set up {spec.name}: use the password"
            )
        if known is None:
            providers.bind(tx, tid, spec.issuer, who.subject, user.uid)
        return user

    # -- what went wrong -----------------------------------------------------------------------------------------------

    def _distrust(self, provider: _Provider, lie: Untrusted) -> UpstreamFailed:
        log.warning("the provider %s of tenant %s is not believed: %s", provider.code, provider.tenant, lie)
        return UpstreamFailed(f"{provider.spec.name} cannot log anybody in: {lie}")

    async def _tell(self, provider: _Provider, error: PenstockError, place: Place) -> None:
        """In the journal; of each provider once a minute, for strangers can make this happen."""
        now, of = time.monotonic(), (provider.tid, provider.code)
        if now - self._told.get(of, float("-inf")) < 60:
            return
        self._told[of] = now
        data = {"why": error.message, "address": place.address}

        def unit(tx: Tx) -> None:
            journal.record(tx, provider.tid, journal.SYSTEM, "login.failed", "provider", provider.code, data)

        with in_turn(STRANGERS):
            await self._ctx.store.submit_async(unit)


def _away(tx: Tx, provider: _Provider) -> PenstockError | None:
    """Why nobody comes from there any more: what was believed while the provider was asked may not be so now."""
    row = providers.NAMED.lock(tx, provider.tid, provider.code)
    if row is None or not spec_of(row).enabled or people.settings(tx, provider.tid).disabled:
        return NotFound("provider", provider.code)
    if row.revision != provider.revision:
        return Forbidden(f"{provider.spec.name} was changed in this moment: begin again")
    return None


def _is_operator(tx: Tx, tid: int, principal: str) -> bool:
    kind, _, id = principal.partition(":")
    row = directory.user(tx, tid, id) if kind == "user" else directory.application(tx, tid, id)
    return row is not None and not row.disabled and OPERATOR in directory.roles_of(row)


def _wants_more(claims: Claims, spec: Spec) -> bool:
    """Many providers put into the ID token who it is, and tell the rest when asked."""
    wanted = ["email", *([spec.groups_claim] if spec.groups_claim is not None else [])]
    return any(name not in claims for name in wanted)


def _made(tx: Tx, provider: _Provider, who: Person) -> UserRow:
    name = who.name if 0 < len(who.name) <= MAX_NAME and who.name.isprintable() else who.email
    people.add_user(tx, provider.tid, new_uuid(), who.email, name, None)
    data: dict[str, Any] = {"name": name, "roles": [], "groups": [], "password": False, "provider": provider.code}
    journal.record(tx, provider.tid, journal.SYSTEM, "user.created", "user", who.email, data)
    made = directory.user(tx, provider.tid, who.email)
    assert made is not None, "it was made"
    return made


def _regroup(tx: Tx, provider: _Provider, user: UserRow, told: tuple[str, ...]) -> None:
    """The groups of the tenant that the provider names are the user's; what else it names is nothing here."""
    tid = provider.tid
    before = directory.groups_of(tx, [user.uid])[user.uid]
    groups = providers.groups_among(tx, tid, {*before, *filter(is_code, told)})
    known = groups.keys() & set(told)
    if known == set(before):
        return
    for code in before:
        if code not in known:
            people.drop_member(tx, groups[code], user.uid)
    for code in known.difference(before):
        people.add_member(tx, groups[code], user.uid)
    tx.patch(USERS, (user.uid,), {"rev": user.rev + 1})
    people.changed(tx, tid)
    data = {"groups": sorted(known), "provider": provider.code}
    journal.record(tx, tid, journal.SYSTEM, "user.changed", "user", user.email, data)


def _random(prefix: str) -> str:
    return new_secret(prefix, secrets.token_bytes(RANDOM_BYTES))


def _printable(text: str) -> str:
    """What a provider says, as it may be shown: one line, not long."""
    return "".join(character if character.isprintable() else " " for character in text)[:_SHOWN]
