"""Nothing of a tenant is seen, changed or named by another, whatever it sends, on any route of any door.

Three tenants: the operator's; `alpha`, whose things must stay as they are, byte for byte; and `beta`, whose administrator, user
and application send alpha's ids everywhere (`isolation` says what). Alpha has everything
under names nobody else uses, and under names that beta uses, too.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from penstock.store import open_reader, tables
from process.installing import Installation
from process.isolation import (
    GUESSES,
    MADE_BY_SERVER,
    NOBODYS,
    OWNERS,
    PREFIX,
    ROUTES,
    build,
    calls,
    described,
    parameters,
)
from support import postgres
from support.server import Api, Server, until

ALPHA, BETA = "zzalphazz", "zzbetazz"
ADMIN = "chief@example.com"
PASSWORD = "correct horse battery"
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
REFUSED = {400, 401, 403, 404}
FILLED = (
    "access_keys", "applications", "bulk_results", "bulks", "connections", "data", "decisions", "definition_values", "definitions",
    "document_links", "documents", "drafts", "groups", "history", "idempotency", "item_grants", "item_log", "items", "jobs",
    "journal", "memberships", "messages", "posts", "process_values", "processes", "providers", "schedules", "scopes", "seals", "search",
    "secrets", "sessions", "subscriptions", "tenants", "timers", "tokens", "users", "versions", "visits",
)  # fmt: skip
"""Tables of which alpha must have rows, or the test would look at nothing."""
ALIKE = (
    "getProcess", "getDefinition", "getGroup", "getUser", "getSchedule", "getSecret", "getConnection", "getProvider", "startProcess",
    "putProcessValue", "putDefinitionValue", "changeGroup", "changeUser", "updateSchedule", "putSecret", "putConnection",
    "sendMessage", "cancelProcess", "deleteSchedule", "deleteSecret", "deleteConnection", "deleteProcessValue",
    "startWorkflowExecution", "getWorkflow", "deleteWorkflow", "addMember", "linkDocument",
)  # fmt: skip
"""What beta must be let do to its own things, or the test of what both name alike says nothing."""
ENDING = {
    "cancelProcess", "terminateProcess", "completeProcess", "retireVersion", "beginBulk", "unlinkDocument", "deleteDocument",
    "restartProcess", "cancelItem", "completeItem", "commandItems", "completeJob", "completeJobs",
}  # fmt: skip
"""After these other calls have nothing to act on."""
QUIET = 1.5
"""Seconds in which nothing happens by itself any more."""

IDS = [route.operation for _, route in ROUTES]
assert len(IDS) == len(set(IDS)), "two doors have an operation of the same name: say which in IDS"


class World:
    """The tenants, and who calls."""

    def __init__(self, server: Server, url: str) -> None:
        self.server = server
        self.reader = open_reader(url)
        self.alpha_admin = server.login(f"alpha-{ADMIN}", PASSWORD)
        self.beta_admin = server.login(f"beta-{ADMIN}", PASSWORD)
        new = {"word": ALPHA, "tenant": "alpha", "email": f"alpha-{ADMIN}"}
        self.only = build(self.alpha_admin, suffix="alpha", **new)
        self.shared = build(self.alpha_admin, suffix="shared", **new)
        self.alike = build(self.alpha_admin, suffix="alike", **new)
        own = {"word": BETA, "tenant": "beta", "email": f"beta-{ADMIN}"}
        beta = build(self.beta_admin, suffix="shared", **own)
        self.beta = build(self.beta_admin, suffix="alike", **own)
        self.beta.token = str(server.login(f"beta-{ADMIN}", PASSWORD).token)
        for things in (self.only, self.shared, self.alike, self.beta):
            things.caller_claim = beta.claim
        self.cursors = {route.operation: self._cursor(route) for prefix, route in ROUTES if prefix == PREFIX}
        self.before = self.settled()
        text = json.dumps(self.before)
        foreign = set(UUID.findall(text)) - set(UUID.findall(json.dumps(self.rows("beta"))))
        self.words = sorted({*foreign, ALPHA, f"alpha-{ADMIN}", "person_alpha@example.com"})
        """What no answer to beta may hold."""
        self.brought: set[str] = set()
        """Of these words, what beta keeps now because it was let have its own of the name."""
        self.callers = self._callers()

    def _callers(self) -> list[Api]:
        made = self.beta_admin.post("/applications", {"name": "program"}, 201)
        body = {"email": "plain@example.com", "password": PASSWORD}
        self.beta_admin.post("/users", body, 201)
        program = self.server.as_application(made["id"], made["secret"])
        return [self.beta_admin, self.server.login("plain@example.com", PASSWORD), program]

    def _cursor(self, route: Any) -> str | None:
        """Alpha's own cursor of a list."""
        if route.query is None or "cursor" not in route.query.__struct_fields__:
            return None
        for call in calls(PREFIX, route, self.only):
            answer = self.alpha_admin.http.get(self.server.url + call["url"], params={"limit": 1})
            return answer.json().get("next") if answer.status_code == 200 else None
        return None

    # -- rows --------------------------------------------------------------------------------------------------------

    def rows(self, code: str) -> dict[str, list[str]]:
        """Every row that is a tenant's, or hangs on what is."""
        return self.reader.read(lambda read: dump(read, code))

    def settled(self) -> dict[str, list[str]]:
        """The rows of alpha, when nothing happens there by itself any more: seals and numbers come after the commit."""
        last, since = self.rows("alpha"), time.monotonic()

        def quiet() -> Any:
            nonlocal last, since
            now = self.rows("alpha")
            if now != last:
                last, since = now, time.monotonic()
            return last if time.monotonic() - since > QUIET else None

        return until(quiet, 60, 0.1)  # type: ignore[no-any-return]

    # -- calling -----------------------------------------------------------------------------------------------------

    def ask(self, caller: Api, call: dict[str, Any]) -> tuple[int, str]:
        """Status and everything that came back: headers and body. Of a stream what comes soon."""
        call = {**call, "url": self.server.url + call["url"]}
        with caller.http.stream(**call, timeout=httpx.Timeout(30, read=20)) as answer:
            head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return answer.status_code, head + soon(answer)
            return answer.status_code, head + answer.read().decode(errors="replace")

    def leaks(self, call: dict[str, Any], status: int, text: str) -> list[str]:
        """Alpha's words in an answer, but for those that were sent; what a change has brought may come back later."""
        sent = repr(call)
        known = [word for word in self.words if word in sent]
        if status < 300 and call["method"] != "GET":
            self.brought.update(known)
        assert ALPHA not in self.brought, "no call may bring the word by which alpha's texts are known"
        return [word for word in self.words if word in text and word not in self.brought and word not in known]


def soon(answer: httpx.Response) -> str:
    """The beginning of a stream: up to its first sign of life behind what has happened."""
    got = ""
    for part in answer.iter_text():
        got += part
        if ": " in part and "data:" not in part:
            break
    return got


def dump(read: Any, code: str) -> dict[str, list[str]]:
    ((tid,),) = read.rows(f"SELECT tid FROM tenants WHERE code = '{code}'")
    keys: dict[str, set[int]] = {"tid": {tid}}
    for table in tables.metadata.sorted_tables:
        first = next(iter(table.primary_key)).name
        if "tid" in table.columns and first in OWNERS and first != "tid" and len(table.primary_key) == 1:
            keys[first] = {row[0] for row in read.rows(f"SELECT {first} FROM {table.name} WHERE tid = {tid}")}
    assert set(keys) == set(OWNERS), "each kind of owner has a table of its own"
    found: dict[str, list[str]] = {}
    for table in tables.metadata.sorted_tables:
        if table.name in NOBODYS:
            continue
        owner = next((column for column in OWNERS if column in table.columns), None)
        assert owner is not None, f"whose are rows of {table.name}? say so in isolation.NOBODYS"
        wanted = ",".join(map(str, keys[owner])) or "-1"
        found[table.name] = sorted(map(repr, read.rows(f"SELECT * FROM {table.name} WHERE {owner} IN ({wanted})")))
    return found


def changed(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, Any]:
    return {name: sorted(set(before[name]) ^ set(after[name])) for name in before if before[name] != after[name]}


@pytest.fixture(scope="module")
def database_server() -> Iterator[postgres.Postgres]:
    with postgres.running() as running:
        yield running


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def world(request, tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("isolation")
    url = None if request.param == "sqlite" else request.getfixturevalue("database_server").database()
    installation = Installation(folder, url)
    password = folder / "password"
    password.write_text(PASSWORD)
    installation.bootstrap("operating")
    for code in ("alpha", "beta"):
        email = f"{code}-{ADMIN}"
        installation.bootstrap(code, "--password-file", password, email=email)
    server = installation.server().start()
    try:
        made = World(server, url or f"sqlite:///{installation.data}/penstock.db")
        yield made
        assert changed(made.before, made.settled()) == {}
        made.reader.close()
    finally:
        server.stop()
        server.forget_clients()
    assert not server.complaints(), "\n".join(server.complaints())


@pytest.mark.parametrize(("prefix", "route"), ROUTES, ids=IDS)
def test_every_route_is_described(prefix, route):
    missing = described(route)
    assert not missing, f"{route.method} {prefix}{route.path}: tests/process/isolation.py needs {', '.join(missing)}"


@pytest.mark.parametrize(("prefix", "route"), ROUTES, ids=IDS)
def test_another_tenants_things_are_neither_seen_nor_changed(world: World, prefix, route):
    """Ids and names that alpha alone has, and the ids that the server made of those that both named alike."""
    for caller, things in itertools.product(world.callers, (world.only, world.shared)):
        for call in [*calls(prefix, route, things), *with_cursor(world, prefix, route)]:
            status, text = world.ask(caller, call)
            about = f"{caller.name}: {call}: {status} {text}"
            made_here = any(getattr(things, name) in call["url"] for name in MADE_BY_SERVER)
            assert status in REFUSED or (not made_here and (status < 300 or status == 409)), about
            assert world.leaks(call, status, text) == [], about
    if route.operation in GUESSES:
        after = world.settled()
        left = changed(world.before, after)
        world.before = after
        assert all("login.failed" in row for row in left.pop("journal", []))
        assert left.keys() <= {"seals"}
    else:
        assert changed(world.before, world.rows("alpha")) == {}


def with_cursor(world: World, prefix: str, route: Any) -> list[dict[str, Any]]:
    cursor = world.cursors.get(route.operation) if prefix == PREFIX else None
    if cursor is None:
        return []
    return [{**call, "params": {"limit": 1, "cursor": cursor}} for call in calls(prefix, route, world.only)][:1]


def test_what_both_tenants_name_alike_is_each_ones_own(world: World):
    """Every call acts on the caller's: reading first, then changing, at last ending and taking away."""

    def late(each: tuple[str, Any]) -> tuple[bool, bool, bool]:
        _, route = each
        return route.method != "GET", route.operation in ENDING, route.method == "DELETE"

    order = sorted(ROUTES, key=late)
    done: dict[str, int] = {}
    for prefix, route in order:
        for call in calls(prefix, route, world.beta):
            status, text = world.ask(world.beta_admin, call)
            assert world.leaks(call, status, text) == [], f"{call}: {status} {text}"
            done[route.operation] = min(done.get(route.operation, 999), status)
        assert changed(world.before, world.rows("alpha")) == {}, route.operation
    assert sum(status < 300 for status in done.values()) > len(done) // 2, done
    refused = {operation: done[operation] for operation in ALIKE if done[operation] >= 300}
    assert not refused, "beta acts on its own"


def test_each_reads_its_own_under_the_same_name(world: World):
    for _, route in ((prefix, route) for prefix, route in ROUTES if prefix == PREFIX and route.method == "GET"):
        if route.stream or not parameters(route) or route.tag == "Installation":
            continue
        for call in itertools.islice(calls(PREFIX, route, world.shared), 1):
            status, text = world.ask(world.alpha_admin, call)
            assert status in {200, 404, 409}, f"{call}: {status} {text}"
            assert BETA not in text, call
    for path, member in (
        (f"/processes/{world.shared.process}", "metadata"), (f"/groups/{world.shared.group}", "name"),
        (f"/users/{world.shared.email}", "name"), (f"/schedules/{world.shared.schedule}", "input"),
        (f"/definitions/{world.shared.code}/values/a_key", "value"), (f"/connections/{world.shared.connection}", "headers"),
    ):  # fmt: skip
        assert ALPHA in json.dumps(world.alpha_admin.get(path)[member])


def test_the_table_of_rows_sees_a_change(world: World):
    """The guard is guarded: what beta changes of its own shows in its rows."""
    before = world.rows("beta")
    world.beta_admin.post("/groups", {"code": "of_the_guard"}, 201)
    assert {"groups", "journal"} <= changed(before, world.rows("beta")).keys()
    missing = [name for name in FILLED if not world.before[name]]
    assert not missing, "alpha has one of everything"
