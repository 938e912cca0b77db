"""Items on a real platform: every command in every state, two at once, hand-overs, messages and threads."""

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.stage import gathered, graph, job
from penstock.core.requests import ItemFilter
from penstock.errors import Conflict, Forbidden, Invalid, NotFound, PenstockError, WrongState
from penstock.operations import drafts, items, processes, reading, threads
from penstock.operations.people import NewUser, seed
from penstock.store import people

STAFF = {"permissions": {"manager": ["group:boss"], "initiator": ["role:everyone"]}}
TASK = {"candidates": ["group:staff"], "due": "P1D"}
LINE = graph(
    "line",
    {"t": {"kind": "item", "task": "T"}, "after": job("after")},
    ("t", "after"),
    tasks={"T": TASK},
    **STAFF,
)
TELL = graph(
    "tell",
    {"m": {"kind": "item", "type": "message", "task": "T", "input": {"text": "hello"}}, "end": {"kind": "end"}},
    ("m", "end"),
    tasks={"T": TASK},
    **STAFF,
)


class Cast:
    """People who are there, in the tenant's tables too."""

    def __init__(self, stage):
        self.ann, self.ben = stage.user("ann@example.com", "staff"), stage.user("ben@example.com", "staff")
        self.mia = stage.user("mia@example.com", "boss")
        self.eve = stage.user("eve@example.com")

    @classmethod
    async def on(cls, stage):
        def unit(tx):
            for name in ("ann", "ben", "mia", "eve"):
                people.add_user(tx, stage.tid, f"id-{name}", f"{name}@example.com", name, None)
            people.add_group(tx, stage.tid, "staff", "Staff")
            people.add_group(tx, stage.tid, "second", "Second line")

        await stage.store.submit_async(unit)
        for document in (LINE, TELL):
            await stage.deploy(document)
        return cls(stage)


async def task(stage, of="line"):
    """A process and its item."""
    id = await stage.start(of)
    page = await items.listed(stage.ctx, stage.actor, ItemFilter(), None, 10, mine=False, process=id)
    [item] = page.items
    return id, item.id


async def show(stage, id):
    return await items.get(stage.ctx, stage.actor, id)


# -- the whole table ---------------------------------------------------------------------------------------------------

OUTPUT = {"ok": True}


async def in_state(stage, cast, kind, state):
    """An item of this kind that has been brought into this state."""
    if kind == "THREAD":
        process = await stage.start("line")
        id = (await threads.begin(stage.ctx, cast.mia, process, "why", ["group:staff"], None)).id
    else:
        process, id = await task(stage, "line" if kind == "TASK" else "tell")
    match kind, state:
        case "TASK", "CLAIMED":
            await items.claim(stage.ctx, cast.ann, id)
        case "TASK", "COMPLETED":
            await items.complete(stage.ctx, cast.ann, id, OUTPUT)
        case "MESSAGE", "COMPLETED":
            await items.acknowledge(stage.ctx, cast.ann, id)
        case "THREAD", "COMPLETED":
            await items.complete(stage.ctx, cast.mia, id, None)
        case _, "CANCELLED":
            await items.cancel(stage.ctx, cast.mia, id, "not wanted")
    assert (await show(stage, id)).state == state
    return process, id


def commands(stage, cast, id):
    ann, mia = cast.ann, cast.mia
    ctx = None if stage is None else stage.ctx
    return {
        "claim": lambda: items.claim(ctx, cast.ben, id),
        "unclaim": lambda: items.unclaim(ctx, mia, id),
        "assign": lambda: items.assign(ctx, mia, id, "user:ben@example.com"),
        "delegate": lambda: items.delegate(ctx, stage.actor, id, "user:ben@example.com", "please"),
        "draft": lambda: drafts.save(ctx, stage.actor, id, {"a": 1}, None),
        "complete": lambda: items.complete(ctx, stage.actor, id, OUTPUT),
        "close": lambda: items.complete(ctx, mia, id, None),
        "acknowledge": lambda: items.acknowledge(ctx, ann, id),
        "post": lambda: threads.write(ctx, ann, id, "hello"),
        "log": lambda: drafts.write_log(ctx, mia, id, "info", "seen"),
        "change": lambda: items.change(ctx, mia, id, items.Change(priority=9)),
        "cancel": lambda: items.cancel(ctx, mia, id, ""),
    }


def documented():
    """The table of docs/architecture.md: command -> kinds and states it is legal for."""
    text = (Path(__file__).parents[2] / "docs/architecture.md").read_text()
    table = text.partition("| command on an item | for | legal in |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (\w+) \| ([A-Z, ]+) \| ([A-Z, ]+) \|", table, re.MULTILINE)
    return {command: (set(kinds.split(", ")), set(states.split(", "))) for command, kinds, states in rows}


LEGAL = documented()
AFTER = {"claim": "CLAIMED", "assign": "CLAIMED", "delegate": "CLAIMED", "unclaim": "READY", "cancel": "CANCELLED"}
AFTER |= dict.fromkeys(("complete", "close", "acknowledge"), "COMPLETED")
ANOTHER = {("complete", "THREAD"), ("close", "TASK"), ("close", "MESSAGE")}
"""The same call, judged on its own line."""


def test_the_documented_table_names_every_command():
    assert LEGAL.keys() == commands(None, SimpleNamespace(ann=None, mia=None), "").keys()


@pytest.mark.parametrize("kind", ["TASK", "MESSAGE", "THREAD"])
def test_every_command_in_every_state(play, kind):
    async def journey(stage):
        cast = await Cast.on(stage)
        states = [state for state in ("READY", "CLAIMED", "COMPLETED", "CANCELLED") if kind == "TASK" or state != "CLAIMED"]  # fmt: skip
        for state in states:
            for name, (kinds, legal) in LEGAL.items():
                if (name, kind) in ANOTHER:
                    continue
                process, id = await in_state(stage, cast, kind, state)
                before, events = await show(stage, id), await stage.events(process)
                call = commands(stage, cast, id)[name]
                if kind in kinds and state in legal:
                    await call()
                    assert (await show(stage, id)).state == AFTER.get(name, state), (name, state)
                    continue
                with pytest.raises((WrongState, Forbidden) if name == "unclaim" else WrongState) as refused:
                    await call()
                assert state in str(refused.value) or kind in str(refused.value), (name, state)
                assert await show(stage, id) == before, (name, state)
                assert await stage.events(process) == events, (name, state)

    play(journey)


# -- who may -----------------------------------------------------------------------------------------------------------


def test_who_may_do_what_with_a_task(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        may = {
            "claim": {"ben"},
            "unclaim": {"mia"},
            "assign": {"mia"},
            "log": {"mia", "ann", "ben"},
            "change": {"mia"},
            "cancel": {"mia"},
        }
        for name in ("ann", "ben", "mia", "eve"):
            who = getattr(cast, name)
            for command, allowed in may.items():
                _, id = await task(stage)
                if command == "unclaim":
                    await items.claim(stage.ctx, stage.actor, id)
                calls = {
                    "claim": lambda id=id, who=who: items.claim(stage.ctx, who, id),
                    "unclaim": lambda id=id, who=who: items.unclaim(stage.ctx, who, id),
                    "assign": lambda id=id, who=who: items.assign(stage.ctx, who, id, "group:second"),
                    "log": lambda id=id, who=who: drafts.write_log(stage.ctx, who, id, "info", "x"),
                    "change": lambda id=id, who=who: items.change(stage.ctx, who, id, items.Change(priority=1)),
                    "cancel": lambda id=id, who=who: items.cancel(stage.ctx, who, id, ""),
                }
                if name in allowed or (command == "claim" and name == "ann"):
                    await calls[command]()
                    continue
                with pytest.raises(NotFound if name == "eve" else Forbidden):
                    await calls[command]()

    play(journey)


def test_only_who_owns_a_task_hands_it_on_or_drafts(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        _, id = await task(stage)
        await items.claim(stage.ctx, cast.ann, id)
        for who, error in ((cast.ben, Forbidden), (cast.mia, Forbidden), (cast.eve, NotFound)):
            with pytest.raises(error):
                await items.delegate(stage.ctx, who, id, "user:eve@example.com", "")
            with pytest.raises(error):
                await drafts.save(stage.ctx, who, id, 1, None)
            with pytest.raises(error):
                await drafts.get(stage.ctx, who, id)
            with pytest.raises(error):
                await items.complete(stage.ctx, who, id, OUTPUT)

    play(journey)


# -- handing over ------------------------------------------------------------------------------------------------------


def test_what_is_delegated_comes_back(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        process, id = await task(stage)
        await items.claim(stage.ctx, cast.ann, id)
        given = await items.delegate(stage.ctx, cast.ann, id, "user:EVE@example.com", "you know more")
        assert (given.owner, given.delegator) == ("user:eve@example.com", "user:ann@example.com")
        assert [len(await stage.inbox(who)) for who in (cast.ann, cast.eve, cast.ben)] == [1, 1, 0]
        on = await items.delegate(stage.ctx, cast.eve, id, "user:ben@example.com", "")
        assert (on.owner, on.delegator) == ("user:ben@example.com", "user:ann@example.com")
        back = await items.unclaim(stage.ctx, cast.ben, id)
        assert (back.state, back.owner, back.delegator) == ("CLAIMED", "user:ann@example.com", None)
        await items.delegate(stage.ctx, cast.ann, id, "user:eve@example.com", "")
        with pytest.raises(WrongState):
            await items.claim(stage.ctx, cast.ben, id)
        taken = await items.claim(stage.ctx, cast.ann, id)
        assert (taken.owner, taken.delegator) == ("user:ann@example.com", None)
        with pytest.raises(NotFound):
            await items.get(stage.ctx, cast.eve, id)
        history = (await reading.history(stage.ctx, stage.actor, process, None, 100)).items
        assert [entry.data.get("note") for entry in history if entry.type == "ItemDelegated"] == ["you know more", None, None]  # fmt: skip
        assert "delegate" not in {entry.actor for entry in history}

    play(journey)


def test_an_assignment_is_for_somebody_who_is_there(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        await stage.edit("UPDATE users SET disabled = 1 WHERE email = 'ben@example.com'")
        other = await seed(stage.ctx, "elsewhere", "Elsewhere", [NewUser("zoe@example.com", "secret-secret")])
        process, id = await task(stage)
        odd = {
            "user:nobody@example.com": "unknown",
            "user:ben@example.com": "disabled",
            "user:zoe@example.com": "unknown",
            f"app:{other.application_id}": "unknown",
            "group:nobody": "unknown",
            "role:everyone": "kind",
            "eve@example.com": "invalid",
        }
        for to, code in odd.items():
            with pytest.raises(Invalid) as refused:
                await items.assign(stage.ctx, cast.mia, id, to)
            assert [(problem.pointer, problem.code) for problem in refused.value.problems] == [("/to", code)], to
        await items.assign(stage.ctx, cast.mia, id, "user:eve@example.com")
        with pytest.raises(Invalid):
            await items.delegate(stage.ctx, cast.eve, id, "group:staff", "")
        with pytest.raises(Invalid):
            await items.delegate(stage.ctx, cast.eve, id, "user:eve@example.com", "")
        moved = await items.assign(stage.ctx, cast.mia, id, "group:second")
        assert (moved.state, moved.owner, moved.candidates) == ("READY", None, ["group:second"])
        assert (await stage.events(process))[1:] == ["ItemAssigned", "ItemAssigned"]

    play(journey)


def test_a_draft_is_kept_for_its_owner_until_the_end(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        _, id = await task(stage)
        await items.claim(stage.ctx, cast.ann, id)
        with pytest.raises(NotFound):
            await drafts.get(stage.ctx, cast.ann, id)
        first = await drafts.save(stage.ctx, cast.ann, id, {"half": [1]}, None)
        with pytest.raises(PenstockError, match="changed since"):
            await drafts.save(stage.ctx, cast.ann, id, 2, frozenset({first.rev + 1}))
        second = await drafts.save(stage.ctx, cast.ann, id, {"half": [1, 2]}, frozenset({first.rev}))
        assert await drafts.get(stage.ctx, cast.ann, id) == second
        await items.delegate(stage.ctx, cast.ann, id, "user:ben@example.com", "")
        with pytest.raises(NotFound):
            await drafts.get(stage.ctx, cast.ben, id)
        await items.claim(stage.ctx, cast.ann, id)
        assert (await drafts.get(stage.ctx, cast.ann, id)).data == {"half": [1, 2]}
        await items.complete(stage.ctx, cast.ann, id, OUTPUT)
        assert await stage.rows("SELECT * FROM drafts") == []

    play(journey)


def test_a_changed_item_moves_in_the_inbox(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        ids = [(await task(stage))[1] for _ in range(3)]
        await items.change(stage.ctx, cast.mia, ids[1], items.Change(due_at=1, priority=5))
        await items.change(stage.ctx, cast.mia, ids[0], items.Change(due_at=None))

        async def order(sort, **more):
            wanted = ItemFilter(sort=sort, **more)
            return [item.id for item in (await items.listed(stage.ctx, cast.ann, wanted, None, 10, mine=True)).items]

        assert await order("due", descending=False) == [ids[1], ids[2], ids[0]]
        assert (await order("priority"))[0] == ids[1]
        assert await order("due", overdue=True) == [ids[1]]
        found = await items.counts(stage.ctx, cast.ann)
        assert (found.mine, found.groups, found.overdue) == (0, 3, 1)
        await items.claim(stage.ctx, cast.ann, ids[1])
        found = await items.counts(stage.ctx, cast.ann)
        assert (found.mine, found.groups, found.overdue) == (1, 2, 1)

    play(journey)


# -- cancelling --------------------------------------------------------------------------------------------------------


def test_a_cancelled_task_is_an_incident_and_asked_again(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        process, id = await task(stage)
        await items.claim(stage.ctx, cast.ann, id)
        await drafts.write_log(stage.ctx, cast.ann, id, "info", "begun")
        gone = await items.cancel(stage.ctx, cast.mia, id, "wrong case")
        assert (gone.state, gone.ended_by) == ("CANCELLED", "user:mia@example.com")
        await stage.reached(process, "FAILED")
        [visit] = await stage.visits(process, "t")
        assert (visit.failure["type"], visit.failure["message"]) == ("ItemCancelled", "wrong case")
        await stage.do("retry", process)
        again = await show(stage, id)
        assert (again.state, again.owner) == ("READY", None)
        await drafts.write_log(stage.ctx, cast.ann, id, "info", "once more")
        lines = (await drafts.log(stage.ctx, cast.ann, id, None, 10)).items
        assert [line.data["message"] for line in lines] == ["begun", "once more"]
        await items.complete(stage.ctx, cast.ben, id, OUTPUT)
        await stage.work("after")
        await stage.completed(process)

    play(journey)


# -- two at once -------------------------------------------------------------------------------------------------------

PAIRS = {
    "claim, claim": ("claim", "claim_too"),
    "claim, cancel": ("claim", "cancel"),
    "complete, unclaim": ("complete", "unclaim"),
    "complete, cancel": ("complete", "cancel"),
    "delegate, complete": ("delegate", "complete"),
    "assign, claim": ("assign", "claim"),
    "unclaim, delegate": ("unclaim", "delegate"),
}


EVENTS = {
    "cancel": "ItemCancelled",
    "complete": "ItemCompleted",
    "unclaim": "ItemUnclaimed",
    "delegate": "ItemDelegated",
    "assign": "ItemAssigned",
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=list(PAIRS))
def test_of_two_at_once_each_is_judged_by_what_the_other_left(play, pair):
    async def journey(stage):
        cast = await Cast.on(stage)
        ctx = stage.ctx
        for turn in range(12):
            process, id = await task(stage)
            claimed = not {"claim", "claim_too", "assign"} & set(pair)
            if claimed:
                await items.claim(ctx, cast.ann, id)
            calls = {
                "claim": lambda id=id: items.claim(ctx, cast.ann, id),
                "claim_too": lambda id=id: items.claim(ctx, cast.ben, id),
                "cancel": lambda id=id: items.cancel(ctx, cast.mia, id, ""),
                "complete": lambda id=id: items.complete(ctx, cast.ann, id, OUTPUT),
                "unclaim": lambda id=id: items.unclaim(ctx, cast.ann, id),
                "delegate": lambda id=id: items.delegate(ctx, cast.ann, id, "user:eve@example.com", ""),
                "assign": lambda id=id: items.assign(ctx, cast.mia, id, "user:eve@example.com"),
            }
            order = pair if turn % 2 else pair[::-1]
            results = dict(zip(order, await gathered(*(calls[name]() for name in order)), strict=True))
            won = {name for name, result in results.items() if not isinstance(result, Exception)}
            now, events = await show(stage, id), await stage.events(process)
            assert won, results
            owners = [row[0] for row in await stage.rows("SELECT grantee FROM item_grants WHERE pid = ?", await stage.pid(process))]  # fmt: skip
            for name, event in EVENTS.items():
                assert events.count(event) == (name in won), (events, won)
            match now.state:
                case "COMPLETED":
                    assert "complete" in won
                    assert owners == []
                    assert events[-1] == "ItemCompleted"
                case "CANCELLED":
                    assert "cancel" in won
                    assert owners == []
                    assert await stage.status(process) == "FAILED"
                case "CLAIMED":
                    assert now.owner in owners
                case "READY":
                    assert owners == ["group:staff"]
            if "claim_too" in pair:
                assert len(won) == 1
            if "cancel" in pair:
                assert (now.state == "CANCELLED") == ("cancel" in won)

    play(journey)


def test_a_hundred_claims_of_one_item_have_one_winner(play):
    async def journey(stage):
        await Cast.on(stage)
        _, id = await task(stage)
        many = [stage.user(f"u{n}@example.com", "staff") for n in range(100)]
        results = await gathered(*(items.claim(stage.ctx, who, id) for who in many))
        won = [result for result in results if not isinstance(result, Exception)]
        assert len(won) == 1
        assert all(isinstance(result, WrongState) for result in results if result is not won[0])
        assert (await show(stage, id)).owner == won[0].owner

    play(journey)


# -- messages and threads ----------------------------------------------------------------------------------------------


def test_a_message_is_left_behind_and_read_after_the_end(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        process = await stage.start("tell")
        await stage.completed(process)
        [message] = await stage.inbox(cast.ann)
        assert (message.kind, message.data, message.state) == ("MESSAGE", {"text": "hello"}, "READY")
        read = await items.acknowledge(stage.ctx, cast.ann, message.id)
        assert (read.state, read.ended_by) == ("COMPLETED", cast.ann.principal)
        assert [await stage.inbox(who) for who in (cast.ann, cast.ben)] == [[], []]
        [line] = (await drafts.log(stage.ctx, cast.ben, message.id, None, 10)).items
        assert (line.type, line.actor) == ("acknowledged", cast.ann.principal)
        with pytest.raises(WrongState):
            await items.acknowledge(stage.ctx, cast.ben, message.id)

    play(journey)


def test_a_message_that_is_waited_for_holds_its_process(play):
    nodes = {"m": {"kind": "item", "type": "message", "wait": True, "task": "T"}, "after": job("after")}

    async def journey(stage):
        cast = await Cast.on(stage)
        await stage.deploy(graph("held", nodes, ("m", "after"), tasks={"T": TASK}, **STAFF))
        process, id = await task(stage, "held")
        assert await stage.poll("after") == []
        await items.acknowledge(stage.ctx, cast.ben, id)
        await stage.work("after")
        await stage.completed(process)
        assert "ItemCompleted" in await stage.events(process)

    play(journey)


def test_unread_messages_go_with_a_cancelled_process(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        nodes = {"m": {"kind": "item", "type": "message", "task": "T"}, "after": job("after")}
        await stage.deploy(graph("m2", nodes, ("m", "after"), tasks={"T": TASK}, **STAFF))
        process, id = await task(stage, "m2")
        await threads.begin(stage.ctx, cast.mia, process, "why", [], None)
        await stage.do("cancel", process)
        assert await stage.inbox(cast.ann) == []
        assert (await show(stage, id)).state == "CANCELLED"
        with pytest.raises(WrongState):
            await threads.begin(stage.ctx, cast.mia, process, "why", [], None)

    play(journey)


def test_a_conversation(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        process = await stage.start("line")
        with pytest.raises(Forbidden):
            await threads.begin(stage.ctx, cast.ann, process, "may I?", [], None)
        thread = await threads.begin(stage.ctx, cast.mia, process, "Which?", ["user:ann@example.com"], "I see two.")
        assert (thread.kind, thread.name, thread.owner, thread.posts) == ("THREAD", "Which?", cast.mia.principal, 1)
        said = await threads.write(stage.ctx, cast.ann, thread.id, "The frist.")
        assert said.number == 2
        with pytest.raises(NotFound):
            await threads.write(stage.ctx, cast.eve, thread.id, "hello?")
        with pytest.raises(Forbidden):
            await threads.edit(stage.ctx, cast.mia, thread.id, 2, "No.")
        await threads.edit(stage.ctx, cast.ann, thread.id, 2, "The first.")
        await threads.delete(stage.ctx, cast.mia, thread.id, 1)
        found = (await threads.posts(stage.ctx, cast.ann, thread.id, None, 10)).items
        assert [(post.number, post.text) for post in found] == [(1, None), (2, "The first.")]
        for gone in (1, 3):
            with pytest.raises(NotFound):
                await threads.edit(stage.ctx, cast.mia, thread.id, gone, "again")
        lines = (await drafts.log(stage.ctx, cast.mia, thread.id, None, 10)).items
        assert [(line.type, line.data["before"]) for line in lines] == [
            ("post.edited", "The frist."),
            ("post.deleted", "I see two."),
        ]
        with pytest.raises(Forbidden):
            await drafts.log(stage.ctx, cast.ann, thread.id, None, 10)
        await items.complete(stage.ctx, cast.mia, thread.id, None)
        with pytest.raises(WrongState):
            await threads.write(stage.ctx, cast.ann, thread.id, "too late")
        assert [each.id for each in (await threads.listed(stage.ctx, cast.mia, process, None, 10)).items] == [thread.id]
        assert (await threads.listed(stage.ctx, cast.eve, process, None, 10)).items == []

    play(journey)


def test_posts_at_once_are_all_kept_in_one_order(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        process = await stage.start("line")
        id = (await threads.begin(stage.ctx, cast.mia, process, "all", ["group:staff"], None)).id
        texts = [f"post {n}" for n in range(40)]
        posts = await asyncio.gather(*(threads.write(stage.ctx, cast.ann, id, text) for text in texts))
        assert sorted(post.number for post in posts) == list(range(1, 41))
        first = await threads.posts(stage.ctx, cast.ann, id, None, 25)
        rest = await threads.posts(stage.ctx, cast.ann, id, first.next, 25)
        assert [post.number for post in (*first.items, *rest.items)] == list(range(1, 41))
        assert {post.text for post in (*first.items, *rest.items)} == set(texts)

    play(journey)


# -- more --------------------------------------------------------------------------------------------------------------


def test_a_migration_changes_the_form_an_output_must_fit(play):
    def document(kind):
        form = {"type": "object", "properties": {"n": {"type": kind}}, "required": ["n"]}
        return graph("moved", {"t": {"kind": "item", "task": "T"}}, tasks={"T": {**TASK, "schema": form}}, **STAFF)

    async def journey(stage):
        cast = await Cast.on(stage)
        await stage.deploy(document("integer"))
        process, id = await task(stage, "moved")
        await stage.inbox(cast.ann)
        await stage.deploy(document("string"))
        await processes.migrate(stage.ctx, stage.actor, process, 2, {}, dry_run=False)
        with pytest.raises(Invalid):
            await items.complete(stage.ctx, cast.ann, id, {"n": 1})
        await items.complete(stage.ctx, cast.ann, id, {"n": "one"})
        await stage.completed(process)

    play(journey)


def test_a_batch_is_many_commands_that_fail_alone(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        ids = [(await task(stage))[1] for _ in range(4)]
        await items.claim(stage.ctx, cast.ben, ids[0])
        entries = [items.Entry(id, "claim") for id in ids] + [items.Entry("no-uuid", "claim")]
        answers = await items.batch(stage.ctx, cast.ann, entries, "key")
        kinds = [type(answer).__name__ for answer in answers]
        assert kinds == ["WrongState", "Item", "Item", "Item", "NotFound"]
        again = await items.batch(stage.ctx, cast.ann, entries, "key")
        assert again[1:4] == answers[1:4]
        entries = [items.Entry(id, "complete", OUTPUT) for id in ids[1:]]
        assert {answer.state for answer in await items.batch(stage.ctx, cast.ann, entries)} == {"COMPLETED"}

    play(journey)


def test_a_command_under_a_key_answers_the_same_again(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        _, id = await task(stage)
        first = await items.claim(stage.ctx, cast.ann, id, "k")
        await items.unclaim(stage.ctx, cast.ann, id)
        assert await items.claim(stage.ctx, cast.ann, id, "k") == first
        assert (await show(stage, id)).state == "READY"
        line = await drafts.write_log(stage.ctx, cast.ann, id, "info", "once", "k2")
        assert await drafts.write_log(stage.ctx, cast.ann, id, "info", "once", "k2") == line
        assert len((await drafts.log(stage.ctx, cast.ann, id, None, 10)).items) == 1

    play(journey)


def test_delegating_under_a_key_answers_the_same_again_though_the_item_is_anothers(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        _, id = await task(stage)
        await items.claim(stage.ctx, cast.ann, id)
        to = "user:eve@example.com"
        first = await items.delegate(stage.ctx, cast.ann, id, to, "you know more", "k")
        assert await items.delegate(stage.ctx, cast.ann, id, to, "you know more", "k") == first
        for key in (None, "another"):
            with pytest.raises(Forbidden):
                await items.delegate(stage.ctx, cast.ann, id, to, "you know more", key)
        with pytest.raises(Conflict):
            await items.delegate(stage.ctx, cast.ann, id, "user:ben@example.com", "", "k")
        with pytest.raises(Invalid):
            await items.delegate(stage.ctx, cast.eve, id, "user:nobody@example.com", "", "k2")
        with pytest.raises(Invalid):
            await items.delegate(stage.ctx, cast.eve, id, "group:staff", "", "k3")

    play(journey)


def test_those_who_look_after_a_definition_list_all_of_it(play):
    async def journey(stage):
        cast = await Cast.on(stage)
        process, id = await task(stage)
        await items.claim(stage.ctx, cast.ann, id)
        wanted = ItemFilter()

        async def seen(who, **more):
            return [
                item.id for item in (await items.listed(stage.ctx, who, wanted, None, 10, mine=False, **more)).items
            ]

        assert await seen(cast.mia, definition="line") == [id]
        assert await seen(cast.mia, process=process) == [id]
        assert await seen(cast.mia) == []
        assert await seen(cast.ben, definition="line") == []
        assert await seen(stage.actor) == [id]
        assert await seen(cast.mia, definition="nothing") == []

    play(journey)
