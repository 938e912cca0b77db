"""Where the command line keeps what is one person's: the XDG folders. Nothing else knows them."""

from __future__ import annotations

import os
from pathlib import Path


def login_file() -> Path:
    """What `penstock login` leaves."""
    return _folder("XDG_CONFIG_HOME", ".config") / "login.json"


def token_folder() -> Path:
    """Tokens that were issued and are still good. It may be removed at any time."""
    return _folder("XDG_CACHE_HOME", ".cache") / "tokens"


def _folder(variable: str, otherwise: str) -> Path:
    """The specification says that a relative path is to be ignored. Without a home it is a folder nobody can make."""
    given = os.environ.get(variable, "")
    base = Path(given) if given.startswith("/") else Path(os.path.expanduser("~")) / otherwise  # noqa: PTH111 - never raises
    return base / "penstock"
