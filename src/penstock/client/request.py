"""One description of a call, and how the two kinds of client turn it into something callable.

A call is a method that only *builds* a `Request[T]`; decorated with `verb` or `listing` it becomes, on a namespace of
the sync client, a function that returns T, and on one of the async client a coroutine function of the same parameters.
`Sync` and `Async` exist for the type checker alone: they choose the overload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import update_wrapper
from typing import Any, ClassVar, Concatenate, Final, Generic, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import quote

from penstock.client.files import Download, Upload
from penstock.client.models import Page

T = TypeVar("T")
P = ParamSpec("P")
M = TypeVar("M")

API: Final = "/api/v1"


class Sync:
    """Calls return their answer."""


class Async:
    """Calls return a coroutine of their answer."""


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """A call, ready to be sent by anybody."""

    method: str
    path: str
    answer: type[T]
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | Upload | None = None
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    into: Download | None = None
    """Where the body of a good answer goes, in chunks; there is nothing to decode then."""
    repeatable: bool = False
    """Sending it twice does no harm, even without an idempotency key."""
    keyed: bool = True
    """A changing call that gets an idempotency key unless it carries one."""
    bearer: str | None = None
    """A token of its own, in place of the client's; "" sends none."""
    revised: bool = False
    """The answer's `revision` is what its `ETag` says."""
    wait: float = 0.0
    """How long the server may hold the answer back on purpose; added to the read timeout."""

    @property
    def where(self) -> str:
        return f"{self.method} {self.path}"

    def at_cursor(self, cursor: str) -> Request[T]:
        kept = tuple(pair for pair in self.query if pair[0] != "cursor")
        return replace(self, query=(*kept, ("cursor", cursor)))


class Sender(Protocol):
    """Carries a request out: returns the answer, or a coroutine of it when `asynchronous`."""

    asynchronous: ClassVar[bool]

    def send(self, request: Request[Any], /) -> Any: ...


class Namespace(Generic[M]):
    """Calls that belong together; the sender is all they know of the client."""

    def __init__(self, sender: Sender) -> None:
        self.sender = sender


class verb(Generic[P, T]):  # noqa: N801 - reads as a decorator
    """Makes a call of a method that builds a request."""

    def __init__(self, build: Callable[Concatenate[Any, P], Request[T]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, at: None, owner: type) -> verb[P, T]: ...
    @overload
    def __get__(self, at: Namespace[Sync], owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, at: Namespace[Async], owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, at: Namespace[Any] | None, owner: type) -> Any:
        if at is None:
            return self

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return at.sender.send(self._build(at, *args, **kwargs))

        return update_wrapper(call, self._build)


class _Listing(Generic[P, T]):
    def __init__(self, at: Namespace[Any], build: Callable[Concatenate[Any, P], Request[Page[T]]]) -> None:
        self._at = at
        self._build = build
        self.__doc__ = build.__doc__


class SyncListing(_Listing[P, T]):
    """Called, one page; `all`, every element, page after page."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Page[T]:
        page: Page[T] = self._at.sender.send(self._build(self._at, *args, **kwargs))
        return page

    def all(self, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        request: Request[Page[T]] | None = self._build(self._at, *args, **kwargs)
        while request:
            page: Page[T] = self._at.sender.send(request)
            yield from page.items
            request = request.at_cursor(page.next) if page.next else None


class AsyncListing(_Listing[P, T]):
    """Called, one page; `all`, every element, page after page."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Page[T]:
        page: Page[T] = await self._at.sender.send(self._build(self._at, *args, **kwargs))
        return page

    async def all(self, *args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        request: Request[Page[T]] | None = self._build(self._at, *args, **kwargs)
        while request:
            page: Page[T] = await self._at.sender.send(request)
            for element in page.items:
                yield element
            request = request.at_cursor(page.next) if page.next else None


class listing(Generic[P, T]):  # noqa: N801 - reads as a decorator
    """Makes a paged call of a method that builds a request for a page."""

    def __init__(self, build: Callable[Concatenate[Any, P], Request[Page[T]]]) -> None:
        self._build = build
        self.__doc__ = build.__doc__

    @overload
    def __get__(self, at: None, owner: type) -> listing[P, T]: ...
    @overload
    def __get__(self, at: Namespace[Sync], owner: type) -> SyncListing[P, T]: ...
    @overload
    def __get__(self, at: Namespace[Async], owner: type) -> AsyncListing[P, T]: ...
    def __get__(self, at: Namespace[Any] | None, owner: type) -> Any:
        if at is None:
            return self
        return (AsyncListing if at.sender.asynchronous else SyncListing)(at, self._build)


def segment(text: str) -> str:
    """One path segment, whatever characters it has."""
    return quote(text, safe="")
