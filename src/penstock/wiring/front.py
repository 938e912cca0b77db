"""What belongs to no door: the list of doors, whether the server lives and can write, and who checks our tokens finds here how."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec

import penstock
from penstock.api import routes
from penstock.dialects.cloudio import routes as cloudio
from penstock.dialects.executions import routes as executions
from penstock.errors import Unavailable
from penstock.operations.signing import Signing
from penstock.store import Store
from penstock.web.routing import Auth as NeedsAuth
from penstock.web.routing import Call, Raw, Route

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
CACHED = "public, max-age=300"
"""A key that signs is seen by who asks again when a token names one that he does not know."""


@dataclass(frozen=True, slots=True)
class Front:
    """What the door was built with."""

    store: Store
    ended: list[str]
    """Background tasks that ended by themselves: none may."""
    signing: Signing


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
    told: dict[str, Any] = {"response": bytes, "auth": NeedsAuth.NONE}
    return (
        Route(method="GET", path=JWKS, operation="jwks", summary="Keys that tokens are checked by", handler=_jwks, **told),
        Route(
            method="GET", path=METADATA, operation="metadata", summary="Where tokens are got", handler=_metadata, **told
        ),
        Route(method="GET", path="/", operation="index", summary="Doors", handler=index, **answer),
        Route(method="GET", path="/healthz", operation="health", summary="It runs", handler=health, **answer),
        Route(
            method="GET", path="/readyz", operation="ready", summary="It can write", handler=ready,
            errors=(Unavailable,), **answer,
        ),
    )  # fmt: skip
