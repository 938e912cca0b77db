"""People, permissions and approval on both databases; on PostgreSQL two nodes change them at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from engines.stage import Stage, graph, job
from penstock.core.approval import Approval, Decision
from penstock.core.requests import Filter, UserFilter
from penstock.errors import AlreadyExists, Conflict, PenstockError, Stale, Unauthenticated, WrongState
from penstock.identity.model import Actor, Kind
from penstock.operations import (
    applications,
    approval,
    groups,
    named_tokens,
    permissions,
    reading,
    sessions,
    tenants,
    users,
)
from penstock.operations.people import Credentials
from penstock.operations.users import Change, NewUser

PASSWORD = "correct horse battery"


class People:
    """One node's people, changed by an administrator."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.ctx = stage.ctx
        self.credentials: Credentials = stage.platform.credentials
        tenant, roles = stage.actor.tenant, frozenset({"admin"})
        self.root = Actor(tenant=tenant, principal="user:root@x.y", kind=Kind.USER, roles=roles)

    async def user(self, email: str, **more: Any) -> Any:
        return await users.create(self.ctx, self.credentials, self.root, NewUser(email=email, **more))

    async def change(self, who: str, expected: frozenset[int] | None = None, **more: Any) -> Any:
        return await users.change(self.ctx, self.credentials, self.root, who, Change(**more), expected)

    async def login(self, email: str) -> str:
        return (await self.credentials.user_token(email, PASSWORD)).access_token

    async def granted(self, code: str, **given: list[str]) -> None:
        await permissions.put(self.ctx, self.root, code, given, None)

    async def decide(self, code: str, number: int, *decisions: Decision) -> None:
        for decision in decisions:
            await approval.decide(self.ctx, self.root, code, number, decision, "why")


async def outcomes(*awaitables: Any) -> list[str]:
    found = await asyncio.gather(*awaitables, return_exceptions=True)
    unexpected = [each for each in found if isinstance(each, BaseException) and not isinstance(each, PenstockError)]
    assert not unexpected
    return sorted(type(each).__name__ if isinstance(each, PenstockError) else "ok" for each in found)


def test_a_user_comes_and_goes(play):
    async def journey(stage: Stage) -> None:
        people = People(stage)
        await groups.create(stage.ctx, people.root, "staff", None)
        made = await people.user("Ann@X.Y", password=PASSWORD, groups=["staff"], roles=["admin"])
        assert (made.email, made.groups, made.account.roles) == ("ann@x.y", ["staff"], ["admin"])
        with pytest.raises(AlreadyExists):
            await people.user("ANN@x.y")
        token = await people.login("aNN@x.Y")
        assert (await people.credentials.authenticate(token)).groups == {"staff"}
        with pytest.raises(Conflict, match="last administrator"):
            await people.change(made.id, roles=[])
        await people.user("bob@x.y", roles=["admin"])
        changed = await people.change(made.id, frozenset({made.revision}), roles=[], groups=[])
        with pytest.raises(Stale):
            await people.change(made.id, frozenset({made.revision}), name="x")
        actor = await people.credentials.authenticate(token)
        assert (actor.groups, actor.roles) == (frozenset(), frozenset())
        await users.remove(stage.ctx, people.root, made.id, frozenset({changed.revision}))
        with pytest.raises(PenstockError):
            await people.credentials.authenticate(token)
        found = await users.listed(stage.ctx, people.root, UserFilter(sort="-name"), None, 10)
        assert [each.email for each in found.items] == ["bob@x.y"]
        told = await stage.rows(
            "SELECT type FROM journal WHERE actor <> 'system' AND kind IN ('user', 'group') ORDER BY jid"
        )
        assert [type for (type,) in told] == [
            "group.created",
            "user.created",
            "user.created",
            "user.changed",
            "user.deleted",
        ]

    play(journey)


def test_lists_of_users_are_in_one_order_on_every_database(play):
    names = ["b", "B", "a", "ä", "Z", "_", "zz", "é", "🦆", "10", "9"]

    async def journey(stage: Stage) -> None:
        people = People(stage)
        for at, name in enumerate(names):
            await people.user(f"u{at:02}@x.y", name=name)
        for sort, key in (
            ("name", lambda each: (each.name.casefold(), each.email)),
            ("email", lambda each: each.email),
        ):
            for order in (sort, f"-{sort}"):
                found, after = [], None
                while True:
                    page = await users.listed(stage.ctx, people.root, UserFilter(sort=order), after, 2)
                    found += page.items
                    after = page.next
                    if after is None:
                        break
                assert found == sorted(found, key=key, reverse=order.startswith("-"))
                assert len(found) == len(names)
        page = await users.listed(stage.ctx, people.root, UserFilter(name="É"), None, 5)
        assert [each.name for each in page.items] == ["é"]

    play(journey)


def test_of_two_last_administrators_one_stays(url):
    """Each takes the role from the other, at the same time: on PostgreSQL on two nodes."""

    async def main() -> None:
        async with Stage.open(url, running=False) as one:
            people = People(one)
            if not url.startswith("postgresql"):
                await race(people, people)
                return
            async with Stage.open(url, "two", running=False) as two:
                await race(people, People(two))

    async def race(one: People, two: People) -> None:
        for round in range(5):
            emails = [f"a{round}@x.y", f"b{round}@x.y"]
            for email in emails:
                await one.user(email, roles=["admin"])
            if round:
                await one.change(f"a{round - 1}@x.y", roles=[])
                await one.change(f"b{round - 1}@x.y", roles=[])
            assert await outcomes(
                one.change(emails[0], roles=[]), two.change(emails[1], disabled=True)
            ) == ["Conflict", "ok"]  # fmt: skip
            await one.change(emails[0], roles=["admin"])
            await one.change(emails[1], roles=["admin"], disabled=False)
            rev = (await users.get(one.ctx, one.root, emails[0])).revision
            expected = frozenset({rev})
            assert await outcomes(
                one.change(emails[0], expected, name="one"), two.change(emails[0], expected, name="two")
            ) == ["Stale", "ok"]  # fmt: skip
            assert await outcomes(one.user(f"c{round}@x.y"), two.user(f"C{round}@x.y")) == ["AlreadyExists", "ok"]

    asyncio.run(main())


def test_a_membership_counts_at_once_on_the_node_that_changed_it(play):
    async def journey(stage: Stage) -> None:
        people = People(stage)
        await people.user("root@x.y", roles=["admin"])
        await people.user("ann@x.y", password=PASSWORD)
        await groups.create(stage.ctx, people.root, "staff", None)
        token = await people.login("ann@x.y")
        for _ in range(20):
            await groups.add_member(stage.ctx, people.root, "staff", "ann@x.y")
            assert (await people.credentials.authenticate(token)).groups == {"staff"}
            await groups.remove_member(stage.ctx, people.root, "staff", "ann@x.y")
            assert (await people.credentials.authenticate(token)).groups == frozenset()

    play(journey)


def test_another_node_hears_of_a_change(postgres_url):
    async def main() -> None:
        async with Stage.open(postgres_url) as one, Stage.open(postgres_url, "two") as two:
            people, other = People(one), People(two)
            await people.user("root@x.y", roles=["admin"])
            await people.user("ann@x.y", password=PASSWORD)
            token = await people.login("ann@x.y")
            assert (await other.credentials.authenticate(token)).roles == frozenset()
            await people.change("ann@x.y", disabled=True)

            async def locked_out() -> bool:
                try:
                    await other.credentials.authenticate(token)
                except PenstockError:
                    return True
                return False

            await two.until(locked_out)

    asyncio.run(main())


def test_a_secret_rotates_and_the_old_one_ends_in_its_time(play):
    async def journey(stage: Stage) -> None:
        people = People(stage)
        made, first = await applications.create(stage.ctx, people.root, "app", [])
        now = await stage.store.async_read(lambda read: read.now())
        _, second = await applications.rotate(stage.ctx, people.root, made.id, now + 3_600_000, None)
        for secret in (first, second):
            await people.credentials.application_token(made.id, secret)
        await stage.edit("UPDATE applications SET old_until = ? WHERE id = ?", now - 1, made.id)
        with pytest.raises(PenstockError):
            await people.credentials.application_token(made.id, first)
        await people.credentials.application_token(made.id, second)

    play(journey)


def test_versions_wait_for_approval(play):
    async def journey(stage: Stage) -> None:
        people = People(stage)
        await tenants.change(stage.ctx, people.root, tenants.Change(approval=Approval.REQUIRED), None)
        document = graph("loan", {"work": job("t")})
        assert (await stage.deploy(document)).state == "DRAFT"
        with pytest.raises(WrongState, match="DRAFT"):
            await stage.start("loan")
        await people.decide("loan", 1, Decision.SUBMIT, Decision.APPROVE, Decision.ACTIVATE)
        first = await stage.start("loan")
        await stage.deploy({**document, "name": "second"})
        assert (await stage.show(await stage.start("loan"))).version == 1
        await people.decide("loan", 2, Decision.SUBMIT, Decision.APPROVE, Decision.ACTIVATE)
        assert (await stage.show(await stage.start("loan"))).version == 2
        with pytest.raises(WrongState, match="RETIRED"):
            await stage.start("loan", version=1)
        assert await stage.status(first) == "RUNNING"
        await people.decide("loan", 1, Decision.ACTIVATE)
        assert (await stage.show(await stage.start("loan"))).version == 1
        states = await stage.rows("SELECT number, state FROM versions ORDER BY number")
        assert states == [(1, "ACTIVE"), (2, "RETIRED")]

    play(journey)


def test_of_two_decisions_at_once_one_is_made(url):
    async def main() -> None:
        async with Stage.open(url, running=False) as one:
            if url.startswith("postgresql"):
                async with Stage.open(url, "two", running=False) as two:
                    await race(one, two)
            else:
                await race(one, one)

    async def race(one: Stage, two: Stage) -> None:
        people, other = People(one), People(two)
        await tenants.change(one.ctx, people.root, tenants.Change(approval=Approval.REQUIRED), None)
        for at in range(8):
            code = f"d{at}"
            await one.deploy(graph(code, {"work": job("t")}))
            await people.decide(code, 1, Decision.SUBMIT)
            both = people.decide(code, 1, Decision.APPROVE), other.decide(code, 1, Decision.REJECT)
            assert await outcomes(*both) == ["WrongState", "ok"]
            decided = await approval.listed(one.ctx, people.root, code, 1, None, 10)
            assert [each.n for each in decided.items] == [1, 2]

    asyncio.run(main())


def test_grants_and_their_rows_say_the_same(play):
    async def journey(stage: Stage) -> None:
        people = People(stage)
        for email in ("ann@x.y", "bob@x.y"):
            await people.user(email)
        await stage.deploy(graph("d", {"work": job("t")}, permissions={"manager": ["user:ANN@x.y"]}))

        async def rows() -> set[tuple[str, str]]:
            return {(p, g) for p, g in await stage.rows("SELECT permission, grantee FROM definition_grants")}

        assert await rows() == {("manager", "user:ann@x.y")}
        await people.granted("d", viewer=["user:bob@x.y"], manager=["user:ann@x.y"])
        assert await rows() == {("manager", "user:ann@x.y"), ("viewer", "user:bob@x.y")}
        id = await stage.start("d")
        for email, sees in (("ann@x.y", [id]), ("bob@x.y", [id]), ("eve@x.y", [])):
            found = await processes_of(stage, stage.user(email))
            assert found == sees
        with pytest.raises(Conflict, match="definition d"):
            await users.remove(stage.ctx, people.root, "bob@x.y", None)
        await people.granted("d")
        assert await rows() == set()
        assert await processes_of(stage, stage.user("eve@x.y")) == [id]

    play(journey)


async def processes_of(stage: Stage, actor: Actor) -> list[str]:

    page = await reading.listed(stage.ctx, actor, Filter(oldest=True), None, 50)
    for each in page.items:
        await reading.get(stage.ctx, actor, each.id)
    return [each.id for each in page.items]


@pytest.mark.parametrize("given", [{}, {"password": "another " + PASSWORD}])
def test_who_becomes_an_operator_keeps_no_credential_of_before(play, given):
    """An administrator of the tenant could have made each of them."""

    async def journey(stage: Stage) -> None:
        people = People(stage)
        operator = structs.replace(people.root, roles=frozenset({"admin", "operator"}))
        await people.user("ann@x.y", password=PASSWORD, roles=["admin"])
        token = await people.login("ann@x.y")
        ann = await people.credentials.authenticate(token)
        named = named_tokens.New(name="planted")
        _, planted = await named_tokens.create(stage.ctx, ann, token, named)
        cookie = (await stage.platform.sessions.log_in("ann@x.y", PASSWORD, None, sessions.Place())).secret
        change = Change(roles=["admin", "operator"], **given)
        made = await users.change(stage.ctx, people.credentials, operator, "ann@x.y", change, None)
        assert made.account.password is bool(given)
        for text in (token, planted):
            with pytest.raises(Unauthenticated):
                await people.credentials.authenticate(text or "")
        with pytest.raises(Unauthenticated):
            await stage.platform.sessions.authenticate(cookie)
        with pytest.raises(Unauthenticated):
            await people.login("ann@x.y")
        told = await stage.rows("SELECT data FROM journal WHERE type = 'user.changed'")
        assert f'"password":{str(bool(given)).lower()}' in told[0][0].replace(" ", "")
        if given:
            kept = (await people.credentials.user_token("ann@x.y", given["password"])).access_token
            again = Change(roles=["operator"], name="Ann")  # who is one stays logged in
            await people.user("bob@x.y", roles=["admin"])
            await users.change(stage.ctx, people.credentials, operator, "ann@x.y", again, None)
            assert (await people.credentials.authenticate(kept)).roles == {"operator"}

    play(journey, running=False)


def test_an_application_that_is_there_becomes_no_operator(play):
    async def journey(stage: Stage) -> None:
        people = People(stage)
        operator = structs.replace(people.root, roles=frozenset({"admin", "operator"}))
        made, _ = await applications.create(stage.ctx, people.root, "app", [])
        with pytest.raises(Conflict, match="make a new one"):
            await applications.change(stage.ctx, operator, made.id, applications.Change(roles=["operator"]), None)
        assert (await applications.get(stage.ctx, people.root, made.id)).roles == []
        new, _ = await applications.create(stage.ctx, operator, "new", ["operator"])
        change = applications.Change(name="renamed", roles=["admin", "operator"])
        assert (await applications.change(stage.ctx, operator, new.id, change, None)).name == "renamed"

    play(journey, running=False)
