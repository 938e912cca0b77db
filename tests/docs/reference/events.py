"""What history and the journal tell: `core.events`, and every place that writes a line of the journal."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_args, get_type_hints

import msgspec

import penstock
from docs.reference.markdown import code, codes, first_line, page, table
from penstock.core.events import AnyEvent, Event
from penstock.operations import connections, secrets

SOURCE = Path(penstock.__file__).parent
Function = ast.FunctionDef | ast.AsyncFunctionDef


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
        "What is changed that is not a process's. The first word is the kind of thing it is about.",
        table(("type", "written by"), [(code(type), codes(sorted(by))) for type, by in grouped(journal)]),
    )


def text_of(kind: type) -> str:
    """Its own docstring alone: those of the bases say nothing of it."""
    return first_line(kind) if "__doc__" in vars(kind) and vars(kind)["__doc__"] else ""


def grouped(found: list[tuple[str, str]]) -> Iterator[tuple[str, set[str]]]:
    for type in dict.fromkeys(type for type, _ in found):
        yield type, {by for other, by in found if other == type}


def written() -> Iterator[tuple[str, str]]:
    """Type, and the module that writes it."""
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text()
        tree = ast.parse(text)
        module = ".".join(file.relative_to(SOURCE).with_suffix("").parts)
        values = Values(tree, import_module(f"penstock.{module}")) if "journal.record" in text else None
        for call, function in calls(tree, "journal.record") if values else ():
            for type in values.of(flat(call.args)[3], function):
                yield type, module


def calls(tree: ast.AST, name: str) -> Iterator[tuple[ast.Call, Function]]:
    """Calls of a function, and the innermost function each stands in."""
    inner: dict[ast.AST, Function] = {}
    for function in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)):
        inner |= dict.fromkeys(ast.walk(function), function)  # those inside come later
    for node, function in inner.items():
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield node, function


def flat(arguments: list[ast.expr]) -> list[ast.expr]:
    """With `*(a, b)` spelt out."""
    found: list[ast.expr] = []
    for each in arguments:
        starred = isinstance(each, ast.Starred) and isinstance(each.value, ast.Tuple)
        found += each.value.elts if starred else [each]  # type: ignore[attr-defined]
    return found


class Values:
    """Which texts an expression may be; `…` where that shows only when it runs."""

    def __init__(self, tree: ast.Module, module: ModuleType) -> None:
        self._tree = tree
        self._module = module

    def of(self, node: ast.expr, function: Function) -> list[str]:
        match node:
            case ast.Constant():
                return [str(node.value)]
            case ast.JoinedStr():
                parts = [self.of(each, function) for each in node.values]
                return ["".join(each) for each in itertools.product(*parts)]
            case ast.FormattedValue():
                return self.of(node.value, function)
            case ast.IfExp():
                return [*self.of(node.body, function), *self.of(node.orelse, function)]
            case ast.Name():
                return self._named(node.id, function)
            case ast.Subscript(value=ast.Name(id=name)):
                return [*map(str, getattr(self._module, name, {}).values())] or ["…"]
            case ast.Attribute(value=ast.Name(id="self"), attr="_kind"):
                return [each._kind for each in (secrets._NAMED, connections._NAMED)]
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                return [str(getattr(getattr(self._module, owner, None), name, "…"))]
            case _:
                return ["…"]

    def _named(self, name: str, function: Function) -> list[str]:
        for each in ast.walk(function):
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == name:
                return self.of(each.value, function)
        names = [each.arg for each in function.args.args]
        if name not in names:
            return [str(getattr(self._module, name, "…"))]
        found: list[str] = []
        for call, caller in calls(self._tree, function.name):
            given = {word.arg: word.value for word in call.keywords} | dict(zip(names, flat(call.args), strict=False))
            found += self.of(given[name], caller) if name in given else []
        return found
