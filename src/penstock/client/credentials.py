"""Where a client's address and credentials come from: arguments, PENSTOCK_* variables, or a credentials.json.

Reading happens here; `access` turns a grant into tokens.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from penstock.client.errors import CredentialsError

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

    def as_user(self, email: str, password: str | None = None) -> Credentials:
        if password is None:
            password = self.passwords.get(email)
        if password is None:
            raise CredentialsError(f"no password given for {email}, and the credentials file has none")
        return replace(self, grant=Grant(email=email, password=password))


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


def load(path: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Credentials:
    """The file at `path`; without one, what PENSTOCK_* name, else ./.penstock/credentials.json.

    PENSTOCK_URL alone overrides the url of a file that was not named by an argument.
    Raises `CredentialsError`.
    """
    if path is not None:
        return read(Path(path))
    env = os.environ if environ is None else environ
    url, secret = env.get("PENSTOCK_URL"), _secret(env)
    client_id = env.get("PENSTOCK_CLIENT_ID")
    if url and client_id and secret:
        return Credentials(url, Grant(client_id=client_id, client_secret=secret))
    if client_id or secret:
        raise CredentialsError("set PENSTOCK_URL, PENSTOCK_CLIENT_ID and PENSTOCK_CLIENT_SECRET together")
    found = read(Path(env["PENSTOCK_CREDENTIALS"]) if env.get("PENSTOCK_CREDENTIALS") else DEFAULT_PATH)
    return replace(found, url=url) if url else found


def read(path: Path) -> Credentials:
    """Raises `CredentialsError`."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        raise CredentialsError(
            f"no credentials: {path} does not exist, and PENSTOCK_URL, PENSTOCK_CLIENT_ID and "
            "PENSTOCK_CLIENT_SECRET are not set"
        ) from None
    except OSError as error:
        raise CredentialsError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CredentialsError(f"{path} is not a credentials file: {error}") from error
    application = content.application
    grant = Grant(client_id=application.id, client_secret=application.secret) if application else Grant()
    return Credentials(content.url, grant, {user.email: user.password for user in content.users})


def _secret(env: Mapping[str, str]) -> str | None:
    if path := env.get("PENSTOCK_CLIENT_SECRET_FILE"):
        try:
            return Path(path).read_text().strip()
        except OSError as error:
            raise CredentialsError(f"cannot read PENSTOCK_CLIENT_SECRET_FILE: {error}") from error
    return env.get("PENSTOCK_CLIENT_SECRET")
