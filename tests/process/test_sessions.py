"""Browsers log in with a password, and out; over HTTP."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import Any

import httpx
import pytest

from process.people import PASSWORD, person
from support.server import PREFIX, Api, Server, check_problem, fresh

NEW = "another long password"


class Window:
    """A browser with its cookies."""

    def __init__(self, server: Server, **headers: str) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.url + PREFIX, trust_env=False, timeout=30, headers=headers)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        response = self.http.request(method, path, **more)
        self.server.contract.check(response)
        return response

    def log_in(self, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
        return self.request("POST", "/session", json={"email": email, "password": password, **more})

    def change(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.request(method, path, headers={"x-csrf-token": self.csrf}, **more)

    @property
    def csrf(self) -> str:
        return str(self.request("GET", "/session").json()["csrf"])

    @property
    def cookie(self) -> str:
        return str(self.http.cookies["penstock"])

    def status(self, path: str = "/me") -> int:
        return self.request("GET", path).status_code


@pytest.fixture
def windows(server):
    """Opens browsers; they are closed at the end."""
    opened: list[Window] = []

    def open(**headers: str) -> Window:
        opened.append(Window(server, **headers))
        return opened[-1]

    yield open
    for window in opened:
        window.http.close()


def journal(root: Api, type: str, subject: str) -> list[Any]:
    return [entry for entry in root.everything("/audit", type=type, limit=200) if entry["subject"] == subject]


# -- in and out ------------------------------------------------------------------------------------------------------


def test_a_browser_logs_in_asks_changes_and_logs_out(server, root, windows):
    user, window = person(root, roles=["manager"]), windows()
    answer = window.log_in(user["email"].upper())
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert (told["principal"], told["roles"], told["provider"]) == (f"user:{user['email']}", ["manager"], None)
    assert window.request("GET", "/session").json() == told
    assert window.request("GET", "/me").json()["principal"] == told["principal"]
    assert window.change("PATCH", "/me", json={"name": "New"}).json()["name"] == "New"
    cookie = window.cookie
    gone = window.change("DELETE", "/session")
    assert gone.status_code == 204
    assert "Max-Age=0" in gone.headers["set-cookie"]
    assert "penstock" not in window.http.cookies
    for _ in range(3):  # a copy of the cookie is worth nothing
        replayed = httpx.get(server.url + PREFIX + "/me", cookies={"penstock": cookie})
        assert replayed.status_code == 401
    (opened,), (closed,) = journal(root, "session.opened", told["id"]), journal(root, "session.closed", told["id"])
    assert opened["actor"] == closed["actor"] == f"user:{user['email']}"
    assert opened["data"]["address"] == "127.0.0.1"


def test_the_cookie_is_for_this_host_and_no_script(root, windows):
    cookie = windows().log_in(person(root)["email"]).headers["set-cookie"]
    assert re.fullmatch(r"penstock=pb_[\w-]{43}; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax", cookie)


def test_only_a_hash_of_the_secret_is_kept(server, root, windows):
    window = windows()
    window.log_in(person(root)["email"])
    with sqlite3.connect(f"file:{server.data / 'penstock.db'}?mode=ro", uri=True) as db:
        for table in ("sessions", "journal", "login_failures"):
            text = repr(db.execute(f"SELECT * FROM {table}").fetchall())
            assert window.cookie not in text
            assert window.csrf not in text
            assert PASSWORD not in text


def test_a_new_log_in_has_a_new_secret_and_closes_the_one_before(server, root, windows):
    user, window, laid = person(root), windows(), "pb_" + "a" * 43
    first = window.request(
        "POST", "/session", json={"email": user["email"], "password": PASSWORD}, headers={"cookie": f"penstock={laid}"}
    )
    assert first.status_code == 201
    assert laid not in first.headers["set-cookie"]  # by somebody who waits until it is good
    before = window.cookie
    second = window.log_in(user["email"])
    assert second.json()["id"] != first.json()["id"]
    assert second.json()["csrf"] != first.json()["csrf"]
    assert window.cookie != before
    assert httpx.get(server.url + PREFIX + "/me", cookies={"penstock": before}).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "pb_" + "a" * 43, "pb_" + "a" * 7_000, "pt_nonsense", '"quoted"'])
def test_a_made_up_cookie_opens_nothing(server, cookie):
    answer = httpx.get(server.url + PREFIX + "/me", headers={"cookie": f"a=b; penstock={cookie}; c"})
    assert answer.status_code == 401
    check_problem(answer)


def test_a_token_is_no_cookie_and_a_cookie_no_token(server, root, windows):
    window, token = windows(), root.token
    window.log_in(person(root)["email"])
    assert httpx.get(server.url + PREFIX + "/me", cookies={"penstock": token or ""}).status_code == 401
    assert (
        httpx.get(server.url + PREFIX + "/me", headers={"authorization": f"Bearer {window.cookie}"}).status_code == 401
    )
    assert root.get("/session", expect=404)["code"] == "not_found"
    root.delete("/session", 404)


def test_who_sends_a_token_is_who_it_says_whatever_the_cookie(root, windows):
    window = windows()
    window.log_in(person(root)["email"])
    window.http.headers["authorization"] = f"Bearer {root.token}"
    assert window.request("GET", "/me").json()["principal"] == root.name
    assert window.request("PATCH", "/me", json={}).status_code == 200  # and needs no proof


# -- forged requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proof", [None, "", "x", "of another"])
def test_a_change_without_the_sessions_proof_is_refused(root, windows, proof):
    user, window, other = person(root, name="victim"), windows(), windows()
    window.log_in(user["email"])
    other.log_in(person(root)["email"])
    given = other.csrf if proof == "of another" else proof
    headers = {} if given is None else {"x-csrf-token": given}
    for method, path, body in (
        ("PATCH", "/me", {"name": "Forged"}),
        ("DELETE", "/session", None),
        ("POST", "/messages", {"name": fresh("forged")}),
        ("POST", "/jobs/none.1/complete", {"lease": "x"}),
    ):
        answer = window.request(method, path, json=body, headers=headers)
        assert answer.status_code == 403, path
        assert "X-CSRF-Token" in answer.json()["detail"]
    assert root.get(f"/users/{user['email']}")["name"] == user["email"]
    assert window.status() == 200


def test_a_change_from_another_sites_page_is_refused_even_with_the_proof(root, windows):
    user, window = person(root), windows()
    window.log_in(user["email"])
    headers = {"x-csrf-token": window.csrf, "sec-fetch-site": "cross-site"}
    assert window.request("PATCH", "/me", json={"name": "Forged"}, headers=headers).status_code == 403
    for site in ("same-origin", "none"):
        headers["sec-fetch-site"] = site
        assert window.request("PATCH", "/me", json={"name": "Mine"}, headers=headers).status_code == 200
    for foreign in FOREIGN:
        answer = window.request(
            "PATCH", "/me", json={"name": "Forged"}, headers={"x-csrf-token": window.csrf, **foreign}
        )
        assert answer.status_code == 403, foreign
    assert root.get(f"/users/{user['email']}")["name"] == "Mine"
    assert window.request("GET", "/me", headers={"sec-fetch-site": "cross-site"}).status_code == 200


FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "https://evil.example"},
    {"origin": "null"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
def test_no_page_of_a_neighbours_or_a_strangers_logs_a_browser_in(root, windows, headers):
    window = windows()
    body = {"email": person(root)["email"], "password": PASSWORD}
    answer = window.request("POST", "/session", json=body, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    assert window.request("POST", "/session", json=body, headers={"origin": window.server.url}).status_code == 201


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded"])
def test_a_log_in_says_that_it_is_json(root, windows, kind):
    window, headers = windows(), {} if kind is None else {"content-type": kind}
    content = json.dumps({"email": person(root)["email"], "password": PASSWORD})
    answer = window.request("POST", "/session", content=content, headers=headers)
    assert answer.status_code == 415
    assert "set-cookie" not in answer.headers


# -- where one is logged in ------------------------------------------------------------------------------------------


def test_one_sees_and_ends_ones_own_sessions_and_nobody_elses(root, windows):
    user = person(root)
    one, two, stranger = windows(**{"user-agent": "x" * 900}), windows(), windows()
    for window, email in ((one, user["email"]), (two, user["email"]), (stranger, person(root)["email"])):
        window.log_in(email)
    found = one.request("GET", "/me/sessions").json()["items"]
    assert [each["current"] for each in found] == [False, True]
    assert found[1]["agent"] == "x" * 200
    assert found[0]["address"] == "127.0.0.1"
    assert stranger.change("DELETE", f"/me/sessions/{found[0]['id']}").status_code == 404
    assert two.status() == 200
    assert one.change("DELETE", f"/me/sessions/{found[0]['id']}").status_code == 204
    assert (one.status(), two.status(), stranger.status()) == (200, 401, 200)
    assert one.change("DELETE", f"/me/sessions/{found[0]['id']}").status_code == 404


def test_applications_have_no_sessions(root):
    worker = root.post("/applications", {"name": "No user"}, 201)
    plain = root.server.as_application(worker["id"], worker["secret"])
    assert plain.get("/me/sessions") == {"items": []}
    plain.delete("/me/sessions/none", 404)


def test_tokens_of_a_user_see_the_users_sessions(server, root, windows):
    user, window = person(root), windows()
    window.log_in(user["email"])
    token = server.login(user["email"], PASSWORD)
    (found,) = token.get("/me/sessions")["items"]
    assert found["current"] is False
    token.delete(f"/me/sessions/{found['id']}", 204)
    assert window.status() == 401


# -- what ends them --------------------------------------------------------------------------------------------------


def test_a_changed_password_ends_the_others(root, windows):
    user = person(root)
    one, two = windows(), windows()
    for window in (one, two):
        window.log_in(user["email"])
    body = {"old_password": PASSWORD, "password": NEW}
    assert one.change("PATCH", "/me", json=body).status_code == 200
    assert (one.status(), two.status()) == (200, 401)
    assert windows().log_in(user["email"]).status_code == 401
    assert windows().log_in(user["email"], NEW).status_code == 201


@pytest.mark.parametrize("how", ["disable", "password", "everywhere", "delete"])
def test_an_administrator_ends_all(root, windows, how):
    user = person(root)
    one, two = windows(), windows()
    for window in (one, two):
        window.log_in(user["email"])
    path = f"/users/{user['email']}"
    match how:
        case "disable":
            root.patch(path, {"disabled": True})
        case "password":
            root.patch(path, {"password": NEW})
        case "everywhere":
            assert root.delete(f"{path}/tokens")["revoked"] == 2
        case _:
            root.delete(path)
    assert (one.status(), two.status()) == (401, 401)
    assert one.request("GET", "/session").status_code == 401
    if how == "disable":
        root.patch(path, {"disabled": False})
        assert one.status() == 401  # it is closed, not asleep


def test_roles_and_groups_are_those_of_now(root, windows):
    user, window = person(root), windows()
    window.log_in(user["email"])
    assert window.status("/providers") == 403
    root.patch(f"/users/{user['email']}", {"roles": ["admin"]})
    assert window.status("/providers") == 200
    root.patch(f"/users/{user['email']}", {"roles": []})
    assert window.status("/providers") == 403


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/email"), ({"email": "a@example.com"}, "/password"), ({"email": 7, "password": "x"}, "/email"),
        ({"email": "a@example.com", "password": "x" * 1_001}, "/password"), ({"email": "x" * 301, "password": "x"}, "/email"),
        ({"email": "a@example.com", "password": "x", "tenant": ""}, "/tenant"),
        ({"email": "a@example.com", "password": "x", "stay": True}, "/stay"),
        ({"email": "a@example.com", "password": "x\0"}, "/password"),
    ],
)  # fmt: skip
def test_a_bad_log_in_is_refused_with_its_place(windows, body, pointer):
    answer = windows().request("POST", "/session", json=body)
    assert answer.status_code == 400
    assert answer.json()["problems"][0]["pointer"] == pointer


def test_a_password_of_a_megabyte_is_refused_by_its_size_everywhere(root, nobody, server, windows):
    user, long = person(root), "x" * 1_000_000
    assert windows().log_in(user["email"], long).status_code == 413
    grant = {"grant_type": "password", "username": user["email"], "password": long}
    nobody.post("/token", grant, 401)
    nobody.post("/token", {"grant_type": "client_credentials", "client_id": "a", "client_secret": long}, 401)
    nobody.post("/token", {"grant_type": "client_credentials", "client_id": long, "client_secret": "a"}, 401)
    mine = server.login(user["email"], PASSWORD)
    for body in ({"old_password": long, "password": NEW}, {"old_password": PASSWORD, "password": long}):
        mine.patch("/me", body, 400)
    with httpx.Client(base_url=server.url, trust_env=False) as http:
        import base64

        pair = base64.b64encode(f"{user['email']}:{long}".encode()).decode()
        try:
            answer = http.post("/v1/auth", json={}, headers={"authorization": f"Token {pair}"})
            assert answer.status_code in {400, 401, 431}
        except httpx.HTTPError:
            pass  # no web server reads a header of a megabyte
    server.login(user["email"], PASSWORD)  # none of it was counted as a guess


def test_unknown_wrong_disabled_and_without_a_password_are_told_the_same(root, windows):
    known, disabled = person(root), person(root)
    root.patch(f"/users/{disabled['email']}", {"disabled": True})
    quiet = root.post("/users", {"email": f"{fresh('quiet')}@example.com"}, 201)
    answers = [windows().log_in(known["email"], "wrong password")]
    answers += [windows().log_in(each) for each in (disabled["email"], quiet["email"], f"{fresh('no')}@example.com")]
    answers.append(windows().log_in(known["email"], tenant="nowhere"))
    told = {(answer.status_code, answer.text) for answer in answers}
    assert len(told) == 1
    assert told.pop()[0] == 401
    told_headers = {tuple(sorted(set(answer.headers) - {"content-length"})) for answer in answers}
    assert len(told_headers) == 1


# -- one address in two tenants --------------------------------------------------------------------------------------


def test_an_address_of_two_tenants_says_which(server, root, other, windows):
    email = person(root)["email"]
    other.post("/users", {"email": email, "password": PASSWORD}, 201)
    answer = windows().log_in(email)
    assert answer.status_code == 409
    assert "demo, second" in answer.json()["detail"]
    assert "set-cookie" not in answer.headers
    wrong = windows().log_in(email, "not the password")
    assert wrong.status_code == 401
    assert "second" not in wrong.text
    for code in ("demo", "second"):
        window = windows()
        assert window.log_in(email, tenant=code).json()["tenant"]["code"] == code
        assert window.request("GET", "/me").json()["tenant"]["code"] == code
    other.patch(f"/users/{email}", {"password": NEW})
    assert windows().log_in(email).json()["tenant"]["code"] == "demo"
    assert windows().log_in(email, NEW).json()["tenant"]["code"] == "second"
