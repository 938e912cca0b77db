"""Where credentials come from, and what wins."""

from __future__ import annotations

import json
import re

import pytest

from penstock.client import AsyncClient, Client, CredentialsError, Grant
from penstock.client.credentials import load

FILE = {
    "url": "http://file:1",
    "tenant": {"id": "t", "code": "demo"},
    "application": {"id": "app", "secret": "s3cret"},
    "users": [{"email": "ana@example.com", "password": "pw", "groups": ["staff"]}],
    "secmaster": {"project_id": "x"},
}
ENV = {"PENSTOCK_URL": "http://env:2", "PENSTOCK_CLIENT_ID": "e", "PENSTOCK_CLIENT_SECRET": "es"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (*ENV, "PENSTOCK_CREDENTIALS", "PENSTOCK_CLIENT_SECRET_FILE", "PENSTOCK_TOKEN", "PENSTOCK_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "given.json").write_text(json.dumps(FILE))
    return tmp_path


def test_a_file_that_is_named_wins(here):
    found = load("given.json", ENV)
    assert (found.url, found.grant) == ("http://file:1", Grant(client_id="app", client_secret="s3cret"))


def test_the_environment_comes_before_the_default_file(here):
    (here / ".penstock").mkdir()
    (here / "given.json").rename(here / ".penstock" / "credentials.json")
    assert load(None, {}).url == "http://file:1"
    assert load(None, ENV).grant.client_id == "e"
    assert load(None, {"PENSTOCK_URL": "http://env:2"}).url == "http://env:2"


def test_the_environment_may_name_the_file(here):
    assert load(None, {"PENSTOCK_CREDENTIALS": "given.json"}).grant.client_id == "app"


def test_a_login_comes_last(here):
    login = here / "login.json"
    login.write_text(
        json.dumps({"url": "http://login:3", "email": "ana@example.com", "token": "T", "expires_at": None})
    )
    found = load(None, {}, login=login)
    assert (found.url, found.grant, found.login) == ("http://login:3", Grant(token="T"), True)
    assert str(login) in found.source
    assert load("given.json", {}, login=login).url == "http://file:1"
    assert load(None, ENV, login=login).grant.client_id == "e"
    assert load(None, {"PENSTOCK_CREDENTIALS": "given.json"}, login=login).grant.client_id == "app"
    (here / ".penstock").mkdir()
    (here / "given.json").rename(here / ".penstock" / "credentials.json")
    assert load(None, {}, login=login).grant.client_id == "app"
    assert not load(None, {}, login=login).login


def test_a_login_is_sent_to_its_own_server_alone(here):
    login = here / "login.json"
    login.write_text('{"url": "http://login:80", "token": "T"}')
    assert load(None, {}, login=login).at("http://login").url == "http://login"
    for other in ("http://login:81", "https://login", "http://evil"):
        with pytest.raises(CredentialsError, match="you are logged in at http://login:80, not at"):
            load(None, {}, login=login).at(other)
        with pytest.raises(CredentialsError, match="you are logged in at"):
            load(None, {"PENSTOCK_URL": other}, login=login)
        with pytest.raises(CredentialsError, match="you are logged in at"):
            Client.from_credentials(url=other, environ={}, login=login)
    assert load(None, {}, login=login).as_user("ana@example.com", "pw").at("http://evil").grant.token is None


def test_without_any_a_login_is_named(here):
    with pytest.raises(CredentialsError, match=r"no credentials: .*nobody is logged in \(penstock login\)"):
        load(None, {}, login=here / "login.json")


def test_a_token_may_be_given(here):
    env = {"PENSTOCK_URL": "http://env:2", "PENSTOCK_TOKEN": "T"}
    assert load(None, env).grant == Grant(token="T")
    (here / "token").write_text("from-file\n")
    env = {"PENSTOCK_URL": "http://env:2", "PENSTOCK_TOKEN_FILE": str(here / "token")}
    assert load(None, env).grant == Grant(token="from-file")
    with pytest.raises(CredentialsError, match="PENSTOCK_TOKEN is set, but PENSTOCK_URL is missing"):
        load(None, {"PENSTOCK_TOKEN": "T"})
    (here / "given.json").write_text('{"url": "http://file:1", "token": "T"}')
    assert load("given.json", {}).grant == Grant(token="T")
    assert "T" not in repr(load("given.json", {}).grant).replace("Grant", "")


def test_the_secret_may_be_in_a_file(here):
    (here / "secret").write_text("from-file\n")
    env = {**ENV, "PENSTOCK_CLIENT_SECRET": "", "PENSTOCK_CLIENT_SECRET_FILE": str(here / "secret")}
    assert load(None, env).grant.client_secret == "from-file"


@pytest.mark.parametrize(
    ("content", "text"),
    [("{", "is not a credentials file"), ('{"a": 1}', "is not a credentials file.*`url`"), ("\x00", "is not a")],
)
def test_bad_files(here, content, text):
    (here / "bad.json").write_text(content)
    with pytest.raises(CredentialsError, match=text):
        load("bad.json", {})


def test_nothing_at_all(here):
    with pytest.raises(CredentialsError, match=r"no credentials: .penstock/credentials.json does not exist"):
        load(None, {})
    with pytest.raises(
        CredentialsError, match=r"penstock login.*PENSTOCK_URL and PENSTOCK_TOKEN,.*_SECRET_FILE.*CREDENTIALS"
    ):
        load(None, {})
    with pytest.raises(CredentialsError, match=r"set beside PENSTOCK_URL PENSTOCK_TOKEN"):
        load(None, {"PENSTOCK_URL": "http://env:2"})


@pytest.mark.parametrize(
    ("env", "text"),
    [
        ({"CLIENT_ID": "x"}, "CLIENT_ID is set, but PENSTOCK_URL and PENSTOCK_CLIENT_SECRET (or PENSTOCK_CLIENT_SECRET_FILE) are missing"),
        ({"CLIENT_ID": "x", "CLIENT_SECRET": "s"}, "PENSTOCK_CLIENT_ID and PENSTOCK_CLIENT_SECRET are set, but PENSTOCK_URL is missing"),
        ({"CLIENT_SECRET": "s", "URL": "http://env:2"}, "are set, but PENSTOCK_CLIENT_ID is missing"),
        ({"TOKEN": "t"}, "PENSTOCK_TOKEN is set, but PENSTOCK_URL is missing"),
    ],
)  # fmt: skip
def test_variables_that_are_missing_are_named(here, env, text):
    with pytest.raises(CredentialsError, match=re.escape(text)):
        load(None, {f"PENSTOCK_{name}": value for name, value in env.items()})


def test_a_folder_is_no_file(here):
    with pytest.raises(CredentialsError, match="cannot read"):
        load(here, {})


def test_clients_from_credentials(here, monkeypatch):
    with Client.from_credentials("given.json", url="http://other:9") as client:
        assert client.credentials.url == "http://other:9"
        with client.as_user("ana@example.com") as ana:
            assert ana.credentials.grant == Grant(email="ana@example.com", password="pw")
        with pytest.raises(CredentialsError, match=r"no password given for bo@example\.com"):
            client.as_user("bo@example.com")
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    assert AsyncClient.from_credentials().credentials.url == "http://env:2"


def test_secrets_are_not_shown(here):
    text = repr(load("given.json", {}))
    assert "app" in text
    assert "s3cret" not in text
    assert "pw" not in text
