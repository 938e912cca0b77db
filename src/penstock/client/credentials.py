"""Where a client's address and credentials come from: arguments, PENSTOCK_* variables, a credentials.json, or a login's file.

Reading happens here; `exchange.Access` turns a grant into tokens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from penstock.client.errors import CredentialsError

_SECRETS = ("PENSTOCK_CLIENT_SECRET", "PENSTOCK_TOKEN")
"""Whose values may stand in a file that NAME_FILE names."""
DEFAULT_PATH = Path(".penstock") / "credentials.json"


@dataclass(frozen=True, slots=True)
class Grant:
    """What is shown to get a token: an application's, a user's, or a token itself."""

    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    email: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)

    def form(self) -> dict[str, str] | None:
        """The token request's body; None when there is nothing to ask a token with."""
        if self.email and self.password is not None:
            return {"grant_type": "password", "username": self.email, "password": self.password}
        if self.client_id and self.client_secret:
            return {
                "grant_type": "client_credentials",
                "client_id": self.client_id,
                "client_secret": self.client_secret,
            }
        return None


@dataclass(frozen=True, slots=True)
class Credentials:
    url: str
    grant: Grant = field(default_factory=Grant)
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of the users the file names (`penstock dev` writes them)."""
    source: str = ""
    """Where they were found, for a person."""
    login: bool = False
    """They are what `penstock login` has left."""

    def at(self, url: str | None) -> Credentials:
        """The same for another address. Raises `CredentialsError`: a login is sent to its own server alone."""
        if not url:
            return self
        if self.login and origin(url) != origin(self.url):
            raise CredentialsError(f"you are logged in at {self.url}, not at {url} (penstock login --url {url})")
        return replace(self, url=url)

    def as_user(self, email: str, password: str | None = None) -> Credentials:
        if password is None:
            password = self.passwords.get(email)
        if password is None:
            raise CredentialsError(f"no password given for {email}, and the credentials file has none")
        return replace(self, grant=Grant(email=email, password=password), login=False)


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what tells one server from another. Raises `CredentialsError`."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as error:
        raise CredentialsError(f"not a server's URL: {url!r}: {error}") from error


class _Application(msgspec.Struct):
    id: str
    secret: str


class _User(msgspec.Struct):
    email: str
    password: str = ""


class _File(msgspec.Struct):
    """The members of credentials.json that a native client reads; the rest is for the other doors."""

    url: str
    application: _Application | None = None
    users: list[_User] = []
    token: str | None = None
    """Where there is no application: a token itself."""


def load(
    path: str | Path | None = None, environ: Mapping[str, str] | None = None, *, login: Path | None = None
) -> Credentials:
    """The file at `path`; without one, what PENSTOCK_* name, else ./.penstock/credentials.json, else the file `login`.

    PENSTOCK_URL alone overrides the url of a file that was not named by an argument.
    Raises `CredentialsError`.
    """
    if path is not None:
        return read(Path(path))
    env = os.environ if environ is None else environ
    url = env.get("PENSTOCK_URL")
    if (named := _from_variables(env, url)) is not None:
        return named
    if file := env.get("PENSTOCK_CREDENTIALS"):
        return replace(read(Path(file)), source=f"PENSTOCK_CREDENTIALS: {file}").at(url)
    if login is not None and not DEFAULT_PATH.exists():
        if login.exists():
            return replace(read(login), source=f"penstock login: {login}", login=True).at(url)
        raise _nothing(url, "nobody is logged in (penstock login)")
    if not DEFAULT_PATH.exists():
        raise _nothing(url)
    return read(DEFAULT_PATH).at(url)


def _from_variables(env: Mapping[str, str], url: str | None) -> Credentials | None:
    secret, token = _from_file(env, "PENSTOCK_CLIENT_SECRET"), _from_file(env, "PENSTOCK_TOKEN")
    client_id = env.get("PENSTOCK_CLIENT_ID")
    if url and client_id and secret:
        grant = Grant(client_id=client_id, client_secret=secret)
        return Credentials(url, grant, source="PENSTOCK_CLIENT_ID and PENSTOCK_CLIENT_SECRET")
    if client_id or secret:
        raise _incomplete({"PENSTOCK_URL": url, "PENSTOCK_CLIENT_ID": client_id, "PENSTOCK_CLIENT_SECRET": secret})
    if token and not url:
        raise _incomplete({"PENSTOCK_URL": url, "PENSTOCK_TOKEN": token})
    return Credentials(url, Grant(token=token), source="PENSTOCK_TOKEN") if url and token else None


def read(path: Path) -> Credentials:
    """Raises `CredentialsError`."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        raise CredentialsError(f"no credentials: {path} does not exist") from None
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path} is not a credentials file: {error}") from error
    application = content.application
    grant = Grant(token=content.token)
    if application:
        grant = Grant(client_id=application.id, client_secret=application.secret)
    return Credentials(content.url, grant, {user.email: user.password for user in content.users}, str(path))


def _nothing(url: str | None, more: str = "") -> CredentialsError:
    """Nothing was found at all, but for an address perhaps: says what would do."""
    missing = [f"{DEFAULT_PATH} does not exist", *([more] if more else [])]
    beside = "beside PENSTOCK_URL" if url else "PENSTOCK_URL and"
    return CredentialsError(
        f"no credentials: {', '.join(missing)}; log in (penstock login), or set {beside} PENSTOCK_TOKEN, or {beside} "
        "PENSTOCK_CLIENT_ID with PENSTOCK_CLIENT_SECRET (or PENSTOCK_CLIENT_SECRET_FILE), or name a file in PENSTOCK_CREDENTIALS"
    )


def _incomplete(wanted: Mapping[str, str | None]) -> CredentialsError:
    """Some of what belongs together is set: says which is not."""
    given = [name for name, value in wanted.items() if value]
    missing = [name for name, value in wanted.items() if not value]
    named = [f"{each} (or {each}_FILE)" if each in _SECRETS else each for each in missing]
    are, is_set = ("are" if len(missing) > 1 else "is"), ("are" if len(given) > 1 else "is")
    return CredentialsError(
        f"no credentials: {' and '.join(given)} {is_set} set, but {' and '.join(named)} {are} missing "
        "(a login or a file counts only when these are unset)"
    )


def _from_file(env: Mapping[str, str], name: str) -> str | None:
    """A variable, or the file that the variable with `_FILE` behind it names."""
    if path := env.get(f"{name}_FILE"):
        try:
            return Path(path).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise CredentialsError(f"cannot read {name}_FILE: {error}") from error
    return env.get(name)
