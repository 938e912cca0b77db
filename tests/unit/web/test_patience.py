import asyncio

import pytest

from penstock.web.patience import Patience

LONG, SOON = 60.0, 0.01


async def waiting(patience, seconds, work):
    wait = patience.begin(seconds)
    try:
        return await work
    except asyncio.CancelledError:
        if not wait.over():
            raise
        return "late"
    finally:
        patience.end(wait)


def test_what_is_there_is_not_disturbed():
    async def main():
        patience = Patience()
        assert await asyncio.gather(*(waiting(patience, LONG, asyncio.sleep(0, n)) for n in range(50))) == list(
            range(50)
        )

    asyncio.run(main())


def test_who_waits_too_long_is_told_and_the_others_go_on():
    async def main():
        patience, never = Patience(), asyncio.Event()
        late = [asyncio.create_task(waiting(patience, SOON, never.wait())) for _ in range(3)]
        assert await asyncio.gather(*late) == ["late"] * 3
        again = asyncio.create_task(waiting(patience, SOON, never.wait()))
        assert await again == "late", "the timer is set anew"

    asyncio.run(main())


def test_the_timer_goes_on_to_who_began_later():
    async def main():
        patience, never = Patience(), asyncio.Event()
        done = asyncio.create_task(waiting(patience, SOON, asyncio.sleep(0, "in time")))
        slow = asyncio.create_task(waiting(patience, 3 * SOON, never.wait()))
        assert await asyncio.gather(done, slow) == ["in time", "late"]

    asyncio.run(main())


def test_who_is_cancelled_by_somebody_else_is_cancelled():
    async def main():
        patience = Patience()
        task = asyncio.create_task(waiting(patience, LONG, asyncio.Event().wait()))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_both_at_once_is_a_cancellation():
    async def main():
        patience = Patience()
        task = asyncio.create_task(waiting(patience, SOON, asyncio.Event().wait()))
        await asyncio.sleep(0)
        (wait,) = patience._waits
        while not wait.late:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_another_loop_begins_anew():
    patience, kept = Patience(), []

    async def first():
        kept.append(patience.begin(LONG))

    async def second():
        assert await waiting(patience, SOON, asyncio.Event().wait()) == "late"

    asyncio.run(first())
    asyncio.run(second())
    assert not kept[0].late
