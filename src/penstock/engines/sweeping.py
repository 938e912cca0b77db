"""Documents that nobody wants: those that nothing has linked for a day, and content whose row was never written or has gone."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from functools import partial

from penstock.documents import Blobs
from penstock.errors import PenstockError
from penstock.store import Store, documents
from penstock.store.documents import Row
from penstock.store.rows import Tx

log = logging.getLogger(__name__)

EVERY = 3600.0
"""Seconds between sweeps."""
KEPT = 24 * 3600 * 1000
"""Milliseconds that what nothing links is kept: longer than an upload takes."""
ROWS = 200


async def run(store: Store, blobs: Blobs) -> None:
    """Sweep now and then, until cancelled."""
    while True:
        try:
            now = await store.submit_async(lambda tx: tx.now)
            forgotten, orphans = await sweep(store, blobs, now - KEPT)
            if forgotten or orphans:
                log.info("%d documents that nothing links and %d orphans were removed", forgotten, orphans)
        except PenstockError as error:
            log.warning("the sweep of documents waits: %s", error.message)
        await asyncio.sleep(EVERY)


async def sweep(store: Store, blobs: Blobs, before: int) -> tuple[int, int]:
    """One sweep of what is older than a time (ms): (documents forgotten, blobs without a document removed)."""
    forgotten = 0
    while True:
        found = await store.async_read(partial(documents.loose, before=before, most=ROWS))
        forgotten += await store.submit_async(partial(_forget, found, before), low=True) if found else 0
        if len(found) < ROWS:
            break
    return forgotten, await _orphans(store, blobs, before)


def _forget(rows: list[Row], before: int, tx: Tx) -> int:
    held = documents.hold(tx, [row.doc for row in rows])
    loose = [row.doc for row in held.values() if row.loose_at is not None and row.loose_at < before]
    linked = documents.linked_ones(tx, loose)
    for doc in loose:
        if doc in linked:  # a row that says otherwise must not cost anybody a file
            documents.not_loose(tx, doc)
        else:
            documents.remove(tx, doc)
    return len(loose) - len(linked)


async def _orphans(store: Store, blobs: Blobs, before: int) -> int:
    removed = 0
    async for ids in blobs.old(datetime.fromtimestamp(before / 1000, UTC)):
        known = await store.async_read(partial(documents.known, ids=ids))
        for id in ids:
            if id not in known:
                await blobs.delete(id)
                removed += 1
    return removed
