"""`penstock permissions`: who may do what with a definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from penstock.cli.output import plain, table
from penstock.cli.remote import Session, json_value, remote

Code = Annotated[str, typer.Argument(metavar="DEFINITION")]
Permission = Annotated[
    str, typer.Argument(metavar="PERMISSION", help="initiator, candidate, viewer, manager or administrator.")
]
Grantees = Annotated[
    list[str],
    typer.Argument(metavar="GRANTEE…", help="user:EMAIL, group:CODE, app:ID, role:starter or role:everyone."),
]

VIEWER = "viewer"
"""The one permission that everybody has while nobody is named."""
TRIES = 5
"""How often a change begins anew because somebody else was first."""

app = typer.Typer(help="Who may do what with a definition.", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="permissions", rich_help_panel="People")


@app.command()
@remote
def show(session: Session, definition: Code) -> None:
    """Show who has which permission."""
    _show(session, session.client.definitions.permissions(definition).permissions)


@app.command("set")
@remote
def put(
    session: Session,
    definition: Code,
    grants: Annotated[
        list[str] | None, typer.Argument(metavar="[PERMISSION=GRANTEE…]", help="As initiator=group:staff; may repeat.")
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE|-", help="JSON, as `permissions show --json` prints it.")
    ] = None,
) -> None:
    """Put these in place of all there are. Without a viewer, everybody of the tenant sees the processes."""
    if bool(grants) == (file is not None):
        raise typer.BadParameter("give PERMISSION=GRANTEE, or --file")
    wanted = _read(file) if file is not None else _parsed(grants or [])
    _show(session, session.client.definitions.put_permissions(definition, wanted).permissions)


@app.command()
@remote
def grant(session: Session, definition: Code, permission: Permission, grantees: Grantees) -> None:
    """Give a permission to more; who has it keeps it.

    But viewer: while nobody is named, everybody of the tenant sees the processes; from the first one on, these alone do,
    with managers, administrators, who started the process, and who has or had an item of it.
    """
    _show(
        session, _changed(session, definition, permission, lambda old: [*old, *(g for g in grantees if g not in old)])
    )


@app.command()
@remote
def revoke(session: Session, definition: Code, permission: Permission, grantees: Grantees) -> None:
    """Take a permission from some; gone with their next request.

    With the last viewer the processes are shown to everybody of the tenant again.
    """

    def without(old: list[str]) -> list[str]:
        if missing := [each for each in grantees if each not in old]:
            raise typer.BadParameter(f"{', '.join(missing)} has no permission {permission} of {definition}")
        return [each for each in old if each not in grantees]

    _show(session, _changed(session, definition, permission, without))


def _changed(
    session: Session, definition: str, permission: str, change: Callable[[list[str]], list[str]]
) -> Mapping[str, list[str]]:
    """Reads, changes and puts; anew when somebody else was first, so that nobody's change is lost."""
    from penstock.client import Stale  # noqa: PLC0415

    definitions = session.client.definitions
    for left in range(TRIES, 0, -1):
        found = definitions.permissions(definition)
        wanted = change(found.permissions.get(permission, []))
        if wanted == found.permissions.get(permission, []):
            return found.permissions
        try:
            put = definitions.put_permissions(
                definition, {**found.permissions, permission: wanted}, revision=found.revision
            )
        except Stale:
            if left == 1:
                raise
        else:
            _tell_of_viewers(session, found.permissions, put.permissions)
            return put.permissions
    raise AssertionError("the last try returns or raises")


def _tell_of_viewers(session: Session, before: Mapping[str, list[str]], now: Mapping[str, list[str]]) -> None:
    """The first viewer takes something from everybody else, and the last one gives it back: neither is what one expects."""
    if now.get(VIEWER) and not before.get(VIEWER):
        session.out.note(
            "from now on only these, managers, administrators, starters and who has an item of it see the processes"
        )
    elif before.get(VIEWER) and not now.get(VIEWER):
        session.out.note("nobody is named as viewer any more: everybody of the tenant sees the processes")


def _parsed(grants: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in grants:
        permission, equals, grantee = text.partition("=")
        if not equals or not permission or not grantee:
            raise typer.BadParameter(f"{text!r} is not PERMISSION=GRANTEE")
        found.setdefault(permission, []).append(grantee)
    return found


def _read(file: Path) -> dict[str, list[str]]:
    content = json_value(f"@{file}", "--file")
    found = content.get("permissions") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not all(
        isinstance(names, list) and all(isinstance(each, str) for each in names) for names in found.values()
    ):
        raise typer.BadParameter('not {"permissions": {PERMISSION: [GRANTEE…]}}', param_hint="--file")
    return found


def _show(session: Session, found: Mapping[str, list[str]]) -> None:
    rows: list[list[Any]] = [
        [plain(name, "bold"), plain("\n".join(grantees))] for name, grantees in found.items() if grantees
    ]
    if not found.get(VIEWER):
        rows.append([plain(VIEWER, "bold"), plain("everybody of the tenant (nobody is named)", "dim")])
    session.out.show({"permissions": found}, lambda console: console.print(table(["permission", "who"], rows)))
