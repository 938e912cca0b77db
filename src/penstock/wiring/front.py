"""What belongs to no door: the list of doors, and whether the server lives and can write."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import penstock
from penstock.api import routes
from penstock.dialects.cloudio import routes as cloudio
from penstock.dialects.executions import routes as executions
from penstock.errors import Unavailable
from penstock.store import Store
from penstock.web.routing import Auth as NeedsAuth
from penstock.web.routing import Call, Route


@dataclass(frozen=True, slots=True)
class Front:
    """What the door was built with."""

    store: Store
    ended: list[str]
    """Background tasks that ended by themselves: none may."""


def front_routes() -> tuple[Route[Front], ...]:
    async def health(_: Call[Front]) -> dict[str, str]:
        return {"status": "ok", "version": penstock.__version__}

    async def ready(call: Call[Front]) -> dict[str, str]:
        try:
            await asyncio.wait_for(call.door.store.submit_async(lambda tx: tx.now), 5)
        except TimeoutError:
            raise Unavailable("the database does not take writes", retry_after=5) from None
        if call.door.ended:
            raise Unavailable(f"the engine's {', '.join(call.door.ended)} ended; restart the server", retry_after=30)
        return {"status": "ready"}

    async def index(_: Call[Front]) -> dict[str, Any]:
        return {
            "name": "Penstock",
            "version": penstock.__version__,
            "doors": {
                "native": {"path": routes.PREFIX, "docs": f"{routes.PREFIX}/docs"},
                "cloudio": {"path": cloudio.MOUNTS[0], "docs": f"{cloudio.MOUNTS[0]}/docs"},
                "executions": {"path": executions.PREFIX, "docs": f"{executions.PREFIX}/docs"},
            },
        }

    answer: dict[str, Any] = {"response": dict[str, Any], "auth": NeedsAuth.NONE}
    return (
        Route(method="GET", path="/", operation="index", summary="Doors", handler=index, **answer),
        Route(method="GET", path="/healthz", operation="health", summary="It runs", handler=health, **answer),
        Route(
            method="GET", path="/readyz", operation="ready", summary="It can write", handler=ready,
            errors=(Unavailable,), **answer,
        ),
    )  # fmt: skip
