"""Jobs in workers' hands: leases, long polls, and what must not be lost or doubled when groups fail."""

import asyncio
import time

import pytest

from engines.stage import ONCE, gathered, graph, job
from penstock.core.events import Failure
from penstock.engines.embedded import MOST_SERVED
from penstock.errors import AlreadyExists, LeaseLost, NotFound, Unauthenticated, Unavailable
from penstock.operations import jobs
from penstock.operations.jobs import Completed, Extend, Poll, job_id
from penstock.store.jobs import MOST_DELIVERIES
from penstock.store.rows import IDEMPOTENCY

TWO = graph("two", {"a": job("a"), "b": job("b")}, ("a", "b"))
WORK = graph("work", {"w": job("w", retry=ONCE)})


# -- leases ----------------------------------------------------------------------------------------------------------


def test_a_lease_that_ran_out_is_offered_again_and_the_late_answer_is_lost(play):
    async def journey(stage):
        await stage.deploy(WORK)
        id = await stage.start("work")
        first = await stage.take("w", lease=60)
        assert await stage.poll("w", wait=0) == []
        await stage.lapse()
        second = await stage.take("w")
        assert (second.visit, second.attempt) == (first.visit, first.attempt)
        assert second.token != first.token
        for answer in (stage.complete(first), stage.fail(first, Failure("X", "x")), stage.throw(first, "E")):
            with pytest.raises(LeaseLost):
                await answer
        [extended] = await jobs.extend(
            stage.ctx, stage.actor, [Extend(id=job_id(id, first.visit), lease=first.lease, seconds=60)]
        )
        assert isinstance(extended.error, LeaseLost)
        await stage.complete(second)
        with pytest.raises(LeaseLost):
            await stage.complete(second)
        await stage.completed(id)

    play(journey)


def test_a_lease_can_be_made_longer(play):
    async def journey(stage):
        await stage.deploy(WORK)
        id = await stage.start("work")
        taken = await stage.take("w", lease=1)
        [kept] = await jobs.extend(
            stage.ctx, stage.actor, [Extend(id=job_id(id, taken.visit), lease=taken.lease, seconds=3600)]
        )
        assert kept.value.cancel is False
        assert await stage.one("SELECT leased_until FROM jobs") > (time.time() + 3000) * 1000
        await stage.complete(taken)

    play(journey)


def test_a_job_that_kills_every_worker_becomes_an_incident(play):
    async def journey(stage):
        await stage.deploy(WORK)
        id = await stage.start("work")
        for delivery in range(1, MOST_DELIVERIES + 1):
            await stage.take("w")
            assert await stage.one("SELECT deliveries FROM jobs") == delivery
            await stage.lapse()
        await stage.reached(id, "FAILED")
        [visit] = await stage.visits(id)
        assert visit.failure["type"] == "LeaseExpired"
        assert await stage.poll("w", wait=0) == []
        await stage.do("retry", id)
        await stage.work("w")
        await stage.completed(id)

    play(journey)


def test_an_expired_lease_of_a_suspended_process_is_held(play):
    async def journey(stage):
        await stage.deploy(WORK)
        id = await stage.start("work")
        await stage.take("w")
        await stage.do("suspend", id)
        await stage.lapse()
        await stage.until(lambda: _in_state(stage, "HELD"))
        assert await stage.poll("w", wait=0) == []
        await stage.do("resume", id)
        await stage.work("w")
        await stage.completed(id)

    play(journey)


async def _in_state(stage, state):
    return await stage.one("SELECT count(*) FROM jobs WHERE state = ?", state)


def test_a_token_works_while_its_job_is_open_and_never_again(play):
    async def journey(stage):
        await stage.deploy(WORK)
        first, second = await stage.start("work"), await stage.start("work")
        one, two = await stage.take("w"), await stage.take("w")
        assert {one.process_id, two.process_id} == {first, second}
        with pytest.raises(Unauthenticated):
            await jobs.answer(stage.ctx, None, Completed(id=_id(one), token=two.token))
        await stage.lapse()
        again = await stage.poll("w", max=2)
        while len(again) < 2:
            again += await stage.poll("w", max=2)
        for old in (one, two):
            with pytest.raises(Unauthenticated):
                await jobs.answer(stage.ctx, None, Completed(id=_id(old), token=old.token))
        for new in again:
            await jobs.answer(stage.ctx, None, Completed(id=_id(new), token=new.token, output=1))
            with pytest.raises(Unauthenticated):
                await jobs.answer(stage.ctx, None, Completed(id=_id(new), token=new.token, output=1))
        await stage.completed(first)
        with pytest.raises(NotFound):
            await jobs.answer(stage.ctx, stage.actor, Completed(id=f"{stage.actor.tenant.id}.1", lease="x"))

    play(journey)


def _id(taken):
    return job_id(taken.process_id, taken.visit)


# -- long polls ------------------------------------------------------------------------------------------------------


def test_idle_polls_ask_the_database_for_nothing(play):
    async def journey(stage):
        await stage.deploy(WORK)
        queues = [f"idle {i % 20}" for i in range(199)]
        polls = [asyncio.create_task(stage.poll(queue, wait=60)) for queue in queues]
        polls.append(asyncio.create_task(stage.poll("w", "idle 0", wait=60)))
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w"))

        async def idle(seconds):
            await stage.quiet()
            before = stage.store.stats.as_dict()["units"], stage.store.stats.as_dict()["statements"]
            await asyncio.sleep(seconds)  # the very thing that is measured
            return stage.store.stats.as_dict()["units"] - before[0], stage.store.stats.as_dict()["statements"] - before[
                1
            ]

        with_polls = await idle(1.5)
        await stage.start("work")
        done, _ = await asyncio.wait(polls, return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert [len(poll.result()) for poll in done] == [1]
        await stage.complete(done.pop().result()[0])
        for poll in polls:
            poll.cancel()
        await asyncio.gather(*polls, return_exceptions=True)
        assert stage.engine.dispatcher.queues() == ["0/http:"]
        # the loops' own looks are all there is: leases twice a second, on PostgreSQL the feed and the sweep
        assert with_polls[0] <= (8 if stage.store.dialect == "sqlite" else 60)
        assert with_polls[1] <= (25 if stage.store.dialect == "sqlite" else 200)

    play(journey)


def test_a_job_is_born_leased_to_the_poll_that_waits(play):
    async def journey(stage):
        await stage.deploy(TWO)
        poll = asyncio.create_task(stage.poll("a"))
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/a"))
        id = await stage.start("two")
        [taken] = await poll
        found = await stage.rows("SELECT state, deliveries, lease, worker FROM jobs")
        assert found == [("LEASED", 1, taken.lease, "w")]
        assert taken.process_id == id
        assert (taken.definition, taken.version, taken.node, taken.topic) == ("two", 1, "a", "a")
        await stage.complete(taken)
        await stage.work("b")

    play(journey)


def test_a_batch_goes_to_one_poll_up_to_its_most_and_on_to_the_next(play):
    body = {"kind": "scope", "for_each": "${input.list}", "as": "x", "nodes": {"w": job("w")}}

    async def journey(stage):
        await stage.deploy(graph("many", {"all": body}))
        polls = [asyncio.create_task(stage.poll("w", max=most)) for most in (1, 2, 50, 1)]
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w") == 4)
        await stage.start("many", {"list": list(range(60))})
        taken = [await poll for poll in polls]
        assert [len(one) for one in taken] == [1, 2, 50, 1]
        assert await _in_state(stage, "READY") == 6
        await asyncio.gather(*(stage.complete(one) for batch in taken for one in batch))
        await stage.work("w", count=6)

    play(journey)


def test_polls_of_many_queues_take_from_each_once(play):
    async def journey(stage):
        await stage.deploy(TWO)
        await stage.deploy(WORK)
        polls = [asyncio.create_task(stage.poll("a", "w", max=3)) for _ in range(5)]
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w") == 5)
        await asyncio.gather(*(stage.start(code) for code in ("two", "work") * 10))
        taken = [one for poll in polls for one in await poll]
        while len(taken) < 20:
            taken += await stage.poll("a", "w", max=3)
        assert len({(one.process_id, one.visit) for one in taken}) == 20
        assert await _in_state(stage, "LEASED") == 20

    play(journey)


def test_a_poll_that_vanished_gives_its_jobs_back(play):
    async def journey(stage):
        await stage.deploy(WORK)
        for round in range(25):
            poll = asyncio.create_task(stage.poll("w"))
            if round % 3:
                await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w"))
            starting = asyncio.create_task(stage.start("work"))
            for _ in range(round % 7):
                await asyncio.sleep(0)
            if round % 5 == 4:
                await starting
            poll.cancel()
            got = (await asyncio.gather(poll, return_exceptions=True))[0]
            id = await starting
            if isinstance(got, list) and got:
                await stage.complete(got[0])
            else:
                taken = await stage.take("w")
                assert taken.process_id == id
                assert await stage.one("SELECT deliveries FROM jobs") == 1
                await stage.complete(taken)
            await stage.completed(id)

    play(journey)


def test_a_poll_that_vanished_after_its_claim_gives_it_back(play):
    """The claim is committed, and the poll was cancelled while it waited for the answer."""

    async def journey(stage):
        await stage.deploy(WORK)
        for _ in range(10):
            await stage.start("work")
        for left in range(10, 0, -1):
            entered = asyncio.Event()
            loop = asyncio.get_running_loop()
            claim = stage.engine.claim

            def claimed(*args, claim=claim, entered=entered, loop=loop):
                loop.call_soon_threadsafe(entered.set)
                time.sleep(0.01)
                return claim(*args)

            stage.engine.claim = claimed
            poll = asyncio.create_task(stage.poll("w", max=2))
            await entered.wait()
            poll.cancel()
            await asyncio.gather(poll, return_exceptions=True)
            stage.engine.claim = claim
            taken = await stage.take("w")
            await stage.complete(taken)
            await stage.until(lambda: _ready(stage, left - 1))

    async def _ready(stage, count):
        return await _in_state(stage, "READY") == count

    play(journey)


def test_jobs_that_lie_ready_are_served_to_polls_that_wait(play):
    """More than one unit serves; every poll gets one."""
    body = {"kind": "scope", "for_each": "${input.list}", "as": "x", "nodes": {"w": job("w")}}
    count = MOST_SERVED * 2 + 10

    async def journey(stage):
        await stage.deploy(graph("many", {"all": body}))
        id = await stage.start("many", {"list": list(range(count))})
        await stage.quiet()
        await stage.do("suspend", id)
        polls = [asyncio.create_task(stage.poll("w")) for _ in range(count)]
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w") == count)
        await stage.do("resume", id)
        taken = [one for poll in polls for one in await poll]
        assert len({one.visit for one in taken}) == count
        await asyncio.gather(*(stage.complete(one) for one in taken))
        await stage.completed(id)

    play(journey)


def test_complete_and_take_the_next_in_one_call(play):
    async def journey(stage):
        await stage.deploy(TWO)
        ids = [await stage.start("two") for _ in range(5)]
        taken = await stage.poll("a", max=5)
        then = Poll(topics=["b"], max=3)
        entries = [Completed(id=_id(one), lease=one.lease) for one in taken]
        results, following = await jobs.answer_many(stage.ctx, stage.actor, entries, then)
        assert [result.error for result in results] == [None] * 5
        assert len(following) == 3
        results, last = await jobs.answer_many(
            stage.ctx, stage.actor, [Completed(id=_id(one), lease=one.lease) for one in following], then
        )
        assert len(last) == 2
        late = Completed(id=_id(following[0]), lease=following[0].lease)
        results, nothing = await jobs.answer_many(stage.ctx, stage.actor, [late], then)
        assert isinstance(results[0].error, LeaseLost)
        assert nothing == []
        await asyncio.gather(*(stage.complete(one) for one in last))
        for id in ids:
            await stage.completed(id)

    play(journey)


# -- when units run again ----------------------------------------------------------------------------------------------


def poison(stage):
    """A unit that breaks the commit of its whole group: it alone fails when they run one by one."""

    def unit(tx):
        tx.put(IDEMPOTENCY, (stage.tid, "poison", "", 0, "", tx.now))

    return stage.store.submit_async(unit)


async def poisoned(stage):
    """From now on every `poison` breaks its group."""
    await poison(stage)


def test_reservations_do_not_leak_when_groups_fail(play):
    async def journey(stage):
        await stage.deploy(TWO)
        await poisoned(stage)
        for round in range(12):
            polls = [asyncio.create_task(stage.poll(topic, max=1 + round % 2)) for topic in ("a", "a", "b", "b", "b")]
            await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/b") == 3)
            failed = stage.store.stats.failed_groups
            starts = [asyncio.create_task(stage.start("two")) for _ in range(2)]
            results = await asyncio.gather(poison(stage), *starts, poison(stage), return_exceptions=True)
            assert [isinstance(result, AlreadyExists) for result in results] == [True, False, False, True]
            got = [one for poll in polls[:2] for one in (await poll if 1 + round % 2 == 1 else [])]
            if not got:  # one poll may have taken both
                done, _ = await asyncio.wait(polls[:2], return_when=asyncio.FIRST_COMPLETED, timeout=10)
                got = [one for poll in done for one in poll.result()]
                while len(got) < 2:
                    got += await stage.poll("a", max=2)
            assert len(got) == 2
            answers = [asyncio.create_task(stage.complete(one)) for one in got]
            await asyncio.gather(poison(stage), *answers, poison(stage), return_exceptions=True)
            assert stage.store.stats.failed_groups > failed
            seen: list = []
            while len(seen) < 2:
                done, _ = await asyncio.wait(polls[2:], return_when=asyncio.FIRST_COMPLETED, timeout=10)
                assert done, "a job was lost: it lies ready, and three polls wait"
                seen += [one for poll in done for one in poll.result()]
                polls = polls[:2] + [poll for poll in polls[2:] if poll not in done]
            await asyncio.gather(*(stage.complete(one) for one in seen))
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
            assert stage.engine.dispatcher.queues() == ["0/http:"]

    play(journey)


def test_a_poll_whose_only_place_was_reserved_by_a_unit_that_failed_gets_the_next_job(play):
    async def journey(stage):
        await stage.deploy(WORK)
        poll = asyncio.create_task(stage.poll("w"))
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w"))

        def raising(tx):
            waiter = stage.engine.dispatcher.offer(f"{stage.tid}/w", tx.locked)
            assert waiter is not None
            raise ZeroDivisionError

        # in one group: the place is reserved by a unit that raises, the job of the other finds no room
        results = await asyncio.gather(stage.store.submit_async(raising), stage.start("work"), return_exceptions=True)
        assert isinstance(results[0], ZeroDivisionError)
        [taken] = await poll
        await stage.complete(taken)
        await stage.completed(results[1])

    play(journey)


def test_a_poll_that_ends_with_a_lost_reservation_does_not_hang(play):
    async def journey(stage):
        await stage.deploy(WORK)
        poll = asyncio.create_task(stage.poll("w", max=2))
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/w"))

        def raising(tx):
            stage.engine.dispatcher.offer(f"{stage.tid}/w", tx.locked)
            raise ZeroDivisionError

        await asyncio.gather(stage.start("work"), stage.store.submit_async(raising), return_exceptions=True)
        begun = time.monotonic()
        [taken] = await poll
        assert time.monotonic() - begun < 5
        await stage.complete(taken)

    play(journey)


def test_a_queue_is_not_thought_empty_by_a_claim_that_was_rolled_back(play):
    async def journey(stage):
        await stage.deploy(WORK)
        await poisoned(stage)
        for _ in range(10):
            id = await stage.start("work")
            got, error = await asyncio.gather(stage.poll("w", max=5, wait=0), poison(stage), return_exceptions=True)
            assert isinstance(error, AlreadyExists)
            if not got:
                got = await stage.poll("w", max=5, wait=0)
            [taken] = got
            assert taken.process_id == id
            await stage.complete(taken)

    play(journey)


def test_answers_are_applied_once_among_poison(play):
    async def journey(stage):
        await stage.deploy(TWO)
        await poisoned(stage)
        ids = await asyncio.gather(*(stage.start("two") for _ in range(40)))
        done = 0
        while done < 80:
            taken = await stage.poll("a", "b", max=10)
            # each answer twice, with a unit among them that breaks the group
            answers = [stage.complete(one) for one in taken for _ in range(2)]
            results = await gathered(*answers[:7], poison(stage), *answers[7:])
            lost = [result for result in results if isinstance(result, LeaseLost)]
            assert len(lost) == len(taken)
            done += len(taken)
        for id in ids:
            await stage.completed(id)
            assert await stage.events(id) == ["Started", "JobCompleted", "JobCompleted"]

    play(journey)


def test_a_unit_that_raises_after_its_step_leaves_nothing(play):
    """The step is in the unit's buffer, and a later part of the unit raises: no row, no job, no place taken."""

    async def journey(stage):
        await stage.deploy(TWO)
        id = await stage.start("two")
        taken = await stage.take("a")
        poll = asyncio.create_task(stage.poll("b"))
        await stage.until(lambda: stage.engine.dispatcher.waiting(f"{stage.tid}/b"))
        pid = await stage.pid(id)
        from penstock.store import jobs as stored

        def unit(tx):
            row = stored.get(tx, pid, taken.visit)
            from penstock.core import events as ev

            stage.engine.answer(tx, row, ev.JobCompleted(at=tx.now, scope=row.scope, visit=row.n, attempt=row.attempt))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await stage.store.submit_async(unit, (pid,))
        assert (await stage.show(id)).seq == 1
        await stage.complete(taken)
        [following] = await poll
        await stage.complete(following)
        await stage.completed(id)

    play(journey)


def test_a_poll_that_could_not_be_submitted_harms_no_later_one(play):
    async def journey(stage):
        await stage.deploy(WORK)
        await stage.start("work")
        writer = stage.store.writer
        limit, writer._limit = writer._limit, 0
        for _ in range(2):
            with pytest.raises(Unavailable):
                await stage.poll("w", wait=0)
        writer._limit = limit
        [taken] = await stage.poll("w", wait=0)
        await stage.complete(taken)

    play(journey, running=False)
