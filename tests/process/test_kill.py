"""`kill -9` in the midst of mixed load: what was acknowledged is there, once, and everything can be brought to its end."""

from __future__ import annotations

import threading
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import httpx

from support.server import Api, fresh, serving, until

ROUNDS = 3
ACKNOWLEDGED = 120
"""Answers of all kinds before the plug is pulled, each round."""


class Sent(NamedTuple):
    method: str
    path: str
    body: Any
    key: str


class Load:
    """What was sent, what of it was answered, and what not."""

    def __init__(self, topic: str, code: str) -> None:
        self.topic, self.code = topic, code
        self.answered: list[tuple[Sent, Any]] = []
        self.unanswered: list[Sent] = []
        self.outputs: dict[str, Any] = {}
        """Job id -> the output whose acknowledgement came."""
        self.items: dict[str, Any] = {}
        self.errors: list[BaseException] = []

    def send(self, api: Api, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        sent = Sent(method, path, body, fresh("key"))
        try:
            answer = api.call(method, path, body, status, headers={"idempotency-key": sent.key})
        except httpx.TransportError:
            self.unanswered.append(sent)
            raise
        self.answered.append((sent, answer))
        return answer

    def start(self, api: Api) -> None:
        body = {"definition": self.code, "id": str(uuid.uuid4()), "input": {"x": fresh("x")}}
        assert self.send(api, "POST", "/processes", body, 201)["id"] == body["id"]

    def work(self, api: Api) -> None:
        for job in api.poll(self.topic, max=3, lease=2, wait=0.2):
            output = {"of": fresh("output")}
            body = {"lease": job["lease"], "output": output, "increments": ["done"], "values": {"last": output}}
            self.send(api, "POST", f"/jobs/{job['id']}/complete", body, 204)
            self.outputs[job["id"]] = output

    def count(self, api: Api) -> None:
        self.send(api, "POST", f"/definitions/{self.code}/values/counted/increment")

    def decide(self, api: Api) -> None:
        found = api.get("/items", definition=self.code, state="READY", limit=5)["items"]
        for item in found:
            output = {"of": fresh("decision")}
            self.send(api, "POST", f"/items/{item['id']}/complete", {"output": output})
            self.items[item["id"]] = output

    def run(self, api: Api, act: Callable[[Api], None]) -> None:
        try:
            while True:
                act(api)
        except httpx.TransportError:
            pass
        except BaseException as error:
            self.errors.append(error)
            raise

    def under_way(self, api: Api) -> list[threading.Thread]:
        # one thread alone decides, for two would want the same item
        acts = [self.start, self.start, self.work, self.work, self.count, self.count, self.decide]
        threads = [threading.Thread(target=self.run, args=(api, act)) for act in acts]
        for thread in threads:
            thread.start()
        return threads


def sent_to(sent: list[Sent], ending: str) -> list[Sent]:
    return [each for each in sent if each.path.endswith(ending)]


def check(api: Api, load: Load) -> None:
    """All that was acknowledged is there, once; what was not is there whole or not at all."""
    answered = [sent for sent, _ in load.answered]
    processes = {each["id"]: each for each in api.everything("/processes", definition=load.code, limit=200)}
    acknowledged = {sent.body["id"] for sent in sent_to(answered, "/processes")}
    possible = {sent.body["id"] for sent in sent_to(load.unanswered, "/processes")}
    assert acknowledged <= processes.keys() <= acknowledged | possible

    counted = api.get(f"/definitions/{load.code}/values/counted")["value"]
    mine = sorted(answer["value"] for sent, answer in load.answered if sent.path.endswith("/increment"))
    assert len(mine) == len(set(mine)), "two increments were answered with the same number"
    assert len(mine) <= counted <= len(mine) + len(sent_to(load.unanswered, "/increment"))

    for id in processes:
        visits = api.visits(id)
        assert [visit["node"] for visit in visits] in (["work"], ["work", "decide"])
        values = {each["key"]: each["value"] for each in api.get(f"/processes/{id}/values")["items"]}
        done = visits[0]["state"] == "COMPLETED"
        assert values == ({"done": 1, "last": visits[0]["output"]} if done else {})
        known = load.outputs.get(f"{id}.{visits[0]['n']}")
        if known is not None:
            assert visits[0]["output"] == known
        assert Counter(api.history(id))["JobCompleted"] == int(done)
    for id, output in load.items.items():
        item = api.get(f"/items/{id}")
        assert (item["state"], item["output"]) == ("COMPLETED", output)


def repeat(api: Api, load: Load) -> None:
    """A client that got no answer asks again under the same key; one that got one and asks again gets the same."""
    for sent in load.unanswered:
        response = ask_again(api, sent)
        if response.status_code == 409:
            # it had not arrived, and its lease has run out since
            assert response.json()["code"] == "lease_lost", response.text
        else:
            assert response.status_code < 300, response.text
            load.answered.append((sent, response.json() if response.content else None))
    load.unanswered.clear()
    for sent, answer in load.answered[-30:]:
        response = ask_again(api, sent)
        assert response.status_code < 300, response.text
        assert (response.json() if response.content else None) == answer


def ask_again(api: Api, sent: Sent) -> httpx.Response:
    more = {} if sent.body is None else {"json": sent.body}
    return api.request(sent.method, sent.path, headers={"idempotency-key": sent.key}, **more)


def test_kill_9_in_the_midst_of_load_loses_nothing_and_doubles_nothing(tmp_path):
    topic = fresh("topic")
    with serving(tmp_path) as server:
        api = server.application()
        nodes = {"work": {"kind": "job", "topic": topic}, "decide": {"kind": "item", "task": "DECIDE"}}
        code = api.deploy(nodes, [{"from": "work", "to": "decide"}], tasks={"DECIDE": {}}, output="${work}")
        load = Load(topic, code)
        for round_ in range(1, ROUNDS + 1):
            threads = load.under_way(api)
            until(lambda wanted=ACKNOWLEDGED * round_: len(load.answered) > wanted or load.errors, 30)
            server.kill()
            for thread in threads:
                thread.join()
            assert load.errors == []
            server.start()
            api = server.client(api.token)
            check(api, load)
            repeat(api, load)

        increments = len(sent_to([sent for sent, _ in load.answered], "/increment"))
        assert api.get(f"/definitions/{code}/values/counted")["value"] == increments
        starts = {sent.body["id"] for sent, _ in load.answered if sent.path == "/processes"}
        assert {each["id"] for each in api.everything("/processes", definition=code, limit=200)} == starts

        def drained() -> bool:
            for job in api.poll(topic, max=200):
                api.finish(job, {"of": "the end"}, increments=["done"])
            for item in api.everything("/items", definition=code, state="READY", limit=200):
                api.post(f"/items/{item['id']}/complete", {"output": {}})
            return not api.get("/processes", definition=code, status="RUNNING")["items"]

        until(drained, 30, 0.05)
        assert {each["status"] for each in api.everything("/processes", definition=code, limit=200)} == {"COMPLETED"}
        for id in starts:
            assert api.get(f"/processes/{id}/values/done")["value"] == 1
