"""Who calls: credentials into tokens, tokens into actors; and the first people of a new tenant."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import argon2
import msgspec

from penstock.errors import Invalid, LimitExceeded, Problem, Unauthenticated, Unavailable
from penstock.identity.keys import Unreadable
from penstock.identity.model import Actor, Kind, Tenant, fold_email
from penstock.identity.policy import ADMIN
from penstock.identity.signed import LONGEST, Refused, is_signed
from penstock.identity.tokens import RANDOM_BYTES, TOKEN, hash_secret, new_secret, proof, same
from penstock.operations.believing import Believed, Changes
from penstock.operations.context import Context, new_uuid
from penstock.operations.login_limits import LoginLimits
from penstock.operations.signing import AUDIENCE, Signing
from penstock.store import access_keys, held_tokens, journal, people
from penstock.store.fairness import in_turn, of_tenant
from penstock.store.rows import Tx
from penstock.telemetry.figures import IdentityFigures

T = TypeVar("T")
_AK = re.compile(r"[\w-]{1,64}", re.ASCII)
SHORTEST_PASSWORD, LONGEST_PASSWORD = 8, 1_000
MOST_WAITING = 32
"""Passwords that may wait to be hashed or checked."""


class Token(msgspec.Struct, frozen=True):
    """`expires_in` is seconds."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - a kind of token


class Session(msgspec.Struct, frozen=True):
    """A log-in of which a browser may keep the token and has to send the proof as well."""

    id: str
    token: str
    """Good wherever an access token is: it is one, and names its session."""
    proof: str
    """Against forged requests: goes with this session alone."""
    name: str
    actor: Actor


class _Bearer(NamedTuple):
    """What is remembered of a token. `sid` and `name` are what it says of a log-in; "" where it is none."""

    actor: Actor
    sid: str
    name: str


class Credentials:
    """Checks secrets and tokens. One for the whole server: its pool bounds what passwords may cost."""

    def __init__(self, ctx: Context, signing: Signing, token_seconds: int = 3600) -> None:
        self._ctx = ctx
        self._signing = signing
        self._seconds = token_seconds
        self.changes = Changes(ctx.store)
        self._tokens: Believed[_Bearer] = Believed(self.changes)
        self._access: Believed[tuple[str, Actor]] = Believed(self.changes)
        self._hasher = argon2.PasswordHasher()
        self.figures = IdentityFigures()
        self._pool = ThreadPoolExecutor(1, "penstock-argon2")
        self._waiting = 0
        self.limits = LoginLimits(ctx)

    @property
    def waiting(self) -> int:
        """Passwords that wait to be hashed or checked, or are."""
        return self._waiting

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def application_token(self, id: str, secret: str, address: str = "") -> Token:
        """A token for an application's id and secret. Raises: Unauthenticated, LimitExceeded."""
        found = await self._application(id, secret, address)
        return await self._issue(found, f"app:{found.id}", {"client_id": found.id})

    async def _application(self, id: str, secret: str, address: str) -> people.Secret:
        """`hash` is the one of what was given: of the secret, or of the one before."""

        async def check() -> people.Secret | None:
            found = await self._ctx.store.async_read(lambda read: people.application(read, id))
            given = hash_secret(secret)
            good = found is not None and _is_secret(found, given)
            return found._replace(hash=given) if found is not None and good and not found.disabled else None

        found = None
        if len(id) <= LONGEST_PASSWORD and len(secret) <= LONGEST_PASSWORD:
            found = await self.limits.guard(f"app:{id}", address, check)
        if found is None:
            raise self.refused("app:")
        return found

    async def user_token(self, email: str, password: str, address: str = "") -> Token:
        """A token for a user's e-mail address and password; where it fits in several tenants, of the oldest of them.

        Raises: Unauthenticated, LimitExceeded when too many passwords wait to be checked, or have been wrong.
        """
        user = (await self.users_of(email, password, address))[0]
        return await self._issue(user, f"user:{user.id}", {})

    async def users_of(self, email: str, password: str, address: str, tenant: str | None = None) -> list[people.Secret]:
        """Who this password fits: one user, or more where the same person is in several tenants, by `tid`.

        Raises: Unauthenticated, LimitExceeded.
        """
        asked = fold_email(email) if len(email) <= LONGEST_PASSWORD else ""
        candidates: list[people.Secret] = []

        async def check() -> list[people.Secret] | None:
            nonlocal candidates
            found = await self._ctx.store.async_read(lambda read: people.users(read, asked))
            candidates = [user for user in found if user.hash is not None and not user.disabled]
            candidates = [user for user in candidates if tenant is None or user.tenant == tenant]
            if not candidates:
                # as slow as a wrong password: the time must not tell whether the address is known
                await self._verify(_NOBODY, password)
            return [user for user in candidates if await self._verify(user.hash or "", password)] or None

        fitting = None
        if asked and len(password) <= LONGEST_PASSWORD:
            fitting = await self.limits.guard(
                f"user:{asked}", address, check, tenant=tenant, whole=lambda fitting: len(fitting) == len(candidates)
            )
        if fitting is None:
            raise self.refused("user:")
        return fitting

    def refused(self, principal: str) -> Unauthenticated:
        """What to raise where a password or secret is not good; counted."""
        self.count(ok=False)
        if principal.startswith("user:"):
            return Unauthenticated("no user with this e-mail address and password")
        return Unauthenticated("no application with this id and secret")

    def count(self, *, ok: bool) -> None:
        """That somebody has logged in, or was refused, by whatever way. On the event loop."""
        if ok:
            self.figures.log_ins += 1
        else:
            self.figures.refused += 1

    async def hash_password(self, password: str, pointer: str = "/password") -> str:
        """What is kept of a new password. Raises: Invalid for one too short or too long, LimitExceeded."""
        check_password(password, pointer)
        return await self._in_pool(self._hasher.hash, password)

    async def matches(self, hash: str | None, password: str) -> bool:
        """Whether it is the password of which this was kept. Raises: LimitExceeded."""
        return hash is not None and len(password) <= LONGEST_PASSWORD and await self._verify(hash, password)

    async def _verify(self, hash: str, password: str) -> bool:
        return await self._in_pool(self._matches, hash, password)

    async def _in_pool(self, work: Callable[..., T], *given: str) -> T:
        if self._waiting >= MOST_WAITING:
            raise LimitExceeded("too many passwords at once", retry_after=2)
        self._waiting += 1
        self.figures.hashed += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *given)
        finally:
            self._waiting -= 1

    def _matches(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def open_session(self, name: str, secret: str, key: bytes, address: str = "") -> Session:
        """Log in with an e-mail address and password, or an application's id and secret. `key` makes the proof.

        Raises: Unauthenticated, LimitExceeded.
        """
        id = new_uuid()
        if "@" in name:
            who = (await self.users_of(name, secret, address))[0]
            principal, more = f"user:{who.id}", {"name": who.name, "sid": id}
        else:
            who = await self._application(name, secret, address)
            principal, more = f"app:{who.id}", {"client_id": who.id, "name": who.name, "sid": id}
        made = await self._issue(who, principal, more, held_tokens.SESSION)
        token = made.access_token
        return Session(id, token, proof(f"session {id}", key), who.name, await self.authenticate(token))

    async def session(self, token: str, given: str, key: bytes) -> Session:
        """The session a token and its proof are of. Raises: Unauthenticated."""
        hashed = _hashed(token)
        bearer = self._remembered(hashed) or await self._look(token, hashed)
        known = proof(f"session {bearer.sid}", key)
        if not bearer.sid or not same(given, known):
            raise Unauthenticated("the session is not valid (any more)")
        return Session(bearer.sid, token, known, bearer.name, bearer.actor)

    async def _issue(
        self, proved: people.Secret, principal: str, more: dict[str, str], kind: str = held_tokens.ACCESS
    ) -> Token:
        """`proved`: whose password or secret was found good. Raises: Unauthenticated where it is so no more."""
        tid, good = proved.tid, proved.hash or ""
        tenant, now = await self._ctx.store.async_read(lambda read: (people.public_id(read, tid), read.now()))
        id, begins = new_uuid(), now // 1000
        ends = begins + self._seconds
        times = {"iat": begins, "nbf": begins, "exp": ends}
        token = await self._signing.sign({"sub": principal, "tenant": tenant, "jti": id, **times, **more})
        hashed = hash_secret(token)
        issued = {"audience": AUDIENCE, "expires_in": self._seconds, "id": id}

        def unit(tx: Tx) -> bool:
            if not people.is_good(tx, tid, principal, good):
                return False
            people.add_token(tx, hashed, tid, principal, AUDIENCE, ends * 1000 - tx.now, id=id, kind=kind)
            journal.record(tx, tid, principal, "token.issued", "token", principal, issued)
            return True

        with in_turn(of_tenant(tid)):
            done = await self._ctx.store.submit_async(unit)
        if not done:
            raise self.refused(principal)
        self.count(ok=True)
        return Token(token, self._seconds)

    async def authenticate(self, token: str) -> Actor:
        """Who a bearer token speaks for. Raises: Unauthenticated."""
        hashed = _hashed(token)
        return (self._remembered(hashed) or await self._look(token, hashed)).actor

    def _remembered(self, hashed: str) -> _Bearer | None:
        known = self._tokens.get(hashed)
        if known is not None:
            self.figures.hits += 1
        return known

    async def _look(self, token: str, hashed: str) -> _Bearer:
        self.figures.misses += 1
        before = self._tokens.last(hashed)  # then its signature was good, and whether its time is up the row says
        sid, name = await self._said(token) if before is None else before[1:]
        asked = self.changes.asked()
        found = await self._ctx.store.async_read(lambda read: people.principal(read, hashed, AUDIENCE))
        if found is None or found.disabled or found.left <= 0:
            self._tokens.drop(hashed)
            raise Refused("the token is not valid (any more)")
        bearer = _Bearer(actor_of(found), sid, name)
        self._tokens.keep(hashed, found.tid, bearer, asked, found.left)
        return bearer

    async def _said(self, token: str) -> tuple[str, str]:
        """Its `sid` and `name`. Raises: Unauthenticated for what was not issued here, before the database is asked."""
        if is_signed(token):
            claims = await self._signing.check(token)
            return str(claims.get("sid", "")), str(claims.get("name", ""))
        if not token.startswith(TOKEN):
            raise Refused("the token is not of a form that is issued here")
        return "", ""

    async def access_key(self, ak: str) -> tuple[str, Actor]:
        """The SK that requests of this AK are signed with, and whom they speak for.

        Raises: Unauthenticated for one there is not, or that is disabled, or whose owner is; Unavailable where it cannot be read.
        """
        known = self._access.get(ak)
        if known is not None:
            return known
        asked = self.changes.asked()
        found = None
        if _AK.fullmatch(ak):
            found = await self._ctx.store.async_read(lambda read: access_keys.owner(read, ak))
        if found is None or found[0].disabled or found[1].disabled:
            self._access.drop(ak)
            raise Unauthenticated("no access key with this AK")
        row, actor = found[0], actor_of(found[1])
        pair = self._opened(row, actor.tenant.id), actor
        self._access.keep(ak, row.tid, pair, asked)
        return pair

    def _opened(self, row: access_keys.Row, tenant: str) -> str:
        try:
            if self._ctx.keys is None:
                raise Unreadable("this installation has no secret_key")
            return self._ctx.keys.open(row.key, row.value, access_keys.bound_to(tenant, row.ak))
        except Unreadable as error:
            raise Unavailable(f"the access key cannot be read: {error.message}") from None


def check_password(password: str, pointer: str = "/password") -> None:
    """Raises: Invalid for one too short or too long."""
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        message = f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters"
        raise Invalid(message, [Problem(pointer, message, "length")])


def _hashed(token: str) -> str:
    """Raises: Unauthenticated for what is longer than any token."""
    if len(token) > LONGEST:
        raise Refused(f"the token is longer than {LONGEST} characters")
    return hash_secret(token)


def _is_secret(found: people.Secret, given: str) -> bool:
    """Whether it is the application's secret, or the one before while that is good."""
    good = found.hash is not None and same(found.hash, given)
    old = found.old_hash is not None and same(found.old_hash, given) and found.old_left > 0
    return good or old


def actor_of(found: people.Principal) -> Actor:
    """A principal, as it acts."""
    return Actor(
        tenant=Tenant(tid=found.tid, id=found.tenant_id, code=found.tenant_code, quotas=found.quotas),
        principal=found.principal,
        kind=Kind.USER if found.principal.startswith("user:") else Kind.APPLICATION,
        groups=frozenset(found.groups),
        roles=frozenset(found.roles),
    )


_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


class NewUser(msgspec.Struct, frozen=True):
    email: str
    password: str
    name: str = ""
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class Seeded(msgspec.Struct, frozen=True):
    """What was made for a new tenant, secrets in clear: shown this once."""

    tenant: Tenant
    application_id: str
    application_secret: str


async def seed(
    ctx: Context,
    code: str,
    name: str,
    users: list[NewUser],
    tenant_id: str | None = None,
    application: tuple[str, str] | None = None,
) -> Seeded:
    """A tenant with an application (its id and secret where they are chosen already) and users."""
    hasher = argon2.PasswordHasher()
    hashes = [hasher.hash(user.password) for user in users]
    ids = [new_uuid() for _ in users]
    tenant = tenant_id or new_uuid()
    app, secret = application or (new_uuid(), new_secret("ps", secrets.token_bytes(RANDOM_BYTES)))

    def unit(tx: Tx) -> int:
        tid = people.add_tenant(tx, tenant, code, name)

        def record(type: str, kind: str, id: str, **data: Any) -> None:
            journal.record(tx, tid, journal.SYSTEM, type, kind, id, data)

        record("tenant.created", "tenant", code, name=name)
        record("application.created", "application", app, name=f"{name}: first application")
        people.add_application(tx, tid, app, f"{name}: first application", hash_secret(secret), (ADMIN,))
        groups: dict[str, int] = {}
        for user, hash, id in zip(users, hashes, ids, strict=True):
            uid = people.add_user(tx, tid, id, user.email, user.name or user.email, hash, user.roles)
            record("user.created", "user", user.email.lower(), name=user.name, roles=user.roles, groups=user.groups)
            for group in user.groups:
                if group not in groups:
                    groups[group] = people.add_group(tx, tid, group, group.title())
                    record("group.created", "group", group, name=group.title())
                people.add_member(tx, groups[group], uid)
        return tid

    tid = await ctx.store.submit_async(unit)
    return Seeded(Tenant(tid=tid, id=tenant, code=code), app, secret)
