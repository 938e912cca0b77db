"""Files with secrets in them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any


def write_private(path: Path, content: dict[str, Any]) -> None:
    write_text_private(path, json.dumps(content, indent=2))


def read_by_others(path: Path) -> str | None:
    """A sentence about a file with a secret that others on this machine may read or write; None: it is the owner's alone."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return (
        f"{path} is open to other users of this machine (mode {mode:04o}): chmod 600 {path}" if mode & 0o077 else None
    )


def write_text_private(path: Path, text: str) -> None:
    """Written whole or not at all, and readable by its owner alone."""
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
