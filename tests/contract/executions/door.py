"""A caller of the door; every answer is held to the door's own OpenAPI document and to its envelope."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import httpx

from penstock.worker import Worker
from support.server import Api, Contract, Server

PREFIX = "/api/workflow/v1.0"
CODES = {
    400: {"ValidationFailed"},
    401: {"Unauthorized"},
    403: {"Forbidden"},
    404: {"NotFound", "WorkflowNotFound", "ExecutionNotFound"},
    405: {"MethodNotAllowed"},
    409: {"Conflict", "WorkflowDisabled"},
    413: {"RequestTooLarge"},
    415: {"UnsupportedMediaType"},
}


class DoorContract(Contract):
    """The same look at the document, another envelope."""

    def check(self, response: httpx.Response) -> None:
        method, path = response.request.method, response.request.url.path
        about = f"{method} {path} -> {response.status_code} {response.text[:1000]}"
        assert response.status_code in {200, *CODES}, about
        assert response.headers["content-type"] == "application/json", about
        check_envelope(response.status_code, response.json())
        if response.status_code == 401:
            assert response.headers["www-authenticate"] == "Bearer", about
        operation = self.operation(method, path)
        if operation is not None:
            answer = operation["responses"][str(response.status_code)]["content"]["application/json"]
            self._schema(operation["operationId"], str(response.status_code), answer["schema"]).validate(
                response.json()
            )


def check_envelope(status: int, body: Any) -> None:
    """`{meta: {errors, validation, info}, data}`, whatever happened."""
    assert body.keys() == {"meta", "data"}, body
    meta = body["meta"]
    assert meta.keys() == {"errors", "validation", "info"}, body
    if status == 200:
        assert meta["errors"] == meta["validation"] == [], body
        return
    assert body["data"] is None, body
    (error,) = meta["errors"]
    assert error.keys() == {"code", "message"}, body
    assert error["code"] in CODES[status], body
    assert len(error["message"]) > 8, body
    assert bool(meta["validation"]) == (status in {400, 413, 415}), body
    for each in meta["validation"]:
        assert each.keys() == {"property", "message"}, body
        assert each["property"], body
        assert each["message"], body


class Drawn:
    """A graph of tasks by short names, as it is sent: `Drawn("t>a a>b a>c b>d c>d")`; `t` and what begins with it are triggers."""

    def __init__(self, edges: str, *alone: str, **parameters: Any) -> None:
        pairs = [edge.split(">") for edge in edges.split()]
        names = [*dict.fromkeys(name for pair in pairs for name in pair), *alone]
        self.ids = {name: str(uuid.uuid4()) for name in names}
        self.subjects = {name: str(uuid.uuid4()) for name in names}
        self.names = {id: name for name, id in self.ids.items()}
        self.data: dict[str, Any] = {
            "name": f"Graph {edges}",
            "tasks": [
                {
                    "id": self.ids[name],
                    "subjectId": self.subjects[name],
                    "name": name,
                    "parameters": parameters.get(name, {}),
                    "isTrigger": name.startswith("t"),
                }
                for name in names
            ],
            "tasksHierarchy": [{"parent": self.ids[one], "child": self.ids[other]} for one, other in pairs],
        }


class Caller:
    """One caller of the door, for one customer; with the native door for the workers' side."""

    def __init__(self, server: Server, contract: DoorContract, native: Api, customer: str) -> None:
        self.url = server.url
        self.native = native
        self.token = native.token
        self.customer = customer
        self.contract = contract
        self.workflows = f"{PREFIX}/customer/{customer}/workflow"
        headers = {"authorization": f"Bearer {native.token}"} if native.token else {}
        self.http = httpx.Client(base_url=server.url, headers=headers, timeout=30, trust_env=False)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        response = self.http.request(method, path, **more)
        self.contract.check(response)
        return response

    def call(self, method: str, path: str, body: Any = None, status: int = 200, **more: Any) -> Any:
        if body is not None:
            more["json"] = body
        response = self.request(method, path, **more)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text}"
        return response.json()

    def make(self, drawn: Drawn) -> str:
        return str(self.call("POST", self.workflows, {"data": drawn.data})["data"]["id"])

    def executions(self, workflow: str) -> str:
        return f"{self.workflows}/{workflow}/WorkflowExecution"

    def start(self, workflow: str, status: int = 200, **more: Any) -> Any:
        return self.call("POST", self.executions(workflow), {"data": {"workflowId": workflow}}, status, **more)

    def execution(self, workflow: str, id: str) -> Any:
        return self.call("GET", f"{self.executions(workflow)}/{id}")

    def queue(self, drawn: Drawn, workflow: str, id: str) -> list[str]:
        entries = self.execution(workflow, id)["data"]["executionQueue"]
        for entry in entries:
            assert entry["jobSubjectId"] == drawn.subjects[drawn.names[entry["taskId"]]]
        return [drawn.names[entry["taskId"]] for entry in entries]

    def work(self, drawn: Drawn, name: str) -> None:
        """Take the job of a task and complete it."""
        self.native.finish(self.native.take(drawn.subjects[name]))


@contextlib.contextmanager
def working(worker: Worker) -> Iterator[None]:
    """The worker runs in a thread for the time of the block."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield
    finally:
        worker.stop()
        thread.join(8)
        assert not thread.is_alive()
