"""Definitions tried out in memory, on a virtual clock, by the decider that runs production; no server, no network, no database.

`penstock test` is this room's command. From a program: `run_case` for one case, `run_tests` or `read_tests` for a file of them.
It imports `core`, `formats` and `errors` alone (docs/decisions/0010).
"""

from penstock.simulation.catalogue import Trouble, Unusable
from penstock.simulation.files import NothingToTest, Suite, find, read_tests, run_tests, untested
from penstock.simulation.findings import Difference
from penstock.simulation.library import run_case
from penstock.simulation.report import FileReport, Report

__all__ = [
    "Difference", "FileReport", "NothingToTest", "Report", "Suite", "Trouble", "Unusable", "find", "read_tests",
    "run_case", "run_tests", "untested",
]  # fmt: skip
