"""The peer's side: DBOS doing the same steps on the same database. `python theirs.py URL STEPS CLIENTS SECONDS` prints one JSON line.

An asynchronous workflow of N steps, started and awaited in the same process: no leases, no authentication, no HTTP, no workers.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import msgspec
from dbos import DBOS
from load import Measured, closed


@DBOS.step()
async def step(n: int) -> dict[str, int]:
    return {"n": n}


@DBOS.workflow()
async def flow(steps: int, n: int) -> int:
    for _ in range(steps):
        await step(n)
    return n


async def measure(steps: int, clients: int, seconds: float) -> Measured:
    async def one(number: int) -> None:
        await flow(steps, number)

    return await closed(one, clients, seconds)


def main() -> None:
    url, steps, clients, seconds = sys.argv[1:5]
    config: Any = {"name": "bench", "system_database_url": url, "log_level": "ERROR", "enable_otlp": False}
    DBOS(config=config)
    DBOS.launch()
    measured = asyncio.run(measure(int(steps), int(clients), float(seconds)))
    print(msgspec.json.encode(measured).decode(), flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
