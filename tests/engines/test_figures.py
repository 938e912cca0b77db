"""Figures for the operator: what lies in the database is counted right, by indexes and in bounds, and a slow database is no hang."""

import asyncio
import re
import threading

from prometheus_client.parser import text_string_to_metric_families as parse

from engines.stage import Stage, graph, job
from penstock.core.events import Failure
from penstock.operations import schedules
from penstock.operations.schedules import NewSchedule
from penstock.store import gauges
from penstock.telemetry.catalogue import BY_NAME
from penstock.wiring.metrics import Metrics


async def counted(stage, most=1000, topics=200):
    found = await stage.store.async_read(lambda read: gauges.counted(read, most, topics))
    assert all(f"penstock_{name}" in BY_NAME for name in found)
    assert all(
        len(labels) == len(BY_NAME[f"penstock_{name}"].labels) for name, rows in found.items() for labels, _ in rows
    )
    return {name: {" ".join(labels): value for labels, value in rows} for name, rows in found.items()}


def test_what_lies_in_the_database_is_counted(play):
    async def journey(stage):
        wait = {"kind": "message", "message": "never", "key": "k"}
        await stage.deploy(graph("busy", {"a": job("work", retry={"max_attempts": 1})}))
        await stage.deploy(graph("slow", {"t": {"kind": "timer", "after": "PT1H"}, "m": wait}))
        for _ in range(4):
            await stage.start("busy")
        await stage.start("slow")
        taken = await stage.take("work")
        await stage.fail(await stage.take("work"), Failure("Broken", "it broke", permanent=True))
        await stage.publish("nobody", "k")
        await schedules.create(stage.ctx, stage.actor, NewSchedule(definition="busy", id="s", every="P1D"))
        found = await counted(stage)
        assert found["jobs"] == {"work waiting": 2, "work leased": 1}
        assert 0 <= found["jobs_oldest_waiting_seconds"]["work"] < 60
        assert {status: number for status, number in found["processes_open"].items() if number} == {
            "RUNNING": 4,
            "FAILED": 1,
        }
        assert found["incidents_open"] == {"": 1}
        assert found["timers"] == {"": 1}
        assert found["timers_late"] == {"": 0}
        assert found["messages_kept"] == {"": 1}
        assert found["schedules_late"] == {"": 0}
        assert found["schema_version"] == {"": 1}
        assert found["documents"] == {"": 0}
        assert found["outbox"] == {"": 0}
        await stage.complete(taken)
        assert (await counted(stage))["jobs"] == {"work waiting": 2, "work leased": 0}

    play(journey)


def test_what_is_late_is_told_with_its_age(play):
    async def journey(stage):
        await stage.deploy(graph("slow", {"t": {"kind": "timer", "after": "PT1H"}}))
        await stage.start("slow")
        await stage.start("slow")
        now = await stage.store.submit_async(lambda tx: tx.now)
        await stage.edit("UPDATE timers SET due_at = ?", now - 90_000)
        found = await counted(stage)
        assert found["timers_late"] == {"": 2}
        assert found["timers_late_seconds"][""] >= 90
        await stage.edit("UPDATE timers SET due_at = ?", now + 3_600_000)
        assert (await counted(stage))["timers_late"] == {"": 0}

    play(journey, running=False)


def test_topics_and_counts_are_bounded(play):
    async def journey(stage):
        nodes = {f"n{at}": job(f"topic{at}") for at in range(6)}
        await stage.deploy(graph("wide", nodes))
        await stage.deploy(graph("more", {"a": job("topic3"), "b": job("topic4"), "c": job("other")}))
        await stage.start("wide")
        for _ in range(3):
            await stage.start("more")
        found = await counted(stage, topics=2)
        assert found["jobs"]["topic3 waiting"] == found["jobs"]["topic4 waiting"] == 4
        assert found["jobs"]["other waiting"] == 4 + 3
        assert len(found["jobs_oldest_waiting_seconds"]) == 3
        few = await counted(stage, most=2)
        assert sum(few["jobs"].values()) == 2
        assert few["processes_open"]["RUNNING"] == 2

    play(journey, running=False)


def test_no_count_reads_a_whole_table(sqlite_url):
    """On SQLite, which says so. What is counted as it lies is bounded by the limit alone."""
    as_they_lie = {"found", "tenants", "timers", "inbox", "outbox", "documents", "alembic_version"}

    async def journey():
        async with Stage.open(sqlite_url, running=False) as stage:
            texts = [text for name, text in vars(gauges).items() if re.fullmatch("_[A-Z_]+", name)]
            statements = [text for text in texts if isinstance(text, str)]
            assert len(statements) > 12
            for text in statements:
                plan = [row[3] for row in await stage.rows(f"EXPLAIN QUERY PLAN {text}", *([1] * text.count("?")))]
                whole = {found[1] for line in plan if (found := re.fullmatch(r"SCAN (\w+)", line))}
                assert whole <= as_they_lie, (text, plan)

    asyncio.run(journey())


def test_a_database_that_is_too_slow_is_said_to_be_and_hangs_nothing(play, monkeypatch):
    monkeypatch.setattr("penstock.wiring.metrics.LIMIT", 0.3)
    monkeypatch.setattr("penstock.wiring.metrics.FRESH", 0.0)

    async def journey(stage):
        metrics = Metrics(stage.platform)

        async def scrape():
            content, _ = await metrics.text("")
            families = parse(content.decode())
            return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}

        good = await scrape()
        assert good["penstock_scrape_ok"] == 1
        assert good["penstock_timers"] == 0
        # every reader is busy
        free, taken = threading.Event(), threading.Barrier(5)
        held = [
            asyncio.ensure_future(stage.store.async_read(lambda _: (taken.wait(20), free.wait(20)))) for _ in range(4)
        ]
        await asyncio.to_thread(taken.wait, 20)
        slow = await scrape()
        assert slow["penstock_scrape_ok"] == 0
        assert slow["penstock_timers"] == 0, "the last figures are told"
        assert slow["penstock_scrape_age_seconds"] > good["penstock_scrape_age_seconds"]
        assert "penstock_writer_units_waiting" in slow
        assert "process_cpu_seconds_total" in slow
        assert not any(each.done() for each in held), "it waited for the readers"
        free.set()
        await asyncio.gather(*held)

        async def well_again():
            return (await scrape())["penstock_scrape_ok"] == 1

        await stage.until(well_again)

    play(journey)
