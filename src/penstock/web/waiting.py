"""Long-polls: hold a request open until something happens, the time is up, or the client leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class ClientGone(Exception):
    """The client left before it was answered: there is nobody to answer."""


async def wait(future: asyncio.Future[T], seconds: float, gone: Callable[[], Awaitable[None]]) -> T | None:
    """The future's result, or None when the time is up. The future is never cancelled: whoever made it withdraws it.

    `gone` returns when the client has left (`Call.gone`).

    Raises: ClientGone, unless the result came first; and what the future raises.
    """
    if future.done() or seconds <= 0:
        return future.result() if future.done() else None
    leaving = asyncio.ensure_future(gone())
    try:
        await asyncio.wait((future, leaving), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if future.done():
            return future.result()
        if leaving.done():
            raise ClientGone
        return None
    finally:
        leaving.cancel()
