"""Commands that run or look after a server here: `penstock.wiring` does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli.output import Output, plain, table
from penstock.cli.remote import AsJson

if TYPE_CHECKING:
    from penstock.config import Loaded, Settings

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Settings (TOML); else the file PENSTOCK_CONFIG names.")
]
Data = Annotated[
    Path | None, typer.Option("--data", file_okay=False, help="Folder of a SQLite database, as `penstock dev` has it.")
]
Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port to listen on.")]

config_app = typer.Typer(help="The server's settings.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    for command in (dev, serve, bootstrap, migrate, backup, restore, doctor):
        app.command(rich_help_panel="Server")(command)
    app.command("rotate-keys", rich_help_panel="Server")(rotate_keys)
    app.command("generate-key", rich_help_panel="Server")(generate_key)
    app.add_typer(config_app, name="config", rich_help_panel="Server")


def dev(
    data: Annotated[Path, typer.Option("--data", file_okay=False, help="Folder of the database and credentials.json.")],
    port: Port = None,
    host: Host = None,
    config: ConfigFile = None,
) -> None:
    """Serve a demo tenant from one folder, with SQLite."""
    loaded = load_settings(config, data_dir=str(data), host=host, port=port)
    from penstock import wiring  # noqa: PLC0415 - the server, only to serve

    wiring.run_dev(data, loaded.settings.host, loaded.settings.port, loaded.settings, loaded.files)


def serve(config: ConfigFile = None, host: Host = None, port: Port = None) -> None:
    """Serve, as the settings say."""
    loaded = load_settings(config, host=host, port=port)
    from penstock import wiring  # noqa: PLC0415

    wiring.run_server(loaded.settings, loaded.files)


def bootstrap(  # noqa: PLR0913 - the members of what is made
    code: Annotated[str, typer.Argument(metavar="CODE", help="A tenant; made where it is not there.")],
    *,
    email: Annotated[str, typer.Option("--email", help="Its administrator; made or repaired.")],
    name: Annotated[str | None, typer.Option("--name", help="What people call the tenant.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", exists=True, dir_okay=False, help="Else a password is made.")
    ] = None,
    application: Annotated[
        str | None,
        typer.Option("--application", metavar="NAME", help="An application to make, or to give a new secret."),
    ] = None,
    write: Annotated[
        Path | None, typer.Option("--write", help="Write the credentials to this file, and print none.")
    ] = None,
    data: Data = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a tenant with an administrator, or let its administrator in again; on SQLite the server must not run.

    Where nobody operates the installation yet, the administrator gets the role operator, too.
    """
    settings = load_settings(config, data_dir=None if data is None else str(data)).settings
    from penstock import wiring  # noqa: PLC0415

    password = None if password_file is None else password_file.read_text().strip("\r\n")
    asked = wiring.Bootstrap(code=code, email=email, name=name, password=password, application=application)
    out = Output(as_json=as_json)
    with out.working("bootstrapping"):
        found = wiring.bootstrap(settings, asked, write)
    told: dict[str, Any] = {"database": found.database, "created": found.created, "done": found.done}
    told["written" if write else "credentials"] = str(write) if write else found.credentials

    def human(console: Any) -> None:
        console.print(plain(f"database: {found.database}{' (new)' if found.created else ''}"))
        for each in found.done:
            console.print(plain(each))
        if write:
            console.print(plain(f"the credentials are in {write}"))
            return
        for user in found.credentials["users"]:
            console.print(plain(f"password of {user['email']}: {user['password']}"))
        if made := found.credentials.get("application"):
            console.print(plain(f"application id: {made['id']}"))
            console.print(plain(f"application secret: {made['secret']}"))
        console.print(plain("secrets are shown this once", "dim"))

    out.show(told, human)


def migrate(*, data: Data = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Bring the database to this version's schema."""
    from penstock import wiring  # noqa: PLC0415

    _report(
        load_settings(config, data_dir=None if data is None else str(data)).settings,
        wiring.migrate,
        "migrating",
        as_json=as_json,
    )


def backup(
    target: Annotated[Path, typer.Argument(help="Where the copy goes.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the database and documents while the server runs."""
    from penstock import wiring  # noqa: PLC0415

    _report(
        load_settings(config, data_dir=None if data is None else str(data)).settings,
        lambda settings: wiring.backup(settings, target),
        "backing up",
        as_json=as_json,
    )


def restore(
    source: Annotated[Path, typer.Argument(exists=True, help="A backup.")],
    *,
    data: Data = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the place of what is there; the server must not run."""
    from penstock import wiring  # noqa: PLC0415

    _report(
        load_settings(config, data_dir=None if data is None else str(data)).settings,
        lambda settings: wiring.restore(settings, source),
        "restoring",
        as_json=as_json,
    )


def rotate_keys(
    *,
    signing: Annotated[
        bool, typer.Option("--signing", help="Make a new key that signs access tokens; those of the old one stay good.")
    ] = False,
    data: Data = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Encrypt what is stored encrypted anew with the first key of secret_key; on SQLite the server must not run."""
    from penstock import wiring  # noqa: PLC0415

    _report(
        load_settings(config, data_dir=None if data is None else str(data)).settings,
        lambda settings: wiring.rotate_keys(settings, signing=signing),
        "making a key" if signing else "encrypting",
        as_json=as_json,
    )


def generate_key(*, as_json: AsJson = False) -> None:
    """Print a new key for secret_key: 32 random bytes in base64."""
    from penstock import wiring  # noqa: PLC0415

    key = wiring.new_key()
    Output(as_json=as_json).show({"key": key}, lambda console: console.print(plain(key)))


def doctor(*, data: Data = None, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Check settings, database and machine; exit code 1 when something is wrong."""
    loaded = load_settings(config, data_dir=None if data is None else str(data))
    from penstock import wiring  # noqa: PLC0415

    out = Output(as_json=as_json)
    with out.working("checking"):
        checks = wiring.doctor(loaded.settings, loaded.sources, loaded.files)
    sound = all(good for _, good, _ in checks)
    found = {"ok": sound, "checks": [{"name": name, "ok": good, "detail": text} for name, good, text in checks]}
    rows = [
        (plain("ok", "green") if good else plain("WRONG", "bold red"), plain(name), plain(text))
        for name, good, text in checks
    ]
    out.show(found, lambda console: console.print(table(["", "check", "found"], rows)))
    if not sound:
        raise typer.Exit(1)


@config_app.command("show")
def config_show(*, config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Print every setting, and where it comes from. Secrets are masked."""
    from penstock.config import shown  # noqa: PLC0415

    loaded = load_settings(config)
    values = shown(loaded.settings)
    data = {name: {"value": value, "source": loaded.sources[name]} for name, value in values.items()}
    rows = [(plain(name), plain(_human(value)), plain(loaded.sources[name], "dim")) for name, value in values.items()]
    Output(as_json=as_json).show(data, lambda console: console.print(table(["setting", "value", "from"], rows)))


@config_app.callback()
def _config() -> None:
    """The server's settings."""


def load_settings(config: Path | None, **given: Any) -> Loaded:
    from penstock.config import load  # noqa: PLC0415

    return load(config, **given)


def _report(settings: Settings, work: Any, label: str, *, as_json: bool) -> None:
    out = Output(as_json=as_json)
    with out.working(label):
        message: str = work(settings)
    out.show({"message": message}, lambda console: console.print(plain(message)))


def _human(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)
