"""What commands print: JSON for programs, or text and tables for people. Data on stdout, everything else on stderr."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

T = TypeVar("T")

_WIDE = 240
"""Columns where nobody looks at a terminal: what is read by a pipe must not be cut to 80."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

STATE_STYLES = {
    "RUNNING": "cyan", "RETRYING": "cyan", "FAILED": "bold red", "INCIDENT": "bold red", "SUSPENDED": "yellow",
    "TERMINATING": "magenta", "TERMINATED": "magenta", "CANCELLED": "dim", "COMPLETED": "green", "READY": "cyan",
    "CLAIMED": "yellow", "OPEN": "cyan", "SUPERSEDED": "dim",
}  # fmt: skip


class Output:
    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def show(self, data: Any, human: Callable[[Console], None]) -> None:
        """The same answer, for a program or for a person."""
        if self.as_json:
            self.json(data)
        else:
            human(console())

    def json(self, data: Any) -> None:
        import msgspec  # noqa: PLC0415 - only when there is something to print

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n")

    def note(self, text: str) -> None:
        """A word to a person beside the answer."""
        if not self.as_json:
            console(err=True).print(text, highlight=False, markup=False)

    def progress(self, work: Sequence[T], label: str) -> Iterable[T]:
        """The same, with a bar on a terminal where there is more than one."""
        if self.as_json or len(work) < 2 or not sys.stderr.isatty():
            return work
        from rich.progress import track  # noqa: PLC0415

        return track(work, description=label, console=console(err=True), transient=True)

    @contextmanager
    def working(self, label: str) -> Iterator[None]:
        """A spinner on a terminal, for work of unknown length."""
        if self.as_json or not sys.stderr.isatty():
            yield
            return
        with console(err=True).status(label):
            yield


def console(*, err: bool = False) -> Console:
    from rich.console import Console as RichConsole  # noqa: PLC0415

    stream = sys.stderr if err else sys.stdout
    return RichConsole(file=stream, width=None if stream.isatty() else _WIDE, highlight=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[RenderableType]],
    *,
    title: str | None = None,
    whole: Collection[str] = (),
) -> RenderableType:
    """`whole`: columns besides the first whose words are never broken."""
    from rich import box  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    out = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, name in enumerate(columns):
        # what a thing is called by stands first, and in one piece: it is copied into the next command; nothing is cut
        out.add_column(name, no_wrap=number == 0 or name in whole, min_width=min(len(name), 6), overflow="fold")
    for row in rows:
        out.add_row(*row)
    return out


def state(name: str) -> RenderableType:
    return plain(name, STATE_STYLES.get(name, ""))


def plain(value: Any, style: str = "") -> RenderableType:
    """Text that is data: its brackets are not markup, and it tells the terminal nothing."""
    from rich.text import Text  # noqa: PLC0415

    return Text("" if value is None else _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)), style=style)


def moment(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S") if at else ""


def near(at: datetime | None, now: datetime) -> str:
    """Where there is little room: the time of today, day and time of this year, else the day."""
    if at is None:
        return ""
    there, here = at.astimezone(), now.astimezone()
    if there.date() == here.date():
        return there.strftime("%H:%M")
    return there.strftime("%m-%d %H:%M" if there.year == here.year else "%Y-%m-%d")


def lasted(start: datetime | None, end: datetime | None) -> str:
    if start is None or end is None:
        return ""
    seconds = (end - start).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def text_of(label: Any) -> str:
    """A text, or the one of a map by language that comes first (English where there is one)."""
    if isinstance(label, dict):
        label = label.get("en") or next(iter(label.values()), "")
    return str(label or "")


def brief(value: Any, width: int = 80) -> str:
    """JSON on one line, cut."""
    import msgspec  # noqa: PLC0415

    text = msgspec.json.encode(value).decode()
    return text if len(text) <= width else text[: width - 1] + "…"
