"""`penstock` as tests start it to break it: what stands in FAULTS_* is built in, then the command runs as ever. Not a test.

FAULTS_CLOCK names a file with milliseconds, read at each look at the clock and added to it. FAULTS_BODY_SECONDS is how long a
body may take.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def shift_clock(file: Path) -> None:
    """The program's wall clock, moved. The clock that only measures how long something takes goes on as ever."""
    true = time.time_ns

    def time_ns() -> int:
        return true() + int(file.read_text() or 0) * 1_000_000

    time.time_ns = time_ns
    time.time = lambda: time_ns() / 1e9


def main() -> None:
    if file := os.environ.get("FAULTS_CLOCK"):
        shift_clock(Path(file))

    from penstock.cli import main as penstock
    from penstock.web import routing

    routing.BODY_SECONDS = float(os.environ.get("FAULTS_BODY_SECONDS", routing.BODY_SECONDS))
    penstock()


if __name__ == "__main__":
    main()
