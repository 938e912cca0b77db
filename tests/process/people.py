"""People of a test's own: users of the demo tenant whom no other test changes."""

from __future__ import annotations

from typing import Any

from support.server import Api, Server, fresh

PASSWORD = "correct horse battery"


def person(root: Api, *, name: str = "person", **more: Any) -> Any:
    """A new user, who can log in."""
    body = {"email": f"{fresh(name)}@example.com", "password": PASSWORD, **more}
    return root.post("/users", body, 201)


def logged_in(server: Server, root: Api, **more: Any) -> Api:
    return server.login(person(root, **more)["email"], PASSWORD)


def group(root: Api, *members: Api) -> str:
    """A new group with these users; answers its code."""
    code: str = root.post("/groups", {"code": fresh("group")}, 201)["code"]
    for member in members:
        root.put(f"/groups/{code}/members/{member.name.partition(':')[2]}", None)
    return code


def etag(api: Api, path: str) -> str:
    return str(api.request("GET", path).headers["etag"])
