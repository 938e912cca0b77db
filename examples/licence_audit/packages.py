"""The Python packages installed on this machine: found by their `.dist-info` and `.egg-info`, in every interpreter's
folders. Reads files and asks interpreters for their path; changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path
from typing import NamedTuple

_ASK = "import json, sys, sysconfig; print(json.dumps([*sys.path, *sysconfig.get_paths().values()]))"
_LICENCE_FILES = re.compile(r"(licen[cs]e|copying|notice)", re.IGNORECASE)


class Package(NamedTuple):
    name: str
    version: str
    path: str
    """Of its metadata."""


def installed() -> list[Package]:
    """Every package once for each folder it is installed in, in a fixed order."""
    found: dict[tuple[str, str, str], Package] = {}
    for folder in folders():
        for entry in sorted(folder.iterdir()):
            if entry.suffix not in (".dist-info", ".egg-info"):
                continue
            stated = metadata(entry)
            name, version = stated.get("Name"), stated.get("Version")
            if name and version:
                key = (str(folder), re.sub(r"[-_.]+", "-", name).lower(), version)
                found.setdefault(key, Package(name, version, str(entry)))
    return [found[key] for key in sorted(found)]


def folders() -> list[Path]:
    """The running interpreter's, then those of the other interpreters on PATH."""
    paths = [*sys.path]
    for interpreter in _interpreters():
        paths += _path_of(interpreter)
    real = dict.fromkeys(Path(each).resolve() for each in paths if each)
    return [
        each for each in real if each.name in ("site-packages", "dist-packages") and os.access(each, os.R_OK | os.X_OK)
    ]


def metadata(path: str | Path) -> Message:
    """What a package says of itself. Read without `importlib.metadata`, which trips over files that are not UTF-8."""
    path = Path(path)
    for file in (path / "METADATA", path / "PKG-INFO", path):
        if file.is_file():
            return HeaderParser().parsestr(file.read_text(encoding="utf-8", errors="replace"))
    return Message()


def licence_texts(package: Package) -> Iterator[tuple[str, str]]:
    """Name and content of the licence files that came with a package: where a person looks next."""
    path = Path(package.path)
    files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else []
    if "dist-packages" in path.parts:  # Debian keeps them elsewhere
        files += Path("/usr/share/doc").glob(f"python3-{package.name.lower()}/copyright")
    for file in sorted(files):
        if _LICENCE_FILES.search(file.name) or file.name == "copyright":
            yield file.name, file.read_text(encoding="utf-8", errors="replace")


def _interpreters() -> list[str]:
    places = [*os.environ.get("PATH", os.defpath).split(os.pathsep), str(Path(sys.base_prefix) / "bin")]
    names = ["python3", *(f"python3.{minor}" for minor in range(8, 20))]
    found = (shutil.which(name, path=place) for place in places if place for name in names)
    return list(dict.fromkeys(each for each in found if each))


def _path_of(interpreter: str) -> list[str]:
    try:
        # -I: neither our environment nor the working directory changes what it says.
        asked = subprocess.run([interpreter, "-I", "-c", _ASK], capture_output=True, timeout=10, check=True, text=True)
        return [str(each) for each in json.loads(asked.stdout)]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []  # it cannot tell, so it has nothing we could read
