"""Plays flows and dies at a commit that is told, again and again: one process a play, forked from this one. Not a test.

Each line of the input is a play, each line of the output how it ended. A play writes what it is about to do into its journal; the
next one on the same database first does again what the last did not live to see answered, under the same key, and goes on.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from engines.stage import Stage
from faults.flows import FLOWS, Flow
from penstock.core import events as ev
from penstock.core.requests import ItemFilter
from penstock.operations import items, jobs, messages, processes, values
from penstock.operations.jobs import Completed, Failed, Thrown, job_id
from penstock.operations.processes import StartProcess
from penstock.store.postgres import PostgresWriter
from penstock.store.sqlite import SQLiteWriter

DIED = 77
SECONDS = 25.0


class Commits:
    """Counts the commits of this program, and ends it at one of them."""

    def __init__(self, at: int, where: str) -> None:
        self.at, self.where, self.count = at, where, 0

    def watch(self, kind: Any) -> None:
        commit = kind.commit

        def watched(connection: Any, writes: Any, notices: Any) -> None:
            self.count += 1
            here = self.count == self.at
            if here and self.where == "before":
                os._exit(DIED)
            if here and self.where == "in":
                if writes:
                    connection.flush(writes)
                os._exit(DIED)
            commit(connection, writes, notices)
            if here:
                os._exit(DIED)

        kind.commit = watched


class Player:
    """One flow's starter, worker, person and messenger."""

    def __init__(self, stage: Stage, flow: Flow, journal: Path, endpoint: str) -> None:
        self.stage, self.flow, self.endpoint = stage, flow, endpoint
        self.ctx, self.actor = stage.ctx, stage.actor
        self._path = journal
        lines = [json.loads(line) for line in journal.read_text().splitlines()] if journal.exists() else []
        self.known = {line["key"] for line in lines}
        answered = {line["key"] for line in lines if "op" not in line}
        self.unanswered = [line for line in lines if line["key"] not in answered]
        self.resumed = bool(lines)

    async def play(self) -> None:
        for op in self.unanswered:
            await self.perform(op)
        if self.resumed:
            await self.stage.lapse()
        if "start" not in self.known:
            await self.do(op="begin" if self.flow.begin else "start", key="start")
        if "count" not in self.known:
            await self.do(op="count", key="count")
        end = time.monotonic() + SECONDS
        while await self.stage.one("SELECT count(*) FROM processes WHERE ended_at IS NULL"):
            assert time.monotonic() < end, await self.stage.rows("SELECT node, state, failure FROM visits")
            if not (await self.work() or await self.decide() or await self.send() or await self.mend()):
                await asyncio.sleep(0.004)

    # -- what there is to do -------------------------------------------------------------------------------------

    async def work(self) -> bool:
        topics = [f"robot:{node.upper()}" if node == "r" else node for node in self.flow.answers]
        found = await self.stage.poll(*topics, max=2, wait=0) if topics else []
        for taken in found:
            id = job_id(taken.process_id, taken.visit)
            answer = self.flow.answers[taken.node](taken)
            await self.do(op="answer", key=f"{id} {taken.attempt}", id=id, lease=taken.lease, answer=answer)
        return bool(found)

    async def decide(self) -> bool:
        wanted = ItemFilter(states=("READY", "CLAIMED"))
        found = (
            (await items.listed(self.ctx, self.actor, wanted, None, 10, mine=False)).items if self.flow.items else []
        )
        acted = False
        for item in found:
            after = self.flow.after.get(item.node)
            if item.node in self.flow.items and (after is None or await self.visits(after)):
                if item.state == "READY":
                    await self.do(op="claim", key=f"claim {item.id}", id=item.id)
                await self.do(op="decide", key=f"decide {item.id}", id=item.id, output=self.flow.items[item.node])
                acted = True
        return acted

    async def send(self) -> bool:
        acted = False
        for node, (what, name, key) in self.flow.sends.items():
            if node not in self.known and await self.visits(node):
                await self.do(op=what, key=node, name=name, of=key)
                acted = True
        return acted

    async def mend(self) -> bool:
        failed = await self.stage.rows("SELECT id, seq FROM processes WHERE status = 'FAILED'")
        for id, seq in failed:
            await self.do(op="retry", key=f"retry {seq}", id=id)
        return bool(failed)

    async def visits(self, node: str) -> int:
        return int(await self.stage.one("SELECT count(*) FROM visits WHERE node = ?", node))

    # -- doing it ------------------------------------------------------------------------------------------------

    async def do(self, **op: Any) -> None:
        self.known.add(op["key"])
        self._note(op)
        await self.perform(op)
        self._note({"key": op["key"]})

    def _note(self, line: dict[str, Any]) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    async def perform(self, op: dict[str, Any]) -> None:
        ctx, actor, key = self.ctx, self.actor, op["key"]
        code = self.flow.document["code"]
        match op["op"]:
            case "start":
                given = json.loads(json.dumps(self.flow.input).replace("ENDPOINT", self.endpoint))
                await processes.start(ctx, actor, StartProcess(definition=code, input=given), key)
            case "begin":
                await messages.publish(ctx, actor, str(self.flow.begin), "", None, "begin", 60, key)
            case "count":
                await values.increment(ctx, actor, await values.definition(ctx, actor, code), "started", key)
            case "answer":
                await jobs.answer(ctx, actor, answer_of(op), key)
            case "claim":
                await items.claim(ctx, actor, op["id"], key)
            case "decide":
                await items.complete(ctx, actor, op["id"], op["output"], key)
            case "message":
                await messages.publish(ctx, actor, op["name"], op["of"], {"for": key}, f"id {key}", 60, key)
            case "signal":
                await messages.broadcast(ctx, actor, op["name"], {"for": key}, key)
            case "retry":
                await processes.retry(ctx, actor, op["id"], key)


def answer_of(op: dict[str, Any]) -> Any:
    answer = dict(op["answer"])
    of = {"id": op["id"], "lease": op["lease"]}
    match answer.pop("act"):
        case "complete":
            return Completed(**of, **answer)
        case "fail":
            return Failed(**of, failure=ev.Failure("Broken", "it broke", permanent=answer["permanent"]))
        case _:
            return Thrown(**of, **answer)


async def ending(stage: Stage) -> Any:
    """What must be the same whenever it died: without ids, numbers, times."""

    async def counted(statement: str) -> list[Any]:
        found = Counter(tuple(row) for row in await stage.rows(statement))
        return sorted(([*row, times] for row, times in found.items()), key=str)

    of = "FROM {0} t JOIN processes p ON p.pid = t.pid JOIN definitions d ON d.did = p.did"
    return {
        "processes": await counted(
            "SELECT d.code, p.status, p.incidents, p.retries FROM processes p JOIN definitions d ON d.did = p.did"
        ),
        "visits": await counted(
            f"SELECT d.code, t.node, t.kind, t.state, t.attempt, t.input, t.output, t.failure {of.format('visits')}"
        ),
        "items": await counted(f"SELECT d.code, t.node, t.state, t.owner, t.output {of.format('items')}"),
        "values": await counted(f"SELECT d.code, t.key, t.value {of.format('process_values')}"),
        "data": await counted(f"SELECT d.code, t.name, t.value {of.format('data')}"),
        "history": await counted(f"SELECT d.code, t.type {of.format('history')}"),
        "counters": await counted(
            "SELECT d.code, v.key, v.value FROM definition_values v JOIN definitions d ON d.did = v.did"
        ),
        "messages": await counted("SELECT name, key, payload, state FROM messages"),
        "answers kept": await stage.one("SELECT count(*) FROM idempotency"),
        "left": [
            await stage.one(f"SELECT count(*) FROM {name}")
            for name in ("jobs", "timers", "subscriptions", "inbox", "item_grants")
        ],
    }


async def play(task: dict[str, Any], commits: Commits) -> Any:
    async with Stage.open(task["url"], "one", tenant="t") as stage:
        await Player(stage, FLOWS[task["flow"]], Path(task["journal"]), task["endpoint"]).play()
        count = commits.count
        await stage.quiet()
        found = await ending(stage)
        await stage.check()
        return {"commits": count, "ending": found}


async def prepare(url: str) -> None:
    async with Stage.open(url, "one", running=False) as stage:
        for flow in FLOWS.values():
            for document in (*flow.more, flow.document):
                await stage.deploy(document)


def forked(work: Callable[[], Awaitable[Any]], result: Path) -> int:
    """Do it in a process of its own; answers how that ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            found = asyncio.run(work())  # type: ignore[arg-type]
            result.write_text(json.dumps(found))
            code = 0
        except BaseException as error:  # noqa: BLE001 - it is told, and the process ends
            result.write_text(repr(error))
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def main() -> None:
    for line in sys.stdin:
        task = json.loads(line)
        commits = Commits(task.get("at", 0), task.get("where", ""))
        for kind in (SQLiteWriter, PostgresWriter):
            kept = kind.commit
            commits.watch(kind)
            task.setdefault("undo", []).append((kind, kept))
        result = Path(task["result"])
        work = (lambda: prepare(task["url"])) if task["flow"] is None else (lambda: play(task, commits))
        code = forked(work, result)
        for kind, kept in task["undo"]:
            kind.commit = kept
        print(json.dumps({"code": code}), flush=True)


if __name__ == "__main__":
    main()
