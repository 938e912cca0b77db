"""The commands for people, applications, permissions, connections and what is beside them, on a real server."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli.conftest import PASSWORD, address
from support.server import fresh

# ----------------------------------------------------------------------------------------------------------- people


def test_a_user_from_the_first_day_to_the_last(line):
    email = f"{fresh('eva')}@example.com"
    made = line.json("user", "create", email, "--name", "Eva", "--group", "staff", "--role", "manager")
    assert (made["email"], made["name"], made["groups"], made["roles"]) == (email, "Eva", ["staff"], ["manager"])
    assert made["password"] is False
    assert "has no password" in line.run("user", "show", made["id"]).stdout
    (line.folder / "pw").write_text(PASSWORD + "\n")
    changed = line.json("user", "change", email, "--password-file", "pw", "--no-roles", "--name", "Eva L.")
    assert (changed["roles"], changed["password"], changed["name"], changed["groups"]) == (
        [],
        True,
        "Eva L.",
        ["staff"],
    )
    assert [each["email"] for each in line.json("user", "list", "--email", email)["items"]] == [email]
    assert line.json("me", "--user", email, env=as_user(line, email))["principal"] == f"user:{email}"
    assert line.json("user", "disable", email)["items"][0]["disabled"] is True
    assert "401" in line.refused("me", "--user", email, env=as_user(line, email))
    assert line.run("user", "enable", email).stdout == f"{email} enabled\n"
    assert "already" in line.refused("user", "create", email.upper())
    assert line.run("user", "delete", email, "--yes").stdout == f"{email} is gone\n"
    assert "no user" in line.refused("user", "show", email)


def as_user(line, email, password=PASSWORD):
    """Credentials that know the user's password, as those of a demo server do."""
    content = json.loads(line.credentials.read_text())
    content["users"] = [{"email": email, "password": password}]
    (line.folder / "known.json").write_text(json.dumps(content))
    return {"PENSTOCK_CREDENTIALS": "known.json"}


def test_what_is_done_to_several_goes_on_after_a_refusal(line):
    email = address(line)
    answer = line.run("user", "disable", "nobody@example.com", email, code=1)
    assert answer.stdout == f"{email} disabled\n"
    assert answer.stderr.startswith("penstock: no user 'nobody@example.com' (")
    told = json.loads(line.run("user", "logout", "nobody@example.com", email, "--json", code=1).stdout)
    assert [each["id"] for each in told["errors"]] == ["nobody@example.com"]
    assert told["items"] == [{"id": email, "revoked": 0}]


def test_a_password_must_be_one_that_the_server_takes(line):
    email = f"{fresh('eva')}@example.com"
    assert "8" in line.refused("user", "create", email, "--password-stdin", input="short\n")
    line.run("user", "create", email, "--password-stdin", input="\n", code=2)
    line.run("user", "create", email, "--password-stdin", input=b"\xff\xfe\n", code=2)
    line.run("user", "create", email, "--password-stdin", input="x" * 70_000, code=2)
    assert "no user" in line.refused("user", "show", email)


def test_groups_and_who_is_in_them(line):
    code, email = fresh("ops"), address(line)
    assert line.json("group", "create", code, "--name", "Operations")["name"] == "Operations"
    assert line.run("group", "add", code, email, "ana@example.com").stdout.count(f"is in {code}") == 2
    assert {each["email"] for each in line.json("group", "members", code)["items"]} == {email, "ana@example.com"}
    line.run("group", "remove", code, email)
    assert [each["email"] for each in line.json("group", "members", code)["items"]] == ["ana@example.com"]
    assert line.json("group", "rename", code, "Ops team")["name"] == "Ops team"
    assert "Ops team" in line.run("group", "show", code).stdout
    assert code in {each["code"] for each in line.json("group", "list")["items"]}
    line.run("group", "delete", code, "--yes")
    assert "no group" in line.refused("group", "show", code)


# ----------------------------------------------------------------------------------------------------- applications


def test_the_secret_of_an_application_is_shown_once_or_written(line):
    shown = line.run("application", "create", "shown")
    assert "ps_" in shown.stdout
    assert shown.stderr == "The secret is shown this once: keep it.\n"
    answer = line.run("application", "create", "written", "--role", "manager", "--write", "app.json", "--json")
    made = json.loads(answer.stdout)
    assert made["secret"] is None
    file = line.folder / "app.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text()).keys() == {"url", "application"}
    assert line.json("me", "--credentials", "app.json", env={})["principal"] == f"app:{made['id']}"
    for command in (["show", made["id"]], ["list"]):
        assert "ps_" not in line.run("application", *command).stdout


def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_made(line):
    (line.folder / "app.json").write_text("mine")
    name = fresh("app")
    answer = line.run("application", "create", name, "--write", "app.json", code=2)
    assert "is not overwritten" in " ".join(answer.stderr.split())
    assert (line.folder / "app.json").read_text() == "mine"
    assert name not in {each["name"] for each in line.json("application", "list")["items"]}
    line.refused("application", "rotate", "nope", "--yes", "--write", "new.json")
    assert not (line.folder / "new.json").exists()


def test_an_application_is_changed_rotated_and_removed(line):
    made = line.json("application", "create", fresh("app"), "--write", "one.json")
    id = made["id"]
    assert line.json("application", "change", id, "--name", "Reports", "--role", "manager")["roles"] == ["manager"]
    assert line.json("me", "--credentials", "one.json")["roles"] == ["manager"]
    line.run("application", "rotate", id, "--yes", "--write", "two.json")
    assert "401" in line.refused("me", "--credentials", "one.json")
    assert line.json("me", "--credentials", "two.json")["principal"] == f"app:{id}"
    until = (datetime.now(UTC) + timedelta(days=2)).isoformat()
    assert line.json("application", "rotate", id, "--old-until", until, "--write", "three.json")["old_secret_until"]
    for each in ("two.json", "three.json"):
        assert line.json("me", "--credentials", each)["principal"] == f"app:{id}"
    assert line.run("application", "disable", id).stdout.split() == [id, "Reports", "disabled"]
    assert "401" in line.refused("me", "--credentials", "two.json")
    line.run("application", "enable", id)
    assert line.json("me", "--credentials", "two.json")["kind"] == "application"
    assert "token" in line.run("application", "logout", id).stdout
    line.run("application", "delete", id, "--yes")
    assert "no application" in line.refused("application", "show", id)


def test_access_keys_of_an_application(line):
    id = line.json("application", "create", fresh("app"), "--write", "app.json")["id"]
    made = line.json("application", "keys", "create", id, "gateway", "--write", "key.json")
    assert made["sk"] is None
    assert json.loads((line.folder / "key.json").read_text())["ak"] == made["ak"]
    assert line.json("application", "keys", "create", id, "other")["sk"]
    found = line.json("application", "keys", "list", id)["items"]
    assert sorted(each["name"] for each in found) == ["gateway", "other"]
    assert not any(each["sk"] for each in found)
    assert line.json("application", "keys", "rename", id, made["ak"], "edge")["name"] == "edge"
    assert line.json("application", "keys", "disable", id, made["ak"])["items"][0]["disabled"] is True
    assert line.json("application", "keys", "enable", id, made["ak"])["items"][0]["disabled"] is False
    line.run("application", "keys", "delete", id, made["ak"], "--yes")
    assert [each["name"] for each in line.json("application", "keys", "list", id)["items"]] == ["other"]


# ------------------------------------------------------------------------------------------------------- permissions


def deployed(line):
    code = fresh("loan")
    (line.folder / "d.yaml").write_text(
        f"penstock: 1\ncode: {code}\nname: Loan\nnodes:\n  wait: {{kind: job, topic: t}}\n"
    )
    line.run("deploy", "d.yaml")
    return code


def test_permissions_are_granted_and_revoked(line):
    code = deployed(line)
    assert "viewer      everybody of the tenant (nobody is named)" in line.run("permissions", "show", code).stdout
    line.run("permissions", "grant", code, "initiator", "group:staff", "user:ana@example.com")
    line.run("permissions", "grant", code, "initiator", "group:staff", "group:risk")
    granted = line.json("permissions", "grant", code, "viewer", "role:starter")["permissions"]
    assert set(granted["initiator"]) == {"group:staff", "user:ana@example.com", "group:risk"}
    assert len(granted["initiator"]) == 3
    left = line.json("permissions", "revoke", code, "initiator", "group:staff", "group:risk")["permissions"]
    assert (left["initiator"], left["viewer"]) == (["user:ana@example.com"], ["role:starter"])
    line.run("permissions", "revoke", code, "initiator", "group:staff", code=2)
    assert "there is no group:nope" in line.refused("permissions", "grant", code, "viewer", "group:nope")
    assert "no permission 'boss'" in line.refused("permissions", "grant", code, "boss", "group:staff")
    assert line.json("permissions", "show", code)["permissions"] == left


def test_the_first_viewer_and_the_last_are_told(line):
    code = deployed(line)
    answer = line.run("permissions", "grant", code, "viewer", "group:staff")
    assert "everybody" not in answer.stdout
    assert answer.stderr.startswith("from now on only these, managers, administrators, starters and who has an item")
    assert line.run("permissions", "grant", code, "viewer", "group:risk").stderr == ""
    assert line.run("permissions", "grant", code, "initiator", "group:risk").stderr == ""
    answer = line.run("permissions", "revoke", code, "viewer", "group:staff", "group:risk")
    assert "everybody of the tenant (nobody is named)" in answer.stdout
    assert "everybody of the tenant sees the processes" in answer.stderr


def test_permissions_are_put_in_place_of_all(line):
    code = deployed(line)
    line.run("permissions", "set", code, "initiator=group:staff", "initiator=group:risk", "manager=group:risk")
    shown = line.run("permissions", "show", code, "--json").stdout
    (line.folder / "kept.json").write_text(shown)
    assert line.json("permissions", "set", code, "viewer=role:everyone")["permissions"]["initiator"] == []
    assert line.json("permissions", "set", code, "--file", "kept.json") == json.loads(shown)
    (line.folder / "bad.json").write_text('{"permissions": {"viewer": "ana"}}')
    line.run("permissions", "set", code, "--file", "bad.json", code=2)
    assert line.json("permissions", "show", code) == json.loads(shown)


# ------------------------------------------------------------------------------------------- connections, and the rest


def test_connections(line):
    name = fresh("erp")
    secret = '{"type": "bearer", "token": "${secrets.none}"}'
    made = line.run("connection", "create", name, f"{line.url}/healthz", "--auth", secret, "--header", "X-A=b")
    assert "there is no secret 'none' yet" in made.stdout
    line.run("connection", "create", name, "http://other", code=2)
    changed = line.json("connection", "change", name, "--timeout", "PT5S")
    assert (changed["headers"], changed["timeout"], changed["auth"]["type"]) == ({"X-A": "b"}, "PT5S", "bearer")
    assert line.json("connection", "test", name, code=1)["ok"] is False
    line.run("connection", "change", name, "--auth", '{"type": "none"}', "--no-headers")
    assert line.json("connection", "test", name)["status"] == 200
    assert "status 200" in line.run("connection", "test", name).stdout
    assert line.json("connection", "show", name)["headers"] == {}
    assert name in line.run("connection", "list").stdout
    line.run("connection", "delete", name, "--yes")
    assert "no connection" in line.refused("connection", "show", name)


def test_a_schedule_is_shown_and_run_now(line):
    code, id = deployed(line), fresh("nightly")
    line.run("schedule", "add", code, "--id", id, "--cron", "0 3 * * *", "--input", '{"a": 1}')
    shown = line.run("schedule", "show", id).stdout
    assert "0 3 * * * UTC" in shown
    assert '{"a":1}' in shown
    process = line.json("schedule", "run", id)["process"]
    assert line.json("show", process)["process"]["definition"] == code
    definitions = line.json("definitions")["items"]
    assert [each["active"] for each in definitions if each["code"] == code] == [1]


def test_documents_are_linked_unlinked_and_removed(line):
    process = line.json("start", deployed(line))["id"]
    (line.folder / "a.txt").write_text("content")
    uri = line.json("document", "put", "a.txt")["uri"]
    line.run("document", "link", process, uri)
    assert [each["uri"] for each in line.json("document", "list", process)["items"]] == [uri]
    line.run("document", "unlink", process, uri)
    assert line.json("document", "list", process)["items"] == []
    line.run("document", "link", process, uri)
    line.run("cancel", process)
    assert f"cannot delete: the process {process} is CANCELLED" in line.refused("document", "remove", uri, "--yes")
    line.json("document", "remove", line.json("document", "put", "a.txt")["uri"], "--yes")


def test_doctor_tells_all_that_its_page_says(line):
    data = line.credentials.parent
    checks = {each["name"]: each for each in line.json("doctor", "--data", str(data))["checks"]}
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    promised = page.partition("penstock doctor --data")[2].splitlines()[0].partition("#")[2]
    assert set(promised.strip().split(", ")) <= checks.keys()
    assert all(each["ok"] for each in checks.values())
    assert "in use by process" in checks["file"]["detail"]
    before = sorted(line.folder.iterdir())
    assert line.json("doctor", "--data", "nowhere")["ok"] is True
    assert sorted(line.folder.iterdir()) == before
    assert str(line.folder / "nowhere" / "penstock.db") in line.refused("audit", "verify", "--data", "nowhere")
    (line.folder / "broken").mkdir()
    (line.folder / "broken" / "penstock.db").write_bytes(b"not a database" * 100)
    found = line.json("doctor", "--data", "broken", code=1)
    assert [each["ok"] for each in found["checks"] if each["name"] == "integrity"] == [False]


def test_a_refusal_says_which_field_and_what_stood_there(line):
    told = line.refused("group", "create", "Bad Code!")
    assert told.startswith("penstock: code: must be 1 to 64 of ")
    assert "'Bad Code!'" in told
