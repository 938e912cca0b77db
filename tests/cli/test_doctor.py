"""`penstock doctor` on PostgreSQL, and on keys and settings that are wrong."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from penstock.cli.app import app
from penstock.config import load
from penstock.errors import Conflict, Invalid
from penstock.store import Store
from penstock.wiring.places import NO_KEY
from penstock.wiring.platform import Platform
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
        assert found["secret key"] == (False, NO_KEY)
    assert doctor(1, database_url=url, secret_key=KEY)["database"][0] is False


def test_keys_and_places_that_are_wrong_are_named(doctor, tmp_path):
    (tmp_path / "documents").write_text("a file")
    found = doctor(1, secret_key="short", audit_key="no PEM", documents_url="ftp://x")
    assert [name for name, (ok, _) in found.items() if not ok] == ["secret key", "audit key", "documents"]
    assert "short" not in found["secret key"][1]
    assert found["settings"][1] == "from PENSTOCK_AUDIT_KEY, PENSTOCK_DOCUMENTS_URL, PENSTOCK_SECRET_KEY"
    assert doctor(0)["settings"][1] == "all as by default"


@pytest.fixture
def served(tmp_path):
    """Data whose signing key is encrypted with the key `secret.key` of its folder; answers the folder."""
    data = tmp_path / "data"
    settings = load(None, {}, data_dir=str(data)).settings
    Platform.build(settings).close()
    return data


def content(data):
    return {path.name: path.read_bytes() for path in data.iterdir() if path.is_file() and path.suffix != ".db-shm"}


@pytest.mark.parametrize("beside", [False, True])
def test_a_key_that_serve_would_refuse_is_refused_with_the_same_words(doctor, served, beside):
    before = content(served)
    lost = (served / "secret.key").read_text()
    running = Platform.build(load(None, {}, data_dir=str(served)).settings) if beside else None
    try:
        assert doctor(0, data_dir=str(served))["secret key"][0]
        other = doctor(1, data_dir=str(served), secret_key=KEY)["secret key"]
        (served / "secret.key").unlink()
        gone = doctor(1, data_dir=str(served))["secret key"]
        assert not (served / "secret.key").exists()
    finally:
        if running is not None:
            running.close()
    with pytest.raises(Conflict) as refused:
        Platform.build(load(None, {}, data_dir=str(served), secret_key=KEY).settings)
    assert other == (False, refused.value.message)
    with pytest.raises(Invalid) as refused:
        Platform.build(load(None, {}, data_dir=str(served)).settings)
    assert gone == (False, refused.value.message)
    (served / "secret.key").write_text(lost)
    if not beside:
        assert {name: text for name, text in content(served).items() if "lock" not in name} == {
            name: text for name, text in before.items() if "lock" not in name
        }


def test_a_key_that_others_may_read_is_not_well(doctor, served, tmp_path):
    (served / "secret.key").chmod(0o640)
    found = doctor(1, data_dir=str(served))["secret key"]
    assert "chmod 600" in found[1]
    (served / "secret.key").chmod(0o600)
    assert doctor(0, data_dir=str(served))["secret key"][0]
    named = tmp_path / "named"
    named.write_text((served / "secret.key").read_text())
    named.chmod(0o604)
    assert str(named) in doctor(1, data_dir=str(served), secret_key_file=str(named))["secret key"][1]
