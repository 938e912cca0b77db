"""Jobs as a worker meets them: leases fence, an answer counts once, a poll wakes the moment there is work."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from support.server import PREFIX, Api, Server, fresh, until


class Work:
    """A definition of one job, and its topic."""

    def __init__(self, api: Api, **job: Any) -> None:
        self.api = api
        self.topic = fresh("topic")
        self.code = api.deploy({"work": {"kind": "job", "topic": self.topic, **job}}, output="${work}")

    def start(self, **more: Any) -> str:
        return str(self.api.start(self.code, **more)["id"])


@pytest.fixture
def work(api: Api) -> Work:
    return Work(api)


def test_a_job_tells_what_it_is_about(api: Api):
    work = Work(api, input={"name": "${input.name}"})
    id = work.start(input={"name": "Ana"})
    job = api.take(work.topic, worker="a worker", lease=30)
    assert job["id"] == f"{id}.{job['visit']}"
    about = {name: job[name] for name in ("process", "definition", "version", "node", "topic", "attempt", "input")}
    assert about == {
        "process": id,
        "definition": work.code,
        "version": 1,
        "node": "work",
        "topic": work.topic,
        "attempt": 1,
        "input": {"name": "Ana"},
    }
    assert job["token"].startswith("pj_")
    left = datetime.fromisoformat(job["leased_until"]) - datetime.now(UTC)
    assert 25 < left.total_seconds() <= 30.5


def test_a_late_answer_gets_lease_lost_and_changes_nothing(api: Api, work: Work):
    id = work.start()
    late = api.take(work.topic, lease=1)
    again = api.take(work.topic, wait=10)  # the lease runs out, the job is offered again
    assert (again["id"], again["attempt"]) == (late["id"], 1)
    assert again["lease"] != late["lease"]
    before = api.process(id)
    for verb, body in (
        ("complete", {"output": "late", "increments": ["n"], "values": {"v": 1}}),
        ("fail", {"failure": {"type": "Late"}}),
        ("throw", {"code": "LATE"}),
    ):
        refused = api.post(f"/jobs/{late['id']}/{verb}", {"lease": late["lease"], **body}, 409)
        assert refused["code"] == "lease_lost"
    (result,) = api.post("/jobs/extend", {"jobs": [{"id": late["id"], "lease": late["lease"]}]})["results"]
    assert result["error"]["code"] == "lease_lost"
    assert api.process(id) == before
    assert api.get(f"/processes/{id}/values")["items"] == []
    api.finish(again, "in time")
    assert api.process(id)["output"] == "in time"


def test_an_expired_lease_is_lost_even_when_nobody_took_the_job_over(api: Api, work: Work):
    id = work.start()
    job = api.take(work.topic, lease=1)
    ends = datetime.fromisoformat(job["leased_until"])
    until(lambda: datetime.now(UTC) > ends)
    assert api.finish(job, "late", 409)["code"] == "lease_lost"
    assert api.status(id) == "RUNNING"


def test_answering_twice_is_refused(api: Api, work: Work):
    id = work.start()
    job = api.take(work.topic)
    api.finish(job, "first")
    assert api.finish(job, "second", 409)["code"] == "lease_lost"
    api.fail(job, 409)
    assert api.process(id)["output"] == "first"


@pytest.mark.parametrize("lease", ["", "x", "0" * 16, "é", "x" * 5000])
def test_a_wrong_lease_is_refused(api: Api, work: Work, lease):
    id = work.start()
    job = api.take(work.topic)
    refused = api.post(f"/jobs/{job['id']}/complete", {"lease": lease}, 409)
    assert refused["code"] == "lease_lost"
    missing = api.post(f"/jobs/{job['id']}/complete", {}, 400)
    assert missing["problems"][0]["pointer"] == "/lease"
    other = work.start()
    another = api.take(work.topic)
    api.post(f"/jobs/{job['id']}/complete", {"lease": another["lease"]}, 409)
    assert {api.status(each) for each in (id, other)} == {"RUNNING"}


def test_the_jobs_own_token_answers_once(server: Server, api: Api, work: Work):
    for verb, body, after in (
        ("complete", {"output": {"by": "token"}, "increments": ["n"]}, "COMPLETED"),
        ("fail", {"failure": {"type": "X", "permanent": True}}, "FAILED"),
        ("throw", {"code": "X"}, "FAILED"),
    ):
        id = work.start()
        job = api.take(work.topic)
        bearer = server.client(job["token"])
        strangers = server.client(job["token"][:-1] + ("A" if job["token"][-1] != "A" else "B"))
        strangers.post(f"/jobs/{job['id']}/{verb}", body, 401)
        elsewhere = f"{work.start()}.{job['visit']}"
        bearer.post(f"/jobs/{elsewhere}/{verb}", body, 401)
        bearer.post(f"/jobs/{job['id'][:-1]}99/{verb}", body, 401)
        bearer.get("/me", 401)
        bearer.post(f"/processes/{id}/cancel", {}, 401)
        bearer.post(f"/jobs/{job['id']}/{verb}", body, 204)
        assert api.status(id) == after
        bearer.post(f"/jobs/{job['id']}/{verb}", body, 401)
        api.finish(job, None, 409)
        api.finish(api.take(work.topic))
    assert api.get("/processes", definition=work.code, status="RUNNING")["items"] == []


def test_values_and_increments_come_with_the_completion_or_not_at_all(api: Api, work: Work):
    id = work.start()
    values = f"/processes/{id}/values"
    api.put(f"{values}/text", "text")
    api.put(f"{values}/n", 5)
    job = api.take(work.topic)
    refused = api.finish(job, "x", 409, values={"new": 1, "n": 0}, increments=["n", "text"])
    assert refused["code"] == "conflict"
    assert "text" in refused["detail"]
    assert api.status(id) == "RUNNING"
    kept = {each["key"]: each["value"] for each in api.get(values)["items"]}
    assert kept == {"n": 5, "text": "text"}
    api.finish(job, "x", values={"new": {"a": [1]}, "text": "other"}, increments=["n", "n", "fresh"])
    kept = {each["key"]: each["value"] for each in api.get(values)["items"]}
    assert kept == {"n": 7, "fresh": 1, "new": {"a": [1]}, "text": "other"}
    assert api.process(id)["output"] == "x"


def test_a_waiting_poll_wakes_without_delay(api: Api, work: Work):
    delays = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(10):
            waiting = pool.submit(api.take, work.topic, wait=20)
            time.sleep(0.03)  # let it wait; a poll that comes too late finds the job all the same
            began = time.monotonic()
            id = work.start()
            job = waiting.result()
            delays.append(time.monotonic() - began)
            assert job["process"] == id
            api.finish(job)
    assert sorted(delays)[5] < 0.25, delays


def test_a_hundred_waiting_polls_get_one_job_each(api: Api, work: Work):
    with ThreadPoolExecutor(100) as pool:
        polls = [pool.submit(api.poll, work.topic, wait=20) for _ in range(100)]
        api.post("/processes/~batch", {"processes": [{"definition": work.code}] * 100})
        taken = [job["id"] for each in polls for job in each.result()]
    assert len(taken) == len(set(taken)) == 100


def test_a_poll_with_nothing_to_do_is_held_for_its_time(api: Api):
    began = time.monotonic()
    assert api.poll(fresh("topic"), wait=0.4) == []
    assert 0.35 < time.monotonic() - began < 3


def vanish(server: Server, api: Api, topic: str, wait: int = 30) -> socket.socket:
    """A poll that waits, as a raw connection that can be torn."""
    host, _, port = server.url.removeprefix("http://").partition(":")
    raw = socket.create_connection((host, int(port)), timeout=10)
    body = json.dumps({"topics": [topic], "wait": wait, "lease": 1}).encode()
    head = f"POST {PREFIX}/jobs/poll HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {api.token}\r\nContent-Length: {len(body)}\r\n\r\n"
    raw.sendall(head.encode() + body)
    return raw


def test_the_job_of_a_poller_that_vanished_is_offered_to_the_next(server: Server, api: Api, work: Work):
    for _ in range(5):
        with contextlib.closing(vanish(server, api, work.topic)):
            time.sleep(0.02)
        id = work.start()  # perhaps while the server has not noticed yet
        job = until(lambda: api.poll(work.topic), 5)[0]
        assert job["process"] == id
        api.finish(job)
        assert api.status(id) == "COMPLETED"


def test_pollers_that_vanish_in_the_midst_lose_no_job(server: Server, api: Api, work: Work):
    ids = set()
    for _ in range(20):
        raw = vanish(server, api, work.topic)
        starting = threading.Thread(target=lambda: ids.add(work.start()))
        starting.start()
        raw.close()
        starting.join()
    seen: set[str] = set()

    def all_there() -> bool:
        seen.update(job["process"] for job in api.poll(work.topic, max=100))
        return seen == ids

    until(all_there)  # what had been written to a connection that broke comes back when its lease runs out


def test_heartbeats_keep_a_job(api: Api, work: Work):
    id = work.start()
    job = api.take(work.topic, lease=1)
    entry = {"id": job["id"], "lease": job["lease"], "seconds": 1}
    first = datetime.fromisoformat(job["leased_until"])
    while datetime.now(UTC).timestamp() < first.timestamp() + 0.7:
        (result,) = api.post("/jobs/extend", {"jobs": [entry]})["results"]
        assert (result["status"], result["cancel"]) == ("ok", False)
        assert api.poll(work.topic, wait=0.2) == []
    assert datetime.fromisoformat(result["leased_until"]) > first
    api.finish(job, "kept")
    assert api.process(id)["output"] == "kept"


def test_a_heartbeat_tells_that_the_process_is_being_terminated(api: Api, work: Work):
    id = work.start()
    job = api.take(work.topic)
    entry = {"id": job["id"], "lease": job["lease"]}
    api.post(f"/processes/{id}/terminate")
    (result,) = api.post("/jobs/extend", {"jobs": [entry]})["results"]
    assert (result["status"], result["cancel"]) == ("ok", True)
    api.post(f"/jobs/{job['id']}/fail", {"lease": job["lease"], "failure": {"type": "Stopped"}}, 204)
    assert api.status(id) == "TERMINATED"
    (result,) = api.post("/jobs/extend", {"jobs": [entry]})["results"]
    assert result["error"]["code"] == "lease_lost"


def test_a_cancelled_process_takes_its_jobs_away(api: Api, work: Work):
    id = work.start()
    job = api.take(work.topic)
    waiting = work.start()
    api.post(f"/processes/{id}/cancel")
    api.post(f"/processes/{waiting}/cancel")
    assert api.finish(job, None, 409)["code"] == "lease_lost"
    assert api.poll(work.topic) == []


def test_jobs_are_handed_out_in_the_order_they_were_born(api: Api, work: Work):
    ids = [work.start() for _ in range(12)]
    assert [job["process"] for job in api.poll(work.topic, max=5)] == ids[:5]
    assert [api.take(work.topic)["process"] for _ in range(2)] == ids[5:7]
    assert [job["process"] for job in api.poll(work.topic, max=500)] == ids[7:]


def test_a_poll_for_several_topics_never_answers_more_than_max(api: Api):
    works = [Work(api) for _ in range(3)]
    ids = {work.start() for work in works for _ in range(3)}
    topics = [work.topic for work in works]
    first = api.poll(*topics, *topics, max=4)
    rest = api.poll(*topics, max=500)
    assert len(first) == 4
    assert {job["process"] for job in [*first, *rest]} == ids
    assert len(first) + len(rest) == 9


def test_a_batch_answers_each_entry_by_itself(api: Api, work: Work):
    ids = [work.start() for _ in range(4)]
    jobs = api.poll(work.topic, max=4)
    entries: list[Any] = [{"id": job["id"], "lease": job["lease"], "output": n} for n, job in enumerate(jobs)]
    entries[1]["lease"] = "wrong"
    entries[2]["output"] = "x" * 300_000
    entries.append({"id": "garbage", "lease": "x"})
    answer = api.post("/jobs/complete", {"jobs": entries})
    results = answer["results"]
    assert answer["jobs"] == []
    assert [result["id"] for result in results] == [entry["id"] for entry in entries]
    assert [result["status"] for result in results] == ["ok", "error", "error", "ok", "error"]
    codes = [result["error"]["code"] for result in results if result["status"] == "error"]
    assert codes == ["lease_lost", "too_large", "not_found"]
    assert [api.status(id) for id in ids] == ["COMPLETED", "RUNNING", "RUNNING", "COMPLETED"]
    twice = {"id": jobs[1]["id"], "lease": jobs[1]["lease"]}
    results = api.post("/jobs/complete", {"jobs": [twice, twice]})["results"]
    assert sorted(result["status"] for result in results) == ["error", "ok"]


def test_an_answer_brings_the_next_jobs(api: Api):
    topic = fresh("topic")
    nodes = {name: {"kind": "job", "topic": topic} for name in ("one", "two", "three")}
    flows = [{"from": "one", "to": "two"}, {"from": "two", "to": "three"}]
    id = api.start(api.deploy(nodes, flows))["id"]
    job = api.take(topic)
    seen = [job["node"]]
    while True:
        body = {"jobs": [{"id": job["id"], "lease": job["lease"]}], "poll": {"topics": [topic], "max": 1}}
        answer = api.post("/jobs/complete", body)
        assert answer["results"][0]["status"] == "ok"
        if not answer["jobs"]:
            break
        (job,) = answer["jobs"]
        seen.append(job["node"])
    assert seen == ["one", "two", "three"]
    assert api.status(id) == "COMPLETED"
    id = api.start(api.deploy({"a": {"kind": "job", "topic": topic}}))["id"]
    (next_one,) = api.post("/jobs/complete", {"jobs": [], "poll": {"topics": [topic]}})["jobs"]
    assert next_one["process"] == id


def test_a_failure_is_tried_again_by_the_nodes_policy_then_becomes_an_incident(api: Api):
    work = Work(api, retry={"max_attempts": 3, "delay": "PT0.02S", "factor": 1, "jitter": 0})
    id = work.start()
    for attempt in (1, 2, 3):
        job = api.take(work.topic)
        assert job["attempt"] == attempt
        api.fail(job, type="Flaky", message=f"attempt {attempt}", cause={"type": "Deeper", "message": "why"})
    process = api.process(id)
    assert (process["status"], process["incidents"]) == ("FAILED", 1)
    (visit,) = api.visits(id)
    assert visit["failure"]["message"] == "attempt 3"
    assert visit["failure"]["cause"]["type"] == "Deeper"
    assert api.poll(work.topic) == []


def test_a_worker_may_ask_for_its_own_delay_and_for_none(api: Api):
    work = Work(api, retry={"max_attempts": 3, "delay": "PT1H"})
    work.start()
    api.fail(api.take(work.topic), delay=0)
    job = api.take(work.topic, wait=5)
    assert job["attempt"] == 2
    api.fail(job, permanent=True)
    assert api.poll(work.topic) == []


def test_an_attempt_that_takes_too_long_fails(api: Api):
    work = Work(api, retry={"max_attempts": 1, "timeout": "PT0.2S"})
    id = work.start()
    job = api.take(work.topic)
    assert job["timeout_at"] is not None
    api.until(id, "FAILED")
    assert api.finish(job, None, 409)["code"] == "lease_lost"
    assert api.visits(id)[0]["failure"]["type"] == "Timeout"


def test_a_thrown_error_goes_to_its_boundary(api: Api):
    topic = fresh("topic")
    nodes = {
        "work": {"kind": "job", "topic": topic, "on_error": {"REFUSED": "said_no", "*": "other"}},
        "said_no": {"kind": "set", "vars": {"by": "REFUSED"}},
        "other": {"kind": "set", "vars": {"by": "other"}},
    }
    code = api.deploy(nodes, output="${vars.by}")
    for error, by in (("REFUSED", "REFUSED"), ("ELSE", "other")):
        id = api.start(code)["id"]
        job = api.take(topic)
        body = {"lease": job["lease"], "code": error, "message": "no", "data": {"why": 1}}
        api.post(f"/jobs/{job['id']}/throw", body, 204)
        process = api.process(id)
        assert (process["status"], process["output"]) == ("COMPLETED", by)


def test_lines_of_a_worker_are_taken_while_it_holds_the_job(server: Server, api: Api, work: Work):
    work.start()
    job = api.take(work.topic)
    line = fresh("line")
    entry = {"id": job["id"], "lease": job["lease"], "message": line, "level": "warning"}
    first, second = api.post("/jobs/log", {"jobs": [entry, {**entry, "lease": "wrong"}]})["results"]
    assert first["status"] == "ok"
    assert second["error"]["code"] == "lease_lost"
    until(lambda: line in server.log.read_text())
    api.finish(job)


def test_a_job_that_kills_its_workers_becomes_an_incident_in_the_end(api: Api, work: Work):
    """Ten deliveries that nobody answers: docs/architecture.md, failure cases."""
    ids = [work.start() for _ in range(2)]
    deliveries = 0

    def failed() -> bool:
        nonlocal deliveries
        deliveries += len(api.poll(work.topic, lease=1, max=2, wait=0.2))
        return {api.status(id) for id in ids} == {"FAILED"}

    until(failed, 40)
    assert deliveries == 20
    assert {api.visits(id)[0]["failure"]["type"] for id in ids} == {"LeaseExpired"}
