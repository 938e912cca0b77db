"""Whatever goes wrong is told in the envelope; checks come in one order."""

from __future__ import annotations

import asyncio
import uuid

import httpx
import pytest

from contract.executions.door import PREFIX, Drawn
from penstock.dialects.executions.routes import Executions, door
from penstock.identity.model import Actor, Kind, Tenant

JSON = {"content-type": "application/json"}
SOMEBODY = str(uuid.uuid4())


@pytest.fixture(scope="module")
def workflow(caller):
    return caller.make(Drawn("t>a"))


def told(body):
    return [(each["property"], each["message"]) for each in body["meta"]["validation"]]


def code(body):
    return body["meta"]["errors"][0]["code"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PREFIX),
        ("GET", f"{PREFIX}/customer"),
        ("POST", f"{PREFIX}/customer/x/workflow/y/WorkflowExecution/z/more"),
        ("GET", "/api/workflow"),
        ("DELETE", "/API/Workflow/v2.0/customer"),
        ("GET", f"{PREFIX}/customer//workflow"),
    ],
)
def test_an_unknown_path_is_404_in_the_envelope(caller, method, path):
    assert code(caller.call(method, path, status=404)) == "NotFound"


def test_another_method_is_405_and_names_those_allowed(caller, workflow):
    response = caller.request("PATCH", caller.executions(workflow), content=b"{}")
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


BODIES = [
    # body, property, part of the message
    (b"", "$", "too early"),
    (b"{", "$", "too early"),
    (b"nothing", "$", "malformed"),
    (b'{"data":{"workflowId":"\xff"}}', "$", "UTF-8"),
    (b"[]", "$", "must be an object"),
    (b"null", "$", "must be an object"),
    (b"{}", "data", "missing"),
    (b'{"data":null}', "data", "must be an object"),
    (b'{"data":[]}', "data", "must be an object"),
    (b'{"data":{}}', "data.workflowId", "missing"),
    (b'{"data":{"workflowId":null}}', "data.workflowId", "must be a text"),
    (b'{"data":{"workflowId":7}}', "data.workflowId", "must be a text"),
    (b'{"data":{"workflowId":"7"}}', "data.workflowId", "UUID"),
    (b'{"data":{"workflowId":"3c90c3cc-0d44-4b50-8888-8dd25736052a"}}', "data.workflowId", "of the path"),
    (b'{"data":{"workflowId":"' + b"[" * 300 + b'"},"x":' + b"[" * 200 + b"]" * 200 + b"}", "$", "nested"),
]


@pytest.mark.parametrize(("body", "where", "text"), BODIES, ids=[str(row[0][:45]) for row in BODIES])
def test_a_bad_body_is_400_before_anybody_asks_who_calls(nobody, workflow, body, where, text):
    answer = nobody.call("POST", nobody.executions(workflow), status=400, content=body, headers=JSON)
    ((property, message),) = told(answer)
    assert property == where
    assert text in message


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
def test_another_media_type_is_415(nobody, workflow, kind):
    body = {"content": b'{"data":{}}', "headers": {"content-type": kind}}
    assert nobody.request("POST", nobody.executions(workflow), **body).status_code == 415


def test_a_large_body_is_413(nobody, workflow):
    for path, size in ((nobody.workflows, 1_100_000), (nobody.executions(workflow), 9_000_000)):
        body = b'{"data":{"workflowId":"' + b"x" * size + b'"}}'
        assert nobody.request("POST", path, content=body, headers=JSON).status_code == 413


@pytest.mark.parametrize("header", [None, "Basic eDp5", "Bearer", "Bearer pt_unknown"])
def test_without_a_good_token_it_is_401_with_a_challenge(nobody, header):
    headers = {"authorization": header} if header else {}
    for method, path in (("GET", nobody.workflows), ("GET", f"{nobody.workflows}/{SOMEBODY}/WorkflowExecution")):
        response = nobody.request(method, path, headers=headers)
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_an_expired_token_is_401(server, nobody):
    response = nobody.request("GET", nobody.workflows, headers={"authorization": f"Bearer {server.expired}"})
    assert response.status_code == 401


def test_another_customer_is_403_even_where_nothing_is(caller, server, workflow):
    for customer in (server.second.tenant.id, SOMEBODY, "x"):
        path = f"{PREFIX}/customer/{customer}/workflow/{workflow}/WorkflowExecution"
        assert code(caller.call("POST", path, {"data": {"workflowId": workflow}}, 403)) == "Forbidden"
        assert code(caller.call("GET", path, status=403)) == "Forbidden"


def test_another_customers_workflow_is_404(server, contract, workflow):
    path = f"{PREFIX}/customer/{server.second.tenant.id}/workflow/{workflow}/WorkflowExecution"
    response = httpx.post(
        server.url + path,
        json={"data": {"workflowId": workflow}},
        headers={"authorization": f"Bearer {server.other().token}"},
        trust_env=False,
    )
    contract.check(response)
    assert response.status_code == 404


@pytest.mark.parametrize("id", [SOMEBODY, "x", "%00", "a%2Fb"])
def test_an_unknown_workflow_is_404(caller, id):
    answers = [caller.request("GET", f"{caller.workflows}/{id}"), caller.request("GET", caller.executions(id))]
    answers.append(caller.request("DELETE", f"{caller.workflows}/{id}"))
    for answer in answers:
        if id == "%00":
            assert answer.status_code == 400
        else:
            assert (answer.status_code, code(answer.json())) == (404, "WorkflowNotFound")


def test_a_start_of_an_unknown_workflow_is_404(caller):
    assert code(caller.start(SOMEBODY, 404)) == "WorkflowNotFound"


def test_an_unknown_execution_is_404_and_so_is_another_workflows(caller, workflow):
    execution = caller.start(caller.make(Drawn("t>a")))["data"]["id"]
    for id in (SOMEBODY, "x", execution):
        answer = caller.call("GET", f"{caller.executions(workflow)}/{id}", status=404)
        assert code(answer) == "ExecutionNotFound"


def test_who_may_not_start_gets_403_and_may_still_look(person, workflow):
    assert code(person.start(workflow, 403)) == "Forbidden"
    person.call("GET", person.executions(workflow))
    person.call("POST", person.workflows, {"data": Drawn("t>a").data}, 403)
    person.call("DELETE", f"{person.workflows}/{workflow}", status=403)


def test_a_disabled_workflow_is_409_until_it_is_put_again(caller):
    drawn = Drawn("t>a")
    id = caller.make(drawn)
    running = caller.start(id)["data"]["id"]
    assert caller.call("DELETE", f"{caller.workflows}/{id}")["data"]["enabled"] is False
    assert caller.call("DELETE", f"{caller.workflows}/{id}")["data"]["enabled"] is False
    assert code(caller.start(id, 409)) == "WorkflowDisabled"
    caller.work(drawn, "a")
    assert caller.execution(id, running)["data"]["finished"] is not None
    again = caller.call("PUT", f"{caller.workflows}/{id}", {"data": drawn.data})["data"]
    assert (again["enabled"], again["version"]) == (True, 2)
    caller.start(id)


def test_a_workflow_made_elsewhere_is_not_changed_here(caller):
    code_ = caller.native.deploy({"one": {"kind": "job", "topic": "one"}})
    id = caller.native.get(f"/definitions/{code_}")["id"]
    assert code(caller.call("PUT", f"{caller.workflows}/{id}", {"data": Drawn("t>a").data}, 409)) == "Conflict"


def test_a_definition_that_needs_an_input_cannot_be_started_here(caller):
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}
    code_ = caller.native.deploy({"one": {"kind": "job", "topic": "one"}}, data={"input": schema})
    answer = caller.start(caller.native.get(f"/definitions/{code_}")["id"], 400)
    assert told(answer)[0][0].startswith("input")


@pytest.mark.parametrize(
    ("query", "where"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor"), ("limit=1&limit=2", "limit")],
)
def test_a_bad_parameter_is_named(caller, query, where):
    assert told(caller.call("GET", f"{caller.workflows}?{query}", status=400))[0][0] == where


def test_a_cursor_of_another_list_is_refused(caller, workflow):
    caller.make(Drawn("t>a"))
    cursor = caller.call("GET", f"{caller.workflows}?limit=1")["meta"]["info"]["next"]
    assert cursor
    caller.call("GET", f"{caller.executions(workflow)}?cursor={cursor}", status=400)


def test_a_bad_idempotency_key_is_named(caller, workflow):
    answer = caller.start(workflow, 400, headers={"Idempotency-Key": "x" * 201})
    assert told(answer)[0][0] == "Idempotency-Key"


class Believer:
    async def authenticate(self, token):
        return Actor(tenant=Tenant(1, "c", "c"), principal="app:a", kind=Kind.APPLICATION)


def test_our_own_mistake_is_500_and_tells_nothing_of_the_inside():
    async def ask():
        app = door(Executions(None, Believer(), b"k"), 1_000_000)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://door") as http:
            return await http.get(f"{PREFIX}/customer/c/workflow", headers={"authorization": "Bearer x"})

    answer = asyncio.run(ask())
    assert answer.status_code == 500
    body = answer.json()
    assert body["data"] is None
    assert code(body) == "InternalError"
    assert "NoneType" not in answer.text
