"""`penstock doctor` on PostgreSQL, and on keys and settings that are wrong."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from penstock.cli.app import app
from penstock.store import Store
from support import postgres

KEY = "A" * 43 + "="


@pytest.fixture
def doctor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(code, *args, **settings):
        env = {f"PENSTOCK_{name.upper()}": value for name, value in settings.items()}
        answer = CliRunner().invoke(app, ["doctor", "--json", *args], env=env)
        assert answer.exit_code == code, answer.output
        return {each["name"]: (each["ok"], each["detail"]) for each in json.loads(answer.stdout)["checks"]}

    return run


@pytest.mark.postgres
def test_postgresql_is_looked_at_and_not_changed(doctor):
    with postgres.running() as server:
        url = server.database()
        found = doctor(0, database_url=url, secret_key=KEY)
        assert found["schema"] == (True, "none yet; the first start makes it")
        Store.open(url).close()
        found = doctor(0, database_url=url, secret_key=KEY)
        assert found["database"] == (True, "postgresql answers")
        assert found["schema"][1].startswith("version ")
        assert found["clock"][0]
        assert "file" not in found
        found = doctor(1, database_url=url)
        assert found["secret key"] == (False, "none: the server does not start (penstock generate-key)")
    assert doctor(1, database_url=url, secret_key=KEY)["database"][0] is False


def test_keys_and_places_that_are_wrong_are_named(doctor, tmp_path):
    (tmp_path / "documents").write_text("a file")
    found = doctor(1, secret_key="short", audit_key="no PEM", documents_url="ftp://x")
    assert [name for name, (ok, _) in found.items() if not ok] == ["secret key", "audit key", "documents"]
    assert "short" not in found["secret key"][1]
    assert found["settings"][1] == "from PENSTOCK_AUDIT_KEY, PENSTOCK_DOCUMENTS_URL, PENSTOCK_SECRET_KEY"
    assert doctor(0)["settings"][1] == "all as by default"
