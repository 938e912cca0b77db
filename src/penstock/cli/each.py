"""The same to each of several things, whatever becomes of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import typer

from penstock.cli.output import plain
from penstock.cli.remote import Session

T = TypeVar("T")


def each(
    session: Session,
    ids: Sequence[str],
    label: str,
    command: Callable[[str], T],
    words: Callable[[str, T], Sequence[Any]],
) -> None:
    """Prints `words` of each that was done; exit code 1 if one was refused."""
    from penstock.client import ApiError, Unauthenticated  # noqa: PLC0415

    done: list[tuple[str, T]] = []
    refused: list[dict[str, Any]] = []
    for id in session.out.progress(ids, label):
        try:
            done.append((id, command(id)))
        except ApiError as error:
            if isinstance(error, Unauthenticated) and not done:
                raise  # not this one alone is refused
            refused.append({"id": id, "error": error.details, "text": str(error)})
    errors = [{"id": refusal["id"], "error": refusal["error"]} for refusal in refused]

    def show(console: Any) -> None:
        for id, answer in done:
            console.print(*words(id, answer))

    items = [{"id": id} if answer is None else answer for id, answer in done]
    session.out.show({"items": items, "errors": errors}, show)
    for refusal in refused:
        typer.echo(f"penstock: {_told(**refusal)}", err=True)
    if refused:
        raise typer.Exit(1)


def _told(*, id: str, error: Any, text: str) -> str:
    """With the thing in front, unless the text names it itself; who may not at all is told that, and not about the thing."""
    return text if error.code == "forbidden" or id in text.partition(" (")[0] else f"{id}: {text}"


def said(word: str) -> Callable[[str, object], Sequence[Any]]:
    """For commands whose answer tells nothing: the thing, and what it is now."""
    return lambda id, _: (plain(id, "bold"), plain(word))
