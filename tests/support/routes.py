"""The native door's table of routes as tests go through it: a path for every route, and a body that it takes."""

from __future__ import annotations

import uuid
from typing import Any

from penstock.api.routes import ROUTES
from penstock.web.routing import Route

DEFINITION = {"penstock": 1, "code": "of_a_test", "nodes": {"work": {"kind": "job", "topic": "of_a_test"}}}

BODIES: dict[str, Any] = {
    "openSession": {"email": "stranger@example.com", "password": "nothing"},
    "createProvider": {"code": "no code", "name": "x", "issuer": "x", "client_id": "x"},
    "createToken": {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "nothing"},
    "deployDefinition": DEFINITION,
    "validateDefinition": DEFINITION,
    "startProcess": {"definition": "no_such_definition"},
    "startProcesses": {"processes": [{"definition": "no_such_definition"}]},
    "debugProcess": {"node": "work", "output": 1},
    "skipProcess": {"node": "work"},
    "restartProcess": {"node": "work"},
    "migrateProcess": {"version": 1},
    "signalProcess": {"name": "nobody-listens"},
    "pollJobs": {"topics": ["no-such-topic"]},
    "completeJobs": {"jobs": []},
    "failJobs": {"jobs": []},
    "throwJobs": {"jobs": []},
    "extendJobs": {"jobs": [{"id": "none.1", "lease": "none"}]},
    "logJobs": {"jobs": [{"id": "none.1", "lease": "none", "message": "a line"}]},
    "completeJob": {"lease": "none"},
    "failJob": {"lease": "none", "failure": {"type": "Broken"}},
    "throwJob": {"lease": "none", "code": "REFUSED"},
    "sendMessage": {"name": "nobody-waits"},
    "sendSignal": {"name": "nobody-listens"},
    "assignItem": {"to": "group:staff"},
    "delegateItem": {"to": "user:ana@example.com"},
    "changeItem": {"priority": 1},
    "beginBulk": {"command": "cancel", "ids": ["none"]},
    "commandItems": {"items": [{"id": "none", "command": "claim"}]},
    "saveDraft": {"half": "done"},
    "writeItemLog": {"message": "a line"},
    "beginThread": {"name": "a thread"},
    "writePost": {"text": "a post"},
    "editPost": {"text": "a post"},
    "createUser": {"email": "nobody@"},
    "createTenant": {"code": "no code", "administrator": {"email": "nobody@"}},
    "createGroup": {"code": "no code"},
    "changeGroup": {"name": "No group"},
    "createApplication": {"name": ""},
    "rejectVersion": {"comment": "no"},
    "createOwnToken": {"name": ""},
    "createAccessKey": {"name": "of a test"},
    "revokeToken": {"token": "none"},
    "putPermissions": {"permissions": {}},
    "putProcessValue": 1,
    "putDefinitionValue": 1,
    "createSchedule": {"definition": "no_such_definition", "cron": "@daily"},
    "updateSchedule": {"definition": "no_such_definition", "cron": "@daily"},
    "putSecret": {"value": "of a test"},
    "putConnection": {"base_url": "https://api.example.com"},
}
"""By operation; what is not here takes `{}`."""

NAMED = {route.operation: route for route in ROUTES}
PUBLIC = {"createToken", "openSession", "listLogins", "finishLogin", "beginLogin"}
OF_OPERATORS = {route.operation for route in ROUTES if route.tag == "Installation"}
"""Who is no operator is not told whether there is such a tenant: 403."""
MAKING = {"putSecret", "putConnection"}
"""What they name need not be there: they make it."""
WITH_ID = [route for route in ROUTES if "{" in route.path and route.operation not in MAKING]
WITH_BODY = [route for route in ROUTES if route.request is not None and not route.stream]


def names(routes: list[Route[Any]]) -> list[str]:
    return [route.operation for route in routes]


def body_of(route: Route[Any]) -> dict[str, Any]:
    """What a call of the route needs as keyword arguments of the HTTP client."""
    return {} if route.request is None else {"json": BODIES.get(route.operation, {})}


def path_of(route: Route[Any], **ids: Any) -> str:
    """The route's path with ids nobody has, but for those given."""
    unknown = str(uuid.uuid4())
    owner = unknown if route.path.startswith("/processes") else "no_such_code"
    own = f"{unknown}.1" if route.path.startswith("/jobs/{id}") else unknown
    name = "made_by_a_test" if route.operation in MAKING else "no_such_name"
    values = {
        "id": own,
        "owner": owner,
        "code": "no_such_code",
        "key": "a_key",
        "name": name,
        "tenant": "no_such_tenant",
        "provider": "no_such_provider",
        "number": 1,
        "document": unknown,
        "ak": "NO_SUCH_AK",
        **ids,
    }
    return route.path.replace("{number:int}", "{number}").format(**values)
