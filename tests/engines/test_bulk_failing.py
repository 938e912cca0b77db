"""What goes wrong in a bulk operation, and that nothing else waits for it for ever."""

import asyncio

from engines.bulks import LINE, begun, counts, ended, registered, results, started, whole
from engines.stage import Stage
from penstock.core.requests import Filter


def quickly(monkeypatch):
    """Tries follow each other at once."""
    for name in ("EVERY", "PAUSE"):
        monkeypatch.setattr(f"penstock.operations.bulk_running.{name}", 0.01)


def test_a_process_that_cannot_be_dealt_with_fails_alone(url, caplog):
    async def main():
        async with Stage.open(url) as stage:
            await registered(stage)
            await stage.deploy(LINE)
            ids = await started(stage, 4)
            for id in ids:
                await stage.do("cancel", id)
            await stage.edit(
                "UPDATE data SET value = 'no JSON' WHERE pid = ? AND name = 'metadata'", await stage.pid(ids[1])
            )
            made = await whole(stage, "delete", Filter(definition="line"))
            assert counts(made) == ("DONE", 4, 3, 1, 0)
            (refused,) = await results(stage, made)
            assert (refused.process, refused.outcome, refused.code) == (ids[1], "FAILED", "defect")
            assert "no JSON" not in refused.detail
            assert ids[1] in caplog.text, "the log has it"
            assert await stage.one("SELECT count(*) FROM processes") == 1

    asyncio.run(main())


def test_a_process_that_never_can_be_is_given_up_and_others_go_first(url, monkeypatch):
    async def main():
        async with Stage.open(url, running=False) as stage:  # nobody seals: what ended can never be deleted
            await registered(stage)
            await stage.deploy(LINE)
            ids = await started(stage, 4)
            await stage.do("cancel", ids[0])
            await stage.do("cancel", ids[1])
            stuck = await begun(stage, "delete", ids=tuple(ids[:3]))
            other = await begun(stage, "suspend", ids=(ids[3],))
            runner = asyncio.create_task(stage.platform.bulk.run())
            assert counts(await ended(stage, stuck)) == ("DONE", 3, 0, 2, 1)
            runner.cancel()
            refused = await results(stage, stuck, "FAILED")
            assert [(each.process, each.code) for each in refused] == [(id, "unavailable") for id in ids[:2]]
            over = await stage.rows("SELECT subject FROM journal WHERE type = 'bulk.ended' ORDER BY jid")
            assert over == [(other.id,), (stuck.id,)]
            assert not stage.platform.bulk._failures

    quickly(monkeypatch)
    asyncio.run(main())


def test_an_operation_whose_filter_is_too_slow_is_given_up_and_others_go_first(play, monkeypatch):
    async def journey(stage):
        await registered(stage)
        await stage.deploy(LINE)
        ids = await started(stage, 2)
        slow = await begun(stage, "cancel", Filter(definition="line"))
        other = await begun(stage, "suspend", ids=tuple(ids))
        last = await ended(stage, slow)
        assert counts(last) == ("FAILED", 2, 0, 0, 0)
        assert "given up after 10 tries" in last.message
        over = await stage.rows("SELECT subject FROM journal WHERE type = 'bulk.ended' ORDER BY jid")
        assert over == [(other.id,), (slow.id,)]
        assert {await stage.status(id) for id in ids} == {"SUSPENDED"}

    quickly(monkeypatch)
    monkeypatch.setattr("penstock.operations.bulk_running.LOOKING", 0.0)
    play(journey)
