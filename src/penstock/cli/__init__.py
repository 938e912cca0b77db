"""The `penstock` command. Importing this room costs little: what a command needs is imported when it runs."""

from __future__ import annotations


def main() -> None:
    from penstock.cli.app import app  # noqa: PLC0415 - typer only when it is used

    app()


__all__ = ["main"]
