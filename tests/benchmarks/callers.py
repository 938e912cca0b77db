"""What it costs to know who calls: `python tests/benchmarks/callers.py` prints microseconds a call, medians of rounds.

In process, on SQLite: a signed access token, a named token, a browser's session and an access key, each remembered (as with
nearly every call) and at first sight (signature, if it has one, and database). Beside them a SHA-256 of the access token: what
no way of looking it up could do without.
"""

from __future__ import annotations

import asyncio
import secrets
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from penstock.config import Settings
from penstock.identity.keys import encode_key
from penstock.identity.tokens import RANDOM_BYTES, TOKEN, hash_secret, new_secret
from penstock.operations import access_keys
from penstock.operations.people import NewUser, seed
from penstock.operations.sessions import Place
from penstock.operations.signing import AUDIENCE
from penstock.store import people
from penstock.wiring.platform import Platform

ROUNDS, CALLS, FIRST = 15, 2_000, 100


async def timed(call: Callable[[], Awaitable[Any]], calls: int, before: Callable[[], None] | None = None) -> float:
    """Median over the rounds, in microseconds a call."""
    rounds = []
    for _ in range(ROUNDS):
        spent = 0
        for _ in range(calls):
            if before is not None:
                before()
            began = time.perf_counter_ns()
            await call()
            spent += time.perf_counter_ns() - began
        rounds.append(spent / calls / 1000)
    return statistics.median(rounds)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url, key = f"sqlite:///{folder}/penstock.db", encode_key(secrets.token_bytes(32))
        platform = Platform.build(Settings(database_url=url, data_dir=Path(folder), secret_key=key))
        try:
            await measure(platform)
        finally:
            platform.close()


async def measure(platform: Platform) -> None:
    user = NewUser(email="ana@example.com", password=secrets.token_urlsafe(), roles=("admin",))
    made = await seed(platform.operations, "bench", "Bench", [user])
    credentials, sessions = platform.credentials, platform.sessions
    access = (await credentials.application_token(made.application_id, made.application_secret)).access_token
    actor = await credentials.authenticate(access)
    named = new_secret(TOKEN, secrets.token_bytes(RANDOM_BYTES))
    given = (hash_secret(named), made.tenant.tid, actor.principal, AUDIENCE, 3_600_000)
    await platform.store.submit_async(lambda tx: people.add_token(tx, *given))
    pair, _ = await access_keys.create(platform.operations, actor, made.application_id, "key")
    opened = await sessions.log_in(user.email, user.password, None, Place())
    ways: list[tuple[str, Callable[[], Awaitable[Any]], Any]] = [
        ("access token (JWT)", lambda: credentials.authenticate(access), credentials._tokens),
        ("named token", lambda: credentials.authenticate(named), credentials._tokens),
        ("session", lambda: sessions.authenticate(opened.secret), sessions._known),
        ("access key", lambda: credentials.access_key(pair.ak), credentials._access),
    ]

    async def peer() -> str:
        return hash_secret(access)

    print(f"{'SHA-256 of the access token':28} {await timed(peer, CALLS):8.2f}")
    for name, call, memory in ways:
        await call()
        known, first = await timed(call, CALLS), await timed(call, FIRST, memory._known.clear)
        print(f"{name:28} {known:8.2f} remembered {first:8.0f} at first sight")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
