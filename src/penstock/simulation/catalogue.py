"""Definitions as the simulation runs them: loaded from files or values, their jitter stilled, their conditions watched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from penstock.core.definition import Call, Http, Job, Robot, Version
from penstock.core.lines import lines_of
from penstock.core.loading import load, read_document
from penstock.errors import Problem
from penstock.simulation.coverage import Trail, watch

SUFFIXES = (".yaml", ".yml", ".json")


class Known(msgspec.Struct, frozen=True):
    """A definition that cases can run."""

    version: Version
    trail: Trail


class Trouble(msgspec.Struct, frozen=True):
    """A problem of a tests file or of a definition, and where it is written."""

    file: str
    message: str
    pointer: str = ""
    line: int | None = None
    code: str = "invalid"
    warning: bool = False

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {f'{self.pointer}: ' if self.pointer else ''}{self.message}"


class Unusable(Exception):
    """A tests file or a definition that cannot be used; every problem is listed."""

    def __init__(self, problems: Iterable[Trouble]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def read(path: Path) -> tuple[str, Any, list[Trouble]]:
    """Text and value of a YAML or JSON file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        return "", None, [Trouble(str(path), error.strerror or str(error), code="file")]
    value, problems = read_document(data, "json" if path.suffix == ".json" else "yaml")
    text = data.decode("utf-8-sig", "replace")
    return text, value, located(str(path), text, problems)


def known(document: Any, file: str = "", text: str = "") -> Known:
    """Raises: Unusable."""
    version, problems = load(document)
    if version is None:
        raise Unusable(located(file, text, [problem for problem in problems if not problem.warning]))
    _still(version)
    return Known(version, watch(version))


def known_file(path: Path) -> Known:
    """Raises: Unusable."""
    text, document, problems = read(path)
    if problems:
        raise Unusable(problems)
    return known(document, str(path), text)


def is_definition(document: Any) -> bool:
    return isinstance(document, dict) and "penstock" in document


def with_called(main: Known, others: Iterable[Known], folder: Path | None) -> dict[str, Known]:
    """The definition, those given beside it, and those of its folder that any of them calls. Raises: Unusable."""
    found = {main.version.code: main}
    for other in others:
        found.setdefault(other.version.code, other)
    beside: dict[str, Path] | None = None
    todo = list(found.values())
    while todo:
        for code in called_by(todo.pop().version):
            if code in found or folder is None:
                continue
            if beside is None:
                beside = _codes_in(folder)
            if code in beside:
                found[code] = known_file(beside[code])
                todo.append(found[code])
    return found


def called_by(version: Version) -> Iterator[str]:
    for code, graph in version.places.items():
        node = graph.nodes[code]
        if isinstance(node, Call):
            yield node.definition


def _codes_in(folder: Path) -> dict[str, Path]:
    """Definitions of a folder by their codes; what cannot be read is nobody's."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in SUFFIXES and path.is_file() and not path.stem.endswith(".tests"):
            _, document, _ = read(path)
            if is_definition(document) and isinstance(document.get("code"), str):
                found.setdefault(document["code"], path)
    return found


def _still(version: Version) -> None:
    """Jitter is a hash of a process's id, which a test's process does not share with a real one: without it delays are exact."""
    for code, graph in version.places.items():
        node = graph.nodes[code]
        if isinstance(node, Job | Http | Robot):
            graph.nodes[code] = msgspec.structs.replace(node, retry=msgspec.structs.replace(node.retry, jitter=0.0))


# -- lines -------------------------------------------------------------------------------------------------------------


def located(file: str, text: str, problems: Iterable[Problem]) -> list[Trouble]:
    """The problems with the lines their pointers lead to."""
    problems = list(problems)
    line = lines_of(text if problems else "")
    return [Trouble(file, each.message, each.pointer, line(each.pointer), each.code, each.warning) for each in problems]
