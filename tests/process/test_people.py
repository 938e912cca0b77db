"""Users, groups, applications, tokens and the tenant, over HTTP."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from process.people import PASSWORD, etag, group, logged_in, person
from support.server import Api, Refused, Server, fresh

NEW = "another long password"


def path_of(api: Api) -> str:
    return f"/users/{api.name.partition(':')[2]}"


# -- users -----------------------------------------------------------------------------------------------------------


def test_a_user_is_made_read_changed_disabled_and_deleted(server: Server, root: Api):
    code = group(root)
    made = person(root, name="Mia", groups=[code])
    assert made["email"] == made["email"].lower()
    assert made == {
        "id": made["id"], "email": made["email"], "name": made["email"], "groups": [code], "roles": [],
        "disabled": False, "password": True, "created_at": made["created_at"],
    }  # fmt: skip
    assert root.get(f"/users/{made['id']}") == root.get(f"/users/{made['email'].upper()}") == made

    changed = root.patch(f"/users/{made['id']}", {"name": "Mia Marsh", "roles": ["admin"], "groups": []})
    assert (changed["name"], changed["roles"], changed["groups"]) == ("Mia Marsh", ["admin"], [])

    mia = server.login(made["email"].upper(), PASSWORD)
    assert mia.get("/me")["roles"] == ["admin"]
    root.patch(f"/users/{made['id']}", {"disabled": True})
    mia.get("/me", expect=401)
    with pytest.raises(Refused):
        server.login(made["email"], PASSWORD)
    root.patch(f"/users/{made['id']}", {"disabled": False})
    mia.get("/me", expect=401)  # the token is gone, not asleep
    server.login(made["email"], PASSWORD)

    root.delete(f"/users/{made['id']}")
    root.get(f"/users/{made['id']}", expect=404)
    with pytest.raises(Refused):
        server.login(made["email"], PASSWORD)


def test_a_user_without_a_password_cannot_log_in(server: Server, root: Api):
    made = root.post("/users", {"email": f"{fresh('quiet')}@example.com"}, 201)
    assert made["password"] is False
    with pytest.raises(Refused):
        server.login(made["email"], PASSWORD)
    root.patch(f"/users/{made['id']}", {"password": PASSWORD})
    mine = server.login(made["email"], PASSWORD)
    assert root.patch(f"/users/{made['id']}", {"password": None})["password"] is False
    mine.get("/me", expect=401)


def test_an_address_is_one_in_any_case(root: Api):
    made = person(root, name="Same")
    for email in (made["email"], made["email"].upper()):
        assert root.post("/users", {"email": email}, 409)["code"] == "already_exists"


BAD_USERS: list[tuple[dict[str, Any], str]] = [
    ({"email": "nonsense"}, "/email"),
    ({"email": "a@b@c"}, "/email"),
    ({"email": "a\u0007@b.example"}, "/email"),
    ({"email": "a" * 10_000 + "@b.example"}, "/email"),
    ({"email": None}, "/email"),
    ({"email": "x@example.com", "name": "x" * 10_000}, "/name"),
    ({"email": "x@example.com", "name": ""}, "/name"),
    ({"email": "x@example.com", "name": "a\nb"}, "/name"),
    ({"email": "x@example.com", "name": " a"}, "/name"),
    ({"email": "x@example.com", "password": "short"}, "/password"),
    ({"email": "x@example.com", "password": "x" * 1_000_000}, "/password"),
    ({"email": "x@example.com", "groups": ["no_such_group"]}, "/groups/0"),
    ({"email": "x@example.com", "roles": ["admin", "boss"]}, "/roles/1"),
    ({"email": "x@example.com", "roles": ["admin", "admin"]}, "/roles/1"),
    ({"email": "x@example.com", "roles": "admin"}, "/roles"),
    ({"email": "x@example.com", "disabled": True}, "/disabled"),
]


@pytest.mark.parametrize(("body", "pointer"), BAD_USERS, ids=[f"{p} {str(b)[:40]}" for b, p in BAD_USERS])
def test_a_bad_user_is_refused_with_its_place_and_not_made(root: Api, body, pointer):
    problem = root.post("/users", body, 400)
    assert problem["problems"][0]["pointer"] == pointer, problem
    assert len(json.dumps(problem)) < 30_000
    assert root.get("/users", email="x@example.com")["items"] == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": ""}, "/name"), ({"name": None}, "/name"), ({"password": "x" * 7}, "/password"),
        ({"password": "x" * 1_000_000}, "/password"), ({"roles": ["boss"]}, "/roles/0"),
        ({"groups": ["no_such_group"]}, "/groups/0"), ({"email": "new@example.com"}, "/email"), ({"disabled": 1}, "/disabled"),
    ],
)  # fmt: skip
def test_a_bad_change_changes_nothing(root: Api, body, pointer):
    made = person(root)
    tag = etag(root, f"/users/{made['id']}")
    assert root.patch(f"/users/{made['id']}", {"name": "New", **body}, 400)["problems"][0]["pointer"] == pointer
    assert root.get(f"/users/{made['id']}") == made
    assert etag(root, f"/users/{made['id']}") == tag


def test_lists_of_users_go_by_pages_filters_and_sorts(root: Api):
    stem, code = fresh("list").lower(), group(root)
    names = ["Zoë", "anna", "Ben", "ben", "Änne"]
    for at, name in enumerate(names):
        root.post("/users", {"email": f"{stem}.{at}@example.com", "name": name, "groups": [code]}, 201)
    root.patch(f"/users/{stem}.1@example.com", {"disabled": True})

    def emails(**query: Any) -> list[str]:
        found = root.everything("/users", email=stem.upper(), limit=2, **query)
        assert len({each["id"] for each in found}) == len(found)
        return [each["email"].removeprefix(stem)[1] for each in found]

    assert emails() == emails(sort="email") == ["0", "1", "2", "3", "4"]
    assert emails(sort="-email") == ["4", "3", "2", "1", "0"]
    assert emails(sort="name") == ["1", "2", "3", "0", "4"]
    assert emails(sort="-name") == ["4", "0", "3", "2", "1"]
    assert emails(disabled="true") == ["1"]
    assert emails(disabled="false", sort="name") == ["2", "3", "0", "4"]
    assert emails(name="BE") == ["2", "3"]
    assert emails(group=code, name="zoË") == ["0"]
    assert emails(group="no_such_group") == []
    assert emails(name="b%") == emails(name="_en") == []
    assert [each["email"] for each in root.everything(f"/groups/{code}/members", limit=2)] == [
        f"{stem}.{at}@example.com" for at in range(5)
    ]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("sort=age", "sort"), ("role=admin", "role"), ("disabled=maybe", "disabled"), ("limit=0", "limit"), ("limit=201", "limit"),
        ("cursor=abc", "cursor"), ("email=a&email=b", "email"), ("name=a%00", "name"), ("name=" + "x" * 201, "name"),
    ],
)  # fmt: skip
def test_a_bad_filter_of_users_is_refused_and_named(root: Api, query, pointer):
    problem = root.request("GET", f"/users?{query}")
    assert problem.status_code == 400
    assert problem.json()["problems"][0]["pointer"] == pointer


def test_a_cursor_of_another_list_of_users_is_refused(root: Api, ana: Api):
    cursor = root.get("/users", limit=1)["next"]
    assert root.get("/users", limit=1, cursor=cursor)["items"]
    for query in ({"sort": "name"}, {"disabled": "false"}, {"email": "a"}):
        root.get("/users", cursor=cursor, **query, expect=400)
    root.get("/groups", cursor=cursor, expect=400)
    root.get("/users", cursor=cursor[:-2] + "AA", expect=400)


def test_who_is_no_administrator_sees_a_short_directory(server: Server, root: Api):
    gone, me = person(root), logged_in(server, root)
    root.patch(f"/users/{gone['id']}", {"disabled": True})
    short = {"id", "email", "name", "groups"}
    found = me.everything("/users", limit=200)
    assert all(each.keys() == short for each in found)
    assert gone["email"] not in {each["email"] for each in found}
    assert "ana@example.com" in {each["email"] for each in found}
    assert me.get("/users/ana@example.com").keys() == short
    assert me.get(path_of(me)).keys() > short
    me.get(f"/users/{gone['id']}", expect=404)
    me.get("/users", disabled="false", expect=403)
    assert me.get("/groups/staff")["code"] == "staff"
    assert all(each.keys() == short for each in me.get("/groups/staff/members")["items"])


ADMINISTRATION = [
    ("POST", "/users", {"email": "new@example.com"}),
    ("PATCH", "/users/ana@example.com", {"name": "X"}),
    ("DELETE", "/users/ana@example.com", None),
    ("DELETE", "/users/ana@example.com/tokens", None),
    ("POST", "/groups", {"code": "new"}),
    ("PATCH", "/groups/staff", {"name": "X"}),
    ("DELETE", "/groups/staff", None),
    ("PUT", "/groups/staff/members/ana@example.com", None),
    ("DELETE", "/groups/staff/members/ana@example.com", None),
    ("GET", "/applications", None),
    ("POST", "/applications", {"name": "new"}),
    ("GET", "/tenant", None),
    ("PATCH", "/tenant", {"name": "X"}),
]


@pytest.mark.parametrize(("method", "path", "body"), ADMINISTRATION)
def test_only_administrators_administrate(server: Server, root: Api, method, path, body):
    before = root.get("/users/ana@example.com"), root.get("/groups/staff"), root.get("/tenant")
    worker = root.post("/applications", {"name": "worker"}, 201)
    for caller in (logged_in(server, root), server.as_application(worker["id"], worker["secret"])):
        problem = caller.call(method, path, body, 403)
        assert problem["code"] == "forbidden"
    assert (root.get("/users/ana@example.com"), root.get("/groups/staff"), root.get("/tenant")) == before


def test_people_of_another_tenant_are_not_there(root: Api, other: Api):
    mine = person(root)
    code = group(root)
    for path in (f"/users/{mine['id']}", f"/users/{mine['email']}", f"/groups/{code}", f"/groups/{code}/members"):
        other.get(path, expect=404)
    other.patch(f"/users/{mine['id']}", {"name": "X"}, 404)
    other.delete(f"/users/{mine['id']}", 404)
    assert mine["email"] not in {each["email"] for each in other.everything("/users")}
    assert other.post("/users", {"email": mine["email"]}, 201)["id"] != mine["id"]


# -- revisions -------------------------------------------------------------------------------------------------------


def test_what_has_changed_is_not_overwritten(root: Api):
    made, code = person(root), group(root)
    application = root.post("/applications", {"name": "app"}, 201)
    things = [
        (f"/users/{made['id']}", {"name": "One"}, {"name": "Two"}),
        (f"/groups/{code}", {"name": "One"}, {"name": "Two"}),
        (f"/applications/{application['id']}", {"name": "One"}, {"name": "Two"}),
        ("/tenant", {"name": "Demo One"}, {"name": "Demo"}),
    ]
    for path, one, two in things:
        tag = etag(root, path)
        assert root.request("GET", path, headers={"if-none-match": tag}).status_code == 304
        first = root.request("PATCH", path, json=one, headers={"if-match": tag})
        assert first.status_code == 200
        assert first.headers["etag"] == etag(root, path) != tag
        late = root.request("PATCH", path, json=two, headers={"if-match": tag})
        assert (late.status_code, late.json()["code"]) == (412, "stale")
        assert late.headers["etag"] == first.headers["etag"]
        assert root.get(path)["name"] == one["name"]
        same = root.request("PATCH", path, json=one, headers={"if-match": first.headers["etag"]})
        assert same.headers["etag"] == first.headers["etag"], "what changes nothing makes no revision"
        root.patch(path, two, headers={"if-match": "*"})
        if path != "/tenant":
            root.call("DELETE", path, None, 412, headers={"if-match": tag})
    root.put(f"/groups/{code}/members/{made['id']}", None)
    root.call("PATCH", f"/users/{made['id']}", {"name": "X"}, 400, headers={"if-match": "7"})


def test_a_membership_is_a_new_revision_of_the_user(root: Api):
    made, code = person(root), group(root)
    tag = etag(root, f"/users/{made['id']}")
    root.put(f"/groups/{code}/members/{made['id']}", None)
    joined = etag(root, f"/users/{made['id']}")
    root.put(f"/groups/{code}/members/{made['id']}", None)
    assert tag != joined == etag(root, f"/users/{made['id']}")
    root.delete(f"/groups/{code}")
    assert etag(root, f"/users/{made['id']}") != joined
    assert root.get(f"/users/{made['id']}")["groups"] == []


# -- groups ----------------------------------------------------------------------------------------------------------


def test_who_joins_a_group_may_what_it_may_with_the_next_request(server: Server, root: Api):
    me = logged_in(server, root)
    code = group(root)
    definition = root.deploy({"work": {"kind": "item", "task": "T"}}, tasks={"T": {"candidates": [f"group:{code}"]}},
                             permissions={"initiator": [f"group:{code}"]})  # fmt: skip
    item = root.get("/items", process=root.start(definition)["id"])["items"][0]
    user = me.name.partition(":")[2]
    for _ in range(3):  # the token's answer is remembered between the calls
        me.post("/processes", {"definition": definition}, 403)
        me.get(f"/items/{item['id']}", expect=404)
        root.put(f"/groups/{code}/members/{user}", None)
        assert code in me.get("/me")["groups"]
        me.start(definition)
        assert item["id"] in {each["id"] for each in me.get("/items", mine="true", limit=200)["items"]}
        root.delete(f"/groups/{code}/members/{user}")
        assert me.get("/me")["groups"] == []
    me.get(f"/items/{item['id']}", expect=404)
    root.call("DELETE", f"/groups/{code}/members/{user}", None, 404)
    root.call("PUT", f"/groups/{code}/members/nobody@example.com", None, 404)


def test_groups_are_made_listed_renamed_and_deleted(root: Api):
    code = fresh("G")
    made = root.post("/groups", {"code": code, "name": "The group"}, 201)
    assert root.post("/groups", {"code": code}, 409)["code"] == "already_exists"
    assert made in root.everything("/groups", limit=200)
    found = [each["code"] for each in root.everything("/groups", limit=1)]
    assert found == sorted(found)
    root.delete(f"/groups/{code}")
    root.delete(f"/groups/{code}", 404)
    for bad in ("", "a b", "ä", "x" * 65, "a/b"):
        assert root.post("/groups", {"code": bad}, 400)["problems"][0]["pointer"] == "/code"
    assert root.post("/groups", {"code": fresh("g"), "name": "x" * 10_000}, 400)["problems"][0]["pointer"] == "/name"


def test_what_something_open_names_is_not_deleted(server: Server, root: Api):
    me = logged_in(server, root)
    user, code = me.name.partition(":")[2], group(root, me)
    task = {"T": {"candidates": [me.name, f"group:{code}"]}}
    definition = root.deploy({"work": {"kind": "item", "task": "T"}}, tasks=task)
    process = root.start(definition)["id"]
    for path in (f"/users/{user}", f"/groups/{code}"):
        problem = root.delete(path, 409)
        assert problem["code"] == "conflict"
        assert "open items" in problem["detail"]
    item = me.get("/items", mine="true")["items"][0]["id"]
    me.post(f"/items/{item}/claim")
    root.delete(f"/users/{user}", 409)
    me.post(f"/items/{item}/complete", {"output": {}})
    root.until(process, "COMPLETED")
    root.put(
        f"/definitions/{definition}/permissions", {"permissions": {"manager": [f"group:{code}"], "viewer": [me.name]}}
    )
    for path in (f"/users/{user}", f"/groups/{code}"):
        assert definition in root.delete(path, 409)["detail"]
    root.put(f"/definitions/{definition}/permissions", {"permissions": {}})
    root.delete(f"/groups/{code}")
    root.delete(f"/users/{user}")
    me.get("/me", expect=401)


# -- the last administrator ------------------------------------------------------------------------------------------


def test_the_last_administrator_stays(server: Server, root: Api):
    """In a tenant of its own: other tests make administrators of the demo tenant."""
    first = f"{fresh('admin')}@example.com"
    made = root.post("/tenants", {"code": fresh("tenant"), "administrator": {"email": first}}, 201)["administrator"]
    only = server.login(first, made["password"])
    path = path_of(only)
    for body in ({"disabled": True}, {"roles": []}):
        problem = only.patch(path, body, 409)
        assert "last administrator" in problem["detail"]
    assert "last administrator" in only.delete(path, 409)["detail"]
    second = logged_in(server, only, roles=["admin"])
    assert second.patch(path, {"roles": []})["roles"] == []
    only.get("/tenant", expect=403)
    assert second.patch(path_of(second), {"disabled": True}, 409)
    second.patch(path, {"roles": ["admin"]})
    only.delete(path_of(second))


# -- oneself ---------------------------------------------------------------------------------------------------------


def test_a_user_changes_the_own_name_and_password(server: Server, root: Api, api: Api):
    me = logged_in(server, root)
    email = me.name.partition(":")[2]
    elsewhere = server.login(email, PASSWORD)
    assert me.patch("/me", {"name": "My Name"})["name"] == "My Name"
    for old in (None, "", "wrong password", "x" * 1_000):
        problem = me.patch("/me", {"password": NEW, "old_password": old}, 400)
        assert problem["problems"][0]["pointer"] == "/old_password"
    for bad in ("short", "x" * 1_000_000):
        assert (
            me.patch("/me", {"password": bad, "old_password": PASSWORD}, 400)["problems"][0]["pointer"] == "/password"
        )
    key = {"idempotency-key": fresh("key")}
    body = {"password": NEW, "old_password": PASSWORD}
    assert me.patch("/me", body, headers=key) == me.patch("/me", body, headers=key)
    me.get("/me")
    elsewhere.get("/me", expect=401)
    with pytest.raises(Refused):
        server.login(email, PASSWORD)
    server.login(email, NEW)
    me.patch("/me", {"roles": ["admin"]}, 400)
    api.patch("/me", {"name": "App"}, 403)


# -- tokens ----------------------------------------------------------------------------------------------------------


def test_tokens_are_revoked(server: Server, root: Api, other: Api):
    me = logged_in(server, root)
    email = me.name.partition(":")[2]
    second, third = server.login(email, PASSWORD), server.login(email, PASSWORD)
    other.post("/tokens/revoke", {"token": second.token}, 204)
    second.get("/me")  # another tenant's caller did nothing
    me.post("/tokens/revoke", {"token": second.token}, 204)
    second.get("/me", expect=401)
    me.post("/tokens/revoke", {"token": "pt_nonsense"}, 204)
    me.post("/tokens/revoke", {"token": ""}, 400)
    me.post("/tokens/revoke", {}, 400)
    me.post("/tokens/revoke", {"token": me.token}, 204)
    me.get("/me", expect=401)
    assert root.delete(f"/users/{email}/tokens") == {"revoked": 1}
    third.get("/me", expect=401)
    mine = server.login(email, PASSWORD)
    assert mine.delete(f"/users/{email}/tokens") == {"revoked": 1}
    mine.get("/me", expect=401)
    root.call("DELETE", "/users/nobody@example.com/tokens", None, 404)


# -- applications ----------------------------------------------------------------------------------------------------


def test_an_applications_secret_is_shown_once_and_rotated(server: Server, root: Api):
    made = root.post("/applications", {"name": "Mail", "roles": []}, 201)
    path, first = f"/applications/{made['id']}", made["secret"]
    assert "secret" not in root.get(path)
    assert all("secret" not in each for each in root.get("/applications", limit=200)["items"])
    app = server.as_application(made["id"], first)
    app.start(root.deploy({"work": {"kind": "job", "topic": "t"}}))

    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    rotated = root.post(f"{path}/rotate", {"old_secret_until": until})
    assert rotated["secret"] not in {None, first}
    assert rotated["old_secret_until"] is not None
    app.get("/me")
    for secret in (first, rotated["secret"]):
        server.as_application(made["id"], secret)

    at_once = root.post(f"{path}/rotate")
    assert at_once["old_secret_until"] is None
    app.get("/me", expect=401)
    for secret in (first, rotated["secret"]):
        with pytest.raises(Refused):
            server.as_application(made["id"], secret)
    app = server.as_application(made["id"], at_once["secret"])
    assert root.delete(f"{path}/tokens") == {"revoked": 1}
    app.get("/me", expect=401)

    app = server.as_application(made["id"], at_once["secret"])
    assert root.patch(path, {"name": "Post", "disabled": True})["disabled"] is True
    app.get("/me", expect=401)
    with pytest.raises(Refused):
        server.as_application(made["id"], at_once["secret"])
    root.delete(path)
    root.get(path, expect=404)


@pytest.mark.parametrize(
    "until",
    ["yesterday", "2020-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "2030-13-01T00:00:00Z", "", 5],
)
def test_an_old_secret_stays_good_for_a_sensible_time_alone(root: Api, until):
    path = f"/applications/{root.post('/applications', {'name': 'x'}, 201)['id']}"
    tag = etag(root, path)
    problem = root.post(f"{path}/rotate", {"old_secret_until": until}, 400)
    assert problem["problems"][0]["pointer"] == "/old_secret_until"
    assert etag(root, path) == tag


def test_a_secret_is_not_kept_under_an_idempotency_key(server: Server, root: Api):
    key, body = {"idempotency-key": fresh("key")}, {"name": "Once"}
    made = root.post("/applications", body, 201, headers=key)
    again = root.post("/applications", body, 201, headers=key)
    secret = made.pop("secret")
    assert again == made
    user = {"email": f"{fresh('kept')}@example.com", "password": "a secret of mine"}
    one = root.post("/users", user, 201, headers={"idempotency-key": key["idempotency-key"] + "2"})
    assert root.post("/users", user, 201, headers={"idempotency-key": key["idempotency-key"] + "2"}) == one
    with sqlite3.connect(f"file:{server.data / 'penstock.db'}?mode=ro", uri=True) as db:
        for table in ("idempotency", "journal"):
            text = repr(db.execute(f"SELECT * FROM {table}").fetchall())
            for word in (secret, "a secret of mine", "argon2", PASSWORD):
                assert word not in text, table
        recorded = db.execute("SELECT type, actor, data FROM journal WHERE subject = ?", (user["email"],)).fetchall()
    assert [(type, actor) for type, actor, _ in recorded] == [("user.created", root.name)]


# -- the tenant ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({"approval": "maybe"}, "/approval"), ({"four_eyes": "yes"}, "/four_eyes"), ({"name": ""}, "/name"), ({"code": "x"}, "/code")],
)  # fmt: skip
def test_a_bad_setting_is_refused(root: Api, body, pointer):
    before = root.get("/tenant")
    assert root.patch("/tenant", body, 400)["problems"][0]["pointer"] == pointer
    assert root.get("/tenant") == before
