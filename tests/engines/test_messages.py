"""Messages find one waiter, signals find all."""

import asyncio

import pytest

from engines.stage import graph, job, scope

WAITING = graph(
    "wait",
    {"m": {"kind": "message", "message": "m", "key": "${input.k}"}, "after": job("after")},
    ("m", "after"),
    output="${m}",
)


async def waiting(stage, count=1, key="k"):
    await stage.deploy(WAITING)
    return [await stage.start("wait", {"k": key if key is not None else i}) for i in range(count)]


@pytest.mark.parametrize("first", ["waiter", "message"])
def test_a_message_meets_its_waiter(play, first):
    async def journey(stage):
        if first == "message":
            await stage.publish("m", "k", {"a": 1})
            await stage.publish("m", "other", {"a": 2})
            await stage.publish("n", "k", {"a": 3})
        [id] = await waiting(stage)
        if first == "waiter":
            await stage.publish("n", "k", {"a": 3})
            await stage.publish("m", "other", {"a": 2})
            await stage.publish("m", "k", {"a": 1})
        await stage.work("after")
        assert await stage.completed(id) == {"a": 1}

    play(journey)


def test_both_at_the_same_moment_from_many_tasks(play):
    async def journey(stage):
        await stage.deploy(WAITING)
        ids = await asyncio.gather(
            *(stage.start("wait", {"k": k}) for k in range(100)),
            *(stage.publish("m", str(k), k) for k in range(100)),
        )
        await stage.work("after", count=100)
        assert [await stage.completed(id) for id in ids[:100]] == list(range(100))
        assert await stage.one("SELECT count(*) FROM subscriptions") == 0

    play(journey)


def test_each_message_goes_to_one_waiter_and_in_order(play):
    async def journey(stage):
        ids = await waiting(stage, 30)
        await asyncio.gather(*(stage.publish("m", "k", i) for i in range(20)))
        await stage.work("after", count=20)
        await stage.quiet()
        done = [await stage.status(id) for id in ids]
        assert (done.count("COMPLETED"), done.count("RUNNING")) == (20, 10)
        got = sorted([await stage.completed(id) for id, status in zip(ids, done, strict=True) if status == "COMPLETED"])
        assert got == list(range(20))
        assert await stage.one("SELECT count(*) FROM messages WHERE state = 'KEPT'") == 0

    play(journey)


def test_messages_that_were_kept_are_taken_in_order(play):
    async def journey(stage):
        await stage.deploy(WAITING)
        for i in range(5):
            await stage.publish("m", "k", i)
        got = []
        for _ in range(5):
            id = await stage.start("wait", {"k": "k"})
            await stage.work("after")
            got.append(await stage.completed(id))
        assert got == list(range(5))

    play(journey)


def test_the_same_id_counts_once(play):
    async def journey(stage):
        ids = await waiting(stage, 3)
        sent = await asyncio.gather(*(stage.publish("m", "k", 1, id="same") for _ in range(10)))
        assert [one.duplicate for one in sent].count(False) == 1
        assert (await stage.publish("other", "k", 1, id="same")).duplicate is False
        await stage.work("after")
        await stage.quiet()
        assert (await stage.publish("m", "k", 1, id="same")).duplicate is True
        assert [await stage.status(id) for id in ids].count("COMPLETED") == 1

    play(journey)


def test_a_message_is_kept_for_its_time_alone(play):
    async def journey(stage):
        await stage.publish("m", "k", "old", ttl=60)
        await stage.edit("UPDATE messages SET expires_at = 1")
        [id] = await waiting(stage)
        await stage.publish("m", "k", "new", ttl=60)
        await stage.work("after")
        assert await stage.completed(id) == "new"

    play(journey)


def test_a_message_whose_receiver_has_gone_waits_for_another(play):
    """The receiver is cancelled between the pairing and the arrival."""

    async def journey(stage):
        first, second = await waiting(stage, 2)
        wake, stage.loops.wake = stage.loops.wake, lambda pid, most=16: None
        await stage.publish("m", "k", "hello")
        pid = await stage.until(lambda: _receiver(stage))
        gone, left = (first, second) if await stage.pid(first) == pid else (second, first)
        stage.loops.wake = wake
        await stage.do("cancel", gone)
        await stage.work("after")
        assert await stage.completed(left) == "hello"

    play(journey)


async def _receiver(stage):
    found = await stage.rows("SELECT pid FROM inbox")
    return found[0][0] if found else None


@pytest.mark.parametrize("how", ["skip", "drop"])
def test_a_message_whose_visit_has_gone_is_given_back_and_matched_at_once(play, how):
    nodes = {"m": {"kind": "message", "message": "m", "key": "k"}}
    document = graph(
        "go",
        {"s": scope(nodes), "b": {"kind": "boundary", "attached_to": "s", "signal": "away"}, "stay": job("stay"),
         "x": job("x")},
        ("b", "stay"),
    )  # fmt: skip

    async def journey(stage):
        await stage.deploy(document)
        id = await stage.start("go")
        wake, stage.loops.wake = stage.loops.wake, lambda pid, most=16: None
        await stage.publish("m", "k", "hello")
        pid = await stage.until(lambda: _receiver(stage))
        if how == "skip":
            await stage.skip(id, "m")
        else:
            await stage.broadcast("away")
            # the signal overtakes the message: it is the only one the engine is told of
            await stage.edit("UPDATE inbox SET iid = 1000 WHERE iid = (SELECT min(iid) FROM inbox)")
        [other] = await waiting(stage)
        stage.loops.wake = wake
        stage.loops.wake(pid)
        stage.loops.wake(await stage.pid(other))
        await stage.work("after")
        assert await stage.completed(other) == "hello"

    play(journey)


def test_a_message_kept_by_a_suspended_process_is_given_back_when_that_ends(play):
    async def journey(stage):
        [id] = await waiting(stage)
        await stage.do("suspend", id)
        await stage.publish("m", "k", "hello")
        await stage.until(lambda: _kept(stage))
        await stage.do("terminate", id)
        [other] = await waiting(stage)
        await stage.work("after")
        assert await stage.completed(other) == "hello"

    async def _kept(stage):
        return await stage.one("SELECT count(*) FROM inbox WHERE kept = 1")

    play(journey)


def test_a_message_that_ends_its_process_by_an_error_is_used_up(play):
    document = graph(
        "child",
        {"m": {"kind": "message", "message": "m", "key": "k"}, "e": {"kind": "end", "end": "error", "error": "E"}},
        ("m", "e"),
    )

    async def journey(stage):
        await stage.deploy(document)
        await stage.deploy(graph("caller", {"c": {"kind": "call", "definition": "child"}}))
        id = await stage.start("caller")
        await stage.publish("m", "k")
        await stage.reached(id, "FAILED")
        assert await stage.rows("SELECT state FROM messages") == [("CONSUMED",)]

    play(journey)


def test_a_message_starts_a_process_where_nobody_waits(play):
    document = graph(
        "begin",
        {"s": {"kind": "start", "message": "new"}, "w": job("w", input="${s}")},
        ("s", "w"),
        output="${s}",
    )

    async def journey(stage):
        await stage.publish("new", "", "too early", ttl=1)
        await stage.deploy(document)
        sent = await asyncio.gather(*(stage.publish("new", "", i, id=f"id {i % 10}") for i in range(20)))
        assert [one.duplicate for one in sent].count(False) == 10
        taken = await stage.work("w", count=10)
        assert sorted(one.input for one in taken) == sorted({one.input for one in taken})
        assert await stage.one("SELECT count(*) FROM processes") == 10
        # the new version of the definition is started from now on, and one that has no such start is not
        await stage.deploy(graph("begin", {"s": {"kind": "start", "message": "newer"}, "w": job("w2")}, ("s", "w")))
        await stage.publish("newer")
        await stage.work("w2")
        await stage.publish("new")
        assert await stage.one("SELECT count(*) FROM processes") == 11

    play(journey)


# -- signals ---------------------------------------------------------------------------------------------------------


def test_a_signal_reaches_a_thousand_who_listen_now_and_nobody_later(play):
    listen = graph(
        "listen",
        {"all": scope({"s": {"kind": "message", "signal": "go"}}, for_each="${input.list}", **{"as": "x"})},
    )

    async def journey(stage):
        await stage.deploy(listen)
        ids = [await stage.start("listen", {"list": list(range(25))}) for _ in range(40)]
        assert await stage.broadcast("go", {"a": 1}) == 1000
        for id in ids:
            await stage.completed(id)
        late = await stage.start("listen", {"list": [1]})
        await stage.quiet()
        assert await stage.status(late) == "RUNNING"
        assert await stage.broadcast("nobody") == 0

    play(journey)


def test_all_boundaries_of_a_visit_hear_a_signal_even_at_the_end_of_a_chunk(play):
    nodes = {"w": job("w"), "x": job("x"), "y": job("y"), "z": job("z")}
    flows = []
    for name in "xyz":
        nodes[f"b{name}"] = {"kind": "boundary", "attached_to": "w", "signal": "go", "interrupting": False}
        flows.append((f"b{name}", name))

    async def journey(stage):
        await stage.deploy(graph("three", nodes, *flows))
        await asyncio.gather(*(stage.start("three") for _ in range(70)))
        assert await stage.broadcast("go") == 210
        for name in "xyz":
            await stage.work(name, count=70)

    play(journey)


def test_a_signal_to_one_process(play):
    async def journey(stage):
        first, second = await waiting(stage, 2)
        assert await stage.do("signal", first, "m", "other", 1) == 0
        assert await stage.do("signal", first, "m", None, "hello") == 1
        await stage.work("after")
        assert await stage.completed(first) == "hello"
        assert await stage.status(second) == "RUNNING"
        assert await stage.one("SELECT count(*) FROM subscriptions") == 1

    play(journey)


# -- an event that cannot be applied -----------------------------------------------------------------------------------


def test_a_poisonous_event_is_set_aside_and_no_other(play, caplog):
    async def journey(stage):
        [id] = await waiting(stage)
        pid = await stage.pid(id)
        apply = stage.engine.apply

        def poisonous(held, event, *more):
            if getattr(event, "payload", None) == "poison":
                raise ZeroDivisionError("poison")
            return apply(held, event, *more)

        stage.engine.apply = poisonous
        wake, stage.loops.wake = stage.loops.wake, lambda pid, most=16: None
        for payload in ("good", "poison", "fine", "poison", "hello"):
            await stage.do("signal", id, "m", None, payload)
        stage.loops.wake = wake
        stage.loops.wake(pid)
        await stage.work("after")
        assert await stage.completed(id) == "good"
        await stage.until(lambda: _poison_alone(stage))

    async def _poison_alone(stage):
        # the others were stale by then, and went
        aside = await stage.one("SELECT count(*) FROM inbox WHERE kept = 2")
        return aside == 2 and await stage.one("SELECT count(*) FROM inbox") == 2

    play(journey)
    assert "is set aside" in caplog.text
