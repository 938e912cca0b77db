"""The command line, from the typer application."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from docs.reference.markdown import code, page, table
from penstock.cli.app import app
from penstock.cli.remote import _SHARED

INTRODUCTION = """
Every command takes `--help`. An error is one line on stderr and exit code 1, a wrong usage exit code 2; `penstock --traceback COMMAND …` shows where an error comes from.
`JSON|@FILE` is JSON itself, `@FILE` its file, `@-` stdin. Data goes to stdout, everything else to stderr.
"""


def made() -> str:
    root = typer.main.get_command(app)
    found = list(walked(root, ""))
    panels: dict[str, list[tuple[str, Any]]] = {}
    for panel, name, command in found:
        panels.setdefault(panel, []).append((name, command))
    contents = [
        (panel, ", ".join(f"[{name}](#penstock-{name.replace(' ', '-')})" for name, _ in commands))
        for panel, commands in panels.items()
    ]
    shared = shared_options(found)
    parts = [INTRODUCTION, table(("", "commands"), contents), "## Options of commands that call a server", shared]
    for panel, commands in panels.items():
        parts.append(f"## {panel}")
        parts += [text for name, command in commands for text in described(name, command)]
    return page("Commands", *parts)


def walked(command: Any, name: str, panel: str = "") -> Iterator[tuple[str, str, Any]]:
    """Everything that can be called: (panel, name, command)."""
    below = getattr(command, "commands", {})
    if name and (not below or command.invoke_without_command):
        yield panel, name, command
    for word, each in below.items():
        if not each.hidden:
            yield from walked(each, f"{name} {word}".strip(), panel or str(each.rich_help_panel))


def shared_options(found: list[tuple[str, str, Any]]) -> str:
    for _, _, command in found:
        options = [each for each in command.params if each.name in _SHARED]
        if len(options) == len(_SHARED):
            return options_table(options)
    raise AssertionError("no command has the shared options")


def described(name: str, command: Any) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and each.name != "help"]
    calls = {each.name for each in options} >= _SHARED.keys()
    own = [each for each in options if not (calls and each.name in _SHARED)]
    usage = " ".join(["penstock", name, *(["[OPTIONS]"] if options else []), *map(argument, arguments)])
    yield f"### penstock {name}"
    yield f"{code(usage)}\n\n{' '.join((command.help or '').split())}{' Calls a server.' if calls else ''}"
    told = [each for each in arguments if getattr(each, "help", None)]
    if told:
        yield table(("argument", "what"), [(code(argument(each)), each.help) for each in told])
    if own:
        yield options_table(own)


def argument(each: Any) -> str:
    name = (each.metavar or each.name.upper()).strip("[]").removesuffix("…")
    name += "…" if each.nargs != 1 else ""
    return name if each.required else f"[{name}]"


def options_table(options: list[Any]) -> str:
    return table(("option", "value", "default", "what"), [option(each) for each in options])


def option(each: Any) -> tuple[str, str, str, str]:
    names = ", ".join(map(code, each.opts))
    if each.secondary_opts:
        names += " / " + ", ".join(map(code, each.secondary_opts))
    value = "" if each.is_flag else each.metavar or value_of(each)
    if each.multiple:
        value += ", may repeat"
    given = each.default
    default = "" if given in (None, False, (), []) or each.is_flag or callable(given) else code(given)
    if each.required:
        default = "needed"
    return names, value, default, each.help or ""


def value_of(each: Any) -> str:
    kind = each.type_descriptor.annotation
    kind = get_args(kind)[0] if get_origin(kind) is list else kind
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if issubclass(kind, Enum):
        return " or ".join(str(each.value) for each in kind)
    word = {int: "number", float: "number", str: "text", Path: "path"}.get(kind, kind.__name__.lower())
    if each.min is not None and each.max is not None:
        return f"{word}, {each.min} to {each.max}"
    return f"{word}, from {each.min}" if each.min is not None else word
