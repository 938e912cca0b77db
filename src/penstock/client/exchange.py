"""How one request becomes one answer: token, retries, errors. Written once, over a `Port` that each client has.

The blocking client's port never suspends, so its coroutine runs to the end in one go; that is all the two differ in.

What is repeated: every request that never left (no connection), and of those that may have been carried out only the
repeatable ones: reads, jobs calls (their lease fences them) and whatever carries an Idempotency-Key.
"""

from __future__ import annotations

import functools
import random
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Protocol, TypeVar, cast

import httpx
import msgspec

from penstock.client.calls import token_request
from penstock.client.credentials import Grant
from penstock.client.errors import (
    ApiError,
    ClientError,
    CredentialsError,
    UnexpectedAnswer,
    Unreachable,
    error_from_answer,
)
from penstock.client.files import Download, Upload
from penstock.client.request import Request

T = TypeVar("T")

_NEVER_LEFT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
PASSING = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Retry:
    """How transport trouble is met. `attempts` counts the first one; delays grow by two, with full jitter."""

    attempts: int = 5
    delay: float = 0.2
    cap: float = 10.0
    patience: float = 60.0
    """A `Retry-After` longer than this is not waited for."""

    def pause(self, attempt: int) -> float:
        """Seconds after the n-th attempt failed."""
        longest: float = min(self.cap, self.delay * 2 ** min(attempt - 1, 30))
        return random.uniform(longest / 4, longest)  # noqa: S311 - not a secret

    def pause_after(self, error: ClientError, attempt: int) -> float:
        """The same, and no less than the server asked for."""
        asked = error.retry_after if isinstance(error, ApiError) else None
        return max(min(asked or 0.0, self.patience), self.pause(attempt))


NO_RETRY = Retry(attempts=1)


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP request to be sent."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes | Upload | None
    wait: float
    into: Download | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class Port(Protocol):
    """What a client can do in the world."""

    async def call(self, call: Call, /) -> Reply:
        """Raises `httpx.TransportError`."""

    async def pause(self, seconds: float, /) -> None: ...

    def alone(self) -> AbstractAsyncContextManager[None]:
        """One caller at a time."""


class Kept(Protocol):
    """Where a credential's token outlives the client. Never raises."""

    def load(self) -> tuple[str, float] | None:
        """The token, and for how many seconds it is good."""

    def save(self, token: str, seconds: float, /) -> None: ...

    def drop(self) -> None: ...


class Access:
    """The token of one credential, shared by every copy of a client."""

    def __init__(
        self, grant: Grant, clock: Callable[[], float] = time.monotonic, kept: Callable[[], Kept] | None = None
    ) -> None:
        """`kept` is asked when the first token is needed."""
        self._form = grant.form()
        self._clock = clock
        self._kept = kept
        self._good_until = float("inf") if grant.token else float("-inf")
        self.token = grant.token
        self.renewable = self._form is not None

    def stale(self) -> bool:
        return self._clock() >= self._good_until

    async def renew(self, port: Port, retry: Retry, refused: str | None) -> None:
        """Makes sure of a token that is fresh and not the refused one."""
        async with port.alone():
            if self.stale() or self.token == refused:  # else somebody renewed it while we waited
                kept = self._kept() if self._kept is not None and self.renewable else None
                if kept is None or not self._take(kept, refused):
                    await self._fetch(port, retry, kept)

    def _take(self, kept: Kept, refused: str | None) -> bool:
        """A token from before, unless one was refused: then it is fetched anew."""
        if refused is not None:
            kept.drop()
            return False
        found = kept.load()
        if found is None:
            return False
        self.token, self._good_until = found[0], self._clock() + found[1]
        return True

    async def _fetch(self, port: Port, retry: Retry, kept: Kept | None) -> None:
        if self._form is None:
            raise CredentialsError("no credentials were given: neither a token, nor an id and its secret, nor a user")
        asked_at = self._clock()
        answer = await exchange(port, token_request(self._form), self, retry)
        lifetime = answer.expires_in
        # Renewed a little early, so that no request sets out with a token that ends on the way.
        early = min(30.0, lifetime * 0.1) if lifetime else 0.0
        self._good_until = asked_at + lifetime - early if lifetime else float("inf")
        self.token = answer.access_token
        if kept is not None and lifetime:
            kept.save(answer.access_token, lifetime - early)


async def exchange(port: Port, request: Request[T], access: Access, retry: Retry, key: str | None = None) -> T:
    """Sends a request until it is answered, refused, or given up. Raises `ClientError`."""
    if request.keyed:
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), **request.headers}
        request = replace(request, headers=headers, repeatable=True)
    attempt, refused, renewed = 1, None, False
    while True:
        if request.bearer is None and (access.stale() or refused is not None):
            await access.renew(port, retry, refused)
        sent = access.token if request.bearer is None else request.bearer
        try:
            reply = await port.call(_call(request, sent))
        except httpx.TransportError as error:
            wait = _pause_after_error(request, retry, attempt, error)
        else:
            if reply.status < 300:
                if request.into is not None:
                    request.into.end(reply.headers.get("etag"))
                return _decode(request, reply)
            if reply.status == 401 and request.bearer is None and access.renewable and not renewed:
                refused, renewed = sent, True
                continue
            wait = _pause_after_refusal(request, retry, attempt, reply)
        await port.pause(wait)
        attempt, refused = attempt + 1, None


def _call(request: Request[Any], token: str | None) -> Call:
    headers = {"Accept": "application/json", **request.headers}
    if request.body is not None:
        headers["Content-Type"] = request.content_type
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return Call(request.method, request.path, request.query, headers, request.body, request.wait, request.into)


def _pause_after_error(request: Request[Any], retry: Retry, attempt: int, error: httpx.TransportError) -> float:
    if attempt < retry.attempts and (request.repeatable or isinstance(error, _NEVER_LEFT)):
        return retry.pause(attempt)
    what = str(error) or type(error).__name__
    raise Unreachable(f"no answer: {what} ({request.where})") from error


def _pause_after_refusal(request: Request[Any], retry: Retry, attempt: int, reply: Reply) -> float:
    asked = retry_after(reply.headers.get("retry-after"))
    error: ClientError = error_from_answer(reply.status, reply.body, where=request.where, retry_after=asked)
    if reply.status not in PASSING or not request.repeatable or attempt >= retry.attempts:
        raise error
    if asked is not None and asked > retry.patience:
        raise error
    return max(asked or 0.0, retry.pause(attempt))


def retry_after(text: str | None) -> float | None:
    """Seconds, from either of the header's two forms."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _decode(request: Request[T], reply: Reply) -> T:
    if not reply.body.strip():
        if request.answer is type(None):
            return request.answer()
        raise UnexpectedAnswer(f"an empty answer ({request.where}, {reply.status})")
    if request.answer is type(None):
        return request.answer()
    try:
        answer: T = _decoder(cast(Any, request.answer)).decode(reply.body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(f"{error} ({request.where}, {reply.status})") from error
    if request.revised:
        revision = reply.headers.get("etag", "").removeprefix("W/").strip('"')
        if revision.isdigit():
            return cast(T, msgspec.structs.replace(cast(Any, answer), revision=int(revision)))
    return answer


@functools.cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)
