"""Penstock's side of the comparison: `python ours.py MODE URL STEPS CLIENTS SECONDS` prints one JSON line.

MODE: `inprocess` (operations called in the server's process, workers in the same loop), `single` (HTTP, one call a job), `batch`
(HTTP, workers that poll and complete in batches), `starts` (HTTP, acknowledged starts at CLIENTS a second).
URL: the database for `inprocess`, else the base URL with a token behind a blank.
Everything is on: leases, tokens, visits, history, policy; over HTTP authentication too.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import uvloop
from load import Measured, closed, opened
from wire import Wire

from penstock.config import Settings
from penstock.identity.model import Actor, Kind
from penstock.operations import definitions, jobs, processes
from penstock.operations.people import seed
from penstock.wiring.platform import Platform

WORKERS = 4
BATCH = 64


def definition(steps: int) -> dict[str, Any]:
    names = [f"s{i}" for i in range(steps)]
    return {
        "penstock": 1,
        "code": f"bench{steps}",
        "driver": "graph",
        "nodes": {
            name: {"kind": "job", "topic": f"bench{steps}.{name}", "input": {"n": "${input.n}"}} for name in names
        },
        "flows": [{"from": a, "to": b} for a, b in pairwise(names)],
    }


class Waiting:
    """Who waits for which process to be complete."""

    def __init__(self) -> None:
        self._futures: dict[str, asyncio.Future[None]] = {}

    def of(self, process: str) -> asyncio.Future[None]:
        return self._futures.setdefault(process, asyncio.get_running_loop().create_future())

    def done(self, process: str) -> None:
        future = self.of(process)
        if not future.done():
            future.set_result(None)

    async def complete(self, process: str) -> None:
        await self.of(process)
        del self._futures[process]


async def in_process(url: str, steps: int, clients: int, seconds: float) -> Measured:
    platform = Platform.build(replace(Settings(), database_url=url, secret_key="A" * 43))
    made = await seed(platform.operations, "bench", "Bench", [])
    actor = Actor(tenant=made.tenant, principal=f"app:{made.application_id}", kind=Kind.APPLICATION)
    ctx, code, waiting = platform.operations, f"bench{steps}", Waiting()
    await definitions.deploy(ctx, actor, definition(steps))
    topics, last = [f"{code}.s{i}" for i in range(steps)], f"{code}.s{steps - 1}"

    async def worker() -> None:
        taken: list[Any] = []
        wanted = jobs.Poll(topics=topics, max=BATCH, wait=1.0)
        while True:
            if not taken:
                taken = await jobs.poll(ctx, actor, wanted)
                continue
            answers = [jobs.Completed(id=f"{t.process_id}.{t.visit}", lease=t.lease, output={"n": 1}) for t in taken]
            results, following = await jobs.answer_many(ctx, actor, answers, wanted)
            assert all(result.error is None for result in results)
            for job in taken:
                if job.topic == last:
                    waiting.done(job.process_id)
            taken = following

    async def one(number: int) -> None:
        request = processes.StartProcess(definition=code, input={"n": number})
        process, _ = await processes.start(ctx, actor, request)
        await waiting.complete(process.id)

    async with platform.running():
        workers = [asyncio.create_task(worker()) for _ in range(WORKERS)]
        measured = await closed(one, clients, seconds)
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    measured.writer = platform.store.stats.as_dict()
    platform.close()
    return measured


async def over_http(mode: str, target: str, steps: int, clients: int, seconds: float) -> Measured:
    url, _, token = target.partition(" ")
    code, waiting = f"bench{steps}", Waiting()
    setup = await Wire.open(url, token)
    await setup.call("POST", "/api/v1/definitions", definition(steps))
    topics, last = [f"{code}.s{i}" for i in range(steps)], f"{code}.s{steps - 1}"
    connections: asyncio.Queue[Wire] = asyncio.Queue()
    for _ in range(min(clients, 64) if mode != "starts" else 32):
        connections.put_nowait(await Wire.open(url, token))

    async def worker(wire: Wire) -> None:
        taken: list[Any] = []
        batch = BATCH if mode == "batch" else 1
        while True:
            if not taken:
                body = {"topics": topics, "max": batch, "wait": 1}
                taken = (await wire.call("POST", "/api/v1/jobs/poll", body))["jobs"]
                continue
            if mode == "batch":
                entries = [{"id": j["id"], "lease": j["lease"], "output": {"n": 1}} for j in taken]
                body = {"jobs": entries, "poll": {"topics": topics, "max": batch}}
                answer = await wire.call("POST", "/api/v1/jobs/complete", body)
                following = answer["jobs"]
            else:
                job = taken[0]
                body = {"lease": job["lease"], "output": {"n": 1}}
                await wire.call("POST", f"/api/v1/jobs/{job['id']}/complete", body)
                following = []
            for job in taken:
                if job["topic"] == last:
                    waiting.done(job["process"])
            taken = following

    async def start(number: int) -> str:
        wire = await connections.get()
        try:
            answer = await wire.call("POST", "/api/v1/processes", {"definition": code, "input": {"n": number}})
        finally:
            connections.put_nowait(wire)
        return str(answer["id"])

    async def one(number: int) -> None:
        process = await start(number)
        if mode != "starts":
            await waiting.complete(process)

    workers = 0 if mode == "starts" else WORKERS if mode == "batch" else min(clients, 32)
    tasks = [asyncio.create_task(worker(await Wire.open(url, token))) for _ in range(workers)]
    measured = await (
        opened(start_only(start), clients, seconds) if mode == "starts" else closed(one, clients, seconds)
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return measured


def start_only(start: Any) -> Any:
    async def one(number: int) -> None:
        await start(number)

    return one


def main() -> None:
    mode, target, steps, clients, seconds = sys.argv[1:6]
    if mode == "inprocess":
        work = in_process(target, int(steps), int(clients), float(seconds))
    else:
        work = over_http(mode, target, int(steps), int(clients), float(seconds))
    print(msgspec.json.encode(uvloop.run(work)).decode())


if __name__ == "__main__":
    main()
