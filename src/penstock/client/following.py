"""Answers that go on: events as they come, the lines of an export. A connection that breaks is made again, from where it broke.

A `Tail` knows what to ask for next and what each line means; the clients keep it supplied with lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

import httpx
import msgspec

from penstock.client.errors import ApiError, Unreachable, error_from_answer
from penstock.client.exchange import PASSING, Retry, retry_after
from penstock.client.models import Event
from penstock.client.request import API, segment

T = TypeVar("T")

SILENCE = 45.0
"""Seconds without a line after which the connection is given up: a server says something every 15."""
PATIENT = Retry(attempts=60)
"""For a connection that has been there: servers are restarted."""


class Tail(ABC, Generic[T]):
    """What is asked for, and how far it has come."""

    path = ""
    finished = False

    def __init__(self, retry: Retry) -> None:
        self._retry = retry
        self._failures = 0

    @abstractmethod
    def query(self) -> list[tuple[str, str]]: ...

    @abstractmethod
    def begin(self) -> None:
        """A new connection."""

    @abstractmethod
    def line(self, text: str) -> T | None:
        """What a line of the answer makes."""

    def ended(self) -> bool:
        """Whether all that was wanted has come."""
        return self.finished

    def headers(self, token: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {token}"} if token else {}

    def came(self) -> None:
        """A line came: the next trouble is a new one."""
        self._failures = 0
        self._retry = PATIENT

    def pause_after_error(self, error: httpx.TransportError | None) -> float:
        """Seconds to wait. Raises: Unreachable."""
        self._failures += 1
        if self._failures >= self._retry.attempts:
            what = "the stream ended" if error is None else str(error) or type(error).__name__
            raise Unreachable(f"{what} (GET {self.path})") from error
        return self._retry.pause(self._failures)

    def pause_after_refusal(self, status: int, body: bytes, asked: str | None) -> float:
        """Seconds to wait. Raises: ApiError."""
        self._failures += 1
        seconds = retry_after(asked)
        error: ApiError = error_from_answer(status, body, where=f"GET {self.path}", retry_after=seconds)
        if status not in PASSING or self._failures >= self._retry.attempts:
            raise error
        return max(seconds or 0.0, self._retry.pause(self._failures))


class EventTail(Tail[Event]):
    """Server-sent events."""

    def __init__(
        self,
        retry: Retry,
        after: int | None,
        *,
        process: str | None,
        definition: str | None,
        types: Sequence[str],
        mine: bool,
        until: int | None,
    ) -> None:
        super().__init__(retry)
        narrow = process is not None and definition is None and not mine
        self.path = f"{API}/processes/{segment(process)}/events" if narrow and process else f"{API}/events"
        given = {"process": None if narrow else process, "definition": definition, "mine": "true" if mine else None}
        self._query = [(name, value) for name, value in given.items() if value is not None]
        self._query += [("type", type) for type in types]
        self.last = after
        """Number of the last event, or of the last mark."""
        self._until = until
        self._id: int | None = None
        self._data: list[str] = []

    def query(self) -> list[tuple[str, str]]:
        return self._query

    def headers(self, token: str | None) -> dict[str, str]:
        more = {} if self.last is None else {"Last-Event-ID": str(self.last)}
        return {"Accept": "text/event-stream", **super().headers(token), **more}

    def line(self, text: str) -> Event | None:
        if text:
            name, _, value = text.partition(":")
            value = value.removeprefix(" ")
            if name == "id" and value.isdigit():
                self._id = int(value)
            elif name == "data":
                self._data.append(value)
            return None
        data, self._data = self._data, []
        if self._id is not None:
            self.last = self._id
            self.finished = self._until is not None and self.last >= self._until
            if self._until is not None and self.last > self._until:
                return None
        return msgspec.json.decode("\n".join(data), type=Event) if data else None

    def begin(self) -> None:
        """A new connection: half an event of the last one is worth nothing."""
        self._data, self._id = [], None


class PositionTail(Tail[int]):
    """Where the feed stands: the first number a stream says."""

    path = f"{API}/events"

    def query(self) -> list[tuple[str, str]]:
        return []

    def begin(self) -> None:
        """Nothing to forget."""

    def line(self, text: str) -> int | None:
        name, _, value = text.partition(":")
        if name != "id":
            return None
        self.finished = True
        return int(value)


class _Place(msgspec.Struct):
    feed: int = 0
    end: bool = False


class ExportTail(Tail[bytes]):
    """Lines of an audit export."""

    path = f"{API}/audit/export"

    def __init__(self, retry: Retry, from_feed: int, to_feed: int | None) -> None:
        super().__init__(retry)
        self._from = from_feed
        self._to = to_feed

    def query(self) -> list[tuple[str, str]]:
        return [("from", str(self._from)), *([("to", str(self._to))] if self._to is not None else [])]

    def line(self, text: str) -> bytes | None:
        if not text:
            return None
        try:
            place = msgspec.json.decode(text, type=_Place)
        except msgspec.DecodeError:
            return None  # the connection broke in its midst; it comes again
        self.finished = place.end
        self._from = max(self._from, place.feed + 1)
        return text.encode() + b"\n"

    def begin(self) -> None:
        """The lines after the last whole one come again."""
