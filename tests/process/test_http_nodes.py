"""`http` nodes against a real endpoint: what it answers decides, and nothing private is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from support.endpoint import Endpoint
from support.server import Api, Server, until


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


RETRY = {"max_attempts": 3, "delay": "PT0.02S", "factor": 1, "jitter": 0}


def calls(api: Api, endpoint: Endpoint, **more: Any) -> str:
    """Starts a process of one http node; answers its id."""
    node = {"kind": "http", "url": f"{endpoint.url}/notify", "retry": RETRY, **more}
    return str(api.start(api.deploy({"call": node}, output="${call}"), input={"name": "Ana"})["id"])


def failure_of(api: Api, id: str) -> Any:
    api.until(id, "FAILED")
    return api.visits(id)[-1]["failure"]


def test_the_json_of_a_2xx_is_the_output(api: Api, endpoint: Endpoint):
    endpoint.lay(201, {"number": 7})
    body = {"hello": "${input.name}", "deep": ["${input}"]}
    id = calls(api, endpoint, method="PUT", headers={"X-Of": "${input.name}"}, body=body)
    assert api.until(id, "COMPLETED")["output"] == {"number": 7}
    (request,) = endpoint.requests
    assert (request.method, request.path) == ("PUT", "/notify")
    assert request.body == {"hello": "Ana", "deep": [{"name": "Ana"}]}
    assert request.headers["x-of"] == "Ana"
    assert request.headers["idempotency-key"] == f"{id}.1"
    assert request.headers["penstock-process"] == id


def test_without_a_body_the_job_tells_about_itself(api: Api, endpoint: Endpoint):
    endpoint.lay(204)
    id = calls(api, endpoint)
    assert api.until(id, "COMPLETED")["output"] is None
    (request,) = endpoint.requests
    about = {name: request.body[name] for name in ("process", "nodeUid", "job", "version")}
    assert about == {"process": id, "nodeUid": "call", "job": f"{id}.1", "version": 1}
    assert request.body["token"].startswith("pj_")
    assert isinstance(request.body["executionId"], int)


def test_a_202_stays_open_until_its_token_answers(server: Server, api: Api, endpoint: Endpoint):
    endpoint.lay(202)
    id = calls(api, endpoint)
    until(lambda: endpoint.requests)
    body = endpoint.requests[0].body
    assert api.status(id) == "RUNNING"
    client = server.client(body["token"])
    # the endpoint may be quicker than the engine that notes its 202
    client.post(f"/jobs/{body['job']}/complete", {"output": {"later": True}, "increments": ["n"]}, 204)
    assert api.until(id, "COMPLETED")["output"] == {"later": True}
    client.post(f"/jobs/{body['job']}/complete", {}, 401)
    assert len(endpoint.requests) == 1


def test_a_202_that_is_answered_with_a_failure_is_tried_again(server: Server, api: Api, endpoint: Endpoint):
    endpoint.lay(202)
    endpoint.lay(200, "second")
    id = calls(api, endpoint)
    until(lambda: endpoint.requests)
    body = endpoint.requests[0].body
    until(lambda: api.visits(id)[0]["state"] == "OPEN")
    server.client(body["token"]).post(f"/jobs/{body['job']}/fail", {"failure": {"type": "Later"}}, 204)
    assert api.until(id, "COMPLETED")["output"] == "second"
    assert [request.headers["idempotency-key"] for request in endpoint.requests] == [f"{id}.1"] * 2


def test_a_202_that_nobody_answers_times_out(api: Api, endpoint: Endpoint):
    endpoint.lay(202)
    id = calls(api, endpoint, retry={"max_attempts": 1, "timeout": "PT0.3S"})
    assert failure_of(api, id)["type"] == "Timeout"


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422])
def test_another_4xx_fails_for_good(api: Api, endpoint: Endpoint, status):
    endpoint.lay(status, {"error": "no"})
    id = calls(api, endpoint)
    failure = failure_of(api, id)
    assert (failure["type"], failure["permanent"]) == (f"HTTP{status}", True)
    assert str(status) in failure["message"]
    assert len(endpoint.requests) == 1
    endpoint.lay(200, "now")
    api.post(f"/processes/{id}/retry")
    assert api.until(id, "COMPLETED")["output"] == "now"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(api: Api, endpoint: Endpoint, status):
    endpoint.lay(status)
    endpoint.lay(200, status)
    id = calls(api, endpoint)
    assert api.until(id, "COMPLETED")["output"] == status
    assert len(endpoint.requests) == 2
    assert api.visits(id)[0]["attempt"] == 2


def test_retry_after_is_obeyed(api: Api, endpoint: Endpoint):
    endpoint.lay(503, Retry_After="1")
    endpoint.lay(200, "ok")
    id = calls(api, endpoint)
    until(lambda: endpoint.requests)
    until(lambda: api.visits(id)[0]["failure"])
    assert len(endpoint.requests) == 1
    assert api.until(id, "COMPLETED")["output"] == "ok"
    visit = api.visits(id)[0]
    assert visit["ended_at"] > visit["started_at"]


def test_a_failure_that_stays_becomes_an_incident_after_its_attempts(api: Api, endpoint: Endpoint):
    for _ in range(3):
        endpoint.lay(500)
    id = calls(api, endpoint)
    failure = failure_of(api, id)
    assert (failure["type"], failure.get("permanent", False)) == ("HTTP500", False)
    assert len(endpoint.requests) == 3


BAD_ANSWERS = {
    "no JSON": (b"<html>", "BadAnswer"),
    "NaN": (b"NaN", "BadAnswer"),
    "too large": (b'"' + b"x" * 300_000 + b'"', "TooLarge"),
    "deep": (b"[" * 100_000, "BadAnswer"),
    "NUL": (b'"a\\u0000b"', "BadAnswer"),
    "lone surrogate": (b'"\\ud800"', "BadAnswer"),
    "65 bits": (b"99999999999999999999", "BadAnswer"),
    "not UTF-8": (b'"\xff"', "BadAnswer"),
    "1,000 deep": (b"[" * 1000 + b"]" * 1000, "BadAnswer"),
}


@pytest.mark.parametrize(("content", "kind"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_cannot_be_kept_is_a_failure(api: Api, endpoint: Endpoint, content, kind):
    endpoint.lay(200, content)
    failure = failure_of(api, calls(api, endpoint))
    assert (failure["type"], failure["permanent"]) == (kind, True)


@pytest.mark.parametrize(
    "url",
    [
        *(
            "http://169.254.169.254/latest/meta-data",
            "http://10.0.0.1/",
            "http://192.168.1.1:8080/",
            "http://[fe80::1]/",
        ),
        *("http://0.0.0.0:1/", "http://[::ffff:10.0.0.1]/", "http://0x0a000001/", "http://metadata.google.internal./"),
    ],
)
def test_a_private_target_is_not_called(api: Api, url):
    node = {"kind": "http", "url": url, "retry": {"max_attempts": 1, "timeout": "PT5S"}}
    id = api.start(api.deploy({"call": node}))["id"]
    failure = failure_of(api, id)
    assert failure["message"]
    if "google" not in url:  # which has no address here
        assert (failure["type"], failure["permanent"]) == ("Blocked", True)
        assert "not a public address" in failure["message"], failure


def test_a_redirect_to_a_private_target_is_not_followed(api: Api, endpoint: Endpoint):
    endpoint.lay(302, Location="http://169.254.169.254/")
    failure = failure_of(api, calls(api, endpoint, retry={"max_attempts": 1}))
    assert "169.254.169.254" in failure["message"] or "302" in failure["message"], failure


def test_a_url_that_is_none_is_an_incident(api: Api):
    nodes = {"call": {"kind": "http", "url": "${input.url}", "retry": {"max_attempts": 1}}}
    code = api.deploy(nodes)
    for url in ("ftp://example.com/", "no url", "http://", 7, None, "http://example.com:99999/", "http://a b/"):
        failure = failure_of(api, api.start(code, input={"url": url})["id"])
        assert failure["message"], url


def test_nobody_listening_is_tried_again_and_then_an_incident(api: Api, endpoint: Endpoint):
    url = endpoint.url
    nodes = {"call": {"kind": "http", "url": url.replace("127.0.0.1", "127.0.0.2"), "retry": RETRY}}
    id = api.start(api.deploy(nodes))["id"]
    failure = failure_of(api, id)
    assert not failure.get("permanent")
    assert api.visits(id)[0]["attempt"] == 3


def test_no_worker_gets_an_http_job(api: Api):
    api.post("/jobs/poll", {"topics": ["http:"]}, 400)
