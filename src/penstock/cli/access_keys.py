"""`penstock application keys`: access keys (AK and SK) of an application, for requests that are signed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Write, Yes, new_file, sure
from penstock.cli.each import each, said
from penstock.cli.output import moment, plain, table
from penstock.cli.remote import Session, remote

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import AccessKey

Id = Annotated[str, typer.Argument(metavar="APPLICATION")]
Keys = Annotated[list[str], typer.Argument(metavar="AK…", help="Access keys.")]

app = typer.Typer(help="Access keys, for requests that are signed.", no_args_is_help=True)


@app.command("list")
@remote
def list_keys(session: Session, application: Id) -> None:
    """List an application's; never what they sign with."""
    found = [*session.client.applications.access_keys.all(application, limit=200)]
    session.out.show({"items": found}, lambda console: console.print(_table(found)))


@app.command()
@remote
def create(
    session: Session,
    application: Id,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    *,
    write: Write = None,
) -> None:
    """Make one. Its secret half (SK) is shown once."""
    import msgspec  # noqa: PLC0415

    with new_file(write) as keep:
        made = session.client.applications.create_access_key(application, name)
        keep(_pair(session, made))
    if write is not None:
        made = msgspec.structs.replace(made, sk=None)
    session.out.show(made, lambda console: _print_once(console, made))
    session.out.note(
        "The SK is shown this once: keep it." if write is None else f"The SK is in {write}, and nowhere else."
    )


@app.command()
@remote
def rename(session: Session, application: Id, key: Annotated[str, typer.Argument(metavar="AK")], name: str) -> None:
    """Give one another name."""
    changed = session.client.applications.change_access_key(application, key, name=name)
    session.out.show(changed, lambda console: console.print(_table([changed])))


@app.command()
@remote
def disable(session: Session, application: Id, keys: Keys) -> None:
    """Take no more requests that they sign."""
    _switch(session, application, keys, disabled=True)


@app.command()
@remote
def enable(session: Session, application: Id, keys: Keys) -> None:
    """Take them again."""
    _switch(session, application, keys, disabled=False)


@app.command()
@remote
def delete(session: Session, application: Id, keys: Keys, *, yes: Yes = False) -> None:
    """Remove them."""
    sure(f"Delete {', '.join(keys)}?", yes=yes)
    applications = session.client.applications
    each(session, keys, "deleting", lambda key: applications.delete_access_key(application, key), said("is gone"))


def _switch(session: Session, application: str, keys: list[str], *, disabled: bool) -> None:
    change = session.client.applications.change_access_key
    word = "disabled" if disabled else "enabled"
    each(session, keys, word, lambda key: change(application, key, disabled=disabled), said(word))


def _pair(session: Session, made: AccessKey) -> dict[str, Any]:
    """An answer that came a second time, after a broken connection, has no secret half."""
    from penstock.client import UnexpectedAnswer  # noqa: PLC0415

    if made.sk is None:
        raise UnexpectedAnswer(
            f"{made.ak} is made, but its secret half was lost on the way: delete it, and make another"
        )
    return {"url": session.client.credentials.url, "ak": made.ak, "sk": made.sk}


def _print_once(console: Console, made: AccessKey) -> None:
    console.print(_table([made]))
    if made.sk is not None:
        console.print(plain("SK", "dim"), plain(made.sk, "bold"), soft_wrap=True)


def _table(found: list[AccessKey]) -> Any:
    rows = [
        [
            plain(key.ak, "dim" if key.disabled else "bold"), plain(key.name), moment(key.created_at),
            plain("disabled" if key.disabled else "", "yellow"),
        ]
        for key in found
    ]  # fmt: skip
    return table(["access key", "name", "made", ""], rows)
