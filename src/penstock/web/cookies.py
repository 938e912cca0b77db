"""Cookies: read from a request, written into an answer. A browser gets only what its scripts cannot read.

Where callers come by https the name has the prefix `__Host-`: a browser takes such a cookie from this very host alone, so
that no neighbour under the same domain can lay one there.
"""

from __future__ import annotations

from penstock.web.asked import Asked

HOST_ONLY = "__Host-"
SESSION = "penstock"
LOGIN = "penstock-login"
"""Binds a log-in that goes through a provider to the browser that has begun it."""
_LONGEST = 8_192
_OWN = frozenset({"", "same-origin", "none"})
"""What `Sec-Fetch-Site` says of our own pages, and of what a person types; "": nothing."""
_PORTS = {"http": ":80", "https": ":443"}


class Cookies:
    """How this installation's cookies are written."""

    def __init__(self, public_url: str | None) -> None:
        self._origin = None if public_url is None else _origin(public_url)
        self._secure = None if public_url is None else public_url.startswith("https:")

    def secure(self, scheme: str) -> bool:
        """Whether browsers come by https: as the operator says, else as the call came."""
        return scheme == "https" if self._secure is None else self._secure

    def from_own_page(self, asked: Asked) -> bool:
        """Whether no page of anybody else's has sent this. Browsers say whose it was; what says nothing is no browser's.

        A neighbour under the same domain (`same-site`) is somebody else, though cookies do not tell the two apart.
        """
        site, origin = asked.headers.get("sec-fetch-site", "").lower(), asked.headers.get("origin")
        if site not in _OWN:
            return False
        if origin is None:
            return True
        if self._origin is not None:
            return _origin(origin) == self._origin
        if site:  # a proxy may have changed the host on the way here, and no page can write this header
            return True
        host = asked.headers.get("host", "")
        # a proxy that ends TLS, and of which nobody has told us
        return bool(host) and _origin(origin) in {_origin(f"{scheme}://{host}") for scheme in (asked.scheme, "https")}

    def read(self, asked: Asked, name: str) -> str | None:
        """The cookie's value; None where there is none, or several that differ."""
        header = asked.headers.get("cookie")
        if header is None or len(header) > _LONGEST:
            return None
        wanted = self._name(name, asked)
        pairs = (part.partition("=") for part in header.split(";"))
        found = {value.strip() for each, _, value in pairs if each.strip() == wanted}
        return found.pop() if len(found) == 1 else None

    def write(self, asked: Asked, name: str, value: str, seconds: int) -> str:
        """The value of `Set-Cookie`; `seconds` 0 removes it."""
        parts = [f"{self._name(name, asked)}={value}", "Path=/", f"Max-Age={seconds}", "HttpOnly", "SameSite=Lax"]
        return "; ".join([*parts, "Secure"] if self.secure(asked.scheme) else parts)

    def _name(self, name: str, asked: Asked) -> str:
        return f"{HOST_ONLY}{name}" if self.secure(asked.scheme) else name


def _origin(url: str) -> str:
    """In the form that browsers send: in lower case, without the port that goes without saying."""
    text = url.rstrip("/").lower()
    return text.removesuffix(_PORTS.get(text.partition(":")[0], "\0"))
