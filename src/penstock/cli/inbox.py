"""What waits for people: list it, claim it, complete it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import brief, moment, plain, state, table, text_of
from penstock.cli.remote import Session, json_value, remote

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import Item

Id = Annotated[str, typer.Argument(metavar="ITEM")]

To = Annotated[str, typer.Argument(metavar="TO", help="user:EMAIL, app:ID, or group:CODE where a group may have it.")]

OPEN = ("READY", "CLAIMED")


inbox_app = typer.Typer(help="What waits for people.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    app.add_typer(inbox_app, name="inbox", rich_help_panel="People")


@inbox_app.callback()
@remote
def listing(
    session: Session,
    ctx: typer.Context,
    *,
    state: Annotated[
        list[str] | None, typer.Option("--state", metavar="STATE", help="May repeat; else the open ones.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--all", help="Not only mine and my groups'.")] = False,
    process: Annotated[str | None, typer.Option("--process", metavar="ID", help="Of this process.")] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="CODE", help="Of this task of a definition.")] = None,
    definition: Annotated[str | None, typer.Option("--definition", metavar="CODE", help="Of this definition.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="How many at most.")] = 50,
) -> None:
    """List what waits for people: mine and what I may claim."""
    if ctx.invoked_subcommand:
        return
    page = session.client.items.list(
        state=state or OPEN, mine=None if everyone else True, process=process, task=task, definition=definition,
        limit=limit,
    )  # fmt: skip
    session.out.show(page, lambda console: _print_items(console, page.items))
    if page.next:
        session.out.note(f"only the first {limit}; there are more (--limit)")


@inbox_app.command()
@remote
def show(session: Session, item: Id) -> None:
    """Show one, with its data and the schema of its output."""
    _show(session, session.client.items.get(item))


@inbox_app.command()
@remote
def claim(session: Session, item: Id) -> None:
    """Make one mine."""
    _show(session, session.client.items.claim(item))


@inbox_app.command()
@remote
def unclaim(session: Session, item: Id) -> None:
    """Give one back: to who delegated it, else to its candidates."""
    _show(session, session.client.items.unclaim(item))


@inbox_app.command()
@remote
def assign(session: Session, item: Id, to: To) -> None:
    """Give one to somebody, or to a group (for managers)."""
    _show(session, session.client.items.assign(item, to))


@inbox_app.command()
@remote
def delegate(session: Session, item: Id, to: To, *, note: Annotated[str | None, typer.Option("--note")] = None) -> None:
    """Hand one of mine on; it comes back."""
    _show(session, session.client.items.delegate(item, to, note))


@inbox_app.command()
@remote
def acknowledge(session: Session, item: Id) -> None:
    """Say that a message has been read."""
    _show(session, session.client.items.acknowledge(item))


@inbox_app.command()
@remote
def draft(
    session: Session, item: Id, *, data: Annotated[str | None, typer.Option("--data", metavar="JSON|@FILE")] = None
) -> None:
    """Save what is unfinished of one of mine; without --data show what is saved."""
    if data is None:
        found = session.client.items.draft(item)
    else:
        found = session.client.items.save_draft(item, json_value(data, "--data"))
    session.out.show(
        found, lambda console: console.print(plain(f"saved {moment(found.saved_at)}:"), brief(found.data, 2_000))
    )


@inbox_app.command()
@remote
def complete(
    session: Session,
    item: Id,
    *,
    output: Annotated[str | None, typer.Option("--output", metavar="JSON|@FILE")] = None,
) -> None:
    """Finish one."""
    result = json_value(output, "--output", absent={})
    _show(session, session.client.items.complete(item, result))


def _show(session: Session, item: Item) -> None:
    session.out.show(item, lambda console: _print_item(console, item))


def _print_items(console: Console, items: list[Item]) -> None:
    rows = [
        [
            plain(each.id), plain(text_of(each.name) or each.task, "bold"), state(each.state), plain(each.owner),
            plain(f"{each.definition} {each.process}"), moment(each.due_at), moment(each.created_at),
        ]
        for each in items
    ]  # fmt: skip
    console.print(table(["item", "what", "state", "owner", "process", "due", "since"], rows))


def _print_item(console: Console, item: Item) -> None:
    _print_items(console, [item])
    parts = {"description": text_of(item.description), "data": item.data, "schema": item.schema, "output": item.output}
    for name, value in parts.items():
        if value:
            console.print(plain(f"{name}:", "dim"), plain(value if isinstance(value, str) else brief(value, 2_000)))
