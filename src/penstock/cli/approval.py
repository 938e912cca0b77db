"""A version's way to what new processes start with: `submit`, `approve`, `activate` and the like."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli.output import plain
from penstock.cli.remote import Session, remote

Code = Annotated[str, typer.Argument(help="A definition.")]
Number = Annotated[int, typer.Argument(metavar="VERSION", help="The number of a version.")]
Comment = Annotated[str, typer.Option("--comment", "-m", help="Kept with the decision.")]

PANEL = "Definitions"


def register(app: typer.Typer) -> None:
    for command in (submit, withdraw, approve, reject, activate, retire):
        app.command(rich_help_panel=PANEL)(command)


@remote
def submit(session: Session, code: Code, version: Number, *, comment: Comment = "") -> None:
    """Give a draft of a definition to review."""
    _decide(session, code, version, "submit", comment)


@remote
def withdraw(session: Session, code: Code, version: Number, *, comment: Comment = "") -> None:
    """Make a version a draft again: one in review, approved or rejected."""
    _decide(session, code, version, "withdraw", comment)


@remote
def approve(session: Session, code: Code, version: Number, *, comment: Comment = "") -> None:
    """Approve a version in review."""
    _decide(session, code, version, "approve", comment)


@remote
def reject(session: Session, code: Code, version: Number, *, comment: Comment) -> None:
    """Reject a version in review; the comment says why."""
    _decide(session, code, version, "reject", comment)


@remote
def activate(session: Session, code: Code, version: Number, *, comment: Comment = "") -> None:
    """Let new processes start with a version."""
    _decide(session, code, version, "activate", comment)


@remote
def retire(session: Session, code: Code, version: Number, *, comment: Comment = "") -> None:
    """Start nothing with a version any more; what runs goes on."""
    _decide(session, code, version, "retire", comment)


def _decide(session: Session, code: str, version: int, decision: str, comment: str) -> None:
    answer = session.client.definitions.decide(code, version, decision, comment)
    session.out.show(
        answer, lambda console: console.print(plain(f"{code} {answer.version}"), plain(answer.state, "bold"))
    )
