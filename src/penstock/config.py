"""The server's settings: defaults < TOML file < PENSTOCK_* environment. Read once, by the command line, passed down.

One name per setting everywhere: `outbound_allow_private` is PENSTOCK_OUTBOUND_ALLOW_PRIVATE in the environment, and
in the file either that name or `allow_private` in the table `[outbound]`. An unknown name is an error: a setting that
is spelled wrong would else be silently its default. Secrets may come from a file: add `_file` to the name.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal, get_type_hints
from urllib.parse import urlsplit, urlunsplit

import msgspec

from penstock.errors import Invalid, Problem
from penstock.web.choices import REFUSED, choices
from penstock.web.wording import in_words

PREFIX = "PENSTOCK_"

SECRETS = frozenset({"audit_key", "database_url", "metrics_token", "secret_key"})
"""May be read from a file, and are not shown."""

_OF_CLIENTS = frozenset(
    {
        "URL",
        "CLIENT_ID",
        "CLIENT_SECRET",
        "CLIENT_SECRET_FILE",
        "TOKEN",
        "TOKEN_FILE",
        "CREDENTIALS",
        "CONFIG",
        "TEMPORAL_TARGET",
    }
)
_UNITS = (
    ("day", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
    ("ms", timedelta(milliseconds=1)),
)
_LISTS = frozenset({"outbound_allow", "trusted_proxies"})


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its default."""

    database_url: str | None = field(default=None, repr=False)
    """None: SQLite, in the file `penstock.db` of data_dir."""
    host: str = "127.0.0.1"
    """The address to listen on; 0.0.0.0 is every one of IPv4."""
    port: int = 8080
    """0: one that is free."""
    public_url: str | None = None
    """Where people and clients reach the server, as https://workflows.example.com; None: the address it listens on.
    What a request says of it counts nothing."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks (CIDR) of proxies that are believed where a call comes from (X-Forwarded-For, Forwarded,
    X-Forwarded-Proto)."""
    data_dir: Path = Path("var/data")
    """SQLite's database and, where documents_url says nothing else, documents. It belongs to one server at a time."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is logged."""
    log_format: Literal["auto", "console", "json"] = "auto"
    """auto: console on a terminal, else json."""
    log_requests: bool = False
    """A line for each request."""
    log_slow: timedelta = timedelta(seconds=1)
    """A request that takes longer gets a line in any case; what a long-poll waits does not count."""
    metrics_token: str | None = field(default=None, repr=False)
    """Who sends it as a bearer token may read /metrics from elsewhere. None: callers on this machine alone."""
    otlp_endpoint: str | None = field(default=None, repr=False)
    """Where traces go (OTLP over HTTP), as http://HOST:4318; None: nothing is traced."""
    trace_sample: float = 1.0
    """The part of traces that begin here and are recorded, from 0 to 1; callers decide about theirs."""
    drain_delay: timedelta = timedelta(0)
    """How long a server that was told to stop says that it is not ready, and still serves, before it closes its
    port."""
    max_body_size: int = 2 * 1024 * 1024
    """Bytes of a request's body, but for documents."""
    documents_url: str | None = None
    """Where the content of documents lies: file:///FOLDER, s3://BUCKET/…, gs://… or az://…; None: `documents` in
    data_dir."""
    max_document_size: int = 100 * 1024 * 1024
    """Bytes of a document's content."""
    upload_timeout: timedelta = timedelta(seconds=30)
    """How long an upload, or the reader of a download, may stand still."""
    outbound_allow_private: bool = False
    """Whether outbound calls may go to private, loopback and link-local addresses."""
    outbound_allow: tuple[str, ...] = ()
    """Hosts and networks (CIDR) that outbound calls may go to though they are private."""
    retention_days: int | None = None
    """Ended processes are removed after this many days; None keeps them."""
    token_lifetime: timedelta = timedelta(hours=1)
    """How long an access token is good."""
    session_lifetime: timedelta = timedelta(days=7)
    """How long a browser stays logged in at most."""
    session_idle: timedelta = timedelta(hours=12)
    """How long it stays so while nothing is asked."""
    secret_key: str | None = field(default=None, repr=False)
    """Encrypts what must be readable again (secrets, access keys, signing keys): 32 bytes in base64. Several with
    commas or line ends between: the first encrypts, all decrypt. None: on SQLite the file `secret.key` of data_dir,
    made where it is not there."""
    signing_key_days: int = 90
    """A key that signs access tokens is replaced after this many days."""
    audit_key: str | None = field(default=None, repr=False)
    """Signs the audit's seals: a private Ed25519 key in PEM. None: they are not signed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each came from: "default", the file's path, or the variable's name."""

    settings: Settings
    sources: Mapping[str, str]
    files: Mapping[str, Path] = field(default_factory=dict)
    """Of the secrets that were read from files of their own: which."""


class _Secret(str):
    """What a secret's file holds."""

    __slots__ = ("path",)
    path: Path


def load(path: str | Path | None = None, environ: Mapping[str, str] | None = None, **given: Any) -> Loaded:
    """Reads all layers; `given` (from the command line) wins over them where it is not None.

    Without a path the file is the one PENSTOCK_CONFIG names, if it does. Raises `Invalid` with every problem.
    """
    env = os.environ if environ is None else environ
    if path is None:
        path = env.get(PREFIX + "CONFIG") or None
    problems: list[Problem] = []
    raw: dict[str, tuple[Any, str]] = {}
    if path is not None:
        raw |= _from_file(Path(path), problems)
    raw |= _from_environment(env, problems)
    raw |= {name: (value, "command line") for name, value in given.items() if value is not None}
    settings = Settings(**_converted(raw, problems))
    sources = {name: raw[name][1] if name in raw else "default" for name in names()}
    problems += _out_of_bounds(settings, sources)
    if problems:
        lines = "; ".join(problem.message for problem in problems)
        raise Invalid(f"bad settings: {lines}", problems)
    return Loaded(
        settings, sources, {name: value.path for name, (value, _) in raw.items() if isinstance(value, _Secret)}
    )


def names() -> tuple[str, ...]:
    return tuple(each.name for each in fields(Settings))


def shown(settings: Settings) -> dict[str, Any]:
    """What may be printed: JSON values, secrets masked."""
    out: dict[str, Any] = {}
    for name in names():
        value = getattr(settings, name)
        if name in ("database_url", "otlp_endpoint"):
            value = _without_password(value)
        elif name in SECRETS and value is not None:
            value = "***"
        out[name] = msgspec.to_builtins(str(value) if isinstance(value, Path) else value)
    return out


def _from_file(path: Path, problems: list[Problem]) -> dict[str, tuple[Any, str]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"cannot read the settings file {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the settings file {path} is not TOML: {error}") from error
    flat: dict[str, Any] = {}
    for name, value in content.items():
        table = value if isinstance(value, dict) else {}
        flat |= {f"{name}_{key}": inner for key, inner in table.items()} if table else {name: value}
    found: dict[str, tuple[Any, str]] = {}
    for name, value in flat.items():
        _take(found, name, value, str(path), problems)
    return found


def _from_environment(env: Mapping[str, str], problems: list[Problem]) -> dict[str, tuple[Any, str]]:
    found: dict[str, tuple[Any, str]] = {}
    for variable in sorted(env):
        name = variable.removeprefix(PREFIX)
        if name == variable or name in _OF_CLIENTS or not env[variable]:
            continue
        value: Any = env[variable]
        if name.lower() in _LISTS:
            value = [part.strip() for part in value.split(",") if part.strip()]
        _take(found, name.lower() if name.isupper() else variable, value, variable, problems)
    return found


def _take(found: dict[str, tuple[Any, str]], name: str, value: Any, source: str, problems: list[Problem]) -> None:
    """Puts one setting where it belongs, or says why not."""
    known = names()
    base = name.removesuffix("_file")
    if name not in known and base in SECRETS and base != name:
        name, value = base, _read_secret(value, source, problems)
    if name not in known:
        problems.append(_unknown(name, source))
    elif name in found:
        problems.append(Problem("", f"{name} is given twice ({found[name][1]} and {source})"))
    else:
        found[name] = (value, source)


def _read_secret(path: Any, source: str, problems: list[Problem]) -> _Secret | None:
    try:
        found = _Secret(Path(path).read_text(encoding="utf-8").strip())
        found.path = Path(path)
        return found
    except (OSError, TypeError, UnicodeDecodeError) as error:
        problems.append(Problem("", f"{source}: cannot read the secret's file {path}: {error}"))
        return None


def _unknown(name: str, source: str) -> Problem:
    in_environment = name in (source, source.removeprefix(PREFIX).lower())
    candidates: Iterable[str] = [*names(), *(f"{secret}_file" for secret in sorted(SECRETS))]
    if in_environment:
        candidates = [*(PREFIX + each.upper() for each in candidates), *(PREFIX + each for each in sorted(_OF_CLIENTS))]
        text, wanted = f"unknown variable {source}", source
    else:
        text, wanted = f"unknown setting {name!r} in {source}", name
    nearest = difflib.get_close_matches(wanted, candidates, n=1, cutoff=0.0)
    return Problem("", f"{text} (did you mean {nearest[0]}?)", "unknown")


def _converted(raw: Mapping[str, tuple[Any, str]], problems: list[Problem]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    kinds = get_type_hints(Settings)
    for name, (value, source) in raw.items():
        try:
            # Text from the environment may stand for numbers, booleans and durations (seconds, or ISO 8601).
            value = str(value) if isinstance(value, _Secret) else value  # noqa: PLW2901
            values[name] = msgspec.convert(value, kinds[name], strict=False, dec_hook=_decode)
        except msgspec.ValidationError as error:
            text = in_words(str(error))
            words = choices(kinds[name], "") if text.startswith(REFUSED) else []
            more = f"; it takes {', '.join(words)}" if words else ""
            more = " or 5 (seconds)" if kinds[name] is timedelta and text.endswith("PT5S") else more
            problems.append(Problem("", f"{source}: {name}: {text}{more}"))
    return values


def _decode(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise msgspec.ValidationError(f"Expected a path, got {type(value).__name__}")


def _said(value: Any) -> str:
    """A bound; of a duration its parts, as "1 min 30 s"."""
    if not isinstance(value, timedelta):
        return str(value)
    left, parts = value, []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' * (unit == 'day' and count != 1)}")
    return " ".join(parts) or "0 s"


def _out_of_bounds(settings: Settings, sources: Mapping[str, str]) -> Iterable[Problem]:
    """What types alone cannot say."""
    bounds: dict[str, tuple[Any, Any]] = {
        "port": (0, 65535),
        "max_body_size": (1024, 1024**3),
        "max_document_size": (1024, 1024**4),
        "upload_timeout": (timedelta(seconds=1), timedelta(hours=1)),
        "retention_days": (1, 100_000),
        "signing_key_days": (1, 3650),
        "token_lifetime": (timedelta(minutes=1), timedelta(days=30)),
        "session_lifetime": (timedelta(minutes=1), timedelta(days=365)),
        "session_idle": (timedelta(minutes=1), timedelta(days=365)),
        "log_slow": (timedelta(milliseconds=1), timedelta(days=1)),
        "trace_sample": (0.0, 1.0),
        "drain_delay": (timedelta(0), timedelta(minutes=5)),
    }
    for name, (low, high) in bounds.items():
        value = getattr(settings, name)
        if value is not None and not low <= value <= high:
            yield Problem(
                "", f"{sources[name]}: {name} must be from {_said(low)} to {_said(high)}, and is {_said(value)}"
            )
    if settings.public_url is not None and not _is_origin(settings.public_url):
        text = f"must be https://HOST or http://HOST:PORT with nothing behind, and is {settings.public_url!r}"
        yield Problem("", f"{sources['public_url']}: public_url {text}")
    if settings.metrics_token is not None and not _is_token(settings.metrics_token):
        text = "must have 16 characters or more, printable ASCII without spaces"
        yield Problem("", f"{sources['metrics_token']}: metrics_token {text}")
    if settings.otlp_endpoint is not None and not _is_address(settings.otlp_endpoint):
        yield Problem("", f"{sources['otlp_endpoint']}: otlp_endpoint must be an address as http://HOST:4318")
    for entry in settings.outbound_allow:
        if "/" in entry and not _is_network(entry):
            yield Problem("", f"{sources['outbound_allow']}: outbound_allow: {entry!r} is not a network")
    for entry in settings.trusted_proxies:
        if not _is_network(entry):
            yield Problem("", f"{sources['trusted_proxies']}: trusted_proxies: {entry!r} is not a network")


def _is_token(text: str) -> bool:
    return len(text) >= 16 and text.isascii() and text.isprintable() and " " not in text


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0 and not parts.query
    except ValueError:
        return False


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return True


def _is_origin(text: str) -> bool:
    try:
        parts = urlsplit(text)
        plain = parts.hostname is not None and parts.port != 0
    except ValueError:
        return False
    named = text.isascii() and all(each.isalnum() or each in "-.:[]" for each in parts.netloc)
    whole = text.removesuffix("/") == f"{parts.scheme}://{parts.netloc}"
    return plain and named and whole and parts.scheme in {"http", "https"}


def _without_password(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    if parts.password is None:
        return url
    at = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:***@{at}"))
