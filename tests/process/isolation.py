"""What the isolation test calls, for every route of every door. Here is what a new route needs; without it the test fails.

* a new path parameter: a line in `PATHS`
* a new query parameter: a line in `QUERIES` (what of another tenant it may name) or its name in `NEUTRAL`
* a new body: a line in `BODIES`
* a new table: nothing when it has one of the columns of `OWNERS`; else a line in `NOBODYS`, with the reason
* a new kind of thing: made in `build`, with `word` in every text of it
* a new door: its routes in `ROUTES`
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import msgspec

from penstock.api.routes import PREFIX
from penstock.api.routes import ROUTES as NATIVE
from penstock.dialects.cloudio.routes import PREFIX as CLOUDIO_PREFIX
from penstock.dialects.cloudio.routes import ROUTES as CLOUDIO
from penstock.dialects.executions.routes import EXAMPLE
from penstock.dialects.executions.routes import PREFIX as EXECUTIONS_PREFIX
from penstock.dialects.executions.routes import ROUTES as EXECUTIONS
from penstock.web.routing import Route
from support.server import Api, until

Things = SimpleNamespace
"""Ids and names of what a tenant has, as `build` made it."""

ROUTES: list[tuple[str, Route[Any]]] = [
    *((PREFIX, route) for route in NATIVE),
    *((EXECUTIONS_PREFIX, route) for route in EXECUTIONS),
    *((CLOUDIO_PREFIX, route) for route in CLOUDIO),
]

OTHER = "beta"
"""The tenant of who calls. What a log-in page offers is public: there, too, the other's providers are not this tenant's."""

PATHS: dict[tuple[str, str], str | Callable[[Things], Any]] = {
    ("processes", "id"): "process",
    ("processes", "owner"): "process",
    ("processes", "document"): "document",
    ("definitions", "code"): "code",
    ("definitions", "owner"): "code",
    ("definitions", "number"): lambda _: 1,
    ("items", "id"): "item",
    ("items", "number"): lambda _: 1,
    ("bulk", "id"): "bulk",
    ("jobs", "id"): "job",
    ("documents", "id"): "document",
    ("schedules", "id"): "schedule",
    ("secrets", "name"): "secret",
    ("connections", "name"): "connection",
    ("users", "id"): "email",
    ("groups", "code"): "group",
    ("groups", "id"): "email",
    ("applications", "id"): "application",
    ("applications", "ak"): "ak",
    ("me", "id"): "held",
    ("providers", "code"): "provider",
    ("login", "tenant"): lambda _: OTHER,
    ("login", "provider"): "provider",
    ("tenants", "code"): "tenant",
    ("customer", "customerId"): "tenant_id",
    ("customer", "workflowId"): "workflow",
    ("customer", "executionId"): "execution",
    **{(owner, "key"): (lambda _: "a_key") for owner in ("processes", "definitions")},
}
"""(first segment of the path, parameter) -> which of the things stands there."""

ALSO: dict[tuple[str, str], list[str]] = {
    ("items", "id"): ["thread", "message"],
    ("documents", "id"): ["loose"],
    ("me", "id"): ["session"],
    ("processes", "document"): ["loose"],
    ("users", "id"): ["user"],
    ("groups", "id"): ["user"],
    ("definitions", "code"): ["definition_id"],
    ("definitions", "owner"): ["definition_id"],
}
"""What else may stand there."""

QUERIES: dict[str, str | Callable[[Things], Any]] = {
    "process": "process",
    "parent": "process",
    "definition": "code",
    "created_by": lambda of: f"user:{of.admin}",
    "owner": lambda of: f"user:{of.email}",
    "group": "group",
    "task": lambda _: "CHECK",
    "metadata": "word",
    "input": "word",
    "entity": "word",
    "q": "word",
    "item": "item",
    "email": "email",
    "name": "word",
    "actor": lambda of: f"user:{of.admin}",
    "subject": "email",
    "node": lambda _: "work",
    "tenant": lambda _: OTHER,
}
"""What of another tenant a filter may name."""
NEUTRAL = {
    "limit", "cursor", "sort", "order", "status", "state", "kind", "type", "mine", "overdue", "due_before", "incidents",
    "version", "created_from", "created_to", "ended_from", "ended_to", "outcome", "count", "from", "to", "after", "since",
    "until", "disabled", "code", "error", "error_description", "iss", "return_to",
}  # fmt: skip
"""Parameters that name nothing of anybody. A cursor is sent, too: the other tenant's own of the same list."""


def _json(make: Callable[[Things], Any]) -> Callable[[Things], list[dict[str, Any]]]:
    return lambda of: [{"json": make(of)}]


def _claims(of: Things) -> list[dict[str, Any]]:
    """With the other's ids and the caller's own token, a made-up one, and the other's ids but for one."""
    theirs = of.claim
    return [
        {"json": {**theirs, "token": of.caller_claim["token"]}},
        {"json": {**theirs, "token": theirs["token"][:-6] + "AAAAAA"}},
        *({"json": {**of.caller_claim, name: theirs[name]}} for name in ("wfInstUid", "executionId")),
    ]


def _provider(code: str) -> dict[str, Any]:
    return {"code": code, "issuer": "https://login.example.com", "client_id": "penstock", "enabled": False}


BODIES: dict[str, Callable[[Things], list[dict[str, Any]]]] = {
    "createToken": _json(lambda of: {"grant_type": "client_credentials", "client_id": of.application, "client_secret": "no"}),
    "deployDefinition": _json(lambda of: of.document_of(of.code)),
    "validateDefinition": _json(lambda of: of.document_of(of.code)),
    "putPermissions": _json(lambda of: {"permissions": {"viewer": [f"user:{of.email}"]}}),
    **{f"{verb}Version": _json(lambda _: {"comment": "no"})
       for verb in ("submit", "withdraw", "approve", "reject", "activate", "retire")},
    "startProcess": lambda of: [{"json": {"definition": of.code, "id": of.process}}, {"json": {"definition": of.code}}],
    "startProcesses": _json(lambda of: {"processes": [{"definition": of.code, "id": of.process}]}),
    "completeProcess": _json(lambda _: {"output": 1}),
    "cancelProcess": _json(lambda _: {}),
    "terminateProcess": _json(lambda _: {}),
    "debugProcess": _json(lambda _: {"node": "work", "output": 1}),
    "skipProcess": _json(lambda _: {"node": "work"}),
    "restartProcess": _json(lambda _: {"node": "work"}),
    "migrateProcess": _json(lambda _: {"version": 1}),
    "signalProcess": _json(lambda of: {"name": of.news}),
    "commandItems": _json(lambda of: {"items": [{"id": of.item, "command": each} for each in ("claim", "complete")]}),
    "changeItem": _json(lambda _: {"priority": 99}),
    "assignItem": lambda of: [{"json": {"to": to}} for to in (f"group:{of.group}", f"user:{of.email}")],
    "delegateItem": _json(lambda of: {"to": f"user:{of.email}"}),
    "cancelItem": _json(lambda _: {}),
    "completeItem": _json(lambda _: {}),
    "saveDraft": _json(lambda _: {"half": "done"}),
    "writeItemLog": _json(lambda _: {"message": "a line"}),
    "beginThread": _json(lambda of: {"name": "a thread", "candidates": [f"user:{of.email}"]}),
    "writePost": _json(lambda _: {"text": "a post"}),
    "editPost": _json(lambda _: {"text": "a post"}),
    "beginBulk": lambda of: [
        {"json": {"command": command, **about}}
        for command in ("cancel", "terminate")
        for about in ({"ids": [of.process]}, {"filter": {"definition": of.code}}, {"filter": {"created_by": f"user:{of.admin}"}})
    ],
    "pollJobs": _json(lambda of: {"topics": [of.topic], "wait": 0}),
    "completeJobs": _json(lambda of: {"jobs": [{"id": of.job, "lease": of.lease}], "poll": {"topics": [of.topic]}}),
    "failJobs": _json(lambda of: {"jobs": [{"id": of.job, "lease": of.lease, "failure": {"type": "X"}}]}),
    "throwJobs": _json(lambda of: {"jobs": [{"id": of.job, "lease": of.lease, "code": "X"}]}),
    "extendJobs": _json(lambda of: {"jobs": [{"id": of.job, "lease": of.lease}]}),
    "logJobs": _json(lambda of: {"jobs": [{"id": of.job, "lease": of.lease, "message": "a line"}]}),
    "completeJob": lambda of: [
        {"json": {"lease": of.lease, "values": {"k": 1}}},
        {"json": {}, "headers": {"authorization": f"Bearer {of.caller_claim['token']}"}},
    ],
    "failJob": _json(lambda of: {"lease": of.lease, "failure": {"type": "X"}}),
    "throwJob": _json(lambda of: {"lease": of.lease, "code": "X"}),
    "sendMessage": _json(lambda of: {"name": of.news, "key": "k", "id": "m1"}),
    "sendSignal": _json(lambda of: {"name": of.news}),
    "putProcessValue": _json(lambda _: "theirs"),
    "putDefinitionValue": _json(lambda _: "theirs"),
    "uploadDocument": lambda of: [
        {"files": {"file": ("theirs.txt", b"theirs", "text/plain")}, "params": params}
        for params in ({"process": of.process}, {"item": of.item}, {"process": of.process, "item": of.item})
    ],
    "linkDocument": lambda of: [{"json": {}}, {"json": {"item": of.item}}],
    "createSchedule": _json(lambda of: {"definition": of.code, "cron": "@yearly", "id": of.schedule}),
    "updateSchedule": _json(lambda of: {"definition": of.code, "cron": "@yearly"}),
    "putSecret": _json(lambda _: {"value": "theirs"}),
    "putConnection": _json(lambda of: {"base_url": "https://theirs.example.com", "auth": {"type": "bearer", "token": f"${{secrets.{of.secret}}}"}}),
    "testConnection": _json(lambda _: {"path": "/"}),
    "createUser": _json(lambda of: {"email": of.email, "groups": [of.group]}),
    "changeUser": _json(lambda _: {"name": "Theirs", "password": "correct horse battery"}),
    "changeMe": _json(lambda _: {"name": "Myself"}),
    "revokeToken": _json(lambda of: {"token": of.token}),
    "createGroup": _json(lambda of: {"code": of.group}),
    "changeGroup": _json(lambda _: {"name": "Theirs"}),
    "createApplication": _json(lambda _: {"name": "Theirs"}),
    "changeApplication": _json(lambda _: {"name": "Theirs", "disabled": True}),
    "rotateSecret": _json(lambda _: {}),
    "createOwnToken": _json(lambda of: {"name": of.held}),
    "createAccessKey": _json(lambda _: {"name": "Theirs"}),
    "changeAccessKey": _json(lambda _: {"name": "Theirs", "disabled": True}),
    "openSession": _json(lambda of: {"email": of.email, "password": "correct horse battery", "tenant": OTHER}),
    "createProvider": _json(lambda of: {**_provider(of.provider), "name": "Theirs"}),
    "changeProvider": _json(lambda _: {"name": "Theirs"}),
    "changeTenant": _json(lambda _: {"name": "Theirs"}),
    "createTenant": _json(lambda of: {"code": of.tenant, "administrator": {"email": of.admin}}),
    "changeInstalledTenant": _json(lambda _: {"disabled": True, "quotas": {"open_processes": 0}}),
    "startWorkflowExecution": _json(lambda of: {"data": {"workflowId": of.workflow}}),
    "createWorkflow": _json(lambda _: EXAMPLE),
    "replaceWorkflow": _json(lambda _: EXAMPLE),
    **dict.fromkeys(("get", "instanceGet", "incrementAndGet", "instanceIncrementAndGet"), _claims),
    **{operation: (lambda of: [{"json": {**each["json"], "value": "theirs"}} for each in _claims(of)])
       for operation in ("put", "instancePut")},
    "auth": lambda _: [{"json": {}}],
}  # fmt: skip
"""By operation: the arguments of the HTTP client for each call; what takes no body at all needs no line."""

OWNERS = ("tid", "pid", "did", "vid", "uid", "gid", "bid")
"""Columns by which a row is somebody's; of several the first counts."""
MADE_BY_SERVER = (
    "ak", "application", "bulk", "document", "execution", "held", "item", "loose", "message", "session", "thread", "user",
    "workflow",
)  # fmt: skip
"""Things with ids that nobody chooses: a path with another tenant's is always refused."""
NOBODYS = {
    "meta": "the installation's own",
    "nodes": "the installation's own",
    "signing_keys": "the installation's own",
    "login_failures": "of names and addresses that were tried, whether there are such or not",
    "alembic_version": "the schema's",
}

GUESSES = {"createToken"}
"""Where anybody may try a secret: a wrong one stands in the journal of whose it would be."""

# -- the calls -------------------------------------------------------------------------------------------------------


def value(of: Things, which: str | Callable[[Things], Any]) -> Any:
    return getattr(of, which) if isinstance(which, str) else which(of)


def parameters(route: Route[Any]) -> list[tuple[str, str]]:
    """Those of the path, as keys of `PATHS`."""
    first = route.path.strip("/").partition("/")[0]
    names = [part[1:-1].partition(":")[0] for part in route.path.split("/") if part.startswith("{")]
    return [(first, name) for name in names]


def described(route: Route[Any]) -> list[str]:
    """What of the route nobody has described."""
    missing = [f"PATHS[{each}]" for each in parameters(route) if each not in PATHS]
    for field in msgspec.structs.fields(route.query) if route.query else ():
        if field.encode_name not in NEUTRAL and field.encode_name not in QUERIES:
            missing.append(f"QUERIES[{field.encode_name!r}]")
    if _members(route.request) and route.operation not in BODIES:
        missing.append(f"BODIES[{route.operation!r}]")
    return missing


def _members(kind: Any) -> bool:
    """Whether there is something to say in the body."""
    if kind is None:
        return False
    return not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)) or bool(kind.__struct_fields__)


def calls(
    prefix: str, route: Route[Any], of: Things, *, paths: dict[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Every call of the route with somebody's things as ids: arguments of the HTTP client."""
    bodies = BODIES[route.operation](of) if route.operation in BODIES else [{"json": {}} if route.request else {}]
    names = [field.encode_name for field in msgspec.structs.fields(route.query)] if route.query else []
    queries: list[dict[str, Any]] = [{}]
    if not route.stream:
        for name in names:
            if name in QUERIES:
                key = f"{name}.customer" if name in {"metadata", "input", "entity"} else name
                queries.append({key: value(of, QUERIES[name])})
    for path in _paths(prefix, route, of):
        for body in bodies:
            for query in queries:
                yield {"method": route.method, "url": path, **body, "params": {**body.get("params", {}), **query}}


def _paths(prefix: str, route: Route[Any], of: Things) -> Iterator[str]:
    wanted = parameters(route)
    usual = {name: value(of, PATHS[first, name]) for first, name in wanted}
    choices = [usual]
    for first, name in wanted:
        choices += [{**usual, name: getattr(of, other)} for other in ALSO.get((first, name), ())]
    template = prefix + route.path.replace(":int}", "}")
    for choice in choices:
        yield template.format(**choice)


# -- the things ------------------------------------------------------------------------------------------------------


def build(admin: Api, *, suffix: str, word: str, tenant: str, email: str) -> Things:
    """One of everything, by the tenant's administrator: ids that clients make end with `suffix`, every text has `word`."""
    of = Things(word=word, tenant=tenant, admin=email, token=admin.token)
    of.tenant_id = admin.get("/tenant")["id"]
    _people(of, admin, suffix)
    _definition(of, admin, suffix)
    _process(of, admin, suffix)
    _items(of, admin)
    _besides(of, admin, suffix)
    _execution(of, admin)
    return of


def _people(of: Things, admin: Api, suffix: str) -> None:
    of.group, of.email = f"group_{suffix}", f"person_{suffix}@example.com"
    admin.post("/groups", {"code": of.group, "name": of.word}, 201)
    body = {"email": of.email, "name": of.word, "groups": [of.group], "password": "correct horse battery"}
    of.user = admin.post("/users", body, 201)["id"]
    of.application = admin.post("/applications", {"name": of.word}, 201)["id"]
    of.ak = admin.post(f"/applications/{of.application}/access-keys", {"name": of.word}, 201)["ak"]
    of.held = admin.post("/me/tokens", {"name": of.word}, 201)["id"]
    of.provider = f"provider_{suffix}"
    admin.post("/providers", {**_provider(of.provider), "name": of.word}, 201)
    log_in = {"email": of.email, "password": body["password"], "tenant": of.tenant}
    of.session = admin.post("/session", log_in, 201)["id"]


def _definition(of: Things, admin: Api, suffix: str) -> None:
    of.code, of.topic, of.news = f"flow_{suffix}", f"topic_{suffix}", f"news_{suffix}"

    def document(code: str) -> dict[str, Any]:
        return {
            "penstock": 1, "code": code, "name": "A flow", "search": ["metadata.customer"],
            "tasks": {"CHECK": {"name": "Check", "candidates": ["role:everyone"]},
                      "READ": {"name": "Read", "candidates": ["role:everyone"]}},
            "nodes": {"work": {"kind": "job", "topic": f"topic_{suffix}"}, "check": {"kind": "item", "task": "CHECK"},
                      "read": {"kind": "item", "task": "READ", "type": "message", "wait": True},
                      "hear": {"kind": "message", "message": "nobody sends it"}, "later": {"kind": "timer", "after": "P30D"}},
        }  # fmt: skip

    of.document_of = document
    made = admin.post("/definitions", {**document(of.code), "name": of.word}, 201)
    of.definition_id = made.get("id", of.code)
    admin.put(f"/definitions/{of.code}/values/a_key", of.word)
    retired = admin.post("/definitions", {**document(f"retired_{suffix}"), "name": of.word}, 201)["code"]
    admin.post(f"/definitions/{retired}/versions/1/retire", {"comment": of.word})


def _process(of: Things, admin: Api, suffix: str) -> None:
    of.process = str(uuid.uuid5(uuid.NAMESPACE_URL, suffix))
    data = {"input": {"text": of.word}, "metadata": {"customer": of.word}, "entity": {"text": of.word}}
    body = {"definition": of.code, "id": of.process, **data}
    admin.post("/processes", body, 201, headers={"idempotency-key": f"key_{suffix}"})
    assert admin.process(of.process)["metadata"] == {"customer": of.word}
    admin.put(f"/processes/{of.process}/values/a_key", of.word)
    job = admin.take(of.topic, lease=3600)
    of.job, of.lease = job["id"], job["lease"]
    of.claim = {
        "wfUid": of.code, "wfInstUid": of.process, "version": "1", "token": job["token"], "nodeUid": "work",
        "executionId": job["execution_id"], "key": "a_key",
    }  # fmt: skip


def _items(of: Things, admin: Api) -> None:
    items = {each["node"]: each["id"] for each in admin.get("/items", process=of.process)["items"]}
    of.item, of.message = items["check"], items["read"]
    admin.post(f"/items/{of.item}/claim", {})
    admin.put(f"/items/{of.item}/draft", {"text": of.word})
    admin.post(f"/items/{of.item}/log", {"message": of.word})
    body = {"name": of.word, "text": of.word, "candidates": ["role:everyone"]}
    of.thread = admin.post(f"/processes/{of.process}/threads", body, 201)["id"]


def _besides(of: Things, admin: Api, suffix: str) -> None:
    files = {"file": (f"{of.word}.txt", of.word.encode(), "text/plain")}
    of.document = admin.call("POST", f"/documents?process={of.process}", files=files)["id"]
    of.loose = admin.call("POST", "/documents", files=files)["id"]
    of.schedule, of.secret, of.connection = f"yearly_{suffix}", f"secret_{suffix}", f"connection_{suffix}"
    schedule = {"definition": of.code, "id": of.schedule, "cron": "@yearly", "input": {"text": of.word}}
    admin.post("/schedules", schedule, 201)
    admin.put(f"/secrets/{of.secret}", {"value": of.word})
    headers = {"x-of": of.word}
    admin.put(f"/connections/{of.connection}", {"base_url": f"https://{of.word}.example.com", "headers": headers})
    of.bulk = admin.post("/bulk", {"command": "cancel", "ids": [of.process], "dry_run": True}, 202)["id"]
    until(lambda: admin.get(f"/bulk/{of.bulk}")["state"] not in {"PENDING", "RUNNING"})
    admin.post("/messages", {"name": of.news, "key": "k", "id": "m1", "payload": of.word, "ttl": 86400}, 202)


def _execution(of: Things, admin: Api) -> None:
    base = f"{admin.server.url}{EXECUTIONS_PREFIX}/customer/{of.tenant_id}/workflow"
    data = {**EXAMPLE["data"], "name": of.word}
    made = admin.http.post(base, json={"data": data}).json()
    of.workflow = made["data"]["id"]
    started = admin.http.post(f"{base}/{of.workflow}/WorkflowExecution", json={"data": {"workflowId": of.workflow}})
    of.execution = started.json()["data"]["id"]
