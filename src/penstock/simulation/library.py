"""One case from a program: for people's own tests, in their own words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from penstock.core.loading import read_document
from penstock.core.members import Source
from penstock.simulation.catalogue import Known, Trouble, Unusable, known, known_file, located, with_called
from penstock.simulation.files import Suite
from penstock.simulation.reading import read_case
from penstock.simulation.report import Report

Definition = Path | str | dict[str, Any]
"""A file, the text of one, or the document itself."""


def run_case(definition: Definition, /, *, definitions: Iterable[Definition] = (), **case: Any) -> Report:
    """Run one case, its members as in a tests file: `run_case("loan.yaml", input={…}, answers={…}, expect={…})`.

    Without `expect` the report is for the caller to judge; `check()` raises when anybody was waited for in vain.
    Definitions that are called may stand beside a file, or be given.

    Raises: Unusable, with every problem.
    """
    main = _known(definition)
    path = _path_of(definition)
    all_known = with_called(main, [_known(each) for each in definitions], None if path is None else path.parent)
    source = Source()
    judged = "expect" in case
    document = {"name": f"a case of {main.version.code}", **case}
    read = read_case(source, document if judged else {**document, "expect": {"status": "COMPLETED"}}, "", all_known, {})
    if source.problems:
        raise Unusable([Trouble("the case", each.message, each.pointer, code=each.code) for each in source.problems])
    return Suite("", all_known, (), _nowhere).run(read if judged else replace(read, expect=None))


def _path_of(definition: Definition) -> Path | None:
    """A text of one line names a file."""
    if isinstance(definition, str):
        return None if "\n" in definition else Path(definition)
    return definition if isinstance(definition, Path) else None


def _known(definition: Definition) -> Known:
    if isinstance(definition, dict):
        return known(definition)
    path = _path_of(definition)
    if path is not None:
        return known_file(path)
    document, problems = read_document(str(definition), None)
    if problems:
        raise Unusable(located("the definition", str(definition), problems))
    return known(document, "the definition", str(definition))


def _nowhere(_: str) -> int | None:
    return None
