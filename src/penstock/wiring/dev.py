"""`penstock dev`: a demo tenant in one folder."""

from __future__ import annotations

import asyncio
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from penstock.config import Settings
from penstock.errors import Unavailable
from penstock.identity.keys import KEY_BYTES, encode_key
from penstock.identity.tokens import RANDOM_BYTES, new_secret
from penstock.operations.context import new_uuid
from penstock.operations.people import NewUser, seed
from penstock.store import people
from penstock.wiring.logs import configure_logging
from penstock.wiring.platform import Platform
from penstock.wiring.private_files import write_private, write_text_private
from penstock.wiring.serving import printable_host, serve

CREDENTIALS = "credentials.json"
SECRET_KEY = "secret.key"  # noqa: S105 - a file's name
DEV_TENANT = "demo"
DEV_USERS = (
    ("ana@example.com", "Ana Ruiz", ("staff",), ()),
    ("ben@example.com", "Ben Okafor", ("staff", "risk"), ()),
    ("root@example.com", "Root", ("staff", "risk", "admins"), ("admin", "operator")),
)


def run_dev(data: Path, host: str, port: int, settings: Settings) -> None:
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
        secret_key=settings.secret_key or _dev_key(data / SECRET_KEY),
    )
    platform = Platform.build(settings)
    try:
        asyncio.run(_ensure_demo_tenant(platform, data, f"http://{printable_host(host)}:{port}"))
    except BaseException:
        platform.close()
        raise
    serve(platform, host, port, lambda url: _note_url(data / CREDENTIALS, url))


def _dev_key(path: Path) -> str:
    """The key of a data directory, made where it is not there."""
    if not path.exists():
        write_text_private(path, encode_key(secrets.token_bytes(KEY_BYTES)))
    return path.read_text().strip()


async def _ensure_demo_tenant(platform: Platform, data: Path, url: str) -> None:
    path = data / CREDENTIALS
    known = await platform.store.async_read(lambda read: people.tenant(read, DEV_TENANT))
    if known is not None:
        if not path.exists():
            raise Unavailable(
                f"{data} has data but no {CREDENTIALS}: secrets are kept as hashes and cannot be shown again"
            )
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

    The door's first start takes its secrets from the file.
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
