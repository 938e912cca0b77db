"""Queries, pages and answers, the same for both clients."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from client.remote import Answer, remote
from penstock.client import AsyncClient, Client, models

PROCESS = {"id": "p1", "definition": "loan", "version": 3, "status": "RUNNING", "created_at": "2024-05-01T10:00:00Z"}
ITEM = {"id": "i1", "state": "READY", "task": "APPROVE"}
JOB = {"id": "j1", "topic": "score", "lease": "L1", "input": {"a": 1}, "attempt": 2}


def test_filters_become_the_query():
    after = datetime(2024, 5, 1, tzinfo=UTC)
    answers = [Answer(200, {"items": [PROCESS], "next": None}), Answer(200, {"items": [ITEM]})]
    with remote(answers) as there, Client(there.url, "id", "secret") as client:
        page = client.processes.list(
            status=["RUNNING", "FAILED"], created_from=after, search={"metadata.customer": "Ä & b"}, limit=5
        )
        client.items.list(mine=True, state="READY")
    assert sorted(there.calls[0].query) == [
        ("created_from", "2024-05-01T00:00:00+00:00"), ("limit", "5"), ("metadata.customer", "Ä & b"),
        ("status", "FAILED"), ("status", "RUNNING"),
    ]  # fmt: skip
    assert sorted(there.calls[1].query) == [("mine", "true"), ("state", "READY")]
    [process] = page.items
    assert process.created_at == datetime(2024, 5, 1, 10, tzinfo=UTC)
    assert process.ended_at is None


def pages(seen):
    cursor = dict(seen.query).get("cursor")
    following = {None: "c1", "c1": "c2", "c2": None}[cursor]
    return Answer(200, {"items": [{"key": cursor or "first", "value": 1, "later": "addition"}], "next": following})


def test_all_walks_the_pages():
    with remote(pages) as there, Client(there.url, token="t") as client:
        keys = [each.key for each in client.processes.values("p").list.all(limit=1)]
    assert keys == ["first", "c1", "c2"]
    assert [dict(seen.query)["limit"] for seen in there.calls] == ["1", "1", "1"]


def test_both_clients_answer_alike():
    answers = {
        "/api/v1/processes": Answer(201, PROCESS | {"unknown": {"of": "a newer server"}}),
        "/api/v1/items/i1/claim": Answer(200, ITEM),
        "/api/v1/jobs/poll": Answer(200, {"jobs": [JOB]}),
        "/api/v1/processes/p1/values/k": Answer(204),
        "/api/v1/openapi.json": Answer(200, {"openapi": "3.1.0"}),
        "/api/v1/processes/p1/values": Answer(200, {"items": [{"key": "k", "value": 1}], "next": None}),
    }

    async def other(url):
        async with AsyncClient(url, token="t") as client:
            return [
                await client.processes.start("loan"), await client.items.claim("i1"), await client.jobs.poll(["x"]),
                await client.processes.values("p1").delete("k"), await client.openapi(),
                [each async for each in client.processes.values("p1").list.all()],
                await client.processes.values("p1").list(),
            ]  # fmt: skip

    with remote(lambda seen: answers[seen.path]) as there, Client(there.url, token="t") as client:
        one = [
            client.processes.start("loan"), client.items.claim("i1"), client.jobs.poll(["x"]),
            client.processes.values("p1").delete("k"), client.openapi(),
            [*client.processes.values("p1").list.all()], client.processes.values("p1").list(),
        ]  # fmt: skip
        two = asyncio.run(other(there.url))
    assert one == two
    assert one[0] == models.Process(
        id="p1", definition="loan", version=3, status="RUNNING", created_at=datetime(2024, 5, 1, 10, tzinfo=UTC)
    )
    assert one[2].jobs[0].lease == "L1"
    assert one[3] is None
