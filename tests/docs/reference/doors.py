"""Each door's operations and errors, from the tables of routes that serve them."""

from __future__ import annotations

import inspect
import re
from types import SimpleNamespace
from typing import Any

from docs.reference.markdown import code, codes, first_line, page, table
from penstock import errors
from penstock.api import routes as native
from penstock.dialects.cloudio import routes as cloudio
from penstock.dialects.executions import routes as executions
from penstock.web.openapi import _codes
from penstock.web.routing import Auth, Door, Route
from penstock.wiring.front import front_routes

BODY = 1024 * 1024
NOBODY: Any = SimpleNamespace(credentials=None, sessions=None, cookies=None)
ORIGINS = """
Where it comes from: **said**: the vendor's pages say it. **client**: the vendor's published client is known to send it. **ours**: by inference, or our extension.
"""


def doors() -> dict[str, tuple[str, Door[Any]]]:
    """Page -> title and door."""
    front = Door(front_routes(), NOBODY, name="front", title="Penstock", version="")
    return {
        "native": ("Operations of the native door", native.door(NOBODY, BODY)),
        "cloudio": ("Operations of the door cloudio", cloudio.door(NOBODY)),
        "executions": ("Operations of the door executions", executions.door(NOBODY, BODY)),
        "front": ("Operations beside the doors", front),
    }


def made() -> dict[str, str]:
    return {f"operations-{name}": operations(name, title, door) for name, (title, door) in doors().items()}


def operations(name: str, title: str, door: Door[Any]) -> str:
    routes = [route for route in door.routes if not route.hidden]
    vendors = any(route.origin for route in routes)
    tags = list(dict.fromkeys(route.tag for route in routes))
    parts = [introduction(name, door, len(routes), vendors=vendors)]
    for tag in tags:
        if len(tags) > 1:
            parts.append(f"## {tag or 'Other'}")
        parts.append(rows_of([route for route in routes if route.tag == tag], door, vendors=vendors))
    return page(title, *parts)


def introduction(name: str, door: Door[Any], count: int, *, vendors: bool) -> str:
    about = f"{count} operations below {code(door.prefix or '/')}. *token*: wants a credential in `Authorization`, else 401. "
    about += "**E**: has revisions (`ETag`, `If-Match`). Every operation may answer 400 and 503, one with a body 413 and 415. "
    about += "Who may what: [policy](policy.md)."
    if name != "front":
        about += " Requests and answers in full: the door's OpenAPI document."
    return about + (ORIGINS if vendors else "")


def rows_of(routes: list[Route[Any]], door: Door[Any], *, vendors: bool) -> str:
    columns = ["operation", "call", "what", "credential", "answers", "errors"]
    rows = []
    for route in routes:
        row = [
            code(route.operation),
            code(f"{route.method} {re.sub(r':[a-z]+}', '}', route.path)}"),
            route.summary + (" **E**" if route.revised else ""),
            "token" if route.auth is Auth.REQUIRED else "",
            ", ".join(map(str, (route.status, *route.also))),
            refusals(door, route),
        ]
        rows.append([*row, route.origin] if vendors else row)
    return table([*columns, "from"] if vendors else columns, rows)


def refusals(door: Door[Any], route: Route[Any]) -> str:
    everywhere = {400, 413, 415, 500, 503} | ({401} if route.auth is Auth.REQUIRED else set())
    found = {status: kinds for status, kinds in sorted(_codes(door, route).items()) if status not in everywhere}
    return ", ".join(f"{status} {codes(kinds)}" for status, kinds in found.items())


# -- errors ----------------------------------------------------------------------------------------------------------


def made_errors() -> str:
    every = {name: door for name, (_, door) in doors().items() if name != "front"}
    rows = []
    for kind in kinds():
        shapes = [door.errors.shape(kind) for door in every.values()]
        rows.append([code(kind.__name__), first_line(kind), *(f"{each.status} {code(each.code)}" for each in shapes)])
    return page(
        "Errors",
        "Every error that the platform raises to a caller, and what each door makes of it: the status of HTTP, and the door's own word. "
        "An error of ours (500) carries an id that leads to the log. 429 and 503 say in `Retry-After` when to come back.",
        table(["error", "when", *every], rows),
    )


def kinds() -> list[type[errors.PenstockError]]:
    """All but the base, as they stand in the file."""
    found = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, errors.PenstockError) and each is not errors.PenstockError
    ]
    return sorted(found, key=lambda each: inspect.getsourcelines(each)[1])
