"""Tests files: found beside definitions, read whole, run case by case."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from penstock.core.lines import lines_of
from penstock.core.members import Members, Source
from penstock.simulation.answers import read_answers
from penstock.simulation.case import NOW, Answers, Case
from penstock.simulation.catalogue import (
    SUFFIXES,
    Known,
    Unusable,
    is_definition,
    known_file,
    located,
    read,
    with_called,
)
from penstock.simulation.coverage import Coverage, coverage
from penstock.simulation.reading import read_case, time_of
from penstock.simulation.report import FileReport, Report
from penstock.simulation.running import run

_TESTS = re.compile(r"(.+)\.tests\.(?:yaml|yml|json)")


class NothingToTest(Exception):
    """There is no such file, or no tests belong to it."""


class Suite(msgspec.Struct):
    """A tests file, read. `known` begins with the definition its cases are about."""

    file: str
    known: dict[str, Known]
    cases: tuple[Case, ...]
    line: Callable[[str], int | None]

    @property
    def definition(self) -> str:
        return next(iter(self.known))

    def run(self, case: Case) -> Report:
        """The same case twice gives the same report."""
        report = Report(name=case.name, file=self.file, line=self.line(case.pointer), definition=self.definition)
        run(case, self.known, report)
        report.differences = [
            msgspec.structs.replace(each, line=self.line(each.pointer)) if each.pointer else each
            for each in report.differences
        ]
        return report

    def coverage(self) -> list[Coverage]:
        """Of what the cases run so far have taken."""
        return [coverage(each.version, each.trail) for each in self.known.values()]


# -- finding -----------------------------------------------------------------------------------------------------------


def find(paths: Iterable[Path]) -> list[Path]:
    """The tests files that are meant: themselves, those beside definitions, those in folders. Raises: NothingToTest."""
    found: dict[Path, None] = {}
    for path in paths:
        for each in _found(path):
            found[each] = None
    return list(found)


def _found(path: Path) -> list[Path]:
    if path.is_dir():
        inside = sorted(each for each in path.rglob("*") if is_tests(each) and each.is_file())
        if not inside:
            raise NothingToTest(f"{path} holds no tests: they are files named NAME.tests.yaml")
        return inside
    if not path.exists():
        raise NothingToTest(f"{path} does not exist")
    if is_tests(path):
        return [path]
    beside = [path.with_name(f"{path.stem}.tests{suffix}") for suffix in SUFFIXES]
    there = [each for each in beside if each.is_file()]
    if not there:
        raise NothingToTest(f"{path} has no tests: {beside[0]} does not exist")
    return there


def is_tests(path: Path) -> bool:
    return _TESTS.fullmatch(path.name) is not None


def untested(folders: Iterable[Path]) -> list[Coverage]:
    """Definitions in these folders that no tests stand beside."""
    found = []
    for path in sorted({each for folder in folders if folder.is_dir() for each in folder.rglob("*")}):
        if path.suffix not in SUFFIXES or is_tests(path) or not path.is_file():
            continue
        if any(path.with_name(f"{path.stem}.tests{suffix}").is_file() for suffix in SUFFIXES):
            continue
        _, document, _ = read(path)
        if is_definition(document):
            found.append(Coverage(str(path), 0, 0, (), (), tested=False))
    return found


# -- reading -----------------------------------------------------------------------------------------------------------


def read_tests(path: Path | str) -> Suite:
    """Raises: Unusable, with every problem and its line."""
    path = Path(path)
    text, document, problems = read(path)
    if problems:
        raise Unusable(problems)
    source = Source()
    members = Members(source, document, "")
    known = _known(members, path, text)
    shared = read_answers(members, known)
    now = time_of(members, "now", NOW)
    cases = _cases(members, known, shared, now)
    members.text("description", limit=10_000)
    members.close()
    if source.problems:
        raise Unusable(located(str(path), text, source.problems))
    return Suite(str(path), known, cases, lines_of(text))


def _known(members: Members, path: Path, text: str) -> dict[str, Known]:
    """The definition and what it calls. Raises: Unusable."""
    main = _main(members, path)
    others = []
    for index, value in enumerate(members.sequence("definitions")):
        pointer = f"{members.at('definitions')}/{index}"
        other = path.parent / value if isinstance(value, str) else None
        if other is None or not other.is_file():
            members.source.problem(pointer, f"there is no file {value!r}", "file")
        else:
            others.append(known_file(other))
    if main is None or members.source.problems:
        raise Unusable(located(str(path), text, members.source.problems))
    return with_called(known_file(main), others, path.parent)


def _main(members: Members, path: Path) -> Path | None:
    named = members.text("definition", limit=1_000)
    if named is not None:
        given = path.parent / named
        if given.is_file():
            return given
        members.problem("definition", f"there is no file {named!r}", "file")
        return None
    match = _TESTS.fullmatch(path.name)
    stem = path.stem if match is None else match[1]
    beside = [path.with_name(f"{stem}{suffix}") for suffix in SUFFIXES]
    found = next((each for each in beside if each.is_file()), None)
    if found is None:
        message = f"no definition stands beside it ({beside[0].name}); name its file with `definition`"
        members.problem(None, message, "file")
    return found


def _cases(members: Members, known: dict[str, Known], shared: Answers, now: int) -> tuple[Case, ...]:
    cases: list[Case] = []
    names: dict[str, str] = {}
    values = members.sequence("cases")
    if not values:
        members.problem(None, "there are no cases", "required")
    for index, value in enumerate(values):
        pointer = f"/cases/{index}"
        case = read_case(members.source, value, pointer, known, shared, now)
        if case.name in names:
            members.source.problem(f"{pointer}/name", f"{names[case.name]} has this name already", "duplicate")
        names.setdefault(case.name, pointer)
        cases.append(case)
    return tuple(cases)


# -- running -----------------------------------------------------------------------------------------------------------


def run_tests(path: Path | str, pattern: str | None = None) -> FileReport:
    """Every case of a tests file, or those whose name fits a pattern. Problems of the file are part of the report."""
    try:
        tests = read_tests(path)
    except Unusable as error:
        return FileReport(file=str(path), problems=list(error.problems))
    cases = [tests.run(case) for case in tests.cases if fits(case.name, tests.file, pattern)]
    return FileReport(file=tests.file, definition=tests.definition, cases=cases, coverage=tests.coverage())


def fits(name: str, file: str, pattern: str | None) -> bool:
    """Part of the file's or case's name, or a pattern with * and ? for the whole of the case's."""
    if pattern is None:
        return True
    wanted = pattern.lower()
    if any(mark in wanted for mark in "*?["):
        return fnmatchcase(name.lower(), wanted)
    return wanted in name.lower() or wanted in file.lower()
