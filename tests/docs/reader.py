"""Somebody who does what a page says, top to bottom, and looks whether it prints what the page shows."""

from __future__ import annotations

import re
from pathlib import Path

from docs.pages import Block, Page
from docs.terminals import SECONDS, Busy, Shell, Told, copied, environment, first_missing

LONG = {"make demo": 300.0, "demo.py": 300.0}
"""Seconds for a block with such a line, where that is not enough."""


class Reader:
    """`places`: what stands in the page -> what is put in its place."""

    def __init__(self, folder: Path, places: dict[str, str]) -> None:
        self._folder = folder
        self._places = places
        self._tree = copied(folder)
        self._environment = environment(folder / "home")
        self._shell = Shell(self._tree, self._environment, folder)
        self._busy: list[Busy] = []

    def reads(self, page: Page) -> None:
        """Raises: Told."""
        for block in page.steps:
            self.does(block)
        self.leaves()

    def does(self, block: Block) -> None:
        """Raises: Told."""
        if block.interrupts:
            self._busy.pop().interrupt()
        elif block.stays:
            self._opens(block)
        else:
            text = self._placed(block.text)
            seconds = max((wait for line, wait in LONG.items() if line in text), default=SECONDS)
            output = self._shell.run(block, text, seconds)
            missing = first_missing(self._placed(block.shown), output)
            if missing is not None:
                raise Told(f"{block}: its output has no line {missing!r} (in this order)\n{output}")

    def leaves(self) -> None:
        """Ctrl-C wherever something runs. Raises: Told."""
        while self._busy:
            self._busy.pop().interrupt()

    def end(self) -> None:
        for terminal in (*self._busy, self._shell):
            terminal.end()

    def _opens(self, block: Block) -> None:
        if not block.shown.strip():
            raise Told(f"{block}: say in a text block what it prints when it is ready")
        log = self._folder / f"terminal{len(self._busy)}-{block.line}"
        busy = Busy(block, self._placed(block.text), self._tree, self._environment, log)
        self._busy.append(busy)
        busy.wait(self._placed(block.shown))

    def _placed(self, text: str) -> str:
        for name, place in self._places.items():
            text = re.sub(rf"(?<!\d){re.escape(name)}(?!\d)", place, text)
        return text
