"""The page's how-to runs as it stands there, and its worker does the work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contract.executions.door import working
from penstock.client import Client
from support.server import until

PAGE = Path(__file__).parents[3] / "docs" / "doors" / "executions.md"


@pytest.mark.skipif(shutil.which("jq") is None, reason="the how-to uses jq")
def test_the_how_to_runs(caller, server, capsys):
    text = PAGE.read_text()
    (block,) = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    block = block.replace("var/dev", str(server.data)).replace("curl ", "curl --noproxy '*' ")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)["data"]
    (source,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(source, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    names["worker"].client = Client(caller.url, token=caller.token)
    with working(names["worker"]):
        until(lambda: caller.execution(data["workflowId"], data["id"])["data"]["finished"])
    assert capsys.readouterr().out == "a report as pdf\n"
