"""A load of processes, and what was said about them: what must be true whatever was broken meanwhile.

Callers never give up: a request that brought no answer, or 503, is sent again under its key, here or to another node, until there
is a word. So at the end everything is either acknowledged or refused, and the database must say the same.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from faults.nodes import Look
from support.server import PREFIX, fresh

LIST = 3
JOBS = LIST + 2
TOPICS = ["a", "e", "b"]
DEFINITION = {
    "penstock": 1,
    "code": "load",
    "tasks": {"DECIDE": {}},
    "nodes": {
        "a": {"kind": "job", "topic": "a"},
        "each": {
            "kind": "scope", "for_each": "${input.list}", "as": "x", "limit": 2, "output": "${e}",
            "nodes": {"e": {"kind": "job", "topic": "e", "input": {"x": "${x}"}}}, "flows": [],
        },
        "t": {"kind": "timer", "after": "PT0.3S"},
        "d": {"kind": "item", "task": "DECIDE"},
        "b": {"kind": "job", "topic": "b", "join": "all"},
    },
    "flows": [
        {"from": "a", "to": "each"}, {"from": "a", "to": "t"}, {"from": "a", "to": "d"},
        {"from": "each", "to": "b"}, {"from": "t", "to": "b"}, {"from": "d", "to": "b"},
    ],
    "output": {"each": "${each}", "d": "${d}", "b": "${b}"},
}  # fmt: skip
LEASE = 3.0


class Caller:
    """Sends until there is a word."""

    def __init__(self, urls: Callable[[], list[str]], token: str, chance: random.Random) -> None:
        self.unanswered = self.refused = self.requests = 0
        self.longest = 0.0
        """Seconds the longest request went without a word."""
        self._urls, self._chance = urls, chance
        self._http = httpx.AsyncClient(
            headers={"authorization": f"Bearer {token}"},
            timeout=4,
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=1),
        )

    async def send(self, method: str, path: str, body: Any = None, expect: tuple[int, ...] = (200,)) -> tuple[int, Any]:
        more: dict[str, Any] = {} if body is None else {"json": body}
        headers = {"idempotency-key": fresh("key")}
        began = time.monotonic()
        while True:
            url = self._chance.choice(self._urls()) + PREFIX + path
            try:
                response = await self._http.request(method, url, headers=headers, **more)
            except httpx.TransportError:
                self.unanswered += 1
                await asyncio.sleep(0.05)
                continue
            self.requests += 1
            if response.status_code == 503:
                assert response.json()["code"] == "unavailable", response.text
                assert int(response.headers["retry-after"]) >= 1
                self.refused += 1
                await asyncio.sleep(0.1)
                continue
            assert response.status_code in expect, f"{method} {path}: {response.status_code} {response.text}"
            self.longest = max(self.longest, time.monotonic() - began)
            return response.status_code, response.json() if response.content else None

    async def close(self) -> None:
        await self._http.aclose()


class Load:
    """Who starts, works, decides and counts; and what of it was acknowledged."""

    def __init__(self, caller: Caller, look: Look, wanted: int) -> None:
        self.caller, self.look, self.wanted = caller, look, wanted
        self.started: set[str] = set()
        self.outputs: dict[tuple[str, int], str] = {}
        self.late: set[str] = set()
        """Outputs that were refused: their lease was lost."""
        self.decided: dict[str, str] = {}
        self.counted: list[int] = []
        self.disturbed = False
        """Nothing more will be broken."""
        self.checks = 0

    @property
    def acknowledged(self) -> int:
        return len(self.started) + len(self.outputs) + len(self.decided) + len(self.counted)

    # -- acts ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self.disturbed and len(self.started) >= self.wanted:
            raise Over
        body = {"definition": "load", "id": str(uuid.uuid4()), "input": {"list": list(range(LIST))}}
        await self.caller.send("POST", "/processes", body, (200, 201))
        self.started.add(body["id"])
        _, value = await self.caller.send("POST", "/definitions/load/values/counted/increment")
        self.counted.append(value["value"])
        await asyncio.sleep(0.05)

    async def work(self) -> None:
        body = {"topics": TOPICS, "max": 8, "wait": 0.5, "lease": LEASE}
        _, found = await self.caller.send("POST", "/jobs/poll", body)
        for job in found["jobs"]:
            output = fresh("output")
            body = {"lease": job["lease"], "output": output, "increments": ["done"], "values": {"last": output}}
            status, answer = await self.caller.send("POST", f"/jobs/{job['id']}/complete", body, (204, 409))
            if status == 409:
                assert answer["code"] == "lease_lost", answer
                self.late.add(output)
                continue
            id, _, visit = job["id"].rpartition(".")
            assert (id, int(visit)) not in self.outputs, "one job's answer was taken twice"
            self.outputs[id, int(visit)] = output

    async def decide(self) -> None:
        _, found = await self.caller.send("GET", "/items?state=READY&limit=20")
        for item in found["items"]:
            output = fresh("decision")
            await self.caller.send("POST", f"/items/{item['id']}/complete", {"output": output})
            self.decided[item["id"]] = output
        await asyncio.sleep(0.05)

    # -- the whole -----------------------------------------------------------------------------------------------

    async def run(self, disturb: Callable[[Load], Awaitable[None]], seconds: float) -> None:
        """Go on while `disturb` does what it does, and then until every process has ended."""
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as tasks:
            # one alone decides, for two would want the same item
            acts = [self.start] * 3 + [self.work] * 4 + [self.decide]
            running = [tasks.create_task(self._forever(act)) for act in acts]
            await disturb(self)
            self.disturbed = True
            await asyncio.gather(*running[:3])
            while await asyncio.to_thread(self.open):
                await asyncio.sleep(0.2)
            for task in running:
                task.cancel()
        await self.caller.close()

    async def _forever(self, act: Callable[[], Awaitable[None]]) -> None:
        try:
            while True:
                await act()
        except Over:
            pass

    def open(self) -> int:
        """Processes that have not ended; then history that has no feed number, which one node gives a moment later."""
        going = int(self.look.one("SELECT count(*) FROM processes WHERE ended_at IS NULL"))
        return going or int(self.look.one("SELECT count(*) FROM history WHERE feed IS NULL"))

    # -- what must be true ---------------------------------------------------------------------------------------

    def check(self) -> None:
        """Now, in the midst of it: what was acknowledged is there, once."""
        started, outputs, decided, counted = set(self.started), dict(self.outputs), dict(self.decided), [*self.counted]
        ids = [id for (id,) in self.look.rows("SELECT id FROM processes")]
        assert len(ids) == len(set(ids))
        assert started <= set(ids), f"{len(started - set(ids))} acknowledged starts are gone"
        visits = self._visits()
        for place, output in outputs.items():
            assert visits.get(place) == output, f"{place}: acknowledged {output}, found {visits.get(place)}"
        items = dict(self.look.rows("SELECT id, output FROM items"))
        for id, output in decided.items():
            assert json.loads(items[id]) == output
        assert len(counted) == len(set(counted)), "two increments were answered with the same number"
        assert max(counted, default=0) <= self._counter()
        self.checks += len(started) + len(outputs) + len(decided) + len(counted)

    def _visits(self) -> dict[tuple[str, int], Any]:
        statement = (
            "SELECT p.id, v.n, v.output FROM visits v JOIN processes p ON p.pid = v.pid "
            "WHERE v.kind = 'job' AND v.state = 'COMPLETED'"
        )
        return {(id, n): json.loads(output) for id, n, output in self.look.rows(statement)}

    def _counter(self) -> int:
        return int(self.look.rows("SELECT value FROM definition_values WHERE key = 'counted'")[0][0])

    def check_end(self) -> None:
        """At rest: the database says what was said, no more and no less."""
        self.check()
        statuses = dict(self.look.rows("SELECT id, status FROM processes"))
        assert statuses == dict.fromkeys(self.started, "COMPLETED")
        visits = self._visits()
        assert visits == self.outputs
        assert self.late.isdisjoint(visits.values()), "an answer that was refused is there all the same"
        assert len(self.outputs) == JOBS * len(self.started)
        assert len(self.decided) == len(self.started)
        assert sorted(self.counted) == list(range(1, self._counter() + 1))
        values = Counter(self.look.rows("SELECT value, count(*) FROM process_values WHERE key = 'done' GROUP BY value"))
        assert values == {(str(JOBS), len(self.started)): 1}
        types = dict(self.look.rows("SELECT type, count(*) FROM history GROUP BY type"))
        assert types["TimerFired"] == types["ItemCompleted"] == len(self.started)
        assert types["JobCompleted"] == len(self.outputs)
        problems = self.look.problems()
        assert not problems, "\n".join(problems[:20])

    def told(self) -> str:
        caller = self.caller
        return (
            f"{len(self.started)} processes, {self.acknowledged} acknowledged writes ({self.checks} looked up), "
            f"{caller.requests} answers, {caller.refused} x 503, {caller.unanswered} without an answer, "
            f"{len(self.late)} late answers refused, longest wait {caller.longest:.1f} s"
        )


class Over(Exception):
    """Enough was started."""
