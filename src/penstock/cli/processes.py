"""Start processes, list them, look at one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.output import brief, moment, near, plain, state, table
from penstock.cli.remote import Session, instant, json_value, pairs, remote
from penstock.cli.timeline import print_history, print_process

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from penstock.client import Client
    from penstock.client.models import Process

Id = Annotated[str, typer.Argument(metavar="ID", help="A process.")]

ENDED = frozenset({"COMPLETED", "CANCELLED", "TERMINATED"})
PANEL = "Processes"
WIDE = 120
"""Columns of a terminal that has room for whole dates, and when a process has ended."""
TIMED_OUT = 3
"""Exit code of a wait that ended before the process did."""


def register(app: typer.Typer) -> None:
    for command in (start, ps, show, history):
        app.command(rich_help_panel=PANEL)(command)


@remote
def start(  # noqa: PLR0913 - the members of a start
    session: Session,
    code: Annotated[str, typer.Argument(metavar="DEFINITION", help="Its code.")],
    *,
    input: Annotated[str | None, typer.Option(metavar="JSON|@FILE", help="What it begins with; @- is stdin.")] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="What lists can search it by (ps --search).")
    ] = None,
    entity: Annotated[
        str | None, typer.Option(metavar="JSON|@FILE", help="The thing of yours it is about, beside its input.")
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", metavar="UUID", help="A UUID of your own: the same twice starts once.")
    ] = None,
    version: Annotated[int | None, typer.Option("--version", metavar="N", help="Else the one that is active.")] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Until it ends (0 when COMPLETED) or has an incident (1).")
    ] = False,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="How long to wait at most; then exit code 3.")
    ] = 3600,
) -> None:
    """Start a process."""
    given, about, of = json_value(input, "--input"), json_value(metadata, "--metadata"), json_value(entity, "--entity")
    process = session.client.processes.start(code, given, version=version, id=id, metadata=about, entity=of)
    if wait:
        with session.out.working(f"{process.id} is running"):
            process = _waited(session.client, process, timeout)
    session.out.show(process, lambda console: _print_started(console, process))
    if wait and not _stands(process):
        text = f"{process.id} is still {process.status} after {timeout:g} s and goes on (penstock show {process.id})"
        typer.echo(f"penstock: {text}", err=True)
        raise typer.Exit(TIMED_OUT)
    if wait and process.status != "COMPLETED":
        typer.echo(f"penstock: {process.id} is {process.status} (penstock show {process.id})", err=True)
        raise typer.Exit(1)


def _waited(client: Client, process: Process, timeout: float) -> Process:
    until, pause = time.monotonic() + timeout, 0.05
    while not _stands(process) and time.monotonic() < until:
        time.sleep(pause)
        pause = min(1.0, pause * 1.5)
        process = client.processes.get(process.id)
    return process


def _stands(process: Process) -> bool:
    """Whether it does not go on by itself: it has ended, or has an incident."""
    return process.status in ENDED or process.status == "FAILED"


def _print_started(console: Console, process: Process) -> None:
    console.print(plain(process.id, "bold"), plain(f"{process.definition} {process.version}"), state(process.status))
    if process.output is not None:
        console.print(plain(brief(process.output, 4_000)))


@remote
def ps(  # noqa: PLR0913 - the filters of the call
    session: Session,
    *,
    status: Annotated[list[str] | None, typer.Option("--status", help="May repeat.")] = None,
    definition: Annotated[str | None, typer.Option("--definition", metavar="CODE", help="Of this definition.")] = None,
    version: Annotated[int | None, typer.Option("--version", metavar="N", help="Of this version.")] = None,
    created_from: Annotated[str | None, typer.Option("--from", metavar="TIME", help="Created at or after.")] = None,
    created_to: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Created before.")] = None,
    created_by: Annotated[
        str | None, typer.Option("--by", metavar="PRINCIPAL", help="Started by user:EMAIL or app:ID.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(
            "--search", metavar="PATH=VALUE", help="As metadata.customer=ACME or input.amount[from]=5; may repeat."
        ),
    ] = None,
    ended_from: Annotated[str | None, typer.Option("--ended-from", metavar="TIME", help="Ended at or after.")] = None,
    ended_to: Annotated[str | None, typer.Option("--ended-to", metavar="TIME", help="Ended before.")] = None,
    parent: Annotated[str | None, typer.Option("--parent", metavar="ID", help="Called by this process.")] = None,
    incidents: Annotated[bool | None, typer.Option("--incidents/--no-incidents", help="With or without any.")] = None,
    words: Annotated[
        str | None, typer.Option("--words", "-q", metavar="WORDS", help="Beginnings of words in searchable values.")
    ] = None,
    sort: Annotated[str | None, typer.Option("--sort", metavar="BY", help="created, ended or modified.")] = None,
    order: Annotated[str | None, typer.Option("--order", metavar="ORDER", help="newest or oldest.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=200, help="How many at most.")] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="CURSOR", help="From the `next` of the list before.")
    ] = None,
) -> None:
    """List processes."""
    after, before = instant(created_from, "--from"), instant(created_to, "--to")
    states, wanted = [each.upper() for each in status or []], pairs(search, "--search")
    page = session.client.processes.list(
        status=states, definition=definition, version=version, created_from=after, created_to=before,
        created_by=created_by, ended_from=instant(ended_from, "--ended-from"), ended_to=instant(ended_to, "--ended-to"),
        parent=parent, incidents=incidents, search=wanted, q=words, sort=sort, order=order, limit=limit, cursor=cursor,
    )  # fmt: skip
    session.out.show(page, lambda console: console.print(_listed(page.items, console.width)))
    if page.next:
        session.out.note(f"there are more: --cursor {page.next}")


def _listed(found: Sequence[Process], width: int) -> RenderableType:
    """A line each, where the definition's code is a short one; a narrow terminal gets no more than it has room for."""
    narrow, now = width < WIDE, datetime.now(UTC)
    rows = [
        [
            plain(each.id), plain(f"{each.definition} {each.version}"), state(each.status),
            plain(each.incidents or "", "bold red"),
            *([near(each.created_at, now)] if narrow else [moment(each.created_at), moment(each.ended_at)]),
        ]
        for each in found
    ]  # fmt: skip
    columns = ["process", "definition", "status", "", "created", *([] if narrow else ["ended"])]
    return table(columns, rows, whole={"status", "", "created", "ended"})


@remote
def show(session: Session, id: Id) -> None:
    """Show a process: its visits with their states, times and failures, and its values."""
    processes = session.client.processes
    process = processes.get(id)
    visits, values = [*processes.visits.all(id, limit=200)], [*processes.values(id).list.all(limit=200)]
    answer = {"process": process, "visits": visits, "values": values}
    session.out.show(answer, lambda console: print_process(console, process, visits, values))


@remote
def history(session: Session, id: Id) -> None:
    """Show everything that happened in a process, with who and when."""
    entries = [*session.client.processes.history.all(id, limit=200)]
    session.out.show({"items": entries}, lambda console: print_history(console, entries))
