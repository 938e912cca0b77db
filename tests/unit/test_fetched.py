"""What is fetched once for all who want it at the same time."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from penstock.errors import Unavailable
from penstock.identity.oidc import Untrusted
from penstock.operations.fetched import FAILED_KEPT, MOST_WAITING, Fetched


class Publisher:
    """Answers when it is told to; an error is raised."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.said: object = "one"
        self.go = asyncio.Event()
        self.fetched: Fetched[object] = Fetched(lambda: self.now)

    async def fetch(self) -> object:
        self.asked += 1
        await self.go.wait()
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    def get(self, seconds: float = 10.0):
        return asyncio.create_task(self.fetched.get(seconds, self.fetch))


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**given: Any) -> None:
        asyncio.run(test(**given))

    return run


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@on_a_loop
async def test_all_who_wait_get_the_answer_of_one_fetch():
    publisher = Publisher()
    tasks = [publisher.get() for _ in range(10)]
    await settled()
    tasks[0].cancel()  # who asked first leaves
    publisher.go.set()
    assert await asyncio.gather(*tasks[1:]) == ["one"] * 9
    assert publisher.asked == 1
    assert tasks[0].cancelled()


@on_a_loop
async def test_an_answer_is_kept_as_long_as_it_is_wanted():
    publisher = Publisher()
    publisher.go.set()
    assert await publisher.get() == "one"
    publisher.said, publisher.now = "two", 10.0
    assert await publisher.get() == "one"
    publisher.now = 10.1
    assert await publisher.get() == "two"
    assert publisher.asked == 2


@pytest.mark.parametrize("failure", [Unavailable("away", retry_after=5), Untrusted("a lie")], ids=repr)
@on_a_loop
async def test_a_failure_is_everybodys_answer_for_a_while(failure):
    publisher = Publisher()
    publisher.said = failure
    tasks = [publisher.get() for _ in range(3)]
    await settled()
    publisher.go.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [failure] * 3
    publisher.now = FAILED_KEPT
    with pytest.raises(type(failure)):
        await publisher.get()
    assert publisher.asked == 1
    publisher.said, publisher.now = "one", FAILED_KEPT + 0.1
    assert await publisher.get() == "one"


@on_a_loop
async def test_what_is_known_is_used_though_a_newer_one_could_not_be_fetched():
    publisher = Publisher()
    publisher.go.set()
    await publisher.get()
    publisher.said = Unavailable("away")
    with pytest.raises(Unavailable):
        await publisher.fetched.anew(publisher.fetch)
    assert await publisher.get() == "one"


@on_a_loop
async def test_not_more_wait_than_there_is_room_for():
    publisher = Publisher()
    tasks = [publisher.get() for _ in range(MOST_WAITING)]
    await settled()
    with pytest.raises(Unavailable, match="too many"):
        await publisher.get()
    for task in tasks[1:]:
        task.cancel()
    await settled()
    late = publisher.get()  # there is room again
    publisher.go.set()
    assert [await tasks[0], await late] == ["one", "one"]
    assert publisher.asked == 1
