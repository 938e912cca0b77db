"""Whatever the journal is told, and whatever happens to a process, can be asked for by its type."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

import penstock
from penstock.api.events import Type
from penstock.core.events import AnyEvent
from penstock.operations import approval
from penstock.store import seals

SRC = Path(penstock.__file__).parent
KINDS = "access_key|application|bulk|connection|definition|document|group|process|retention|schedule|secret|signing_key|tenant|token|tokens|user|version"


def said() -> set[str]:
    """Texts in the modules that write to the journal that begin with one of its kinds; f-strings with `x` for what varies."""
    found: set[str] = set()
    for path in SRC.rglob("*.py"):
        text = path.read_text()
        if "journal.record(" not in text:
            continue
        tree = ast.parse(text)
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                found.add(node.value)
    return {text for text in found if re.fullmatch(rf"({KINDS})\.\S+", text)}


def test_every_type_of_the_journal_and_of_history_fits_the_pattern():
    (meta,) = Type.__metadata__
    types = said()
    assert {"group.member_added", "application.secret_rotated", "version.deployed", "bulk.ended", "version.x"} <= types
    types |= {f"version.{past}" for past in approval._PAST.values()}
    types.add(seals.ERASED)
    types |= {event.__name__ for event in get_args(AnyEvent)}
    assert "Started" in types
    assert [each for each in sorted(types) if not re.search(meta.pattern, each)] == []
