"""Files with secrets in them."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import tempfile
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
    """Written whole or not at all, readable by its owner alone, and there after a power cut. Raises: OSError."""
    # mkstemp: a new file with 0600, whatever lies there under a name that could be guessed
    descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(part).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The name is an entry of the folder, and not on the disk before the folder is."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
