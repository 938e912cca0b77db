"""Tokens, retries and errors, against a real server that misbehaves."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import closing

import pytest

from client.remote import Answer, problem, remote
from penstock.client import (
    NO_RETRY,
    ApiError,
    AsyncClient,
    Client,
    ClientError,
    Conflict,
    CredentialsError,
    Invalid,
    LeaseLost,
    LimitExceeded,
    NotFound,
    Retry,
    ServerError,
    TokenCache,
    Transport,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WrongState,
)
from penstock.client.errors import BY_CODE

QUICK = Retry(attempts=4, delay=0.005, cap=0.01)
ME = Answer(200, {"tenant": {"id": "t", "code": "demo"}, "principal": "app:x"})
VALUE = Answer(200, {"key": "k", "value": 1})


def free_port():
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# ---------------------------------------------------------------------------------------------------------- tokens


def test_the_token_is_fetched_lazily_and_kept():
    with remote([ME]) as there, Client(there.url, "id", "secret") as client:
        assert there.seen == []
        client.me()
        client.me()
    assert [seen.path for seen in there.seen] == ["/api/v1/token", "/api/v1/me", "/api/v1/me"]
    assert there.seen[0].json == {"grant_type": "client_credentials", "client_id": "id", "client_secret": "secret"}
    assert "authorization" not in there.seen[0].headers
    assert there.calls[0].headers["authorization"] == "Bearer token-1"
    assert there.calls[0].headers["user-agent"].startswith("penstock-python/")


def test_a_user_logs_in_with_a_password():
    with remote([ME]) as there, Client(there.url, "id", "secret") as client, client.as_user("a@b.c", "pw") as user:
        user.me()
    assert there.seen[0].json == {"grant_type": "password", "username": "a@b.c", "password": "pw"}


def test_a_token_is_renewed_before_it_ends():
    with remote([ME]) as there, Client(there.url, "id", "secret") as client:
        there.token_lifetime = 0.05
        client.me()
        time.sleep(0.06)
        client.me()
    assert [seen.headers["authorization"] for seen in there.calls] == ["Bearer token-1", "Bearer token-2"]


def test_a_token_is_kept_for_the_next_client(tmp_path):
    tokens = TokenCache(tmp_path)
    with remote([ME]) as there:
        for secret in ("secret", "secret", "another", "another"):
            with Client(there.url, "id", secret, tokens=tokens) as client:
                client.me()
        with Client(there.url, "id", "another", tokens=tokens) as client, client.as_user("a@b.c", "pw") as user:
            user.me()
        with Client(there.url, "id", "another", tokens=tokens) as client, client.as_user("a@b.c", "pw") as user:
            user.me()
    assert [seen.headers["authorization"] for seen in there.calls] == [
        "Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer token-2", "Bearer token-3", "Bearer token-3",
    ]  # fmt: skip


def test_a_kept_token_that_is_refused_is_dropped_and_fetched_once(tmp_path):
    tokens, no = TokenCache(tmp_path), problem(401, "unauthenticated")
    with remote([ME, no, ME, no]) as there:
        with Client(there.url, "id", "secret", tokens=tokens) as client:
            client.me()
        with Client(there.url, "id", "secret", tokens=tokens) as client:
            client.me()
            assert there.tokens == 2
        with Client(there.url, "id", "secret", tokens=tokens) as client, pytest.raises(Unauthenticated):
            client.me()
    assert there.tokens == 3
    sent = [seen.headers["authorization"] for seen in there.calls]
    assert sent == ["Bearer token-1", "Bearer token-1", "Bearer token-2", "Bearer token-2", "Bearer token-3"]


def test_a_token_of_unknown_or_short_life_is_not_taken_again(tmp_path):
    tokens = TokenCache(tmp_path)
    with remote([ME]) as there:
        for lifetime in (None, 0.001, 3600):
            there.token_lifetime = lifetime
            with Client(there.url, "id", "secret", tokens=tokens) as client:
                client.me()
                time.sleep(0.002)
    assert there.tokens == 3


def test_an_answer_tells_the_revision_that_it_is_of():
    answer = Answer(200, {"permissions": {"viewer": []}}, {"ETag": '"7"'})
    with remote([answer, answer, Answer(200, {"permissions": {}})]) as there, Client(there.url, token="t") as client:
        found = client.definitions.permissions("loan")
        assert found.revision == 7
        assert client.definitions.put_permissions("loan", found.permissions, revision=7).revision == 7
        assert client.definitions.permissions("loan").revision is None
    assert there.calls[1].headers["if-match"] == '"7"'
    assert "if-match" not in there.calls[0].headers


def test_a_refused_token_is_renewed_once():
    with remote([problem(401, "unauthenticated"), ME]) as there, Client(there.url, "id", "secret") as client:
        client.me()
    assert [seen.headers["authorization"] for seen in there.calls] == ["Bearer token-1", "Bearer token-2"]


def test_a_second_refusal_is_final():
    with remote([problem(401, "unauthenticated", "who?")]) as there, Client(there.url, "id", "secret") as client:
        with pytest.raises(Unauthenticated, match="who\\?"):
            client.me()
        assert len(there.calls) == 2


def test_a_token_given_is_all_there_is():
    with (
        remote([problem(401, "unauthenticated")]) as there,
        Client(there.url, token="mine") as client,
        pytest.raises(Unauthenticated),
    ):
        client.me()
    assert [seen.headers["authorization"] for seen in there.seen] == ["Bearer mine"]


def test_a_jobs_own_token_stands_in_for_the_clients():
    with remote([Answer(204)]) as there, Client(there.url) as client:
        client.jobs.complete_one("j", {"a": 1}, token="of-the-job")
    assert [seen.headers["authorization"] for seen in there.seen] == ["Bearer of-the-job"]


def test_no_credentials_say_so():
    with Client("http://127.0.0.1:1") as client, pytest.raises(CredentialsError, match="no credentials"):
        client.me()


def test_callers_at_once_fetch_one_token():
    async def ten(url):
        async with AsyncClient(url, "id", "secret") as client:
            await asyncio.gather(*(client.me() for _ in range(10)))

    with remote([ME]) as there:
        asyncio.run(ten(there.url))
        assert there.tokens == 1
        with Client(there.url, "id", "secret") as client:
            threads = [threading.Thread(target=client.me) for _ in range(5)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert there.tokens == 2


# --------------------------------------------------------------------------------------------------------- retries


@pytest.mark.parametrize("answer", [Answer(502, body=b"<html>"), problem(503, "unavailable"), Answer(hang_up=True)])
def test_trouble_passes(answer):
    with remote([answer, answer, VALUE]) as there, Client(there.url, token="t", retry=QUICK) as client:
        assert client.processes.values("p").put("k", 1).value == 1
    assert len(there.seen) == 3
    # One key for all attempts: the server can tell that they are one.
    assert len({seen.headers["idempotency-key"] for seen in there.seen}) == 1


def test_async_retries_alike():
    async def put(url):
        async with AsyncClient(url, token="t", retry=QUICK) as client:
            return await client.processes.values("p").put("k", 1)

    with remote([problem(503, "unavailable"), Answer(hang_up=True), VALUE]) as there:
        assert asyncio.run(put(there.url)).value == 1
    assert len(there.seen) == 3


def test_every_call_has_its_own_key_unless_told():
    with remote([VALUE]) as there, Client(there.url, token="t") as client:
        client.processes.values("p").increment("k")
        client.processes.values("p").increment("k")
        client.using(key="order-17").processes.values("p").increment("k")
    keys = [seen.headers["idempotency-key"] for seen in there.seen]
    assert len(set(keys)) == 3
    assert keys[2] == "order-17"


def test_it_gives_up():
    with (
        remote([problem(503, "unavailable", "busy")]) as there,
        Client(there.url, token="t", retry=QUICK) as client,
        pytest.raises(Unavailable, match=r"busy \(GET /api/v1/me, 503 unavailable\)"),
    ):
        client.me()
    assert len(there.seen) == QUICK.attempts


def test_retry_after_is_honoured():
    busy = problem(429, "limit_exceeded")
    busy.headers["Retry-After"] = "1"
    with remote([busy, ME]) as there, Client(there.url, token="t", retry=QUICK) as client:
        began = time.monotonic()
        client.me()
        assert time.monotonic() - began >= 1.0
    assert len(there.seen) == 2


def test_a_long_retry_after_is_left_to_the_caller():
    busy = problem(429, "limit_exceeded")
    busy.headers["Retry-After"] = "3600"
    with (
        remote([busy]) as there,
        Client(there.url, token="t", retry=QUICK) as client,
        pytest.raises(LimitExceeded) as caught,
    ):
        client.me()
    assert caught.value.retry_after == 3600
    assert len(there.seen) == 1


def test_what_is_not_trouble_is_not_repeated():
    with (
        remote([problem(500, "defect")]) as there,
        Client(there.url, token="t", retry=QUICK) as client,
        pytest.raises(ServerError),
    ):
        client.me()
    assert len(there.seen) == 1


def test_nobody_there():
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, token="t", retry=QUICK) as client, pytest.raises(Unreachable, match="GET /api/v1/me"):
        client.me()


def test_somebody_comes():
    port = free_port()
    got = []
    patient = Retry(attempts=50, delay=0.01, cap=0.02)
    with Client(f"http://127.0.0.1:{port}", token="t", retry=patient) as client:
        thread = threading.Thread(target=lambda: got.append(client.me()))
        thread.start()
        time.sleep(0.05)
        with remote([ME], port):
            thread.join(5)
    assert got[0].principal == "app:x"


def test_no_answer_in_time():
    def slow(seen):
        time.sleep(0.3)
        return ME

    with remote(slow) as there:
        hasty = Transport(timeout=0.1)
        with Client(there.url, token="t", retry=NO_RETRY, transport=hasty) as client, pytest.raises(Unreachable):
            client.me()
        with Client(there.url, token="t", retry=NO_RETRY, transport=hasty) as client:
            assert client.jobs.poll(["x"], wait=5).jobs == []  # a long poll has the time it asked for


# ---------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("code", BY_CODE)
def test_each_code_has_its_class(code):
    with (
        remote([problem(418, code)]) as there,
        Client(there.url, token="t") as client,
        pytest.raises(BY_CODE[code]) as caught,
    ):
        client.me()
    assert type(caught.value) is BY_CODE[code]
    assert caught.value.status == 418


def test_the_message_says_what_and_where():
    problems = [{"pointer": f"/nodes/n{n}", "message": "is not known", "code": "unknown"} for n in range(7)]
    answer = problem(400, "invalid", "not a definition", problems=problems)
    with remote([answer]) as there, Client(there.url, token="t") as client, pytest.raises(Invalid) as caught:
        client.definitions.deploy({})
    text = str(caught.value)
    assert text.startswith("not a definition: /nodes/n0: is not known; ")
    assert text.endswith("and 2 more (POST /api/v1/definitions, 400 invalid)")
    assert len(caught.value.problems) == 7


@pytest.mark.parametrize(
    ("status", "body", "kind", "text"),
    [
        (404, b"", NotFound, "the server refused (GET /api/v1/me, 404)"),
        (409, b"\xff", Conflict, "\ufffd (GET /api/v1/me, 409)"),
        (500, b"<html>oops", ServerError, "the server refused (GET /api/v1/me, 500)"),
        (418, b"I am a\nteapot", ApiError, "I am a teapot (GET /api/v1/me, 418)"),
        (302, b"", ApiError, "the server refused (GET /api/v1/me, 302)"),
        (409, b'{"code": "brand_new", "detail": "no"}', Conflict, "no (GET /api/v1/me, 409 brand_new)"),
    ],
)
def test_refusals_that_are_not_problem_details(status, body, kind, text):
    with (
        remote([Answer(status, body=body)]) as there,
        Client(there.url, token="t", retry=NO_RETRY) as client,
        pytest.raises(kind) as caught,
    ):
        client.me()
    assert type(caught.value) is kind
    assert str(caught.value) == text


@pytest.mark.parametrize("body", [b"", b"{", b'{"tenant": 1}', b"<html>", b"\xff"])
def test_a_success_that_cannot_be_read(body):
    with (
        remote([Answer(200, body=body)]) as there,
        Client(there.url, token="t") as client,
        pytest.raises(UnexpectedAnswer, match="GET /api/v1/me, 200"),
    ):
        client.me()


def test_one_family():
    assert issubclass(LeaseLost, Conflict)
    assert issubclass(WrongState, ApiError)
    assert issubclass(Unreachable, ClientError)
    assert not issubclass(Unreachable, ApiError)


@pytest.mark.parametrize("url", ["localhost:80", "ftp://x", "http://", ""])
def test_bad_urls(url):
    with pytest.raises(CredentialsError, match="not a server's URL"):
        Client(url, token="t")
