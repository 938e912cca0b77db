"""Pieces of Markdown, and what source says beside its code. The same input makes the same text."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable, Sequence
from typing import Any

MADE = "<!-- Made by `make docs` from the code; a change here is lost. -->"


def page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", MADE, *(part.strip("\n") for part in parts)]) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(value: Any) -> str:
    text = str(value)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def codes(values: Iterable[Any]) -> str:
    return ", ".join(code(value) for value in values)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|") or " "


def first_line(thing: Any) -> str:
    """Of a docstring; what is above it counts, where it has none of its own."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def said_of_members(kind: type) -> dict[str, str]:
    """Member -> the text that follows it in the class's source, "" where there is none."""
    body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    name = ""
    for line in body.body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            name = line.target.id
            found[name] = ""
        elif isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name):
            name = line.targets[0].id
            found[name] = ""
        elif isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and name:
            found[name] = " ".join(str(line.value.value).split())
    return found
