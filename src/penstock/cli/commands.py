"""Commands to processes that run: what an operator does to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.each import each
from penstock.cli.output import plain, state, table
from penstock.cli.remote import Session, json_value, pairs, remote

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import Migration, Process

Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Processes.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="A process.")]
Node = Annotated[str | None, typer.Argument(metavar="[NODE]", help="A node's code; or --visit.")]
VisitNumber = Annotated[int | None, typer.Option("--visit", metavar="N", help="The number of a visit (penstock show).")]
Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Kept in the history.")]
Payload = Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="What it carries; @- is stdin.")]
Input = Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="What the node is to begin with; @- is stdin.")]
Result = Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="The result that is given; @- is stdin.")]

PANEL = "Commands to processes"


def register(app: typer.Typer) -> None:
    for name, command in {
        "retry": retry, "debug": debug, "skip": skip, "restart": restart, "signal": signal, "suspend": suspend,
        "resume": resume, "cancel": cancel, "terminate": terminate, "complete": complete,
        "migrate-process": migrate_process,
    }.items():  # fmt: skip
        app.command(name, rich_help_panel=PANEL)(command)


@remote
def retry(session: Session, ids: Ids) -> None:
    """Try every open incident again, in place; nothing that has ended runs again."""
    _each(session, ids, "retrying", session.client.processes.retry)


@remote
def suspend(session: Session, ids: Ids) -> None:
    """Hand out no more jobs; answers, messages and timers are kept."""
    _each(session, ids, "suspending", session.client.processes.suspend)


@remote
def resume(session: Session, ids: Ids) -> None:
    """Go on after a suspension."""
    _each(session, ids, "resuming", session.client.processes.resume)


@remote
def cancel(session: Session, ids: Ids, *, reason: Reason = None) -> None:
    """End processes now and withdraw what is open."""
    _each(session, ids, "cancelling", lambda id: session.client.processes.cancel(id, reason))


@remote
def terminate(session: Session, ids: Ids, *, reason: Reason = None) -> None:
    """Tell running jobs to stop, then end."""
    _each(session, ids, "terminating", lambda id: session.client.processes.terminate(id, reason))


@remote
def debug(
    session: Session,
    id: Id,
    node: Node = None,
    *,
    visit: VisitNumber = None,
    input: Input = None,
    output: Result = None,
) -> None:
    """Give a node its input, or its result, by hand."""
    if (input is None) == (output is None):
        raise typer.BadParameter("give one of --input and --output")
    given = {"output": json_value(output, "--output")} if input is None else {"input": json_value(input, "--input")}
    place = _place(node, visit)
    _one(session, session.client.processes.debug(id, place, **given))


@remote
def skip(session: Session, id: Id, node: Node = None, *, visit: VisitNumber = None, output: Result = None) -> None:
    """End a visit with a given output, and go on."""
    place, result = _place(node, visit), json_value(output, "--output")
    _one(session, session.client.processes.skip(id, place, result))


@remote
def restart(
    session: Session,
    id: Id,
    node: Annotated[str, typer.Argument(help="The node to go on from.")],
    *,
    scope: Annotated[
        int | None, typer.Option("--scope", metavar="N", help="Its number, where the node has several.")
    ] = None,
) -> None:
    """Go on from a node: what is at it or after it is withdrawn, older visits stay in history."""
    _one(session, session.client.processes.restart(id, node, scope=scope))


@remote
def complete(session: Session, id: Id, *, output: Result = None) -> None:
    """End a process that a client or code drives."""
    result = json_value(output, "--output")
    _one(session, session.client.processes.complete(id, result))


@remote
def signal(
    session: Session,
    id: Id,
    name: Annotated[str, typer.Argument()],
    *,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Correlation key, of a message.")] = None,
    payload: Payload = None,
) -> None:
    """Send a signal to one process."""
    content = json_value(payload, "--payload")
    answer = session.client.processes.signal(id, name, key=key, payload=content)
    session.out.show(answer, lambda console: console.print(plain(f"delivered to {answer.delivered}")))


@remote
def migrate_process(
    session: Session,
    id: Id,
    version: Annotated[int, typer.Argument(help="The version to move to.")],
    *,
    mapping: Annotated[list[str] | None, typer.Option("--map", metavar="OLD=NEW", help="May repeat.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
) -> None:
    """Move a running process to another version; refused with the list of places that have no counterpart."""
    nodes = pairs(mapping, "--map")
    answer = session.client.processes.migrate(id, version, mapping=nodes or None, dry_run=dry_run)
    session.out.show(answer, lambda console: _print_migration(console, answer))
    if answer.problems:
        raise typer.Exit(1)


def _place(node: str | None, visit: int | None) -> int | str:
    if node is not None and visit is None:
        return node
    if visit is not None and node is None:
        return visit
    raise typer.BadParameter("give a node's code or --visit")


def _one(session: Session, process: Process) -> None:
    session.out.show(process, lambda console: console.print(plain(process.id), state(process.status)))


def _each(session: Session, ids: list[str], label: str, command: Callable[[str], Process]) -> None:
    each(session, ids, label, command, lambda _, process: (plain(process.id), state(process.status)))


def _print_migration(console: Console, answer: Migration) -> None:
    for problem in answer.problems:
        console.print(plain("cannot move:", "bold red"), plain(problem))
    if answer.moves:
        rows = [[plain(move.visit), plain(move.node), plain(move.to)] for move in answer.moves]
        console.print(table(["visit", "from", "to"], rows))
    if answer.process:
        console.print(
            plain(answer.process.id), plain(f"version {answer.process.version}"), state(answer.process.status)
        )
