"""Where the time goes: a sampling profile of a run, told by rooms. Only samples that hold the interpreter's lock count.

The sampler (py-spy) lives beside the peer, in the environment of the measurements: the project does not need it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
RATE = 200
"""Samples a second."""
_ROOM = re.compile(r"penstock/(\w+)(?:/(\w+))?")
_THREAD = re.compile(r"thread \(\d+\): (\w[\w-]*)")
_AT_WORK = ("penstock-", "asyncio/runners.py")
_LIBRARIES = ("psycopg", "uvicorn", "asyncio", "msgspec", "sqlalchemy")


class Profile(NamedTuple):
    """Shares of the samples, 0 to 1."""

    held: float
    """Of the run's time in which anybody held the lock."""
    threads: dict[str, float]
    rooms: dict[str, float]
    """By the innermost frame that is ours; what a library does for a room is the room's, and named beside it."""
    writer: dict[str, Any]
    """Counters of the writer, where the run tells them."""


def profile(sampler: Path, command: list[Any], seconds: float) -> Profile | None:
    """Run the command under the sampler; None when it cannot be had (no right to trace)."""
    with tempfile.NamedTemporaryFile(suffix=".raw") as raw:
        done = subprocess.run(
            [
                *(str(sampler), "record", "--gil", "--threads", "--format", "raw", "--rate", str(RATE)),
                *("--output", raw.name, "--", *map(str, command)),
            ],
            cwd=HERE,
            capture_output=True,
            text=True,
            timeout=seconds * 4 + 60,
            check=False,
        )
        lines = Path(raw.name).read_text().splitlines()
    found = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines or not found:
        print(done.stderr[-400:], file=sys.stderr)
        return None
    return summed(lines, seconds, json.loads(found[-1]).get("writer") or {})


def summed(lines: list[str], seconds: float, writer: dict[str, Any]) -> Profile:
    """Of the sampler's raw lines: frames from the outermost, separated by `;`, then a count."""
    threads: Counter[str] = Counter()
    rooms: Counter[str] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        thread = _THREAD.match(frames[0])
        if any("wiring/" in frame for frame in frames) or not any(mark in stack for mark in _AT_WORK):
            continue  # start-up
        name = thread[1] if thread else frames[0]
        threads["writer" if name == "penstock-writer" else "event loop" if name == "MainThread" else "readers"] += int(
            count
        )
        rooms[_room(frames)] += int(count)
    total = sum(rooms.values()) or 1
    return Profile(
        total / (RATE * seconds),
        {name: count / total for name, count in threads.most_common()},
        {name: count / total for name, count in rooms.most_common(12)},
        writer,
    )


def _room(frames: list[str]) -> str:
    library = next((name for name in _LIBRARIES if f"({name}/" in frames[-1]), "")
    for frame in reversed(frames):
        found = _ROOM.search(frame)
        if found:
            room = found[1] if found[2] is None else f"{found[1]}/{found[2]}"
            return f"{room} ({library})" if library else room
    return library or "the measuring program"


def told(title: str, found: Profile | None) -> str:
    """A profile as two sentences and a line of shares."""
    if found is None:
        return f"**{title}**: could not be sampled here."
    share = ", ".join(f"{name} {part:.0%}" for name, part in found.threads.items())
    rooms = ", ".join(f"`{name}` {part:.0%}" for name, part in found.rooms.items() if part >= 0.02)
    text = f"**{title}**: the interpreter's lock was held in {min(found.held, 1):.0%} of the time ({share}). Of that: {rooms}."
    w = found.writer
    if w:
        text += (
            f" The writer: {w['units'] / w['groups']:.0f} units a group, {w['rows'] / w['units']:.1f} rows and "
            f"{w['statements'] / w['units']:.2f} statements a unit, {w['unit_ns'] / w['units'] / 1000:.0f} µs in the unit and "
            f"{(w['commit_ns'] + w['flush_ns']) / w['units'] / 1000:.0f} µs in its share of flush and commit."
        )
    return text
