"""A server on any database with a tenant of its own: `python serve_seeded.py URL FOLDER PORT`, for measuring.

`penstock dev` is SQLite alone; this does the same on PostgreSQL.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from penstock.config import Settings
from penstock.operations.people import seed
from penstock.wiring import Platform, serve


def main() -> None:
    url, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    platform = Platform.build(replace(Settings(), database_url=url, data_dir=folder, port=port))
    made = asyncio.run(seed(platform.operations, "bench", "Bench", []))
    known = {
        "url": f"http://127.0.0.1:{port}",
        "application": {"id": made.application_id, "secret": made.application_secret},
    }
    (folder / "credentials.json").write_text(json.dumps(known))
    serve(platform, "127.0.0.1", port)


if __name__ == "__main__":
    main()
