"""A real Chromium, told what to do over its own protocol by a pipe: no driver, no port.

Only what the tests need: open a page, press keys and buttons by asking the page, wait for what shall come true, take a picture.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-proxy-server", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip


def binary() -> str:
    """Where Chromium is; installs Debian's package once when it is nowhere."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", *command], env=environment, check=False, capture_output=True, timeout=900)
        found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("Chromium is missing; install Debian's package `chromium`")
    return found


class Browser:
    """One page of it. Use `running`."""

    def __init__(self, folder: Path) -> None:
        answers, tell = os.pipe(), os.pipe()  # it reads what it is told on 3, and answers on 4
        command = [binary(), *ARGUMENTS, f"--user-data-dir={folder}", "about:blank"]
        script = f'exec "$@" 3<&{tell[0]} 4>&{answers[1]}'
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", script, "bash", *command],
                pass_fds=(tell[0], answers[1]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(tell[0])
        os.close(answers[1])
        self._tell, self._answers = tell[1], answers[0]
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        (page,) = [each for each in self.send("Target.getTargets")["targetInfos"] if each["type"] == "page"]
        self._session = self.send("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(20)
        os.close(self._tell)
        os.close(self._answers)

    # -- the protocol ------------------------------------------------------------------------------------------

    def send(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._tell, data) :]
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._answers, 1 << 16)
            assert part, "the browser has gone"
            self._rest += part
        text, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(text)
        return found

    # -- what tests do -----------------------------------------------------------------------------------------

    def open(self, url: str) -> None:
        self.send("Page.navigate", url=url)

    def ask(self, expression: str) -> Any:
        """What a JavaScript expression is in the page, awaited."""
        found = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 30) -> Any:
        """Ask until it is true, and answer it."""
        end = time.monotonic() + seconds
        while True:
            # an element has no value of its own: that it is there is the answer
            answer = f"const found = {expression}; return found instanceof Node ? true : found"
            found = self.ask(f"(() => {{ try {{ {answer} }} catch (error) {{ return null }} }})()")
            if found:
                return found
            assert time.monotonic() < end, f"not within {seconds:g} s: {expression}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """With the mouse, where the thing is."""
        find = f"document.querySelector({json.dumps(selector)})"
        self.ask(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        box = self.ask(
            f"(() => {{ const b = {find}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2] }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.send("Input.insertText", text=text)

    def press(self, key: str, *, control: bool = False) -> None:
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowDown": 40, "ArrowUp": 38, "/": 191}
        text = {"Enter": "\r", "/": "/"}.get(key, "")
        common = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": 2 if control else 0}
        self.send(
            "Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text and not control else {})
        )
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def look(self, *, dark: bool = False, width: int = 1280, height: int = 900, phone: bool = False) -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}  # a click must not chase what scrolls
        self.send("Emulation.setEmulatedMedia", features=[scheme, still])
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Errors of the page: exceptions, and what its policy has refused."""
        self.ask("0")
        found = [each for each in self.events if each["method"] == "Runtime.exceptionThrown"]
        found += [
            each
            for each in self.events
            if each["method"] == "Log.entryAdded" and each["params"]["entry"]["source"] in {"security", "javascript"}
        ]
        return [json.dumps(each["params"]) for each in found]

    def requests(self) -> list[str]:
        """Every address the page has asked for."""
        self.ask("0")
        sent = [each for each in self.events if each["method"] == "Network.requestWillBeSent"]
        return [each["params"]["request"]["url"] for each in sent]


@contextlib.contextmanager
def running() -> Iterator[Browser]:
    folder = Path(tempfile.mkdtemp(prefix="penstock-browser-"))
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.close()
        shutil.rmtree(folder, ignore_errors=True)
