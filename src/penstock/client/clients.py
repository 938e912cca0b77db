"""`Client` and `AsyncClient`: where to, as whom, how; and the two ports `exchange` works over."""

from __future__ import annotations

import asyncio
import copy
import functools
import ssl
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from penstock import __version__
from penstock.client import credentials as sources
from penstock.client import models
from penstock.client.calls import Api
from penstock.client.credentials import Credentials, Grant
from penstock.client.errors import CredentialsError, Unreachable
from penstock.client.exchange import Access, Call, Reply, Retry, exchange
from penstock.client.files import Download, Upload
from penstock.client.following import SILENCE, EventTail, ExportTail, PositionTail, Tail
from penstock.client.request import Async, M, Request, Sync
from penstock.client.token_cache import TokenCache

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Transport:
    """How connections are made; times in seconds."""

    timeout: float = 30.0
    """To read an answer (a long poll's wait comes on top) and to write a request."""
    connect_timeout: float = 5.0
    max_connections: int = 20
    keepalive: float = 60.0
    verify: ssl.SSLContext | bool = True


class _Base(Api[M], ABC):
    """What both clients share: where to, as whom, how."""

    asynchronous: ClassVar[bool]

    def __init__(
        self,
        url: str | Credentials,
        client_id: str | None = None,
        client_secret: str | None = None,
        *,
        token: str | None = None,
        retry: Retry | None = None,
        transport: Transport | None = None,
        tokens: TokenCache | None = None,
    ) -> None:
        """`tokens`: keep what is issued for the client's successors, and take what its predecessors have kept."""
        if not isinstance(url, Credentials):
            url = Credentials(url, Grant(client_id=client_id, client_secret=client_secret, token=token))
        parts = urlsplit(url.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise CredentialsError(f"not a server's URL: {url.url!r} (expected http://… or https://…)")
        self.credentials = url
        self.retry = retry or Retry()
        self.transport = transport or Transport()
        self.key: str | None = None
        """The idempotency key of `using`; None makes one for each changing call."""
        self._tokens = tokens
        kept = None if tokens is None else functools.partial(tokens.of, url.url, url.grant)
        self._access = Access(url.grant, kept=kept)
        self._connect()
        super().__init__(self)

    @classmethod
    def from_credentials(
        cls,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        environ: Mapping[str, str] | None = None,
        login: Path | None = None,
        retry: Retry | None = None,
        transport: Transport | None = None,
        tokens: TokenCache | None = None,
    ) -> Self:
        """From a credentials.json; without a path from PENSTOCK_* variables or ./.penstock/credentials.json, else from the
        file `login`.

        `url` overrides the one found. Raises `CredentialsError`.
        """
        found = sources.load(path, environ, login=login)
        return cls(found.at(url), retry=retry, transport=transport, tokens=tokens)

    def as_user(self, email: str, password: str | None = None) -> Self:
        """A client of its own for a user; the password may come from the credentials file."""
        found = self.credentials.as_user(email, password)
        return type(self)(found, retry=self.retry, transport=self.transport, tokens=self._tokens)

    def using(self, *, key: str | None = None, retry: Retry | None = None) -> Self:
        """The same client and connections with an idempotency key (for one call), or with another retry policy."""
        twin = copy.copy(self)
        twin.retry = retry or self.retry
        twin.key = key
        Api.__init__(twin, twin)
        return twin

    @abstractmethod
    def _connect(self) -> None: ...

    @abstractmethod
    def send(self, request: Request[Any], /) -> Any: ...

    def _http_options(self) -> dict[str, Any]:
        parts = urlsplit(self.credentials.url)
        how = self.transport
        return {
            "base_url": self.credentials.url.rstrip("/"),
            "headers": {"User-Agent": f"penstock-python/{__version__}"},
            "timeout": httpx.Timeout(how.timeout, connect=how.connect_timeout),
            "limits": httpx.Limits(
                max_connections=how.max_connections,
                max_keepalive_connections=how.max_connections,
                keepalive_expiry=how.keepalive,
            ),
            # Reading the CA bundle takes longer than many a call; without TLS nobody asks for it.
            "verify": how.verify if parts.scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            # A proxy cannot reach this machine's own loopback.
            "trust_env": parts.hostname not in ("localhost", "127.0.0.1", "::1"),
        }


class Client(_Base[Sync]):
    """The native API, blocking. Threads may share one."""

    asynchronous: ClassVar[bool] = False

    def _connect(self) -> None:
        self._port = _BlockingPort(httpx.Client(**self._http_options()), self.transport)

    def send(self, request: Request[T], /) -> T:
        """Carries any request out; the namespaces' methods are made of it. Raises `ClientError`."""
        return _finish(exchange(self._port, request, self._access, self.retry, self.key))

    def events(
        self,
        *,
        after: int | None = None,
        process: str | None = None,
        definition: str | None = None,
        types: Sequence[str] = (),
        mine: bool = False,
        until: int | None = None,
    ) -> Iterator[models.Event]:
        """What happens, as it happens, each event once and in order; a connection that breaks is made again.

        `after`, `until`: feed numbers; without the first it begins now, without the second it never ends. `mine`: of processes
        with an item for the caller. Raises `ClientError` when the server refuses, or is away for minutes.
        """
        tail = EventTail(self.retry, after, process=process, definition=definition, types=types, mine=mine, until=until)
        return self._follow(tail)

    def export_audit(self, from_feed: int = 1, to_feed: int | None = None) -> Iterator[bytes]:
        """The lines of the audit's export, for `penstock audit verify`."""
        return self._follow(ExportTail(self.retry, from_feed, to_feed))

    def feed_position(self) -> int:
        """The number of the newest event: where `events(after=…)` begins to wait."""
        return next(self._follow(PositionTail(self.retry)))

    def _follow(self, tail: Tail[T]) -> Iterator[T]:
        refused: str | None = None
        while not tail.ended():
            if self._access.stale() or refused is not None:
                _finish(self._access.renew(self._port, self.retry, refused))
            token, error = self._access.token, None
            try:
                with self._port.http.stream("GET", tail.path, **_stream_options(tail, token, self.transport)) as answer:
                    if answer.status_code == 401 and self._access.renewable and refused is None:
                        refused = token
                        continue
                    if answer.status_code >= 300:
                        asked = answer.headers.get("retry-after")
                        pause = tail.pause_after_refusal(answer.status_code, answer.read(), asked)
                        time.sleep(pause)
                        continue
                    refused = None
                    tail.begin()
                    for text in answer.iter_lines():
                        tail.came()
                        if (found := tail.line(text)) is not None:
                            yield found
                        if tail.ended():
                            return
            except httpx.TransportError as trouble:
                error = trouble
            if not tail.ended():
                time.sleep(tail.pause_after_error(error))

    def close(self) -> None:
        self._port.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncClient(_Base[Async]):
    """The native API for asyncio. Belongs to one event loop."""

    asynchronous: ClassVar[bool] = True

    def _connect(self) -> None:
        self._port = _AsyncPort(httpx.AsyncClient(**self._http_options()), self.transport)

    async def send(self, request: Request[T], /) -> T:
        """Carries any request out; the namespaces' methods are made of it. Raises `ClientError`."""
        return await exchange(self._port, request, self._access, self.retry, self.key)

    def events(
        self,
        *,
        after: int | None = None,
        process: str | None = None,
        definition: str | None = None,
        types: Sequence[str] = (),
        mine: bool = False,
        until: int | None = None,
    ) -> AsyncIterator[models.Event]:
        """What happens, as it happens, each event once and in order; a connection that breaks is made again.

        `after`, `until`: feed numbers; without the first it begins now, without the second it never ends. `mine`: of processes
        with an item for the caller. Raises `ClientError` when the server refuses, or is away for minutes.
        """
        tail = EventTail(self.retry, after, process=process, definition=definition, types=types, mine=mine, until=until)
        return self._follow(tail)

    def export_audit(self, from_feed: int = 1, to_feed: int | None = None) -> AsyncIterator[bytes]:
        """The lines of the audit's export, for `penstock audit verify`."""
        return self._follow(ExportTail(self.retry, from_feed, to_feed))

    async def feed_position(self) -> int:
        """The number of the newest event: where `events(after=…)` begins to wait."""
        return await anext(self._follow(PositionTail(self.retry)))

    async def _follow(self, tail: Tail[T]) -> AsyncIterator[T]:
        refused: str | None = None
        while not tail.ended():
            if self._access.stale() or refused is not None:
                await self._access.renew(self._port, self.retry, refused)
            token, error = self._access.token, None
            options = _stream_options(tail, token, self.transport)
            try:
                async with self._port.http.stream("GET", tail.path, **options) as answer:
                    if answer.status_code == 401 and self._access.renewable and refused is None:
                        refused = token
                        continue
                    if answer.status_code >= 300:
                        asked = answer.headers.get("retry-after")
                        pause = tail.pause_after_refusal(answer.status_code, await answer.aread(), asked)
                        await asyncio.sleep(pause)
                        continue
                    refused = None
                    tail.begin()
                    async for text in answer.aiter_lines():
                        tail.came()
                        if (found := tail.line(text)) is not None:
                            yield found
                        if tail.ended():
                            return
            except httpx.TransportError as trouble:
                error = trouble
            if not tail.ended():
                await asyncio.sleep(tail.pause_after_error(error))

    async def aclose(self) -> None:
        await self._port.http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class _BlockingPort:
    """Its coroutines never suspend: they block the thread, and may so be run by `_finish`."""

    def __init__(self, http: httpx.Client, how: Transport) -> None:
        self.http = http
        self._how = how
        self._lock = threading.Lock()

    async def call(self, call: Call) -> Reply:
        body = call.body.chunks() if isinstance(call.body, Upload) else call.body
        options = _options(call, self._how)
        with _other_trouble(call), self.http.stream(call.method, call.path, content=body, **options) as answer:
            if call.into is None or answer.status_code >= 300:
                return Reply(answer.status_code, answer.headers, answer.read())
            with _whole(call.into):
                for chunk in answer.iter_bytes():
                    call.into.write(chunk)
            return Reply(answer.status_code, answer.headers, b"")

    async def pause(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - see the class

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        with self._lock:
            yield


class _AsyncPort:
    def __init__(self, http: httpx.AsyncClient, how: Transport) -> None:
        self.http = http
        self._how = how
        self._lock = asyncio.Lock()

    async def call(self, call: Call) -> Reply:
        body = _in_a_thread(call.body.chunks()) if isinstance(call.body, Upload) else call.body
        options = _options(call, self._how)
        with _other_trouble(call):
            async with self.http.stream(call.method, call.path, content=body, **options) as answer:
                if call.into is None or answer.status_code >= 300:
                    return Reply(answer.status_code, answer.headers, await answer.aread())
                with _whole(call.into):
                    async for chunk in answer.aiter_bytes():
                        await asyncio.to_thread(call.into.write, chunk)
                return Reply(answer.status_code, answer.headers, b"")

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        async with self._lock:
            yield


def _finish(work: Coroutine[Any, Any, T]) -> T:
    try:
        work.send(None)
    except StopIteration as end:
        answer: T = end.value
        return answer
    work.close()
    raise RuntimeError("a blocking call tried to suspend")


def _stream_options(tail: Tail[Any], token: str | None, how: Transport) -> dict[str, Any]:
    timeout = httpx.Timeout(how.timeout, connect=how.connect_timeout, read=SILENCE)
    return {"params": tail.query(), "headers": tail.headers(token), "timeout": timeout}


def _options(call: Call, how: Transport) -> dict[str, Any]:
    timeout = httpx.Timeout(how.timeout, connect=how.connect_timeout, read=how.timeout + call.wait)
    return {"params": call.query or None, "headers": dict(call.headers), "timeout": timeout}


async def _in_a_thread(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Reading a file must not hold the loop."""
    while chunk := await asyncio.to_thread(next, chunks, b""):
        yield chunk


@contextmanager
def _whole(into: Download) -> Iterator[None]:
    try:
        into.begin()
        yield
    except BaseException:
        into.give_up()
        raise


@contextmanager
def _other_trouble(call: Call) -> Iterator[None]:
    """What httpx raises besides transport errors (a body that cannot be decompressed, say) becomes ours."""
    try:
        yield
    except httpx.TransportError:
        raise
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise Unreachable(f"{error} ({call.method} {call.path})") from error
