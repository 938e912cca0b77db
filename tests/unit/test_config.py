"""Layers, spelling and bounds of the settings."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from penstock.config import PREFIX, Settings, load, names, shown
from penstock.errors import Invalid


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "penstock.toml"
        path.write_text(text)
        return path

    return write


def test_defaults():
    loaded = load(None, {})
    assert loaded.settings == Settings()
    assert loaded.settings.max_body_size == 2 * 1024 * 1024
    assert loaded.settings.outbound_allow_private is False
    assert set(loaded.sources.values()) == {"default"}


def test_later_layers_win(file):
    path = file('host = "0.0.0.0"\nport = 1\n[outbound]\nallow_private = true\nallow = ["10.0.0.0/8", "mail.local"]\n')
    env = {"PENSTOCK_PORT": "2", "PENSTOCK_CONFIG": str(path), "PATH": "/bin", "PENSTOCK_HOST": ""}
    loaded = load(None, env, port=3, host=None)
    settings = loaded.settings
    assert (settings.host, settings.port) == ("0.0.0.0", 3)
    assert (settings.outbound_allow_private, settings.outbound_allow) == (True, ("10.0.0.0/8", "mail.local"))
    assert loaded.sources["port"] == "command line"
    assert loaded.sources["host"] == loaded.sources["outbound_allow"] == str(path)
    assert load(None, env).sources["port"] == "PENSTOCK_PORT"
    assert load(file("port = 9"), env).settings.host == "127.0.0.1"  # an argument, not PENSTOCK_CONFIG


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PORT", "81", 81),
        ("DATA_DIR", "/srv/p", Path("/srv/p")),
        ("OUTBOUND_ALLOW_PRIVATE", "true", True),
        ("OUTBOUND_ALLOW_PRIVATE", "0", False),
        ("OUTBOUND_ALLOW", "a.example, 10.0.0.0/8,", ("a.example", "10.0.0.0/8")),
        ("UPLOAD_TIMEOUT", "90", timedelta(seconds=90)),
        ("TOKEN_LIFETIME", "PT2H", timedelta(hours=2)),
        ("RETENTION_DAYS", "30", 30),
        ("LOG_LEVEL", "debug", "debug"),
        ("DATABASE_URL", "postgresql://u:p@h/d", "postgresql://u:p@h/d"),
        ("SECRET_KEY", "k", "k"),
        ("PUBLIC_URL", "https://workflows.example.com:8443", "https://workflows.example.com:8443"),
        ("TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1", ("10.0.0.0/8", "127.0.0.1")),
        ("SESSION_IDLE", "PT1H", timedelta(hours=1)),
    ],
)
def test_the_environment_is_text(variable, text, value):
    assert getattr(load(None, {PREFIX + variable: text}).settings, variable.lower()) == value


@pytest.mark.parametrize(
    ("toml", "env", "text"),
    [
        ("prot = 1", {}, r"unknown setting 'prot' in .*penstock.toml \(did you mean port\?\)"),
        ("[outbound]\nallow_privat = true", {}, "did you mean outbound_allow_private"),
        ("[log]\nlevl = 'info'", {}, "did you mean log_level"),
        ("", {"PENSTOCK_DATABSE_URL": "x"}, r"unknown variable PENSTOCK_DATABSE_URL \(did you mean PENSTOCK_DATABASE_URL\?\)"),
        ("", {"PENSTOCK_CLIENT_IDD": "x"}, "did you mean PENSTOCK_CLIENT_ID"),
        ("", {"PENSTOCK_port": "1"}, "unknown variable PENSTOCK_port"),
        ("", {"PENSTOCK_HOST_FILE": "/x"}, "unknown variable PENSTOCK_HOST_FILE"),
        ("port = 'x'", {}, "port: must be a whole number"),
        ("", {"PENSTOCK_PORT": "70000"}, "PENSTOCK_PORT: port must be from 0 to 65535, and is 70000"),
        ("", {"PENSTOCK_LOG_LEVEL": "loud"}, "log_level: cannot be 'loud'; it takes debug, error, info, warning"),
        ("data_dir = 3", {}, "data_dir: Expected"),
        ("lease_max = 30", {}, "unknown setting 'lease_max'"),
        ("", {"PENSTOCK_NODE_NAME": "one"}, "unknown variable PENSTOCK_NODE_NAME"),
        ("[outbound]\nallow = ['10.0.0.0/33']", {}, "'10.0.0.0/33' is not a network"),
        ("trusted_proxies = ['proxy.example.com']", {}, "'proxy.example.com' is not a network"),
        ("", {"PENSTOCK_PUBLIC_URL": "workflows.example.com"}, "public_url must be https://HOST or http://HOST:PORT"),
        ("public_url = 'https://a.example/path'", {}, "public_url must be https://HOST or http://HOST:PORT"),
        ("public_url = 'https://a@b.example'", {}, "public_url must be https://HOST or http://HOST:PORT"),
        ("session_idle = 'PT1S'", {}, "session_idle must be from 1 min to 365 days, and is 1 s"),
        ("token_lifetime = 'PT1M1S'\nsession_idle = 'PT0.5S'", {}, "session_idle must be from 1 min to 365 days, and is 500 ms"),
        ("session_idle = 'soon'", {}, r"session_idle: must be a duration as PT5S or 5 \(seconds\)"),
        ("session_lifetime = 'P2Y'", {}, "session_lifetime"),
        ("port = 1\n", {"PENSTOCK_SECRET_KEY": "a", "PENSTOCK_SECRET_KEY_FILE": __file__}, "secret_key is given twice"),
        ("", {"PENSTOCK_SECRET_KEY_FILE": "/does/not/exist"}, "cannot read the secret's file /does/not/exist"),
        ("signing_key_days = 0", {}, "signing_key_days must be from 1 to 3650"),
        ("public_url = 'flows.example.com'", {}, "public_url must be https://HOST"),
        ("public_url = 'https://flows.example.com/a'", {}, "public_url must be"),
        ("public_url = 'https://me@flows.example.com'", {}, "public_url must be"),
        ("public_url = 'https://flows.example.com:x'", {}, "public_url must be"),
        ("public_url = 'ftp://flows.example.com'", {}, "public_url must be"),
        ("public_url = 'https://'", {}, "public_url must be"),
        ("public_url = 'https://ü.example'", {}, "public_url must be"),
        ("public_url = 'https://flows.example.com?a'", {}, "public_url must be"),
        ("a = [", {}, "is not TOML"),
        ("", {"PENSTOCK_TRACE_SAMPLE": "1.5"}, "trace_sample must be from 0.0 to 1.0, and is 1.5"),
        ("trace_sample = nan", {}, "trace_sample must be from"),
        ("[drain]\ndelay = 'PT1H'", {}, "drain_delay must be from"),
        ("", {"PENSTOCK_METRICS_TOKEN": "short"}, "metrics_token must have 16 characters"),
        ("", {"PENSTOCK_METRICS_TOKEN": "with a blank, and long enough"}, "metrics_token must have 16 characters"),
        ("[otlp]\nendpoint = 'collector:4318'", {}, "otlp_endpoint must be an address"),
        ("", {"PENSTOCK_OTLP_ENDPOINT": "http://collector:99999"}, "otlp_endpoint must be an address"),
        ("", {"PENSTOCK_OTLP_ENDPOINT": "grpc://collector:4317"}, "otlp_endpoint must be an address"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(file, toml, env, text):
    with pytest.raises(Invalid, match=text):
        load(file(toml), env)


@pytest.mark.parametrize(
    "url", ["https://flows.example.com", "https://flows.example.com/", "http://127.0.0.1:8080", "http://[::1]:80"]
)
def test_a_public_url_is_an_address(url):
    assert load(None, {"PENSTOCK_PUBLIC_URL": url}).settings.public_url == url


def test_every_problem_is_said_at_once():
    with pytest.raises(Invalid) as caught:
        load(None, {"PENSTOCK_PORT": "x", "PENSTOCK_NOPE": "1", "PENSTOCK_RETENTION_DAYS": "0"})
    assert len(caught.value.problems) == 3


def test_a_missing_file():
    with pytest.raises(Invalid, match="cannot read the settings file /no/such: No such file"):
        load("/no/such", {})


def test_variables_of_clients_are_known():
    names = ["URL", "CLIENT_ID", "CLIENT_SECRET", "CREDENTIALS", "TEMPORAL_TARGET"]
    assert load(None, {PREFIX + name: "x" for name in names}).settings == Settings()


def test_secrets_come_from_files_and_are_not_shown(tmp_path, file):
    secret = tmp_path / "key"
    secret.write_text("the key\n")
    for loaded in (
        load(None, {"PENSTOCK_SECRET_KEY_FILE": str(secret)}),
        load(file(f"secret_key_file = '{secret}'"), {}),
    ):
        assert loaded.settings.secret_key == "the key"
        assert "the key" not in repr(loaded)
        assert shown(loaded.settings)["secret_key"] == "***"
    url = load(None, {"PENSTOCK_DATABASE_URL": "postgresql://u:pass@h:5/d"}).settings
    assert shown(url)["database_url"] == "postgresql://u:***@h:5/d"
    assert "pass" not in repr(url)


def test_what_is_shown_is_json():
    assert set(shown(Settings())) == set(names())
    assert shown(Settings())["token_lifetime"] == "PT3600S"
    assert shown(Settings())["data_dir"] == "var/data"


def test_what_watches_the_server_shows_no_secret():
    env = {"PENSTOCK_METRICS_TOKEN": "0123456789abcdef", "PENSTOCK_OTLP_ENDPOINT": "https://u:hunter2@collector:4318/x"}
    settings = load(None, env).settings
    told = shown(settings)
    assert told["metrics_token"] == "***"
    assert told["otlp_endpoint"] == "https://u:***@collector:4318/x"
    assert not [secret for secret in ("0123456789abcdef", "hunter2") if secret in repr(settings)]
