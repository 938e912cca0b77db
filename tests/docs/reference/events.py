"""What history and the journal tell: `core.events`, and every place that writes a line of the journal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec

import penstock
from docs.reference.markdown import code, codes, first_line, page, table
from penstock.core.events import AnyEvent, Event

SOURCE = Path(penstock.__file__).parent
TYPE = re.compile(r"[a-z]+\.[a-z_]+")
MADE_TYPE = re.compile(r"(?:[a-z]+|…)\.(?:[a-z_]+|…)")


def made() -> str:
    common = {field.name for field in msgspec.structs.fields(Event)}
    rows = []
    for kind in get_args(AnyEvent):
        own = [field.name for field in msgspec.structs.fields(kind) if field.name not in {*common, "scope", "visit"}]
        of_visit = "visit" in get_type_hints(kind)
        rows.append((code(kind.__name__), text_of(kind), "yes" if of_visit else "", codes(own)))
    journal = sorted(set(written()))
    return page(
        "Events",
        "What `GET /api/v1/events`, a process's history, `GET /api/v1/audit` and an export of the audit tell. Every event has its time (`at`), who did it (`actor`), its `type` and its `data`.",
        "## Of processes",
        "Members that have their default are left out of `data`. *Visit*: it is about one visit.",
        table(("type", "what", "visit", "data"), rows),
        "## Of the journal",
        "What is changed that is not a process's. The first word is the kind of thing it is about; `…` stands for what is put in when it is written: `version.…` for each decision, `….…` for `secret` and `connection`.",
        table(("type", "written by"), [(code(type), codes(sorted(by))) for type, by in grouped(journal)]),
    )


def text_of(kind: type) -> str:
    """Its own docstring alone: those of the bases say nothing of it."""
    return first_line(kind) if "__doc__" in vars(kind) and vars(kind)["__doc__"] else ""


def grouped(found: list[tuple[str, str]]) -> Iterator[tuple[str, set[str]]]:
    for type in dict.fromkeys(type for type, _ in found):
        yield type, {by for other, by in found if other == type}


def written() -> Iterator[tuple[str, str]]:
    """Type, and the module that writes it. What is put together when it runs has `…` there."""
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text()
        if not re.search(r"journal\.record\(|\bERASED\b", text):
            continue
        module = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Constant(value=str(type)) if TYPE.fullmatch(type):
                    yield type, module
                case ast.JoinedStr(values=parts):
                    type = "".join(str(each.value) if isinstance(each, ast.Constant) else "…" for each in parts)
                    if MADE_TYPE.fullmatch(type):
                        yield type, module
