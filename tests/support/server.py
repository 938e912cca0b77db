"""The real thing for tests: `penstock dev` as a process of its own, and clients that hold it to its contract.

Every answer that passes through an `Api` is checked against the server's own OpenAPI document: the status must be listed there,
the body must fit its schema, an error must be problem details, and a 5xx is a failure wherever it turns up.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs

from penstock.config import Settings
from penstock.identity.tokens import hash_secret
from penstock.operations.people import AUDIENCE, NewUser, Seeded, seed
from penstock.store import people
from penstock.wiring.platform import Platform

PREFIX = "/api/v1"
SECRET_KEY = "A" * 43
"""32 bytes of nothing; for servers whose database more than one of them has."""
SECOND = "second"
"""Code of the other tenant."""
PROBLEM = "application/problem+json"
CODES = {
    400: {"invalid"},
    401: {"unauthenticated"},
    403: {"forbidden"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    409: {"conflict", "already_exists", "wrong_state", "lease_lost"},
    412: {"stale"},
    413: {"too_large"},
    416: {"range_not_satisfiable"},
    415: {"unsupported_media_type"},
    429: {"limit_exceeded"},
}

_numbers = itertools.count(1)


def fresh(name: str) -> str:
    """A code or topic nobody else uses."""
    return f"{name}_{next(_numbers)}_{secrets.token_hex(3)}"


def until(what: Callable[[], Any], seconds: float = 15.0, pause: float = 0.01) -> Any:
    """Ask until the answer is true, and answer it."""
    end = time.monotonic() + seconds
    while True:
        found = what()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s; at last: {found!r}")
        time.sleep(pause)


class Contract:
    """The server's OpenAPI document, and which of its operations have succeeded."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.operations: dict[str, tuple[str, str]] = {}
        """Operation id -> (METHOD, path template)."""
        self.succeeded: set[str] = set()
        self._places: list[tuple[str, re.Pattern[str], dict[str, Any]]] = []
        self._schemas: dict[tuple[str, str], Any] = {}
        for template, methods in document["paths"].items():
            for method, operation in methods.items():
                parts = (re.escape(part) if "{" not in part else "[^/]+" for part in template.split("/"))
                self._places.append((method.upper(), re.compile("/".join(parts)), operation))
                self.operations[operation["operationId"]] = (method.upper(), template)
        # a literal segment wins over a parameter
        self._places.sort(key=lambda place: place[1].pattern.count("[^/]+"))

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        for known, pattern, operation in self._places:
            if known == method and pattern.fullmatch(path):
                return operation
        return None

    def check(self, response: httpx.Response) -> None:
        method, path = response.request.method, response.request.url.raw_path.decode().partition("?")[0]
        about = f"{method} {path} -> {response.status_code} {response.text[:1000]}"
        assert response.status_code < 500, about
        if response.status_code >= 400:
            check_problem(response)
        operation = self.operation(method, path)
        if operation is None or response.status_code == 405:
            return
        if response.status_code < 400:
            self.succeeded.add(operation["operationId"])
        status = str(response.status_code)
        assert status in operation["responses"], f"{operation['operationId']} may not answer {about}"
        content = operation["responses"][status].get("content")
        if content is None:
            assert response.content == b"", about
            return
        if "*/*" in content:
            return
        kind = response.headers["content-type"]
        assert kind in content, about
        if kind == "application/x-ndjson":
            for line in response.text.splitlines():
                json.loads(line)
            return
        self._schema(operation["operationId"], status, content[kind]["schema"]).validate(response.json())

    def part_of(self, operation: dict[str, Any], kind: str) -> Callable[[Any], None]:
        """What checks the parts of an answer that goes on; the operation counts as done."""
        self.succeeded.add(operation["operationId"])
        schema = operation["responses"]["200"]["content"][kind]["schema"]
        return self._schema(operation["operationId"], "200", schema).validate  # type: ignore[no-any-return]

    def _schema(self, operation: str, status: str, schema: dict[str, Any]) -> Any:
        if (operation, status) not in self._schemas:
            whole = {**schema, "components": self.document["components"]}
            self._schemas[operation, status] = jsonschema_rs.validator_for(whole)
        return self._schemas[operation, status]


def check_problem(response: httpx.Response) -> dict[str, Any]:
    """An error must be problem details of RFC 9457, with a code that goes with its status, and something to read."""
    assert response.headers["content-type"] == PROBLEM, response.text
    problem: dict[str, Any] = response.json()
    assert problem.keys() == {"type", "title", "status", "detail", "code", "problems"}, problem
    assert problem["status"] == response.status_code, problem
    assert problem["code"] in CODES[response.status_code], problem
    assert len(problem["detail"]) > 8, problem
    for each in problem["problems"]:
        assert each.keys() == {"pointer", "message", "code"}, problem
        assert each["message"], problem
    if response.status_code == 401:
        assert response.headers["www-authenticate"], problem
    return problem


class Refused(AssertionError):
    """The server answered with another status than the test expects."""


class Api:
    """The native door, as one caller sees it. Safe in several threads."""

    def __init__(self, server: Server, token: str | None = None, *, name: str = "") -> None:
        self.server = server
        self.name = name
        self.token = token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(
            base_url=server.url + PREFIX,
            headers=headers,
            timeout=30,
            trust_env=False,
            limits=httpx.Limits(max_connections=200, max_keepalive_connections=50),
        )

    def close(self) -> None:
        self.http.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One call, its answer checked against the contract."""
        response = self.http.request(method, path, **more)
        self.server.contract.check(response)
        return response

    def call(self, method: str, path: str, body: Any = None, status: int | tuple[int, ...] = (), **more: Any) -> Any:
        """One call that must succeed, or answer `status`. Answers the body."""
        if body is not None:
            more["json"] = body
        response = self.request(method, path, **more)
        wanted = (status,) if isinstance(status, int) else status
        fits = response.status_code in wanted if wanted else response.status_code < 300
        if not fits:
            raise Refused(f"{method} {path}: {response.status_code} {response.text}")
        return response.json() if response.content else None

    def patch(self, path: str, body: Any, status: int | tuple[int, ...] = (), **more: Any) -> Any:
        return self.call("PATCH", path, body, status, **more)

    def get(self, path: str, expect: int | tuple[int, ...] = (), **params: Any) -> Any:
        return self.call("GET", path, status=expect, params=params)

    def post(self, path: str, body: Any = None, status: int | tuple[int, ...] = (), **more: Any) -> Any:
        return self.call("POST", path, body, status, **more)

    def put(self, path: str, body: Any, status: int | tuple[int, ...] = ()) -> Any:
        return self.call(
            "PUT", path, status=status, content=json.dumps(body), headers={"content-type": "application/json"}
        )

    def delete(self, path: str, status: int | tuple[int, ...] = ()) -> Any:
        return self.call("DELETE", path, status=status)

    def everything(self, path: str, **params: Any) -> list[Any]:
        """All pages of a list."""
        found: list[Any] = []
        cursor = None
        while True:
            page = self.get(path, **params, **({"cursor": cursor} if cursor else {}))
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                return found

    # -- what most tests do ------------------------------------------------------------------------------------

    def deploy(self, nodes: dict[str, Any] | None = None, flows: list[Any] | None = None, **more: Any) -> str:
        """A new definition; answers its code."""
        document = {"penstock": 1, "code": more.pop("code", None) or fresh("d"), **more}
        if nodes is not None:
            document |= {"nodes": nodes, "flows": flows or []}
        return str(self.post("/definitions", document, (200, 201))["code"])

    def start(self, definition: str, **more: Any) -> Any:
        return self.post("/processes", {"definition": definition, **more}, 201)

    def process(self, id: str) -> Any:
        return self.get(f"/processes/{id}")

    def status(self, id: str) -> str:
        return str(self.process(id)["status"])

    def until(self, id: str, *statuses: str) -> Any:
        """Wait for a process to come into one of these states."""

        def there() -> Any:
            process = self.process(id)
            return process if process["status"] in statuses else None

        return until(there)

    def visits(self, id: str) -> list[Any]:
        return self.everything(f"/processes/{id}/visits")

    def history(self, id: str) -> list[str]:
        return [entry["type"] for entry in self.everything(f"/processes/{id}/history")]

    def poll(self, *topics: str, **more: Any) -> list[Any]:
        return list(self.post("/jobs/poll", {"topics": list(topics), **more})["jobs"])

    def take(self, topic: str, **more: Any) -> Any:
        """The next job of a topic; there must be one soon."""
        (job,) = self.poll(topic, **{"wait": 10, **more})
        return job

    def finish(self, job: Any, output: Any = None, status: int = 204, **more: Any) -> Any:
        body = {"lease": job["lease"], "output": output, **more}
        return self.post(f"/jobs/{job['id']}/complete", body, status)

    def fail(self, job: Any, status: int = 204, delay: float | None = None, **failure: Any) -> Any:
        body = {"lease": job["lease"], "failure": {"type": "Broken", "message": "it broke", **failure}, "delay": delay}
        return self.post(f"/jobs/{job['id']}/fail", body, status)


class Server:
    """`penstock dev` on a folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.data = folder / "data"
        self.log = folder / "log.txt"
        self.url = ""
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._environment |= {**environment, "PYTHONWARNINGS": "ignore"}
        self._process: subprocess.Popen[bytes] | None = None
        self._clients: list[Api] = []
        self.second: Seeded | None = None
        self.expired = ""
        """A token whose time is up."""
        self.contract: Contract

    # -- the process -------------------------------------------------------------------------------------------

    def start(self) -> Server:
        with self.log.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
            )
        self.url = until(lambda: self._ready(before), 30)
        with httpx.Client(trust_env=False) as http:
            document = http.get(self.url + PREFIX + "/openapi.json").json()
        if not hasattr(self, "contract"):
            self.contract = Contract(document)
        return self

    def command(self) -> list[str]:
        """What Python is told to run."""
        return ["-m", "penstock", "dev", "--data", str(self.data), "--port", "0"]

    def _ready(self, before: int) -> str | None:
        assert self._process is not None
        text = self.log.read_bytes()[before:].decode()
        assert self._process.poll() is None, f"the server does not start:\n{text}"
        found = re.search(r"^ready (http://\S+)\n", text, re.MULTILINE)
        return found[1] if found else None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End the process; answers its exit code. Clients stay open: who used them may want to see them fail."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(how)
        try:
            return process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self) -> None:
        """The plug is pulled."""
        self.stop(signal.SIGKILL)

    def forget_clients(self) -> None:
        for client in self._clients:
            client.close()
        self._clients = []

    def complaints(self) -> list[str]:
        """What the log should not hold."""
        text = self.log.read_text(errors="replace")
        assert not re.search(r"\bp[tjs]_[\w.-]{20}|\beyJ[\w-]{20,}\.eyJ", text), "the log holds a secret"
        return re.findall(r"^.*(?:Traceback|\bdefect\b|cannot be|background task).*(?:\n.*){0,40}", text, re.MULTILINE)

    # -- who calls ---------------------------------------------------------------------------------------------

    @property
    def credentials(self) -> Any:
        return json.loads((self.data / "credentials.json").read_text())

    def client(self, token: str | None = None, name: str = "") -> Api:
        made = Api(self, token, name=name)
        self._clients.append(made)
        return made

    def application(self) -> Api:
        """The demo tenant's application: it may do everything there."""
        application = self.credentials["application"]
        return self._as_application(application["id"], application["secret"])

    def other(self) -> Api:
        """The second tenant's application."""
        assert self.second is not None
        return self._as_application(self.second.application_id, self.second.application_secret)

    def user(self, name: str) -> Api:
        """A person of the demo tenant: ana, ben or root."""
        (user,) = [each for each in self.credentials["users"] if each["email"].startswith(name)]
        grant = {"grant_type": "password", "username": user["email"], "password": user["password"]}
        return self.client(self._token(grant), f"user:{user['email']}")

    def login(self, email: str, password: str) -> Api:
        """Anybody, by e-mail address and password. Raises: Refused."""
        grant = {"grant_type": "password", "username": email, "password": password}
        return self.client(self._token(grant), f"user:{email.lower()}")

    def as_application(self, id: str, secret: str) -> Api:
        """Raises: Refused."""
        return self._as_application(id, secret)

    def _as_application(self, id: str, secret: str) -> Api:
        token = self._token({"grant_type": "client_credentials", "client_id": id, "client_secret": secret})
        return self.client(token, f"app:{id}")

    def _token(self, grant: dict[str, str]) -> str:
        with contextlib.closing(Api(self)) as nobody:
            return str(nobody.post("/token", grant, 200)["access_token"])

    # -- data --------------------------------------------------------------------------------------------------

    def seed_second_tenant(self) -> None:
        """Another tenant in the data of a server that does not run, by the platform's own operation."""
        self.data.mkdir(parents=True, exist_ok=True)
        settings = Settings(database_url=f"sqlite:///{self.data.absolute() / 'penstock.db'}", data_dir=self.data)
        platform = Platform.build(settings)
        try:
            users = [NewUser(email="zoe@example.com", password=secrets.token_urlsafe(9), groups=("staff",))]
            made = self.second = asyncio.run(seed(platform.operations, SECOND, "Second", users))
            token = self.expired = f"pt_{secrets.token_urlsafe(32)}"
            tid, principal = made.tenant.tid, f"app:{made.application_id}"
            unit = platform.store.submit(
                lambda tx: people.add_token(tx, hash_secret(token), tid, principal, AUDIENCE, 1)
            )
            unit.result(10)
        finally:
            platform.close()


@contextlib.contextmanager
def serving(folder: Path, *, second: bool = False, **environment: str) -> Iterator[Server]:
    """A server that runs while this is open, and has nothing to complain about when it ends."""
    server = Server(folder, **environment)
    if second:
        server.seed_second_tenant()
    try:
        yield server.start()
    finally:
        code = server.stop()
        server.forget_clients()
    assert code == 0
    assert not server.complaints(), "\n".join(server.complaints())
