"""Several nodes on one PostgreSQL."""

import asyncio
import base64
import contextlib
import random
import time

import psycopg
import pytest

from engines.loaded import CHILD
from engines.programs import Program
from engines.stage import Stage, graph, job, scope
from engines.test_recovery import finish, nothing_lost, prepare
from penstock.core import events as ev
from penstock.errors import NotFound, StaleSequence, Unavailable, WrongState
from penstock.operations import connections, secrets, values
from penstock.store import feed, outbox, people, processes
from penstock.wiring.platform import _installation_key

pytestmark = pytest.mark.postgres


@pytest.fixture
def nodes(postgres_url):
    """Run a journey on several platforms of one database, in this program."""

    def run(journey, *names, running=True):
        async def main():
            async with contextlib.AsyncExitStack() as stack:
                # one after the other, so that the tenant is made once
                stages = [
                    await stack.enter_async_context(Stage.open(postgres_url, name, running=running))
                    for name in names or ("a", "b")
                ]
                await journey(*stages)
                await stages[0].check()
                assert await deadlocks(stages[0]) == 0

        asyncio.run(main())

    return run


async def deadlocks(stage):
    return await stage.one("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")


# -- work for all ------------------------------------------------------------------------------------------------------


def test_a_job_born_on_one_node_wakes_a_poll_on_another(nodes):
    async def journey(a, b):
        await a.deploy(graph("line", {"x": job("x"), "y": job("y")}, ("x", "y")))
        for _ in range(5):
            poll = asyncio.create_task(b.poll("x"))
            await b.until(lambda: b.engine.dispatcher.waiting(f"{b.tid}/x"))
            begun = time.monotonic()
            id = await a.start("line")
            [taken] = await poll
            assert time.monotonic() - begun < 2
            poll = asyncio.create_task(a.poll("y"))
            await a.until(lambda: a.engine.dispatcher.waiting(f"{a.tid}/y"))
            await b.complete(taken)
            [taken] = await poll
            await a.complete(taken)
            await b.completed(id)

    nodes(journey)


def test_a_job_passed_over_because_another_node_held_its_process_is_handed_out_soon_after(nodes):
    async def journey(a, b):
        await a.deploy(graph("w", {"w": job("w")}))
        id = await a.start("w")
        pid = await a.pid(id)
        entered, leave = asyncio.Event(), __import__("threading").Event()
        loop = asyncio.get_running_loop()

        def holding(tx):
            loop.call_soon_threadsafe(entered.set)
            leave.wait(10)

        held = a.store.submit_async(holding, (pid,))
        await entered.wait()
        assert await b.poll("w", wait=0) == []
        poll = asyncio.create_task(b.poll("w"))
        await b.until(lambda: b.engine.dispatcher.waiting(f"{b.tid}/w"))
        begun = time.monotonic()
        leave.set()
        await held
        [taken] = await poll
        assert time.monotonic() - begun < 2
        await b.complete(taken)

    nodes(journey)


def test_messages_and_signals_cross_nodes(nodes):
    document = graph("m", {"m": {"kind": "message", "message": "m", "key": "${input.k}"}, "w": job("w")}, ("m", "w"),
                     output="${m}")  # fmt: skip
    listening = graph("s", {"s": {"kind": "message", "signal": "go"}})

    async def journey(a, b, c):
        await a.deploy(document)
        await b.deploy(listening)
        everybody = (a, b, c)
        starts = [everybody[k % 3].start("m", {"k": k}) for k in range(60)]
        sends = [everybody[k % 2].publish("m", str(k), k) for k in range(60)]
        both = [each for pair in zip(starts, sends, strict=True) for each in pair]
        random.Random(7).shuffle(both)
        await asyncio.gather(*both)
        for _ in range(6):
            await c.work("w", count=10)
        assert await a.one("SELECT count(*) FROM subscriptions") == 0
        outputs = await a.rows("SELECT i.value, o.value FROM data i JOIN data o ON o.pid = i.pid "
                               "WHERE i.name = 'input' AND o.name = 'output'")  # fmt: skip
        assert all(f'{{"k":{output}}}' == given for given, output in outputs)
        assert len(outputs) == 60
        ids = [await everybody[k % 3].start("s") for k in range(9)]
        assert await c.broadcast("go") == 9
        for id in ids:
            await a.completed(id)

    nodes(journey, "a", "b", "c")


def test_one_waiter_and_many_senders_on_every_node(nodes):
    document = graph("m", {"m": {"kind": "message", "message": "m"}, "w": job("w")}, ("m", "w"))

    async def journey(a, b, c):
        await a.deploy(document)
        for _ in range(5):
            await a.start("m")
        await asyncio.gather(*(node.publish("m", "", n, id=f"id {n}") for node in (a, b, c) for n in range(4)))
        await b.work("w", count=4)
        await a.quiet()
        assert await a.one("SELECT count(*) FROM visits WHERE node = 'm' AND state = 'OPEN'") == 1
        assert await a.rows("SELECT count(*), min(state) FROM messages") == [(4, "CONSUMED")]

    nodes(journey, "a", "b", "c")


def test_a_killed_nodes_leases_timers_and_inbox_move_on(postgres_url):
    """The node is a program; it dies by kill -9 with jobs in hand, timers started, events not yet applied."""
    asyncio.run(prepare(postgres_url))
    program = Program(postgres_url, "dying")
    try:
        program.wait_for("C", 60)
    finally:
        program.kill()

    async def after():
        async with Stage.open(postgres_url, "heir") as stage:
            await finish(stage, [program])
            await nothing_lost(stage, [program])
            await stage.check()

    asyncio.run(after())


def test_what_a_node_left_is_found_by_the_sweep_of_another(nodes):
    document = graph(
        "left",
        {"s": {"kind": "gateway", "gateway": "parallel"}, "c": {"kind": "call", "definition": "child"},
         "t": {"kind": "timer", "after": "PT0.01S"}, "m": {"kind": "message", "message": "m", "key": "${input.k}"}},
        ("s", "c"), ("s", "t"), ("s", "m"),
    )  # fmt: skip

    async def journey(a, b):
        await a.deploy(CHILD)
        await a.deploy(document)
        b.loops.wake, wake = (lambda pid, most=16: None), b.loops.wake
        a.loops.wake = lambda pid, most=16: None  # it never gets to it
        a.loops.match = a.engine.signals.match = lambda *_: None
        a.loops._fire_due = b.loops._fire_due
        ids = [await a.start("left", {"k": k}) for k in range(210)]
        for k in range(210):
            await a.publish("m", str(k))
        b.loops.wake = wake
        await b.loops._sweep()
        await b.work("child", count=210)
        for id in ids:
            await b.completed(id)

    nodes(journey)


def test_three_programs_share_the_work_and_one_is_killed(postgres_url):
    asyncio.run(prepare(postgres_url))
    programs = [Program(postgres_url, name) for name in ("one", "two", "three")]
    try:
        for program in programs:
            program.wait_for("C", 40)
        programs[1].kill()
        seen = [len(programs[i].of("C")) for i in (0, 2)]
        for i, so_far in zip((0, 2), seen, strict=True):
            programs[i].wait_for("C", so_far + 60)
        for i in (0, 2):
            programs[i].stop()
    finally:
        for program in programs:
            program.kill()

    async def after():
        async with Stage.open(postgres_url, "last") as stage:
            await nothing_lost(stage, programs)
            await finish(stage, programs)
            await nothing_lost(stage, programs)
            await stage.check()
            assert await deadlocks(stage) == 0
            # a process one node started was moved on by others
            ids = {id: n for n, program in enumerate(programs) for (id,) in program.of("S")}
            movers = {(ids.get(id), n) for n, program in enumerate(programs) for id, _ in program.of("C")}
            assert len([pair for pair in movers if pair[0] is not None and pair[0] != pair[1]]) >= 4

    asyncio.run(after())


def test_nodes_that_do_everything_at_once_never_wait_for_each_other_in_a_ring(nodes):
    nodes_ = {"s": {"kind": "gateway", "gateway": "parallel"}, "a": job("a"), "b": job("b"),
              "g": {"kind": "gateway", "gateway": "event"}, "m": {"kind": "message", "message": "m"},
              "t": {"kind": "timer", "after": "PT0.05S"}, "i": {"kind": "item", "task": "T"},
              "each": scope({"e": job("a"), "sig": {"kind": "message", "signal": "go"}}, ("e", "sig"),
                            for_each="${[1, 2, 3, 4]}", **{"as": "x"}),
              "stop": {"kind": "boundary", "attached_to": "each", "message": "m"}}  # fmt: skip
    document = graph("mix", nodes_, ("s", "a"), ("s", "b"), ("s", "g"), ("g", "m"), ("g", "t"), ("s", "i"), ("s", "each"),
                     tasks={"T": {}})  # fmt: skip

    async def journey(a, b, c):
        await a.deploy(document)
        ids: list = []
        until = time.monotonic() + 4
        counts = dict.fromkeys(("start", "work", "command", "message", "signal", "expire"), 0)

        async def busy(stage, number):
            chance = random.Random(number)
            while time.monotonic() < until:
                what = chance.choice(list(counts))
                with contextlib.suppress(WrongState, NotFound, Unavailable):
                    if what == "start" or len(ids) < 5:
                        ids.append(await stage.start("mix"))
                    elif what == "work":
                        taken = await stage.poll("a", "b", max=4, wait=0.01)
                        await asyncio.gather(*(stage.complete(one) for one in taken), return_exceptions=True)
                    elif what == "command":
                        command = chance.choice(("suspend", "resume", "cancel", "terminate"))
                        await stage.do(command, chance.choice(ids[-10:]))
                    elif what == "message":
                        await stage.publish("m", "", 1, ttl=1)
                    elif what == "signal":
                        await stage.broadcast("go")
                    else:
                        await stage.edit(
                            "UPDATE timers SET due_at = 1 WHERE pid = ?", await stage.pid(chance.choice(ids))
                        )
                    counts[what] += 1

        await asyncio.gather(*(busy(stage, 10 * n + i) for n, stage in enumerate((a, b, c)) for i in range(5)))
        assert min(counts.values()) > 10, counts
        for id in ids:
            with contextlib.suppress(WrongState):
                await b.do("cancel", id)
        await b.lapse()

    nodes(journey, "a", "b", "c")


# -- what another node has done is seen ----------------------------------------------------------------------------------


def test_state_another_node_has_moved_is_never_trusted(nodes):
    """Scopes, outputs and data of a process are cached on both nodes, and each moves it in turn."""
    document = graph(
        "turns",
        {
            "begin": {"kind": "start"},
            "a": job("a"),
            "s": {"kind": "set", "metadata": {"last": "${a.n}"}, "vars": {"v": "${a.n}"}},
            "again": {"kind": "gateway", "gateway": "exclusive"},
            "in1": scope({"x": job("x", input={"n": "${a.n}", "last": "${metadata.last}", "v": "${vars.v}"})},
                         for_each="${a.list}", output="${x.got}", **{"as": "e"}),
            "end": job("end"),
        },
        ("begin", "a"), ("a", "s"), ("s", "in1"), ("in1", "again"), ("again", "a", {"if": "a.n < 12"}), ("again", "end", {"default": True}),
        output="${in1}",
        search=["metadata.last"],
    )  # fmt: skip

    async def journey(a, b):
        await a.deploy(document)
        id = await a.start("turns")
        everybody = [a, b]
        for n in range(1, 13):
            first, second = everybody[n % 2], everybody[(n + 1) % 2]
            await first.show(id)
            taken = await first.take("a")
            await second.complete(taken, {"n": n, "list": list(range(n % 4))})
            for i in range(n % 4):
                stage = everybody[(n + i) % 2]
                [x] = await stage.poll("x", max=1)
                assert x.input == {"n": n, "last": n, "v": n}, (n, i)
                await everybody[(n + i + n // 2) % 2].complete(x, {"got": [n, i]})
            assert await second.search(("metadata.last", str(n))) == [id]
        await a.work("end")
        assert await b.completed(id) == []

    nodes(journey)


def test_a_step_from_an_old_state_is_refused(nodes):
    async def journey(a, b):
        await a.deploy(graph("line", {"x": job("x"), "y": job("y")}, ("x", "y")))
        id = await a.start("line")
        pid = await a.pid(id)
        held = await a.store.submit_async(lambda tx: processes.load(tx, pid), (pid,))
        await b.do("suspend", id)
        await b.do("resume", id)

        def old(tx):
            from msgspec import structs

            return a.engine.apply(structs.replace(held, tx=tx), ev.SuspendRequested(at=tx.now))

        with pytest.raises(StaleSequence):
            await a.store.submit_async(old, (pid,))
        with pytest.raises(StaleSequence):
            await b.store.submit_async(old, (pid,))
        assert await a.events(id) == ["Started", "SuspendRequested", "ResumeRequested"]

    nodes(journey)


def test_a_version_deployed_elsewhere_is_the_latest_here(nodes):
    async def journey(a, b):
        for number in range(1, 6):
            deployer, user = (a, b) if number % 2 else (b, a)
            made = await deployer.deploy(graph("child", {"w": job(f"w{number}")}))
            assert made.version == number
            if number == 1:
                await deployer.deploy(graph("caller", {"c": {"kind": "call", "definition": "child"}}))
            await user.start("child")
            await user.start("caller")
            await deployer.start("caller")
            await user.work(f"w{number}", count=3)
        # both at the same moment
        made = await asyncio.gather(
            *(node.deploy(graph("child", {"w": job(f"x{n}")})) for n, node in enumerate((a, b, a, b)))
        )
        assert sorted(one.version for one in made) == [6, 7, 8, 9]

    nodes(journey)


def test_a_start_by_message_deployed_elsewhere_is_known_here(nodes):
    def document(name, topic):
        return graph("begin", {"s": {"kind": "start", "message": name}, "w": job(topic)}, ("s", "w"))

    async def journey(a, b):
        await b.publish("one", ttl=0.001)  # b has looked, and found nothing
        await a.deploy(document("one", "w1"))
        await b.publish("one")
        await b.work("w1")
        await a.deploy(document("two", "w2"))
        await b.publish("two")
        await a.work("w2")
        await b.publish("one", ttl=0.001)
        assert await a.one("SELECT count(*) FROM processes") == 2

    nodes(journey)


def test_a_receiver_added_elsewhere_hears_of_what_happens_here(nodes):
    async def journey(a, b):
        await a.deploy(graph("w", {"w": job("w")}))
        await b.start("w")
        assert await a.one("SELECT count(*) FROM outbox") == 0
        rid = await a.store.submit_async(lambda tx: outbox.add_receiver(tx, a.tid, "hook"))
        id = await b.start("w")
        pid = await a.pid(id)
        rows = await a.rows("SELECT rid, pid, kind FROM outbox")
        assert rows == [(rid, pid, "process.started")]
        await a.work("w", count=2)

    nodes(journey)


def test_values_are_counted_together(nodes):
    async def journey(a, b):
        await a.deploy(graph("w", {"w": job("w")}))
        owners = [await values.definition(stage.ctx, stage.actor, "w") for stage in (a, b)]
        id = await a.start("w")
        await b.do("cancel", id)
        own = [await values.process(stage.ctx, stage.actor, id) for stage in (a, b)]
        for pair in (own, owners):
            await asyncio.gather(
                *(
                    values.increment(stage.ctx, stage.actor, each, "n")
                    for stage, each in zip((a, b), pair, strict=True)
                    for _ in range(30)
                )
            )
            assert (await values.get(a.ctx, a.actor, pair[0], "n")).value == 60
        await values.put(a.ctx, a.actor, owners[0], "n", 1)
        assert (await values.get(b.ctx, b.actor, owners[1], "n")).value == 1

    nodes(journey)


# -- the feed ------------------------------------------------------------------------------------------------------------


FED = "SELECT feed FROM history WHERE feed > ? UNION ALL SELECT feed FROM journal WHERE feed > ? ORDER BY feed"


def test_feed_numbers_are_given_in_order_while_three_nodes_write(nodes):
    """Who follows the feed never has to look behind: a number that appears is above all that were seen."""

    async def journey(a, b, c):
        await a.deploy(graph("line", {"x": job("x"), "y": job("y")}, ("x", "y")))
        until = time.monotonic() + 2
        seen: list = []

        async def writing(stage):
            while time.monotonic() < until:
                await asyncio.gather(*(stage.start("line") for _ in range(5)))
                taken = await stage.poll("x", "y", max=20, wait=0.05)
                await asyncio.gather(*(stage.complete(one) for one in taken))

        async def numbering(stage):
            while time.monotonic() < until:
                await stage.store.submit_async(lambda tx: feed.number(tx, 37))

        async def following():
            while time.monotonic() < until:
                last = seen[-1] if seen else 0
                seen.extend(n for (n,) in await b.rows(FED, last, last))
                await asyncio.sleep(0.003)

        await asyncio.gather(
            *(writing(stage) for stage in (a, b, c)), *(numbering(stage) for stage in (a, b, c)), following()
        )
        assert len(seen) > 100
        assert seen == list(range(1, len(seen) + 1))

    nodes(journey, "a", "b", "c")


def test_feed_numbers_are_never_given_again(nodes):
    async def numbered(stage):
        # one alone numbers at a time: while the other node's loop does, this one passes
        while await stage.one("SELECT count(*) FROM history WHERE feed IS NULL"):
            await stage.store.submit_async(lambda tx: feed.number(tx, 100))

    async def journey(a, b):
        await a.deploy(graph("s", {"s": {"kind": "set", "vars": {"x": 1}}}))
        await a.start("s")
        await numbered(a)
        last = await a.one("SELECT max(feed) FROM history")
        await a.edit("DELETE FROM history")
        await a.edit("DELETE FROM visits")
        await a.edit("DELETE FROM scopes")
        await a.edit("DELETE FROM data")
        await a.edit("DELETE FROM processes")
        id = await b.start("s")
        await numbered(b)
        assert await a.one("SELECT min(feed) FROM history") == last + 1
        await a.edit("UPDATE history SET feed = ? WHERE pid = ?", last, await b.pid(id))

    nodes(journey)


# -- what is made once -----------------------------------------------------------------------------------------------


def test_of_two_first_puts_one_makes_it(nodes):
    async def journey(a, b):
        document = {"base_url": "https://erp.example.com"}
        for number in range(20):
            put = [secrets.put(each.ctx, each.actor, f"S{number}", "value", None) for each in (a, b)]
            put += [connections.put(each.ctx, each.actor, f"C{number}", document, None) for each in (a, b)]
            made = await asyncio.gather(*put)
            for pair in (made[:2], made[2:]):
                assert sorted((view.revision, fresh) for view, fresh in pair) == [(1, True), (2, False)]

    nodes(journey, running=False)


def test_nodes_that_first_start_at_once_keep_one_installation_key(nodes):
    async def journey(*stages):
        for _ in range(20):
            await stages[0].edit("DELETE FROM meta WHERE key = 'installation_key'")
            made = await asyncio.gather(*(asyncio.to_thread(_installation_key, each.store) for each in stages))
            kept = await stages[0].one("SELECT value FROM meta WHERE key = 'installation_key'")
            assert set(made) == {base64.b64decode(kept)}

    nodes(journey, "a", "b", "c", running=False)


def test_what_changed_during_a_wait_for_a_tenant_is_not_recalled(nodes, postgres_url):
    async def journey(a, b):
        await a.store.submit_async(lambda tx: tx.recall_later("x", 1, "as it was"))

        def waiting(tx):
            before = tx.recalled("x", 1)
            people.hold(tx, a.tid)
            return before, tx.recalled("x", 1)

        async with await psycopg.AsyncConnection.connect(postgres_url) as third:
            await third.execute("SELECT 1 FROM tenants FOR UPDATE")
            found = a.store.submit_async(waiting)
            await b.until(lambda: b.one("SELECT count(*) FROM pg_locks WHERE NOT granted"))
            await b.store.submit_async(lambda tx: tx.reconfigured())
        assert await found == ("as it was", None)

    nodes(journey, running=False)
