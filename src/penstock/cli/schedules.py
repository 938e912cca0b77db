"""Schedules: what the clock starts; and secrets, which are set and never shown."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import brief, moment, plain, table
from penstock.cli.remote import Session, json_value, remote

if TYPE_CHECKING:
    from penstock.client.objects import Schedule

Id = Annotated[str, typer.Argument(metavar="ID")]
Name = Annotated[str, typer.Argument(metavar="NAME")]

schedule_app = typer.Typer(help="Processes that the clock starts.", no_args_is_help=True)
secret_app = typer.Typer(help="Secrets that definitions name and nobody reads.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(schedule_app, name="schedule", rich_help_panel="Processes")
    app.add_typer(secret_app, name="secret", rich_help_panel="Definitions")


@schedule_app.command("list")
@remote
def list_schedules(
    session: Session,
    *,
    definition: Annotated[str | None, typer.Option("--definition")] = None,
    state: Annotated[list[str] | None, typer.Option("--state", help="ACTIVE, PAUSED, ENDED; may repeat.")] = None,
) -> None:
    """List them all, by id."""
    found = [*session.client.schedules.list.all(definition=definition, state=state or None)]
    rows = [
        [plain(e.id), plain(e.definition), plain(_rule(e)), plain(e.state), moment(e.next), plain(e.last_error or "")]
        for e in found
    ]
    columns = ["id", "definition", "when", "state", "next", "last error"]
    session.out.show({"items": found}, lambda console: console.print(table(columns, rows)))


@schedule_app.command()
@remote
def add(  # noqa: PLR0913 - the members of a schedule
    session: Session,
    definition: Annotated[str, typer.Argument(metavar="CODE", help="What is started.")],
    *,
    cron: Annotated[str | None, typer.Option("--cron", help="Five fields, or @hourly and the like.")] = None,
    every: Annotated[str | None, typer.Option("--every", help="A period, such as PT15M.")] = None,
    timezone: Annotated[str | None, typer.Option("--timezone", help="Of the IANA table; else UTC.")] = None,
    id: Annotated[str | None, typer.Option("--id", help="Else one is made.")] = None,
    input: Annotated[str | None, typer.Option("--input", metavar="JSON|@FILE")] = None,
    overlap: Annotated[str | None, typer.Option("--overlap", help="allow or skip.")] = None,
    catch_up: Annotated[str | None, typer.Option("--catch-up", help="none, last or all.")] = None,
) -> None:
    """Have processes of a definition started by the clock."""
    if (cron is None) == (every is None):
        raise typer.BadParameter("give one of --cron and --every")
    made = session.client.schedules.create(
        definition, id=id, cron=cron, every=every, timezone=timezone, input=json_value(input, "--input"),
        overlap=overlap, catch_up=catch_up,
    )  # fmt: skip
    _show(session, made)


@schedule_app.command()
@remote
def show(session: Session, id: Id) -> None:
    """Show one: what it starts, when, and what came of it."""
    found = session.client.schedules.get(id)
    session.out.show(found, lambda console: _print(console, found))


@schedule_app.command()
@remote
def run(session: Session, id: Id) -> None:
    """Start its process now, whatever its times are."""
    made = session.client.schedules.run(id)
    session.out.show(made, lambda console: console.print(plain(made.process, "bold"), plain("is started")))


@schedule_app.command()
@remote
def pause(session: Session, id: Id) -> None:
    """Start nothing until it is resumed."""
    _show(session, session.client.schedules.pause(id))


@schedule_app.command()
@remote
def resume(session: Session, id: Id) -> None:
    """Go on from now."""
    _show(session, session.client.schedules.resume(id))


@schedule_app.command()
@remote
def remove(session: Session, id: Id) -> None:
    """Remove it; what it has started goes on."""
    session.client.schedules.delete(id)
    session.out.show({"id": id, "deleted": True}, lambda console: console.print(plain(f"{id} is gone")))


@schedule_app.command("next")
@remote
def coming(session: Session, id: Id, *, count: Annotated[int, typer.Option("--count", min=1, max=100)] = 10) -> None:
    """Print the coming times."""
    found = session.client.schedules.next(id, count)

    def show(console: Any) -> None:
        for each in found.times:
            console.print(moment(each))

    session.out.show(found, show)


@secret_app.command("list")
@remote
def list_secrets(session: Session) -> None:
    """List their names."""
    found = [*session.client.secrets.list.all()]
    rows = [[plain(e.name), plain(e.revision), moment(e.modified_at), plain(e.modified_by)] for e in found]
    columns = ["name", "revision", "changed", "by"]
    session.out.show({"items": found}, lambda console: console.print(table(columns, rows)))


@secret_app.command("set")
@remote
def set_secret(session: Session, name: Name) -> None:
    """Store one. Its value is asked for, or read from stdin: an argument would stand in the shell's history."""
    if sys.stdin.isatty():
        value = typer.prompt(f"Value of {name}", hide_input=True, err=True)
    else:
        value = sys.stdin.read().removesuffix("\n")
    made = session.client.secrets.put(name, value)
    session.out.show(made, lambda console: console.print(plain(f"{made.name}: revision {made.revision}")))


@secret_app.command("remove")
@remote
def remove_secret(session: Session, name: Name) -> None:
    """Remove one; jobs that name it fail."""
    session.client.secrets.delete(name)
    session.out.show({"name": name, "deleted": True}, lambda console: console.print(plain(f"{name} is gone")))


def _show(session: Session, made: Schedule) -> None:
    session.out.show(made, lambda console: console.print(plain(made.id, "bold"), plain(made.state), moment(made.next)))


def _print(console: Any, found: Schedule) -> None:
    console.print(plain(found.id, "bold"), plain(found.definition), plain(found.state))
    version = "" if found.version is None else str(found.version)
    lines = {
        "when": _rule(found), "version": version, "input": "" if found.input is None else brief(found.input, 400),
        "from": moment(found.start), "until": moment(found.end), "jitter": found.jitter, "overlap": found.overlap,
        "missed": f"catch up {found.catch_up}", "next": moment(found.next), "last": moment(found.last_due),
        "process": found.last_process, "failures": str(found.failures or ""), "skipped": str(found.skipped or ""),
        "error": found.last_error, "made": f"{moment(found.created_at)} by {found.created_by}",
    }  # fmt: skip
    for name, value in lines.items():
        if value:
            console.print(plain(f"{name:9}", "dim"), plain(value, "red" if name == "error" else ""))


def _rule(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.timezone}" if schedule.cron else f"every {schedule.every}"
