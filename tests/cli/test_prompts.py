"""What a person at a terminal is asked, on a real one."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import pytest

from client.remote import Answer, remote

ME = {"tenant": {"id": "t", "code": "demo"}, "principal": "user:ana@example.com", "kind": "user"}
USER = {"id": "u1", "email": "ana@example.com", "name": "Ana", "groups": [], "roles": [], "password": True}


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *args, env, cwd):
        self._ours, theirs = pty.openpty()
        self._text = ""
        command = [sys.executable, "-m", "penstock", *args]
        streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self._process = subprocess.Popen(command, cwd=cwd, env=env, start_new_session=True, **streams)
        os.close(theirs)

    def until(self, words):
        """Reads until the words are there; answers all that has come since the last time."""
        end = time.monotonic() + 30
        while words not in self._text:
            assert time.monotonic() < end, self._text
            if select.select([self._ours], [], [], 0.1)[0]:
                read = self._read()
                assert read, self._text
                self._text += read
        found, self._text = self._text, ""
        return found

    def type(self, line):
        os.write(self._ours, line.encode() + b"\n")

    def secret(self, line):
        """Typed when the terminal shows nothing any more: what is typed before that is shown, and thrown away."""
        end = time.monotonic() + 30
        while termios.tcgetattr(self._ours)[3] & termios.ECHO:
            assert time.monotonic() < end, self._text
            time.sleep(0.005)
        self.type(line)

    def end(self):
        """The exit code, and what came at last."""
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if select.select([self._ours], [], [], 0.1)[0]:
                if not (read := self._read()):
                    break
                self._text += read
        return self._process.wait(30), self._text.replace("\r\n", "\n")

    def _read(self):
        """Nothing, when the program has closed its side."""
        try:
            return os.read(self._ours, 10_000).decode()
        except OSError:
            return ""

    def close(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture
def door():
    """A server that takes one password."""

    def answer(seen):
        if there.other is not None:
            return there.other(seen)
        if (seen.method, seen.path) == ("GET", "/api/v1/me"):
            return Answer(200, ME)
        return Answer(204) if seen.method == "DELETE" else Answer(201, USER)

    with remote(answer) as there:
        there.other = None
        yield there


@pytest.fixture
def terminal(tmp_path, door):
    credentials = {"url": door.url, "application": {"id": "app", "secret": "s"}}
    (tmp_path / "credentials.json").write_text(json.dumps(credentials))
    env = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    env |= {"XDG_CONFIG_HOME": str(tmp_path / "config"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "COLUMNS": "80"}
    opened = []

    def start(*args, credentials=True):
        more = {"PENSTOCK_CREDENTIALS": str(tmp_path / "credentials.json")} if credentials else {}
        opened.append(Terminal(*args, env=env | more, cwd=tmp_path))
        return opened[-1]

    yield start
    for each in opened:
        each.close()


def test_a_password_is_typed_twice_and_not_shown(terminal, door):
    person = terminal("user", "create", "ana@example.com", "--password")
    person.until("Password of ana@example.com")
    person.secret("correct horse")
    person.until("The same again")
    person.secret("correct hors")
    assert "do not match" in person.until("Password of ana@example.com")
    assert door.calls == []
    person.secret("correct horse")
    person.until("The same again")
    person.secret("correct horse")
    code, text = person.end()
    assert code == 0, text
    assert "correct" not in text
    assert door.calls[0].json["password"] == "correct horse"


def test_a_login_asks_for_what_it_needs(terminal, door, tmp_path):
    person = terminal("login", credentials=False)
    person.until("[http://127.0.0.1:8080]")
    person.type(door.url)
    person.until("E-mail address")
    person.type("ana@example.com")
    person.until("Password of ana@example.com")
    person.secret("correct horse")
    code, text = person.end()
    assert code == 0, text
    assert "correct" not in text
    assert "user:ana@example.com" in text
    assert door.seen[0].json["password"] == "correct horse"
    kept = json.loads((tmp_path / "config" / "penstock" / "login.json").read_text())
    assert (kept["url"], kept["email"], kept["token"]) == (door.url, "ana@example.com", "token-1")


def test_what_destroys_asks_first(terminal, door):
    person = terminal("user", "delete", "ana@example.com")
    person.until("Delete ana@example.com? [y/N]")
    person.type("n")
    code, text = person.end()
    assert code == 1
    assert "Aborted." in text
    assert door.calls == []
    person = terminal("user", "delete", "ana@example.com")
    person.until("[y/N]")
    person.type("y")
    code, text = person.end()
    assert code == 0
    assert "is gone" in text
    assert [seen.method for seen in door.calls] == ["DELETE"]


def many(door, **counts):
    made = {"id": "b1", "command": "delete", "state": "DONE", "total": 9} | counts
    door.other = lambda seen: Answer(200, {"items": []}) if seen.method == "GET" else Answer(202, made)


@pytest.mark.parametrize(
    ("command", "said"), [("delete", "y"), ("cancel", "y"), ("terminate", "y"), ("delete", "n"), ("cancel", "n")]
)
def test_what_ends_many_counts_them_and_asks_first(terminal, door, command, said):
    many(door, done=7, failed=2)
    person = terminal("bulk", command, "--definition", "loan")
    person.until(f"{command.capitalize()} 7 processes (2 would be refused)? [y/N]")
    person.type(said)
    code, text = person.end()
    assert code == 1, text
    tried = [seen.json.get("dry_run", False) for seen in door.calls if seen.method == "POST"]
    assert tried == ([True, False] if said == "y" else [True])


def test_what_ends_nothing_asks_nothing(terminal, door):
    many(door, done=0)
    code, text = terminal("bulk", "delete", "--definition", "loan").end()
    assert code == 0
    assert "there is no process to delete" in text
    assert len(door.calls) == 1


@pytest.mark.parametrize(
    "args", [["bulk", "delete", "p1", "--yes"], ["bulk", "retry", "p1"], ["bulk", "delete", "p1", "--dry-run"]]
)
def test_what_is_meant_or_harmless_is_not_asked(terminal, door, args):
    many(door, done=1)
    code, text = terminal(*args).end()
    assert code == 0, text
    assert [seen.method for seen in door.calls].count("POST") == 1


def test_a_list_of_processes_fits_a_terminal_of_80_columns(terminal, door):
    id = "01975e4e-6b54-7c8a-b5c4-5b5a9f3f0d11"
    found = [
        {
            "id": id, "definition": code, "version": 1, "status": status, "incidents": 2 if status == "FAILED" else 0,
            "created_at": "2024-11-21T20:28:49Z", "ended_at": "2024-11-21T20:28:50Z",
        }
        for code, status in (("hello", "COMPLETED"), ("hello", "FAILED"), ("loan_application", "TERMINATING"))
    ]  # fmt: skip
    door.other = lambda _: Answer(200, {"items": found})
    code, text = terminal("ps").end()
    assert code == 0, text
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.split() for line in text.splitlines()]
    assert max(map(len, text.splitlines())) <= 80
    assert [id, "hello", "1", "COMPLETED", "2024-11-21"] in lines
    assert [id, "hello", "1", "FAILED", "2", "2024-11-21"] in lines
    assert any(line[:1] == [id] and line[-2:] == ["TERMINATING", "2024-11-21"] for line in lines), "not broken"


def test_ones_own_password_is_changed(terminal, door):
    person = terminal("me", "--password")
    for words, typed in (
        ("Your password", "old horse"),
        ("New password", "new horse"),
        ("The same again", "new horse"),
    ):
        person.until(words)
        person.secret(typed)
    code, text = person.end()
    assert code == 0, text
    assert "horse" not in text
    assert door.calls[0].json == {"password": "new horse", "old_password": "old horse"}
