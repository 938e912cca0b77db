"""Documents: store, save, list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import plain, table
from penstock.cli.remote import Session, remote

if TYPE_CHECKING:
    from penstock.client.models import Document

app = typer.Typer(help="Stored files of processes and items.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="document", rich_help_panel="Processes")


@app.command()
@remote
def put(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE|-", help="What to store; - is stdin.")],
    *,
    process: Annotated[str | None, typer.Option("--process", help="Make it one of this process's.")] = None,
    item: Annotated[str | None, typer.Option("--item", help="Make it one of this item's.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Its name, in place of the file's.")] = None,
    content_type: Annotated[str | None, typer.Option("--type", help="Its media type, in place of a guess.")] = None,
) -> None:
    """Store a file."""
    if str(file) == "-" and name is None:
        raise typer.BadParameter("what comes from stdin needs a name", param_hint="--name")
    source = sys.stdin.buffer if str(file) == "-" else file
    made = session.client.documents.upload(source, name=name, content_type=content_type, process=process, item=item)
    session.out.show(made, lambda console: console.print(plain(f"{made.uri}  {made.name}, {made.size:,} bytes")))


@app.command()
@remote
def get(
    session: Session,
    id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", metavar="FILE|-", help="Where it goes; else its own name, here.")
    ] = None,
) -> None:
    """Save a document's content."""
    documents = session.client.documents
    id = id.removeprefix("document:")
    if str(to) == "-":
        documents.download(id, sys.stdout.buffer)
        return
    known = documents.get(id)
    target = to or Path(Path(known.name).name)
    if to is None and target.exists():
        raise typer.BadParameter(f"{target} is there already; say --to", param_hint="--to")
    documents.download(id, target)
    session.out.show(known, lambda console: console.print(plain(f"{target}: {known.size:,} bytes")))


@app.command("list")
@remote
def list_documents(
    session: Session,
    process: Annotated[str, typer.Argument(metavar="PROCESS")],
    *,
    item: Annotated[str | None, typer.Option("--item", help="Of this item alone.")] = None,
) -> None:
    """List the documents of a process."""
    found = [*session.client.documents.list.all(process, item=item)]
    columns = ["id", "name", "type", "bytes", "stored by"]
    session.out.show({"items": found}, lambda console: console.print(table(columns, [_row(each) for each in found])))


def _row(document: Document) -> list[Any]:
    return [
        plain(document.id),
        plain(document.name),
        plain(document.content_type),
        f"{document.size:,}",
        plain(document.created_by),
    ]
