"""docs/reference/ is what the code says now, the same on every machine."""

import os
import subprocess
import sys

import pytest

from docs import generate


@pytest.fixture(scope="module")
def made():
    return generate.pages()


def test_every_page_is_as_the_code_says(made):
    committed = {file.name: file.read_text() for file in generate.FOLDER.glob("*.md")}
    assert committed.keys() == made.keys()
    stale = [name for name, text in made.items() if committed[name] != text]
    assert stale == [], "run `make docs`"


def test_another_run_makes_the_same(made, tmp_path):
    script = (
        "import json, sys; sys.path[:0] = [sys.argv[1]]; from docs import generate; print(json.dumps(generate.pages()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(generate.ROOT / "tests")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "12345", "COLUMNS": "40", "TZ": "Asia/Tokyo"},
        capture_output=True,
        text=True,
        check=True,
    )
    import json

    assert json.loads(done.stdout) == made
