"""Signed tokens, the keys that sign them, access keys and named tokens, on both databases and on two nodes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import secrets
import time

import pytest
from joserfc.jwk import ECKey
from msgspec import structs

from engines.stage import SECRET_KEY, Stage
from penstock.config import Settings
from penstock.errors import Conflict, Forbidden, Invalid, NotFound, PenstockError, Unauthenticated, Unavailable
from penstock.identity import signed
from penstock.identity.keys import Keys, encode_key
from penstock.identity.model import Actor, Kind
from penstock.identity.tokens import hash_secret, proof
from penstock.operations import (
    access_keys,
    applications,
    believing,
    named_tokens,
    people,
    resealing,
    sessions,
    signing,
    users,
)
from penstock.operations import tokens as revoking
from penstock.store import people as stored_people
from penstock.wiring.platform import Platform

PASSWORD = "correct horse battery"


class Tenant:
    """A tenant of a test's own: an application, an administrator, and their credentials."""

    def __init__(self, stage, made) -> None:
        self.stage, self.made = stage, made
        self.app, self.secret = made.application_id, made.application_secret
        self.admin = Actor(
            tenant=made.tenant, principal=f"app:{self.app}", kind=Kind.APPLICATION, roles=frozenset({"admin"})
        )
        self.ann = Actor(tenant=made.tenant, principal="user:ann@example.com", kind=Kind.USER)

    async def token(self, at=None) -> str:
        made = await (at or self.stage).platform.credentials.application_token(self.app, self.secret)
        return made.access_token


async def tenant(stage) -> Tenant:
    ann = people.NewUser(email="ann@example.com", password=PASSWORD)
    return Tenant(stage, await people.seed(stage.ctx, secrets.token_hex(4), "Of a test", [ann]))


async def who(stage, token) -> str:
    return (await stage.platform.credentials.authenticate(token)).principal


def parts(token) -> tuple[dict, dict]:
    header, claims, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    return json.loads(header), json.loads(claims)


async def rotated(stage) -> str:
    """Another key signs from here on; answers its id."""
    return (await asyncio.to_thread(signing.replace_newest, stage.store, stage.ctx.keys)).kid


@contextlib.asynccontextmanager
async def two_nodes(url):
    async with Stage.open(url, "one", running=False) as one:
        if one.store.dialect == "sqlite":
            yield one, one
            return
        async with Stage.open(url, "two", running=False) as two:
            yield one, two


# -- signing keys ----------------------------------------------------------------------------------------------------


def test_an_access_token_says_who_it_is_for_in_the_shape_of_rfc_9068(play):
    async def journey(stage):
        mine = await tenant(stage)
        credentials = stage.platform.credentials
        made = await credentials.application_token(mine.app, mine.secret)
        header, claims = parts(made.access_token)
        (key,) = await stage.platform.signing.published()
        assert header == {"alg": "ES256", "typ": "at+jwt", "kid": key["kid"]}
        assert claims.pop("exp") - claims["iat"] == made.expires_in == 3600
        now = await stage.store.submit_async(lambda tx: tx.now)
        assert abs(claims["iat"] - now / 1000) < 60
        assert claims.pop("iat") == claims.pop("nbf")
        assert claims.pop("jti")
        assert claims == {
            "iss": "http://127.0.0.1:8080", "aud": "penstock", "sub": f"app:{mine.app}", "client_id": mine.app,
            "tenant": mine.made.tenant.id,
        }  # fmt: skip
        _, claims = parts((await credentials.user_token("ann@example.com", PASSWORD)).access_token)
        assert (claims["sub"], "client_id" in claims) == ("user:ann@example.com", False)
        assert await who(stage, made.access_token) == f"app:{mine.app}"

    play(journey, running=False)


def test_a_private_key_is_kept_encrypted_and_only_while_it_signs(play):
    async def journey(stage):
        first = await stage.rows("SELECT kid, public, key, private, retired_at FROM signing_keys")
        [(kid, public, key, private, retired)] = first
        assert (key, retired) == (stage.ctx.keys.newest, None)
        assert set(json.loads(public)) == {"kty", "crv", "x", "y"}
        opened = json.loads(stage.ctx.keys.open(key, private, f"signing-key/{kid}"))
        assert ECKey.import_key(opened).thumbprint() == kid
        assert opened["d"] not in str(first)
        new = await rotated(stage)
        rows = await stage.rows(
            "SELECT kid, key, private, retired_at FROM signing_keys ORDER BY created_at, retired_at DESC"
        )
        told = {row[0]: row[1:] for row in rows}
        assert told[kid][:2] == (None, None)
        assert told[kid][2] is not None
        assert told[new][2] is None
        journal = await stage.rows("SELECT type, data FROM journal WHERE subject = ?", new)
        assert [each[0] for each in journal] == ["signing_key.created"]
        assert opened["d"] not in str(journal)

    play(journey, running=False)


def test_a_rotated_key_verifies_until_all_it_signed_has_expired_then_it_goes(play):
    async def journey(stage):
        mine, keys = await tenant(stage), stage.platform.signing
        before = await mine.token()
        old, _ = parts(before)
        new = await rotated(stage)
        after = await mine.token()
        assert parts(after)[0]["kid"] == new != old["kid"]
        assert await who(stage, before) == await who(stage, after) == f"app:{mine.app}"
        assert [key["kid"] for key in await keys.published()] == [old["kid"], new]
        await stage.edit(
            "UPDATE signing_keys SET retired_at = retired_at - ? WHERE kid = ?", 30 * signing.DAY, old["kid"]
        )
        await keys.tend(90)
        assert await stage.one("SELECT count(*) FROM signing_keys") == 2
        await stage.edit(
            "UPDATE signing_keys SET retired_at = retired_at - ? WHERE kid = ?", 2 * signing.DAY, old["kid"]
        )
        await keys.tend(90)
        assert await stage.rows("SELECT kid FROM signing_keys") == [(new,)]

    play(journey, running=False)


def test_a_key_is_replaced_when_it_is_old_and_not_before(play):
    async def journey(stage):
        keys = stage.platform.signing
        await keys.tend(90)
        kid = await stage.one("SELECT kid FROM signing_keys")
        await stage.edit("UPDATE signing_keys SET created_at = created_at - ?", 89 * signing.DAY)
        await keys.tend(90)
        assert await stage.one("SELECT count(*) FROM signing_keys") == 1
        await stage.edit("UPDATE signing_keys SET created_at = created_at - ?", signing.DAY)
        await keys.tend(90)
        assert await stage.one("SELECT count(*) FROM signing_keys") == 2
        assert await stage.one("SELECT kid FROM signing_keys WHERE retired_at IS NOT NULL") == kid

    play(journey, running=False)


def test_nodes_that_rotate_at_once_make_one_key(url):
    async def main():
        async with two_nodes(url) as (one, two):
            old = await one.one("SELECT kid FROM signing_keys")
            at = [each for each in (one, two) for _ in range(8)]
            asked = (asyncio.wrap_future(signing.rotate(each.store, each.ctx.keys, old)) for each in at)
            made = await asyncio.gather(*asked)
            assert len({row.kid for row in made}) == 1
            rows = await one.rows("SELECT kid FROM signing_keys WHERE retired_at IS NULL")
            assert rows == [(made[0].kid,)]
            assert await one.one("SELECT count(*) FROM signing_keys") == 2

    asyncio.run(main())


def test_nodes_that_start_at_once_on_an_empty_database_have_one_key(postgres_url):
    settings = Settings(database_url=postgres_url, secret_key=SECRET_KEY)

    async def main():
        made = await asyncio.gather(*(asyncio.to_thread(Platform.build, settings) for _ in range(4)))
        try:
            assert len({(await each.signing.published())[0]["kid"] for each in made}) == 1
            assert len(await made[0].signing.published()) == 1
        finally:
            await asyncio.gather(*(asyncio.to_thread(each.close) for each in made))

    asyncio.run(main())


def test_a_key_rotated_in_the_middle_of_a_load_fails_no_call(url):
    """Tokens are issued on either node and good on either, the first and the last, while keys come and go."""

    async def main():
        async with two_nodes(url) as (one, two):
            mine = await tenant(one)
            nodes, over = (one, two), asyncio.Event()
            issued = [await mine.token(one)]
            kids = set()

            async def logs_in(at):
                while not over.is_set():
                    issued.append(await mine.token(at))
                    kids.add(parts(issued[-1])[0]["kid"])

            async def calls(at, number):
                while not over.is_set():
                    for token in (issued[-1], issued[number % len(issued)]):
                        at.platform.credentials._tokens._known.clear()  # or most would never be checked
                        assert await who(at, token) == f"app:{mine.app}"

            async def rotates():
                for turn in range(6):
                    kid = await rotated(nodes[turn % 2])
                    end = time.monotonic() + 20
                    while kid not in kids:
                        assert time.monotonic() < end
                        await asyncio.sleep(0.01)
                over.set()

            async with asyncio.TaskGroup() as all_of_them:
                for node in nodes:
                    all_of_them.create_task(logs_in(node))
                    for number in range(4):
                        all_of_them.create_task(calls(node, number))
                all_of_them.create_task(rotates())
            for node in nodes:
                assert await who(node, issued[0]) == f"app:{mine.app}"
            assert len(kids) >= 6

    asyncio.run(main())


def test_another_node_knows_a_new_key_though_no_notice_came(postgres_url):
    async def main():
        async with two_nodes(postgres_url) as (one, two):
            mine = await tenant(one)
            assert await who(two, await mine.token(one)) == f"app:{mine.app}"
            two.platform.signing._heard = lambda _: None
            for _ in range(2):
                kid = await rotated(one)
                token = await mine.token(one)
                assert parts(token)[0]["kid"] == kid
                same_token = (who(two, token) for _ in range(5))
                assert set(await asyncio.gather(*same_token)) == {f"app:{mine.app}"}

    asyncio.run(main())


def test_keys_that_there_are_not_are_looked_for_once_a_second_by_all_who_ask(play):
    async def journey(stage):
        keys = stage.platform.signing
        await keys.published()
        stranger = ECKey.generate_key("P-256", private=True, auto_kid=False)
        reads = []
        load = keys._load

        async def counted():
            reads.append(time.monotonic())
            await load()

        keys._load = counted
        token = signed.sign({"sub": "app:x"}, stranger.thumbprint(), stranger)
        for _ in range(2):
            found = await asyncio.gather(*(keys.check(token) for _ in range(200)), return_exceptions=True)
            assert {type(each) for each in found} == {signed.Refused}
        assert len(reads) == 2
        assert reads[1] - reads[0] > signing.LOOK / 2

    play(journey, running=False)


# -- what is no good -------------------------------------------------------------------------------------------------


def test_a_forged_token_is_refused_before_the_database_is_asked(play):
    async def journey(stage):
        mine = await tenant(stage)
        good = await mine.token()
        _, claims = parts(good)
        kid, key = stage.platform.signing._private
        stranger = ECKey.generate_key("P-256", private=True, auto_kid=False)

        def made(by=key, under=kid, **changed):
            return signed.sign({**claims, **changed}, under, by)

        bad = {
            "wrong key": made(stranger),
            "another audience": made(aud="another"),
            "expired": made(exp=claims["iat"] - 3600),
            "path": made(under="../../etc/passwd"),
            "huge kid": made(under="k" * 300),
            "oversized": made(pad="x" * 5000),
            "changed": good[:-10] + ("A" * 10),
            "short": "pj_1.1.x",
            "word": "x",
        }
        assert await who(stage, good)
        # what asks the database now is told that it is closed
        await asyncio.to_thread(stage.platform.store.close)
        with pytest.raises(Unavailable):
            await who(stage, made(jti="sound but unknown"))
        with pytest.raises(Unavailable):
            await who(stage, "pt_" + "A" * 43)
        stage.platform.signing._known = stage.platform.signing._known._replace(heard=time.monotonic())
        for name, token in bad.items():
            with pytest.raises(signed.Refused):
                await who(stage, token)
            done.append(name)
        assert done == list(bad)

    done = []
    with pytest.raises(Unavailable):  # the stage's own check at its end finds the store closed
        play(journey, running=False)
    assert len(done) == 9


def test_what_was_signed_by_us_and_never_issued_is_nobodys(play):
    async def journey(stage):
        mine = await tenant(stage)
        _, claims = parts(await mine.token())
        kid, key = stage.platform.signing._private
        for changed in ({"jti": "another"}, {"sub": "user:ann@example.com"}, {"iss": "https://elsewhere.example.com"}):
            with pytest.raises(Unauthenticated, match="not valid"):
                await who(stage, signed.sign({**claims, **changed}, kid, key))

    play(journey, running=False)


def test_a_token_of_another_audience_is_refused_though_its_row_is_there(play):
    async def journey(stage):
        mine = await tenant(stage)
        text = "pt_" + "B" * 43
        hashed = hash_secret(text)

        def unit(tx):
            stored_people.add_token(tx, hashed, mine.made.tenant.tid, f"app:{mine.app}", "another", 60_000)

        await stage.store.submit_async(unit)
        with pytest.raises(Unauthenticated):
            await who(stage, text)
        await stage.edit("UPDATE tokens SET audience = 'penstock' WHERE token_hash = ?", hashed)
        assert await who(stage, text) == f"app:{mine.app}"

    play(journey, running=False)


def test_a_token_ends_with_its_row_its_principal_and_its_time(play):
    async def journey(stage):
        mine = await tenant(stage)
        revoked, other = await mine.token(), await mine.token()
        assert await who(stage, revoked) == await who(stage, other)
        await revoking.revoke(stage.ctx, mine.admin, revoked)
        with pytest.raises(Unauthenticated):
            await who(stage, revoked)
        assert await who(stage, other)
        await stage.edit("UPDATE tokens SET expires_at = expires_at - 3600000")
        stage.platform.credentials._tokens._known.clear()
        with pytest.raises(Unauthenticated):
            await who(stage, other)

    play(journey, running=False)


# -- the key of the configuration ------------------------------------------------------------------------------------


def test_a_server_whose_signing_key_cannot_be_read_does_not_start_and_says_what_to_do(url):
    new = encode_key(os.urandom(32))
    first = Platform.build(Settings(database_url=url, secret_key=SECRET_KEY))
    kid = first.signing  # it has one
    assert asyncio.run(kid.published())
    first.close()
    with pytest.raises(Conflict, match="rotate-keys --signing"):
        Platform.build(Settings(database_url=url, secret_key=new))
    both = Settings(database_url=url, secret_key=f"{new},{SECRET_KEY}")
    second = Platform.build(both)
    try:
        done, unreadable = asyncio.run(resealing.rotate(second.store, Keys.parse(both.secret_key)))
        assert (done["signing keys"], unreadable) == (1, [])
    finally:
        second.close()
    Platform.build(Settings(database_url=url, secret_key=new)).close()


def test_on_postgresql_a_server_without_a_key_does_not_start_and_says_what_to_do(postgres_url, tmp_path):
    with pytest.raises(Invalid, match="penstock generate-key"):
        Platform.build(Settings(database_url=postgres_url, data_dir=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_access_keys_are_encrypted_anew(play):
    new = encode_key(os.urandom(32))

    async def journey(stage):
        mine = await tenant(stage)
        made, sk = await access_keys.create(stage.ctx, mine.admin, mine.app, "Playbooks")
        both = Keys.parse(f"{new},{SECRET_KEY}")
        done, _ = await resealing.rotate(stage.store, both)
        assert done["access keys"] == 1
        stage.ctx.keys = Keys.parse(new)
        assert (await stage.platform.credentials.access_key(made.ak))[0] == sk
        stage.ctx.keys = Keys.parse(SECRET_KEY)
        stage.platform.credentials._access._known.clear()
        with pytest.raises(Unavailable, match="not configured"):
            await stage.platform.credentials.access_key(made.ak)

    play(journey, running=False)


# -- access keys -----------------------------------------------------------------------------------------------------


def test_an_access_key_speaks_for_its_application_on_every_node_until_it_does_not(url):
    async def main():
        async with two_nodes(url) as (one, two):
            mine = await tenant(one)
            app, _ = await applications.create(one.ctx, mine.admin, "Playbooks", [])
            made, sk = await access_keys.create(one.ctx, mine.admin, app.id, "first")
            assert sk not in str(await one.rows("SELECT * FROM access_keys")) + str(
                await one.rows("SELECT data FROM journal")
            )
            for node in (one, two):
                told, actor = await node.platform.credentials.access_key(made.ak)
                assert (told, actor.principal, actor.tenant) == (sk, f"app:{app.id}", mine.made.tenant)

            async def gone():
                for node in (one, two):
                    await node.until(lambda node=node: refused(node))

            async def good(node):
                return not await refused(node)

            async def refused(node):
                try:
                    await node.platform.credentials.access_key(made.ak)
                except Unauthenticated:
                    return True
                return False

            change = access_keys.Change
            await access_keys.change(one.ctx, mine.admin, app.id, made.ak, change(disabled=True))
            await gone()
            await access_keys.change(one.ctx, mine.admin, app.id, made.ak, change(disabled=False, name="again"))
            assert (await one.platform.credentials.access_key(made.ak))[0] == sk
            await applications.change(one.ctx, mine.admin, app.id, applications.Change(disabled=True), None)
            await gone()
            await applications.change(one.ctx, mine.admin, app.id, applications.Change(disabled=False), None)
            await one.until(lambda: good(one))
            await applications.remove(one.ctx, mine.admin, app.id, None)
            await gone()
            assert await one.one("SELECT count(*) FROM access_keys") == 0

    asyncio.run(main())


def test_access_keys_are_for_administrators_of_their_own_tenant(play):
    async def journey(stage):
        mine, other = await tenant(stage), await tenant(stage)
        made, _ = await access_keys.create(stage.ctx, mine.admin, mine.app, "first")
        for actor, kind in ((mine.ann, Forbidden), (other.admin, NotFound)):
            for ask in (
                access_keys.create(stage.ctx, actor, mine.app, "x"),
                access_keys.listed(stage.ctx, actor, mine.app, None, 10),
                access_keys.change(stage.ctx, actor, mine.app, made.ak, access_keys.Change(disabled=True)),
                access_keys.remove(stage.ctx, actor, mine.app, made.ak),
            ):
                with pytest.raises(kind):
                    await ask
        with pytest.raises(NotFound):
            await access_keys.remove(stage.ctx, other.admin, other.app, made.ak)
        assert (await stage.platform.credentials.access_key(made.ak))[1].principal == f"app:{mine.app}"
        for unknown in ("", "x" * 100_000, "é\0", made.ak.lower()):
            with pytest.raises(Unauthenticated):
                await stage.platform.credentials.access_key(unknown)

    play(journey, running=False)


def test_an_application_has_a_hundred_access_keys_at_most_and_pages_of_them(play):
    async def journey(stage):
        mine = await tenant(stage)
        for number in range(access_keys.MOST):
            await access_keys.create(stage.ctx, mine.admin, mine.app, f"key {number}")
        with pytest.raises(Conflict, match="100"):
            await access_keys.create(stage.ctx, mine.admin, mine.app, "one more")
        first = await access_keys.listed(stage.ctx, mine.admin, mine.app, None, 60)
        rest = await access_keys.listed(stage.ctx, mine.admin, mine.app, first.next, 60)
        assert (len(first.items), len(rest.items), rest.next) == (60, 40, None)
        assert len({each.ak for each in [*first.items, *rest.items]}) == 100

    play(journey, running=False)


def test_a_pair_that_was_chosen_elsewhere_is_made_once(play):
    async def journey(stage):
        mine = await tenant(stage)
        pair = ("AK" + secrets.token_hex(8), "the sk")
        for _ in range(2):
            await access_keys.ensure(stage.ctx, mine.made.tenant, mine.app, "Demo", pair)
        await access_keys.ensure(stage.ctx, mine.made.tenant, "nobody", "Demo", ("AK2", "sk2"))
        assert (await stage.platform.credentials.access_key(pair[0]))[0] == pair[1]
        assert await stage.one("SELECT count(*) FROM access_keys") == 1

    play(journey, running=False)


# -- named tokens ----------------------------------------------------------------------------------------------------


async def session_of(stage, actor) -> str:
    """The secret of a session that the actor calls with."""
    secret, tid = sessions.new_session_secret(), actor.tenant.tid

    def unit(tx):
        stage.platform.sessions.open(tx, secret, tid, actor.principal, sessions.Place(), None)

    await stage.store.submit_async(unit)
    return secret


async def named(stage, actor, name="script", used=None, ctx=None, **more):
    used = used or await session_of(stage, actor)
    view, token = await named_tokens.create(ctx or stage.ctx, actor, used, named_tokens.New(name=name, **more))
    assert token is not None
    return view, token


class Late:
    """A context or a store: something happens after the call's own checks, and before its unit."""

    def __init__(self, of, meanwhile) -> None:
        self._of, self._meanwhile = of, meanwhile

    def __getattr__(self, name):
        return getattr(self._of, name)

    @property
    def store(self):
        return Late(self._of.store, self._meanwhile)

    async def once(self, *given):
        await self._meanwhile()
        return await self._of.once(*given)

    async def submit_async(self, *given, **more):
        await self._meanwhile()
        return await self._of.submit_async(*given, **more)


@pytest.mark.parametrize("of", ["session", "token"])
@pytest.mark.parametrize("end", ["password", "revoked", "itself"])
def test_a_call_whose_credential_is_ended_meanwhile_makes_no_token(url, of, end):
    """On PostgreSQL the end comes by another node."""

    async def main():
        async with two_nodes(url) as (one, two):
            mine = await tenant(one)
            credentials = two.platform.credentials
            if of == "token":
                used = (await one.platform.credentials.user_token("ann@example.com", PASSWORD)).access_token
            else:
                used = await session_of(one, mine.ann)

            async def meanwhile():
                if end == "password":
                    change = users.Change(password="another " + PASSWORD)
                    await users.change(two.ctx, credentials, mine.admin, "ann@example.com", change, None)
                elif end == "revoked":
                    await revoking.revoke_user(two.ctx, mine.admin, "ann@example.com")
                elif of == "token":
                    await revoking.revoke(two.ctx, mine.ann, used)
                else:
                    await two.platform.sessions.log_out(used)

            with pytest.raises(Unauthenticated, match="ended meanwhile"):
                await named(one, mine.ann, used=used, ctx=Late(one.ctx, meanwhile))
            assert await one.one("SELECT count(*) FROM tokens WHERE kind = 'named'") == 0
            other = await session_of(one, mine.admin)
            with pytest.raises(Unauthenticated, match="ended meanwhile"):
                await named(one, mine.ann, used=other)  # nor is another's one's own

    asyncio.run(main())


def test_a_named_token_is_good_until_it_is_ended(play):
    async def journey(stage):
        mine = await tenant(stage)
        view, token = await named(stage, mine.ann, days=7)
        assert token.startswith("pt_")
        assert view.expires_at - view.created_at == 7 * named_tokens.DAY
        assert await who(stage, token) == "user:ann@example.com"
        assert token not in str(await stage.rows("SELECT * FROM tokens")) + str(
            await stage.rows("SELECT * FROM journal")
        )
        with pytest.raises(NotFound):
            await named_tokens.remove(stage.ctx, mine.admin, view.id)  # another's
        listed = await named_tokens.listed(stage.ctx, mine.ann, None, 10)
        assert listed.items == [view]
        assert (await named_tokens.listed_of_user(stage.ctx, mine.admin, "Ann@example.com", None, 10)).items == [view]
        await named_tokens.remove(stage.ctx, mine.ann, view.id)
        with pytest.raises(Unauthenticated):
            await who(stage, token)
        with pytest.raises(NotFound):
            await named_tokens.remove(stage.ctx, mine.ann, view.id)

    play(journey, running=False)


def test_a_named_token_does_not_outlive_its_principal(play):
    async def journey(stage):
        mine = await tenant(stage)
        credentials = stage.platform.credentials
        for change in (users.Change(disabled=True), users.Change(password="another " + PASSWORD)):
            _, token = await named(stage, mine.ann)
            assert await who(stage, token)
            await users.change(stage.ctx, credentials, mine.admin, "ann@example.com", change, None)
            with pytest.raises(Unauthenticated):
                await who(stage, token)
            await users.change(
                stage.ctx, credentials, mine.admin, "ann@example.com", users.Change(disabled=False), None
            )
            with pytest.raises(Unauthenticated):
                await who(stage, token)  # nor come back
        _, token = await named(stage, mine.ann)
        await users.remove(stage.ctx, mine.admin, "ann@example.com", None)
        with pytest.raises(Unauthenticated):
            await who(stage, token)
        with pytest.raises(Unauthenticated):
            await named(stage, mine.ann)  # who began before
        new = users.NewUser(email="ann@example.com", password=PASSWORD)
        await users.create(stage.ctx, credentials, mine.admin, new)
        with pytest.raises(Unauthenticated):
            await who(stage, token)

    play(journey, running=False)


def test_named_tokens_have_bounds(play):
    async def journey(stage):
        mine = await tenant(stage)
        now = await stage.store.submit_async(lambda tx: tx.now)
        for more in (
            {"days": 0}, {"days": 366}, {"expires_at": now - 1}, {"expires_at": now + 366 * named_tokens.DAY},
            {"days": 1, "expires_at": now + 1000}, {"name": ""}, {"name": "x" * 201},
        ):  # fmt: skip
            with pytest.raises(Invalid):
                await named(stage, mine.ann, **more)
        _, token = await named(stage, mine.ann)
        with pytest.raises(Forbidden, match="no other"):
            await named(stage, mine.ann, used=token)
        for number in range(1, named_tokens.MOST):
            await named(stage, mine.ann, f"token {number}")
        with pytest.raises(Conflict, match="100"):
            await named(stage, mine.ann)
        await named(stage, mine.admin)  # another principal has a hundred of its own
        await stage.edit("UPDATE tokens SET expires_at = 1 WHERE name = 'token 1'")
        await named(stage, mine.ann, "in its place")
        first = await named_tokens.listed(stage.ctx, mine.ann, None, 70)
        rest = await named_tokens.listed(stage.ctx, mine.ann, first.next, 70)
        assert (len(first.items), len(rest.items), rest.next) == (70, 30, None)
        assert "token 1" not in {each.name for each in [*first.items, *rest.items]}

    play(journey, running=False)


def test_a_hundredth_token_is_made_once_by_two_who_make_it_at_once(url):
    async def main():
        async with two_nodes(url) as (one, two):
            mine = await tenant(one)
            for number in range(named_tokens.MOST - 1):
                await named(one, mine.ann, f"token {number}")
            asked = (named(node, mine.ann, "last") for node in (one, two) for _ in range(5))
            found = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(each, tuple | PenstockError) for each in found)
            assert sum(isinstance(each, tuple) for each in found) == 1

    asyncio.run(main())


def test_only_an_operator_ends_an_operators_tokens(play):
    async def journey(stage):
        mine = await tenant(stage)
        await stage.edit("""UPDATE users SET roles = '["operator"]' WHERE email = 'ann@example.com'""")
        operator = structs.replace(mine.ann, roles=frozenset({"operator"}))
        _, token = await named(stage, operator)
        with pytest.raises(Forbidden, match="operator"):
            await revoking.revoke_user(stage.ctx, mine.admin, "ann@example.com")
        assert await who(stage, token)
        assert await revoking.revoke_user(stage.ctx, operator, "ann@example.com") == 2  # and the session that made it
        await stage.edit("""UPDATE applications SET roles = '["operator"]' WHERE id = ?""", mine.app)
        another = structs.replace(mine.admin, principal="app:another")
        with pytest.raises(Forbidden, match="operator"):
            await revoking.revoke_application(stage.ctx, another, mine.app)
        await revoking.revoke_application(stage.ctx, mine.admin, mine.app)  # one's own

    play(journey, running=False)


# -- log-ins beside a change -----------------------------------------------------------------------------------------


def ways_in(at, mine):
    """Every way to log in with what a tenant of a test has, on this node."""
    credentials, opened = at.platform.credentials, at.platform.sessions
    return {
        "password": lambda: credentials.user_token("ann@example.com", PASSWORD),
        "session": lambda: opened.log_in("ann@example.com", PASSWORD, None, sessions.Place()),
        "log-in of a dialect": lambda: credentials.open_session("ann@example.com", PASSWORD, b"key"),
        "secret": lambda: credentials.application_token(mine.app, mine.secret),
        "secret in a dialect": lambda: credentials.open_session(mine.app, mine.secret, b"key"),
    }


@contextlib.contextmanager
def interrupted(stage, meanwhile):
    """Whoever logs in at the node finds that something has happened since the password was looked at."""
    for each in (stage.platform.credentials, stage.platform.sessions):
        each._ctx = Late(stage.ctx, meanwhile)
    try:
        yield
    finally:
        for each in (stage.platform.credentials, stage.platform.sessions):
            each._ctx = stage.ctx


@pytest.mark.parametrize("change", ["another", "disabled", "removed", "tenant"])
def test_what_is_good_no_more_when_the_unit_runs_logs_nobody_in(url, change):
    async def main():
        async with two_nodes(url) as (one, two):
            for way in ways_in(one, None) if change == "another" else ("password", "secret"):
                await one.edit("UPDATE users SET email = id || '@example.com'")  # one Ann is enough
                mine = await tenant(one)
                app, user = way.startswith("secret"), "ann@example.com"

                async def meanwhile(mine=mine, app=app, user=user):
                    ctx, credentials, admin = two.ctx, two.platform.credentials, mine.admin
                    if change == "tenant":
                        await two.edit("UPDATE tenants SET disabled = 1 WHERE tid = ?", mine.made.tenant.tid)
                    elif app and change == "another":
                        await applications.rotate(ctx, admin, mine.app, None, None)
                    elif app and change == "disabled":
                        await two.edit("UPDATE applications SET disabled = 1 WHERE id = ?", mine.app)
                    elif app:
                        await two.edit("DELETE FROM applications WHERE id = ?", mine.app)
                    elif change == "removed":
                        await users.remove(ctx, admin, user, None)
                    else:
                        other = (
                            users.Change(disabled=True)
                            if change == "disabled"
                            else users.Change(password=PASSWORD + "!")
                        )
                        await users.change(ctx, credentials, admin, user, other, None)

                refused = one.platform.credentials.figures.refused
                with interrupted(one, meanwhile), pytest.raises(Unauthenticated, match=r"no (user|application) with"):
                    await ways_in(one, mine)[way]()
                assert one.platform.credentials.figures.refused == refused + 1
                for table in ("tokens", "sessions"):
                    of = (f"SELECT count(*) FROM {table} WHERE tid = ?", mine.made.tenant.tid)
                    assert await one.one(*of) == 0, (way, table)

    asyncio.run(main())


def test_an_old_secret_that_is_still_good_logs_in_beside_a_rotation(url):
    async def main():
        async with two_nodes(url) as (one, two):
            mine = await tenant(one)
            now = await one.store.async_read(lambda read: read.now())

            async def meanwhile():
                await applications.rotate(two.ctx, mine.admin, mine.app, now + 3_600_000, None)

            with interrupted(one, meanwhile):
                token = await mine.token(one)
            assert await who(two, token) == f"app:{mine.app}"

    asyncio.run(main())


def test_no_token_of_the_secret_before_is_left_by_a_rotation_whatever_the_order(url):
    async def main():
        async with two_nodes(url) as (one, two):
            for _ in range(6):
                mine = await tenant(one)
                asked = (mine.token(one) for _ in range(5))
                rotation = applications.rotate(two.ctx, mine.admin, mine.app, None, None)
                found = await asyncio.gather(*asked, rotation, return_exceptions=True)
                assert all(isinstance(each, Unauthenticated | str | tuple) for each in found), found
                assert await one.one("SELECT count(*) FROM tokens WHERE principal = ?", f"app:{mine.app}") == 0

    asyncio.run(main())


def test_an_access_key_is_renamed_beside_its_encryption_anew(postgres_url):
    """Of the row a change has read, it writes what it changes alone: what another node has written since stays."""
    new = encode_key(os.urandom(32))

    class Held:
        def __init__(self, ctx) -> None:
            self.store, self._ctx = ctx.store, ctx

        async def once(self, actor, key, request, unit, kind):
            def slow(tx):
                made = unit(tx)
                both = Keys.parse(f"{new},{SECRET_KEY}")
                done.append(asyncio.run_coroutine_threadsafe(resealing.rotate(two.store, both), loop).result(20)[0])
                return made

            return await self._ctx.store.submit_async(slow), False

    done: list = []

    async def main():
        nonlocal loop, two
        loop = asyncio.get_running_loop()
        async with two_nodes(postgres_url) as (one, two):
            mine = await tenant(one)
            made, sk = await access_keys.create(one.ctx, mine.admin, mine.app, "before")
            change = access_keys.Change(name="after", disabled=False)
            await access_keys.change(Held(one.ctx), mine.admin, mine.app, made.ak, change)
            assert done[0]["access keys"] == 1
            one.ctx.keys = Keys.parse(new)
            assert (await one.platform.credentials.access_key(made.ak))[0] == sk
            assert await one.one("SELECT name FROM access_keys") == "after"

    loop = two = None
    asyncio.run(main())


# -- what is remembered ----------------------------------------------------------------------------------------------


def test_the_end_of_one_token_or_session_is_heard_everywhere_and_empties_no_memory(url, monkeypatch):
    monkeypatch.setattr(believing, "SECONDS", 3600.0)  # only a notice tells

    async def main():
        async with two_nodes(url) as (one, two):
            mine = await tenant(one)
            kept, kept_session = await mine.token(), await session_of(one, mine.ann)

            async def log_out(cookie):
                await one.platform.sessions.log_out(cookie)

            async def close(cookie):
                await one.platform.sessions.close_own(mine.ann, (await one.platform.sessions.authenticate(cookie)).id)

            async def replace(cookie):
                place = sessions.Place(replaced=cookie)
                await one.platform.sessions.log_in("ann@example.com", PASSWORD, None, place)

            async def revoke(token):
                await revoking.revoke(one.ctx, mine.ann, token)

            async def remove(token):
                id = (await one.rows("SELECT id FROM tokens WHERE token_hash = ?", hash_secret(token)))[0][0]
                await named_tokens.remove(one.ctx, mine.ann, id)

            for end in (log_out, close, replace, revoke, remove):
                of_browser = end in (log_out, close, replace)
                text = await session_of(one, mine.ann) if of_browser else (await named(one, mine.ann))[1]

                async def ask(node, secret, of_browser=of_browser):
                    known = node.platform.sessions if of_browser else node.platform.credentials
                    return await known.authenticate(secret)

                async def refused(node, ask=ask, text=text):
                    try:
                        await ask(node, text)
                    except Unauthenticated:
                        return True
                    return False

                for node in (one, two):
                    await ask(node, text)
                    await node.platform.credentials.authenticate(kept)
                    await node.platform.sessions.authenticate(kept_session)
                await end(text)
                assert await refused(one)
                await two.until(lambda refused=refused: refused(two))
                for node in (one, two):
                    figures = node.platform.credentials.figures
                    misses, hits = figures.misses, figures.hits
                    await node.platform.credentials.authenticate(kept)
                    await node.platform.sessions.authenticate(kept_session)
                    assert (figures.misses, figures.hits) == (misses, hits + 2), end

    asyncio.run(main())


def test_what_was_looked_up_before_an_end_is_not_believed_after_it(play):
    """However many have ended since."""

    async def journey(stage):
        changes = stage.platform.credentials.changes
        believed = believing.Believed(changes)
        asked = changes.asked()
        changes._heard(["token:mine"])
        believed.keep("mine", 1, "found", asked)
        believed.keep("other", 1, "found", asked)
        assert (believed.get("mine"), believed.get("other")) == (None, "found")
        changes._heard([f"session:{number}" for number in range(believing.MOST)])
        assert len(changes.ended) <= believing.MOST
        assert believed.get("mine") is None
        believed.keep("mine", 1, "found", changes.asked())
        assert believed.get("mine") == "found"

    play(journey, running=False)


def test_sessions_are_counted_as_log_ins_are(play):
    async def journey(stage):
        await tenant(stage)
        figures, opened = stage.platform.credentials.figures, stage.platform.sessions
        cookie = (await opened.log_in("ann@example.com", PASSWORD, None, sessions.Place())).secret
        with pytest.raises(Unauthenticated):
            await opened.log_in("ann@example.com", "wrong password", None, sessions.Place())
        assert (figures.log_ins, figures.refused, figures.misses, figures.hits) == (1, 1, 1, 0)
        await opened.authenticate(cookie)
        assert (figures.misses, figures.hits) == (1, 1)

    play(journey, running=False)


def test_a_dialects_session_is_verified_once_and_remembered(play):
    async def journey(stage):
        await tenant(stage)
        credentials, signs = stage.platform.credentials, stage.platform.signing
        made = await credentials.open_session("ann@example.com", PASSWORD, b"key")
        checked, check = [], signs.check

        async def counted(token):
            checked.append(token)
            return await check(token)

        signs.check = counted
        credentials._tokens._known.clear()
        for _ in range(3):
            assert await credentials.session(made.token, made.proof, b"key") == made
            with pytest.raises(Unauthenticated):
                await credentials.session(made.token, "another proof", b"key")
        assert len(checked) == 1
        await revoking.revoke(stage.ctx, made.actor, made.token)
        with pytest.raises(Unauthenticated):
            await credentials.session(made.token, made.proof, b"key")
        plain = (await credentials.user_token("ann@example.com", PASSWORD)).access_token
        with pytest.raises(Unauthenticated):  # names no session
            await credentials.session(plain, credentials_proof(""), b"key")

    def credentials_proof(id):
        return proof(f"session {id}", b"key")

    play(journey, running=False)
