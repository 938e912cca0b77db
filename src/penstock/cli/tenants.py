"""Tenants of the installation, for its operators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.asking import Write, new_file
from penstock.cli.output import moment, plain, table
from penstock.cli.remote import Session, remote

if TYPE_CHECKING:
    from penstock.client.tenants import Tenant

Code = Annotated[str, typer.Argument(metavar="CODE", help="The tenant's: 1 to 64 of A-Z a-z 0-9 _ . -")]
Name = Annotated[str | None, typer.Option("--name", metavar="NAME", help="What people call the tenant.")]
NONE = "none"
OpenProcesses = Annotated[
    str | None, typer.Option("--open-processes", metavar="N|none", help="How many processes may be open.")
]
RequestsPerSecond = Annotated[
    str | None, typer.Option("--requests-per-second", metavar="N|none", help="Requests a second, on each node.")
]
Burst = Annotated[str | None, typer.Option("--burst", metavar="N|none", help="Requests that may come at once.")]
WriterShare = Annotated[
    int | None,
    typer.Option("--writer-share", metavar="N", min=1, help="Its weight where tenants compete for the writer."),
]

tenant_app = typer.Typer(help="Tenants of the installation; takes the role operator.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(tenant_app, name="tenant", rich_help_panel="Installation")


@tenant_app.command("list")
@remote
def list_tenants(session: Session) -> None:
    """List them all, oldest first."""
    found = [*session.client.tenants.list.all()]
    rows = [
        [plain(e.code), plain(e.name), plain("disabled" if e.disabled else ""), *map(plain, _limits(e))] for e in found
    ]
    columns = ["code", "name", "", "open processes", "requests/s", "writer share"]
    session.out.show({"items": found}, lambda console: console.print(table(columns, rows)))


@tenant_app.command()
@remote
def show(session: Session, code: Code) -> None:
    """Print a tenant and its quotas."""
    _show(session, session.client.tenants.get(code))


@tenant_app.command()
@remote
def create(  # noqa: PLR0913 - the members of a tenant
    session: Session,
    code: Code,
    *,
    email: Annotated[str, typer.Option("--email", metavar="EMAIL", help="Of its first administrator.")],
    name: Name = None,
    password_file: Annotated[
        Path | None,
        typer.Option(
            "--password-file",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The administrator's password; else one is made.",
        ),
    ] = None,
    open_processes: OpenProcesses = None,
    requests_per_second: RequestsPerSecond = None,
    burst: Burst = None,
    writer_share: WriterShare = None,
    write: Write = None,
) -> None:
    """Make a tenant with its first administrator."""
    password = None if password_file is None else password_file.read_text().strip("\r\n")
    quotas = _quotas(open_processes, requests_per_second, burst, writer_share)
    client = session.client
    with new_file(write) as keep:
        made = client.tenants.create(code, email, name=name, password=password, quotas=quotas or None)
        user = {"email": made.administrator.email, "password": made.administrator.password or password}
        keep({"url": client.credentials.url, "tenant": {"code": made.tenant.code}, "users": [user]})
    if write is not None:
        shown = {"tenant": made.tenant, "administrator": {"email": user["email"]}, "written": str(write)}
        session.out.show(shown, lambda console: console.print(plain(f"the credentials are in {write}")))
        return

    def human(console: Any) -> None:
        console.print(plain(f"tenant {made.tenant.code}, administrator {made.administrator.email}"))
        if made.administrator.password is not None:
            console.print(plain(f"password {made.administrator.password} (shown this once)"))

    session.out.show(made, human)


@tenant_app.command()
@remote
def change(
    session: Session,
    code: Code,
    *,
    name: Name = None,
    disabled: Annotated[
        bool | None, typer.Option("--disable/--enable", help="Whether nobody of it gets in.", show_default=False)
    ] = None,
    open_processes: OpenProcesses = None,
    requests_per_second: RequestsPerSecond = None,
    burst: Burst = None,
    writer_share: WriterShare = None,
) -> None:
    """Rename, disable or enable a tenant, or set its quotas."""
    members: dict[str, Any] = {"name": name, "disabled": disabled}
    members = {key: value for key, value in members.items() if value is not None}
    if quotas := _quotas(open_processes, requests_per_second, burst, writer_share):
        members["quotas"] = quotas
    if not members:
        raise typer.BadParameter("say what is to change")
    _show(session, session.client.tenants.change(code, **members))


def _quotas(
    open_processes: str | None, requests_per_second: str | None, burst: str | None, writer_share: int | None
) -> dict[str, Any]:
    """What was given; None in it is no limit."""
    found: dict[str, Any] = {}
    for name, text, kind, least in (
        ("open_processes", open_processes, int, 0),
        ("requests_per_second", requests_per_second, float, 0.1),
        ("burst", burst, int, 1),
    ):
        if text is not None:
            found[name] = _number(text, kind, f"--{name.replace('_', '-')}", least)
    if writer_share is not None:
        found["writer_share"] = writer_share
    return found


def _number(text: str, kind: Any, option: str, least: float) -> Any:
    if text == NONE:
        return None
    try:
        found = kind(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor none", param_hint=option) from None
    if found < least:
        raise typer.BadParameter(f"must be {least:g} or more, or none for no limit", param_hint=option)
    return found


def _limits(tenant: Tenant) -> list[str]:
    quotas = tenant.quotas
    open_processes = "" if quotas.open_processes is None else str(quotas.open_processes)
    requests = "" if quotas.requests_per_second is None else f"{quotas.requests_per_second:g}"
    return [open_processes, requests, str(quotas.writer_share)]


def _show(session: Session, found: Tenant) -> None:
    def human(console: Any) -> None:
        state = "disabled" if found.disabled else "enabled"
        console.print(plain(f"{found.code}: {found.name}, {state}, made {moment(found.created_at)}"))
        open_processes, requests, share = _limits(found)
        burst = "" if found.quotas.burst is None else f" (at once: {found.quotas.burst})"
        console.print(plain(f"open processes: {open_processes or 'no limit'}"))
        console.print(plain(f"requests a second: {requests or 'no limit'}{burst}"))
        console.print(plain(f"writer share: {share}"))

    session.out.show(found, human)
