"""A clock that jumps an hour: promise 8 of docs/reliability.md.

On SQLite the clock is the server's own, and its start script moves it. On PostgreSQL it is the database's: a function `clock_timestamp`
of ours stands before the real one in the search path, and adds what a table says.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from faults.conftest import tell
from faults.nodes import Look, Node
from support.server import Api, fresh, until

HOUR = 3_600_000
MOVED = """
CREATE SCHEMA moved;
CREATE TABLE moved.clock (ms bigint);
INSERT INTO moved.clock VALUES (0);
CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS
  'SELECT pg_catalog.clock_timestamp() + (SELECT ms FROM moved.clock) * interval ''1 millisecond''';
"""

Jump = Callable[[int], None]


@pytest.fixture
def url(request, tmp_path, kind) -> str:
    if kind == "sqlite":
        return f"sqlite:///{tmp_path}/penstock.db"
    plain = str(request.getfixturevalue("postgres").database())
    with psycopg.connect(plain, autocommit=True) as db:
        db.execute(MOVED)
    return plain + "?options=-csearch_path%3Dpublic,moved,pg_catalog"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def kind(request) -> str:
    return str(request.param)


@pytest.fixture
def jump(kind: str, url: str, tmp_path: Path) -> Jump:
    """Move the clock on by so many milliseconds."""
    file = tmp_path / "clock"
    file.write_text("0")

    def move(ms: int) -> None:
        if kind == "sqlite":
            part = file.with_suffix(".part")
            part.write_text(str(int(file.read_text()) + ms))
            part.replace(file)
        else:
            with psycopg.connect(url, autocommit=True) as db:
                db.execute("UPDATE moved.clock SET ms = ms + %s", (ms,))

    return move


@pytest.fixture
def node(nodes, url, kind, tmp_path) -> Node:
    environment = {"FAULTS_CLOCK": str(tmp_path / "clock")} if kind == "sqlite" else {}
    (tmp_path / "clock").write_text("0")
    [started] = nodes(url, **environment)
    return started


def flow(api: Api, after: str) -> tuple[str, str]:
    """(process, topic): a timer, and beside it a job."""
    topic = fresh("topic")
    nodes = {"t": {"kind": "timer", "after": after}, "w": {"kind": "job", "topic": topic}}
    return api.start(api.deploy(nodes))["id"], topic


def fired(look: Look, id: str) -> int:
    statement = (
        "SELECT count(*) FROM history h JOIN processes p ON p.pid = h.pid WHERE p.id = ? AND h.type = 'TimerFired'"
    )
    return int(look.one(statement, (id,)))


def check_times(look: Look) -> None:
    """No history goes back in time."""
    last: dict[int, int] = {}
    for pid, at in look.rows("SELECT pid, at FROM history ORDER BY pid, seq"):
        assert at >= last.get(pid, 0)
        last[pid] = at


def test_an_hour_forwards_fires_what_is_due_once_and_offers_leased_jobs_again(node: Node, jump: Jump, look: Look):
    api = node.application()
    processes = [flow(api, "PT40M") for _ in range(10)]
    waiting, _ = flow(api, "PT2H")
    held = [api.take(topic, lease=60) for _, topic in processes]
    began = time.monotonic()
    jump(HOUR)
    api = node.application()  # tokens of an hour are over, too
    until(lambda: all(fired(look, id) == 1 for id, _ in processes), 10)
    seconds = time.monotonic() - began
    again = [api.take(topic) for _, topic in processes]
    for job in held:
        assert api.finish(job, "late", status=409)["code"] == "lease_lost"
    for job in again:
        api.finish(job, "right")
    for id, _ in processes:
        assert api.until(id, "COMPLETED")["status"] == "COMPLETED"
        assert fired(look, id) == 1
    assert fired(look, waiting) == 0
    check_times(look)
    assert seconds < 5
    tell(f"clock forwards, {look.dialect}", timers=len(processes), seconds_until_fired=round(seconds, 2))


def test_an_hour_backwards_repeats_nothing_and_holds_nothing_for_longer_than_the_hour(
    node: Node, jump: Jump, look: Look
):
    api = node.application()
    over = flow(api, "PT0.05S")  # it fires before the jump
    until(lambda: fired(look, over[0]) == 1)
    open_, topic = flow(api, "PT30M")
    taken = api.take(topic, lease=60)
    jump(-HOUR)
    api = node.application()  # a token of the new time is as good
    fresh_, fresh_topic = flow(api, "PT0.5S")
    api.finish(api.take(fresh_topic))
    assert api.until(fresh_, "COMPLETED")["status"] == "COMPLETED", "what begins now goes by the new time"
    api.finish(taken)  # the lease is still good
    api.finish(api.take(over[1]))
    assert api.until(over[0], "COMPLETED")["status"] == "COMPLETED"
    left = due_in(look, open_, fresh_)
    assert left <= 30 * 60_000 + HOUR, "no timer waits for longer than it was to, and the jump"
    time.sleep(1)
    assert fired(look, over[0]) == 1
    check_times(look)
    jump(HOUR + 30 * 60_000)  # the hour is over
    api = node.application()
    assert api.until(open_, "COMPLETED")["status"] == "COMPLETED"
    assert fired(look, open_) == fired(look, over[0]) == fired(look, fresh_) == 1
    check_times(look)
    tell(f"clock backwards, {look.dialect}", timer_of_30_minutes_left_minutes=round(left / 60_000, 1))


def due_in(look: Look, id: str, now: str) -> int:
    """Milliseconds from the start of the process `now` until the timer of another is due."""
    due = look.one("SELECT t.due_at FROM timers t JOIN processes p ON p.pid = t.pid WHERE p.id = ?", (id,))
    return int(due) - int(look.one("SELECT created_at FROM processes WHERE id = ?", (now,)))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_restart_after_the_clock_went_back_goes_on(node: Node, jump: Jump, look: Look):
    """A machine that comes up with a wrong clock, as those without a battery do."""
    api = node.application()
    id, topic = flow(api, "PT1S")
    taken: dict[str, Any] = api.take(topic, lease=60)
    node.kill()
    jump(-HOUR)
    node.start()
    api = node.application()
    api.finish(taken)
    second, second_topic = flow(api, "PT0.2S")
    api.finish(api.take(second_topic))
    assert api.until(second, "COMPLETED")["status"] == "COMPLETED"
    assert fired(look, id) == 0
    jump(HOUR + 2_000)
    api = node.application()
    assert api.until(id, "COMPLETED")["status"] == "COMPLETED"
    assert fired(look, id) == 1
    check_times(look)
    ages = [datetime.fromisoformat(each["created_at"]) for each in api.everything("/processes")]
    assert len(ages) == 2
