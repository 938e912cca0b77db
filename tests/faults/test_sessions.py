"""Sessions, log-ins and limits over several nodes, and by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from faults.nodes import Node
from support.liar import Liar
from support.server import PREFIX, fresh, until

PASSWORD, WRONG = "correct horse battery", "not the password"
DAY = 24 * 3600 * 1000


def person(node: Node) -> str:
    email: str = node.application().post(
        "/users", {"email": f"{fresh('p').lower()}@example.com", "password": PASSWORD}, 201
    )["email"]
    return email


def log_in(node: Node, email: str, password: str = PASSWORD) -> httpx.Response:
    body = {"email": email, "password": password}
    return httpx.post(f"{node.url}{PREFIX}/session", json=body, trust_env=False, timeout=30)


def ask(node: Node, cookie: str, path: str = "/me", method: str = "GET", **headers: str) -> httpx.Response:
    sent = {"cookie": f"penstock={cookie}", **headers}
    return httpx.request(method, f"{node.url}{PREFIX}{path}", headers=sent, trust_env=False, timeout=30)


def opened(node: Node, email: str) -> tuple[str, str, str]:
    """Cookie, proof and id of a new session."""
    answer = log_in(node, email)
    assert answer.status_code == 201, answer.text
    told = answer.json()
    return answer.cookies["penstock"], told["csrf"], told["id"]


# -- two nodes -------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(postgres) -> str:
    return str(postgres.database())


@pytest.fixture
def both(shared, nodes) -> list[Node]:
    """They believe what they remember for an hour: only a notice tells them otherwise."""
    return list(nodes(shared, "first", "second", FAULTS_REMEMBERED="3600"))


@pytest.mark.postgres
def test_a_session_that_ends_on_one_node_ends_on_the_other(both):
    first, second = both
    email = person(first)
    path, api = f"/users/{email}", first.application()

    def log_out() -> None:
        assert ask(first, cookie, "/session", "DELETE", **{"x-csrf-token": csrf}).status_code == 204

    def close_from_elsewhere() -> None:
        other, proof, _ = opened(first, email)
        assert ask(first, other, f"/me/sessions/{id}", "DELETE", **{"x-csrf-token": proof}).status_code == 204

    ends = [
        log_out,
        close_from_elsewhere,
        lambda: api.delete(f"{path}/tokens"),
        lambda: api.patch(path, {"password": f"{PASSWORD}!"}) and api.patch(path, {"password": PASSWORD}),
        lambda: api.patch(path, {"disabled": True}) and api.patch(path, {"disabled": False}),
        lambda: api.delete(path),
    ]
    for end in ends:
        cookie, csrf, id = opened(first, email)
        for node in both:
            assert ask(node, cookie).status_code == 200
            assert ask(node, cookie, "/session").json()["csrf"] == csrf  # the proof is good everywhere
        end()
        assert ask(first, cookie).status_code == 401
        until(lambda: ask(second, cookie).status_code == 401)


@pytest.mark.postgres
def test_guesses_on_two_nodes_are_counted_together(both):
    first, second = both
    email = person(first)
    answers = [log_in(both[at % 2], email, WRONG).status_code for at in range(5)]
    assert answers == [401] * 5
    assert log_in(second, email).status_code == 429
    assert log_in(first, email).status_code == 429


@pytest.fixture
def liar() -> Iterator[Liar]:
    running = Liar()
    yield running
    running.close()


@pytest.mark.postgres
def test_a_log_in_by_a_provider_begins_on_one_node_and_ends_on_the_other_once(shared, nodes, liar):
    first, second = nodes(
        shared,
        "first",
        "second",
        PENSTOCK_PUBLIC_URL="https://workflows.example.com/",
        PENSTOCK_OUTBOUND_ALLOW="127.0.0.0/8",
    )
    issuer = liar.issuer("shared", "penstock")
    issuer.email = f"{fresh('sso').lower()}@example.com"
    spec = {"code": "shared", "name": "Shared", "issuer": issuer.url, "client_id": "penstock", "create_users": True}
    told = first.application().post("/providers", spec, 201)
    assert told["redirect_uri"] == f"https://workflows.example.com{PREFIX}/login/callback"
    with httpx.Client(trust_env=False) as http:
        left = http.get(f"{first.url}{PREFIX}/login/demo/shared", params={"return_to": "/tasks"})
        query: dict[str, Any] = parse_qs(urlsplit(left.headers["location"]).query)
        issuer.nonce, cookie = query["nonce"][0], left.headers["set-cookie"].partition(";")[0]
        assert cookie.startswith("__Host-penstock-login=")
        assert "; Secure" in left.headers["set-cookie"]
        params = {"state": query["state"][0], "code": "x"}
        answers = [
            http.get(f"{node.url}{PREFIX}/login/callback", params=params, headers={"cookie": cookie})
            for node in (second, first, second)
        ]
    assert [answer.status_code for answer in answers] == [303, 400, 400]
    session = answers[0].headers["set-cookie"]
    assert session.startswith("__Host-penstock=")
    assert "; Secure" in session
    assert answers[0].headers["location"] == "/tasks"
    headers = {"cookie": session.partition(";")[0]}
    for node in (first, second):
        me = httpx.get(f"{node.url}{PREFIX}/me", headers=headers, trust_env=False)
        assert me.json()["principal"] == f"user:{issuer.email}"
        plain = {"cookie": headers["cookie"].removeprefix("__Host-")}  # which a neighbour could have laid
        assert httpx.get(f"{node.url}{PREFIX}/me", headers=plain, trust_env=False).status_code == 401


# -- by the clock ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clock(tmp_path):
    """Moves the clock of a SQLite installation on, by milliseconds in all."""
    file = tmp_path / "clock"
    file.write_text("0")
    return file


@pytest.fixture
def node(tmp_path, nodes, clock) -> Node:
    (made,) = nodes(
        f"sqlite:///{tmp_path}/penstock.db", FAULTS_CLOCK=str(clock), FAULTS_REMEMBERED="0", PENSTOCK_SESSION_LIFETIME="P7D",
        PENSTOCK_SESSION_IDLE="PT12H", PENSTOCK_TOKEN_LIFETIME="P30D",
    )  # fmt: skip
    return made  # type: ignore[no-any-return]


def test_a_session_ends_when_it_is_not_used_and_at_the_latest_after_its_lifetime(node, clock):
    email, api = person(node), node.application()
    used, idle = opened(node, email)[0], opened(node, email)[0]
    before = _seen(node, used)
    for hours in range(8, 7 * 24 + 1, 8):
        clock.write_text(str(hours * 3600 * 1000))
        asked = ask(node, used).status_code
        assert asked == (200 if hours < 7 * 24 else 401), hours
        if hours < 7 * 24:  # that it is in use is noted beside the answer
            until(lambda: _seen(node, used) > before)
            before = _seen(node, used)
    assert ask(node, idle).status_code == 401
    assert api.get("/me")["kind"] == "application"


def _seen(node: Node, cookie: str) -> str:
    seen: str = ask(node, cookie, "/session").json()["seen_at"]
    return seen


def test_waits_double_up_to_a_quarter_of_an_hour_and_are_forgotten_after_a_day(node, clock):
    email, now, waits = person(node), 0, []
    for _ in range(5):
        assert log_in(node, email, WRONG).status_code == 401
    for at in range(13):
        if at > 5:  # waits of a few seconds may be over before anybody can look
            refused = log_in(node, email)
            assert refused.status_code == 429
            waits.append(int(refused.headers["retry-after"]))
        now += 900_000
        clock.write_text(str(now))
        assert log_in(node, email, WRONG).status_code == 401
    assert waits == sorted(waits)
    assert 32 < waits[1] <= 128
    assert 512 < waits[-1] <= 900
    clock.write_text(str(now + DAY + 900_000))
    assert log_in(node, email, WRONG).status_code == 401
    assert log_in(node, email).status_code == 201
