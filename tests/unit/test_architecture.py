"""Who may import whom: the real tree keeps every contract, and every contract catches what it is there for."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"
CONTRACTS = {
    contract["id"]: contract for contract in tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
}

# contract, file under src/penstock in which the violation is planted, its text
PLANTS = [
    ("rooms", "errors.py", "import penstock.core"),
    ("rooms", "core/planted.py", "import penstock.identity"),
    ("rooms", "identity/planted.py", "import penstock.operations"),
    ("rooms", "store/planted.py", "import penstock.outbound"),
    ("rooms", "operations/planted.py", "import penstock.engines"),
    ("rooms", "engines/planted.py", "import penstock.operations"),
    ("rooms", "engines/planted.py", "import penstock.web"),
    ("rooms", "web/planted.py", "import penstock.api"),
    ("rooms", "web/planted.py", "import penstock.dialects"),
    ("rooms", "dialects/executions/planted.py", "import penstock.api"),
    ("rooms", "api/planted.py", "import penstock.wiring"),
    ("rooms", "client/planted.py", "import penstock.store"),
    ("rooms", "utils.py", ""),  # a room nobody decided on
    ("pure", "core/planted.py", "import time"),
    ("pure", "core/planted.py", "from os import environ"),
    ("pure", "identity/planted.py", "import secrets"),
    ("pure", "identity/planted.py", "import httpx"),
    ("doors", "api/planted.py", "import penstock.store"),
    ("doors", "api/planted.py", "import penstock.engines"),
    ("doors", "web/planted.py", "import penstock.core.decider"),
    ("doors", "dialects/executions/planted.py", "import penstock.store"),
    ("doors", "dialects/executions/mapping.py", "import penstock.core.codec"),
    ("strangers", "dialects/planted.py", "import penstock.dialects.executions.models"),
    ("drawers", "dialects/executions/models.py", "import penstock.dialects.executions.mapping"),
    ("drawers", "dialects/executions/mapping.py", "import penstock.dialects.executions.routes"),
    ("translation", "dialects/executions/mapping.py", "import penstock.operations"),
    ("translation", "dialects/executions/graphs.py", "import penstock.web"),
    ("sql", "operations/planted.py", "import sqlalchemy"),
    ("sql", "wiring/planted.py", "import apsw"),
    ("sql", "engines/planted.py", "import psycopg"),
    ("http", "operations/planted.py", "from starlette.requests import Request"),
    ("http", "engines/planted.py", "import starlette"),
    ("elsewhere", "worker/planted.py", "import penstock.core.events"),
    ("elsewhere", "client/planted.py", "import penstock.identity"),
    ("elsewhere", "worker/planted.py", "import penstock.dialects"),
    ("rooms", "simulation/planted.py", "import penstock.client"),
    ("elsewhere", "worker/planted.py", "import penstock.simulation"),
    ("simulated", "simulation/planted.py", "import penstock.identity"),
    ("simulated", "simulation/planted.py", "import socket"),
    ("rooms", "core/planted.py", "import penstock.telemetry"),
    ("rooms", "telemetry/planted.py", "import penstock.store"),
    ("elsewhere", "worker/planted.py", "import penstock.telemetry"),
    ("telemetry", "store/planted.py", "import opentelemetry"),
    ("telemetry", "wiring/planted.py", "import prometheus_client"),
    ("cycles", "core/planted.py", "import penstock.core.planted_too"),
]


def lint(tree: Path) -> tuple[int, set[str], set[str], str]:
    """Answers the exit code, the names of kept and of broken contracts, and the text."""
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "src"), "COLUMNS": "300", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    lines = {(name.strip(), verdict) for name, verdict in re.findall(r"^(.+?) (KEPT|BROKEN)\b", said, re.MULTILINE)}
    kept = {name for name, verdict in lines if verdict == "KEPT"}
    broken = {name for name, verdict in lines if verdict == "BROKEN"}
    return done.returncode, kept, broken, said


@pytest.fixture
def tree(tmp_path):
    """A copy of the tree that may be spoilt."""
    shutil.copytree(
        ROOT / "src" / "penstock",
        tmp_path / "src" / "penstock",
        ignore=shutil.ignore_patterns("__pycache__", "ui", "static"),
    )
    shutil.copy(PYPROJECT, tmp_path)
    return tmp_path


def test_the_real_tree_keeps_every_contract():
    code, kept, broken, said = lint(ROOT)
    assert code == 0, said
    assert kept == {contract["name"] for contract in CONTRACTS.values()}
    assert not broken
    analyzed = int(re.search(r"Analyzed (\d+) files", said)[1])
    rooms = [path for path in (ROOT / "src" / "penstock").iterdir() if (path / "__init__.py").exists()]
    assert analyzed > 5 * len(rooms) > 20, "the guard looks at an empty house"


@pytest.mark.parametrize(("contract", "file", "text"), PLANTS)
def test_a_planted_violation_breaks_its_contract(tree, contract, file, text):
    path = tree / "src" / "penstock" / file
    assert path.parent.is_dir(), f"no room {path.parent.name}: the plant has lost its place"
    with path.open("a") as planted:
        planted.write(f"\n{text}\n")
    if contract == "cycles":
        path.with_name("planted_too.py").write_text("import penstock.core.planted\n")
    code, _, broken, said = lint(tree)
    assert code != 0, said
    assert CONTRACTS[contract]["name"] in broken, said


def test_every_contract_has_a_plant():
    assert {contract for contract, _, _ in PLANTS} == set(CONTRACTS)
