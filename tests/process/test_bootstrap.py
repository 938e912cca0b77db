"""`penstock bootstrap`, on both databases: the first tenant, further ones, and the way back in for who has lost a password."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.client import Client
from process.installing import EMAIL, Installation
from support import postgres
from support.server import Refused


@pytest.fixture(scope="module")
def database_server() -> Iterator[postgres.Postgres]:
    with postgres.running() as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def installation(request, tmp_path: Path) -> Installation:
    url = None if request.param == "sqlite" else request.getfixturevalue("database_server").database()
    return Installation(tmp_path, url)


def password_of(found: Any) -> str:
    (user,) = found["credentials"]["users"]
    assert user["email"] == EMAIL
    return str(user["password"])


def test_the_first_administrator_operates_the_installation_and_can_get_in_again(installation: Installation):
    first = installation.bootstrap("acme", "--name", "Acme", "--application", "Worker")
    assert first["done"] == [
        "the tenant acme was made",
        f"the user {EMAIL} was made, with the roles admin, operator",
        "the application Worker was made",
    ]
    further = installation.bootstrap("second")
    kind = "postgresql " if installation.shared else f"sqlite {installation.data / 'penstock.db'}"
    assert all(found["database"].startswith(kind) for found in (first, further))
    assert (first["created"], further["created"]) == (True, False)
    assert further["done"][1].endswith("with the roles admin")
    server = installation.server().start()
    try:
        admin = server.login(EMAIL, password_of(first))
        assert admin.get("/tenant")["name"] == "Acme"
        assert [each["code"] for each in admin.get("/tenants")["items"]] == ["acme", "second"]
        application = first["credentials"]["application"]
        worker = server.as_application(application["id"], application["secret"])
        worker.get("/users/ada@example.com")
        worker.get("/tenant", expect=403)
        server.login(EMAIL, password_of(further)).get("/tenants", expect=403)
        admin.patch(f"/applications/{application['id']}", {"disabled": True})
    finally:
        server.stop()
    again = installation.bootstrap("acme", "--application", "Worker")
    assert again["done"] == [
        f"the user {EMAIL} was there: a new password, and every token of the old one has ended",
        "the application Worker was there: a new secret, and the old one is good no more",
        "the application Worker was disabled and is enabled again",
    ]
    server.start()
    try:
        with pytest.raises(Refused):
            server.login(EMAIL, password_of(first))
        with pytest.raises(Refused):
            server.as_application(application["id"], application["secret"])
        server.client(admin.token).get("/tenant", expect=401)
        back = server.login(EMAIL, password_of(again))
        assert back.get("/tenants/acme")["disabled"] is False
        new = again["credentials"]["application"]
        assert new["id"] == application["id"]
        server.as_application(new["id"], new["secret"])
        told = [(each["actor"], each["type"]) for each in back.everything("/audit", actor="system")]
        assert {("system", "tenant.created"), ("system", "user.created"), ("system", "user.changed")} <= set(told)
        text = json.dumps(back.everything("/audit"))
        assert password_of(again) not in text
        assert new["secret"] not in text
    finally:
        server.stop()
        server.forget_clients()
    assert not server.complaints()


def test_who_has_lost_the_role_or_was_disabled_gets_it_back(installation: Installation):
    first = installation.bootstrap("acme")
    server = installation.server().start()
    try:
        admin = server.login(EMAIL, password_of(first))
        admin.post("/users", {"email": "bob@example.com", "roles": ["admin"], "password": "correct horse"}, 201)
        admin.patch(f"/users/{EMAIL}", {"disabled": True, "roles": ["manager"]})
    finally:
        server.stop()
        server.forget_clients()
    again = installation.bootstrap("acme")["done"]
    assert again[1:] == [
        f"the user {EMAIL} has got the roles admin, operator",
        f"the user {EMAIL} was disabled and is enabled again",
    ]


def test_a_server_without_tenants_says_how_to_make_one_and_serves(installation: Installation):
    server = installation.server().start()
    try:
        lines = [
            line for line in server.log.read_text().splitlines() if "penstock bootstrap CODE --email EMAIL" in line
        ]
        assert len(lines) == 1
        assert ("stop this server, then penstock bootstrap" in lines[0]) is not installation.shared
        server.client().get("/processes", expect=401)
        done = installation.run("bootstrap", "acme", "--email", EMAIL, "--json")
        if not installation.shared:
            assert done.returncode == 1
            assert "in use" in done.stderr
            assert len(done.stderr.splitlines()) == 1
        else:  # beside a server that runs
            server.login(EMAIL, password_of(json.loads(done.stdout))).get("/tenants")
    finally:
        server.stop()
        server.forget_clients()


def test_credentials_are_written_to_a_file_of_ones_own_and_not_printed(installation: Installation):
    file = installation.folder / "credentials.json"
    secret = installation.folder / "password"
    secret.write_text("correct horse battery\n")
    done = installation.run(
        "bootstrap", "acme", "--email", EMAIL, "--application", "W", "--password-file", secret, "--write", file
    )
    assert done.returncode == 0, done.stderr
    content = json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert content["users"] == [{"email": EMAIL, "password": "correct horse battery", "groups": []}]
    assert content["application"]["secret"] not in done.stdout + done.stderr
    assert "correct horse" not in done.stdout + done.stderr
    server = installation.server().start()
    try:
        with Client.from_credentials(file, url=server.url) as client:
            assert client.users.get(EMAIL).email == EMAIL
            with client.as_user(EMAIL) as admin:
                assert admin.tenants.get("acme").code == "acme"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no code", "--email", EMAIL], "must be 1 to 64"),
        (["acme", "--email", "nobody"], "'nobody' is not an e-mail address"),
        (["acme", "--email", EMAIL, "--password-file", "{short}"], "a password has 8 to 1000 characters"),
        (["acme", "--email", EMAIL, "--write", "{short}"], "is there already"),
        (["acme", "--email", EMAIL, "--write", "{folder}/no/such/file"], "cannot write"),
        (["acme", "--email", EMAIL, "--application", " "], "1 to 200 printable characters"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_nothing_is_made(tmp_path: Path, arguments, text):
    installation = Installation(tmp_path, None)
    short = tmp_path / "short"
    short.write_text("short\n")
    done = installation.run("bootstrap", *(each.format(short=short, folder=tmp_path) for each in arguments))
    assert done.returncode == 1
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert installation.bootstrap("acme")["done"][0] == "the tenant acme was made"
