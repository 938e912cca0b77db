"""A reader's terminals: a shell that keeps its variables and background jobs from block to block, and others that stay busy.

Everything they start ends with them. Nothing is fetched from elsewhere: proxies that do not exist stand in the way of
every address but loopback.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from docs.pages import ROOT, Block, tracked

SECONDS = 120.0
"""What a block may take; on an idle machine the slowest takes a tenth of it."""
PATIENCE = 10.0
"""Seconds for what is asked to end, before it is killed."""

# Each name it reads is a file with a block; a block that fails ends the shell, as `set -e` has it.
_SHELL = """
set -o pipefail
while IFS= read -r -u {asked} block; do
  exec >"$block.out" 2>&1
  if [[ $block == *.fails ]]; then
    set +e; . "$block" {asked}<&- {answered}>&-; echo $? >&{answered}
  else
    set -e; . "$block" {asked}<&- {answered}>&-; echo 0 >&{answered}
  fi
done
"""


_HEARS_CTRL_C = ["env", "--default-signal=INT"]
"""What a background job of a script ignores, its children would ignore, too."""


class Told(AssertionError):
    """A block did not do what its page says."""


def copied(folder: Path) -> Path:
    """A fresh working tree, with the installed program linked in."""
    tree = folder / "penstock"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    (tree / ".venv").symlink_to(sys.prefix)
    return tree


def environment(home: Path) -> dict[str, str]:
    """What a terminal has that was just opened."""
    home.mkdir(exist_ok=True)
    nowhere = "http://127.0.0.1:9"
    path = [part for part in os.environ["PATH"].split(":") if Path(part).resolve() != Path(sys.prefix, "bin").resolve()]
    return {
        "PATH": ":".join(path),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "PYTHONUNBUFFERED": "1",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), nowhere),
        **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),
    }


class Shell:
    """The terminal in which the page goes on."""

    def __init__(self, tree: Path, env: dict[str, str], folder: Path) -> None:
        self._folder = folder
        self._blocks = 0
        read_asked, self._asked = os.pipe()
        self._answered, write_answered = os.pipe()
        self.process = subprocess.Popen(
            [*_HEARS_CTRL_C, "bash", "--norc", "-c", _SHELL.format(asked=read_asked, answered=write_answered)],
            cwd=tree,
            env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=(read_asked, write_answered),
            start_new_session=True,
        )
        os.close(read_asked)
        os.close(write_answered)

    def run(self, block: Block, text: str, seconds: float = SECONDS) -> str:
        """What it prints. Raises: Told."""
        self._blocks += 1
        file = self._folder / f"block{self._blocks}{'.fails' if block.fails else ''}"
        file.write_text(text)
        out = Path(f"{file}.out")
        out.touch()
        os.write(self._asked, f"{file}\n".encode())
        answer = self._answer(seconds)
        output = out.read_text()
        if answer is None:
            raise Told(f"{block}: not done within {seconds:g} s\n{text}\n{output}")
        if not answer:
            raise Told(f"{block}: exit code {self.process.wait(5)}\n{text}\n{output}")
        if block.fails and answer == ["0"]:
            raise Told(f"{block}: is meant to fail, and does not\n{text}\n{output}")
        return output

    def _answer(self, seconds: float) -> list[str] | None:
        """Nothing in it: the shell has ended; None: it goes on. Its background jobs may hold the pipe open."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            ended = self.process.poll() is not None
            if select.select([self._answered], [], [], 0 if ended else 0.05)[0]:
                return os.read(self._answered, 100).decode().split()
            if ended:
                return []
        return None

    def end(self) -> None:
        os.close(self._asked)
        os.close(self._answered)
        end_session(self.process)


class Busy:
    """A terminal that stays with its block."""

    def __init__(self, block: Block, text: str, tree: Path, env: dict[str, str], log: Path) -> None:
        self.block = block
        self._log = log
        log.touch()
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*_HEARS_CTRL_C, "bash", "--norc", "-ec", text],
                cwd=tree,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def wait(self, shown: str, seconds: float = SECONDS) -> None:
        """Until it has printed that. Raises: Told."""
        until = time.monotonic() + seconds
        while (missing := first_missing(shown, self._log.read_text())) is not None:
            if self.process.poll() is not None:
                raise Told(f"{self.block}: ended with {self.process.returncode}\n{self._log.read_text()}")
            if time.monotonic() > until:
                raise Told(
                    f"{self.block}: within {seconds:g} s it has not printed {missing!r}\n{self._log.read_text()}"
                )
            time.sleep(0.02)

    def interrupt(self) -> None:
        """Ctrl-C. Raises: Told where it does not end by that, or complains."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            raise Told(f"{self.block}: Ctrl-C does not end it\n{self._log.read_text()}") from None
        if code not in {0, 130, -signal.SIGINT}:
            raise Told(f"{self.block}: ended with {code}\n{self._log.read_text()}")

    def end(self) -> None:
        end_session(self.process)


def end_session(shell: subprocess.Popen[bytes]) -> None:
    """Everything that was started in this terminal: politely, then not."""
    for how, patience in ((signal.SIGTERM, PATIENCE), (signal.SIGKILL, 5.0)):
        for pid in _session(shell.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if shell.poll() is not None and not _session(shell.pid):
                return
            time.sleep(0.02)
    raise AssertionError(f"still there: {_session(shell.pid)}")


def _session(leader: int) -> list[int]:
    """The processes of a session that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
            if int(session) == leader and state not in "ZX":
                found.append(int(stat.parent.name))
    return found


def first_missing(shown: str, output: str) -> str | None:
    """The first line of `shown` that does not stand in the output after those before it; blanks count as one."""
    lines = iter(output.splitlines())
    for wanted in shown.splitlines():
        if not wanted.strip() or wanted.strip() == "…":
            continue
        parts = (r"\s+".join(map(re.escape, part.split(" "))) for part in " ".join(wanted.split()).split("…"))
        pattern = re.compile(r"\s*" + r"[^\n]*?".join(parts) + r"\s*")
        if not any(pattern.fullmatch(line) for line in lines):
            return wanted
    return None
