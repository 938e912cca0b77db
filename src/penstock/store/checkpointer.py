"""Keeps SQLite's write-ahead log short."""

from __future__ import annotations

import logging
import threading
import time

import apsw

log = logging.getLogger(__name__)

CHECKPOINT_PAGES = 4_000
"""Pages of log after which it is moved into the database; 16 MiB."""


class Checkpointer:
    """Moves the log into the database, on a connection and a thread of its own.

    Most of it without holding anybody up (PASSIVE); then, between two groups, the rest (RESTART), so that the next
    group writes to the log's beginning. The writer takes the lock again at once after each group, so waiting for
    SQLite's lock would never end under load: the two agree on turns by `enter` and `leave`.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._db.execute("PRAGMA synchronous=FULL").fetchall()
        self._db.execute("PRAGMA fullfsync=1").fetchall()
        self._db.wal_autocheckpoint(0)
        self._pages = 0
        self._due = threading.Event()
        self._turn = threading.Lock()
        self._wanted = False
        self._served = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="penstock-checkpoint", daemon=True)
        self._thread.start()

    def grown(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        """SQLite calls this after each commit with the log's length."""
        self._pages = pages
        if pages >= CHECKPOINT_PAGES:
            self._due.set()
        return apsw.SQLITE_OK

    def enter(self) -> None:
        """The writer's group begins."""
        if self._wanted:
            self._served.wait(20.0)
        self._turn.acquire()

    def leave(self) -> None:
        """The writer's group is over."""
        self._turn.release()

    def _run(self) -> None:
        warned = 0
        while True:
            self._due.wait()
            if self._closed:
                return
            self._due.clear()
            pages = self._pages
            try:
                done = self._checkpoint(pages)
            except apsw.Error as exc:
                log.warning("checkpoint failed, will try again: %s", exc)
                done = False
            if done:
                warned = 0
                continue
            if pages >= 8 * CHECKPOINT_PAGES and pages >= 2 * warned:
                warned = pages
                log.warning("the write-ahead log has %d pages: a reader holds an old snapshot", pages)
            # not again at once: each try holds up the writer
            until = time.monotonic() + 1.0
            while self._pages < pages * 1.25 and time.monotonic() < until and not self._closed:
                time.sleep(0.02)
            self._due.set()

    def _checkpoint(self, pages: int) -> bool:
        """Move the log; True when the next group starts it anew.

        For that no reader may use it. Those that begin once all is moved do not; those that began before are waited
        for, and the writer with us, the longer the longer the log: short reads end in time at the first try, and a
        log that grows behind long reads ends by waiting for their time limit.
        """
        self._db.set_busy_timeout(0)
        self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        self._db.set_busy_timeout(min(50 * pages // CHECKPOINT_PAGES, 15_000))
        self._served.clear()
        self._wanted = True
        try:
            with self._turn:
                self._wanted = False
                self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
        except apsw.BusyError:
            return False
        finally:
            self._wanted = False
            self._served.set()
        return True

    def close(self) -> None:
        self._closed = True
        self._due.set()
        self._thread.join()
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.Error as exc:
            log.info("the log stays for the next start: %s", exc)
        self._db.close()
