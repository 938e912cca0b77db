"""A flow for bulk operations, and what tests of them say in one line."""

from engines.stage import ONCE, graph, job
from penstock.core.events import Failure
from penstock.operations import bulk, people
from penstock.operations.bulk import NewBulk

LINE = graph(
    "line", {"a": job("a", retry=ONCE), "b": job("b")}, ("a", "b"), search=["metadata.customer"],
    permissions={"initiator": ["group:staff"], "manager": ["group:risk"]},
)  # fmt: skip


async def started(stage, count, **more):
    return [await stage.start("line", metadata={"customer": f"c{n % 2}"}, **more) for n in range(count)]


async def failed(stage, count):
    """So many of the jobs that wait fail, and their processes with them."""
    taken = await stage.poll("a", max=count)
    assert len(taken) == count
    for each in taken:
        await stage.fail(each, Failure(type="Broken", message="it broke"))
    return {each.process_id for each in taken}


async def begun(stage, command, filter=None, *, actor=None, **more):
    wanted = NewBulk(command=command, filter=filter, **more)
    return await bulk.begin(stage.ctx, actor or stage.actor, wanted)


async def ended(stage, made, actor=None):
    async def there():
        found = await bulk.get(stage.ctx, actor or stage.actor, made.id)
        return found if found.state != "RUNNING" else None

    return await stage.until(there)


async def whole(stage, command, filter=None, **more):
    return await ended(stage, await begun(stage, command, filter, **more), more.get("actor"))


async def results(stage, made, outcome=None, actor=None):
    page = await bulk.results(stage.ctx, actor or stage.actor, made.id, outcome, None, 1000)
    return page.items


def counts(made):
    return made.state, made.total, made.done, made.failed, made.skipped


async def registered(stage):
    """The stage's application is in the database: an operation looks for who began it."""
    made = await people.seed(stage.ctx, "other", "other", [people.NewUser(email="o@example.com", password="pw")])
    await stage.edit("UPDATE applications SET tid = ?, id = 'test' WHERE id = ?", stage.tid, made.application_id)
    return made


async def enrolled(stage, *names):
    """Users of the stage's tenant, in the group `risk`."""
    users = [people.NewUser(email=f"{name}@example.com", password="pw", groups=("risk",)) for name in names]
    other = await people.seed(stage.ctx, "third", "third", users)
    for table in ("users", "groups"):
        await stage.edit(f"UPDATE {table} SET tid = ? WHERE tid = ?", stage.tid, other.tenant.tid)
    return other
