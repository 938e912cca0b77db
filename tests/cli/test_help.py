"""The help of every command, on a terminal as narrow as they come."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from penstock.cli.app import app
from support.commands import LEAVES


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_help_fits_a_terminal_of_80_columns(path):
    answer = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80"})
    assert answer.exit_code == 0
    assert "Usage" in answer.output
    assert max(map(len, answer.output.splitlines())) <= 80
