"""`penstock group`: groups and who is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Yes, sure
from penstock.cli.each import each, said
from penstock.cli.output import moment, plain, table
from penstock.cli.remote import Session, remote
from penstock.cli.users import Whom, users_table

if TYPE_CHECKING:
    from penstock.client.models import Group

Code = Annotated[str, typer.Argument(metavar="CODE", help="A group.")]

app = typer.Typer(help="Groups of users.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="group", rich_help_panel="People")


@app.command("list")
@remote
def list_groups(session: Session) -> None:
    """List them."""
    found = [*session.client.groups.list.all(limit=200)]
    session.out.show({"items": found}, lambda console: console.print(_table(found)))


@app.command()
@remote
def show(session: Session, code: Code) -> None:
    """Show one."""
    _show(session, session.client.groups.get(code))


@app.command()
@remote
def create(
    session: Session,
    code: Annotated[str, typer.Argument(metavar="CODE", help="1 to 64 of A-Z a-z 0-9 _ . -; it never changes.")],
    *,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="As people read it.")] = None,
) -> None:
    """Make a group."""
    _show(session, session.client.groups.create(code, name))


@app.command()
@remote
def rename(session: Session, code: Code, name: Annotated[str, typer.Argument(metavar="NAME")]) -> None:
    """Give it another name; its code stays."""
    _show(session, session.client.groups.rename(code, name))


@app.command()
@remote
def delete(
    session: Session,
    codes: Annotated[list[str], typer.Argument(metavar="CODE…", help="Groups.")],
    *,
    yes: Yes = False,
) -> None:
    """Remove groups. One that open items or permissions name is refused."""
    sure(f"Delete {', '.join(codes)}?", yes=yes)
    each(session, codes, "deleting", session.client.groups.delete, said("is gone"))


@app.command()
@remote
def members(session: Session, code: Code) -> None:
    """List who is in it."""
    found = [*session.client.groups.members.all(code, limit=200)]
    session.out.show({"items": found}, lambda console: console.print(users_table(found)))


@app.command()
@remote
def add(session: Session, code: Code, whom: Whom) -> None:
    """Put users into it."""
    each(session, whom, "adding", lambda who: session.client.groups.add(code, who), said(f"is in {code}"))


@app.command()
@remote
def remove(session: Session, code: Code, whom: Whom) -> None:
    """Take users out of it."""
    each(session, whom, "removing", lambda who: session.client.groups.remove(code, who), said(f"is not in {code}"))


def _show(session: Session, group: Group) -> None:
    session.out.show(group, lambda console: console.print(_table([group])))


def _table(found: list[Group]) -> Any:
    rows = [[plain(group.code, "bold"), plain(group.name), moment(group.created_at)] for group in found]
    return table(["group", "name", "made"], rows)
