"""Documents: store, save, list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Yes, sure
from penstock.cli.each import each, said
from penstock.cli.output import plain, table
from penstock.cli.remote import Session, remote

if TYPE_CHECKING:
    from penstock.client.models import Document

Id = Annotated[str, typer.Argument(metavar="ID", help="A document.")]
Ids = Annotated[list[str], typer.Argument(metavar="ID…", help="Documents.")]

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
    id: Id,
    *,
    to: Annotated[
        Path | None, typer.Option("--to", "-o", metavar="FILE|-", help="Where it goes; else its own name, here.")
    ] = None,
) -> None:
    """Save a document's content."""
    documents = session.client.documents
    id = _bare(id)
    if str(to) == "-":
        documents.download(id, sys.stdout.buffer)
        return
    known = documents.get(id)
    target = to or Path(Path(known.name).name)
    if to is None and target.exists():
        raise typer.BadParameter(f"{target} is there already; say --to", param_hint="--to")
    documents.download(id, target)
    session.out.show(known, lambda console: console.print(plain(f"{target}: {known.size:,} bytes")))


@app.command()
@remote
def link(
    session: Session,
    process: Annotated[str, typer.Argument(metavar="PROCESS")],
    id: Id,
    *,
    item: Annotated[str | None, typer.Option("--item", help="Make it one of this item's.")] = None,
) -> None:
    """Make a document one of a process's."""
    made = session.client.documents.link(process, _bare(id), item=item)
    of = process if item is None else f"item {item} of {process}"
    session.out.show(made, lambda console: console.print(plain(made.name, "bold"), plain(f"is one of {of}")))


@app.command()
@remote
def unlink(session: Session, process: Annotated[str, typer.Argument(metavar="PROCESS")], ids: Ids) -> None:
    """Take documents from a process; what no other has is forgotten after a day."""
    documents = session.client.documents
    each(session, ids, "unlinking", lambda id: documents.unlink(process, _bare(id)), said(f"is not one of {process}"))


@app.command()
@remote
def remove(session: Session, ids: Ids, *, yes: Yes = False) -> None:
    """Delete documents with their content, from every process that has them."""
    sure(f"Delete {', '.join(ids)} with their content?", yes=yes)
    documents = session.client.documents
    each(session, ids, "deleting", lambda id: documents.delete(_bare(id)), said("is gone"))


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


def _bare(id: str) -> str:
    """As it stands in values it is "document:ID"."""
    return id.removeprefix("document:")


def _row(document: Document) -> list[Any]:
    return [
        plain(document.id),
        plain(document.name),
        plain(document.content_type),
        f"{document.size:,}",
        plain(document.created_by),
    ]
