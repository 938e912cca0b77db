"""Values of processes and definitions, messages and signals, and who one is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import brief, plain, table
from penstock.cli.remote import Session, json_value, remote

if TYPE_CHECKING:
    from penstock.client import Sync, Values

Owner = Annotated[str, typer.Argument(metavar="ID", help="A process; with --definition a definition's code.")]
OfDefinition = Annotated[bool, typer.Option("--definition", help="The values of a definition.")]
Key = Annotated[str, typer.Argument()]

values_app = typer.Typer(help="Keys, values and counters.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(values_app, name="values", rich_help_panel="Values and messages")
    app.command(rich_help_panel="Values and messages")(message)
    app.command(rich_help_panel="Values and messages")(broadcast)
    app.command(rich_help_panel="People")(whoami)


def _of(session: Session, owner: str, *, definition: bool) -> Values[Sync]:
    client = session.client
    return client.definitions.values(owner) if definition else client.processes.values(owner)


@values_app.command("list")
@remote
def list_values(session: Session, owner: Owner, *, definition: OfDefinition = False) -> None:
    """List them all."""
    found = [*_of(session, owner, definition=definition).list.all()]
    rows = [[plain(each.key), plain(brief(each.value))] for each in found]
    session.out.show({"items": found}, lambda console: console.print(table(["key", "value"], rows)))


@values_app.command()
@remote
def get(session: Session, owner: Owner, key: Key, *, definition: OfDefinition = False) -> None:
    """Print one, as JSON."""
    _print(session, _of(session, owner, definition=definition).get(key))


@values_app.command()
@remote
def put(
    session: Session,
    owner: Owner,
    key: Key,
    value: Annotated[str, typer.Argument(metavar="JSON|@FILE")],
    *,
    definition: OfDefinition = False,
) -> None:
    """Set one."""
    content = json_value(value, "value")
    _print(session, _of(session, owner, definition=definition).put(key, content))


@values_app.command()
@remote
def increment(session: Session, owner: Owner, key: Key, *, definition: OfDefinition = False) -> None:
    """Add one to a counter."""
    _print(session, _of(session, owner, definition=definition).increment(key))


@values_app.command()
@remote
def delete(session: Session, owner: Owner, key: Key, *, definition: OfDefinition = False) -> None:
    """Remove one."""
    _of(session, owner, definition=definition).delete(key)
    session.out.show({"key": key, "deleted": True}, lambda console: console.print(plain(f"{key} is gone")))


@remote
def message(
    session: Session,
    name: Annotated[str, typer.Argument()],
    *,
    key: Annotated[str | None, typer.Option("--key", help="Correlation key.")] = None,
    payload: Annotated[str | None, typer.Option("--payload", metavar="JSON|@FILE")] = None,
    id: Annotated[str | None, typer.Option("--id", help="The same id is taken once.")] = None,
    ttl: Annotated[float | None, typer.Option("--ttl", help="Seconds it is kept for a waiter.")] = None,
) -> None:
    """Send a message to one waiter, now or later."""
    content = json_value(payload, "--payload")
    answer = session.client.message(name, key=key, payload=content, id=id, ttl=ttl)
    text = "known already" if answer.duplicate else "accepted"
    session.out.show(answer, lambda console: console.print(plain(f"message {answer.id}: {text}")))


@remote
def broadcast(
    session: Session,
    name: Annotated[str, typer.Argument()],
    *,
    payload: Annotated[str | None, typer.Option("--payload", metavar="JSON|@FILE")] = None,
) -> None:
    """Send a signal to everyone who waits for it now."""
    content = json_value(payload, "--payload")
    answer = session.client.broadcast(name, content)
    session.out.show(answer, lambda console: console.print(plain(f"delivered to {answer.delivered}")))


@remote
def whoami(session: Session) -> None:
    """Print who you are in a line (`me` tells more)."""
    me, url = session.client.me(), session.client.credentials.url
    text = f"{me.principal} of tenant {me.tenant.code or me.tenant.id} at {url}"
    more = ", ".join([*me.roles, *me.groups])
    session.out.show(me, lambda console: console.print(plain(f"{text} ({more})" if more else text)))


def _print(session: Session, value: Any) -> None:
    session.out.show(value, lambda _: session.out.json(value.value))
