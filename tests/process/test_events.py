"""Event streams and the audit over HTTP, on the real server."""

from __future__ import annotations

import json
import time

import pytest

from penstock.client import Client
from support.events import Listener
from support.server import Api, check_problem, fresh, until


@pytest.fixture
def listen():
    """Listeners that leave when the test ends."""
    made: list[Listener] = []

    def start(*given, **more) -> Listener:
        made.append(Listener(*given, **more))
        return made[-1]

    yield start
    for listener in made:
        listener.leave()


def work(api: Api, code: str, topic: str, count: int = 1) -> list[str]:
    ids = []
    for _ in range(count):
        ids.append(api.start(code)["id"])
        api.finish(api.take(topic))
    return ids


@pytest.fixture
def flow(api: Api) -> tuple[str, str]:
    topic = fresh("topic")
    return api.deploy({"w": {"kind": "job", "topic": topic}}), topic


# -- live ------------------------------------------------------------------------------------------------------------


def test_what_happens_comes_at_once_in_order(api, flow, listen):
    code, topic = flow
    listener = listen(api, definition=code)
    (id,) = work(api, code, topic)
    events = listener.until(2)
    assert [event["type"] for event in events] == ["Started", "JobCompleted"]
    assert {event["process"] for event in events} == {id}
    history = api.everything(f"/processes/{id}/history")
    assert [(event["feed"], event["seq"], event["at"], event["data"]) for event in events] == [
        (entry["feed"], entry["seq"], entry["at"], entry["data"]) for entry in history
    ]


def test_a_stream_begins_now_or_after_a_number(api, flow, listen):
    code, topic = flow
    work(api, code, topic, 3)
    now = listen(api, definition=code)
    everything = listen(api, after=0, definition=code)
    assert len(everything.until(7)) == 7
    half = listen(api, last=everything.feeds[3], definition=code)
    assert half.until(3) == everything.events[4:]
    # what a client has seen last goes before what its address says
    again = listen(api, last=everything.feeds[5], definition=code, after=0)
    assert again.until(1) == everything.events[6:]
    work(api, code, topic)
    for listener in (now, everything, half, again):
        until(lambda listener=listener: listener.types()[-2:] == ["Started", "JobCompleted"])
        assert listener.feeds == sorted(set(listener.feeds))
    assert len(now.events) == 2
    assert everything.types()[0] == "version.deployed"
    assert len(everything.events) == 9


def test_filters(api, ana, ben, flow, listen):
    code, topic = flow
    task = api.deploy({"i": {"kind": "item", "task": "T"}}, tasks={"T": {"candidates": ["group:risk"]}})
    (first,) = work(api, code, topic)
    process = listen(api, f"/processes/{first}/events", after=0)
    same = listen(api, process=first, after=0)
    types = listen(api, definition=code, type=["JobCompleted", "TimerFired"])
    mine, not_mine = listen(ben, mine="true"), listen(ana, mine="true")
    assert process.until(2) == same.until(2)
    started = api.start(task)["id"]
    (second,) = work(api, code, topic)
    assert [event["process"] for event in types.until(1)] == [second]
    (item,) = ben.everything("/items", process=started, mine="true")
    ben.post(f"/items/{item['id']}/claim")
    ben.post(f"/items/{item['id']}/complete", {"output": {}})
    events = [event for event in mine.until(3) if event["process"] == started]
    assert [event["type"] for event in events] == ["Started", "ItemClaimed", "ItemCompleted"]
    late = listen(ben, mine="true", after=0, type="ItemClaimed", definition=task)
    assert [event["process"] for event in late.until(1)] == [started]
    assert not_mine.events == []
    assert len(process.events) == len(same.events) == 2
    assert {event["process"] for event in types.events} == {second}


def test_what_somebody_may_not_see_does_not_come(api, ana, root, other, flow, listen):
    """The journal is for administrators and applications; another tenant's events are nobody's."""
    listeners = [listen(who) for who in (api, root, ana, other)]
    code = api.deploy({"s": {"kind": "set", "vars": {"x": 1}}})
    id = api.start(code)["id"]
    for listener in listeners[:3]:
        until(lambda listener=listener: any(event.get("process") == id for event in listener.events))
    for listener in listeners[:2]:
        assert ("version.deployed", code) in [(event["type"], event.get("subject")) for event in listener.events]
    assert not [event for event in listeners[2].events if "kind" in event]
    assert listeners[3].events == []
    check_problem(other.http.get(f"/processes/{id}/events"))


def test_a_token_that_is_taken_away_ends_nothing_at_once_but_none_opens_with_it(api, server):
    with Client(server.url, token="pt_nonsense") as client, pytest.raises(Exception, match="not valid"):
        next(client.events())
    assert api.http.get("/events", headers={"authorization": ""}).status_code == 401
    # never in the address
    refused = api.http.get("/events", params={"access_token": api.token}, headers={"authorization": ""})
    assert check_problem(refused)["problems"][0]["pointer"] == "access_token"


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "headers", "pointer"),
    [
        ({"after": "x"}, {}, "after"),
        ({"after": -1}, {}, "after"),
        ({"after": 2**60}, {}, "after"),
        ({"after": 10**12}, {}, "after"),
        ({}, {"last-event-id": "x"}, "Last-Event-ID"),
        ({}, {"last-event-id": "-1"}, "Last-Event-ID"),
        ({}, {"last-event-id": "9" * 30}, "Last-Event-ID"),
        ({}, {"last-event-id": "999999999"}, "Last-Event-ID"),
        ({"type": "no type"}, {}, "type.0"),
        ({"mine": "perhaps"}, {}, "mine"),
        ({"since": "2020-01-01"}, {}, "since"),
    ],
)
def test_bad_input_is_refused_before_anything_is_sent(api, params, headers, pointer):
    problem = check_problem(api.http.get("/events", params=params, headers=headers))
    assert (problem["status"], problem["problems"][0]["pointer"]) == (400, pointer)


def test_a_process_that_is_not_there_has_no_events(api):
    for path, params in (
        ("/processes/nothing/events", {}),
        ("/processes/00000000-0000-0000-0000-000000000000/events", {}),
        ("/events", {"process": "nothing"}),
    ):
        assert check_problem(api.http.get(path, params=params))["status"] == 404


def test_head_answers_at_once(api):
    answer = api.http.head("/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")


# -- clients of all kinds --------------------------------------------------------------------------------------------


def test_a_burst_that_is_larger_than_what_may_wait_comes_whole(api, listen):
    """What does not fit into what may wait for a client is read again for it: it is not cut off."""
    big = api.deploy({"s": {"kind": "set", "vars": {"x": 1}}})
    listener = listen(api, definition=big, type="Started")
    for _ in range(6):
        batch = [{"definition": big, "input": {"text": "x" * 150_000}}] * 8
        api.post("/processes/~batch", {"processes": batch})
    assert len(listener.until(48, 60)) == 48
    assert listener.feeds == sorted(set(listener.feeds))


def test_streams_that_are_open_do_not_hold_up_others(api, flow, listen):
    code, topic = flow
    listeners = [listen(api, definition=code) for _ in range(40)]
    began = time.monotonic()
    work(api, code, topic, 5)
    for listener in listeners:
        assert listener.until(10) == listeners[0].events
    assert time.monotonic() - began < 15


def test_the_python_client_follows_and_ends_where_it_is_told(api, server, flow):
    code, topic = flow
    work(api, code, topic, 2)
    with Client(server.url, token=api.token) as client:
        head = client.feed_position()
        events = list(client.events(after=0, definition=code, until=head))
        assert [event.type for event in events] == [
            "version.deployed", *["Started", "JobCompleted"] * 2
        ]  # fmt: skip
        assert [event.feed for event in client.events(after=events[1].feed, definition=code, until=head)] == [
            event.feed for event in events[2:]
        ]
        lines = list(client.export_audit(head - 2))
        assert json.loads(lines[-1]) == {"end": True, "to": head}
        listed = client.audit.list(kind="definition", subject=code)
        assert [event.type for event in listed.items] == ["version.deployed"]


# -- the audit -------------------------------------------------------------------------------------------------------


def test_the_audit_lists_everything_newest_first_by_pages(api, flow):
    code, topic = flow
    (id,) = work(api, code, topic)
    every = api.everything("/audit", limit=200)
    feeds = [event["feed"] for event in every]
    assert feeds == sorted(set(feeds), reverse=True)
    assert [event["feed"] for event in api.everything("/audit", limit=7)][-len(feeds) :] == feeds
    of_process = api.everything("/audit", process=id, limit=1)
    assert [event["type"] for event in of_process] == ["JobCompleted", "Started"]
    me = api.get("/me")["principal"]
    assert {event["actor"] for event in api.everything("/audit", actor=me)} == {me}
    types = api.everything("/audit", type="version.deployed", limit=200)
    assert code in [event["subject"] for event in types]
    assert [event["subject"] for event in api.everything("/audit", kind="definition", subject=code)] == [code]
    at = of_process[-1]["at"]
    since = api.everything("/audit", since=at, limit=200)
    assert since
    assert min(event["at"] for event in since) >= at
    before = api.everything("/audit", until=at, limit=200)
    assert before
    assert max(event["at"] for event in before) < at
    assert api.everything("/audit", since="2100-01-01T00:00:00Z") == []


def test_a_type_that_no_event_has_is_refused(api):
    problem = check_problem(api.http.get("/events", params={"type": "JobComplete"}))
    assert (problem["status"], problem["problems"][0]["pointer"]) == (400, "type")
    assert "JobCompleted" in problem["detail"]


def test_tokens_and_people_are_in_the_journal_and_secrets_are_not(api, server):
    server.user("ana")
    issued = api.get("/audit", type="token.issued", actor="user:ana@example.com", limit=1)["items"]
    assert issued[0]["subject"] == "user:ana@example.com"
    text = api.http.get("/audit/export").text
    secrets = [server.credentials["application"]["secret"], api.token]
    secrets += [user["password"] for user in server.credentials["users"]]
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"since": "yesterday"}, "since"),
        ({"type": "x"}, "type"),
        ({"limit": 0}, "limit"),
        ({"cursor": "AAAA"}, "cursor"),
        ({"order": "oldest"}, "order"),
        ({"process": "00000000-0000-0000-0000-000000000000", "kind": "user"}, "process"),
    ],
)
def test_bad_filters_of_the_audit_are_refused(api, params, pointer):
    problem = check_problem(api.http.get("/audit", params=params))
    assert (problem["status"], problem["problems"][0]["pointer"]) == (400, pointer)


def test_a_cursor_is_good_for_its_list_alone(api, other):
    cursor = api.get("/audit", limit=1)["next"]
    assert api.get("/audit", limit=3, cursor=cursor)["items"]
    for who, params in ((api, {"type": "token.issued", "cursor": cursor}), (other, {"cursor": cursor})):
        assert check_problem(who.http.get("/audit", params=params))["problems"][0]["pointer"] == "cursor"
    flipped = ("B" if cursor[0] == "A" else "A") + cursor[1:]
    assert check_problem(api.http.get("/audit", params={"cursor": flipped}))["status"] == 400


def test_the_audit_is_not_for_everybody(ana, root, other, api):
    for path in ("/audit", "/audit/export"):
        assert check_problem(ana.http.get(path))["status"] == 403
        assert root.http.get(path).status_code == 200
    ours = {event["feed"] for event in api.everything("/audit", limit=200)}
    assert ours.isdisjoint(event["feed"] for event in other.everything("/audit", limit=200))


def test_an_export_is_asked_for_by_number(api, tmp_path):
    head = api.get("/audit", limit=1)["items"][0]["feed"]
    lines = [json.loads(line) for line in api.request("GET", f"/audit/export?from={head}").text.splitlines()]
    assert lines[0]["from"] == head
    assert next(line["feed"] for line in lines if "feed" in line) == head
    for query, pointer in (("from=0", "from"), ("from=9&to=3", "to"), (f"from={head + 10**9}", "from"), ("to=x", "to")):
        problem = check_problem(api.http.get(f"/audit/export?{query}"))
        assert problem["problems"][0]["pointer"] == pointer
