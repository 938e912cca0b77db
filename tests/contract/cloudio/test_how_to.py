"""The page's how-to runs as it stands there."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support.server import serving

PAGE = Path(__file__).parents[3] / "docs" / "doors" / "cloudio.md"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the how-to uses jq")
def test_the_how_to_runs(tmp_path):
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with serving(tmp_path) as server:
        block = block.replace("var/dev", str(server.data)).replace("curl ", "curl --noproxy '*' ")
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True, timeout=30, check=False
        )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers == [
        {"status": "OK"},
        {"status": "OK", "value": {"done": 3, "of": 10}},
        {"status": "OK", "value": 1},
    ]
