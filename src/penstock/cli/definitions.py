"""`deploy` and what is deployed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import moment, plain, table, text_of
from penstock.cli.remote import Session, remote
from penstock.core.lines import lines_of

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client import Client, Problem


TESTS = (".tests.yaml", ".tests.yml", ".tests.json")
"""Cases for `penstock test` lie beside definitions and are none: `deploy flows/*.yaml` passes them over."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Definitions")(deploy)
    app.command("definitions", rich_help_panel="Definitions")(definitions)
    app.command("openapi", rich_help_panel="Definitions")(openapi)


@remote
def deploy(
    session: Session,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE…", exists=True, dir_okay=False, help="Definitions (YAML or JSON).")
    ],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what is wrong.")] = False,
) -> None:
    """Publish definitions. One that is unchanged makes no new version; if one is not valid, none is published."""
    out, client = session.out, session.client
    wanted, files = files, [path for path in files if not path.name.endswith(TESTS)]
    if not files:
        raise typer.BadParameter(f"{wanted[0].name} holds cases for `penstock test`, no definition")
    reports = [_checked(client, path) for path in out.progress(files, "checking")]
    valid = all(report["valid"] for report in reports)
    if valid and not dry_run:
        for path, report in zip(out.progress(files, "deploying"), reports, strict=True):
            report["deployed"] = client.definitions.deploy(path.read_bytes())
    out.show({"valid": valid, "files": reports}, lambda console: _print_reports(console, reports))
    if not valid:
        raise typer.Exit(1)


def _checked(client: Client, path: Path) -> dict[str, Any]:
    from penstock.client import Invalid  # noqa: PLC0415

    content = path.read_bytes()
    problems: list[Problem]
    try:
        answer = client.definitions.validate(content)
        valid, problems = answer.valid, list(answer.problems)
    except Invalid as error:  # not even a document
        from penstock.client import Problem as One  # noqa: PLC0415

        valid, problems = False, list(error.problems) or [One(message=error.details.detail or str(error))]
    line = lines_of(content.decode("utf-8", "replace") if problems else "")
    found = [
        {
            "pointer": each.pointer, "message": each.message, "code": each.code, "warning": each.warning,
            "line": line(each.pointer),
        }
        for each in problems
    ]  # fmt: skip
    return {"file": str(path), "valid": valid, "problems": found, "deployed": None}


def _print_reports(console: Console, reports: list[dict[str, Any]]) -> None:
    for report in reports:
        for problem in report["problems"]:
            place = f"{report['file']}:{problem['line']}" if problem["line"] else report["file"]
            kind = plain("warning", "yellow") if problem["warning"] else plain("error", "bold red")
            where = f"{problem['pointer']}: " if problem["pointer"] else ""
            console.print(plain(f"{place}:"), kind, plain(f"{where}{problem['message']} [{problem['code']}]"))
        made = report["deployed"]
        if made is not None:
            what = "unchanged" if made.unchanged else "new version"
            if made.state == "DRAFT":
                what += f", a draft: `penstock submit {made.code} {made.version}` gives it to review"
            console.print(
                plain(report["file"]), plain(f"{made.code} {made.version}", "bold"), plain(f"({what})", "dim")
            )
        elif report["valid"]:
            console.print(plain(report["file"]), plain("valid", "green"))


@remote
def definitions(
    session: Session, code: Annotated[str | None, typer.Argument(help="Show the versions of this one.")] = None
) -> None:
    """List definitions, or the versions of one."""
    if code is None:
        found = [*session.client.definitions.list.all()]
        rows = [
            [plain(e.code), plain(text_of(e.name)), plain(e.latest), plain(e.active), moment(e.created_at)]
            for e in found
        ]
        columns = ["code", "name", "latest", "active", "created"]
        session.out.show({"items": found}, lambda console: console.print(table(columns, rows)))
        return
    versions = [*session.client.definitions.versions.all(code)]
    rows = [[plain(v.version), plain(v.state), moment(v.created_at), plain(v.created_by)] for v in versions]
    columns = ["version", "state", "created", "by"]
    session.out.show({"items": versions}, lambda console: console.print(table(columns, rows)))


@remote
def openapi(session: Session) -> None:
    """Print the server's OpenAPI description of the native API (always JSON)."""
    session.out.json(session.client.openapi())
