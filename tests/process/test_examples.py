"""Every example request of the OpenAPI document can be sent: the server may not know what it names, but it reads it."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.api.routes import ROUTES
from support.routes import path_of
from support.server import Api, Server

SENT = [route for route in ROUTES if route.request is not None and not route.stream]


def examples(server: Server, operation: str) -> list[Any]:
    method, template = server.contract.operations[operation]
    content = server.contract.document["paths"][template][method.lower()]["requestBody"]["content"]
    media = content["application/json"]
    found = [each["value"] for each in media.get("examples", {}).values()]
    return [*found, media["example"]] if "example" in media else found


@pytest.mark.parametrize("route", SENT, ids=lambda route: route.operation)
def test_an_example_request_is_understood(server: Server, api: Api, route: Any):
    found = examples(server, route.operation)
    assert found
    if route.operation == "beginBulk":  # it looks for what it is to filter by
        for name in ("Loan", "Loan application"):
            api.post("/definitions", {**examples(server, "deployDefinition")[0], "code": "loan", "name": name})
    try:
        send(api, route, found)
    finally:
        if route.operation == "changeTenant":
            api.patch("/tenant", {"name": "Demo", "approval": "none", "four_eyes": False})


def send(api: Api, route: Any, found: list[Any]) -> None:
    for body in found:
        more = {"wait": 0} if isinstance(body, dict) and "wait" in body else {}
        sent = {**body, **more} if more else body
        response = api.request(route.method, path_of(route), json=sent, headers={"content-type": "application/json"})
        told = response.json() if response.content else {}
        assert response.status_code not in {400, 413, 415, 422}, (sent, told)
        if isinstance(told, dict):
            for entry in told.get("results", []):
                assert entry.get("error", {}).get("status") != 400, entry
