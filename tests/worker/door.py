"""Stands in for the server's side of `/api/v1/jobs`: queues, leases, long polls, batches, as docs/api.md says."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from client.remote import Answer, Remote, Seen, problem, remote


class Door:
    def __init__(self) -> None:
        self.there: Remote
        self.waiting: list[dict[str, Any]] = []
        self.leased: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, tuple[str, dict[str, Any]]] = {}
        self.lines: list[dict[str, Any]] = []
        self.values: dict[str, Any] = {}
        self.calls: Counter[str] = Counter()
        self.batches: list[tuple[str, int]] = []
        self.most_leased = 0
        self.cancel: set[str] = set()
        self.trouble: Callable[[str, Any], Answer | None] = lambda name, body: None
        self._changed = threading.Condition()
        self._numbers = 0

    @property
    def url(self) -> str:
        return self.there.url

    def offer(self, topic: str, input: Any = None, **more: Any) -> str:
        with self._changed:
            self._numbers += 1
            number = f"j{self._numbers}"
            self.waiting.append({"id": number, "topic": topic, "input": input, "process": "p1", "attempt": 1, **more})
            self._changed.notify_all()
        return number

    def result(self, id: str, timeout: float = 5.0) -> tuple[str, dict[str, Any]]:
        with self._changed:
            assert self._changed.wait_for(lambda: id in self.ended, timeout), f"{id} has not ended"
            return self.ended[id]

    def until(self, true: Callable[[], Any], timeout: float = 5.0) -> None:
        with self._changed:
            assert self._changed.wait_for(true, timeout)

    def take_away(self, id: str) -> None:
        """The lease ran out."""
        with self._changed:
            self.leased[id]["lease"] = "another"

    def handle(self, seen: Seen) -> Answer:
        name = seen.path.removeprefix("/api/v1/")
        body = seen.json if seen.body else None
        with self._changed:
            self.calls[name] += 1
            self._changed.notify_all()
        if (refusal := self.trouble(name, body)) is not None:
            return refusal
        if name == "jobs/poll":
            return Answer(200, {"jobs": self._poll(body, body.get("wait", 0))})
        if name.startswith("jobs/"):
            return self._batch(name.removeprefix("jobs/"), body)
        return self._value(seen, body)

    def _poll(self, poll: dict[str, Any], wait: float) -> list[dict[str, Any]]:
        def mine() -> list[dict[str, Any]]:
            return [job for job in self.waiting if job["topic"] in poll["topics"]][: poll.get("max", 1)]

        with self._changed:
            self._changed.wait_for(mine, wait)
            jobs = mine()
            for job in jobs:
                self.waiting.remove(job)
                job["lease"] = f"lease-{job['id']}"
                self.leased[job["id"]] = job
            self.most_leased = max(self.most_leased, len(self.leased))
            return [dict(job) for job in jobs]

    def _batch(self, verb: str, body: dict[str, Any]) -> Answer:
        with self._changed:
            self.batches.append((verb, len(body["jobs"])))
            results = [self._one(verb, entry) for entry in body["jobs"]]
            self._changed.notify_all()
        jobs = self._poll(body["poll"], 0) if "poll" in body else []
        return Answer(200, {"results": results, "jobs": jobs})

    def _one(self, verb: str, entry: dict[str, Any]) -> dict[str, Any]:
        job = self.leased.get(entry["id"])
        if job is None or job["lease"] != entry["lease"]:
            return {"id": entry["id"], "status": "error", "error": problem(409, "lease_lost", "too late").json}
        if verb == "extend":
            return {"id": entry["id"], "status": "ok", "leased_until": None, "cancel": entry["id"] in self.cancel}
        if verb == "log":
            self.lines.append(entry)
            return {"id": entry["id"], "status": "ok"}
        if entry.get("output") == "refuse me":
            error = problem(400, "invalid", "not this", problems=[{"pointer": "/output", "message": "is bad"}]).json
            return {"id": entry["id"], "status": "error", "error": error}
        del self.leased[entry["id"]]
        self.ended[entry["id"]] = (verb, entry)
        return {"id": entry["id"], "status": "ok"}

    def _value(self, seen: Seen, body: Any) -> Answer:
        key = seen.path.split("/values/")[1].split("/")[0]
        if seen.path.endswith("/increment"):
            self.values[key] = self.values.get(key, 0) + 1
        elif seen.method == "PUT":
            self.values[key] = body
        if key not in self.values:
            return problem(404, "not_found", f"no value {key!r}")
        return Answer(200, {"key": key, "value": self.values[key]})


@contextmanager
def open_door(port: int = 0) -> Iterator[Door]:
    door = Door()
    with remote(door.handle, port) as there:
        door.there = there
        yield door


def eventually(true: Callable[[], Any], timeout: float = 5.0) -> None:
    until = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < until, "it has not come true"
        time.sleep(0.005)
