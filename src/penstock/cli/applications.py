"""`penstock application`: programs that call the API, and their secrets, which are shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import access_keys
from penstock.cli.asking import Write, Yes, new_file, sure
from penstock.cli.each import each, said
from penstock.cli.output import moment, plain, table
from penstock.cli.remote import Session, instant, remote
from penstock.cli.tokens import show_tokens
from penstock.cli.users import chosen, log_out, some

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import Application

Id = Annotated[str, typer.Argument(metavar="ID", help="An application.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Applications.")]

app = typer.Typer(help="Applications: programs that call the API.", no_args_is_help=True)
app.add_typer(access_keys.app, name="keys")


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="application", rich_help_panel="People")


@app.command("list")
@remote
def list_applications(session: Session) -> None:
    """List them; never their secrets."""
    found = [*session.client.applications.list.all(limit=200)]
    session.out.show({"items": found}, lambda console: console.print(_table(found)))


@app.command()
@remote
def show(session: Session, id: Id) -> None:
    """Show one; never its secret."""
    found = session.client.applications.get(id)
    session.out.show(found, lambda console: console.print(_table([found])))


@app.command()
@remote
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    roles: Annotated[list[str] | None, typer.Option("--role", help="admin or manager; may repeat.")] = None,
    write: Write = None,
) -> None:
    """Make an application. Its secret is shown once; --write makes a credentials.json of it."""
    with new_file(write) as keep:
        made = session.client.applications.create(name, roles=roles or ())
        keep(_credentials(session, made))
    _show_once(session, made, write)


@app.command()
@remote
def change(
    session: Session,
    id: Id,
    *,
    name: Annotated[str | None, typer.Option("--name")] = None,
    roles: Annotated[
        list[str] | None, typer.Option("--role", help="admin or manager, in place of all; may repeat.")
    ] = None,
    no_roles: Annotated[bool, typer.Option("--no-roles", help="No role any more.")] = False,
) -> None:
    """Change what is given."""
    members = some({"name": name, "roles": chosen(roles, "--role", none=no_roles)})
    changed = session.client.applications.change(id, **members)
    session.out.show(changed, lambda console: console.print(_table([changed])))


@app.command()
@remote
def disable(session: Session, ids: Ids) -> None:
    """Let them in no more; their tokens end."""
    applications = session.client.applications
    each(session, ids, "disabling", lambda id: applications.change(id, disabled=True), _words)


@app.command()
@remote
def enable(session: Session, ids: Ids) -> None:
    """Let them in again."""
    applications = session.client.applications
    each(session, ids, "enabling", lambda id: applications.change(id, disabled=False), _words)


@app.command()
@remote
def delete(session: Session, ids: Ids, *, yes: Yes = False) -> None:
    """Remove them. One that open items or permissions name is refused: disable instead."""
    sure(f"Delete {', '.join(ids)}?", yes=yes)
    each(session, ids, "deleting", session.client.applications.delete, said("is gone"))


@app.command()
@remote
def rotate(
    session: Session,
    id: Id,
    *,
    until: Annotated[
        str | None, typer.Option("--old-until", metavar="TIME", help="The old secret is good until then (90 days).")
    ] = None,
    write: Write = None,
    yes: Yes = False,
) -> None:
    """Give it a new secret, shown once. Without --old-until the old one and all its tokens end at once."""
    at = instant(until, "--old-until")
    if at is None:
        sure(f"End the secret and all tokens of {id} now?", yes=yes)
    with new_file(write) as keep:
        made = session.client.applications.rotate(id, old_secret_until=at)
        keep(_credentials(session, made))
    _show_once(session, made, write)


@app.command()
@remote
def logout(session: Session, ids: Ids) -> None:
    """End all their tokens; with their secret they get new ones."""
    log_out(session, ids, session.client.applications.revoke_tokens)


@app.command()
@remote
def tokens(session: Session, id: Id) -> None:
    """List an application's tokens that are still good."""
    show_tokens(session, [*session.client.applications.tokens.all(id, limit=200)])


def _credentials(session: Session, made: Application) -> dict[str, Any]:
    """What a client reads. An answer that came a second time, after a broken connection, has no secret."""
    from penstock.client import UnexpectedAnswer  # noqa: PLC0415

    if made.secret is None:
        raise UnexpectedAnswer(
            f"{made.id} is made, but its secret was lost on the way: penstock application rotate {made.id}"
        )
    return {"url": session.client.credentials.url, "application": {"id": made.id, "secret": made.secret}}


def _show_once(session: Session, made: Application, write: Any) -> None:
    import msgspec  # noqa: PLC0415

    if write is not None:
        made = msgspec.structs.replace(made, secret=None)
    session.out.show(made, lambda console: _print_once(console, made))
    said = (
        "The secret is shown this once: keep it." if write is None else f"The secret is in {write}, and nowhere else."
    )
    session.out.note(said)


def _print_once(console: Console, made: Application) -> None:
    console.print(_table([made]))
    if made.secret is not None:
        console.print(plain("secret", "dim"), plain(made.secret, "bold"), soft_wrap=True)


def _words(_: str, application: Application) -> tuple[Any, ...]:
    state = "disabled" if application.disabled else "enabled"
    return plain(application.id, "bold"), plain(application.name), plain(state)


def _table(found: list[Application]) -> Any:
    rows = [
        [
            plain(each.id, "dim" if each.disabled else "bold"), plain(each.name), plain(", ".join(each.roles)),
            plain(_state(each), "yellow"),
        ]
        for each in found
    ]  # fmt: skip
    return table(["application", "name", "roles", ""], rows)


def _state(found: Application) -> str:
    old = f"old secret until {moment(found.old_secret_until)}" if found.old_secret_until else ""
    return ", ".join(each for each in ("disabled" if found.disabled else "", old) if each)
