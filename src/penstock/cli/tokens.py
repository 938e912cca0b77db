"""`penstock token`: one's own tokens, such as a script shows in place of a password; and how tokens are listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Write, Yes, new_file, sure
from penstock.cli.each import each, said
from penstock.cli.output import moment, plain, table
from penstock.cli.remote import Session, instant, remote

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import HeldToken

app = typer.Typer(help="Your own tokens.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="token", rich_help_panel="People")


@app.command("list")
@remote
def list_tokens(session: Session) -> None:
    """List yours that are still good: logins, sessions, and those with a name."""
    show_tokens(session, [*session.client.tokens.list.all(limit=200)])


@app.command()
@remote
def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    days: Annotated[int | None, typer.Option("--days", min=1, help="How long it is good; else 90.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="The same, as a time.")] = None,
    write: Write = None,
) -> None:
    """Make a token that acts for you. It is shown once; --write makes a credentials.json of it."""
    if days is not None and until is not None:
        raise typer.BadParameter("give one of --days and --until")
    ends = instant(until, "--until")
    with new_file(write) as keep:
        made = session.client.tokens.create(name, days=days, expires_at=ends)
        keep(_credentials(session, made))
    _show_once(session, made, write)


@app.command()
@remote
def revoke(
    session: Session,
    ids: Annotated[list[str], typer.Argument(metavar="ID…", help="Tokens (penstock token list).")],
    *,
    yes: Yes = False,
) -> None:
    """End tokens of yours now."""
    sure(f"End {', '.join(ids)}?", yes=yes)
    each(session, ids, "ending", session.client.tokens.delete, said("is ended"))


def show_tokens(session: Session, found: list[HeldToken]) -> None:
    session.out.show({"items": found}, lambda console: console.print(_table(found)))


def _credentials(session: Session, made: HeldToken) -> dict[str, Any]:
    """What a client reads. An answer that came a second time, after a broken connection, has no token."""
    from penstock.client import UnexpectedAnswer  # noqa: PLC0415

    if made.token is None:
        raise UnexpectedAnswer(f"the token was lost on the way: penstock token revoke {made.id}, and make another")
    return {"url": session.client.credentials.url, "token": made.token}


def _show_once(session: Session, made: HeldToken, write: Any) -> None:
    import msgspec  # noqa: PLC0415

    if write is not None:
        made = msgspec.structs.replace(made, token=None)
    session.out.show(made, lambda console: _print_once(console, made))
    session.out.note(
        "The token is shown this once: keep it." if write is None else f"The token is in {write}, and nowhere else."
    )


def _print_once(console: Console, made: HeldToken) -> None:
    console.print(_table([made]))
    if made.token is not None:
        console.print(plain("token", "dim"), plain(made.token, "bold"), soft_wrap=True)


def _table(found: list[HeldToken]) -> Any:
    rows = [
        [
            plain(token.id, "bold"),
            plain(token.name),
            plain(token.kind),
            moment(token.created_at),
            moment(token.expires_at),
        ]
        for token in found
    ]
    return table(["token", "name", "kind", "made", "good until"], rows)
