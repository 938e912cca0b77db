"""Every command there is, as the command line itself has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from penstock.cli.app import app

ROOT: Any = typer.main.get_command(app)


def leaves(command: Any, *path: str) -> Iterator[tuple[str, ...]]:
    """The words that call each."""
    inner = getattr(command, "commands", {})
    if not inner or (getattr(command, "invoke_without_command", False) and path):
        yield path
    for name, each in inner.items():
        yield from leaves(each, *path, name)


def command_of(path: tuple[str, ...]) -> Any:
    found = ROOT
    for name in path:
        found = found.commands[name]
    return found


LEAVES = sorted(leaves(ROOT))
