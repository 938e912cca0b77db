"""What is asked of a person, and secrets on their way in and out: never as an argument, for those stand in the shell's history."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Ask = Annotated[bool, typer.Option("--password", help="Ask for a password.")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")]
FromFile = Annotated[
    Path | None,
    typer.Option("--password-file", metavar="FILE", dir_okay=False, exists=True, help="Read the password from a file."),
]
Write = Annotated[
    Path | None, typer.Option("--write", metavar="FILE", help="Write the secret to a new file, and do not print it.")
]

LONGEST = 64 * 1024
"""Bytes of a secret that is read."""


def sure(question: str, *, yes: bool) -> None:
    """Ends the command unless somebody says yes."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: say --yes to do it", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


def password_given(who: str, *, ask: bool, stdin: bool, file: Path | None, twice: bool = True) -> str | None:
    """From one of the three; None where none was named."""
    if ask + stdin + (file is not None) > 1:
        raise typer.BadParameter("give one of --password, --password-stdin and --password-file")
    if stdin:
        return line_of(sys.stdin.buffer.read(LONGEST + 1), "--password-stdin")
    if file is not None:
        return line_of(file.read_bytes()[: LONGEST + 1], "--password-file")
    return asked(who, twice=twice) if ask else None


def asked(what: str, *, twice: bool = False) -> str:
    """Typed and not shown."""
    if not sys.stdin.isatty():
        raise typer.BadParameter("nobody can be asked here: use --password-stdin or --password-file")
    answer: str = typer.prompt(
        what, hide_input=True, err=True, confirmation_prompt="The same again" if twice else False
    )
    return answer


def line_of(content: bytes, option: str) -> str:
    """A secret without the line's end."""
    try:
        text = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise typer.BadParameter("not UTF-8", param_hint=option) from error
    if not text or len(content) > LONGEST:
        raise typer.BadParameter("empty" if not text else f"longer than {LONGEST:,} bytes", param_hint=option)
    return text


@contextmanager
def new_file(path: Path | None) -> Iterator[Callable[[Any], None]]:
    """Takes JSON or text for a new file that its owner alone may read. It is made first: a secret that is shown once must
    have somewhere to go before it is made. Nothing is left where nothing was written.
    """
    if path is None:
        yield lambda _: None
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise typer.BadParameter(f"{path} is there already and is not overwritten", param_hint="--write") from error
    except OSError as error:
        raise typer.BadParameter(f"{path}: {error.strerror}", param_hint="--write") from error
    with os.fdopen(descriptor, "wb") as file:

        def write(content: Any) -> None:
            import msgspec  # noqa: PLC0415

            text = content.encode() if isinstance(content, str) else msgspec.json.format(msgspec.json.encode(content))
            file.write(text + b"\n")
            file.flush()
            os.fsync(descriptor)

        try:
            yield write
        except BaseException:
            with contextlib.suppress(OSError):
                path.unlink()
            raise
