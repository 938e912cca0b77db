"""Logging in by a real OpenID provider, over HTTP, as a browser does it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from penstock.identity.keys import Keys
from process.people import PASSWORD, group, logged_in, person
from support.oidc import SECRET, Browser, Provider
from support.server import PREFIX, Api, Server, fresh, serving

DEMO = "demo"
NEW_KEY = "B" * 43


@pytest.fixture(scope="module")
def provider(server: Server, tmp_path_factory) -> Iterator[Provider]:
    running = Provider(tmp_path_factory.mktemp("provider"), server.url + PREFIX + "/login/callback")
    yield running
    running.stop()


@pytest.fixture
def browser(server: Server) -> Iterator[Browser]:
    with Browser(server) as opened:
        yield opened


def made(root: Api, provider: Provider, **more: Any) -> str:
    """A provider of the demo tenant; answers its code."""
    code: str = root.post("/providers", provider.spec(fresh("op"), **more), 201)["code"]
    return code


def somebody(groups: str = "", more: str = "") -> tuple[str, str]:
    """What somebody new types at the provider, and the e-mail address the provider tells."""
    email = f"{fresh('sso').lower()}@example.com"
    return f"{fresh('sub')}~{email}~{groups}~{more}", email


def journal(root: Api, type: str, subject: str) -> list[Any]:
    return [entry for entry in root.everything("/audit", type=type, limit=200) if entry["subject"] == subject]


# -- the way in ------------------------------------------------------------------------------------------------------


def test_a_person_logs_in_by_the_provider_and_is_made_a_user(root, provider, browser):
    code, (who, email) = made(root, provider, create_users=True), somebody()
    answer = browser.log_in(DEMO, code, who, "/tasks?mine=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/tasks?mine=1"), answer.text
    session = browser.session()
    assert (session["principal"], session["provider"], session["kind"]) == (f"user:{email}", code, "user")
    user = root.get(f"/users/{email}")
    assert (user["name"], user["password"], user["groups"], user["roles"]) == ("From Elsewhere", False, [], [])
    changed = browser.change("PATCH", "/me", json={"name": "Myself"})
    assert changed.json()["name"] == "Myself"
    (created,) = journal(root, "user.created", email)
    assert created["data"]["provider"] == code
    (opened,) = journal(root, "session.opened", session["id"])
    assert (opened["actor"], opened["data"]["provider"]) == (f"user:{email}", code)


def test_who_has_an_account_gets_into_that_one(root, provider, browser):
    known = person(root, name="Known", roles=["manager"])
    code = made(root, provider)
    answer = browser.log_in(DEMO, code, f"s~{known['email'].upper()}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert browser.session()["roles"] == ["manager"]
    assert root.get(f"/users/{known['email']}")["id"] == known["id"]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
def test_id_tokens_of_every_allowed_algorithm_are_taken(root, provider, browser, algorithm):
    code = made(root, provider, algorithm=algorithm, create_users=True)
    assert browser.log_in(DEMO, code, somebody()[0]).status_code == 303


def test_a_client_without_a_secret_has_pkce_alone(root, provider, browser):
    code = made(root, provider, client_id="public", client_secret=None, create_users=True)
    assert root.get(f"/providers/{code}")["client_secret"] is False
    assert browser.log_in(DEMO, code, somebody()[0]).status_code == 303


def test_claims_may_stand_in_the_id_token(root, server, browser, tmp_path):
    other = Provider(tmp_path, server.url + PREFIX + "/login/callback", claims_in_token=True)
    try:
        who, email = somebody()
        assert browser.log_in(DEMO, made(root, other, create_users=True), who).status_code == 303
        assert browser.session()["principal"] == f"user:{email}"
    finally:
        other.stop()


def test_what_leaves_is_state_nonce_and_a_challenge_and_no_secret(root, provider, browser, server):
    code = made(root, provider)
    left = browser.begin(DEMO, code)
    query = {name: value for name, (value,) in parse_qs(urlsplit(left.headers["location"]).query).items()}
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == server.url + PREFIX + "/login/callback"
    assert query["scope"] == "openid email profile"
    assert len({query["state"], query["nonce"], query["code_challenge"]}) == 3
    assert SECRET not in left.headers["location"]
    cookie = left.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert query["state"] not in cookie
    again = parse_qs(urlsplit(browser.begin(DEMO, code).headers["location"]).query)
    assert again["state"] != [query["state"]]
    assert again["nonce"] != [query["nonce"]]


def test_two_log_ins_of_one_browser_go_on_beside_each_other(root, provider, browser):
    code, (who, _) = made(root, provider, create_users=True), somebody()
    first, second = browser.begin(DEMO, code, "/one"), browser.begin(DEMO, code, "/two")
    targets = [browser.at_provider(left, who) for left in (first, second)]
    assert [browser.back(each).headers["location"] for each in targets] == ["/one", "/two"]


# -- who it is -------------------------------------------------------------------------------------------------------


def test_groups_come_from_the_claim_at_each_log_in_where_it_is_named(root, provider, browser):
    first, second, own = group(root), group(root), group(root)
    who, email = somebody(f"{first},nothing-here")
    plain = made(root, provider, create_users=True)
    browser.log_in(DEMO, plain, who)
    root.put(f"/groups/{own}/members/{email}", None)
    browser.log_in(DEMO, plain, who)
    assert root.get(f"/users/{email}")["groups"] == [own]
    root.patch(f"/providers/{plain}", {"groups_claim": "groups"})
    browser.log_in(DEMO, plain, who)
    assert browser.session()["groups"] == root.get(f"/users/{email}")["groups"] == [first]
    assert journal(root, "user.changed", email)[0]["data"] == {"groups": [first], "provider": plain}
    assert second not in browser.session()["groups"]


def test_another_subject_of_the_same_address_is_refused(root, provider, browser, server):
    code, (who, email) = made(root, provider, create_users=True), somebody()
    assert browser.log_in(DEMO, code, who).status_code == 303
    with Browser(server) as other:
        answer = other.log_in(DEMO, code, f"{fresh('another')}~{email}")
        assert answer.status_code == 403
        assert "as somebody else" in answer.text
        assert other.request("GET", "/session").status_code == 401
    assert journal(root, "login.failed", email)[0]["data"]["provider"] == code
    browser.log_in(DEMO, code, who)  # the first still gets in
    assert browser.session()["principal"] == f"user:{email}"


def test_a_deleted_user_leaves_no_bond_behind(root, provider, browser):
    code, (who, email) = made(root, provider, create_users=True), somebody()
    browser.log_in(DEMO, code, who)
    root.delete(f"/users/{email}")
    browser.log_in(DEMO, code, who)
    assert browser.session()["principal"] == f"user:{email}"


@pytest.mark.parametrize(
    ("spec", "more", "words"),
    [
        ({"create_users": False}, "", "has to make one"),
        ({"create_users": True, "domains": ["elsewhere.example"]}, "", "addresses of this domain"),
        ({"create_users": True}, "unverified", "has not verified"),
    ],
)
def test_who_may_not_come_from_there_is_told_so_and_not_made(root, provider, browser, spec, more, words):
    code, (who, email) = made(root, provider, **spec), somebody(more=more)
    answer = browser.log_in(DEMO, code, who)
    assert answer.status_code in {403, 502}
    assert words in answer.text
    assert "penstock=" not in answer.headers.get("set-cookie", "")
    root.get(f"/users/{email}", expect=404)


def test_a_disabled_user_does_not_get_in_by_the_provider(root, provider, browser):
    known, code = person(root), made(root, provider)
    root.patch(f"/users/{known['email']}", {"disabled": True})
    answer = browser.log_in(DEMO, code, f"{fresh('s')}~{known['email']}")
    assert answer.status_code == 403
    assert "disabled" in answer.text


def test_an_operator_gets_in_by_a_provider_that_an_operator_set_up_and_no_other(root, provider, browser, server):
    """An administrator of the tenant could else have a provider of theirs vouch for an operator."""
    operator, admin = person(root, roles=["operator"]), logged_in(server, root, roles=["admin"])
    code = made(admin, provider)
    answer = browser.log_in(DEMO, code, f"{fresh('s')}~{operator['email']}")
    assert answer.status_code == 403
    assert "operator" in answer.text
    root.patch(f"/providers/{code}", {"name": "Looked at"})
    root.patch(f"/providers/{code}", {"enabled": True, "issuer": provider.issuer, "client_secret": SECRET})
    assert browser.log_in(DEMO, code, f"{fresh('s')}~{operator['email']}").status_code == 403
    whole = {name: provider.spec(code)[name] for name in ("issuer", "client_id", "client_secret")}
    root.patch(f"/providers/{code}", whole)
    assert journal(root, "provider.changed", code)[0]["data"]["trusted_by"] == root.name
    who = f"{fresh('s')}~{operator['email']}"
    assert browser.log_in(DEMO, code, who).status_code == 303
    admin.patch(
        f"/providers/{code}", {"name": "Mine again", "issuer": provider.issuer, "client_id": whole["client_id"]}
    )
    assert browser.log_in(DEMO, code, who).status_code == 303
    admin.patch(f"/providers/{code}", {"client_secret": SECRET})
    assert browser.log_in(DEMO, code, who).status_code == 403


@pytest.mark.parametrize("part", [{"client_id": "penstock-ES256"}, {"client_secret": "another"}])
def test_an_administrators_change_of_the_client_takes_an_operators_word_away(root, provider, server, part):
    admin, code = logged_in(server, root, roles=["admin"]), made(root, provider)
    admin.patch(f"/providers/{code}", part)
    assert journal(root, "provider.changed", code)[0]["data"]["trusted_by"] == admin.name
    root.patch(f"/providers/{code}", {"client_id": "another"})
    assert "trusted_by" not in journal(root, "provider.changed", code)[0]["data"]


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_refusal_at_the_provider_is_shown_as_a_page_and_as_a_problem(root, provider, browser):
    code = made(root, provider)
    for accept, kind in (("text/html", "text/html; charset=utf-8"), ("*/*", "application/problem+json")):
        target = browser.at_provider(browser.begin(DEMO, code), "anybody", refuse=True)
        browser.http.headers["accept"] = accept
        answer = browser.back(target)
        assert (answer.status_code, answer.headers["content-type"]) == (403, kind)
        assert "access_denied" in answer.text


def test_what_the_provider_says_is_escaped(root, provider, browser):
    left = browser.begin(DEMO, made(root, provider))
    state = parse_qs(urlsplit(left.headers["location"]).query)["state"][0]
    said = {"state": state, "error": "<script>", "error_description": "\"'><img src=x>\r\nSet-Cookie: a=b"}
    answer = browser.request("GET", "/login/callback", params={**said, "iss": provider.issuer})
    assert answer.status_code == 403
    assert "<script" not in answer.text
    assert "<img" not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_a_state_is_good_once_and_in_its_own_browser_alone(root, provider, browser, server):
    code, (who, _) = made(root, provider, create_users=True), somebody()
    target = browser.at_provider(browser.begin(DEMO, code), who)
    with Browser(server) as thief:
        assert thief.back(target).status_code == 400
        thief.begin(DEMO, code)  # has a cookie of its own now
        assert thief.back(target).status_code == 400
    assert browser.back(target).status_code == 400  # it was brought once
    target = browser.at_provider(browser.begin(DEMO, code), who)
    assert browser.back(target).status_code == 303
    assert browser.back(target).status_code == 400
    for query in ("", "?code=x", "?state=", "?state=nonsense&code=x", "?error=access_denied", "?state=" + "x" * 7_000):
        answer = browser.request("GET", f"/login/callback{query}")
        assert answer.status_code == 400, query
        assert "access_denied" not in answer.text  # nobody shows words by a link


def test_an_answer_of_another_issuer_is_refused(root, provider, browser):
    left = browser.begin(DEMO, made(root, provider))
    target = browser.at_provider(left, somebody()[0])
    query = {name: value for name, (value,) in parse_qs(urlsplit(target).query).items()}
    answer = browser.request("GET", "/login/callback", params={**query, "iss": "https://evil.example"})
    assert answer.status_code == 502
    assert "another issuer" in answer.text


def test_a_code_that_the_provider_does_not_know_logs_nobody_in(root, provider, browser):
    left = browser.begin(DEMO, made(root, provider))
    state = parse_qs(urlsplit(left.headers["location"]).query)["state"][0]
    answer = browser.request("GET", "/login/callback", params={"state": state, "code": "x", "iss": provider.issuer})
    assert answer.status_code == 403
    assert "does not take the code" in answer.text


def test_a_wrong_secret_of_the_client_is_an_error_of_the_provider(root, provider, browser):
    code, (who, email) = made(root, provider, client_secret="wrong", create_users=True), somebody()
    answer = browser.log_in(DEMO, code, who)
    assert answer.status_code == 502
    assert "invalid_client" in answer.text
    assert "wrong" not in answer.text
    root.get(f"/users/{email}", expect=404)
    assert "invalid_client" in journal(root, "login.failed", code)[0]["data"]["why"]


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example", "/\\evil.example", "\\\\evil.example", "https:evil.example", "https://evil.example", "evil.example",
        "/\t/evil.example", "/a\r\nSet-Cookie: b=c", "javascript:alert(1)", "/ä", "/a b", "/" + "x" * 2_000, "",
    ],
)  # fmt: skip
def test_nobody_is_sent_elsewhere_after_the_log_in(root, provider, browser, path):
    answer = browser.begin(DEMO, made(root, provider), path)
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_an_unknown_or_disabled_provider_is_404(root, provider, browser):
    code = made(root, provider)
    for tenant, name in ((DEMO, "nobody"), ("nowhere", code), ("second", code)):
        assert browser.begin(tenant, name).status_code == 404
    root.patch(f"/providers/{code}", {"enabled": False})
    assert browser.begin(DEMO, code).status_code == 404
    assert code not in [each["code"] for each in offered(browser)]


def test_a_provider_that_is_removed_meanwhile_logs_nobody_in(root, provider, browser):
    code = made(root, provider, create_users=True)
    target = browser.at_provider(browser.begin(DEMO, code), somebody()[0])
    root.delete(f"/providers/{code}")
    assert browser.back(target).status_code == 404


# -- administration --------------------------------------------------------------------------------------------------


def offered(browser: Browser, tenant: str = DEMO) -> list[Any]:
    return list(browser.request("GET", "/login/providers", params={"tenant": tenant}).json()["items"])


def test_a_log_in_page_is_told_code_and_name_alone(root, provider, browser):
    # the first 50 are offered, and other tests make many
    code = root.post("/providers", provider.spec(fresh("a_first")), 201)["code"]
    assert {"code": code, "name": f"Provider {code}"} in offered(browser)
    assert offered(browser, "nowhere") == offered(browser, "second") == []


def test_a_provider_is_made_read_changed_and_removed_and_its_secret_never_told(root, provider, server):
    code = made(root, provider, domains=["Example.COM"])
    response = root.request("GET", f"/providers/{code}")
    assert response.headers["etag"] == '"1"'
    told = response.json()
    assert (told["client_secret"], told["domains"], told["enabled"]) == (True, ["example.com"], True)
    assert told["redirect_uri"] == server.url + PREFIX + "/login/callback"
    assert root.post("/providers", provider.spec(code), 409)["code"] == "already_exists"
    stale = root.request("PATCH", f"/providers/{code}", json={"name": "New"}, headers={"if-match": '"7"'})
    assert stale.status_code == 412
    assert root.patch(f"/providers/{code}", {"name": "New"})["name"] == "New"
    problem = root.patch(f"/providers/{code}", {"issuer": "https://other.example"}, 400)
    assert problem["problems"][0]["pointer"] == "/client_secret"
    root.delete(f"/providers/{code}")
    root.get(f"/providers/{code}", expect=404)
    types = [type for type in ("created", "changed", "removed") if journal(root, f"provider.{type}", code)]
    assert types == ["created", "changed", "removed"]
    everything = str([journal(root, f"provider.{type}", code) for type in types])
    assert SECRET not in everything
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in server.data.glob("penstock.db*"))


def test_the_same_key_makes_a_provider_once(root, provider):
    spec, key = provider.spec(fresh("op")), fresh("key")
    first = root.request("POST", "/providers", json=spec, headers={"idempotency-key": key})
    again = root.request("POST", "/providers", json=spec, headers={"idempotency-key": key})
    assert (first.status_code, again.json()) == (201, first.json())
    other = {**spec, "client_secret": "another"}
    assert root.request("POST", "/providers", json=other, headers={"idempotency-key": key}).status_code == 409


BAD = [
    ({"code": "a code"}, "/code"), ({"name": ""}, "/name"), ({"name": " x"}, "/name"), ({"issuer": "http://login.example.com"}, "/issuer"),
    ({"issuer": "nonsense"}, "/issuer"), ({"issuer": "https://"}, "/issuer"), ({"issuer": "https://a@b.example"}, "/issuer"),
    ({"issuer": "https://b.example?x"}, "/issuer"), ({"issuer": "https://b.example#x"}, "/issuer"), ({"issuer": "https://b\n.example"}, "/issuer"),
    ({"client_id": ""}, "/client_id"), ({"client_id": "ü"}, "/client_id"), ({"scopes": []}, "/scopes"), ({"scopes": ["email"]}, "/scopes"),
    ({"scopes": ["openid", "a b"]}, "/scopes/1"), ({"domains": ["a..b"]}, "/domains/0"), ({"domains": ["@x"]}, "/domains/0"),
    ({"groups_claim": "a\tb"}, "/groups_claim"), ({"client_secret": ""}, "/client_secret"), ({"roles": ["admin"]}, "/roles"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "pointer"), BAD, ids=[str(part) for part, _ in BAD])
def test_a_bad_provider_is_refused_with_its_place(root, provider, part, pointer):
    spec = {**provider.spec(fresh("op")), **part}
    assert root.post("/providers", spec, 400)["problems"][0]["pointer"] == pointer
    assert spec["code"] not in [each["code"] for each in root.everything("/providers", limit=200)]


def test_providers_are_administrators_business(root, provider, ana, other, server, nobody):
    code = made(root, provider)
    worker = root.post("/applications", {"name": "No administrator"}, 201)
    plain = server.as_application(worker["id"], worker["secret"])
    for caller, status in (
        (ana, 403),
        (plain, 403),
        (nobody, 401),
        (server.login(person(root)["email"], PASSWORD), 403),
    ):
        caller.get("/providers", expect=status)
        caller.get(f"/providers/{code}", expect=status)
        caller.post("/providers", provider.spec(fresh("op")), status)
        caller.patch(f"/providers/{code}", {"enabled": False}, status)
        caller.delete(f"/providers/{code}", status)
    other.get(f"/providers/{code}", expect=404)
    other.patch(f"/providers/{code}", {"enabled": False}, 404)
    other.delete(f"/providers/{code}", 404)
    assert other.get("/providers")["items"] == []
    assert root.get(f"/providers/{code}")["enabled"] is True
    assert [each["code"] for each in root.everything("/providers", limit=3)].count(code) == 1


def test_the_host_of_a_request_decides_nothing(root, provider, server):
    code = made(root, provider)
    headers = {"host": "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https"}
    with httpx.Client(trust_env=False) as http:
        left = http.get(f"{server.url}{PREFIX}/login/{DEMO}/{code}", headers=headers)
    assert "evil" not in left.headers["location"]
    assert "Secure" not in left.headers["set-cookie"]


def test_secrets_of_clients_are_encrypted_anew_with_the_others(tmp_path):
    spec = {
        "code": "op",
        "name": "Op",
        "issuer": "https://login.example.com",
        "client_id": "c",
        "client_secret": SECRET,
    }
    with serving(tmp_path) as server:
        tenant = server.user("root").get("/me")["tenant"]["id"]
        server.user("root").post("/providers", spec, 201)
        server.stop()
        path = server.data / "secret.key"
        path.write_text(f"{NEW_KEY}\n{path.read_text().strip()}\n")
        command = [sys.executable, "-m", "penstock", "rotate-keys", "--data", str(server.data), "--json"]
        environment = {**os.environ, "PENSTOCK_SECRET_KEY_FILE": str(path)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert "providers' secrets 1," in done.stdout
        with sqlite3.connect(f"file:{server.data / 'penstock.db'}?mode=ro", uri=True) as db:
            key, sealed = db.execute("SELECT key, secret FROM providers").fetchone()
        assert Keys.parse(NEW_KEY).open(key, sealed, f"{tenant}/provider/op") == SECRET
        with sqlite3.connect(server.data / "penstock.db") as db:
            # of a key that is gone: strangers are not told why
            db.execute("UPDATE providers SET key = 'gone'")
        path.write_text(NEW_KEY)
        server.start()
        with Browser(server) as browser:
            answer = browser.begin(DEMO, "op")
        assert answer.status_code == 502
        assert "key" not in answer.text
        assert "not readable" in server.log.read_text()
