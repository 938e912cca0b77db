"""The printed call works as printed: only host, ids and token are put in."""

from __future__ import annotations

import json
import subprocess

import pytest

from contract.executions.door import Drawn, check_envelope

# Seed 003, byte for byte.
PRINTED = """curl --request POST \\
--url https://api.example.com/api/workflow/v1.0/customer/{customerId}/workflow/{workflowId}/WorkflowExecution \\
--header 'Authorization: Bearer <token>' \\
--header 'Content-Type: application/json' \\
--data '
{
"data": {
"workflowId": "3c90c3cc-0d44-4b50-8888-8dd25736052a"
}
}
'"""
CONTENT_TYPES = [
    "application/json",
    "text/json",
    "application/*+json",
    "application/vnd.example+json",
    "application/json; charset=utf-8",
    'text/json;charset="UTF-8"',
    "Application/Problem+JSON; charset=utf-8",
]


def put_in(text: str, *pairs: tuple[str, str]) -> str:
    for placeholder, value in pairs:
        assert placeholder in text
        text = text.replace(placeholder, value)
    return text


@pytest.fixture(scope="module")
def workflow(caller):
    drawn = Drawn("t>a")
    return drawn, caller.make(drawn)


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_the_printed_curl_works_with_each_content_type(caller, workflow, content_type):
    drawn, id = workflow
    command = put_in(
        PRINTED,
        ("https://api.example.com", caller.url),
        ("{customerId}", caller.customer),
        ("{workflowId}", id),
        ("3c90c3cc-0d44-4b50-8888-8dd25736052a", id),
        ("<token>", caller.token),
        ("application/json", content_type),
    )
    command += " --silent --show-error --noproxy '*' --write-out '\\n%{http_code} %{content_type}'"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=20)
    content, _, line = done.stdout.rpartition("\n")
    assert line == "200 application/json"
    body = json.loads(content)
    check_envelope(200, body)
    assert body["meta"] == {"errors": [], "validation": [], "info": {}}
    data = body["data"]
    assert data.keys() == {
        *("id", "workflowId", "executionQueue", "created", "finished", "tasks", "tasksHierarchy"),
    }
    assert data["workflowId"] == id
    assert data["executionQueue"] == [{"taskId": drawn.ids["a"], "jobSubjectId": drawn.subjects["a"]}]
    assert data["finished"] is None
    assert data["tasks"] == drawn.data["tasks"]
    assert data["tasksHierarchy"] == drawn.data["tasksHierarchy"]


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.swapcase, lambda path: path + "/"])
def test_a_path_counts_in_any_case(caller, workflow, spell):
    _, id = workflow
    answer = caller.http.post(spell(caller.executions(id)), json={"data": {"workflowId": id.upper()}})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["workflowId"] == id


@pytest.mark.parametrize("body", ['{"Data":{"WorkflowId":"%s"}}', '{"DATA":{"WORKFLOWID":"%s","more":[1]},"other":{}}'])
def test_members_are_read_in_any_case_and_unknown_ones_ignored(caller, workflow, body):
    _, id = workflow
    headers = {"content-type": "application/json"}
    answer = caller.call("POST", caller.executions(id) + "?api-version=1.0", content=body % id, headers=headers)
    assert answer["data"]["workflowId"] == id


def test_each_start_is_another_execution(caller, workflow):
    _, id = workflow
    assert caller.start(id)["data"]["id"] != caller.start(id)["data"]["id"]


def test_a_start_repeated_with_its_key_gets_the_first_answer(caller, workflow):
    drawn, id = workflow
    headers = {"Idempotency-Key": f"start-{id}"}
    first = caller.start(id, headers=headers)
    drained = 0
    while caller.native.poll(drawn.subjects["a"], max=50) and drained < 50:
        drained += 1
    assert caller.start(id, headers=headers) == first
    other = caller.make(Drawn("t>a"))
    caller.start(other, 409, headers=headers)
