"""For every test: what the command line keeps of a person goes to a folder of the run's."""

import os

import pytest


@pytest.fixture(autouse=True, scope="session")
def no_home(tmp_path_factory):
    base = tmp_path_factory.getbasetemp()
    before = dict(os.environ)
    os.environ.update(XDG_CONFIG_HOME=str(base / "xdg-config"), XDG_CACHE_HOME=str(base / "xdg-cache"))
    yield
    os.environ.clear()
    os.environ.update(before)
