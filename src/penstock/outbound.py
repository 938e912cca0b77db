"""The one guarded client for everything that leaves: http nodes, webhooks, discovery.

A tenant names the URL, so the URL is hostile. A name is resolved once, every address it has is checked, and the
connection is made to one of those very addresses: there is no second look-up an attacker could answer differently. The
`Host` header and the TLS name stay the name. Redirects go through the same checks. Private targets need the operator's
allow list. Time is bounded as a whole, the size of an answer too, and neither a proxy nor a `.netrc` of ours is used.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpcore
import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_REDIRECTS = 5
MAX_ATTEMPTS = 4
"""Addresses of one name that are tried."""
MAX_URL = 8192
MAX_RETRY_AFTER = 24 * 3600.0


class OutboundError(Exception):
    """No usable answer. `permanent` says that trying again is useless."""

    permanent = False


class Blocked(OutboundError):
    """The request may not leave: its target, its URL or its headers are refused."""

    permanent = True


class Failed(OutboundError):
    """Network trouble, time-out, or an answer that is not HTTP."""


class AnswerTooLarge(OutboundError):
    """A successful answer is larger than the limit."""

    permanent = True


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whole. The content of an error (status 400 and above) is cut at the limit."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case; repeated ones are joined with a comma."""
    content: bytes
    retry_after: float | None
    """Seconds, from `Retry-After`."""


# ----------------------------------------------------------------------------------------------------------- addresses

_NEVER = [
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # Azure's metadata and host agent: a public address that is not public
        "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7",
        "fe80::/10", "fec0::/10", "ff00::/8",
    )
]  # fmt: skip
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def public(address: Address) -> bool:
    """Whether anybody on the internet could be meant. What embeds an IPv4 address is judged by that."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        if address.ipv4_mapped is not None:
            return public(address.ipv4_mapped)
        if address in _NAT64:
            return public(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if any(address in network for network in _NEVER if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast


@dataclass(frozen=True, slots=True)
class _Rule:
    """A line of the allow list: a host or a network, and perhaps a port."""

    host: str | None
    network: Network | None
    port: int | None

    def allows(self, host: str, address: Address, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        if self.network is not None:
            return address.version == self.network.version and address in self.network
        return self.host == host


def parse_rule(text: str) -> _Rule:
    """Reads `host`, `host:port`, `10.0.0.0/8`, `10.0.0.1:8080`, `[fd00::1]:8080`.

    Raises: ValueError.
    """
    found = re.fullmatch(r"\[(?P<six>[^\]]+)\](?::(?P<port6>\d+))?|(?P<host>[^:\s]+)(?::(?P<port>\d+))?", text.strip())
    if found is None:
        return _Rule(None, ipaddress.ip_network(text.strip(), strict=False), None)
    name = found["six"] or found["host"]
    port = found["port6"] or found["port"]
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        if found["six"] or "/" in name:
            raise
        return _Rule(name.lower().rstrip("."), None, int(port) if port else None)
    return _Rule(None, network, int(port) if port else None)


async def resolve(host: str, port: int) -> Sequence[str]:
    """What the system says a name means."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _PinnedBackend(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked, and to nothing else."""

    def __init__(self, rules: Sequence[_Rule], resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of httpcore
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        trouble: Exception | None = None
        for address in (await self._addresses(host, port))[:MAX_ATTEMPTS]:
            try:
                return await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                trouble = error
        raise Failed(f"{host}:{port}: {trouble or 'no address'}")

    async def connect_unix_socket(self, path: str, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise Blocked(f"{path}: only TCP leaves")

    async def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            texts = await self._resolver(host, port)
            addresses = [ipaddress.ip_address(text) for text in texts]
        except (OSError, UnicodeError, ValueError) as error:
            raise Failed(f"{host}: cannot be resolved ({error})") from None
        name = host.lower().rstrip(".")
        for address in addresses:
            if not public(address) and not any(rule.allows(name, address, port) for rule in self._rules):
                raise Blocked(
                    f"{host}:{port} leads to {address}, which is not a public address and not on the allow list"
                )
        return addresses


# ------------------------------------------------------------------------------------------------------------ requests

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"})
_SECRET = frozenset({"authorization", "cookie", "proxy-authorization"})
_LOOSE = (301, 302, 303)
_REDIRECT = (*_LOOSE, 307, 308)


@dataclass(slots=True)
class _Gate:
    """How many may go to one host at a time, and how many are there or wait."""

    semaphore: asyncio.Semaphore
    users: int = field(default=0)


class Outbound:
    """The client. Belongs to one event loop; `aclose` ends it."""

    def __init__(
        self,
        allow: Sequence[str] = (),
        *,
        timeout: float = 30.0,
        max_bytes: int = 1024 * 1024,
        connections: int = 100,
        per_host: int = 20,
        keep_alive: float = 15.0,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.timeout = timeout
        self.max_bytes = max_bytes
        self._connections = connections
        self._per_host = per_host
        self._keep_alive = keep_alive
        self._tls = tls
        self._backend = _PinnedBackend([parse_rule(text) for text in allow], resolver)
        self._gates: dict[tuple[str, int | None], _Gate] = {}
        self._opened: httpcore.AsyncConnectionPool | None = None

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        content: bytes = b"",
        timeout: float | None = None,  # noqa: ASYNC109 - bounds the whole, redirects and body too
        *,
        redirects: int = 0,
    ) -> Response:
        """Sends, and takes the whole answer. Follows at most `redirects` (up to 5) redirects.

        Raises: Blocked, Failed, AnswerTooLarge.
        """
        seconds = self.timeout if timeout is None else timeout
        target, given = _url(url), _headers(method, headers or {})
        left = min(redirects, MAX_REDIRECTS)
        try:
            async with asyncio.timeout(seconds):
                while True:
                    response = await self._once(method, target, given, content)
                    location = response.headers.get("location")
                    if response.status not in _REDIRECT or location is None or redirects <= 0:
                        return response
                    if left == 0:
                        raise Blocked(f"{url}: more than {min(redirects, MAX_REDIRECTS)} redirects")
                    left -= 1
                    method, target, given, content = _redirected(
                        response.status, location, method, target, given, content
                    )
        except TimeoutError:
            raise Failed(f"{url}: no answer within {seconds:g} s") from None

    async def aclose(self) -> None:
        """Closes every connection."""
        if self._opened is not None:
            await self._opened.aclose()
            self._opened = None

    async def _once(self, method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes) -> Response:
        request = httpcore.Request(
            method.encode(),
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=_wire_headers(method, url, headers, content),
            content=content,
        )
        try:
            async with self._gate(url.host, url.port):
                answer = await self._pool().handle_async_request(request)
                try:
                    return await self._taken(answer, url)
                finally:
                    await answer.aclose()
        except httpcore.LocalProtocolError as error:
            raise Blocked(f"{url.host}: the request is not HTTP ({error})") from None
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError) as error:
            raise Failed(f"{url.host}: {str(error) or type(error).__name__}") from None

    async def _taken(self, answer: httpcore.Response, url: httpx.URL) -> Response:
        headers: dict[str, str] = {}
        for raw_name, raw_value in answer.headers:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        parts, size = [], 0
        async for part in answer.aiter_stream():
            parts.append(part)
            size += len(part)
            if size > self.max_bytes:
                if answer.status < 400:
                    raise AnswerTooLarge(f"{url.host}: the answer is larger than {self.max_bytes} bytes")
                break
        content = b"".join(parts)[: self.max_bytes]
        return Response(answer.status, headers, content, retry_after(headers.get("retry-after"), time.time()))

    def _pool(self) -> httpcore.AsyncConnectionPool:
        if self._opened is None:
            self._opened = httpcore.AsyncConnectionPool(
                ssl_context=self._tls or httpx.create_ssl_context(trust_env=True),
                max_connections=self._connections,
                max_keepalive_connections=self._connections,
                keepalive_expiry=self._keep_alive,
                network_backend=self._backend,
            )
        return self._opened

    @asynccontextmanager
    async def _gate(self, host: str, port: int | None) -> AsyncIterator[None]:
        """One slow host must not take every connection."""
        gate = self._gates.setdefault((host, port), _Gate(asyncio.Semaphore(self._per_host)))
        gate.users += 1
        try:
            async with gate.semaphore:
                yield
        finally:
            gate.users -= 1
            if gate.users == 0:
                del self._gates[host, port]


def _url(text: str) -> httpx.URL:
    if len(text) > MAX_URL:
        raise Blocked(f"the URL is longer than {MAX_URL} characters")
    if not text.isprintable() or " " in text:
        raise Blocked("the URL holds a blank or a control character")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise Blocked(f"not a URL: {error}") from None
    if url.scheme not in {"http", "https"} or not url.host:
        raise Blocked(f"{text!r}: only http:// and https:// leave")
    if "%" in url.host or not 0 < (url.port or 80) < 65536:
        raise Blocked(f"{text!r}: neither zones nor ports beyond 65535 lead anywhere")
    if url.userinfo:
        raise Blocked(f"{url.host}: credentials do not belong into a URL")
    return url.copy_with(fragment=None)


def _headers(method: str, headers: Mapping[str, str]) -> dict[str, str]:
    if not _TOKEN.fullmatch(method):
        raise Blocked(f"{method!r} is not a method")
    checked = {}
    for name, value in headers.items():
        lower = name.lower()
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise Blocked(f"the header {name!r} is malformed")
        if lower in _OURS or lower.startswith("proxy-"):
            raise Blocked(f"the header {name!r} is not the caller's to set")
        checked[lower] = value
    return checked


def _wire_headers(method: str, url: httpx.URL, headers: Mapping[str, str], content: bytes) -> list[tuple[bytes, bytes]]:
    # No compression is asked for: what a server sends is what is counted, and nothing swells in memory.
    found = {"host": url.netloc.decode("ascii"), "accept": "*/*", "accept-encoding": "identity", **headers}
    if content or method.upper() in {"POST", "PUT", "PATCH"}:
        found["content-length"] = str(len(content))
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in found.items()]


def _redirected(
    status: int, location: str, method: str, url: httpx.URL, headers: dict[str, str], content: bytes
) -> tuple[str, httpx.URL, dict[str, str], bytes]:
    """The next request, as browsers do it: secrets stay with the origin, and a loose redirect becomes a GET."""
    try:
        joined = str(url.join(location))
    except httpx.InvalidURL as error:
        raise Blocked(f"{url.host}: redirects to what is not a URL ({error})") from None
    target = _url(joined)
    if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
        headers = {name: value for name, value in headers.items() if name not in _SECRET}
    if status in _LOOSE and method.upper() not in {"GET", "HEAD"}:
        headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
        method, content = "GET", b""
    return method, target, headers, content


def retry_after(text: str | None, now: float) -> float | None:
    """Seconds to wait, from either form of `Retry-After`; None when there is none that can be read. At most a day."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", text.strip()):
        return min(float(text), MAX_RETRY_AFTER)
    try:
        seconds = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(math.ceil(seconds), 0.0), MAX_RETRY_AFTER)
