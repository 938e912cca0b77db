"""Secrets and connections of http nodes: put in at sending, and nowhere else to be found."""

import asyncio
import base64
import json
import os
from urllib.parse import parse_qs

import pytest

from engines.endpoint import Endpoint
from engines.stage import SECRET_KEY, graph
from penstock.errors import Conflict, Forbidden, Invalid, NotFound, Stale
from penstock.identity.keys import Keys, encode_key
from penstock.identity.model import Actor, Kind
from penstock.operations import connections, definitions, processes, resealing, secrets
from penstock.operations.processes import Commands

VALUE = "hunter2-5f0c1d9e"


async def keep(stage, name="TOKEN", value=VALUE):
    view, _ = await secrets.put(stage.ctx, stage.actor, name, value, None)
    return view


async def connect(stage, url, auth=None, name="erp", **more):
    document = {"base_url": url, "headers": {}, "auth": auth or {"type": "none"}, "timeout": None, **more}
    view, _ = await connections.put(stage.ctx, stage.actor, name, document, None)
    return view


def calling(**node):
    retry = {"max_attempts": 1}
    return graph("call", {"h": {"kind": "http", "retry": retry, **node}}, output="${h}")


async def failure(stage, id):
    await stage.reached(id, "FAILED")
    return (await stage.visits(id))[-1].failure


async def everything(stage):
    """Every text in the database."""
    tables = [
        "visits",
        "history",
        "scopes",
        "jobs",
        "processes",
        "data",
        "journal",
        "versions",
        "secrets",
        "connections",
    ]
    tables += ["idempotency", "inbox", "outbox", "process_values"]
    return "\n".join([str(row) for table in tables for row in await stage.rows(f"SELECT * FROM {table}")])


def test_a_secret_is_put_in_at_sending_and_stands_nowhere_else(play, caplog):
    echo = json.dumps({"got": f"Bearer {VALUE}", VALUE: [VALUE]}).encode()
    endpoint = Endpoint((200, echo, ""))

    async def journey(stage):
        async with endpoint.serving():
            await keep(stage)
            await stage.deploy(
                calling(
                    url=f"{endpoint.url}/${{secrets.TOKEN}}",
                    headers={"authorization": "Bearer ${secrets.TOKEN}"},
                    body={"password": "${secrets.TOKEN}", "n": "${input.n}"},
                )
            )
            id = await stage.start("call", {"n": 5})
            assert await stage.completed(id) == {"got": "Bearer ***", "***": ["***"]}
            [(line, headers, body)] = endpoint.requests
            assert line == f"POST /{VALUE} HTTP/1.1"
            assert headers["authorization"] == f"Bearer {VALUE}"
            assert json.loads(body) == {"password": VALUE, "n": 5}
            [visit] = await stage.visits(id)
            assert visit.input["headers"] == {"authorization": "Bearer ${secrets.TOKEN}"}
            assert VALUE not in await everything(stage)

    play(journey)
    assert VALUE not in caplog.text


def test_a_missing_secret_fails_the_job_for_good_and_is_named(play):
    async def journey(stage):
        await stage.deploy(calling(url="http://127.0.0.1:1/", headers={"a": "${secrets.NOT_THERE}"}))
        id = await stage.start("call")
        found = await failure(stage, id)
        assert (found["type"], found["permanent"]) == ("MissingSecret", True)
        assert "'NOT_THERE'" in found["message"]

    play(journey)


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.1:1/${secrets.TOKEN}",
        "http://${secrets.TOKEN}.invalid/",
        "http://10.0.0.1/${secrets.TOKEN}",
        "${secrets.TOKEN}",
    ],
)
def test_errors_do_not_show_an_address_that_holds_a_secret(play, address, caplog):
    async def journey(stage):
        await keep(stage)
        await stage.deploy(calling(url=address))
        id = await stage.start("call")
        found = await failure(stage, id)
        assert found["type"] in ("HiddenFailure", "HiddenBlocked")
        assert VALUE not in await everything(stage)

    play(journey)
    assert VALUE not in caplog.text


def test_a_secret_that_would_break_a_header_does_not_leave(play):
    endpoint = Endpoint()

    async def journey(stage):
        async with endpoint.serving():
            await keep(stage, value="a\r\nx-evil: 1")
            await stage.deploy(calling(url=endpoint.url, headers={"a": "${secrets.TOKEN}"}))
            assert (await failure(stage, await stage.start("call")))["type"] == "Blocked"
            assert endpoint.requests == []

    play(journey)


def test_data_brings_no_reference_and_a_manager_sends_no_secret_elsewhere(play):
    endpoint = Endpoint()

    async def journey(stage):
        async with endpoint.serving():
            await keep(stage)
            await keep(stage, "OTHER", "another-secret-value")
            document = calling(url=endpoint.url, body="${input.x}", headers={"a": "${secrets.TOKEN}"})
            await stage.deploy({**document, "permissions": {"manager": ["group:boss"]}})
            id = await stage.start("call", {"x": "${secrets.OTHER}"})
            assert "cannot stand where secrets are resolved" in (await failure(stage, id))["message"]
            boss = stage.user("boss@x.y", "boss")
            given = {"input": {"url": endpoint.url, "method": "POST", "body": "${secrets.TOKEN}"}}
            with pytest.raises(Forbidden):
                await processes.debug(stage.ctx, boss, id, Commands(node="h"), given)
            given["input"]["body"] = "${secrets.OTHER}"
            await processes.debug(stage.ctx, stage.actor, id, Commands(node="h"), given)
            found = await failure(stage, id)
            assert "does not name the secret 'OTHER'" in found["message"]
            given["input"] |= {"body": "x", "connection": "erp"}
            await processes.debug(stage.ctx, boss, id, Commands(node="h"), given)
            await stage.until(lambda: _failed(stage, id, 3))
            assert "does not name the connection 'erp'" in (await failure(stage, id))["message"]
            assert endpoint.requests == []

    play(journey)


async def _failed(stage, id, times):
    found = [event for event in await stage.events(id) if event in ("JobFailed", "Started")]
    [visit] = await stage.visits(id)
    return len(found) >= times - 1 and visit.state == "FAILED" and "connection" in visit.failure["message"]


AUTHS = [
    ({"type": "none"}, lambda headers, line: "authorization" not in headers),
    (
        {"type": "basic", "username": "u", "password": "${secrets.TOKEN}"},
        lambda headers, line: base64.b64decode(headers["authorization"][6:]).decode() == f"u:{VALUE}",
    ),
    (
        {"type": "bearer", "token": "${secrets.TOKEN}"},
        lambda headers, line: headers["authorization"] == f"Bearer {VALUE}",
    ),
    (
        {"type": "api_key", "name": "X-Key", "value": "${secrets.TOKEN}"},
        lambda headers, line: headers["x-key"] == VALUE,
    ),
    (
        {"type": "api_key", "name": "key", "value": "${secrets.TOKEN}", "in": "query"},
        lambda headers, line: line == f"POST /base/x?a=1&key={VALUE} HTTP/1.1",
    ),
]


@pytest.mark.parametrize(("auth", "holds"), AUTHS)
def test_a_connection_lends_address_headers_and_credential(play, auth, holds):
    endpoint = Endpoint()

    async def journey(stage):
        async with endpoint.serving():
            await keep(stage)
            await connect(stage, f"{endpoint.url}/base/", auth, headers={"x-of": "connection", "x-both": "connection"})
            await stage.deploy(calling(connection="erp", url="/x?a=${input.n}", headers={"x-both": "node"}))
            id = await stage.start("call", {"n": 1})
            await stage.completed(id)
            [(line, headers, _)] = endpoint.requests
            assert line.startswith("POST /base/x?a=1")
            assert (headers["x-of"], headers["x-both"]) == ("connection", "node")
            assert holds(headers, line)
            assert VALUE not in await everything(stage)

    play(journey)


def test_oauth2_tokens_are_fetched_once_kept_and_fetched_anew_after_a_401(play):
    tokens, endpoint = Endpoint(), Endpoint((200, b"1", ""), (200, b"2", ""), (401, b"", ""), (200, b"3", ""))
    tokens.answers = [
        (
            200,
            json.dumps({"access_token": f"token-number-{n}", "token_type": "Bearer", "expires_in": 3600}).encode(),
            "",
        )
        for n in (1, 2)
    ]

    async def journey(stage):
        async with tokens.serving(), endpoint.serving():
            await keep(stage)
            auth = {"type": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}
            auth |= {"client_secret": "${secrets.TOKEN}", "scope": "a b", "client_auth": "body"}
            await connect(stage, endpoint.url, auth)
            await stage.deploy(calling(connection="erp", url="/x"))
            for n in (1, 2, 3):
                assert await stage.completed(await stage.start("call")) == n
            used = [headers["authorization"] for _, headers, _ in endpoint.requests]
            assert used == ["Bearer token-number-1"] * 3 + ["Bearer token-number-2"]
            assert len(tokens.requests) == 2
            form = parse_qs(tokens.requests[0][2].decode())
            assert form == {
                "grant_type": ["client_credentials"], "scope": ["a b"], "client_id": ["me"], "client_secret": [VALUE],
            }  # fmt: skip
            found = await everything(stage)
            assert VALUE not in found
            assert "token-number" not in found

    play(journey)


@pytest.mark.parametrize("told", [b"1" * 400, b'"' + b"1" * 400 + b'"', b"1e999", b'"soon"', b"null"])
def test_a_token_good_for_no_sensible_time_is_used_all_the_same(play, told):
    tokens, endpoint = Endpoint((200, b'{"access_token": "the-token", "expires_in": %s}' % told, "")), Endpoint()

    async def journey(stage):
        async with tokens.serving(), endpoint.serving():
            await keep(stage)
            auth = {"type": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}
            await connect(stage, endpoint.url, {**auth, "client_secret": "${secrets.TOKEN}"})
            await stage.deploy(calling(connection="erp", url="/x"))
            await stage.completed(await stage.start("call"))
            assert [headers["authorization"] for _, headers, _ in endpoint.requests] == ["Bearer the-token"]

    play(journey)


def test_calls_at_the_same_time_ask_once_for_a_token(play):
    tokens, endpoint = Endpoint((200, b'{"access_token": "one-and-only", "expires_in": 60}', "")), Endpoint()

    async def journey(stage):
        async with tokens.serving(), endpoint.serving():
            await keep(stage)
            auth = {"type": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}
            await connect(stage, endpoint.url, {**auth, "client_secret": "${secrets.TOKEN}"})
            await stage.deploy(calling(connection="erp", url="/x"))
            for id in await asyncio.gather(*(stage.start("call") for _ in range(20))):
                await stage.completed(id)
            assert len(tokens.requests) == 1
            assert len(endpoint.requests) == 20

    play(journey)


@pytest.mark.parametrize(
    ("answer", "type", "permanent"),
    [
        ((401, VALUE.encode(), ""), "TokenRefused", True),
        ((200, b"not json", ""), "TokenRefused", True),
        ((200, b'{"access_token": 5}', ""), "TokenRefused", True),
        ((200, b'{"access_token": "a\\r\\nb"}', ""), "TokenRefused", True),
        ((503, b"", ""), "TokenUnavailable", False),
    ],
)
def test_a_token_endpoint_that_gives_none_is_a_clear_failure(play, answer, type, permanent):
    tokens, endpoint = Endpoint(answer), Endpoint()

    async def journey(stage):
        async with tokens.serving(), endpoint.serving():
            await keep(stage)
            auth = {"type": "oauth2_client_credentials", "token_url": f"{tokens.url}/token", "client_id": "me"}
            await connect(stage, endpoint.url, {**auth, "client_secret": "${secrets.TOKEN}"})
            await stage.deploy(calling(connection="erp", url="/x"))
            found = await failure(stage, await stage.start("call"))
            assert (found["type"], bool(found.get("permanent"))) == (type, permanent)
            assert "'erp'" in found["message"]
            assert endpoint.requests == []
            assert VALUE not in await everything(stage)

    play(journey)


@pytest.mark.parametrize(
    ("path", "type"),
    [
        ("/../admin", "BadPath"),
        ("a/%2e%2e/b", "BadPath"),
        ("a\\..\\b", "BadPath"),
        ("http://evil.invalid/x", "BadPath"),
        ("//evil.invalid/x", "BadPath"),
        ("@evil.invalid/x", None),
        (":80/x", None),
    ],
)
def test_data_cannot_lead_a_connection_elsewhere(play, path, type):
    endpoint = Endpoint()

    async def journey(stage):
        async with endpoint.serving():
            await connect(stage, endpoint.url)
            await stage.deploy(calling(connection="erp", url="${input.path}"))
            id = await stage.start("call", {"path": path})
            if type is None:
                await stage.completed(id)
                [(line, _, _)] = endpoint.requests
                assert line == f"POST /{path} HTTP/1.1"
            else:
                assert (await failure(stage, id))["type"] == type
                assert endpoint.requests == []

    play(journey)


def test_a_connection_to_a_private_address_is_blocked_at_sending(play):
    async def journey(stage):
        await connect(stage, "http://169.254.169.254/latest")
        await stage.deploy(calling(connection="erp", url="/meta-data"))
        assert (await failure(stage, await stage.start("call")))["type"] == "Blocked"
        tried = await connections.probe(stage.ctx, stage.actor, "erp", "GET", "/")
        assert (tried.ok, tried.status) == (False, None)
        assert "Blocked" in tried.error

    play(journey)


def test_a_call_by_hand_tells_the_status(play):
    endpoint = Endpoint((204, b"", ""), (500, b"", ""))

    async def journey(stage):
        async with endpoint.serving():
            await keep(stage)
            await connect(stage, endpoint.url, {"type": "bearer", "token": "${secrets.TOKEN}"})
            first = await connections.probe(stage.ctx, stage.actor, "erp", "GET", "/health")
            second = await connections.probe(stage.ctx, stage.actor, "erp", "GET", "")
            assert (first.ok, first.status, second.ok, second.status) == (True, 204, False, 500)
            assert endpoint.requests[0][1]["authorization"] == f"Bearer {VALUE}"
            with pytest.raises(NotFound):
                await connections.probe(stage.ctx, stage.actor, "nope", "GET", "/")

    play(journey)


def test_deployment_warns_of_what_is_not_there(play):
    async def journey(stage):
        document = {
            "penstock": 1,
            "code": "d",
            "nodes": {
                "s": {"kind": "scope", "nodes": {
                    "h": {"kind": "http", "connection": "erp", "url": "/x", "body": {"a/b": ["${secrets.TOKEN}"]}}}},
            },
        }  # fmt: skip
        made = await definitions.deploy(stage.ctx, stage.actor, document)
        assert [(each.pointer, each.code, each.warning) for each in made.warnings] == [
            ("/nodes/s/nodes/h/body/a~1b/0", "unknown_secret", True),
            ("/nodes/s/nodes/h/connection", "unknown_connection", True),
        ]
        await keep(stage)
        await connect(stage, "http://127.0.0.1:1")
        assert (await definitions.deploy(stage.ctx, stage.actor, document)).warnings == []
        assert await definitions.validate(stage.ctx, stage.actor, document) == []

    play(journey, running=False)


@pytest.mark.parametrize(
    ("name", "document", "pointer"),
    [
        ("a b", {}, "name"),
        ("a\u0000b", {}, "name"),
        ("c", {"base_url": "ftp://x"}, "/base_url"),
        ("c", {"base_url": "http://"}, "/base_url"),
        ("c", {"base_url": "http://u:p@x/"}, "/base_url"),
        ("c", {"base_url": "http://x/?a=1"}, "/base_url"),
        ("c", {"base_url": "http://x:99999/"}, "/base_url"),
        ("c", {"base_url": "http://[::1/"}, "/base_url"),
        ("c", {"base_url": "http://${secrets.HOST}/"}, "/base_url"),
        ("c", {"base_url": "http://x/${input.a}"}, "/base_url"),
        ("c", {"headers": {"a b": "x"}}, "/headers"),
        ("c", {"headers": {"a": "x\ny"}}, "/headers/a"),
        ("c", {"headers": {"a": "${1 +"}}, "/headers/a"),
        ("c", {"headers": {"Authorization": "Bearer clear"}}, "/headers/Authorization"),
        ("c", {"auth": {"type": "bearer", "token": "in clear"}}, "/auth/token"),
        ("c", {"auth": {"type": "basic", "username": "a:b", "password": "${secrets.X}"}}, "/auth/username"),
        ("c", {"auth": {"type": "api_key", "name": "a b", "value": "${secrets.X}"}}, "/auth/name"),
        ("c", {"timeout": "soon"}, "/timeout"),
        ("c", {"timeout": "P1D"}, "/timeout"),
    ],
)
def test_a_connection_that_cannot_work_is_refused_with_its_place(play, name, document, pointer):
    async def journey(stage):
        whole = {"base_url": "http://x/", "headers": {}, "auth": {"type": "none"}, "timeout": None, **document}
        with pytest.raises(Invalid) as caught:
            await connections.put(stage.ctx, stage.actor, name, whole, None)
        assert pointer in [problem.pointer for problem in caught.value.problems]

    play(journey, running=False)


def test_revisions_fence_changes_of_secrets_and_connections(play):
    async def journey(stage):
        assert (await keep(stage)).revision == 1
        again, fresh = await secrets.put(stage.ctx, stage.actor, "TOKEN", "x", frozenset({1}))
        assert (again.revision, fresh) == (2, False)
        with pytest.raises(Stale):
            await secrets.put(stage.ctx, stage.actor, "TOKEN", "y", frozenset({1}))
        with pytest.raises(Stale):
            await secrets.delete(stage.ctx, stage.actor, "TOKEN", frozenset({1}))
        await secrets.delete(stage.ctx, stage.actor, "TOKEN", frozenset({2}))
        with pytest.raises(NotFound):
            await secrets.delete(stage.ctx, stage.actor, "TOKEN", None)
        await connect(stage, "http://x/")
        with pytest.raises(Stale):
            await connections.delete(stage.ctx, stage.actor, "erp", frozenset({2}))
        await connections.delete(stage.ctx, stage.actor, "erp", frozenset({1}))
        types = [
            type
            for (type,) in await stage.rows(
                "SELECT type FROM journal WHERE kind IN ('secret', 'connection') ORDER BY jid"
            )
        ]
        assert types == [
            "secret.created", "secret.updated", "secret.deleted", "connection.created", "connection.deleted",
        ]  # fmt: skip

    play(journey, running=False)


def test_users_see_nothing_managers_names_and_administrators_all(play):
    async def journey(stage):
        await keep(stage)
        await connect(stage, "http://x/")

        def user(*roles):
            return Actor(tenant=stage.actor.tenant, principal="user:a@b.c", kind=Kind.USER, roles=frozenset(roles))

        for topic in (secrets, connections):
            name = "TOKEN" if topic is secrets else "erp"
            with pytest.raises(Forbidden):
                await topic.listed(stage.ctx, user(), None, 10)
            with pytest.raises(NotFound):
                await topic.get(stage.ctx, user(), name)
            assert (await topic.get(stage.ctx, user("manager"), name)).name == name
            with pytest.raises(Forbidden):
                await topic.delete(stage.ctx, user("manager"), name, None)
            await topic.delete(stage.ctx, user("admin"), name, None)

    play(journey, running=False)


def test_without_a_key_no_secret_is_stored_and_none_is_read(play):
    async def journey(stage):
        await keep(stage)
        stage.ctx.keys = stage.platform.calls._keys = None
        with pytest.raises(Conflict, match="secret_key"):
            await keep(stage, "OTHER")
        await stage.deploy(calling(url="http://127.0.0.1:1/", headers={"a": "${secrets.TOKEN}"}))
        assert "secret_key" in (await failure(stage, await stage.start("call")))["message"]

    play(journey)


def test_rotation_encrypts_all_anew_and_the_old_key_can_go(play):
    new = encode_key(os.urandom(32))

    async def journey(stage):
        for n in range(250):
            await keep(stage, f"S{n}", f"value {n}")
        both, alone = Keys.parse(f"{new},{SECRET_KEY}"), Keys.parse(new)
        stage.platform.calls._keys = alone
        with pytest.raises(Exception, match="not configured"):
            await stage.platform.calls.secrets(stage.tid, frozenset({"S7"}))
        none = {"secrets": 0, "access keys": 0, "providers' secrets": 0, "signing keys": 0}
        done, unreadable = await resealing.rotate(stage.store, alone)
        assert (done, len(unreadable)) == (none, 250 + 1)
        assert await resealing.rotate(stage.store, both) == ({**none, "secrets": 250, "signing keys": 1}, [])
        assert await resealing.rotate(stage.store, both) == (none, [])
        assert await stage.platform.calls.secrets(stage.tid, frozenset({"S7", "S249"})) == {
            "S7": "value 7", "S249": "value 249",
        }  # fmt: skip

    play(journey, running=False)


def test_a_value_moved_to_another_name_cannot_be_read(play):
    async def journey(stage):
        await keep(stage)
        await keep(stage, "MINE", "mine")
        await stage.edit(
            "UPDATE secrets SET value = (SELECT value FROM secrets WHERE name = 'TOKEN') WHERE name = 'MINE'"
        )
        with pytest.raises(Exception, match="belongs somewhere else"):
            await stage.platform.calls.secrets(stage.tid, frozenset({"MINE"}))

    play(journey, running=False)


def test_idempotency_keeps_no_hash_a_secret_could_be_guessed_from(play):
    async def journey(stage):
        first = await secrets.put(stage.ctx, stage.actor, "TOKEN", "1234", None, "key")
        assert await secrets.put(stage.ctx, stage.actor, "TOKEN", "1234", None, "key") == first
        with pytest.raises(Conflict):
            await secrets.put(stage.ctx, stage.actor, "TOKEN", "1235", None, "key")

    play(journey, running=False)
