"""The root of the command line: every command's name, and what becomes of errors.

An error is one line on stderr and exit code 1 (2 for a wrong usage); a traceback only with `--traceback`.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from penstock import __version__
from penstock.cli import (
    applications,
    approval,
    audit,
    bulk,
    commands,
    connections,
    definitions,
    documents,
    groups,
    inbox,
    login,
    permissions,
    processes,
    schedules,
    server,
    tenants,
    testing,
    tokens,
    users,
    values,
    work,
)

# Typer's usage errors are click's, which newer typers bring along under another name.
_Usage: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


class Commands(TyperGroup):
    """Turns what a command raises into its one line."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, _Usage):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except BrokenPipeError:
            # Whoever read our output has left; Python would complain once more when it flushes at the end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except Exception as error:
            if ctx.params.get("traceback"):
                raise
            typer.echo(f"penstock: {describe(error)}", err=True)
            raise typer.Exit(1) from error


def describe(error: Exception) -> str:
    """One line. Errors of ours say what is wrong by themselves; of others the type says half of it."""
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    elif type(error).__module__.startswith("penstock."):
        text = str(error)
    else:
        text = f"{type(error).__name__}: {error} (--traceback before the command shows where)"
    return " ".join(text.split())


app = typer.Typer(
    name="penstock",
    help="One durable engine for people, code and devices.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"penstock {__version__}")
        raise typer.Exit


@app.callback()
def root(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=lambda value: _version(wanted=value), is_eager=True)
    ] = False,
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error comes from.")] = False,
) -> None:
    """One durable engine for people, code and devices."""


for room in (
    server,
    definitions,
    approval,
    testing,
    processes,
    commands,
    schedules,
    connections,
    bulk,
    login,
    inbox,
    users,
    groups,
    applications,
    tokens,
    permissions,
    documents,
    values,
    work,
    audit,
    tenants,
):
    room.register(app)
