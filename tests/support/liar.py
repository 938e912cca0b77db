"""A provider of identity that says whatever a test wants, signed with keys of its own. No provider that is any good does that."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey

KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig", "alg": "RS256"}, private=True)
OTHER = RSAKey.generate_key(2048, {"kid": "first"}, private=True)
"""Says that it is the first."""
NEXT = RSAKey.generate_key(2048, {"kid": "next", "use": "sig", "alg": "RS256"}, private=True)
UNNAMED = RSAKey.generate_key(2048, {}, private=True)
NAMELESS = RSAKey.import_key(
    {name: value for name, value in KEY.as_dict(private=True).items() if name not in {"alg", "kid"}}
)
"""The first, that may be used for any algorithm."""
CURVE = ECKey.generate_key("P-256", {"kid": "first"}, private=True)
HANG = "hang"
ENDLESS = "endless"
Said = tuple[int, str, bytes] | str


def part(content: Any) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def signed(claims: Any, key: Any = KEY, alg: str = "RS256", **header: Any) -> str:
    kid = {} if isinstance(key, OctKey) or key.kid is None else {"kid": key.kid}
    return str(jws.serialize_compact({"alg": alg, **kid, **header}, json.dumps(claims), key, algorithms=[alg]))


def unsigned(claims: Any, **header: Any) -> str:
    return f"{part({'alg': 'none', **header})}.{part(claims)}."


class Issuer:
    """One provider of many in the same server; what a test sets in it, it says."""

    def __init__(self, url: str, client_id: str) -> None:
        self.url = url
        self.client_id = client_id
        self.asked: Counter[str] = Counter()
        self.form: dict[str, Any] = {}
        self.claims: dict[str, Any] = {}
        """Beside or in place of the right ones; None: without it."""
        self.sign: Callable[[dict[str, Any]], str] = signed
        self.keys: list[Any] = [KEY]
        self.says: dict[str, Said] = {}
        """By the last part of the path: status, content type and content; or HANG, ENDLESS."""
        self.discovery: dict[str, Any] = {}
        self.nonce = ""
        self.email = ""
        self.userinfo: dict[str, Any] | None = None

    def answer(self, what: str) -> Said:
        self.asked[what] += 1
        if what in self.says:
            return self.says[what]
        made = getattr(self, f"_{what.replace('-', '_')}")()
        return 200, "application/json", json.dumps(made).encode()

    def _openid_configuration(self) -> Any:
        return {
            "issuer": self.url,
            **{f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token", "userinfo")},
            "jwks_uri": f"{self.url}/keys",
            **self.discovery,
        }

    def _keys(self) -> Any:
        return {"keys": [key if isinstance(key, dict) else key.as_dict(private=False) for key in self.keys]}

    def _token(self) -> Any:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": self.client_id, "sub": "subject", "exp": now + 300, "iat": now, "nonce": self.nonce,
            "email": self.email, "email_verified": True, **self.claims,
        }  # fmt: skip
        token = self.sign({name: value for name, value in claims.items() if value is not None})
        more = {} if self.userinfo is None else {"access_token": "of the liar"}
        return {"id_token": token, "token_type": "Bearer", **more}

    def _userinfo(self) -> Any:
        return self.userinfo


class Liar:
    """The server. Issuers are folders of it."""

    def __init__(self) -> None:
        self.issuers: dict[str, Issuer] = {}
        self.leave = threading.Event()
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", "0")))
                _, name, *_, what = self.path.split("/")
                said = liar.issuers[name].answer(what)
                if said == HANG:
                    liar.leave.wait(60)
                    return
                status, kind, content = (200, "application/json", b"") if isinstance(said, str) else said
                self.send_response(status)
                self.send_header("content-type", kind)
                if status == 302:
                    self.send_header("location", content.decode())
                if said != ENDLESS:
                    self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
                while said == ENDLESS:
                    self.wfile.write(b" " * 65_536)

            def do_GET(self) -> None:
                with contextlib.suppress(ConnectionError):
                    self.answer()

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def issuer(self, name: str, client_id: str) -> Issuer:
        made = self.issuers[name] = Issuer(f"{self.url}/{name}", client_id)
        return made

    def close(self) -> None:
        self.leave.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
