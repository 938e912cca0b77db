"""Whatever is changed behind the platform's back is found, and named."""

import asyncio
import contextlib

import pytest

from engines.stage import Stage, graph
from penstock.audit import reading
from penstock.engines import retention
from penstock.operations import audit
from penstock.store import open_reader, seals

DAY = 24 * 3600 * 1000


@contextlib.asynccontextmanager
async def sealed(url, seals=3, **more):
    """A tenant with so many seals, of two processes each and the journal's first rows."""
    async with Stage.open(url, running=False, **more) as stage:
        await stage.deploy(graph("s", {"s": {"kind": "set", "vars": {"x": 1}}, "t": {"kind": "set", "vars": {"y": 2}}}))
        for n in range(seals):
            await stage.start("s", {"n": n})
            await stage.start("s", {"n": -n})
            await stage.sealed()
        yield stage


def verify(url, stage, **more):
    with contextlib.closing(open_reader(url)) as reader:
        return reading.verify_database(reader, stage.tid, stage.actor.tenant.id, **more)


async def exported(stage, first=1, last=None):
    parts = [part async for part in await audit.export(stage.ctx, stage.actor, first, last)]
    return b"".join(parts).splitlines(keepends=True)


def told(report):
    """What was found, rows by their numbers and seals by theirs."""
    return [(finding.what, finding.feed or finding.seal) for finding in report.findings]


async def feeds(stage, table="history"):
    return [n for (n,) in await stage.rows(f"SELECT feed FROM {table} WHERE tid = ? ORDER BY feed", stage.tid)]


def test_what_nobody_touched_is_sound(url):
    async def main():
        async with sealed(url) as stage:
            report = verify(url, stage)
            assert (report.findings, report.found, report.seals, report.unsealed) == ([], 0, 3, 0)
            assert report.rows == len(await feeds(stage)) + len(await feeds(stage, "journal")) > 6
            await stage.start("s")
            await stage.check()
            report = verify(url, stage)
            assert report.found == 0
            assert report.unsealed > 0

    asyncio.run(main())


CHANGES = {
    "content": "UPDATE history SET data = data || ' ' WHERE feed = ?",
    "actor": "UPDATE history SET actor = 'user:eve@example.com' WHERE feed = ?",
    "time": "UPDATE history SET at = at + 1 WHERE feed = ?",
    "type": "UPDATE history SET type = 'JobCompleted' WHERE feed = ?",
    "scope": "UPDATE history SET scope = 7 WHERE feed = ?",
    "step": "UPDATE history SET seq = 77 WHERE feed = ?",
    "id": "UPDATE processes SET id = '00000000-0000-0000-0000-000000000001' "
    "WHERE pid = (SELECT pid FROM history WHERE feed = ?)",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_row_is_named(url, change):
    async def main():
        async with sealed(url) as stage:
            feed = (await feeds(stage))[2]
            assert await stage.edit(CHANGES[change], feed) == 1
            report = verify(url, stage)
            [finding] = report.findings
            assert (finding.what, finding.feed) == ("changed", feed)
            assert "Started" in finding.text or change == "type"
            assert not verify(url, stage).rows > report.rows

    asyncio.run(main())


@pytest.mark.parametrize("column", ["actor", "type", "kind", "subject", "data"])
def test_a_changed_row_of_the_journal_is_named(url, column):
    async def main():
        async with sealed(url) as stage:
            feed = (await feeds(stage, "journal"))[0]
            assert await stage.edit(f"UPDATE journal SET {column} = {column} || 'x' WHERE feed = ?", feed) == 1
            assert told(verify(url, stage)) == [("changed", feed)]

    asyncio.run(main())


@pytest.mark.parametrize("table", ["history", "journal"])
def test_a_deleted_row_is_named(url, table):
    async def main():
        async with sealed(url) as stage:
            feed = (await feeds(stage, table))[1]
            assert await stage.edit(f"DELETE FROM {table} WHERE feed = ?", feed) == 1
            assert told(verify(url, stage)) == [("deleted", feed)]

    asyncio.run(main())


def test_a_row_moved_to_another_tenant_is_gone(url):
    async def main():
        async with sealed(url) as stage:
            feed = (await feeds(stage))[1]
            assert await stage.edit("UPDATE history SET tid = tid + 1 WHERE feed = ?", feed) == 1
            assert told(verify(url, stage)) == [("deleted", feed)]

    asyncio.run(main())


def test_an_inserted_row_is_named(url):
    """Wherever a number is free: below the first, or where the order has a gap."""

    async def main():
        async with sealed(url) as stage:
            taken = await feeds(stage)
            copied = "INSERT INTO history SELECT pid, 99, tid, ?, at, actor, type, scope, visit, data FROM history "
            assert await stage.edit(copied + "WHERE feed = ?", -5, taken[0]) == 1
            assert told(verify(url, stage)) == [("inserted", -5)]
            # in a gap: the last of a seal is taken out and its seal cut short by hand, as the chain's owner could
            feed = taken[1]
            await stage.edit("DELETE FROM history WHERE feed = ?", -5)
            await stage.edit("DELETE FROM history WHERE feed = ?", feed)
            assert await stage.edit(copied + "WHERE feed = ?", feed, taken[0]) == 1
            assert told(verify(url, stage)) == [("changed", feed)]

    asyncio.run(main())


def test_a_row_without_a_number_is_named_where_every_row_has_one(tmp_path):
    url = f"sqlite:///{tmp_path}/penstock.db"

    async def main():
        async with sealed(url) as stage:
            await stage.edit("INSERT INTO journal SELECT 999, tid, at, actor, type, kind, subject, data, NULL FROM journal "
                             "WHERE jid = (SELECT min(jid) FROM journal)")  # fmt: skip
            [finding] = verify(url, stage).findings
            assert finding.what == "inserted"
            assert "999" in finding.text

    asyncio.run(main())


def test_reordered_rows_are_named_with_where_they_stood(url):
    async def main():
        async with sealed(url) as stage:
            first, second = (await feeds(stage))[1:3]
            for before, after in ((first, -1), (second, first), (-1, second)):
                await stage.edit("UPDATE history SET feed = ? WHERE feed = ?", after, before)
            report = verify(url, stage)
            assert told(report) == [("moved", first), ("moved", second)]
            assert f"sealed as number {second}" in report.findings[0].text

    asyncio.run(main())


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        ("DELETE FROM seals WHERE number = 2", [("seal", 3), ("inserted", None)]),
        ("DELETE FROM seals WHERE number = 1", [("seal", 2), ("inserted", None)]),
        ("UPDATE seals SET digest = 'f' || substr(digest, 2) || '0' WHERE number = 2", [("seal", 2), ("seal", 3)]),
        ("UPDATE seals SET at = at - 1 WHERE number = 2", [("seal", 2)]),
        ("UPDATE seals SET previous = digest WHERE number = 2", [("seal", 2), ("seal", 2)]),
        ("UPDATE seals SET count = count + 1 WHERE number = 2", [("seal", 2), ("seal", 2)]),
        ("UPDATE seals SET leaves = 'no' WHERE number = 3", [("seal", 3)]),
    ],
)
def test_a_seal_that_was_touched_is_named(url, edit, found):
    async def main():
        async with sealed(url) as stage:
            assert await stage.edit(edit) == 1
            names = told(verify(url, stage))
            for what, number in found:
                assert any(each[0] == what and number in (None, each[1]) for each in names), names

    asyncio.run(main())


def test_a_chain_that_was_cut_off_is_found_by_a_seal_that_was_written_down(url):
    async def main():
        async with sealed(url) as stage:
            before = verify(url, stage)
            [(low,)] = await stage.rows("SELECT from_feed FROM seals WHERE number = 3")
            await stage.edit("DELETE FROM seals WHERE number = 3")
            await stage.edit("DELETE FROM history WHERE feed >= ?", low)
            assert verify(url, stage).found == 0
            assert told(verify(url, stage, anchor=(before.last_seal, before.last_digest))) == [("seal", 3)]
            assert told(verify(url, stage, anchor=(2, "0" * 64))) == [("seal", 2)]

    asyncio.run(main())


# -- retention -------------------------------------------------------------------------------------------------------


def test_what_retention_erases_leaves_the_chain_sound_and_nothing_else_may_go_with_it(url):
    async def main():
        async with sealed(url) as stage:
            gone = (await feeds(stage))[:3]
            await stage.edit(
                "UPDATE processes SET ended_at = 1 WHERE pid IN (SELECT pid FROM history WHERE feed < ?)", gone[-1]
            )
            now = await stage.store.submit_async(lambda tx: tx.now)
            assert await retention.clean(stage.store, 1, now) == 2
            erased = len(gone) - len([feed for feed in await feeds(stage) if feed in gone])
            # at once, and when the journal's row about it is sealed itself
            await stage._numbered()
            assert (verify(url, stage).found, verify(url, stage).erased) == (0, erased)
            await stage.sealed()
            report = verify(url, stage)
            assert (report.found, report.erased, report.unsealed) == (0, erased, 0)
            assert reading.verify_file(await exported(stage)).erased == erased
            # an export of the time before it, made after it
            part = reading.verify_file(await exported(stage, 1, gone[-1]))
            assert part.found == 0
            left = (await feeds(stage))[1]
            await stage.edit("DELETE FROM history WHERE feed = ?", left)
            assert told(verify(url, stage)) == [("deleted", left)]

    asyncio.run(main())


def test_retention_lets_be_what_is_not_sealed(url):
    async def main():
        async with sealed(url, seals=1) as stage:
            await stage.start("s")
            await stage.edit("UPDATE processes SET ended_at = 1")
            now = await stage.store.submit_async(lambda tx: tx.now)
            assert await retention.clean(stage.store, 1, now) == 2
            assert await stage.one("SELECT count(*) FROM processes") == 1
            await stage.sealed()
            assert await retention.clean(stage.store, 1, now) == 1
            await stage.sealed()
            assert verify(url, stage).found == 0

    asyncio.run(main())


# -- exports ---------------------------------------------------------------------------------------------------------


def test_an_export_is_verified_without_the_database(url):
    async def main():
        async with sealed(url) as stage:
            lines = await exported(stage)
            assert reading.verify_file(lines).found == 0
            assert reading.verify_file(lines).rows == verify(url, stage).rows
            row = next(i for i, line in enumerate(lines) if b'"Started"' in line)
            feed = int(lines[row].split(b",")[0].rpartition(b":")[2])
            changed = [*lines[:row], lines[row].replace(b"Started", b"Stopped", 1), *lines[row + 1 :]]
            assert told(reading.verify_file(changed)) == [("changed", feed)]
            assert told(reading.verify_file(lines[:row] + lines[row + 1 :])) == [("deleted", feed)]
            assert told(reading.verify_file(lines[:-1])) == [("file", None)]
            later = lines[row].replace(b'"feed":%d' % feed, b'"feed":%d' % (feed + 10_000))
            assert told(reading.verify_file([*lines[:row], *lines[row + 1 : -1], later, lines[-1]])) == [
                ("deleted", feed)
            ]

    asyncio.run(main())


def test_an_export_goes_on_wherever_it_broke_off(url):
    async def main():
        async with sealed(url) as stage:
            whole = await exported(stage)
            for feed in await feeds(stage):
                parts = await exported(stage, 1, feed) + await exported(stage, feed + 1)
                report = reading.verify_file(parts)
                assert (report.found, report.rows) == (0, reading.verify_file(whole).rows)
                # a part alone begins in the midst of the chain
                assert reading.verify_file(await exported(stage, feed + 1)).found == 0

    asyncio.run(main())


# -- the chain -------------------------------------------------------------------------------------------------------


def test_seals_hold_so_many_rows_at_most_and_follow_each_other(url, monkeypatch):
    from penstock.audit import sealing

    monkeypatch.setattr(sealing, "MOST", 3)

    async def main():
        async with sealed(url, seals=0) as stage:
            for n in range(10):
                await stage.start("s", {"n": n})
            await stage.sealed()
            made = await stage.store.async_read(lambda read: seals.after(read, stage.tid, 0, 100))
            assert [seal.number for seal in made] == list(range(1, len(made) + 1))
            assert {seal.rows for seal in made[:-1]} == {3}
            assert verify(url, stage).found == 0
            assert await stage.platform.sealer.turn() == 0

    asyncio.run(main())


def test_tenants_have_chains_of_their_own(url):
    async def main():
        async with sealed(url):
            with contextlib.closing(open_reader(url)) as reader:
                first = reading.tenants(reader, None)
            assert [code for _, _, code in first] == ["t"]
        async with sealed(url, tenant="u") as other:
            await other.edit("UPDATE history SET actor = 'x' WHERE tid = ?", other.tid)
            assert {what for what, _ in told(verify(url, other))} == {"changed"}
            with contextlib.closing(open_reader(url)) as reader:
                reports = [reading.verify_database(reader, tid, id) for tid, id, _ in reading.tenants(reader, None)]
        assert [report.found > 0 for report in reports] == [False, True]

    asyncio.run(main())
