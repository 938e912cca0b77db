"""Closed and open loops of work, and what they measure. Every loop is bounded in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

One = Callable[[int], Awaitable[None]]
"""Does one whole process, start to completed."""


class Measured(msgspec.Struct):
    """Throughput a second and latencies in milliseconds of one run."""

    done: int
    rate: float
    p50: float
    p99: float
    writer: dict[str, int] | None = None
    """The writer's counters, warm-up and end included."""


def percentile(sorted_values: list[float], part: float) -> float:
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))]


async def closed(one: One, clients: int, seconds: float, warmup: float = 1.0) -> Measured:
    """`clients` at once, each beginning its next process when its last is complete.

    Counted is what is complete in the `seconds` after the warm-up; latencies are of those that began in them too.
    """
    latencies: list[float] = []
    done = 0
    begin = time.perf_counter() + warmup
    end = begin + seconds

    async def client(number: int) -> None:
        nonlocal done
        n = number
        while (started := time.perf_counter()) < end:
            await one(n)
            finished = time.perf_counter()
            done += begin <= finished <= end
            if started >= begin:
                latencies.append(finished - started)
            n += clients

    await asyncio.gather(*(client(number) for number in range(clients)))
    return summary(latencies, seconds, done)


async def opened(one: One, rate: float, seconds: float) -> Measured:
    """One begins every 1/rate seconds, whether or not the last is done; latency counts from when it was due."""
    latencies: list[float] = []
    tasks: list[asyncio.Task[Any]] = []
    begin = time.perf_counter() + 0.1

    async def due(number: int, at: float) -> None:
        await one(number)
        latencies.append(time.perf_counter() - at)

    for number in range(int(rate * seconds)):
        at = begin + number / rate
        await asyncio.sleep(max(0.0, at - time.perf_counter()))
        tasks.append(asyncio.create_task(due(number, at)))
    await asyncio.gather(*tasks)
    return summary(latencies, seconds, len(latencies))


def summary(latencies: list[float], seconds: float, done: int) -> Measured:
    values = sorted(latencies) or [0.0]
    return Measured(
        done=done,
        rate=done / seconds,
        p50=percentile(values, 0.50) * 1000,
        p99=percentile(values, 0.99) * 1000,
    )
