"""Access tokens, the published key set, named tokens and access keys, over HTTP, and the commands that look after keys."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, KeySet

from penstock.client import Client
from penstock.config import Settings
from penstock.wiring.platform import Platform
from process.people import PASSWORD, logged_in, person
from support.server import SECRET_KEY, Api, Server, check_problem, fresh, serving

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"


def get(server: Server, path: str, **headers: str) -> httpx.Response:
    return httpx.get(server.url + path, headers=headers, trust_env=False)


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def penstock(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    command = [sys.executable, "-m", "penstock", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env={**known, **environment}
    )


# -- what is published -----------------------------------------------------------------------------------------------


def test_anybody_checks_a_token_with_the_published_keys(server: Server, ana: Api):
    response = get(server, JWKS)
    assert response.status_code == 200
    assert ana.token is not None
    token = jwt.decode(ana.token, KeySet.import_key_set(response.json()), ["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["sub"] == "user:ana@example.com"
    assert token.claims["tenant"] == server.credentials["tenant"]["id"]
    assert token.claims["aud"] == "penstock"
    assert token.claims["iss"] == server.url


def test_no_private_member_is_ever_published(server: Server):
    for key in get(server, JWKS).json()["keys"]:
        assert key.keys() == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert not ECKey.import_key(key).is_private


def test_what_is_published_may_be_cached_and_asked_for_again(server: Server):
    for path in (JWKS, METADATA):
        first = get(server, path)
        assert first.headers["content-type"] == "application/json"
        assert "max-age" in first.headers["cache-control"]
        again = get(server, path, **{"if-none-match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert get(server, path, **{"if-none-match": '"other"'}).status_code == 200


def test_the_metadata_leads_to_the_token_and_the_keys(server: Server):
    told = get(server, METADATA).json()
    assert told["issuer"] == server.url
    assert told["jwks_uri"] == server.url + JWKS
    assert told["response_types_supported"] == []
    application = server.credentials["application"]
    form = {"grant_type": "client_credentials"}
    given = (application["id"], application["secret"])
    assert set(told["token_endpoint_auth_methods_supported"]) == {"client_secret_basic", "client_secret_post"}
    by_header = httpx.post(told["token_endpoint"], data=form, auth=given, trust_env=False)
    by_body = httpx.post(
        told["token_endpoint"], data={**form, "client_id": given[0], "client_secret": given[1]}, trust_env=False
    )
    for answer in (by_header, by_body):
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        server.client(answer.json()["access_token"]).get("/me")


# -- what is forged --------------------------------------------------------------------------------------------------


def forgeries(server: Server, token: str) -> dict[str, str]:
    """Tokens nobody has issued, made of one that was."""
    header, claims, signature = token.split(".")
    told, said = (json.loads(base64.urlsafe_b64decode(each + "==")) for each in (header, claims))
    (public, *_) = [key for key in get(server, JWKS).json()["keys"] if key["kid"] == told["kid"]]
    stranger = ECKey.generate_key("P-256", private=True, auto_kid=False)
    es256 = jws.JWSRegistry.algorithms["ES256"]

    def made(header: Any, claims: Any = said) -> str:
        text = f"{part(header)}.{part(claims)}"
        return f"{text}.{base64.urlsafe_b64encode(es256.sign(text.encode(), stranger)).rstrip(b'=').decode()}"

    return {
        "alg none": f"{part({**told, 'alg': 'none'})}.{claims}.",
        "alg none, signed": f"{part({**told, 'alg': 'none'})}.{claims}.{signature}",
        "HS256": f"{part({**told, 'alg': 'HS256'})}.{claims}.{signature}",
        "wrong key": made(told),
        "own key in the header": made({**told, "jwk": stranger.as_dict(private=False)}),
        "unknown key": made({**told, "kid": stranger.thumbprint()}),
        "a path": made({**told, "kid": "../../../dev/null"}),
        "a huge kid": made({**told, "kid": "k" * 3000}),
        "crit": made({**told, "crit": ["exp"]}),
        "nested": made({**told, "cty": "JWT"}, token),
        "changed": f"{header}.{part({**said, 'sub': 'user:root@example.com'})}.{signature}",
        "later": f"{header}.{part({**said, 'exp': said['exp'] + 9999})}.{signature}",
        "cut": token[:-1],
        "longer": token + "A",
        "oversized": token + "A" * 20_000,
        "no signature": f"{header}.{claims}",
        "public key": part(public),
        "dots": "..",
    }


def test_a_forged_token_is_a_401_that_says_so(server: Server, ana: Api):
    assert ana.token is not None
    for name, token in forgeries(server, ana.token).items():
        response = server.client(token).request("GET", "/me")
        assert response.status_code == 401, name
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"', name
        assert "token" in check_problem(response)["detail"], name
    missing = server.client().request("GET", "/me")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
    ana.get("/me")


def test_an_expired_token_is_a_401(tmp_path: Path):
    with serving(tmp_path, PENSTOCK_TOKEN_LIFETIME="60") as server:
        api = server.application()
        settings = Settings(database_url=f"sqlite:///{server.data.absolute()}/penstock.db", data_dir=server.data)
        server.stop()
        platform = Platform.build(settings)
        try:  # as it is when its time is up: the row says so
            platform.store.submit(lambda tx: tx.execute("UPDATE tokens SET expires_at = expires_at - 60000")).result(10)
        finally:
            platform.close()
        server.start()
        response = server.client(api.token).request("GET", "/me")
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_tokens_of_another_installation_or_issuer_are_refused(tmp_path: Path, server: Server, ana: Api):
    url = "https://flows.example.com"
    with serving(tmp_path, PENSTOCK_PUBLIC_URL=f"{url}/") as other:
        api = other.application()
        assert api.token is not None
        assert json.loads(base64.urlsafe_b64decode(api.token.split(".")[1] + "=="))["iss"] == url
        assert get(other, METADATA).json()["token_endpoint"] == f"{url}/api/v1/token"
        other.client(ana.token).get("/me", expect=401)
        server.client(api.token).get("/me", expect=401)
        other.stop()
        other._environment["PENSTOCK_PUBLIC_URL"] = "https://elsewhere.example.com"
        other.start()
        problem = check_problem(other.client(api.token).request("GET", "/me"))
        assert "issuer" in problem["detail"]
        other.application().get("/me")


# -- named tokens ----------------------------------------------------------------------------------------------------


def test_a_named_token_is_shown_once_and_listed_without_itself(server: Server, root: Api):
    me = logged_in(server, root)
    email = me.name.partition(":")[2]
    response = me.request(
        "POST", "/me/tokens", json={"name": "Nightly", "days": 30}, headers={"idempotency-key": fresh("k")}
    )
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    made = response.json()
    again = me.request(
        "POST", "/me/tokens", json={"name": "Nightly", "days": 30}, headers=dict(response.request.headers)
    )
    assert again.json() == {name: value for name, value in made.items() if name != "token"}
    script = server.client(made["token"])
    assert script.get("/me")["principal"] == f"user:{email}"
    script.post("/me/tokens", {"name": "another"}, 403)
    listed = me.everything("/me/tokens")
    assert {each["kind"] for each in listed} == {"access", "named"}
    assert [each["name"] for each in listed if each["kind"] == "named"] == ["Nightly"]
    assert all("token" not in each for each in listed)
    assert me.get(f"/users/{email}/tokens") == root.get(f"/users/{email}/tokens") == me.get("/me/tokens")
    server.user("ana").get(f"/users/{email}/tokens", expect=403)
    server.user("ana").delete(f"/me/tokens/{made['id']}", 404)
    me.delete(f"/me/tokens/{made['id']}")
    script.get("/me", expect=401)
    me.delete(f"/me/tokens/{made['id']}", 404)


def test_administrators_list_the_tokens_of_an_application(server: Server, root: Api):
    made = root.post("/applications", {"name": "listed"}, 201)
    program = server.as_application(made["id"], made["secret"])
    named = program.post("/me/tokens", {"name": "device"}, 201)
    listed = root.get(f"/applications/{made['id']}/tokens")["items"]
    assert [(each["kind"], each["name"]) for each in listed] == [("access", None), ("named", "device")]
    assert listed[1]["id"] == named["id"]
    assert "token" not in listed[1]
    server.user("ana").get(f"/applications/{made['id']}/tokens", expect=403)
    root.get(f"/applications/{made['id'][:-1]}0000/tokens", expect=404)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": ""}, {"name": "x", "days": 0}, {"name": "x", "days": 366}, {"name": "x", "days": "1"},
        {"name": "x", "expires_at": "soon"}, {"name": "x", "expires_at": "2020-01-01T00:00:00Z"},
        {"name": "x", "expires_at": "9999-01-01T00:00:00Z"}, {"name": "x", "days": 1, "expires_at": "2026-12-01T00:00:00Z"},
        {"name": "x\0"}, {"name": "x", "kind": "access"},
    ],
)  # fmt: skip
def test_a_named_token_that_cannot_be_is_a_400_that_says_where(ana: Api, body):
    problem = ana.post("/me/tokens", body, 400)
    assert problem["problems"]
    assert problem["problems"][0]["pointer"] in {"/name", "/days", "/expires_at", "/kind", ""}


def test_a_disabled_users_named_token_is_good_no_more(server: Server, root: Api):
    user = person(root)
    token = server.login(user["email"], PASSWORD).post("/me/tokens", {"name": "script"}, 201)["token"]
    script = server.client(token)
    script.get("/me")
    root.patch(f"/users/{user['id']}", {"disabled": True})
    script.get("/me", expect=401)
    root.patch(f"/users/{user['id']}", {"disabled": False})
    script.get("/me", expect=401)


# -- access keys -----------------------------------------------------------------------------------------------------


def test_an_access_key_is_made_changed_and_removed(root: Api, ana: Api):
    path = f"/applications/{root.post('/applications', {'name': 'Playbooks'}, 201)['id']}/access-keys"
    response = root.request("POST", path, json={"name": "first"})
    assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
    made = response.json()
    assert len(made.pop("sk")) == 40
    assert root.get(path)["items"] == [made]
    assert root.patch(f"{path}/{made['ak']}", {"disabled": True, "name": "second"}) == {
        **made, "disabled": True, "name": "second",
    }  # fmt: skip
    root.patch(f"{path}/{made['ak']}", {"name": ""}, 400)
    root.patch(f"{path}/{made['ak']}", {"sk": "mine"}, 400)
    for call in (lambda: ana.get(path, expect=403), lambda: ana.post(path, {"name": "x"}, 403)):
        call()
    root.delete(f"{path}/{made['ak']}")
    assert root.get(path)["items"] == []
    root.delete(f"{path}/{made['ak']}", 404)
    kinds = [each["type"] for each in root.get("/audit", subject=made["ak"])["items"]]
    assert kinds == ["access_key.deleted", "access_key.changed", "access_key.created"]


def test_the_demo_has_the_access_key_of_its_file_in_older_data_too(tmp_path: Path):
    with serving(tmp_path) as server:
        known = server.credentials
        path = f"/applications/{known['application']['id']}/access-keys"
        ak = known["secmaster"]["ak"]
        assert [each["ak"] for each in server.application().get(path)["items"]] == [ak]
        server.application().delete(f"{path}/{ak}")  # as in data that was made before there were any
        server.stop()
        server.start()
        assert server.credentials == {**known, "url": server.url}
        assert [each["ak"] for each in server.application().get(path)["items"]] == [ak]
        server.stop()
        platform = Platform.build(
            Settings(database_url=f"sqlite:///{server.data.absolute()}/penstock.db", data_dir=server.data)
        )
        try:
            assert asyncio.run(platform.credentials.access_key(ak))[0] == known["secmaster"]["sk"]
        finally:
            platform.close()


# -- the client ------------------------------------------------------------------------------------------------------


def test_the_client_has_them_all(server: Server, root: Api):
    made = root.post("/applications", {"name": "Of the client", "roles": ["admin"]}, 201)
    with Client(server.url, client_id=made["id"], client_secret=made["secret"]) as client:
        token = client.tokens.create("script", days=1)
        assert token.token is not None
        with Client(server.url, token=token.token) as script:
            assert script.me().principal == f"app:{made['id']}"
        assert "script" in [each.name for each in client.tokens.list.all()]
        assert "script" in [each.name for each in client.applications.tokens.all(made["id"])]
        held = client.users.tokens("ben@example.com").items
        assert {each.kind for each in held} <= {"access", "session", "named"}
        client.tokens.delete(token.id)
        assert "script" not in [each.name for each in client.tokens.list.all()]
        key = client.applications.create_access_key(made["id"], "first")
        assert key.sk is not None
        assert client.applications.change_access_key(made["id"], key.ak, disabled=True).disabled
        assert [(each.ak, each.sk) for each in client.applications.access_keys.all(made["id"])] == [(key.ak, None)]
        client.applications.delete_access_key(made["id"], key.ak)
        assert client.applications.access_keys(made["id"]).items == []


# -- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_generated_that_a_server_takes():
    done = penstock("generate-key")
    assert done.returncode == 0
    assert len(base64.b64decode(done.stdout.strip(), validate=True)) == 32
    told = penstock("generate-key", "--json")
    assert json.loads(told.stdout)["key"] != done.stdout.strip()


def test_another_key_signs_after_the_command_and_tokens_of_before_stay_good(tmp_path: Path):
    with serving(tmp_path) as server:
        api = server.application()
        before = get(server, JWKS).json()["keys"]
        refused = penstock("rotate-keys", "--signing", "--data", str(server.data))
        assert refused.returncode == 1  # the server has the database
        server.stop()
        done = penstock("rotate-keys", "--signing", "--data", str(server.data), "--json")
        assert done.returncode == 0, done.stderr
        server.start()
        after = get(server, JWKS).json()["keys"]
        assert after[:-1] == before
        assert after[-1]["kid"] in json.loads(done.stdout)["message"]
        server.client(api.token).get("/me")
        fresh_token = server.application().token or ""
        assert json.loads(base64.urlsafe_b64decode(fresh_token.split(".")[0] + "=="))["kid"] == after[-1]["kid"]


class Serve(Server):
    """`penstock serve` on SQLite in its data directory."""

    def __init__(self, folder: Path, **environment: str) -> None:
        super().__init__(folder, PENSTOCK_DATA_DIR=str(folder / "data"), PENSTOCK_PORT="0", **environment)

    def command(self) -> list[str]:
        return ["-m", "penstock", "serve"]


def test_serve_makes_a_key_that_only_its_owner_reads_and_misses_it_when_it_is_gone(tmp_path: Path):
    server = Serve(tmp_path)
    server.data.mkdir()
    server.start()
    path = server.data / "secret.key"
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        key = path.read_text()
        assert key.strip() not in server.log.read_text()
        (before,) = get(server, JWKS).json()["keys"]
    finally:
        assert server.stop() == 0
    path.unlink()
    environment = {"PENSTOCK_DATA_DIR": str(server.data), "PENSTOCK_PORT": "0"}
    missed = penstock("serve", **environment)
    assert missed.returncode == 1
    (line,) = missed.stderr.splitlines()
    assert str(path) in line
    assert "rotate-keys --signing" in line
    assert not path.exists()
    # lost for good: as the line says
    new = {**environment, "PENSTOCK_SECRET_KEY": SECRET_KEY}
    assert penstock("rotate-keys", "--signing", **new).returncode == 0
    server._environment["PENSTOCK_SECRET_KEY"] = SECRET_KEY
    server.start()
    try:
        keys = get(server, JWKS).json()["keys"]
        assert (len(keys), keys[0]) == (2, before)
    finally:
        assert server.stop() == 0


def test_a_key_that_is_none_is_told_in_one_line(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "secret.key").write_text("no key")
    refused = penstock("serve", PENSTOCK_DATA_DIR=str(data), PENSTOCK_PORT="0")
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert "key 1" in line
    assert "no key" not in line.replace("there is no key", "")


def test_a_public_url_that_is_none_is_told(tmp_path: Path):
    refused = penstock("serve", PENSTOCK_DATA_DIR=str(tmp_path), PENSTOCK_PUBLIC_URL="https://x.example.com/flows")
    assert refused.returncode == 1
    assert "public_url must be" in refused.stderr
