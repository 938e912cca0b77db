"""A server on either database, and a caller of the door; every answer is held to the door's OpenAPI document and envelope."""

from __future__ import annotations

import asyncio
import base64
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from penstock.config import Settings
from penstock.operations.people import NewUser, seed
from penstock.wiring.platform import Platform
from support.server import SECRET_KEY, Api, Contract, Server, fresh

VALUES = "/v1/wf"
AUTH = "/v1/auth"
TITLES = {401: "Unauthorized", 429: "Too Many Requests", 500: "Internal Error", 503: "Service Unavailable"}


class Served(Server):
    """`penstock serve` on a database that may be shared, with a tenant of its own in it."""

    def __init__(self, folder: Path, url: str, credentials: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(
            folder,
            PENSTOCK_DATABASE_URL=url,
            PENSTOCK_DATA_DIR=str(folder),
            PENSTOCK_PORT="0",
            PENSTOCK_OUTBOUND_ALLOW="127.0.0.0/8",
            PENSTOCK_SECRET_KEY=SECRET_KEY,
        )
        self._known = credentials

    def command(self) -> list[str]:
        return ["-m", "penstock", "serve"]

    @property
    def credentials(self) -> Any:
        return self._known


def seeded(url: str, code: str = "demo") -> dict[str, Any]:
    """A tenant in a database, by the platform's own operation; its credentials as `penstock dev` writes them."""
    platform = Platform.build(Settings(database_url=url, data_dir=Path("/nonexistent"), secret_key=SECRET_KEY))
    password = fresh("password")
    try:
        user = NewUser(email="ana@example.com", name="Ana Ruiz", password=password, groups=("staff",))
        made = asyncio.run(seed(platform.operations, code, code.title(), [user]))
    finally:
        platform.close()
    return {
        "tenant": {"id": made.tenant.id, "code": made.tenant.code},
        "application": {"id": made.application_id, "secret": made.application_secret},
        "users": [{"email": "ana@example.com", "password": password, "groups": ["staff"]}],
    }


class DoorContract(Contract):
    """The same look at the document, another envelope."""

    def check(self, response: httpx.Response) -> None:
        method, path = response.request.method, response.request.url.path
        about = f"{method} {path} -> {response.status_code} {response.text[:1000]}"
        assert response.headers["content-type"] == "application/json", about
        check_envelope(response)
        operation = self.operation(method, path)
        if operation is not None:
            answer = operation["responses"][str(response.status_code)]["content"]["application/json"]
            self._schema(operation["operationId"], str(response.status_code), answer["schema"]).validate(
                response.json()
            )


def check_envelope(response: httpx.Response) -> None:
    """An object with `status`; of an error, what the vendor's page prints and no more."""
    body = response.json()
    if response.status_code == 200:
        assert body["status"] == "OK", body
        return
    assert body.keys() == {"status", "code", "title", "message"}, body
    assert (body["status"], body["code"]) == ("ERROR", response.status_code), body
    assert body["title"] == TITLES.get(response.status_code, "Invalid Request"), body
    assert len(body["message"]) > 8, body


class Door:
    """Anybody who calls: the door wants no header."""

    def __init__(self, server: Server, api: Api) -> None:
        self.server = server
        self.api = api
        self.contract = DoorContract(httpx.get(f"{server.url}{VALUES}/openapi.json", trust_env=False).json())
        limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
        self.http = httpx.Client(base_url=server.url, timeout=30, trust_env=False, limits=limits)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        response = self.http.request(method, path, **more)
        self.contract.check(response)
        return response

    def call(self, operation: str, body: Any, status: int = 200, **more: Any) -> Any:
        response = self.request("POST", f"{VALUES}/{operation}", json=body, **more)
        assert response.status_code == status, f"{operation}: {response.status_code} {response.text}"
        return response.json()

    def value(self, operation: str, reference: dict[str, Any], key: str, **more: Any) -> Any:
        return self.call(operation, {**reference, "key": key}, **more)["value"]

    def refused(self, reference: dict[str, Any]) -> None:
        """All six say so with the vendor's sentence, and nothing is written."""
        for operation in OPERATIONS:
            body = self.call(operation, {**reference, "key": "refused", "value": 1}, 403)
            assert body["message"] == f"Invalid token: `{reference['token']}`!"

    def together(self, operation: str, reference: dict[str, Any], key: str, count: int, clients: int = 50) -> list[int]:
        """What that many calls at once are answered."""
        with ThreadPoolExecutor(clients) as pool:
            return list(pool.map(lambda _: self.value(operation, reference, key), range(count)))

    # -- jobs --------------------------------------------------------------------------------------------------

    def job(self, topic: str | None = None, **more: Any) -> dict[str, Any]:
        """A process with one job, which is in hand."""
        topic = topic or fresh("topic")
        code = self.api.deploy({"work": {"kind": "job", "topic": topic, **more}})
        self.api.start(code)
        return dict(self.api.take(topic))


OPERATIONS = ("put", "get", "instancePut", "instanceGet", "incrementAndGet", "instanceIncrementAndGet")


def reference(job: dict[str, Any], **other: Any) -> dict[str, Any]:
    """How a polled job is named here."""
    return {
        "wfUid": job["definition"],
        "wfInstUid": job["process"],
        "version": str(job["version"]),
        "token": job["token"],
        "nodeUid": job["node"],
        "executionId": str(job["execution_id"]),
        **other,
    }


def log_in_header(user: str, password: str) -> str:
    return "Token " + base64.b64encode(f"{user}:{password}".encode()).decode()


def raw(url: str, request: str) -> tuple[str, dict[str, str], bytes]:
    """Send a request byte for byte; answers status line, headers and body."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(request.encode())
        content = b""
        while b"\r\n\r\n" not in content:
            content += connection.recv(65536)
        head, _, body = content.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        while len(body) < int(headers["content-length"]):
            body += connection.recv(65536)
    return line, headers, body
