"""`penstock dev`: a demo tenant in one folder."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from penstock.config import Settings
from penstock.errors import Unavailable
from penstock.identity.model import Tenant
from penstock.identity.tokens import RANDOM_BYTES, new_secret
from penstock.operations import access_keys
from penstock.operations.context import new_uuid
from penstock.operations.people import NewUser, seed
from penstock.store import people
from penstock.wiring.logs import configure_logging
from penstock.wiring.places import address
from penstock.wiring.platform import Platform
from penstock.wiring.private_files import write_private
from penstock.wiring.serving import serve, warn

CREDENTIALS = "credentials.json"
DEV_TENANT = "demo"
DEV_USERS = (
    ("ana@example.com", "Ana Ruiz", ("staff",), ()),
    ("ben@example.com", "Ben Okafor", ("staff", "risk"), ()),
    ("root@example.com", "Root", ("staff", "risk", "admins"), ("admin", "operator")),
)


def run_dev(data: Path, host: str, port: int, settings: Settings, files: Mapping[str, Path]) -> None:
    """`penstock dev`: SQLite in `data`, a demo tenant, and `credentials.json` beside it.

    Raises: Unavailable when another server has the data.
    """
    configure_logging(settings)
    data.mkdir(parents=True, exist_ok=True)
    settings = replace(
        settings,
        database_url=f"sqlite:///{data.absolute() / 'penstock.db'}",
        data_dir=data,
        host=host,
        port=port,
        outbound_allow=(*settings.outbound_allow, "127.0.0.0/8", "::1/128"),
    )
    platform = Platform.build(settings)
    try:
        warn(platform, files)
        asyncio.run(_ensure_demo_tenant(platform, data, address(host, port)))
    except BaseException:
        platform.close()
        raise
    serve(platform, host, port, lambda url: _note_url(data / CREDENTIALS, url))


async def _ensure_demo_tenant(platform: Platform, data: Path, url: str) -> None:
    path = data / CREDENTIALS
    known = await platform.store.async_read(lambda read: people.tenant(read, DEV_TENANT))
    if known is not None:
        if not path.exists():
            raise Unavailable(
                f"{data} has data but no {CREDENTIALS}: secrets are kept as hashes and cannot be shown again"
            )
        await _ensure_access_key(platform, json.loads(path.read_text()))
        return
    # the file comes first: after a crash in between, the tenant is made of what stands in it
    if not path.exists():
        write_private(path, _new_credentials(url))
    content = json.loads(path.read_text())
    passwords = {user["email"]: user["password"] for user in content["users"]}
    users = [
        NewUser(email=email, name=name, groups=groups, roles=roles, password=passwords[email])
        for email, name, groups, roles in DEV_USERS
    ]
    application = (content["application"]["id"], content["application"]["secret"])
    await seed(platform.operations, DEV_TENANT, "Demo", users, content["tenant"]["id"], application)
    await _ensure_access_key(platform, content)


async def _ensure_access_key(platform: Platform, content: dict[str, Any]) -> None:
    """What the file says of signed requests is so, in data that is older than access keys, too."""
    given = content.get("secmaster")
    known = await platform.store.async_read(lambda read: people.tenant(read, DEV_TENANT))
    if known is not None and given is not None:
        tenant = Tenant(tid=known[0], id=known[1], code=known[2])
        pair = (given["ak"], given["sk"])
        await access_keys.ensure(platform.operations, tenant, content["application"]["id"], "Demo", pair)


def _new_credentials(url: str) -> dict[str, Any]:
    tenant = new_uuid()
    users = [
        {"email": email, "password": secrets.token_urlsafe(9), "groups": list(groups)}
        for email, _, groups, _ in DEV_USERS
    ]
    return {
        "url": url,
        "tenant": {"id": tenant, "code": DEV_TENANT},
        "application": {"id": new_uuid(), "secret": new_secret("ps", secrets.token_bytes(RANDOM_BYTES))},
        "users": users,
        **_for_coming_doors(tenant),
    }


def _for_coming_doors(tenant: str) -> dict[str, Any]:
    """What clients of doors that are still to come will sign in with: made once, so that a data directory stays good.

    `ak` and `sk` are an access key of the application; the other doors' first start takes their secrets from the file.
    """
    return {
        "secmaster": {
            "project_id": uuid5(UUID(tenant), "project").hex,
            "workspace_id": str(uuid5(UUID(tenant), "workspace")),
            "ak": secrets.token_hex(10).upper(),
            "sk": secrets.token_urlsafe(30),
        },
        "workfloplus": {
            "team": DEV_TENANT,
            "client_id": str(uuid5(UUID(tenant), "workfloplus")),
            "client_secret": secrets.token_urlsafe(32),
        },
        "executions": {"customer_id": tenant},
    }


def _note_url(path: Path, url: str) -> None:
    """Where the server of these credentials answers now: port 0 is known only when it is bound."""
    content = json.loads(path.read_text())
    if content.get("url") != url:
        write_private(path, {**content, "url": url})
