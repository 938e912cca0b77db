"""Every shell block of the documentation is run as it stands there, page by page, and prints what the page shows.

Each page has a fresh copy of the working tree. Two things in its text are put in the place of others, and nothing else: the ports
in `PORTS`, by free ones, and the address `DATABASE`, by that of a new database of a PostgreSQL that was started for the test.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from docs import pages
from docs.pages import Page
from docs.reader import Reader
from support import postgres

PORTS = ("8080", "8081", "8443")
DATABASE = "postgresql://penstock@127.0.0.1:5432/penstock"
PAGES = [page for page in map(pages.read, pages.names()) if page.steps]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


def uses_postgresql(page: Page) -> bool:
    return any(DATABASE in block.text for block in page.steps)


def parameter(page: Page) -> object:
    marks = [pytest.mark.slow, pytest.mark.timeout(900)]
    return pytest.param(page, id=page.name, marks=[*marks, pytest.mark.postgres] if uses_postgresql(page) else marks)


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
        reader.reads(page)
    finally:
        reader.end()
