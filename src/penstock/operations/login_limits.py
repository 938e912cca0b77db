"""How often somebody may guess. Failures are counted in the database: all nodes see them, and a restart forgets none.

Counted three ways: for an account at an address, which is strict; for an account from everywhere, which is loose, and lets
those addresses through where the account has logged in before, so that a stranger locks nobody out; and for an address
whatever the account, against one guess at each of many. Who must wait is refused before a password is hashed. An account that
there is not is counted as one that there is: nothing tells them apart.

One address of e-mail may be a user of several tenants, and whoever administers one of them knows a password of "theirs" there.
So what goes well in one tenant makes up for no failure in another: a tenant that is named is counted for itself, and where
none is named only a password that is good in all of them clears what was counted.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from typing import NamedTuple, TypeVar

import structlog

from penstock.errors import LimitExceeded
from penstock.operations.context import Context
from penstock.store import journal, login_failures, people
from penstock.store.fairness import STRANGERS, in_turn
from penstock.store.login_failures import Row
from penstock.store.rows import Tx

log = structlog.get_logger(__name__)
T = TypeVar("T")
DAY = 24 * 3600 * 1000
LONGEST = 15 * 60 * 1000
"""Milliseconds of the longest wait."""
MOST_AT_ONCE = 100
"""Who may wait for their turn at one account from one address, on one node."""


class Rule(NamedTuple):
    """`free` failures cost nothing; then each makes a wait that is twice the one before. Forgotten after `quiet` ms without one."""

    free: int
    quiet: int

    def counted(self, row: Row | None, now: int) -> int:
        return 0 if row is None or now - row.last_at > self.quiet else row.failures

    def wait(self, failures: int) -> int:
        """Milliseconds to wait after so many failures."""
        over = failures - self.free
        return 0 if over < 0 else int(min(1000 * 2 ** min(over, 20), LONGEST))


PAIR = Rule(free=5, quiet=DAY)
ACCOUNT = Rule(free=50, quiet=DAY)
ADDRESS = Rule(free=200, quiet=DAY // 24)


class _Attempt(NamedTuple):
    """What one attempt is counted for: names of rows."""

    pair: str
    account: str
    address: str
    known: str
    """That the account has logged in from the address."""

    @classmethod
    def of(cls, account: str, address: str) -> _Attempt:
        where = network_of(address)
        return cls(
            _name("pair", account, where), _name("account", account), _name("address", where), _name("known", account, where)
        )  # fmt: skip

    @property
    def rules(self) -> tuple[tuple[str, Rule], ...]:
        return ((self.pair, PAIR), (self.account, ACCOUNT), (self.address, ADDRESS))


def network_of(address: str) -> str:
    """Where somebody is: an IPv4 address, or the /64 that one customer has of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return "unknown"
    if found.version == 4:
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ip_network((int(found), 64), strict=False))


def _name(*parts: str) -> str:
    """People write passwords where their name belongs: nothing of it can be read in the table."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class LoginLimits:
    """One for the whole server."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    async def guard(
        self,
        account: str,
        address: str,
        check: Callable[[], Awaitable[T | None]],
        *,
        tenant: str | None = None,
        whole: Callable[[T], bool] = lambda _: True,
    ) -> T | None:
        """What `check` finds; None is counted as a failure. `account` is `user:EMAIL` or `app:ID`, there or not; `tenant` is the
        code of the one that was named. `whole` tells whether what was found makes up for failures.

        Raises: LimitExceeded while the account at this address, or one of them everywhere, has failed too often.
        """
        attempt = _Attempt.of(account if tenant is None else f"{tenant}/{account}", address)
        async with self._turn(attempt.pair):
            rows, now = await self._require_no_wait(attempt)
            found = await check()
            if found is None:
                await self._failed(attempt, account, address, tenant)
            elif whole(found):
                await self._passed(attempt, rows, now)
        return found

    @asynccontextmanager
    async def _turn(self, pair: str) -> AsyncIterator[None]:
        """One after the other: guesses that come all at once would all be let in before the first has failed."""
        lock, users = self._turns.get(pair, (None, 0))
        lock = lock or asyncio.Lock()
        if users >= MOST_AT_ONCE:
            raise LimitExceeded("too many log-ins at once", retry_after=1)
        self._turns[pair] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            left = self._turns[pair][1] - 1
            if left:
                self._turns[pair] = (lock, left)
            else:
                del self._turns[pair]

    async def _require_no_wait(self, attempt: _Attempt) -> tuple[dict[str, Row], int]:
        rows, now = await self._ctx.store.async_read(lambda read: login_failures.several(read, attempt))
        asked = [attempt.pair] if attempt.known in rows else [attempt.pair, attempt.account, attempt.address]
        wait = max(rows[name].blocked_until - now if name in rows else 0 for name in asked)
        if wait > 0:
            seconds = -(-wait // 1000)
            raise LimitExceeded(f"too many failed log-ins: try again in {seconds} s", retry_after=seconds)
        return rows, now

    async def _failed(self, attempt: _Attempt, account: str, address: str, tenant: str | None) -> None:
        kind, _, name = account.partition(":")

        def unit(tx: Tx) -> int:
            rows = login_failures.held(tx, attempt)
            blocked = 0
            for subject, rule in attempt.rules:
                failures = rule.counted(rows.get(subject), tx.now) + 1
                wait = rule.wait(failures)
                login_failures.keep(tx, Row(subject, failures, tx.now, tx.now + wait))
                if failures == rule.free:
                    blocked = max(blocked, wait)
            for tid in people.tenants_of(tx, kind, name, tenant):
                about = {"address": address, "by": "password" if kind == "user" else "secret"}
                journal.record(tx, tid, journal.SYSTEM, "login.failed", kind, name, about)
                if blocked:
                    journal.record(tx, tid, journal.SYSTEM, "login.blocked", kind, name, about)
            return blocked

        with in_turn(STRANGERS):
            blocked = await self._ctx.store.submit_async(unit)
        # never the name: people write passwords there
        told = {"address": "unknown" if network_of(address) == "unknown" else address, "kind": kind}
        log.warning("login.failed", **told)
        if blocked:
            log.warning("login.blocked", **told, seconds=blocked // 1000)

    async def _passed(self, attempt: _Attempt, rows: dict[str, Row], now: int) -> None:
        """Written where it changes something: who has logged in here before, within a day, costs nothing."""
        known = rows.get(attempt.known)
        if attempt.pair not in rows and known is not None and now - known.last_at < DAY:
            return

        def unit(tx: Tx) -> None:
            login_failures.drop(tx, attempt.pair)
            login_failures.keep(tx, Row(attempt.known, 0, tx.now, 0))

        with in_turn(STRANGERS):
            await self._ctx.store.submit_async(unit)
