"""A platform under load that says on its output what it was acknowledged; tests kill it. Not a test.

Lines: `S id` a process was started, `C id visit` a job's answer was taken, `M id` a message was sent, `N jobs` at the end.
It ends when its input is closed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import Any

from engines.stage import Stage, graph, job, scope
from penstock.errors import PenstockError
from penstock.operations.context import new_uuid

CHILD = graph("child", {"w": job("child", retry={"max_attempts": 2, "delay": "PT0.02S"})})
LOAD = graph(
    "load",
    {
        "a": job("a"),
        "each": scope({"e": job("e")}, for_each="${[1, 2, 3]}", output="${e}", **{"as": "x"}),
        "t": {"kind": "timer", "after": "PT0.03S"},
        "c": {"kind": "call", "definition": "child"},
        "m": {"kind": "message", "message": "m", "key": "${input.key}"},
        "b": job("b"),
    },
    ("a", "each"),
    ("a", "t"),
    ("each", "c"),
    ("c", "m"),
    ("m", "b"),
    output={"each": "${each}", "m": "${m}"},
)
TOPICS = ("a", "e", "child", "b")


def say(*words: object) -> None:
    """One write, so that a line is whole or not there."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


async def starting(stage: Stage) -> None:
    while True:
        id = new_uuid()
        await stage.start("load", {"key": id}, id=id)
        say("S", id)
        await stage.publish("m", id, id, id=id)
        say("M", id)


async def working(stage: Stage, chance: random.Random, done: list[int]) -> None:
    while True:
        for taken in await stage.poll(*TOPICS, max=chance.randint(1, 4), wait=1, lease=2):
            try:
                await stage.complete(taken, taken.visit)
            except PenstockError:
                continue
            say("C", taken.process_id, taken.visit)
            done[0] += 1


async def forever(work: Any) -> None:
    while True:
        try:
            await work()
        except PenstockError as error:
            print(error, file=sys.stderr)
            await asyncio.sleep(0.05)


async def main(url: str, node: str) -> None:
    chance = random.Random(node)
    done = [0]
    async with Stage.open(url, node) as stage:
        say("R", node)
        tasks = [asyncio.create_task(forever(lambda: starting(stage))) for _ in range(3)]
        tasks += [asyncio.create_task(forever(lambda: working(stage, chance, done))) for _ in range(4)]
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    say("N", node, done[0])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
