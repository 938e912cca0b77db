"""`/v1/auth`: a log-in whose answer is a credential."""

from __future__ import annotations

import base64
import json

import pytest

from contract.cloudio.door import AUTH, log_in_header
from penstock.client import Client


@pytest.fixture(scope="module")
def ana(server):
    (user,) = [each for each in server.credentials["users"] if each["email"].startswith("ana")]
    return user["email"], user["password"]


def log_in(door, user, password, **more):
    return door.request("POST", AUTH, headers={"Authorization": log_in_header(user, password)}, **{"json": {}, **more})


@pytest.mark.parametrize("header", ["Authorization", "Authentication", "AUTHENTICATION"])
def test_a_user_logs_in_by_either_header(server, door, ana, header):
    response = door.request("POST", AUTH, json={}, headers={header: log_in_header(*ana)})
    assert response.status_code == 200, response.text
    body = response.json()
    assert body.keys() == {
        *("status", "orgUid", "sessionId", "userName", "displayName", "emailAddress", "csrf", "jwt"),
    }
    assert body["orgUid"] == server.credentials["tenant"]["id"]
    assert (body["userName"], body["emailAddress"], body["displayName"]) == (ana[0], ana[0], "Ana Ruiz")


def test_the_jwt_is_a_credential_here_and_at_the_native_door(server, door, ana):
    session = log_in(door, *ana).json()
    header, claims, _ = session["jwt"].split(".")
    keys = door.http.get("/.well-known/jwks.json").json()["keys"]
    kid = keys[-1]["kid"]
    assert json.loads(base64.urlsafe_b64decode(header + "==")) == {"alg": "ES256", "typ": "at+jwt", "kid": kid}
    told = json.loads(base64.urlsafe_b64decode(claims + "=="))
    assert (told["sub"], told["sid"]) == (f"user:{ana[0]}", session["sessionId"])
    assert told["exp"] > told["iat"]
    with Client(server.url, token=session["jwt"]) as client:
        assert client.me().principal == f"user:{ana[0]}"
    mine = door.request("GET", AUTH, headers={"jwt": session["jwt"], "csrf": session["csrf"]})
    assert mine.status_code == 200
    assert mine.json() == {name: value for name, value in session.items() if name not in {"jwt", "csrf"}}


def test_each_log_in_is_another_session(door, ana):
    one, other = log_in(door, *ana).json(), log_in(door, *ana).json()
    for name in ("sessionId", "csrf", "jwt"):
        assert one[name] != other[name]


def test_a_session_wants_both_and_only_its_own(server, door, ana):
    one, other = log_in(door, *ana).json(), log_in(door, *ana).json()
    header, claims, signature = one["jwt"].split(".")
    forged = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged["sub"] = "user:root@example.com"
    claims = base64.urlsafe_b64encode(json.dumps(forged).encode()).rstrip(b"=").decode()
    unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    for jwt, csrf in (
        (one["jwt"], other["csrf"]),
        (one["jwt"], ""),
        ("", one["csrf"]),
        (f"{header}.{claims}.{signature}", one["csrf"]),
        (f"{unsigned}.{claims}.", one["csrf"]),
        (one["jwt"] + "x", one["csrf"]),
        (one["jwt"], one["csrf"] + "é"),
    ):
        response = door.http.get(AUTH, headers={"jwt": jwt, "csrf": csrf.encode()})
        door.contract.check(response)
        assert response.status_code == 401, (jwt, csrf)
    server.client(f"{header}.{claims}.{signature}").get("/me", 401)
    assert door.request("GET", AUTH).status_code == 401


def test_an_application_logs_in_by_its_id_and_secret(server, door):
    application = server.credentials["application"]
    session = log_in(door, application["id"], application["secret"]).json()
    assert (session["userName"], session["emailAddress"]) == (application["id"], "")
    assert session["displayName"]
    assert server.client(session["jwt"]).get("/me")["principal"] == f"app:{application['id']}"


@pytest.mark.parametrize(
    "header",
    [
        None, "", "Token", "Token !!!", "Token " + base64.b64encode(b"no colon").decode(), "Token w6k=w6k=",
        "Token " + base64.b64encode(b"\xff\xfe:x").decode(), "Token " + base64.b64encode(b"a@b.c:\0").decode(),
        "Basic " + base64.b64encode(b"ana@example.com:x").decode(), "Bearer x", log_in_header("ana@example.com", "wrong"),
        log_in_header("nobody@example.com", "x"), log_in_header("", ""), log_in_header("é", "é"),
        log_in_header("ana@example.com", "x" * 2000),
    ],
)  # fmt: skip
def test_whoever_is_nobody_is_401(door, header):
    response = door.request("POST", AUTH, json={}, headers={} if header is None else {"Authorization": header})
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == "Token"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"unknown": [1]}'])
def test_the_body_is_empty_one_way_or_another(door, ana, content):
    headers = {"Authorization": log_in_header(*ana), "content-type": "application/json"}
    assert door.request("POST", AUTH, content=content, headers=headers).status_code == 200


def test_a_bad_body_is_400_before_anybody_asks_who_calls(door):
    assert door.request("POST", AUTH, content=b"[", headers={"content-type": "application/json"}).status_code == 400
    assert door.request("POST", AUTH, json=[1]).status_code == 400


def test_a_colon_belongs_to_the_password(door, ana):
    assert log_in(door, ana[0], ana[1] + ":").status_code == 401


def test_the_base64_may_lack_its_padding_and_the_scheme_its_case(door, ana):
    header = log_in_header(*ana).rstrip("=").replace("Token", "token  ")
    assert door.request("POST", AUTH, json={}, headers={"Authorization": header}).status_code == 200
