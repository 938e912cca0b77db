"""The server's settings, from `penstock.config`."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from docs.reference.markdown import code, codes, page, said_of_members, table
from penstock import config

INTRODUCTION = """
Defaults are overruled by a TOML file (`--config FILE`, or the one `PENSTOCK_CONFIG` names), that by variables of the environment, and those by options of
the command line. In the file a setting has its name, or stands without its first word in a table of that word: `outbound_allow` is `allow` in
`[outbound]`. An unknown name is an error. `penstock config show` tells what is in force, and where it comes from.

A duration is a number of seconds, or ISO 8601 (`PT30S`). A list in the environment has commas.
"""


def made() -> str:
    hints, said = get_type_hints(config.Settings), said_of_members(config.Settings)
    rows = []
    for each in fields(config.Settings):
        assert said[each.name], f"config.Settings.{each.name} has no text that says what it is"
        variables = [f"PENSTOCK_{each.name.upper()}"]
        if each.name in config.SECRETS:
            variables.append(f"{variables[0]}_FILE")
        rows.append((code(each.name), kind(hints[each.name]), default(each), codes(variables), said[each.name]))
    others = sorted(f"PENSTOCK_{name}" for name in config._OF_CLIENTS)
    return page(
        "Settings",
        INTRODUCTION,
        table(("setting", "type", "default", "environment", "what"), rows),
        "What may come from a file (`_FILE`, in the settings file `_file`) holds a secret and is never shown.",
        f"Of the command line and of workers, which the server passes over: {codes(others)}.",
    )


def kind(hint: Any) -> str:
    plain = {int: "number", str: "text", bool: "true or false", Path: "path", timedelta: "duration"}
    if hint in plain:
        return plain[hint]
    of = get_args(hint)
    if get_origin(hint) is Literal:
        return "one of " + codes(of)
    if get_origin(hint) in {Union, types.UnionType}:
        return " or ".join(kind(each) for each in of if each is not type(None))
    if get_origin(hint) is tuple:
        return f"list of {kind(of[0])}"
    if get_origin(hint) in {frozenset, set, list}:
        return f"list of {kind(of[0])}"
    return code(getattr(hint, "__name__", str(hint)))


def default(each: Any) -> str:
    if each.default is MISSING:
        return "made when it starts"
    value = each.default
    if value is None or value == ():
        return "none"
    if isinstance(value, bool):
        return code(str(value).lower())
    if isinstance(value, timedelta):
        return code(f"{value.total_seconds():g}")
    return code(value)
