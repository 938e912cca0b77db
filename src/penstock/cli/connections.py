"""`penstock connection`: where http nodes call, with which headers and which credential."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Yes, sure
from penstock.cli.each import each, said
from penstock.cli.output import brief, plain, table
from penstock.cli.remote import Session, json_value, pairs, remote
from penstock.cli.users import some

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.objects import Connection, Trial

Name = Annotated[str, typer.Argument(metavar="NAME", help="A connection.")]
BaseUrl = Annotated[str, typer.Argument(metavar="URL", help="What is called lies below it.")]
Headers = Annotated[list[str] | None, typer.Option("--header", metavar="NAME=VALUE", help="Of each call; may repeat.")]
Auth = Annotated[
    str | None,
    typer.Option("--auth", metavar="JSON|@FILE", help='As {"type": "bearer", "token": "${secrets.NAME}"}.'),
]
Timeout = Annotated[str | None, typer.Option("--timeout", metavar="DURATION", help="Of a call, such as PT10S.")]

app = typer.Typer(help="Connections that http nodes call through.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="connection", rich_help_panel="Definitions")


@app.command("list")
@remote
def list_connections(session: Session) -> None:
    """List them."""
    found = [*session.client.connections.list.all(limit=200)]
    rows = [[plain(e.name, "bold"), plain(e.base_url), plain(_kind(e)), plain(e.revision)] for e in found]
    columns = ["connection", "url", "credential", "revision"]
    session.out.show({"items": found}, lambda console: console.print(table(columns, rows)))


@app.command()
@remote
def show(session: Session, name: Name) -> None:
    """Show one. It names secrets and holds none."""
    _show(session, session.client.connections.get(name))


@app.command()
@remote
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 64 letters, digits, _ and -, no digit first.")],
    base_url: BaseUrl,
    *,
    headers: Headers = None,
    auth: Auth = None,
    timeout: Timeout = None,
) -> None:
    """Make a connection; one of this name that is there is left alone."""
    from penstock.client import NotFound  # noqa: PLC0415

    given, credential = pairs(headers, "--header"), json_value(auth, "--auth")
    connections = session.client.connections
    try:
        connections.get(name)
    except NotFound:
        made = connections.put(name, base_url, headers=given or None, auth=credential, timeout=timeout)
        _show(session, made)
        return
    raise typer.BadParameter(f"there is a connection {name}: penstock connection change {name}", param_hint="NAME")


@app.command()
@remote
def change(
    session: Session,
    name: Name,
    *,
    base_url: Annotated[str | None, typer.Option("--base-url", metavar="URL")] = None,
    headers: Annotated[
        list[str] | None, typer.Option("--header", metavar="NAME=VALUE", help="In place of all; may repeat.")
    ] = None,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="None any more.")] = False,
    auth: Auth = None,
    timeout: Timeout = None,
) -> None:
    """Change what is given, unless somebody else changes it at the same time."""
    if headers and no_headers:
        raise typer.BadParameter("give --header, or --no-headers", param_hint="--header")
    given = pairs(headers, "--header") if headers or no_headers else None
    members = some({"base_url": base_url, "headers": given, "auth": json_value(auth, "--auth"), "timeout": timeout})
    connections = session.client.connections
    old = connections.get(name)
    kept = {"base_url": old.base_url, "headers": old.headers or None, "auth": old.auth or None, "timeout": old.timeout}
    _show(session, connections.put(name, **{**kept, **members}, revision=old.revision))


@app.command()
@remote
def delete(
    session: Session,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Connections.")],
    *,
    yes: Yes = False,
) -> None:
    """Remove connections; jobs that name one fail."""
    sure(f"Delete {', '.join(names)}?", yes=yes)
    each(session, names, "deleting", session.client.connections.delete, said("is gone"))


@app.command("test")
@remote
def trial(
    session: Session,
    name: Name,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="Below its URL.")] = "",
    *,
    method: Annotated[str, typer.Option("--method", help="GET, HEAD or POST.")] = "GET",
) -> None:
    """Call through it once, and tell the status; exit code 1 when it is none of success."""
    found = session.client.connections.test(name, path, method=method.upper())
    session.out.show(found, lambda console: _print_trial(console, name, found))
    if not found.ok:
        raise typer.Exit(1)


def _kind(found: Connection) -> str:
    return str(found.auth.get("type", "none"))


def _show(session: Session, found: Connection) -> None:
    session.out.show(found, lambda console: _print(console, found))


def _print(console: Console, found: Connection) -> None:
    console.print(plain(found.name, "bold"), plain(found.base_url), plain(f"revision {found.revision}", "dim"))
    for name, value in (("headers", found.headers), ("auth", found.auth), ("timeout", found.timeout)):
        if value:
            console.print(plain(f"{name:8}", "dim"), plain(value if isinstance(value, str) else brief(value, 2_000)))
    for warning in found.warnings:
        console.print(plain("warning:", "yellow"), plain(warning))


def _print_trial(console: Console, name: str, found: Trial) -> None:
    told: Any = found.error if found.status is None else f"status {found.status}"
    word = plain("ok", "green") if found.ok else plain("failed", "bold red")
    console.print(plain(name, "bold"), word, plain(f"{told}, {found.milliseconds} ms"))
