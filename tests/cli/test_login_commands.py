"""Logins, one's own tokens, and the tokens that commands keep, on a real server."""

from __future__ import annotations

import json
import stat

import pytest

from cli.conftest import PASSWORD, address
from support.server import fresh


def log_in(line, email, password=PASSWORD, **more):
    args = ("--url", line.url, "--email", email, "--password-stdin")
    return line.run("login", *args, *more.pop("args", ()), input=f"{password}\n", **more)


def test_a_login_acts_for_the_person_until_the_logout(line):
    email = address(line)
    assert log_in(line, email, env={}).stderr == ""
    file = line.folder / "config" / "penstock" / "login.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    kept = json.loads(file.read_text())
    assert PASSWORD not in file.read_text()
    me = line.json("me", env={})
    assert (me["principal"], me["credentials"]) == (f"user:{email}", f"penstock login: {file}")
    assert "you are logged in at" in line.refused("ps", "--url", "http://127.0.0.1:1", env={})
    assert line.json("logout", env={}) == {"logged_in": False, "revoked": True}
    assert not file.exists()
    assert "nobody is logged in" in line.refused("me", env={})
    assert line.run("logout", env={}).stdout == "nobody is logged in\n"
    env = {"PENSTOCK_URL": kept["url"], "PENSTOCK_TOKEN": kept["token"]}
    assert "401" in line.refused("me", env=env)


def test_other_credentials_come_before_a_login(line):
    email = address(line)
    assert log_in(line, email).stderr.startswith(f"PENSTOCK_CREDENTIALS: {line.credentials} comes first here")
    assert line.json("me")["principal"].startswith("app:")
    assert line.json("me", env={})["principal"] == f"user:{email}"
    (line.folder / ".penstock").mkdir()
    (line.folder / ".penstock" / "credentials.json").write_bytes(line.credentials.read_bytes())
    assert line.json("me", env={})["principal"].startswith("app:")


def test_a_login_that_was_ended_says_so(line):
    email = address(line)
    log_in(line, email, env={})
    line.run("user", "logout", email)
    ended = "penstock: your login has ended: log in again (penstock login)\n"
    assert line.refused("me", env={}) == ended
    assert line.refused("user", "disable", "ana@example.com", "ben@example.com", env={}) == ended
    assert line.json("logout", env={})["revoked"] is True


def test_a_login_that_fails_changes_nothing(line):
    email = address(line)
    log_in(line, email, env={})
    assert "401" in log_in(line, email, "wrong horse", env={}, code=1).stderr
    assert line.json("me", env={})["principal"] == f"user:{email}"


def test_a_second_login_ends_the_first(line):
    first, second = address(line), address(line)
    log_in(line, first, env={})
    kept = json.loads((line.folder / "config" / "penstock" / "login.json").read_text())
    log_in(line, second, env={})
    assert line.json("me", env={})["principal"] == f"user:{second}"
    assert "401" in line.refused("me", env={"PENSTOCK_URL": kept["url"], "PENSTOCK_TOKEN": kept["token"]})


def test_a_logout_that_the_server_does_not_hear_of_is_told(line):
    file = line.folder / "config" / "penstock" / "login.json"
    file.parent.mkdir(parents=True)
    file.write_text(
        '{"url": "http://127.0.0.1:1", "email": "a@b.c", "token": "t", "expires_at": "2030-01-01T00:00:00Z"}'
    )
    assert "the token is good until 2030-01-01T00:00:00Z" in line.refused("logout", env={})
    assert not file.exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"url": "http://127.0.0.1:1"}', '{"url": 5}'])
def test_a_login_file_that_is_broken_can_be_got_rid_of(line, content):
    file = line.folder / "config" / "penstock" / "login.json"
    file.parent.mkdir(parents=True)
    file.write_text(content)
    line.refused("me", env={})
    line.run("logout", env={})
    assert not file.exists()


def test_a_longer_login_is_a_token_one_can_see_and_end(line):
    email = address(line)
    log_in(line, email, env={}, args=("--days", "30"))
    [named] = [each for each in line.json("token", "list", env={})["items"] if each["kind"] == "named"]
    assert named["name"].startswith("penstock login on ")
    line.run("token", "revoke", named["id"], "--yes", env={})
    assert "your login has ended" in line.refused("me", env={})


def test_one_changes_ones_own_name_and_password(line):
    email = address(line)
    log_in(line, email, env={})
    args = ("me", "--password-stdin", "--name", "Eva L.")
    assert "is not your password" in line.refused(*args, input="wrong\nanother one\n", env={})
    line.run(*args, input=f"{PASSWORD}\n", env={}, code=2)
    answer = line.run(*args, input=f"{PASSWORD}\nanother battery\n", env={})
    assert "your other tokens have ended" in answer.stderr
    assert line.json("user", "show", email)["name"] == "Eva L."
    line.run("logout", env={})
    assert "401" in log_in(line, email, env={}, code=1).stderr
    log_in(line, email, "another battery", env={})


# ------------------------------------------------------------------------------------------------------------ tokens


def test_a_token_of_ones_own(line):
    email = address(line)
    log_in(line, email, env={})
    made = line.json("token", "create", "report", "--days", "2", env={})
    assert (
        line.json("me", env={"PENSTOCK_URL": line.url, "PENSTOCK_TOKEN": made["token"]})["principal"] == f"user:{email}"
    )
    line.run("token", "create", "file", "--write", "token.json", env={})
    assert stat.S_IMODE((line.folder / "token.json").stat().st_mode) == 0o600
    assert line.json("me", "--credentials", "token.json", env={})["principal"] == f"user:{email}"
    text = line.run("token", "list", env={}).stdout
    assert "report" in text
    assert made["token"] not in text
    assert made["id"] in {each["id"] for each in line.json("user", "tokens", email)["items"]}
    line.run("token", "revoke", made["id"], "--yes", env={})
    assert "401" in line.refused("me", env={"PENSTOCK_URL": line.url, "PENSTOCK_TOKEN": made["token"]})


def test_commands_share_a_token_and_leave_one_row(line):
    before = line.issued()
    for _ in range(3):
        line.run("me")
    assert line.issued() == before
    [file] = (line.folder / "cache" / "penstock" / "tokens").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(line.credentials.read_text())["application"]["secret"] not in file.read_text()
    file.unlink()
    line.run("me")
    assert len(line.issued()) == len(before) + 1


def test_a_kept_token_that_has_ended_is_replaced(line):
    id = line.json("application", "create", fresh("app"), "--write", "app.json")["id"]
    line.run("me", "--credentials", "app.json")
    assert len(line.json("application", "tokens", id)["items"]) == 1
    line.run("application", "logout", id)
    assert line.json("me", "--credentials", "app.json")["principal"] == f"app:{id}"
