"""The command line of one person, on a real server."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from penstock.cli.app import app
from support.server import fresh, serving

PASSWORD = "correct horse battery"


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("server")) as running:
        yield running


class Line:
    """The command line of one person, in a folder of its own."""

    def __init__(self, served, folder, monkeypatch):
        self.url = served.url
        self.folder = folder
        self.credentials = served.data / "credentials.json"
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        for name in ("URL", "CLIENT_ID", "CLIENT_SECRET", "TOKEN", "CREDENTIALS"):
            monkeypatch.delenv(f"PENSTOCK_{name}", raising=False)
        self.admin = {"PENSTOCK_CREDENTIALS": str(self.credentials)}

    def run(self, *args, code=0, env=None, **more):
        """With the demo application's credentials, an administrator's; `env={}`: with none."""
        answer = CliRunner().invoke(app, list(args), env=self.admin if env is None else env, **more)
        assert answer.exit_code == code, answer.output
        assert "Traceback" not in answer.output
        return answer

    def json(self, *args, **more):
        return json.loads(self.run(*args, "--json", **more).stdout)

    def refused(self, *args, **more):
        """The one line of an error."""
        answer = self.run(*args, code=1, **more)
        assert answer.stderr.count("\n") == 1, answer.stderr
        return answer.stderr

    def issued(self):
        """Access tokens that the journal knows of."""
        return [
            each["feed"] for each in self.json("audit", "list", "--type", "token.issued", "--limit", "1000")["items"]
        ]


@pytest.fixture
def line(served, tmp_path, monkeypatch):
    return Line(served, tmp_path, monkeypatch)


def address(line, **more):
    """A new user's, who has the password."""
    email = f"{fresh('eva')}@example.com"
    args = [part for name, value in more.items() for part in (f"--{name}", value)]
    line.run("user", "create", email, "--password-stdin", *args, input=f"{PASSWORD}\n")
    return email
