"""An installation by its settings alone, on either database: its commands, and `penstock serve` on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.server import Server

EMAIL = "ada@example.com"
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}


class Installation:
    """A database without a tenant, and the commands on it."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.environment = {"PENSTOCK_DATA_DIR": str(self.data), "PENSTOCK_SECRET_KEY": "A" * 43 + "="}
        if url is not None:
            self.environment["PENSTOCK_DATABASE_URL"] = url
        self.shared = url is not None

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "penstock", *map(str, arguments)],
            env={**ENVIRONMENT, **self.environment},
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def bootstrap(self, code: str, *arguments: str | Path, email: str = EMAIL) -> Any:
        done = self.run("bootstrap", code, "--email", email, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def server(self) -> Server:
        environment = self.environment

        class Serving(Server):
            def command(self) -> list[str]:
                return ["-m", "penstock", "serve", "--port", "0"]

        return Serving(self.folder, **environment)
