"""`penstock user`: people of the tenant, for administrators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Ask, FromFile, FromStdin, Yes, password_given, sure
from penstock.cli.each import each, said
from penstock.cli.output import moment, plain, table
from penstock.cli.remote import Session, remote
from penstock.cli.tokens import show_tokens

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import Revoked, User

Who = Annotated[str, typer.Argument(metavar="WHO", help="A user's e-mail address or id.")]
Whom = Annotated[list[str], typer.Argument(metavar="WHO…", help="E-mail addresses or ids.")]
Email = Annotated[str, typer.Argument(metavar="EMAIL", help="The address; it never changes.")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="As people read it.")]
ROLES = (
    "admin (everything in the tenant), manager (sees its secrets' names and its connections) or operator (tenants; only an "
    "operator gives it); may repeat."
)

app = typer.Typer(help="Users: who they are, their groups and roles.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="user", rich_help_panel="People")


@app.command("list")
@remote
def list_users(
    session: Session,
    *,
    email: Annotated[str | None, typer.Option("--email", metavar="TEXT", help="The address begins so.")] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="The name begins so.")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="CODE", help="Members of this group.")] = None,
    disabled: Annotated[bool | None, typer.Option("--disabled/--enabled", help="Those alone.")] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="BY", help="email or name; with - before it backwards.")
    ] = None,
) -> None:
    """List users; who is no administrator sees the directory."""
    users = session.client.users
    found = [*users.list.all(email=email, name=name, group=group, disabled=disabled, sort=sort, limit=200)]
    session.out.show({"items": found}, lambda console: console.print(users_table(found)))


@app.command()
@remote
def show(session: Session, who: Who) -> None:
    """Show one."""
    _show(session, session.client.users.get(who))


@app.command()
@remote
def create(
    session: Session,
    email: Email,
    *,
    name: Name = None,
    groups: Annotated[list[str] | None, typer.Option("--group", metavar="CODE", help="May repeat.")] = None,
    roles: Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help=ROLES)] = None,
    ask: Ask = False,
    from_stdin: FromStdin = False,
    from_file: FromFile = None,
) -> None:
    """Make a user. Without one of the options for a password there is none yet, and nobody logs in with it."""
    password = password_given(f"Password of {email}", ask=ask, stdin=from_stdin, file=from_file)
    users = session.client.users
    _show(session, users.create(email, name=name, password=password, groups=groups or (), roles=roles or ()))


@app.command()
@remote
def change(  # noqa: PLR0913 - the members of a user
    session: Session,
    who: Who,
    *,
    name: Name = None,
    groups: Annotated[
        list[str] | None, typer.Option("--group", metavar="CODE", help="In place of all; may repeat.")
    ] = None,
    no_groups: Annotated[bool, typer.Option("--no-groups", help="Of no group any more.")] = False,
    roles: Annotated[list[str] | None, typer.Option("--role", metavar="ROLE", help=f"In place of all. {ROLES}")] = None,
    no_roles: Annotated[bool, typer.Option("--no-roles", help="No role any more.")] = False,
    ask: Ask = False,
    from_stdin: FromStdin = False,
    from_file: FromFile = None,
) -> None:
    """Change what is given. Another password ends the user's tokens."""
    password = password_given(f"New password of {who}", ask=ask, stdin=from_stdin, file=from_file)
    members = some({
        "name": name, "password": password, "groups": chosen(groups, "--group", none=no_groups),
        "roles": chosen(roles, "--role", none=no_roles),
    })  # fmt: skip
    _show(session, session.client.users.change(who, **members))


@app.command()
@remote
def disable(session: Session, whom: Whom) -> None:
    """Let them in no more; their tokens end, their work and history stay."""
    users = session.client.users
    each(session, whom, "disabling", lambda who: users.change(who, disabled=True), _words)


@app.command()
@remote
def enable(session: Session, whom: Whom) -> None:
    """Let them in again."""
    users = session.client.users
    each(session, whom, "enabling", lambda who: users.change(who, disabled=False), _words)


@app.command()
@remote
def delete(session: Session, whom: Whom, *, yes: Yes = False) -> None:
    """Remove them. Who has open items or permissions is refused: disable instead."""
    sure(f"Delete {', '.join(whom)}?", yes=yes)
    each(session, whom, "deleting", session.client.users.delete, said("is gone"))


@app.command()
@remote
def logout(session: Session, whom: Whom) -> None:
    """End all their tokens."""
    log_out(session, whom, session.client.users.revoke_tokens)


@app.command()
@remote
def tokens(session: Session, who: Who) -> None:
    """List a user's tokens that are still good."""
    show_tokens(session, [*session.client.users.tokens.all(who, limit=200)])


def log_out(session: Session, whom: list[str], revoke: Callable[[str], Revoked]) -> None:
    def end(who: str) -> dict[str, Any]:
        return {"id": who, "revoked": revoke(who).revoked}

    def words(who: str, answer: dict[str, Any]) -> tuple[Any, ...]:
        count = answer["revoked"]
        return plain(who, "bold"), plain(f"{count} token{'s' * (count != 1)} ended")

    each(session, whom, "logging out", end, words)


def chosen(given: list[str] | None, option: str, *, none: bool) -> list[str] | None:
    """A list in place of what is there: None stays as it is, an option of its own says that it is to be empty."""
    if given and none:
        raise typer.BadParameter(f"give {option}, or that there is to be none", param_hint=option)
    return [] if none else given or None


def some(members: dict[str, Any]) -> dict[str, Any]:
    """What was given. Nothing at all is a mistake."""
    found = {name: value for name, value in members.items() if value is not None}
    if not found:
        raise typer.BadParameter("say what is to change (--help)")
    return found


def users_table(found: list[User]) -> Any:
    rows = [
        [
            plain(user.email, "dim" if user.disabled else "bold"), plain(user.name), plain(", ".join(user.groups)),
            plain(", ".join(user.roles or ())), plain("disabled" if user.disabled else "", "yellow"),
        ]
        for user in found
    ]  # fmt: skip
    return table(["user", "name", "groups", "roles", ""], rows)


def _words(_: str, user: User) -> tuple[Any, ...]:
    return plain(user.email, "bold"), plain("disabled" if user.disabled else "enabled")


def _show(session: Session, user: User) -> None:
    session.out.show(user, lambda console: _print(console, user))


def _print(console: Console, user: User) -> None:
    console.print(users_table([user]))
    password = {True: "has a password", False: "has no password", None: ""}[user.password]
    made = f"made {moment(user.created_at)}" if user.created_at else ""
    console.print(plain("  ".join(each for each in (f"id {user.id}", made, password) if each), "dim"))
