"""Every shell block of the documentation is run as it stands there, page by page, and prints what the page shows.

Each page has a fresh copy of the working tree. Two things in its text are put in the place of others, and nothing else: the ports
in `PORTS`, by free ones, and the address `DATABASE`, by that of a new database of a PostgreSQL that was started for the test.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs import pages
from docs.pages import Block, Page
from docs.terminals import Busy, Shell, Told, copied, environment, first_missing
from support import postgres

PORTS = ("8080", "8081", "8443")
DATABASE = "postgresql://penstock@127.0.0.1:5432/penstock"
LONG = {"make demo": 170}
"""Seconds for a block with such a line, where a minute may be too little."""

PAGES = [page for page in map(pages.read, pages.names()) if page.steps]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


def uses_postgresql(page: Page) -> bool:
    return any(DATABASE in block.text for block in page.steps)


def parameter(page: Page) -> object:
    marks = [pytest.mark.slow, pytest.mark.timeout(300)]
    return pytest.param(page, id=page.name, marks=[*marks, pytest.mark.postgres] if uses_postgresql(page) else marks)


class Reader:
    """Somebody who does what a page says, top to bottom."""

    def __init__(self, folder: Path, places: dict[str, str]) -> None:
        self._folder = folder
        self._places = places
        self._tree = copied(folder)
        self._environment = environment(folder / "home")
        self._shell = Shell(self._tree, self._environment, folder)
        self._busy: list[Busy] = []

    def does(self, block: Block) -> None:
        """Raises: Told."""
        if block.interrupts:
            self._busy.pop().interrupt()
        elif block.stays:
            self._opens(block)
        else:
            text = self._placed(block.text)
            seconds = max((wait for line, wait in LONG.items() if line in text), default=60)
            output = self._shell.run(block, text, seconds)
            missing = first_missing(self._placed(block.shown), output)
            if missing is not None:
                raise Told(f"{block}: its output has no line {missing!r} (in this order)\n{output}")

    def leaves(self) -> None:
        """Ctrl-C wherever something runs. Raises: Told."""
        while self._busy:
            self._busy.pop().interrupt()

    def end(self) -> None:
        for terminal in (*self._busy, self._shell):
            terminal.end()

    def _opens(self, block: Block) -> None:
        if not block.shown.strip():
            raise Told(f"{block}: say in a text block what it prints when it is ready")
        log = self._folder / f"terminal{len(self._busy)}-{block.line}"
        busy = Busy(block, self._placed(block.text), self._tree, self._environment, log)
        self._busy.append(busy)
        busy.wait(self._placed(block.shown))

    def _placed(self, text: str) -> str:
        for name, place in self._places.items():
            text = re.sub(rf"(?<!\d){re.escape(name)}(?!\d)", place, text)
        return text


@pytest.mark.parametrize("page", [parameter(page) for page in PAGES])
def test_page_runs_as_written(page: Page, tmp_path, request):
    places = {}
    if uses_postgresql(page):
        places[DATABASE] = request.getfixturevalue("postgresql").database()
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for name, taken in zip(PORTS, (one, two, three), strict=True):
            taken.bind(("127.0.0.1", 0))
            places[name] = str(taken.getsockname()[1])
    reader = Reader(tmp_path, places)
    try:
        for block in page.steps:
            reader.does(block)
        reader.leaves()
    finally:
        reader.end()
