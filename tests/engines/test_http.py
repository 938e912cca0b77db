"""http nodes, called through the guarded client at a server on loopback."""

import json

import pytest

from engines.endpoint import Endpoint
from engines.stage import graph
from penstock.errors import Unauthenticated
from penstock.operations import jobs
from penstock.operations.jobs import Completed, job_id


def calling(url, **more):
    retry = {"max_attempts": 3, "delay": "PT0.01S", "jitter": 0}
    return graph("call", {"h": {"kind": "http", "url": url, "method": "POST", "retry": retry, **more}}, output="${h}")


def test_an_endpoint_is_called_and_its_answer_is_the_output(play):
    endpoint = Endpoint((200, b'{"a": [1, 2.5, "x"]}', ""))

    async def journey(stage):
        async with endpoint.serving():
            await stage.deploy(calling("${input.url}/x", body={"n": "${input.n}"}, headers={"x-mine": "${input.n}"}))
            id = await stage.start("call", {"url": endpoint.url, "n": 5})
            assert await stage.completed(id) == {"a": [1, 2.5, "x"]}
            [(line, headers, body)] = endpoint.requests
            assert line == "POST /x HTTP/1.1"
            assert json.loads(body) == {"n": 5}
            assert headers["x-mine"] == "5"
            [visit] = await stage.visits(id)
            assert headers["idempotency-key"] == f"{id}.{visit.n}"

    play(journey)


def test_trouble_is_tried_again_with_the_same_key_and_another_execution(play):
    endpoint = Endpoint((503, b"", "retry-after: 0\r\n"), (429, b"", "retry-after: 0\r\n"), (204, b"", ""))

    async def journey(stage):
        async with endpoint.serving():
            await stage.deploy(calling("${input.url}"))
            id = await stage.start("call", {"url": endpoint.url})
            await stage.reached(id, "COMPLETED", "FAILED")
            assert len({headers["idempotency-key"] for _, headers, _ in endpoint.requests}) == 1
            assert len({headers["penstock-execution-id"] for _, headers, _ in endpoint.requests}) == 3
            assert len({headers["penstock-token"] for _, headers, _ in endpoint.requests}) == 3

    play(journey)


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        ((404, b"{}", ""), "HTTP404"),
        ((200, b"not json", ""), "BadAnswer"),
        ((200, b'"\\u0000"', ""), "BadAnswer"),
        ((200, b'["\\ud800"]', ""), "BadAnswer"),
        ((200, b'{"n": 123456789012345678901234567890}', ""), "BadAnswer"),
        ((200, b"[NaN]", ""), "BadAnswer"),
        ((200, b"[" * 200 + b"]" * 200, ""), "BadAnswer"),
        ((200, b'"' + b"x" * 300_000 + b'"', ""), "TooLarge"),
    ],
)
def test_what_will_never_be_good_is_an_incident_at_once(play, answer, failure):
    endpoint = Endpoint(answer)

    async def journey(stage):
        async with endpoint.serving():
            await stage.deploy(calling("${input.url}"))
            id = await stage.start("call", {"url": endpoint.url})
            await stage.reached(id, "FAILED")
            [visit] = await stage.visits(id)
            assert visit.failure["type"] == failure
            assert len(endpoint.requests) == 1
            await stage.do("retry", id)
            await stage.completed(id)

    play(journey)


def test_an_address_that_is_not_allowed_is_not_called(play):
    async def journey(stage):
        await stage.deploy(calling("http://169.254.169.254/latest"))
        id = await stage.start("call")
        await stage.reached(id, "FAILED")

    play(journey)


def test_202_leaves_the_job_open_until_its_token_answers(play):
    endpoint = Endpoint((202, b"", ""))

    async def journey(stage):
        async with endpoint.serving():
            await stage.deploy(calling("${input.url}"))
            id = await stage.start("call", {"url": endpoint.url})
            await stage.until(lambda: _awaiting(stage))
            [(_, headers, body)] = endpoint.requests
            token = headers["penstock-token"]
            assert json.loads(body)["token"] == token
            [visit] = await stage.visits(id)
            await stage.check()
            answer = Completed(id=job_id(id, visit.n), token=token, output={"later": True})
            await jobs.answer(stage.ctx, None, answer)
            assert await stage.completed(id) == {"later": True}
            with pytest.raises(Unauthenticated):
                await jobs.answer(stage.ctx, None, answer)

    play(journey)


def test_202_and_then_nothing_fails(play):
    endpoint = Endpoint((202, b"", ""), (202, b"", ""), (200, b"1", ""))

    async def journey(stage):
        async with endpoint.serving():
            await stage.deploy(calling("${input.url}"))
            id = await stage.start("call", {"url": endpoint.url})
            for _ in range(2):
                await stage.until(lambda: _awaiting(stage))
                await stage.lapse()
            assert await stage.completed(id) == 1

    play(journey)


async def _awaiting(stage):
    return await stage.one("SELECT count(*) FROM jobs WHERE state = 'AWAITING'")


def test_many_calls_at_once(play):
    endpoint = Endpoint()

    async def journey(stage):
        async with endpoint.serving():
            await stage.deploy(calling("${input.url}"))
            ids = [await stage.start("call", {"url": endpoint.url}) for _ in range(100)]
            for id in ids:
                await stage.completed(id)
            assert len(endpoint.requests) == 100

    play(journey)
