"""Programs that run `loaded` beside the test, and what they said."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent


class Program:
    def __init__(self, url: str, node: str) -> None:
        path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "loaded.py"), url, node],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        )
        self.said: list[list[str]] = []
        self.errors: list[str] = []
        self._threads = [
            threading.Thread(
                target=self._read, args=(self.process.stdout, lambda line: self.said.append(line.split()))
            ),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors.append)),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, stream, keep) -> None:
        with stream:
            for line in stream:
                if line.endswith(b"\n"):
                    keep(line.decode().strip())

    def wait_for(self, word: str, count: int = 1, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while len(self.of(word)) < count:
            assert self.process.poll() is None, self.errors
            assert time.monotonic() < end, (word, count, self.errors)
            time.sleep(0.005)

    def of(self, word: str) -> list[list[str]]:
        return [said[1:] for said in list(self.said) if said[0] == word]

    def kill(self) -> None:
        self.process.kill()
        self._end()

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self._end()
        assert self.process.returncode == 0, self.errors

    def _end(self) -> None:
        self.process.wait(30)
        for thread in self._threads:
            thread.join()
        if self.process.stdin is not None:
            self.process.stdin.close()
