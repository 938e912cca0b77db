"""`penstock login`, `logout` and `me`: a person at the command line."""

from __future__ import annotations

import os
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import LONGEST, FromFile, FromStdin, asked, line_of, password_given
from penstock.cli.output import Output, moment, plain
from penstock.cli.places import login_file
from penstock.cli.remote import AsJson, Session, remote

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import Me

PANEL = "People"
HERE = "http://127.0.0.1:8080"


def register(root: typer.Typer) -> None:
    for command in (login, logout, me):
        root.command(rich_help_panel=PANEL)(command)


def login(
    *,
    url: Annotated[
        str | None, typer.Option("--url", metavar="URL", help="The server; else the one of your last login.")
    ] = None,
    email: Annotated[
        str | None, typer.Option("--email", metavar="EMAIL", help="Who you are; else it is asked for.")
    ] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, help="Stay logged in so long, by a token of yours; else about an hour."),
    ] = None,
    from_stdin: FromStdin = False,
    from_file: FromFile = None,
    as_json: AsJson = False,
) -> None:
    """Log in as yourself: later commands act for you, where no other credentials are given. The password is not kept."""
    out, old = Output(as_json=as_json), _last()
    url = url or os.environ.get("PENSTOCK_URL") or old.get("url") or _typed("Server", "--url", HERE)
    email = email or _typed("E-mail address", "--email", old.get("email"))
    password = password_given("", ask=False, stdin=from_stdin, file=from_file)
    if password is None:
        password = asked(f"Password of {email}")
    token, ends, found = _issued(url, email, password, days)
    path = login_file()
    _end(old)
    _write(path, {"url": url, "email": email, "token": token, "expires_at": ends})
    told = {"url": url, "principal": found.principal, "tenant": found.tenant, "expires_at": ends, "file": str(path)}
    out.show(told, lambda console: _print_login(console, found, url, ends))
    if (other := _before_a_login()) is not None:
        out.note(other)


def _issued(url: str, email: str, password: str, days: int | None) -> tuple[str, datetime | None, Me]:
    """A token of who has this password, when it ends, and who that is."""
    from penstock.client import NO_RETRY, Client, Credentials, Grant, UnexpectedAnswer  # noqa: PLC0415
    from penstock.client.calls import token_request  # noqa: PLC0415

    with Client(url, retry=NO_RETRY) as client:
        answer = client.send(token_request(Grant(email=email, password=password).form() or {}))
    ends = None if answer.expires_in is None else datetime.now(UTC) + timedelta(seconds=answer.expires_in)
    with Client(Credentials(url, Grant(token=answer.access_token))) as client:
        found = client.me()
        if days is None:
            return answer.access_token, ends, found
        named = client.tokens.create(f"penstock login on {socket.gethostname()}", days=days)
        client.revoke_token(answer.access_token)
    if named.token is None:
        raise UnexpectedAnswer("the token was lost on the way: log in again")
    return named.token, named.expires_at, found


def logout(*, as_json: AsJson = False) -> None:
    """End your login: its token, and the file that kept it."""
    out, path, old = Output(as_json=as_json), login_file(), _last()
    if not path.exists():
        out.show({"logged_in": False}, lambda console: console.print(plain("nobody is logged in")))
        return
    trouble = _end(old)
    path.unlink(missing_ok=True)
    who = old.get("email") or "you"
    out.show(
        {"logged_in": False, "revoked": trouble is None}, lambda console: console.print(plain(f"{who} is logged out"))
    )
    if trouble is not None:
        ends = old.get("expires_at") or "it expires"
        typer.echo(f"penstock: the server could not be told, the token is good until {ends}: {trouble}", err=True)
        raise typer.Exit(1)


@remote
def me(
    session: Session,
    *,
    name: Annotated[str | None, typer.Option("--name", help="Give yourself another name.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Change your password.")] = False,
    from_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="The same, from two lines: the old one, the new one.")
    ] = False,
) -> None:
    """Print who you are, on which server, and by which credentials; change your name or password."""
    if password and from_stdin:
        raise typer.BadParameter("give one of --password and --password-stdin")
    if name is not None or password or from_stdin:
        old, new = _passwords(stdin=from_stdin) if password or from_stdin else (None, None)
        session.client.change_me(name=name, password=new, old_password=old)
        if new is not None:
            session.out.note("The password is changed; your other tokens have ended.")
    found, credentials = session.client.me(), session.client.credentials
    source = credentials.source if credentials.grant.email is None else f"the password of {credentials.grant.email}"
    told = {
        "principal": found.principal, "kind": found.kind, "tenant": found.tenant, "roles": found.roles,
        "groups": found.groups, "url": credentials.url, "credentials": source,
    }  # fmt: skip
    session.out.show(told, lambda console: _print_me(console, found, credentials.url, source))


def _passwords(*, stdin: bool) -> tuple[str, str]:
    """The old one and the new one."""
    if not stdin:
        return asked("Your password"), asked("New password", twice=True)
    lines = sys.stdin.buffer.read(LONGEST + 1).splitlines()
    if len(lines) != 2:
        raise typer.BadParameter("give two lines: the old password, the new one", param_hint="--password-stdin")
    return line_of(lines[0], "--password-stdin"), line_of(lines[1], "--password-stdin")


def _typed(what: str, option: str, default: str | None) -> str:
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: give it", param_hint=option)
    answer: str = typer.prompt(what, default=default, err=True)
    return answer


def _last() -> dict[str, Any]:
    """The login's file; empty where there is none that can be read."""
    import msgspec  # noqa: PLC0415

    try:
        return msgspec.json.decode(login_file().read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _write(path: Path, content: dict[str, Any]) -> None:
    import msgspec  # noqa: PLC0415

    from penstock.client.token_cache import write_private  # noqa: PLC0415

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, msgspec.json.format(msgspec.json.encode(content)) + b"\n")


def _end(old: dict[str, Any]) -> Exception | None:
    """Ends the token of a login; what kept the server from being told, if anything."""
    from penstock.client import NO_RETRY, Client, ClientError, Credentials, Grant, Unauthenticated  # noqa: PLC0415

    url, token = old.get("url"), old.get("token")
    if not isinstance(url, str) or not isinstance(token, str):
        return None
    try:
        with Client(Credentials(url, Grant(token=token)), retry=NO_RETRY) as client:
            client.revoke_token(token)
    except Unauthenticated:
        return None  # it had ended already
    except ClientError as error:
        return error
    return None


def _before_a_login() -> str | None:
    """Why commands here do not use a login."""
    from penstock.client import CredentialsError  # noqa: PLC0415
    from penstock.client.credentials import load  # noqa: PLC0415

    try:
        found = load(login=login_file())
    except CredentialsError as error:
        return str(error)
    return None if found.login else f"{found.source} comes first here: commands use that, until it is gone"


def _print_login(console: Console, found: Me, url: str, ends: datetime | None) -> None:
    until = f", until {moment(ends)}" if ends else ""
    console.print(
        plain(f"logged in at {url} as"), plain(found.principal, "bold"), plain(f"of {found.tenant.code}{until}")
    )


def _print_me(console: Console, found: Me, url: str, source: str) -> None:
    lines = {
        "you are": found.principal, "tenant": found.tenant.code or found.tenant.id, "roles": ", ".join(found.roles),
        "groups": ", ".join(found.groups), "server": url, "by": source,
    }  # fmt: skip
    for name, value in lines.items():
        if value:
            console.print(plain(f"{name:8}", "dim"), plain(value, "bold" if name == "you are" else ""), soft_wrap=True)
