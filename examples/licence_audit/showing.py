"""What the demo prints: one line a stage while it runs; at the end a timeline, the licences, and what was checked."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from penstock.client import models

WIDEST = 110
_ROOMY = 96
"""From here on there is room for notes."""
_STYLES = {"permissive": "green", "weak copyleft": "yellow", "strong copyleft": "red", "proprietary": "magenta"}


class Screen:
    def __init__(self) -> None:
        # Where nobody looks at a terminal the width is the one a log reads well in.
        width = None if sys.stdout.isatty() else int(os.environ.get("COLUMNS") or 100)
        self.console = Console(width=width, highlight=False)
        if self.console.width > WIDEST:
            self.console = Console(width=WIDEST, highlight=False)
        self._began = time.monotonic()
        self._bar = Progress(
            TextColumn("  {task.description:>15}"),
            BarColumn(30),
            MofNCompleteColumn(),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("judging", total=None)

    def title(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(f" {text}", "bold"))
        self.console.print()

    def stage(self, name: str, text: str, style: str = "cyan") -> None:
        seconds = time.monotonic() - self._began
        line = Text.assemble((f"{seconds:6.1f} s ", "dim"), (f"{name:>9}  ", f"bold {style}"), text)
        line.overflow = "fold"
        self.console.print(line)

    def progress(self, done: int, total: int) -> None:
        """A bar on a terminal; a log needs none."""
        if not self.console.is_terminal:
            return
        self._bar.update(self._task, completed=done, total=total)
        if done < total:
            self._bar.start()
        else:
            self._bar.stop()

    def close(self) -> None:
        self._bar.stop()

    @property
    def _roomy(self) -> bool:
        return self.console.width >= _ROOMY

    def timeline(self, visits: Sequence[models.Visit], notes: Mapping[str, str]) -> None:
        """The process's own visits; the elements of its for_each are one line with it."""
        own = [visit for visit in visits if visit.scope == 0 and visit.started_at]
        first = min(visit.started_at for visit in own if visit.started_at)
        last = max(visit.ended_at or first for visit in own)
        table = _table("Timeline", ("at", "right"), "", "node", "kind", ("took", "right"), "", "")
        for column in table.columns:
            column.no_wrap = True
        for visit in own:
            assert visit.started_at is not None
            ended = visit.ended_at or last
            table.add_row(
                Text(f"{(visit.started_at - first).total_seconds():.2f} s", "dim"),
                Text("✓", "green") if visit.state == "COMPLETED" else Text(visit.state.lower(), "red"),
                Text(visit.node, "bold"),
                Text(visit.kind, "dim"),
                _took((ended - visit.started_at).total_seconds()),
                _bar(visit.started_at, ended, first, last),
                Text(notes.get(visit.node, "") if self._roomy else "", "dim"),
            )
        self.console.print(table)

    def licences(self, rows: Iterable[tuple[str, str, int]], total: int) -> None:
        table = _table("Licences", "licence", "family", ("packages", "right"), "")
        found, wide = list(rows), 30 if self._roomy else 16
        most = max((count for _, _, count in found), default=1)
        for licence, family, count in found:
            style = _STYLES.get(family, "bold red")
            table.add_row(
                licence, Text(family, style), str(count), Text("█" * max(1, round(count / most * wide)), style)
            )
        table.add_section()
        table.add_row(Text("all", "bold"), "", Text(str(total), "bold"), "")
        self.console.print(table)

    def checks(self, results: Sequence[tuple[bool, str]]) -> None:
        self.console.print(Text("Checked", "bold"))
        for good, text in results:
            mark = ("✓", "green") if good else ("✗", "bold red")
            self.console.print(Text.assemble("  ", mark, " ", text))
        self.console.print()

    def pairs(self, title: str, rows: Iterable[tuple[str, str]]) -> None:
        self.console.print(Text(title, "bold"))
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            table.add_row(f"  {name}", Text(value))
        self.console.print(table)
        self.console.print()

    def failed(self, text: str, logs: Iterable[tuple[str, str]]) -> None:
        self.close()
        self.console.print()
        self.console.print(Text.assemble(("  FAILED  ", "bold white on red"), " ", text))
        for name, tail in logs:
            if tail:
                self.console.print(Text(f"\n{name}", "bold"))
                self.console.print(Text(tail, "dim"))


def _table(title: str, *columns: str | tuple[str, str]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold")
    return table


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def _bar(start: datetime, end: datetime, first: datetime, last: datetime, wide: int = 26) -> Text:
    whole = (last - first).total_seconds() or 1.0
    begin = int((start - first).total_seconds() / whole * (wide - 1))
    until = int((end - first).total_seconds() / whole * (wide - 1))
    return Text(" " * begin + "━" * (until - begin + 1), "cyan")
