"""The pages of the documentation as a test reads them: fenced blocks in their order, and what each is.

A fence says what it is. `sh`: the reader runs it, and so does the test. `sh stays`: it keeps its terminal (a server, a
worker) until Ctrl-C or the page's end. `sh fails`: its last command is meant to be refused. `text`: what the block before
it prints, where no heading stands between; `…` stands for anything. `console`: cannot be run in a test; `test_pages.py` says
why. `<!-- Ctrl-C -->` is what the sentence before it tells the reader to do in the terminal that was opened last.
"""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
MARK = re.compile(r"^<!-- Ctrl-C -->$")
FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})(.*)$")


@dataclass
class Block:
    """A fenced block; `line` is that of its fence, from 1."""

    page: str
    line: int
    info: str
    text: str = ""
    shown: str = ""
    """What a `text` block after it says that it prints."""
    printed: bool = False
    """It is such a block."""

    @property
    def kind(self) -> str:
        return self.info.split(" ", 1)[0]

    @property
    def stays(self) -> bool:
        return self.info == "sh stays"

    @property
    def fails(self) -> bool:
        return self.info == "sh fails"

    @property
    def interrupts(self) -> bool:
        return self.info == "Ctrl-C"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass
class Page:
    name: str
    blocks: list[Block] = field(default_factory=list)

    @property
    def steps(self) -> list[Block]:
        """What the reader does, in order."""
        return [block for block in self.blocks if block.kind in {"sh", "Ctrl-C"}]


def tracked() -> list[str]:
    """The working tree's files: what git knows, and what it would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in set(out.split("\0")) if name and (ROOT / name).is_file())


def names() -> list[str]:
    """Every page there is."""
    wanted = re.compile(r"(README|CONTRIBUTING)\.md|docs/.*\.md|examples/.*/README\.md")
    return [name for name in tracked() if wanted.fullmatch(name)]


def read(name: str) -> Page:
    return parse(name, (ROOT / name).read_text())


def parse(name: str, text: str) -> Page:
    """Raises: AssertionError for a fence that is never closed."""
    page, last, fence, indent = Page(name), None, "", ""
    block: Block | None = None
    for number, line in enumerate(text.splitlines(), 1):
        found = FENCE.match(line)
        if block is not None:
            if found and found[2].startswith(fence) and not found[3].strip():
                last, block = _closed(page, block, last), None
            else:
                block.text += line.removeprefix(indent) + "\n"
        elif found:
            indent, fence = found[1], found[2]
            block = Block(name, number, found[3].strip())
        elif MARK.match(line):
            page.blocks.append(Block(name, number, "Ctrl-C"))
        elif line.startswith("#"):
            last = None
    assert block is None, f"{block}: the fence is never closed"
    return page


def _closed(page: Page, block: Block, last: Block | None) -> Block:
    page.blocks.append(block)
    if block.kind == "text" and last is not None and last.kind == "sh":
        last.shown, block.printed = block.text, True
    return block
