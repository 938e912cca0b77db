"""`penstock worker`: finds a `Worker` in a module and runs it."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.cli.remote import CredentialsFile, Url

if TYPE_CHECKING:
    from penstock.worker import Worker


def register(app: typer.Typer) -> None:
    app.command("worker", rich_help_panel="Workers")(run)


def run(
    target: Annotated[str, typer.Argument(metavar="MODULE[:NAME]", help="Where the Worker is.")],
    *,
    concurrency: Annotated[int | None, typer.Option("--concurrency", min=1, help="Jobs at once.")] = None,
    url: Url = None,
    credentials: CredentialsFile = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log debugging too.")] = False,
) -> None:
    """Run a worker until SIGTERM or SIGINT; a second one ends the grace."""
    level = logging.DEBUG if verbose else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("penstock").setLevel(level)
    worker = find(target)
    if url or credentials or worker.client is None:
        from penstock.client import Client  # noqa: PLC0415

        worker.configure(client=Client.from_credentials(credentials, url=url))
    worker.configure(concurrency=concurrency)
    worker.run()


def find(target: str) -> Worker:
    """The named worker, or the only one of the module. The working directory is where modules are looked for."""
    from penstock.worker import Worker as Kind  # noqa: PLC0415

    module_name, _, name = target.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that is missing inside the one that was named is its own error.
        if error.name and not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise typer.BadParameter(f"there is no module {module_name!r} here or installed") from error
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, Kind):
            raise typer.BadParameter(f"{name!r} in {module_name} is not a penstock.worker.Worker")
        return found
    workers = {key: value for key, value in vars(module).items() if isinstance(value, Kind)}
    if len(set(map(id, workers.values()))) != 1:
        names = ", ".join(sorted(workers)) or "none"
        raise typer.BadParameter(f"name the worker as {module_name}:NAME (there: {names})")
    return next(iter(workers.values()))
