"""kill -9 at random moments, again and again, under load: promises 1 to 3 of docs/reliability.md."""

from __future__ import annotations

import asyncio
import time

from faults.conftest import loaded, tell
from faults.load import Load


def test_kill_9_again_and_again_loses_nothing_and_doubles_nothing(url, nodes, look, chance, long):
    kills, wanted = (20, 600) if long else (2, 50)
    [node] = nodes(url)
    load = loaded([node], look, wanted, chance)
    began = time.monotonic()
    down: list[float] = []

    async def disturb(load: Load) -> None:
        for _ in range(kills):
            await asyncio.sleep(chance.uniform(0.05, 1.0))
            await asyncio.to_thread(node.kill)
            killed = time.monotonic()
            await asyncio.to_thread(node.start)
            down.append(time.monotonic() - killed)
            await asyncio.to_thread(load.check)

    asyncio.run(load.run(disturb, 400 if long else 60))
    node.stop()
    load.check_end()
    tell(
        f"kill -9, {look.dialect}", kills=kills, saw=load.told(), seconds=round(time.monotonic() - began, 1),
        slowest_restart=round(max(down), 2),
    )  # fmt: skip
