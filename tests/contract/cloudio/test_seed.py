"""The printed page, and what the vendor's own Java client is known to send."""

from __future__ import annotations

import json

import pytest

from contract.cloudio.door import OPERATIONS, VALUES, raw, reference
from support.server import fresh

PRINTED_REFUSAL = """{
    "status": "ERROR",
    "code": 403,
    "title": "Invalid Request",
    "message": "Invalid token: `a5bac5cb-b312-4038-b06f-e58a54ce56a`!"
}"""

# Request body of the page: every member in its order, each of the documented type.
PRINTED = """{
  "wfUid": "%(wfUid)s",
  "wfInstUid": "%(wfInstUid)s",
  "version": "%(version)s",
  "token": "%(token)s",
  "nodeUid": "%(nodeUid)s",
  "executionId": "%(executionId)s",
  "key": "%(key)s",
  "value": {"any": ["object"]}
}"""


@pytest.fixture(scope="module")
def job(door):
    return door.job()


def post(path: str, body: str, *headers: str) -> str:
    lines = [f"POST {path} HTTP/1.1", "Host: next.cloudio.io", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body.encode())}", "", body])


def test_the_printed_call_works_as_printed(server, door, job):
    body = PRINTED % reference(job, key="printed")
    line, headers, answer = raw(server.url, post("/v1/wf/instancePut", body))
    assert line == "HTTP/1.1 200 OK"
    assert headers["content-type"] == "application/json"
    assert answer == b'{"status":"OK"}'
    assert door.value("instanceGet", reference(job), "printed") == {"any": ["object"]}


def test_the_printed_refusal_is_answered_to_the_printed_token(server, job):
    body = PRINTED % reference(job, key="printed", token="a5bac5cb-b312-4038-b06f-e58a54ce56a")
    line, _, answer = raw(server.url, post("/v1/wf/instancePut", body))
    assert line.startswith("HTTP/1.1 403 ")
    assert json.loads(answer) == json.loads(PRINTED_REFUSAL)
    assert list(json.loads(answer)) == ["status", "code", "title", "message"]


@pytest.mark.parametrize("path", ["/v1/wf/instancePut", "/%20/v1/wf/instancePut", "//v1/wf/instancePut"])
def test_the_java_client_is_understood(server, door, job, path):
    """Numbers for version and executionId, the node's type for its uid, X-Application and no Authorization, and a base URL
    joined to a path that begins with a blank.
    """
    key = fresh("java")
    body = {
        "wfUid": job["definition"],
        "wfInstUid": job["process"],
        "version": job["version"],
        "token": job["token"],
        "nodeUid": job["topic"],
        "executionId": job["execution_id"],
        "key": key,
        "value": {"offset": 17, "list": [1.5, None]},
    }
    headers = ("X-Application: cloudio", "Accept-Encoding: gzip", "User-Agent: unirest-java/3.11.11")
    line, _, answer = raw(server.url, post(path, json.dumps(body, separators=(",", ":")), *headers))
    assert (line, answer) == ("HTTP/1.1 200 OK", b'{"status":"OK"}')
    del body["value"]
    get = path.replace("Put", "Get")
    line, _, answer = raw(server.url, post(get, json.dumps(body), *headers))
    assert answer == b'{"status":"OK","value":{"offset":17,"list":[1.5,null]}}'


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", [str, int, float])
def test_numbers_may_be_texts_and_texts_numbers(door, job, operation, kind):
    body = reference(job, version=kind(job["version"]), executionId=kind(job["execution_id"]), key=fresh("k"), value=5)
    if kind is float:
        assert "1.0" in json.dumps(body)
    door.call(operation, body)


def test_a_definition_is_named_by_code_or_by_id(door, api, job):
    id = api.get(f"/definitions/{job['definition']}")["id"]
    for name in (job["definition"], id, id.upper()):
        assert door.value("get", reference(job, wfUid=name, wfInstUid=job["process"].upper()), "nothing") is None


def test_members_nobody_knows_are_ignored(door, job):
    more = {"orgUid": "x", "appUid": None, "delta": 5, "nodeType": ["y"]}
    assert door.value("instanceIncrementAndGet", reference(job, **more), fresh("n")) == 1


@pytest.mark.parametrize(
    "content_type",
    [None, "application/json; charset=UTF-8", "text/json", "application/vnd.example+json", "Application/JSON"],
)
def test_json_goes_by_several_names(door, job, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    body = json.dumps(reference(job, key=fresh("k"))).encode()
    assert door.request("POST", f"{VALUES}/instanceGet", content=body, headers=headers).json()["value"] is None
