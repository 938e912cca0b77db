"""`penstock audit` and `penstock events`: what happened, live, listed, exported and verified."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import brief, moment, plain, table
from penstock.cli.remote import AsJson, Session, instant, remote
from penstock.cli.server import ConfigFile, Data, load_settings

if TYPE_CHECKING:
    from rich.console import Console

    from penstock.client.models import Event

audit_app = typer.Typer(help="What was done by whom, sealed.", no_args_is_help=True)

Types = Annotated[
    list[str] | None, typer.Option("--type", metavar="TYPE", help="Of these types alone (JobCompleted); may repeat.")
]
TYPE = "As login.failed, user.created or JobCompleted; what there is stands in the lines of the list."
KIND = "What was changed, of the journal: user, group, application, token, session, tenant, definition, schedule, bulk, …; one that never was finds nothing."
Process = Annotated[str | None, typer.Option("--process", metavar="ID", help="Of this process alone.")]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Audit")(events)
    app.add_typer(audit_app, name="audit", rich_help_panel="Audit")


@remote
def events(
    session: Session,
    *,
    after: Annotated[int | None, typer.Option("--after", min=0, help="A feed number; else from now on.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until interrupted.")] = False,
    process: Process = None,
    definition: Annotated[str | None, typer.Option("--definition", metavar="CODE", help="Of this definition.")] = None,
    types: Types = None,
    mine: Annotated[bool, typer.Option("--mine", help="Of processes with an item for you.")] = False,
) -> None:
    """Print what happens, an event a line. Without --follow: what has happened after --after, to now."""
    if not follow and after is None:
        raise typer.BadParameter("give --after NUMBER, --follow, or both")
    until = None if follow else session.client.feed_position()
    if until is not None and after is not None and after >= until:
        return
    for event in session.client.events(
        after=after, process=process, definition=definition, types=types or (), mine=mine, until=until
    ):
        _print_event(session, event)


@audit_app.command("list")
@remote
def listed(  # noqa: PLR0913 - the filters of the call
    session: Session,
    *,
    actor: Annotated[str | None, typer.Option("--actor", metavar="WHO", help="user:EMAIL, app:ID or system.")] = None,
    type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help=TYPE)] = None,
    process: Process = None,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help=KIND)] = None,
    subject: Annotated[str | None, typer.Option("--subject", metavar="ID", help="Which of the kind.")] = None,
    since: Annotated[str | None, typer.Option("--since", metavar="TIME", help="At or after.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Before.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many.")] = 50,
) -> None:
    """What was done, newest first."""
    found: list[Event] = []
    for event in session.client.audit.list.all(
        actor=actor, type=type, process=process, kind=kind, subject=subject,
        since=instant(since, "--since"), until=instant(until, "--until"), limit=min(limit, 200),
    ):  # fmt: skip
        found.append(event)
        if len(found) == limit:
            break
    session.out.show({"items": found}, lambda console: _print_events(console, found))


@audit_app.command()
@remote
def export(
    session: Session,
    target: Annotated[Path | None, typer.Argument(help="A new file; else standard output.")] = None,
    *,
    first: Annotated[int, typer.Option("--from", min=1, help="First feed number.")] = 1,
    last: Annotated[int | None, typer.Option("--to", min=1, help="Last feed number; else the newest.")] = None,
) -> None:
    """Write everything with its seals, for `penstock audit verify --file`."""
    lines = session.client.export_audit(first, last)
    if target is None:
        for line in lines:
            sys.stdout.buffer.write(line)
        return
    with target.open("xb") as file:
        count = 0
        for line in lines:
            file.write(line)
            count += 1
    session.out.show({"lines": count}, lambda console: console.print(plain(f"{target}: {count:,} lines")))


@audit_app.command()
def verify(
    *,
    file: Annotated[Path | None, typer.Option("--file", exists=True, dir_okay=False, help="An export.")] = None,
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="CODE", help="Of the database: this one alone.")
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option("--public-key", exists=True, dir_okay=False, help="PEM: seals must be signed with it."),
    ] = None,
    anchor: Annotated[
        str | None, typer.Option("--seal", metavar="NUMBER:DIGEST", help="A seal that must be there, as noted before.")
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Check every row against the chain of seals: in the database, or in an export. Exit code 1 when something does not fit."""
    from penstock import wiring  # noqa: PLC0415
    from penstock.cli.output import Output  # noqa: PLC0415

    expected = _anchor(anchor)
    if expected is not None and file is None and tenant is None:
        raise typer.BadParameter("--seal is of one tenant: give --tenant, or --file", param_hint="--seal")
    out = Output(as_json=as_json)
    with out.working("verifying"):
        pem = None if key is None else key.read_text()
        if file is not None:
            reports = [wiring.verify_export(file, pem, expected)]
        else:
            settings = load_settings(config, data_dir=None if data is None else str(data)).settings
            reports = wiring.verify_audit(settings, tenant, pem, expected)
    sound = not any(report.found for report in reports)
    out.show({"ok": sound, "tenants": reports}, lambda console: _print_reports(console, reports))
    if not sound:
        raise typer.Exit(1)


def _anchor(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    number, colon, digest = text.partition(":")
    if not colon or not number.isdigit() or len(digest) != 64:
        raise typer.BadParameter(f"{text!r} is not NUMBER:DIGEST", param_hint="--seal")
    return int(number), digest.lower()


def _print_event(session: Session, event: Event) -> None:
    import msgspec  # noqa: PLC0415

    if session.out.as_json:
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
    else:
        of = event.process or f"{event.kind} {event.subject}"
        words = (str(event.feed), moment(event.at), event.type, event.actor, of, brief(event.data, 100))
        sys.stdout.write("  ".join(words) + "\n")
    sys.stdout.flush()


def _print_events(console: Console, found: list[Event]) -> None:
    rows = [
        [
            plain(event.feed, "dim"), moment(event.at), plain(event.type, "bold"), plain(event.actor),
            plain(event.process or f"{event.kind} {event.subject}"), plain(brief(event.data, 100)),
        ]
        for event in found
    ]  # fmt: skip
    console.print(table(["feed", "at", "what", "who", "of", "data"], rows))


def _print_reports(console: Console, reports: list[Any]) -> None:
    for report in reports:
        console.print(
            plain("sound" if not report.found else "NOT SOUND", "green" if not report.found else "bold red"),
            plain(f"tenant {report.tenant}: {report.rows:,} rows in {report.seals:,} seals ({report.signed:,} signed),"),
            plain(f"{report.erased:,} erased, {report.unsealed:,} not sealed yet"),
        )  # fmt: skip
        if report.seals:
            console.print(plain(f"last seal {report.last_seal}:{report.last_digest}", "dim"))
        if report.signing_stopped is not None:
            console.print(
                plain(f"signing stopped at seal {report.signing_stopped}: is there no audit_key any more?", "yellow")
            )
        for finding in report.findings:
            console.print(plain(f"{finding.what}: {finding.text}", "red"))
        if report.found > len(report.findings):
            console.print(plain(f"and {report.found - len(report.findings):,} more", "red"))
