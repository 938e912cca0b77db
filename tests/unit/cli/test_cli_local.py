"""The command line as far as it needs no server."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import types
from datetime import UTC, datetime, timedelta

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from penstock.cli.app import app, describe
from penstock.cli.output import brief, lasted, plain, table, text_of
from penstock.cli.remote import instant, json_value, pairs
from penstock.cli.work import find
from penstock.client import CredentialsError
from penstock.core.lines import lines_of
from penstock.errors import Unavailable
from penstock.worker import Worker
from support.commands import LEAVES, command_of

COMMANDS = [
    "dev",
    "serve",
    "migrate",
    "backup",
    "restore",
    "doctor",
    "config",
    "deploy",
    "definitions",
    "openapi",
    "start",
    "ps",
    "show",
    "history",
    "retry",
    "debug",
    "skip",
    "restart",
    "signal",
    "suspend",
    "resume",
    "cancel",
    "terminate",
    "complete",
    "migrate-process",
    "bulk",
    "bulks",
    "inbox",
    "values",
    "message",
    "broadcast",
    "whoami",
    "worker",
    "login",
    "logout",
    "me",
    "user",
    "group",
    "application",
    "token",
    "permissions",
    "connection",
    "schedule",
    "secret",
    "document",
    "events",
    "audit",
]

SILENT = {"dev", "serve", "worker"}
"""Commands that answer nothing."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("URL", "CLIENT_ID", "CLIENT_SECRET", "TOKEN", "CREDENTIALS", "CONFIG"):
        monkeypatch.delenv(f"PENSTOCK_{name}", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return lambda *args, **more: CliRunner().invoke(app, list(args), **more)


@pytest.fixture
def wiring(monkeypatch):
    """The composition root stands in for itself: what the commands hand it is what is tested."""
    calls = []

    def record(name, answer=None):
        def function(*args):
            calls.append((name, *args))
            return answer

        return function

    module = types.ModuleType("penstock.wiring")
    checks = [("database", True, "sqlite 3.45"), ("clock", False, "an hour behind")]
    answers = {
        "run_dev": None,
        "run_server": None,
        "migrate": "at 0007",
        "backup": "[b]",
        "restore": "r",
        "doctor": checks,
    }
    for name, answer in answers.items():
        setattr(module, name, record(name, answer))
    monkeypatch.setitem(sys.modules, "penstock.wiring", module)
    monkeypatch.setattr("penstock.wiring", module, raising=False)
    return calls


def test_every_command_has_help_and_those_that_answer_have_json(run):
    text = run("--help").output
    for command in COMMANDS:
        assert command in text
        answer = run(command, "--help", env={"COLUMNS": "200"})
        assert answer.exit_code == 0
        assert "Usage" in answer.output


def test_every_command_says_what_it_does_and_answers_in_json():
    for path in LEAVES:
        found = command_of(path)
        assert (found.help or "").endswith("."), path
        assert any("--json" in each.opts for each in found.params) == (path[0] not in SILENT), path


def test_no_command_takes_a_secret_as_an_argument():
    for path in LEAVES:
        for parameter in command_of(path).params:
            words = {parameter.name, *parameter.opts}
            if any("password" in word or "secret" in word or "token" in word for word in words):
                assert parameter.is_flag or "file" in parameter.name, (path, parameter.opts)


def test_people_have_a_panel_of_their_own(run):
    text = run("--help", env={"COLUMNS": "80"}).output
    panel = text[text.index("─ People ─") :]
    panel = panel[: panel.index("╰")]
    for command in ("login", "logout", "me", "whoami", "inbox", "user", "group", "application", "token", "permissions"):
        assert f"│ {command} " in panel


def test_version(run):
    assert run("--version").output.startswith("penstock ")


def test_help_does_not_load_what_commands_need():
    program = (
        "import sys, penstock.cli.app; print([m for m in ('httpx', 'msgspec', 'rich', 'ruamel') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_python_m():
    answer = subprocess.run([sys.executable, "-m", "penstock", "--version"], capture_output=True, text=True, check=True)
    assert answer.stdout.startswith("penstock ")


# ----------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        (["nope"], 2, "No such command 'nope'"),
        (["start"], 2, "Missing argument"),
        (["start", "x", "--input", "{"], 2, "not JSON"),
        (["start", "x", "--input", "@nowhere"], 2, "nowhere: No such file"),
        (["deploy", "nowhere.yaml"], 2, "does not exist"),
        (["ps", "--search", "x"], 2, "'x' is not name=value"),
        (["bulk", "cancel"], 2, "name processes, or give options that choose them"),
        (["bulk", "cancel", "p", "--status", "FAILED"], 2, "name processes, or give options that choose them"),
        (["bulk", "migrate", "p", "--arguments", "{"], 2, "not JSON"),
        (["bulks", "--cancel"], 2, "name the bulk operation"),
        (["ps", "--from", "yesterday"], 2, "is not a date or time"),
        (["debug", "p", "n"], 2, "give one of --input and --output"),
        (["skip", "p"], 2, "give a node's code or --visit"),
        (["skip", "p", "n", "--visit", "3"], 2, "give a node's code or --visit"),
        (["worker", "no_such_module:x"], 2, "there is no module 'no_such_module'"),
        (["ps"], 1, "penstock: no credentials: .penstock/credentials.json does not exist"),
        (["inbox"], 1, "penstock: no credentials"),
        (["ps", "--credentials", "nowhere.json"], 1, "penstock: no credentials: nowhere.json does not exist"),
        (["user", "list"], 1, "nobody is logged in (penstock login)"),
        (["me"], 1, "nobody is logged in (penstock login)"),
        (["login"], 2, "nobody can be asked here"),
        (["login", "--url", "http://127.0.0.1:1", "--email", "a@b.c"], 2, "use --password-stdin or --password-file"),
        (["login", "--url", "nonsense", "--email", "a@b.c", "--password-stdin"], 2, "--password-stdin: empty"),
        (["me", "--password", "--password-stdin"], 2, "give one of --password and --password-stdin"),
        (["user", "create"], 2, "Missing argument"),
        (["user", "create", "a@b.c", "--password"], 2, "use --password-stdin or --password-file"),
        (["user", "create", "a@b.c", "--password", "--password-stdin"], 2, "give one of --password, --password-stdin"),
        (["user", "create", "a@b.c", "--password-file", "nowhere"], 2, "does not exist"),
        (["user", "change", "a@b.c"], 2, "say what is to change"),
        (["user", "change", "a@b.c", "--role", "admin", "--no-roles"], 2, "give --role, or that there is to be none"),
        (["user", "delete", "a@b.c"], 2, "say --yes"),
        (["group", "delete", "staff"], 2, "say --yes"),
        (["group", "add", "staff"], 2, "Missing argument"),
        (["application", "change", "x"], 2, "say what is to change"),
        (["application", "delete", "x"], 2, "say --yes"),
        (["application", "rotate", "x"], 2, "say --yes"),
        (["application", "rotate", "x", "--old-until", "soon"], 2, "is not a date or time"),
        (["application", "create", "x", "--write", "nowhere/x.json"], 2, "nowhere/x.json: No such file or directory"),
        (["token", "create", "x", "--days", "0"], 2, "--days"),
        (["token", "create", "x", "--days", "3", "--until", "2030-01-01"], 2, "give one of --days and --until"),
        (["token", "revoke", "x"], 2, "say --yes"),
        (["permissions", "set", "loan"], 2, "give PERMISSION=GRANTEE, or --file"),
        (["permissions", "set", "loan", "viewer"], 2, "'viewer' is not PERMISSION=GRANTEE"),
        (["permissions", "set", "loan", "--file", "nowhere"], 2, "nowhere: No such file"),
        (["permissions", "grant", "loan", "viewer"], 2, "Missing argument"),
        (["connection", "create", "x", "http://y", "--auth", "{"], 2, "not JSON"),
        (["connection", "create", "x", "http://y", "--header", "a"], 2, "'a' is not name=value"),
        (["connection", "change", "x"], 2, "say what is to change"),
        (["connection", "delete", "x"], 2, "say --yes"),
        (["document", "remove", "x"], 2, "say --yes"),
        (["audit", "verify", "--data", "nowhere"], 1, "nowhere/penstock.db"),
        (["config", "show", "--config", "nowhere.toml"], 1, "penstock: cannot read the settings file nowhere.toml"),
    ],
)
def test_errors_are_a_line_and_a_code(run, args, code, text):
    answer = run(*args, env={"COLUMNS": "200"})
    assert answer.exit_code == code
    assert text in " ".join(answer.stderr.split())
    assert answer.stdout == ""
    assert "Traceback" not in answer.stderr
    if code == 1:
        assert answer.stderr.count("\n") == 1


def test_a_traceback_only_when_asked(run):
    assert isinstance(run("--traceback", "ps").exception, CredentialsError)


def test_errors_are_described_in_a_line():
    assert describe(Unavailable("the database\nis locked")) == "the database is locked"
    assert describe(FileNotFoundError(2, "No such file", "/x")) == "No such file: /x"
    assert describe(KeyError("x")).startswith("KeyError: 'x' (--traceback")


# ------------------------------------------------------------------------------------------------------ local server


def test_dev(run, wiring, tmp_path):
    assert run("dev", "--data", str(tmp_path), "--port", "0", "--host", "0.0.0.0").exit_code == 0
    [(name, data, host, port, settings, _)] = wiring
    assert (name, data, host, port) == ("run_dev", tmp_path, "0.0.0.0", 0)
    assert (settings.data_dir, settings.host, settings.port) == (tmp_path, "0.0.0.0", 0)


def test_serve(run, wiring):
    assert run("serve", env={"PENSTOCK_PORT": "99"}).exit_code == 0
    assert wiring[0][1].port == 99


def test_maintenance(run, wiring, tmp_path):
    assert run("migrate").stdout == "at 0007\n"
    assert json.loads(run("migrate", "--json").stdout) == {"message": "at 0007"}
    assert run("backup", "copy").stdout == "[b]\n"
    assert run("restore", str(tmp_path)).stdout == "r\n"
    assert [call[0] for call in wiring] == ["migrate", "migrate", "backup", "restore"]


def test_doctor(run, wiring):
    answer = run("doctor")
    assert answer.exit_code == 1
    assert "an hour behind" in answer.stdout
    assert json.loads(run("doctor", "--json").stdout)["checks"][1] == {
        "name": "clock", "ok": False, "detail": "an hour behind"
    }  # fmt: skip


def test_config_show(run, tmp_path):
    (tmp_path / "p.toml").write_text("port = 81\nsecret_key = 'hidden'\n")
    answer = json.loads(run("config", "show", "--config", "p.toml", "--json").stdout)
    assert answer["port"] == {"value": 81, "source": "p.toml"}
    assert answer["secret_key"] == {"value": "***", "source": "p.toml"}
    assert "hidden" not in run("config", "show", "--config", "p.toml").stdout


# ----------------------------------------------------------------------------------------------------------- pieces


def test_json_arguments(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    assert json_value(None, "--x", absent=3) == 3
    assert json_value("[1]", "--x") == [1]
    assert json_value(f"@{tmp_path / 'x.json'}", "--x") == {"a": 1}
    assert pairs(["a=b=c"], "--x") == {"a": "b=c"}
    assert instant("2024-05-01T10:00:00+02:00", "--x") == datetime(2024, 5, 1, 8, tzinfo=UTC)


def test_problems_are_found_in_the_text():
    line = lines_of("code: x\nnodes:\n  a/b:\n    kind: job\nflows:\n  - from: a\n    to: b\n  - {from: b}\n")
    assert line("") == 1
    assert line("/nodes/a~1b/kind") == 4
    assert line("/nodes/a~1b/missing/deeper") == 3
    assert line("/flows/0/to") == 7
    assert line("/flows/1/from") == 8
    assert lines_of('{\n "a": [\n 1,\n 2]}')("/a/1") == 4
    assert lines_of("a: [")("/a") is None
    assert lines_of("")("/a") is None


def test_small_texts():
    at = datetime(2024, 5, 1, tzinfo=UTC)
    spans = [timedelta(milliseconds=5), timedelta(seconds=2.5), timedelta(seconds=125), timedelta(hours=3)]
    assert [lasted(at, at + span) for span in spans] == ["5 ms", "2.5 s", "2 min 5 s", "3 h 0 min"]
    assert lasted(at, None) == ""
    assert text_of({"es": "hola", "en": "hello"}) == "hello"
    assert text_of({"es": "hola"}) == "hola"
    assert str(plain("a\x1b]0;b\x07\n[c]")) == "a\N{REPLACEMENT CHARACTER}]0;b\N{REPLACEMENT CHARACTER}\n[c]"
    assert brief({"a": "x" * 100}, 10) == '{"a":"xxx…'


def test_a_narrow_table_cuts_nothing():
    id, text = "01a1ff8c-605e-7364-9d1d-1658c1e2aaaa", "word " * 20 + "x" * 60
    narrow = Console(width=80, file=io.StringIO())
    narrow.print(table(["id", "text", "more"], [[plain(id), plain(text), plain("y" * 40)]]))
    shown = narrow.file.getvalue()
    assert id in shown
    assert "…" not in shown
    assert (shown.count("word"), shown.count("x"), shown.count("y")) == (20, 60 + 1, 40)
    assert max(map(len, shown.splitlines())) <= 80


def test_workers_are_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [each for each in sys.path if each != str(tmp_path)])
    text = "from penstock.worker import Worker\none = Worker()\n"
    (tmp_path / "single_worker.py").write_text(text)
    (tmp_path / "two_workers.py").write_text(text + "two = Worker()\nthree = 3\n")
    (tmp_path / "broken_worker.py").write_text("import no_such_thing\n")
    assert isinstance(find("single_worker"), Worker)
    assert find("two_workers:two") is not find("two_workers:one")
    for target, what in (
        ("two_workers", "one, two"),
        ("two_workers:three", "is not a"),
        ("two_workers:four", "is not a"),
    ):
        with pytest.raises(typer.BadParameter, match=what):
            find(target)
    with pytest.raises(ModuleNotFoundError, match="no_such_thing"):
        find("broken_worker")
