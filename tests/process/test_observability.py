"""What an operator sees of a real server: figures, health, ids and log lines."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from penstock.config import load
from penstock.telemetry.catalogue import METRICS
from penstock.wiring import doctor, verify_audit
from support.server import Api, Server, fresh, serving, until

TOKEN = "an-operators-token-of-some-length"
SLOW = 0.5


@pytest.fixture(scope="module")
def watched(tmp_path_factory) -> Iterator[Server]:
    """Of its own: a line for each request, and a token for /metrics."""
    folder: Path = tmp_path_factory.mktemp("watched")
    (folder / "token").write_text(TOKEN + "\n")
    with serving(
        folder,
        PENSTOCK_LOG_FORMAT="json",
        PENSTOCK_LOG_LEVEL="debug",
        PENSTOCK_LOG_REQUESTS="true",
        PENSTOCK_LOG_SLOW=str(SLOW),
        PENSTOCK_METRICS_TOKEN_FILE=str(folder / "token"),
    ) as running:
        yield running


@pytest.fixture(scope="module")
def api(watched: Server) -> Api:
    return watched.application()


@pytest.fixture(scope="module")
def http(watched: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=watched.url, trust_env=False, timeout=20) as client:
        yield client


def lines(server: Server) -> list[Any]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]


def line_of(server: Server, request_id: str) -> Any:
    """The line of one request."""

    def found() -> Any:
        (line,) = [
            each for each in lines(server) if each["event"] == "request" and each["request_id"] == request_id
        ] or [None]
        return line

    return until(found)


# -- figures -----------------------------------------------------------------------------------------------------------


def figures(http: httpx.Client) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = http.get("/metrics").raise_for_status().text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def figure(http: httpx.Client, name: str, **labels: str) -> float:
    return figures(http).get((name, frozenset(labels.items())), 0.0)


def test_every_metric_of_the_catalogue_is_told_with_its_help(http: httpx.Client):
    text = http.get("/metrics").text
    told = {family.name: family for family in parse(text)}
    for metric in METRICS:
        name = metric.name.removesuffix("_total")
        family = told.get(name) or told[metric.name]
        assert family.documentation == metric.help
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == set(metric.labels), metric.name
    assert {"process_resident_memory_bytes", "python_gc_objects_collected", "python_info"} <= told.keys()


def test_openmetrics_is_told_to_who_takes_it(http: httpx.Client):
    answer = http.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")
    assert "penstock_steps" in {family.name for family in parse_openmetrics(answer.text)}
    assert http.get("/metrics", headers={"accept": "*/*"}).headers["content-type"].startswith("text/plain")


def test_figures_follow_what_happens(api: Api, http: httpx.Client):
    before = figures(http)

    def more(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return figures(http).get(key, 0.0) - before.get(key, 0.0)

    topic = fresh("topic")
    code = api.deploy({"work": {"kind": "job", "topic": topic, "retry": {"max_attempts": 1}}})
    processes = [api.start(code)["id"] for _ in range(3)]
    assert more("penstock_http_requests_total", door="api", operation="startProcess", status="2xx") == 3
    assert more("penstock_http_request_seconds_count", door="api", operation="startProcess") == 3
    assert more("penstock_steps_total") >= 3
    assert more("penstock_writer_units_total", lane="normal") >= 3
    assert more("penstock_writer_commit_seconds_count") >= 1
    assert more("penstock_writer_rows_total") > 10
    assert api.request("GET", "/me", headers={"authorization": "Bearer pt_nobody"}).status_code == 401
    assert more("penstock_http_refused_total", door="api", status="401") == 1
    assert more("penstock_token_cache_total", result="hit") >= 1
    # figures of the database are told anew after a few seconds
    until(lambda: figure(http, "penstock_jobs", topic=topic, state="waiting") == 3)
    assert figure(http, "penstock_jobs_oldest_waiting_seconds", topic=topic) > 0
    first, second = api.poll(topic, max=2)
    api.fail(first, permanent=True)
    until(lambda: figure(http, "penstock_jobs", topic=topic, state="leased") == 1)
    assert figure(http, "penstock_jobs", topic=topic, state="waiting") == 1
    # what other tests have left open is counted, too; exact figures are a test of tests/engines
    assert figure(http, "penstock_incidents_open") >= 1
    assert figure(http, "penstock_processes_open", status="FAILED") >= 1
    assert figure(http, "penstock_processes_open", status="RUNNING") >= 2
    api.finish(second)
    for each in processes:
        if api.status(each) != "COMPLETED":
            api.post(f"/processes/{each}/terminate", {})


def test_polls_and_streams_are_counted_while_they_are_open(api: Api, http: httpx.Client):
    polls = figure(http, "penstock_polls_waiting")
    topic = fresh("none")
    polling = threading.Thread(target=lambda: api.poll(topic, wait=3))
    polling.start()
    until(lambda: figure(http, "penstock_polls_waiting") == polls + 1)
    assert figure(http, "penstock_http_requests_in_flight", door="api") == 1
    with api.http.stream("GET", "/events") as stream:
        assert stream.headers["x-request-id"]
        until(lambda: figure(http, "penstock_http_streams_open", door="api") == 1)
    polling.join()
    until(lambda: figure(http, "penstock_http_streams_open", door="api") == 0)
    assert figure(http, "penstock_polls_waiting") == polls
    waited = figures(http)
    long = (
        "penstock_http_request_seconds_bucket",
        frozenset({"door": "api", "operation": "pollJobs", "le": "2.5"}.items()),
    )
    every = ("penstock_http_request_seconds_count", frozenset({"door": "api", "operation": "pollJobs"}.items()))
    assert waited[long] == waited[every], "what a long-poll waits is no latency"


def test_no_label_is_made_of_what_callers_send(api: Api, http: httpx.Client):
    mark = fresh("mark")
    api.http.get(f"/{mark}", params={mark: mark}, headers={"x-request-id": mark})
    http.request(mark.upper(), f"/{mark}")
    api.http.get(f"/processes/{mark}")
    assert mark.lower() not in http.get("/metrics").text.lower()
    assert figure(http, "penstock_http_requests_total", door="api", operation="unmatched", status="4xx") >= 1


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via", "X-Forwarded-Host"])
def test_who_comes_through_a_proxy_gets_no_figures_without_the_token(http: httpx.Client, header: str):
    refused = http.get("/metrics", headers={header: "for=192.0.2.1"})
    assert refused.status_code == 403
    assert "metrics_token" in refused.json()["detail"]
    for wrong in (f"Bearer {TOKEN}x", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN[:-1]}"):
        assert http.get("/metrics", headers={header: "x", "authorization": wrong}).status_code == 403
    given = http.get("/metrics", headers={header: "for=192.0.2.1", "authorization": f"Bearer {TOKEN}"})
    assert given.status_code == 200


# -- health ------------------------------------------------------------------------------------------------------------


def test_health_is_told_to_anybody(http: httpx.Client):
    assert http.get("/healthz").json()["status"] == "ok"
    ready = http.get("/readyz").json()
    assert ready["status"] == "ready"
    assert {check["name"]: check["ok"] for check in ready["checks"]} == {
        "database": True, "schema": True, "loops": True, "draining": True
    }  # fmt: skip
    for path in ("/healthz", "/readyz"):
        head = http.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["x-request-id"]


def test_a_server_that_goes_down_says_so_first_and_serves_meanwhile(tmp_path):
    with serving(tmp_path, PENSTOCK_DRAIN_DELAY="4", PENSTOCK_LOG_FORMAT="json") as server:
        api = server.application()
        code = api.deploy({"wait": {"kind": "job", "topic": fresh("t")}})
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        with httpx.Client(base_url=server.url, trust_env=False) as http:

            def refused() -> httpx.Response | None:
                answer = http.get("/readyz")
                return answer if answer.status_code == 503 else None

            answer = until(refused)
            assert int(answer.headers["retry-after"]) > 0
            assert answer.json()["status"] == "unready"
            (bad,) = [check for check in answer.json()["checks"] if not check["ok"]]
            assert bad["name"] == "draining"
            assert http.get("/healthz").status_code == 200
            api.start(code)
        stopping.join()
        told = [line for line in lines(server) if line.get("operation") == "ready"]
        assert {(line["status"], line["level"]) for line in told} == {(503, "info")}


# -- ids and lines -----------------------------------------------------------------------------------------------------


def test_every_answer_of_every_door_has_an_id(http: httpx.Client, api: Api):
    asked = [
        "/",
        "/healthz",
        "/nowhere",
        "/api/v1/me",
        "/api/v1/openapi.json",
        "/v1/auth",
        "/api/workflow/v1.0/customer/x",
    ]
    ids = [http.get(path).headers["x-request-id"] for path in asked]
    assert len(set(ids)) == len(ids)
    for path in asked:
        assert (
            http.get(path, headers={"x-request-id": "id.of-the:caller"}).headers["x-request-id"] == "id.of-the:caller"
        )
    answer = api.http.post("/documents", content=b"x", headers={"content-type": "text/plain", "x-request-id": "doc"})
    assert answer.headers["x-request-id"] == "doc"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "<script>", 'a"b', "é"])
def test_an_id_that_is_not_well_formed_is_replaced(http: httpx.Client, given: str):
    answered = http.get("/healthz", headers={"x-request-id": given.encode("latin-1")}).headers["x-request-id"]
    assert re.fullmatch("[0-9a-f]{16}", answered)


def test_a_request_has_one_line_that_says_whose_it_is_and_holds_no_secret(watched: Server, api: Api):
    code = api.deploy({"work": {"kind": "job", "topic": fresh("t"), "input": {"x": "${input.x}"}}})
    mark, secret = fresh("line"), fresh("secret")
    headers = {"x-request-id": mark, "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
    process = api.post("/processes", {"definition": code, "input": {"x": secret}}, 201, headers=headers)["id"]
    line = line_of(watched, mark)
    assert (line["level"], line["door"], line["operation"], line["status"]) == ("info", "api", "startProcess", 201)
    assert (line["method"], line["path"]) == ("POST", "/api/v1/processes")
    assert line["tenant"] == "demo"
    assert line["principal"] == f"app:{watched.credentials['application']['id']}"
    assert line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert 0 < line["ms"] < 60_000
    # a line of the step it caused, on another thread
    (step,) = [
        each
        for each in lines(watched)
        if each["event"].startswith("step 1: Started") and each.get("process") == process
    ]
    assert (step["request_id"], step["tenant"], step["trace_id"]) == (mark, "demo", line["trace_id"])
    other = fresh("line")
    api.http.get(f"/processes/{process}", params={"q": secret}, headers={"x-request-id": other})
    assert line_of(watched, other)["process"] == process
    text = watched.log.read_text()
    assert secret not in text
    assert api.token is not None
    assert api.token not in text
    assert TOKEN not in text


def test_a_long_poll_is_not_slow_and_a_slow_request_is(watched: Server, api: Api):
    mark = fresh("poll")
    api.http.post("/jobs/poll", json={"topics": [fresh("none")], "wait": 3 * SLOW}, headers={"x-request-id": mark})
    line = line_of(watched, mark)
    assert line["level"] == "info"
    assert line["waited_ms"] >= 2 * SLOW * 1000
    # a body that comes late makes a slow request
    slow = fresh("slow")
    host, port = watched.url.removeprefix("http://").split(":")
    body = b'{"grant_type":"client_credentials"}'
    with contextlib.closing(socket.create_connection((host, int(port)))) as connection:
        head = f"POST /api/v1/token HTTP/1.1\r\nhost: x\r\nx-request-id: {slow}\r\ncontent-type: application/json\r\n"
        connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:5])
        time.sleep(2 * SLOW)
        connection.sendall(body[5:])
        assert connection.recv(4096).startswith(b"HTTP/1.1 4")
    assert line_of(watched, slow)["level"] == "warning"


def test_a_worker_that_leaves_while_it_polls_was_not_slow(watched: Server, api: Api):
    mark = fresh("gone")
    with pytest.raises(httpx.ReadTimeout):
        api.http.post(
            "/jobs/poll", json={"topics": [fresh("none")], "wait": 20}, headers={"x-request-id": mark}, timeout=3 * SLOW
        )
    line = line_of(watched, mark)
    assert (line["status"], line["level"]) == ("gone", "info")
    assert line["waited_ms"] >= 2 * SLOW * 1000
    assert line["ms"] - line["waited_ms"] < SLOW * 1000


def test_a_server_says_what_it_runs_on_and_that_it_stops(tmp_path):
    with serving(tmp_path, PENSTOCK_LOG_FORMAT="json") as server:
        assert server.stop() in (0, -signal.SIGTERM)
        said = lines(server)
        (started,) = [line for line in said if line["event"] == "started"]
        assert started["level"] == "info"
        assert started["database"] == f"sqlite {server.data / 'penstock.db'}"
        assert started["data_dir"] == str(server.data)
        assert (started["seals"], started["tenants"], started["url"]) == ("not signed", 1, server.url)
        assert [line["event"] for line in said][-2:] == ["stopping", "stopped"]


def test_a_start_without_the_key_that_signed_is_told_of_loudly(tmp_path):
    key = tmp_path / "audit.key"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(key)], check=True, capture_output=True)
    key.chmod(0o644)
    with serving(tmp_path, PENSTOCK_LOG_FORMAT="json", PENSTOCK_AUDIT_KEY_FILE=str(key)) as server:
        settings = load(None, {}, data_dir=str(server.data)).settings
        until(lambda: verify_audit(settings, None, None, None)[0].signed)
        (line,) = [line for line in lines(server) if "chmod 600" in line["event"]]
        assert (line["level"], str(key) in line["event"]) == ("warning", True)
        server.stop()
        before = len(lines(server))
        del server._environment["PENSTOCK_AUDIT_KEY_FILE"]
        server.start()
        (line,) = [line for line in lines(server)[before:] if "there is no audit_key" in line["event"]]
        assert line["level"] == "warning"
        (told,) = [check for check in doctor(settings, {}, {}) if check[0] == "audit key"]
        assert (told[1], told[2]) == (False, line["event"])


def test_failed_log_ins_can_be_read_by_a_filter_and_name_nobody(tmp_path):
    page = Path(__file__).parents[2] / "docs" / "observability.md"
    (pattern,) = re.findall(r"^failregex = (.*)$", page.read_text(), re.MULTILINE)
    fits = re.compile(pattern.replace("<HOST>", r"(?P<host>[0-9a-f.:]+)"), re.MULTILINE)
    tried, guessed = f"{fresh('a-password-here')}@example.com", "never to be logged"
    with serving(tmp_path, PENSTOCK_LOG_FORMAT="json") as server:
        with httpx.Client(base_url=server.url, trust_env=False) as http:
            for _ in range(5):
                answer = http.post("/api/v1/session", json={"email": tried, "password": guessed})
                assert answer.status_code == 401
        told = [line for line in lines(server) if line["event"].startswith("login.")]
        assert [line["event"] for line in told] == ["login.failed"] * 5 + ["login.blocked"]
        assert {(line["address"], line["kind"], line["level"]) for line in told} == {("127.0.0.1", "user", "warning")}
        text = server.log.read_text()
        assert [found["host"] for found in fits.finditer(text)] == ["127.0.0.1"] * 6
        assert tried not in text
        assert guessed not in text


def test_without_the_setting_only_what_is_slow_or_broken_has_a_line(tmp_path):
    with serving(tmp_path, PENSTOCK_LOG_FORMAT="json") as server:
        api = server.application()
        assert api.http.get("/me").status_code == 200
        assert api.http.get("/nowhere").status_code == 404
        assert not [line for line in lines(server) if line["event"] == "request"]
