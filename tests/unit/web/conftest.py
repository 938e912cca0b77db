import asyncio
from typing import Any, NamedTuple

import msgspec
import pytest


class Answered(NamedTuple):
    status: int
    headers: dict[str, str]
    content: Any


def ask(app, method="GET", path="/", body=b"", headers=None, *, chunks=None):
    """One request to an ASGI application, without a socket."""
    raw, _, query = path.partition("?")
    given = {"content-type": "application/json"} if body else {}
    given |= {"content-length": str(len(body))} if chunks is None else {"transfer-encoding": "chunked"}
    given |= headers or {}
    scope = {
        "type": "http", "method": method, "path": raw, "raw_path": raw.encode(), "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given.items() if value is not None],
    }  # fmt: skip
    parts = list(chunks if chunks is not None else [body])
    messages = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1} for at, part in enumerate(parts)
    ]
    sent = []

    async def receive():
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    if not sent:
        return None
    content = sent[1]["body"]
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    if "json" in found.get("content-type", "") and "content-encoding" not in found:
        content = msgspec.json.decode(content)
    return Answered(sent[0]["status"], found, content)


@pytest.fixture(name="ask")
def ask_fixture():
    return ask
