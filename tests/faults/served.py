"""`penstock` as tests start it to break it: what stands in FAULTS_* is built in, then the command runs as ever. Not a test.

FAULTS_CLOCK names a file with milliseconds, read at each look at the clock and added to it. FAULTS_BODY_SECONDS is how long a
body may take, FAULTS_REMEMBERED how many seconds a node believes what it remembers of who calls, FAULTS_STALLED how long the client of an event stream may take nothing. While the file NODE.hold is there, in the folder FAULTS_HOLD names, this node's commits on PostgreSQL stop right
before they are made, as those of a frozen machine do; the database waits 2 s for it, not as long as it is told to else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from penstock.cli import main as penstock
from penstock.operations import believing, events
from penstock.store.postgres import PostgresWriter
from penstock.store.rows import Writes
from penstock.web import routing


def shift_clock(file: Path) -> None:
    """The program's wall clock, moved. The clock that only measures how long something takes goes on as ever."""
    true = time.time_ns

    def time_ns() -> int:
        return true() + int(file.read_text() or 0) * 1_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def hold_commits(file: Path) -> None:
    """Says that it holds one by a file `….held` beside it."""
    commit = PostgresWriter.commit

    def held(connection: PostgresWriter, writes: Writes, notices: Sequence[str]) -> None:
        if writes and file.exists():
            connection._db.execute("SET LOCAL idle_in_transaction_session_timeout = '2s'")
            file.with_suffix(".held").touch()
            while file.exists():
                time.sleep(0.01)
        commit(connection, writes, notices)

    PostgresWriter.commit = held  # type: ignore[method-assign]


def main() -> None:
    if file := os.environ.get("FAULTS_CLOCK"):
        shift_clock(Path(file))

    if folder := os.environ.get("FAULTS_HOLD"):
        hold_commits(Path(folder) / f"{os.environ['FAULTS_NODE']}.hold")
    routing.BODY_SECONDS = float(os.environ.get("FAULTS_BODY_SECONDS", routing.BODY_SECONDS))
    events.STALLED = float(os.environ.get("FAULTS_STALLED", events.STALLED))
    believing.SECONDS = float(os.environ.get("FAULTS_REMEMBERED", believing.SECONDS))
    penstock()


if __name__ == "__main__":
    main()
