"""Sessions of browsers: a password or a provider opens one, its cookie's secret speaks for the user until it is closed or ends.

A session is a row, so that it can be ended: a node believes what it remembers of one for two seconds at most, and not once it
hears that this one has been closed, or that the tenant's people have changed.
"""

from __future__ import annotations

import logging
import secrets
from concurrent.futures import Future
from datetime import timedelta

import msgspec

from penstock.errors import Conflict, NotFound, Unauthenticated
from penstock.identity.model import Actor
from penstock.identity.tokens import RANDOM_BYTES, hash_secret, new_secret, proof
from penstock.operations.believing import Believed
from penstock.operations.context import Context, new_uuid
from penstock.operations.people import Credentials, actor_of
from penstock.store import journal, people, sessions
from penstock.store.fairness import STRANGERS, in_turn, of_tenant
from penstock.store.rows import Tx
from penstock.store.sessions import Row

log = logging.getLogger(__name__)
PREFIX = "pb"
SEEN_EVERY = 5 * 60 * 1000
"""Milliseconds between two notes that a session is in use, at least: a request costs no write."""
LONGEST_AGENT, LONGEST_SECRET = 200, 100


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """One log-in of a browser. Times in milliseconds."""

    id: str
    actor: Actor
    csrf: str
    """What goes with each change, and only pages of ours can read: a page of somebody else's can send the cookie, not this."""
    created_at: int
    seen_at: int
    expires_at: int
    """At the latest; sooner when it is not used."""
    provider: str | None
    address: str
    agent: str


class Opened(msgspec.Struct, frozen=True):
    """`secret` is the cookie's value, shown this once."""

    secret: str
    session: Session


class Place(msgspec.Struct, frozen=True):
    """Where somebody logs in from. `replaced`: the cookie that the browser had."""

    address: str = ""
    agent: str = ""
    replaced: str | None = None


class Sessions:
    """One for the whole server."""

    def __init__(
        self, ctx: Context, credentials: Credentials, key: bytes, lifetime: timedelta, idle: timedelta
    ) -> None:
        """`key` is the installation's: what proves a session's own page is made with it."""
        self._ctx = ctx
        self._credentials = credentials
        self._key = key
        self._lifetime = int(lifetime.total_seconds() * 1000)
        self._idle = int(idle.total_seconds() * 1000)
        self._known: Believed[Session] = Believed(credentials.changes)

    @property
    def seconds(self) -> int:
        """How long a browser is to keep the cookie."""
        return self._lifetime // 1000

    # -- opening -------------------------------------------------------------------------------------------------------

    async def log_in(self, email: str, password: str, tenant: str | None, place: Place) -> Opened:
        """With a password. `tenant` is a code.

        Raises: Unauthenticated, LimitExceeded, Conflict where the password fits the address in several tenants.
        """
        fitting = await self._credentials.users_of(email, password, place.address, tenant)
        if len(fitting) > 1:
            codes = ", ".join(sorted(user.tenant for user in fitting))
            raise Conflict(f"this address and password are good in several tenants: say which, of {codes}")
        (user,) = fitting
        secret, principal, good = new_session_secret(), f"user:{user.id}", user.hash or ""

        def unit(tx: Tx) -> bool:
            if not people.is_good(tx, user.tid, principal, good):
                return False
            self.open(tx, secret, user.tid, principal, place, None)
            return True

        with in_turn(of_tenant(user.tid)):
            done = await self._ctx.store.submit_async(unit)
        if not done:
            raise self._credentials.refused(principal)
        return await self.opened(secret)

    async def opened(self, secret: str) -> Opened:
        """What a unit has opened, once it is committed; counted."""
        self._credentials.count(ok=True)
        return Opened(secret, await self.authenticate(secret))

    def refused(self) -> None:
        """Somebody was not let in, whatever they came by; counted."""
        self._credentials.count(ok=False)

    def open(self, tx: Tx, secret: str, tid: int, principal: str, place: Place, provider: str | None) -> str:
        """In a unit; answers the session's id. The one the browser had before is closed: its secret stays behind."""
        id, agent = new_uuid(), _printable(place.agent)[:LONGEST_AGENT]
        if place.replaced is not None:
            self._close(tx, hash_secret(place.replaced))
        row = Row(
            hash_secret(secret), id, tid, principal, tx.now, tx.now, tx.now + self._lifetime, provider, place.address, agent
        )  # fmt: skip
        sessions.open(tx, row)
        data = {"address": place.address, "agent": agent, "provider": provider, "expires_at": row.expires_at}
        journal.record(tx, tid, principal, "session.opened", "session", id, data)
        return id

    # -- using ---------------------------------------------------------------------------------------------------------

    async def authenticate(self, secret: str) -> Session:
        """Whose session it is. Raises: Unauthenticated."""
        hashed = hash_secret(secret[:LONGEST_SECRET])
        known = self._known.get(hashed)
        figures = self._credentials.figures
        if known is not None:
            figures.hits += 1
            return known
        figures.misses += 1
        asked = self._credentials.changes.asked()
        found = await self._ctx.store.async_read(lambda read: sessions.session(read, hashed))
        row, who, at = found or (None, None, 0)
        left = 0 if row is None else min(row.expires_at, row.seen_at + self._idle) - at
        if row is None or who is None or who.disabled or left <= 0:
            self._known.drop(hashed)
            raise Unauthenticated("the session is not open (any more): log in")
        session = self._session(row, actor_of(who))
        self._known.keep(hashed, row.tid, session, asked, left)
        if at - row.seen_at > min(SEEN_EVERY, self._idle // 4):
            with in_turn(of_tenant(row.tid)):
                noted: Future[None] = self._ctx.store.submit(lambda tx: sessions.seen(tx, hashed), low=True)
            noted.add_done_callback(_tell)
        return session

    def _session(self, row: Row, actor: Actor) -> Session:
        return Session(
            id=row.id,
            actor=actor,
            csrf=proof(f"csrf {row.id}", self._key),
            created_at=row.created_at,
            seen_at=row.seen_at,
            expires_at=row.expires_at,
            provider=row.provider,
            address=row.address,
            agent=row.agent,
        )

    # -- closing -------------------------------------------------------------------------------------------------------

    async def log_out(self, secret: str) -> None:
        """Close the session of this secret; one that is closed already stays so."""
        hashed = hash_secret(secret[:LONGEST_SECRET])
        with in_turn(STRANGERS):
            await self._ctx.store.submit_async(lambda tx: self._close(tx, hashed))

    def _close(self, tx: Tx, session_hash: str) -> None:
        row = sessions.get(tx, session_hash)
        if row is None:
            return
        sessions.close(tx, session_hash)
        people.session_ended(tx, session_hash)
        journal.record(tx, row.tid, row.principal, "session.closed", "session", row.id, {})

    async def listed(self, actor: Actor) -> list[Session]:
        """One's own that are open, newest first; an application has none."""
        tid, principal = actor.tenant.tid, actor.principal
        rows, now = await self._ctx.store.async_read(lambda read: (sessions.of(read, tid, principal), read.now()))
        return [self._session(row, actor) for row in rows if min(row.expires_at, row.seen_at + self._idle) > now]

    async def close_own(self, actor: Actor, id: str) -> None:
        """Close one of one's own sessions. Raises: NotFound."""

        def unit(tx: Tx) -> None:
            for row in sessions.of(tx, actor.tenant.tid, actor.principal):
                if row.id == id:
                    self._close(tx, row.session_hash)
                    return
            raise NotFound("session", id)

        await self._ctx.store.submit_async(unit)


def new_session_secret() -> str:
    return new_secret(PREFIX, secrets.token_bytes(RANDOM_BYTES))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _tell(noted: Future[None]) -> None:
    error = noted.exception()
    if error is not None:
        log.warning("that a session is in use was not noted: %s", error)
