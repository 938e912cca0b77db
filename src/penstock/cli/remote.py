"""What commands that talk to a server have in common: their options, their client, and JSON in arguments.

A function decorated with `remote` gets a `Session` first; the options `--url`, `--credentials`, `--user` and `--json`
are added to its own, so that they exist once and on every such command.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from penstock.cli.output import Output
from penstock.cli.places import login_file, token_folder

if TYPE_CHECKING:
    from penstock.client import Client

P = ParamSpec("P")

Url = Annotated[str | None, typer.Option("--url", help="The server, in place of the credentials' own.", metavar="URL")]
CredentialsFile = Annotated[
    Path | None,
    typer.Option(
        "--credentials",
        metavar="FILE",
        help="A credentials.json; else PENSTOCK_*, ./.penstock/credentials.json, or your login.",
    ),
]
User = Annotated[str | None, typer.Option("--user", help="Act as this user.", metavar="EMAIL")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

_SHARED = {"url": (Url, None), "credentials": (CredentialsFile, None), "user": (User, None), "as_json": (AsJson, False)}


class LoginEnded(Exception):
    """What `penstock login` left is not good any more."""


class NoServer(Exception):
    """Nobody answers at the server's address."""


class Session:
    """One command's client, made when it is first used, and its output."""

    def __init__(self, url: str | None, credentials: Path | None, user: str | None, *, as_json: bool) -> None:
        self._url = url
        self._credentials = credentials
        self._user = user
        self.out = Output(as_json=as_json)

    @functools.cached_property
    def client(self) -> Client:
        from penstock.client import Client as NativeClient  # noqa: PLC0415 - `--help` needs no HTTP
        from penstock.client import TokenCache  # noqa: PLC0415

        client = NativeClient.from_credentials(
            self._credentials, url=self._url, login=login_file(), tokens=TokenCache(token_folder())
        )
        if self._user is None:
            return client
        password = None
        if self._user not in client.credentials.passwords and sys.stdin.isatty():
            password = typer.prompt(f"Password of {self._user}", hide_input=True, err=True)
        return client.as_user(self._user, password)

    def outlived(self, error: Exception) -> bool:
        """Whether it is a login that the server knows no more."""
        return "client" in self.__dict__ and self.client.credentials.login and type(error).__name__ == "Unauthenticated"

    def unreachable(self, error: Exception) -> str | None:
        """Where nobody answered, and who said that it is there."""
        if "client" not in self.__dict__ or type(error).__name__ != "Unreachable":
            return None
        found = self.client.credentials
        by = (
            "--url"
            if self._url
            else "PENSTOCK_URL"
            if found.source and os.environ.get("PENSTOCK_URL")
            else found.source
        )
        return f"no answer from {found.url} (by {by or 'an argument'}): {str(error).removeprefix('no answer: ')}"

    def close(self) -> None:
        if "client" in self.__dict__:
            self.client.close()


def remote(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Adds the shared options, and gives the session they make."""
    signature = inspect.signature(function, eval_str=True)
    own = list(signature.parameters.values())[1:]
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _SHARED.items()
    ]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        session = Session(**{name: given.pop(name) for name in _SHARED})
        try:
            function(session, **given)  # type: ignore[call-arg]  # typer gives what the signature says
        except Exception as error:
            if session.outlived(error):
                raise LoginEnded("your login has ended: log in again (penstock login)") from error
            if unreachable := session.unreachable(error):
                raise NoServer(unreachable) from error
            raise
        finally:
            session.close()

    # Typer reads signature and annotations.
    del command.__wrapped__
    command.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in [*own, *shared]}
    return command


def json_value(text: str | None, option: str, *, absent: Any = None) -> Any:
    """JSON from an argument: itself, `@file`, or `@-` for stdin."""
    import msgspec  # noqa: PLC0415

    if text is None:
        return absent
    content: str | bytes = text
    if text.startswith("@"):
        try:
            content = sys.stdin.buffer.read() if text == "@-" else Path(text[1:]).read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"{text[1:]}: {error.strerror}", param_hint=option) from error
    try:
        return msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint=option) from error


def pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    """`name=value` arguments."""
    found = {}
    for text in texts or []:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{text!r} is not name=value", param_hint=option)
        found[name] = value
    return found


def instant(text: str | None, option: str) -> datetime | None:
    """A date or a time; without a zone it is this machine's."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a date or time (ISO 8601)", param_hint=option) from error
