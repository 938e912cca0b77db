"""A server on any database with a tenant of its own: `python serve_seeded.py URL FOLDER PORT [USERS]`, for measuring.

`penstock dev` is SQLite alone; this does the same on PostgreSQL. Users come with a token and without a password, whose hash
would take longer than the measuring.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path

from penstock.config import Settings
from penstock.identity.tokens import hash_secret, new_secret
from penstock.operations.people import AUDIENCE, seed
from penstock.store import Tx, people
from penstock.wiring.platform import Platform
from penstock.wiring.serving import serve


def add_users(platform: Platform, tid: int, count: int) -> list[str]:
    """Their tokens."""
    tokens = [new_secret("pt", number.to_bytes(32)) for number in range(count)]

    def unit(tx: Tx) -> None:
        for number, token in enumerate(tokens):
            email = f"user{number}@example.com"
            people.add_user(tx, tid, f"user-{number}", email, email, None)
            people.add_token(tx, hash_secret(token), tid, f"user:{email}", AUDIENCE, 3_600_000)

    platform.store.submit(unit).result(60)
    return tokens


def main() -> None:
    url, folder, port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    platform = Platform.build(replace(Settings(), database_url=url, data_dir=folder, port=port, secret_key="A" * 43))
    made = asyncio.run(seed(platform.operations, "bench", "Bench", []))
    known = {
        "url": f"http://127.0.0.1:{port}",
        "application": {"id": made.application_id, "secret": made.application_secret},
        "tokens": add_users(platform, made.tenant.tid, int(sys.argv[4]) if len(sys.argv) > 4 else 0),
    }
    (folder / "credentials.json").write_text(json.dumps(known))
    serve(platform, "127.0.0.1", port)


if __name__ == "__main__":
    main()
