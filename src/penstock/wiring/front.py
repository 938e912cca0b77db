"""What belongs to no door: the list of doors, whether the server lives and can write, its figures, and how others check our tokens."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

import penstock
from penstock.api import routes
from penstock.dialects.cloudio import routes as cloudio
from penstock.dialects.executions import routes as executions
from penstock.errors import Forbidden, PenstockError, Unavailable
from penstock.operations.signing import Signing
from penstock.store import Store
from penstock.store.database import FORMAT
from penstock.store.gauges import schema_version
from penstock.web.routing import Auth as NeedsAuth
from penstock.web.routing import Call, Raw, Reply, Route
from penstock.wiring.metrics import Metrics, may_read

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
CACHED = "public, max-age=300"
"""A key that signs is seen by who asks again when a token names one that he does not know."""
PATIENCE = 5.0
"""Seconds the database may take for a write that writes nothing."""


@dataclass(frozen=True, slots=True)
class Front:
    """What the door was built with."""

    store: Store
    alive: Mapping[str, bool]
    """Background tasks: none may end by itself."""
    draining: Callable[[], bool]
    metrics: Metrics
    metrics_token: str | None
    signing: Signing


class Check(msgspec.Struct, frozen=True):
    """One thing that must be so for this server to be sent work."""

    name: str
    ok: bool
    detail: str


class Ready(msgspec.Struct, frozen=True):
    """`status`: ready or unready."""

    status: str
    checks: list[Check]


async def _health(_: Call[Front]) -> dict[str, str]:
    return {"status": "ok", "version": penstock.__version__}


async def _ready(call: Call[Front]) -> Reply:
    front = call.door
    checks = [*await asyncio.gather(_writes(front), _migrated(front)), _loops(front), _stays(front)]
    good = all(check.ok for check in checks)
    body = Ready("ready" if good else "unready", checks)
    return Reply(body) if good else Reply(body, status=503, headers={"retry-after": str(math.ceil(PATIENCE))})


async def _writes(front: Front) -> Check:
    try:
        await asyncio.wait_for(front.store.submit_async(lambda tx: tx.now), PATIENCE)
    except TimeoutError:
        return Check("database", ok=False, detail=f"it took no write within {PATIENCE:g} s")
    except PenstockError as error:
        # what the driver says may name hosts and users: the log has it
        return Check("database", ok=False, detail=f"it takes no writes ({error.code})")
    return Check("database", ok=True, detail="it takes writes")


async def _migrated(front: Front) -> Check:
    try:
        found = await asyncio.wait_for(front.store.async_read(schema_version, limit=PATIENCE), PATIENCE)
    except (PenstockError, TimeoutError):
        return Check("schema", ok=False, detail="it could not be read")
    return Check("schema", ok=found >= FORMAT, detail=f"the database has {found:04d}, this program needs {FORMAT:04d}")


def _loops(front: Front) -> Check:
    ended = [name for name, alive in front.alive.items() if not alive]
    if not front.alive:
        return Check("loops", ok=False, detail="the engine does not run")
    if ended:
        return Check("loops", ok=False, detail=f"{', '.join(ended)} ended; restart the server")
    return Check("loops", ok=True, detail=f"{len(front.alive)} run")


def _stays(front: Front) -> Check:
    if front.draining():
        return Check("draining", ok=False, detail="the server is going down")
    return Check("draining", ok=True, detail="no")


async def _metrics(call: Call[Front]) -> Raw:
    client = call.scope.get("client")
    if not may_read(client[0] if client else None, call.headers, call.door.metrics_token):
        raise Forbidden(
            "/metrics is for callers on this machine, not through a proxy, or with the header Authorization: Bearer and the "
            "value of the setting metrics_token (PENSTOCK_METRICS_TOKEN_FILE)"
        )
    content, content_type = await call.door.metrics.text(call.headers.get("accept", ""))
    return Raw(content, content_type)


async def _index(_: Call[Front]) -> dict[str, Any]:
    return {
        "name": "Penstock",
        "version": penstock.__version__,
        "doors": {
            "native": {"path": routes.PREFIX, "docs": f"{routes.PREFIX}/docs"},
            "cloudio": {"path": cloudio.MOUNTS[0], "docs": f"{cloudio.MOUNTS[0]}/docs"},
            "executions": {"path": executions.PREFIX, "docs": f"{executions.PREFIX}/docs"},
        },
    }


def _cacheable(call: Call[Front], content: Any) -> Raw:
    """JSON that seldom changes, for anybody."""
    text = msgspec.json.encode(content)
    headers = {"etag": f'"{hashlib.sha256(text).hexdigest()[:32]}"', "cache-control": CACHED}
    if headers["etag"] in call.headers.get("if-none-match", ""):
        return Raw(b"", "", 304, headers)
    return Raw(text, "application/json", headers=headers)


async def _jwks(call: Call[Front]) -> Raw:
    """The public halves of the keys that sign, and of those whose tokens may still be good (RFC 7517)."""
    return _cacheable(call, {"keys": await call.door.signing.published()})


async def _metadata(call: Call[Front]) -> Raw:
    """Where tokens are got and how (RFC 8414). There is no authorization endpoint, so no response type either."""
    issuer = call.door.signing.issuer
    told = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}{routes.PREFIX}/token",
        "jwks_uri": f"{issuer}{JWKS}",
        "grant_types_supported": ["client_credentials", "password"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "response_types_supported": [],
        "service_documentation": f"{issuer}{routes.PREFIX}/docs",
    }
    return _cacheable(call, told)


def front_routes() -> tuple[Route[Front], ...]:
    answer: dict[str, Any] = {"response": dict[str, Any], "auth": NeedsAuth.NONE}
    told: dict[str, Any] = {"response": bytes, "auth": NeedsAuth.NONE}
    return (
        Route(method="GET", path=JWKS, operation="jwks", summary="Keys that tokens are checked by", handler=_jwks, **told),
        Route(
            method="GET", path=METADATA, operation="metadata", summary="Where tokens are got", handler=_metadata, **told
        ),
        Route(method="GET", path="/", operation="index", summary="Doors", handler=_index, **answer),
        Route(method="GET", path="/healthz", operation="health", summary="It runs", handler=_health, **answer),
        Route(
            method="GET", path="/readyz", operation="ready", summary="It can write, and its loops run", handler=_ready,
            response=Ready, auth=NeedsAuth.NONE, also=(503,), errors=(Unavailable,),
        ),
        Route(
            method="GET", path="/metrics", operation="metrics", summary="Figures for Prometheus", handler=_metrics,
            response=bytes, media="text/plain", auth=NeedsAuth.NONE, errors=(Forbidden,),
        ),
    )  # fmt: skip
