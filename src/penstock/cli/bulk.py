"""`penstock bulk`: one command to many processes, with a dry run first where it is asked for."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Yes, sure
from penstock.cli.output import console, moment, plain, state, table
from penstock.cli.remote import Session, instant, json_value, pairs, remote

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client import Client
    from penstock.client.models import Bulk, BulkResult

PANEL = "Commands to processes"
RUNNING = "RUNNING"
ENDING = ("delete", "cancel", "terminate")
"""What cannot be taken back is asked first, at a terminal."""
SHOWN = 20
"""Results that are printed to a person."""


def register(app: typer.Typer) -> None:
    for command in (bulk, bulks):
        app.command(rich_help_panel=PANEL)(command)


@remote
def bulk(  # noqa: PLR0913 - the filters of the call
    session: Session,
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND", help="cancel, terminate, suspend, resume, retry, skip, signal, migrate or delete."
        ),
    ],
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID…]", help="Processes; else those of the options.")
    ] = None,
    *,
    definition: Annotated[str | None, typer.Option("--definition", metavar="CODE", help="Of this definition.")] = None,
    version: Annotated[int | None, typer.Option("--version", metavar="N", help="The one the processes are of.")] = None,
    status: Annotated[
        list[str] | None, typer.Option("--status", metavar="STATUS", help="RUNNING, FAILED, COMPLETED, …; may repeat.")
    ] = None,
    created_from: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Created at or after.")] = None,
    created_to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Created before.")] = None,
    created_by: Annotated[
        str | None, typer.Option("--by", metavar="PRINCIPAL", help="Started by user:EMAIL or app:ID.")
    ] = None,
    search: Annotated[
        list[str] | None, typer.Option("--search", metavar="PATH=VALUE", help="As metadata.customer=ACME; may repeat.")
    ] = None,
    arguments: Annotated[
        str | None,
        typer.Option("--arguments", metavar="JSON|@FILE", help='As {"version": 2, "mapping": {"a": "b"}} to migrate.'),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; tell what would be.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Until it has ended.")] = True,
    yes: Yes = False,
) -> None:
    """Apply a command to many processes; exit code 1 when it failed for any.

    At a terminal delete, cancel and terminate count the processes by a dry run and ask. Without a terminal delete takes
    --yes, and the others go on.
    """
    wanted: dict[str, Any] = {
        "definition": definition, "version": version, "status": [each.upper() for each in status or []],
        "created_from": _text(created_from, "--from"), "created_to": _text(created_to, "--to"),
        "created_by": created_by, "search": pairs(search, "--search"),
    }  # fmt: skip
    filter = {name: value for name, value in wanted.items() if value}
    if bool(ids) == bool(filter):
        raise typer.BadParameter("name processes, or give options that choose them", param_hint="ID…")
    given = json_value(arguments, "--arguments", absent={})
    if command in ENDING and not dry_run and not yes:
        _ask(session, command, filter or None, ids)
    made = session.client.bulk.begin(command, filter=filter or None, ids=ids, arguments=given, dry_run=dry_run)
    if wait:
        made = _waited(session, made)
    results = session.client.bulk.results(made.id, limit=200).items if wait else []
    session.out.show({"bulk": made, "results": results}, lambda console: _print(console, made, results))
    if made.failed or made.state in ("FAILED", "CANCELLED"):
        raise typer.Exit(1)


@remote
def bulks(
    session: Session,
    id: Annotated[str | None, typer.Argument(metavar="[ID]", help="One, with what came of its processes.")] = None,
    *,
    cancel: Annotated[bool, typer.Option("--cancel", help="Stop it; what is done stays done.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="How many at most.")] = 20,
) -> None:
    """List bulk operations, look at one, or stop it."""
    if id is None:
        if cancel:
            raise typer.BadParameter("name the bulk operation", param_hint="ID")
        page = session.client.bulk.list(limit=limit)
        session.out.show(page, lambda console: console.print(_table(page.items)))
        return
    client: Client = session.client
    found = client.bulk.cancel(id) if cancel else client.bulk.get(id)
    results = client.bulk.results(id, limit=200).items
    session.out.show({"bulk": found, "results": results}, lambda console: _print(console, found, results))


def _ask(session: Session, command: str, filter: dict[str, Any] | None, ids: list[str] | None) -> None:
    """Ends the command unless somebody says yes, who is told how many there are."""
    if not sys.stdin.isatty():
        if command == "delete":
            sure("", yes=False)
        return
    tried = _waited(session, session.client.bulk.begin(command, filter=filter, ids=ids, arguments={}, dry_run=True))
    others = [f"{tried.failed} would be refused"] if tried.failed else []
    others += [f"{tried.skipped} would be left out"] if tried.skipped else []
    about = f" ({', '.join(others)})" if others else ""
    if not tried.done:
        session.out.note(f"there is no process to {command}{about}")
        raise typer.Exit(1 if tried.failed else 0)
    sure(f"{command.capitalize()} {tried.done} process{'es' * (tried.done != 1)}{about}?", yes=False)


def _text(given: str | None, option: str) -> str | None:
    at = instant(given, option)
    return None if at is None else at.isoformat()


def _waited(session: Session, made: Bulk) -> Bulk:
    """Until it has ended, with a bar on a terminal."""
    if session.out.as_json or not sys.stderr.isatty():
        return _followed(session, made, lambda _: None)
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task(made.command, total=made.total)
        return _followed(session, made, lambda now: bar.update(task, total=now.total, completed=_dealt(now)))


def _followed(session: Session, made: Bulk, tell: Any) -> Bulk:
    pause = 0.05
    while made.state == RUNNING:
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
        made = session.client.bulk.get(made.id)
        tell(made)
    return made


def _dealt(made: Bulk) -> int:
    return made.done + made.failed + made.skipped


def _print(console: Console, made: Bulk, results: list[BulkResult]) -> None:
    console.print(_table([made]))
    if made.message:
        console.print(plain(made.message, "bold red"))
    rows = [
        [
            plain(each.process), state(each.outcome),
            plain(each.detail or ", ".join(f"{move.node} → {move.to}" for move in each.moves)),
            plain("; ".join(f"{problem.pointer} {problem.message}" for problem in each.problems)),
        ]
        for each in results[:SHOWN]
    ]  # fmt: skip
    if rows:
        console.print(table(["process", "outcome", "", "problems"], rows))
    if len(results) > SHOWN:
        console.print(plain(f"and more: penstock bulks {made.id} --json"))


def _table(found: list[Bulk]) -> Any:
    rows = [
        [
            plain(each.id), plain(f"{each.command}{' (dry run)' if each.dry_run else ''}"), state(each.state),
            plain(_counts(each), "bold red" if each.failed else ""), moment(each.created_at),
        ]
        for each in found
    ]  # fmt: skip
    return table(["bulk", "command", "state", "processes", "began"], rows)


def _counts(found: Bulk) -> str:
    """As "7 of 9, 1 failed"."""
    parts = [f"{found.done} of {found.total}" if found.total is not None else str(found.done)]
    parts += [f"{found.failed} failed"] if found.failed else []
    parts += [f"{found.skipped} skipped"] if found.skipped else []
    return ", ".join(parts)
