"""Where credentials come from, and what wins."""

from __future__ import annotations

import json

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
    for name in (*ENV, "PENSTOCK_CREDENTIALS", "PENSTOCK_CLIENT_SECRET_FILE"):
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
    with pytest.raises(CredentialsError, match="together"):
        load(None, {"PENSTOCK_CLIENT_ID": "x"})
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
