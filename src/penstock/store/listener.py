"""Hears what other nodes tell through PostgreSQL."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable

import psycopg

from penstock.store.database import Address
from penstock.store.postgres import CHANNEL, attach
from penstock.store.rows import Row

log = logging.getLogger(__name__)


class Listener:
    """Waits for other nodes' notices on a connection and a thread of its own.

    When nothing came for `poll` seconds, or the connection was lost in between, it says `*`: anything may have
    happened.
    """

    def __init__(self, address: Address, heard: Callable[[list[str]], object], own: Callable[[], int]) -> None:
        """`own`: the writer's backend, whose notices were delivered already."""
        self._address = address
        self._heard = heard
        self._own = own
        self._closed = False
        self._wake_read, self._wake_write = os.pipe()
        self.poll = 5.0
        self._thread = threading.Thread(target=self._run, name="penstock-listen", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            try:
                with attach(self._address, "listener") as db:
                    db.execute(f"LISTEN {CHANNEL}")
                    self._tell(["*"])
                    self._listen(db)
            except (psycopg.Error, OSError) as exc:
                if not self._closed:
                    log.warning("notices of other nodes are not heard, will connect again: %s", exc)
            select.select([self._wake_read], [], [], 1.0)

    def _listen(self, db: psycopg.Connection[Row]) -> None:
        silent_at = time.monotonic() + self.poll
        while not self._closed:
            left = max(0.0, silent_at - time.monotonic())
            ready, _, _ = select.select([db.fileno(), self._wake_read], [], [], left)
            if not ready:
                self._tell(["*"])
            elif db.fileno() in ready:
                own = self._own()
                payloads = [n.payload for n in db.notifies(timeout=0) if n.pid != own]
                if payloads:
                    self._tell([line for payload in payloads for line in payload.split("\n")])
                if db.closed:
                    raise psycopg.OperationalError("connection lost")
            silent_at = time.monotonic() + self.poll

    def _tell(self, payloads: list[str]) -> None:
        try:
            self._heard(payloads)
        except Exception:
            log.exception("a listener failed")

    def close(self) -> None:
        self._closed = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)
