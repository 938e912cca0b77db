"""Who calls: credentials into tokens, tokens into actors. Simple for now; roles and sessions grow here."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import argon2
import msgspec

from penstock.errors import LimitExceeded, Unauthenticated
from penstock.identity.model import Actor, Kind, Tenant
from penstock.identity.tokens import RANDOM_BYTES, hash_secret, new_secret, same
from penstock.operations.context import Context, new_uuid
from penstock.store import people
from penstock.store.rows import Tx

AUDIENCE = "penstock"
REMEMBERED_SECONDS = 2.0
"""How long a token's answer is believed without a look: what is taken away stops working within it."""
MOST_REMEMBERED = 10_000
LONGEST_PASSWORD = 1_000


class Token(msgspec.Struct, frozen=True):
    """`expires_in` is seconds."""

    access_token: str
    expires_in: int
    token_type: str = "Bearer"  # noqa: S105 - a kind of token


class Credentials:
    """Checks secrets and tokens. One for the whole server: its pool bounds what passwords may cost."""

    def __init__(self, ctx: Context, token_seconds: int = 3600) -> None:
        self._ctx = ctx
        self._seconds = token_seconds
        self._known: OrderedDict[str, tuple[float, Actor]] = OrderedDict()
        """Until when a token's answer is believed, by the clock that never jumps."""
        self._hasher = argon2.PasswordHasher()
        self._pool = ThreadPoolExecutor(1, "penstock-argon2")
        self._waiting = 0

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def application_token(self, id: str, secret: str) -> Token:
        """A token for an application's id and secret. Raises: Unauthenticated."""
        found = await self._ctx.store.async_read(lambda read: people.application(read, id))
        given = hash_secret(secret)
        if found is None or found.hash is None or not same(found.hash, given) or found.disabled:
            raise Unauthenticated("no application with this id and secret")
        return await self._issue(found.tid, f"app:{found.id}")

    async def user_token(self, email: str, password: str) -> Token:
        """A token for a user's e-mail address and password.

        Raises: Unauthenticated, LimitExceeded when too many passwords wait to be checked.
        """
        if len(password) > LONGEST_PASSWORD:
            raise Unauthenticated("no user with this e-mail address and password")
        found = await self._ctx.store.async_read(lambda read: people.users(read, email.lower()))
        candidates = [user for user in found if user.hash is not None and not user.disabled]
        for user in candidates:
            if await self._verify(user.hash or "", password):
                return await self._issue(user.tid, f"user:{user.id}")
        if not candidates:
            # as slow as a wrong password: the time must not tell whether the address is known
            await self._verify(_NOBODY, password)
        raise Unauthenticated("no user with this e-mail address and password")

    async def _verify(self, hash: str, password: str) -> bool:
        if self._waiting >= 32:
            raise LimitExceeded("too many log-ins at once", retry_after=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._matches, hash, password)
        finally:
            self._waiting -= 1

    def _matches(self, hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(hash, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False

    async def _issue(self, tid: int, principal: str) -> Token:
        token = new_secret("pt", secrets.token_bytes(RANDOM_BYTES))
        hashed, lifetime = hash_secret(token), self._seconds * 1000
        await self._ctx.store.submit_async(lambda tx: people.add_token(tx, hashed, tid, principal, AUDIENCE, lifetime))
        return Token(token, self._seconds)

    async def authenticate(self, token: str) -> Actor:
        """Who a bearer token speaks for. Raises: Unauthenticated."""
        hashed = hash_secret(token)
        now = time.monotonic()
        known = self._known.get(hashed)
        if known is not None and known[0] > now:
            return known[1]
        found = await self._ctx.store.async_read(lambda read: people.principal(read, hashed))
        if found is None or found.disabled or found.left <= 0:
            self._known.pop(hashed, None)
            raise Unauthenticated("the token is not valid (any more)")
        actor = actor_of(found)
        self._known[hashed] = (now + min(REMEMBERED_SECONDS, found.left / 1000), actor)
        if len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
        return actor


def actor_of(found: people.Principal) -> Actor:
    """A principal, as it acts."""
    return Actor(
        tenant=Tenant(tid=found.tid, id=found.tenant_id, code=found.tenant_code),
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
        people.add_application(tx, tid, app, f"{name}: first application", hash_secret(secret))
        groups: dict[str, int] = {}
        for user, hash, id in zip(users, hashes, ids, strict=True):
            uid = people.add_user(tx, tid, id, user.email, user.name or user.email, hash, user.roles)
            for group in user.groups:
                if group not in groups:
                    groups[group] = people.add_group(tx, tid, group, group.title())
                people.add_member(tx, groups[group], uid)
        return tid

    tid = await ctx.store.submit_async(unit)
    return Seeded(Tenant(tid=tid, id=tenant, code=code), app, secret)
