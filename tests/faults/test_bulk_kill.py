"""`kill -9` in the midst of a bulk operation: afterwards each process is commanded once, and the counts agree."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest

from support.server import fresh, until

COUNT = 300
KILLS = 3


def test_kill_9_in_the_midst_of_a_bulk_operation(nodes, url, look):
    [node] = nodes(url, "one")
    api = node.application()
    code = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}})
    for _ in range(COUNT // 100):
        api.post("/processes/~batch", {"processes": [{"definition": code}] * 100})
    ids = [each["id"] for each in api.everything("/processes", definition=code, limit=200)]
    untouched = ids[:7]
    for id in untouched:
        api.post(f"/processes/{id}/cancel")
    made = api.post("/bulk", {"command": "suspend", "filter": {"definition": code}}, 202)
    seen = 0
    for _ in range(KILLS):
        at = seen
        found = until(lambda at=at: (now := api.get(f"/bulk/{made['id']}"))["done"] > at and now, 60, 0.001)
        seen = found["done"]
        node.kill()
        late = look.rows("SELECT count(*) FROM processes WHERE status = 'SUSPENDED'")[0][0]
        assert late >= seen, "what was told is done"
        node.start()
        api = node.application()
        if found["state"] != "RUNNING":
            break
    assert seen > 0

    def ended():
        now = api.get(f"/bulk/{made['id']}")
        return now if now["state"] != "RUNNING" else None

    last = until(ended, 60)
    wanted = COUNT - len(untouched)
    assert [last[name] for name in ("state", "total", "done", "failed", "skipped")] == ["DONE", wanted, wanted, 0, 0]
    for id in ids:
        times = Counter(api.history(id))["SuspendRequested"]
        assert times == (0 if id in untouched else 1), id
    told = look.rows("SELECT type, count(*) FROM journal WHERE kind = 'bulk' GROUP BY type ORDER BY type")
    assert told == [("bulk.ended", 1), ("bulk.started", 1)]
    assert look.rows("SELECT count(*) FROM bulk_results")[0][0] == 0, "what went well leaves no rows"


@pytest.mark.postgres
def test_another_node_goes_on_with_a_bulk_operation(nodes, postgres):
    """On PostgreSQL, when the one that carried it is gone; it is taken over when its lease has run out."""
    url = str(postgres.database())
    one, two = nodes(url, "one", "two")
    api = two.application()
    code = api.deploy({"work": {"kind": "job", "topic": fresh("topic")}})
    for _ in range(COUNT // 100):
        api.post("/processes/~batch", {"processes": [{"definition": code}] * 100})
    made = api.post("/bulk", {"command": "suspend", "filter": {"definition": code}}, 202)
    until(lambda: api.get(f"/bulk/{made['id']}")["done"] > 0, 60, 0.001)
    with psycopg.connect(url, autocommit=True) as db:
        [(carrier,)] = db.execute("SELECT node FROM bulks").fetchall()
        gone, left = (one, two) if carrier == "one" else (two, one)
        gone.kill()
        db.execute("UPDATE bulks SET leased_until = 1 WHERE state = 'RUNNING'")
        api = left.application()
        until(lambda: api.get(f"/bulk/{made['id']}")["state"] == "DONE", 60)
        assert api.get(f"/bulk/{made['id']}")["done"] == COUNT
        found = db.execute("SELECT count(*), count(DISTINCT pid) FROM history WHERE type = 'SuspendRequested'")
        assert found.fetchall() == [(COUNT, COUNT)]
    gone.start()
