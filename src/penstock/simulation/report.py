"""What became of a case, as data: for `--json`, for the terminal, and for a program that judges by itself."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.simulation.catalogue import Trouble
from penstock.simulation.coverage import Coverage
from penstock.simulation.findings import Difference, Incident, Moment
from penstock.simulation.telling import text_of


class Report(msgspec.Struct, kw_only=True):
    """What became of a case. `duration` is virtual, in ms; `took` is real, in seconds."""

    name: str
    file: str = ""
    line: int | None = None
    definition: str = ""
    ok: bool = True
    status: str = ""
    """"" when the start was refused."""
    result: Any = None
    path: list[str] = []
    values: dict[str, Any] = {}
    vars: dict[str, Any] = {}
    metadata: Any = None
    entity: Any = None
    inputs: dict[str, Any] = {}
    """Node -> what its last visit was given."""
    open: list[str] = []
    """Nodes at which somebody is waited for."""
    incidents: list[Incident] = []
    refused: str = ""
    duration: int = 0
    took: float = 0.0
    differences: list[Difference] = []
    timeline: list[Moment] = []

    def check(self) -> Report:
        """Raises: AssertionError, with all that is wrong as its text."""
        if not self.ok:
            raise AssertionError(text_of(self))
        return self


class FileReport(msgspec.Struct, kw_only=True):
    """What became of a tests file."""

    file: str
    definition: str = ""
    problems: list[Trouble] = []
    """With any of them no case was run."""
    cases: list[Report] = []
    coverage: list[Coverage] = []

    @property
    def ok(self) -> bool:
        return not self.problems and all(case.ok for case in self.cases)
