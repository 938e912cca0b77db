"""Keeps the database from growing without end: removes what is older than the operator wants to keep."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from penstock.errors import PenstockError
from penstock.store import Store, bulks, idempotency, login_failures, messages, people, retention, sessions
from penstock.store.rows import Tx

log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between clean-ups."""
CHUNK = 100
"""Processes removed in one unit."""
ROWS = 1_000
"""Other rows removed in one unit."""
LOOKING = 60.0
"""Seconds a look for old processes may take."""
ANSWERS_KEPT = 24 * 3600 * 1000
"""Milliseconds an answer is kept under its idempotency key."""

FAILURES_KEPT = 30 * 24 * 3600 * 1000
"""Milliseconds that failed log-ins are kept, and which addresses an account is known at."""
REPORTS_KEPT = 90 * 24 * 3600 * 1000
"""Milliseconds a bulk operation and its report are kept after its end."""


async def run(store: Store, days: int | None) -> None:
    """Clean up now and then, until cancelled. `days` None: processes are kept for ever."""
    while True:
        try:
            # not by this node's clock: what has not expired for the others would be gone
            removed = await clean(store, days, await store.submit_async(lambda tx: tx.now))
            if removed:
                log.info("retention removed %d processes", removed)
        except PenstockError as error:
            log.warning("retention waits: %s", error.message)
        await asyncio.sleep(EVERY)


async def clean(store: Store, days: int | None, now: int) -> int:
    """One clean-up; answers how many processes went."""
    for forget, before in (
        (people.forget_tokens, now),
        (sessions.forget, now),
        (sessions.forget_states, now),
        (login_failures.forget, now - FAILURES_KEPT),
        (messages.forget, now),
        (idempotency.forget, now - ANSWERS_KEPT),
        (bulks.forget, now - REPORTS_KEPT),
    ):
        while await store.submit_async(partial(_forget, forget, before), low=True) == ROWS:
            pass
    if days is None:
        return 0
    removed, after, before = 0, 0, now - days * 24 * 3600 * 1000
    while True:
        old = partial(retention.old_processes, before=before, after=after, most=CHUNK)
        found = await store.async_read(old, limit=LOOKING)
        if not found:
            return removed
        removed += await store.submit_async(partial(_remove, found), found, low=True)
        after = found[-1]


def _forget(forget: Callable[[Tx, int, int], int], before: int, tx: Tx) -> int:
    return forget(tx, before, ROWS)


def _remove(pids: list[int], tx: Tx) -> int:
    return retention.remove(tx, pids)
