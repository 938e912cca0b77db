"""Operators: tenants and their quotas over the API; what a quota that is reached answers; a tenant that is disabled."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from penstock.client import AlreadyExists, Client, Forbidden, Stale
from process.people import etag, logged_in, person
from support.server import Api, Server, fresh, until

PASSWORD = "correct horse battery"
GRAPH = {"work": {"kind": "job", "topic": "t"}}


class Made:
    """A tenant of the test's own."""

    def __init__(self, server: Server, root: Api, **quotas: Any) -> None:
        self.code, self.email = fresh("tenant"), f"{fresh('admin')}@example.com"
        self.root = root
        body = {"code": self.code, "administrator": {"email": self.email}, "quotas": quotas}
        answer = root.post("/tenants", body, 201)
        self.id = answer["tenant"]["id"]
        self.password = answer["administrator"]["password"]
        self.admin = server.login(self.email, self.password)

    def change(self, **members: Any) -> Any:
        return self.root.patch(f"/tenants/{self.code}", members)


@pytest.fixture
def made(server: Server, root: Api) -> Made:
    return Made(server, root)


def journal(api: Api, **query: Any) -> list[Any]:
    return [
        (each["actor"], each["type"], each.get("subject"), each["data"]) for each in api.everything("/audit", **query)
    ]


def test_a_tenant_is_made_with_its_first_administrator(server: Server, root: Api):
    code, email = fresh("tenant"), f"{fresh('admin')}@Example.com"
    body = {"code": code, "name": "Acme", "administrator": {"email": email}, "quotas": {"open_processes": 5}}
    key = {"idempotency-key": fresh("key")}
    response = root.request("POST", "/tenants", json=body, headers=key)
    assert response.status_code == 201
    assert response.headers["cache-control"] == "no-store"
    answer = response.json()
    quotas = {"open_processes": 5, "requests_per_second": None, "burst": None, "writer_share": 1}
    assert answer["tenant"] == {
        "id": answer["tenant"]["id"],
        "code": code,
        "name": "Acme",
        "disabled": False,
        "quotas": quotas,
        "created_at": answer["tenant"]["created_at"],
        "revision": 1,
    }
    assert answer["administrator"]["email"] == email.lower()
    admin = server.login(email, answer["administrator"]["password"])
    assert admin.get("/tenant")["code"] == code
    assert [(each["email"], each["roles"]) for each in admin.get("/users")["items"]] == [(email.lower(), ["admin"])]
    admin.get("/tenants", expect=403)
    again = root.request("POST", "/tenants", json=body, headers=key).json()
    assert again == {**answer, "administrator": {"email": email.lower()}}
    assert root.post("/tenants", body, 409)["code"] == "already_exists"


def test_a_chosen_password_is_good_and_not_told(server: Server, root: Api):
    email = f"{fresh('admin')}@example.com"
    administrator = {"email": email, "password": PASSWORD, "name": "Ada"}
    answer = root.post("/tenants", {"code": fresh("tenant"), "administrator": administrator}, 201)
    assert answer["administrator"] == {"email": email}
    assert server.login(email, PASSWORD).get("/users")["items"][0]["name"] == "Ada"


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"code": "no code"}, "/code"),
        ({"code": ""}, "/code"),
        ({"name": " x"}, "/name"),
        ({"administrator": {"email": "nobody"}}, "/administrator/email"),
        ({"administrator": {"email": "a@b", "name": ""}}, "/administrator/name"),
        ({"administrator": {"email": "a@b", "password": "short"}}, "/administrator/password"),
        ({"administrator": {}}, "/administrator"),
        ({"quotas": {"open_processes": -1}}, "/quotas/open_processes"),
        ({"quotas": {"open_processes": "many"}}, "/quotas/open_processes"),
        ({"quotas": {"writer_share": 0}}, "/quotas/writer_share"),
        ({"quotas": {"writer_share": None}}, "/quotas/writer_share"),
        ({"quotas": {"burst": 3}}, "/quotas/burst"),
        ({"quotas": {"per_minute": 3}}, "/quotas/per_minute"),
    ],
)
def test_a_bad_tenant_is_refused_and_none_is_made(root: Api, members, pointer):
    code = fresh("tenant")
    body = {"code": code, "administrator": {"email": "ada@example.com"}, **members}
    problem = root.post("/tenants", body, 400)
    assert problem["problems"][0]["pointer"].startswith(pointer)
    root.get(f"/tenants/{code}", expect=404)


def test_tenants_are_listed_read_and_changed_by_revision(root: Api, made: Made):
    assert made.code in [each["code"] for each in root.everything("/tenants", limit=2)]
    path = f"/tenants/{made.code}"
    tag = etag(root, path)
    assert root.request("GET", path, headers={"if-none-match": tag}).status_code == 304
    change = {"name": "Renamed", "quotas": {"requests_per_second": 50, "burst": 80, "writer_share": 3}}
    first = root.request("PATCH", path, json=change, headers={"if-match": tag})
    assert first.status_code == 200
    assert root.request("PATCH", path, json=change, headers={"if-match": tag}).status_code == 412
    assert root.request("PATCH", path, json=change).headers["etag"] == first.headers["etag"], "nothing changed"
    found = root.get(path)
    assert (found["name"], found["quotas"]["burst"], found["quotas"]["writer_share"]) == ("Renamed", 80, 3)
    root.patch(path, {"quotas": {"requests_per_second": None}}, 400)
    root.patch(path, {"quotas": {"requests_per_second": None, "burst": None}})
    assert root.get(path)["quotas"] == {
        "open_processes": None, "requests_per_second": None, "burst": None, "writer_share": 3,
    }  # fmt: skip
    assert made.admin.get("/tenant")["name"] == "Renamed"
    root.get("/tenants/no_such", expect=404)
    root.patch("/tenants/no_such", {}, 404)


def test_what_an_operator_does_stands_in_both_journals(root: Api, made: Made):
    made.change(quotas={"open_processes": 7})
    quotas = {"quotas": {"open_processes": 7}}
    own = ("user:root@example.com", "tenant.changed", made.code, quotas)
    assert own in journal(root, type="tenant.changed")
    theirs = ("operator", "tenant.changed", made.code, {**quotas, "operator": "user:root@example.com of demo"})
    found = journal(made.admin)
    assert theirs in found
    assert ("operator", "user.created", made.email) in [each[:3] for each in found]
    assert not [each for each in found if each[0].startswith("user:root")]


def test_only_an_operator_gives_the_role_or_changes_who_has_it(server: Server, root: Api, made: Made):
    admin, email = logged_in(server, root, roles=["admin"]), f"{fresh('user')}@example.com"
    assert admin.post("/users", {"email": email, "roles": ["operator"]}, 403)["detail"].endswith("change who has it")
    user = admin.post("/users", {"email": email}, 201)
    admin.patch(f"/users/{email}", {"roles": ["operator"]}, 403)
    admin.patch(f"/users/{admin.name.partition(':')[2]}", {"roles": ["admin", "operator"]}, 403)
    admin.post("/applications", {"name": "x", "roles": ["operator"]}, 403)
    root.patch(f"/users/{email}", {"roles": ["operator"]})
    for change in ({"password": PASSWORD}, {"disabled": True}, {"roles": []}, {"name": "Mine"}):
        admin.patch(f"/users/{email}", change, 403)
    admin.delete(f"/users/{email}", 403)
    assert root.get(f"/users/{email}") == {**user, "roles": ["operator"], "password": False, **_same(root, email)}
    program = root.post("/applications", {"name": "x", "roles": ["operator"]}, 201)
    for method, path, body in (
        ("PATCH", "", {"roles": []}), ("PATCH", "", {"name": "y"}), ("POST", "/rotate", {}), ("DELETE", "", None),
    ):  # fmt: skip
        admin.call(method, f"/applications/{program['id']}{path}", body, 403)
    key = root.post(f"/applications/{program['id']}/access-keys", {"name": "x"}, 201)["ak"]
    for method, path, body in (
        ("POST", "", {"name": "y"}),
        ("PATCH", f"/{key}", {"disabled": True}),
        ("DELETE", f"/{key}", None),
    ):
        admin.call(method, f"/applications/{program['id']}/access-keys{path}", body, 403)
    assert server.as_application(program["id"], program["secret"]).get(f"/tenants/{made.code}")["code"] == made.code
    assert server.application().get("/tenants", expect=403)["detail"].endswith("that takes the role operator")


def _same(root: Api, email: str) -> dict[str, Any]:
    return {"created_at": root.get(f"/users/{email}")["created_at"]}


def test_an_operator_sees_nothing_of_a_tenant_by_that_role(server: Server, root: Api, made: Made):
    operator = server.login(person(root, roles=["operator"])["email"], PASSWORD)
    id = made.admin.start(made.admin.deploy(GRAPH))["id"]
    for api in (root, operator):
        api.get(f"/processes/{id}", expect=404)
        assert id not in {each["id"] for each in api.everything("/processes")}
        assert made.email not in {each["email"] for each in api.everything("/users")}
    operator.get("/applications", expect=403)
    operator.get("/audit", expect=403)
    assert operator.get(f"/tenants/{made.code}")["code"] == made.code


# -- a disabled tenant -----------------------------------------------------------------------------------------------


def test_nobody_of_a_disabled_tenant_gets_in_or_keeps_in(server: Server, root: Api, made: Made):
    program = made.admin.post("/applications", {"name": "worker"}, 201)
    worker = server.as_application(program["id"], program["secret"])
    topic = fresh("topic")
    id = made.admin.start(made.admin.deploy({"work": {"kind": "job", "topic": topic}}))["id"]
    job = worker.take(topic, lease=600)
    made.change(disabled=True)
    for api in (made.admin, worker):
        api.get("/processes", expect=401)
    worker.finish(job, 1, 401)
    by_job = httpx.post(f"{server.url}/v1/wf/instancePut", json=_claim(id, job), trust_env=False)
    assert by_job.status_code == 403
    nobody = server.client()
    nobody.post("/token", {"grant_type": "password", "username": made.email, "password": made.password}, 401)
    grant = {"grant_type": "client_credentials", "client_id": program["id"], "client_secret": program["secret"]}
    nobody.post("/token", grant, 401)
    made.change(disabled=False)
    assert made.admin.status(id) == "RUNNING"
    assert httpx.post(f"{server.url}/v1/wf/instancePut", json=_claim(id, job), trust_env=False).status_code == 200
    worker.finish(job, 1)
    made.admin.until(id, "COMPLETED")


def _claim(id: str, job: Any) -> dict[str, Any]:
    return {
        "wfUid": job["definition"], "wfInstUid": id, "version": "1", "token": job["token"], "nodeUid": job["node"],
        "executionId": job["execution_id"], "key": "k", "value": 1,
    }  # fmt: skip


def test_what_a_disabled_tenant_has_begun_goes_on(root: Api, made: Made):
    code = made.admin.deploy({"soon": {"kind": "timer", "after": "PT1S"}})
    id = made.admin.start(code)["id"]
    made.change(disabled=True)
    time.sleep(1.2)
    made.change(disabled=False)
    made.admin.until(id, "COMPLETED")


def test_the_own_tenant_cannot_be_disabled(root: Api):
    assert root.patch("/tenants/demo", {"disabled": True}, 409)["code"] == "conflict"
    assert root.get("/tenants/demo")["disabled"] is False


# -- quotas ----------------------------------------------------------------------------------------------------------


def test_starts_beyond_the_quota_are_refused_with_when_to_come_back(server: Server, root: Api, made: Made):
    admin = made.admin
    code = admin.deploy(GRAPH)
    made.change(quotas={"open_processes": 3})
    batch = admin.post("/processes/~batch", {"processes": [{"definition": code} for _ in range(5)]}, 200)["results"]
    assert sorted(each.get("status", 0) for each in batch if "error" not in each) == [201] * 3
    refused = [each["error"] for each in batch if "error" in each]
    assert [each["code"] for each in refused] == ["limit_exceeded"] * 2
    response = admin.request("POST", "/processes", json={"definition": code})
    assert response.status_code == 429
    assert response.headers["retry-after"] == "1"
    assert "3" in response.json()["detail"]
    schedule = admin.post("/schedules", {"definition": code, "cron": "@yearly"}, 201)["id"]
    assert admin.post(f"/schedules/{schedule}/run", None, 429)["code"] == "limit_exceeded"
    assert len(admin.everything("/processes")) == 3
    admin.post(f"/processes/{admin.everything('/processes')[0]['id']}/cancel", {})
    until(lambda: admin.request("POST", "/processes", json={"definition": code}).status_code == 201)
    assert len(admin.everything("/processes", status="RUNNING")) == 3


def test_requests_beyond_the_quota_are_refused_in_every_doors_own_words(server: Server, root: Api, made: Made):
    admin = made.admin
    id = admin.start(admin.deploy({"work": {"kind": "job", "topic": "rate"}}))["id"]
    job = admin.take("rate", lease=600)
    made.change(quotas={"requests_per_second": 0.2, "burst": 2})
    answers = [admin.request("GET", "/definitions") for _ in range(4)]
    assert [each.status_code for each in answers] == [200, 200, 429, 429]
    assert answers[3].json()["code"] == "limit_exceeded"
    assert 1 <= int(answers[3].headers["retry-after"]) <= 5
    headers = {"authorization": f"Bearer {admin.token}"}
    workflows = f"{server.url}/api/workflow/v1.0/customer/{made.id}/workflow"
    vendor = httpx.get(workflows, headers=headers, trust_env=False)
    assert (vendor.status_code, "retry-after" in vendor.headers) == (429, True)
    assert vendor.json()["meta"]["errors"][0]["code"] == "TooManyRequests", vendor.text
    by_job = httpx.post(f"{server.url}/v1/wf/instancePut", json=_claim(id, job), trust_env=False)
    assert (by_job.status_code, "retry-after" in by_job.headers) == (429, True)
    assert by_job.json()["title"] == "Too Many Requests"
    assert httpx.get(f"{server.url}/healthz", trust_env=False).status_code == 200
    root.get("/definitions")
    made.change(quotas={"requests_per_second": None, "burst": None})
    for _ in range(5):
        admin.get("/definitions")
    assert admin.get(f"/processes/{id}/values/k", expect=404)["code"] == "not_found", "nothing was half done"


def test_a_forged_job_token_uses_up_nobodys_requests(server: Server, root: Api, made: Made):
    admin = made.admin
    id = admin.start(admin.deploy({"work": {"kind": "job", "topic": "forged"}}))["id"]
    job = admin.take("forged", lease=600)
    claim = _claim(id, job)
    forged = {**claim, "token": claim["token"][:-4] + "AAAA"}
    made.change(quotas={"requests_per_second": 0.1, "burst": 1})
    for _ in range(5):
        assert httpx.post(f"{server.url}/v1/wf/instancePut", json=forged, trust_env=False).status_code == 403
    assert httpx.post(f"{server.url}/v1/wf/instancePut", json=claim, trust_env=False).status_code == 200
    assert httpx.post(f"{server.url}/v1/wf/instancePut", json=claim, trust_env=False).status_code == 429


def test_a_forged_job_token_uses_up_nobodys_requests_whatever_else_is_wrong(server: Server, root: Api, made: Made):
    admin = made.admin
    admin.start(admin.deploy({"work": {"kind": "job", "topic": "forged too"}}))
    job = admin.take("forged too", lease=600)
    forged = server.client(job["token"][:-4] + "AAAA")
    path = f"/jobs/{job['id']}/complete"
    made.change(quotas={"requests_per_second": 0.1, "burst": 1})
    for body, status in (
        ({"output": "x" * 300_000}, 413),
        ({"values": {"": 1}}, 400),
        ({"increments": ["k" * 300]}, 400),
        ({}, 401),
    ):
        forged.post(path, body, status)
    own = server.client(job["token"])
    own.post(path, {}, 204)
    own.post(path, {}, 429)


def test_a_worker_goes_on_when_its_tenants_requests_are_limited(server: Server, root: Api, made: Made):
    """Nothing is lost: who is told when to come back comes back."""
    admin = made.admin
    code = admin.deploy({"work": {"kind": "job", "topic": "limited"}})
    ids = [admin.start(code)["id"] for _ in range(20)]
    made.change(quotas={"requests_per_second": 50, "burst": 5})
    with Client(server.url, token=admin.token) as client, ThreadPoolExecutor(4) as pool:

        def one(_: int) -> None:
            for job in client.jobs.poll(["limited"], wait=5).jobs:
                client.jobs.complete_one(job.id, 1, lease=job.lease)

        list(pool.map(one, range(20)))
    made.change(quotas={"requests_per_second": None, "burst": None})
    assert {admin.until(id, "COMPLETED")["status"] for id in ids} == {"COMPLETED"}


# -- clients ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(server: Server) -> Iterator[Client]:
    with Client.from_credentials(server.data / "credentials.json") as client, client.as_user("root@example.com") as one:
        yield one


def test_the_client_makes_and_changes_tenants(server: Server, operator: Client):
    code = fresh("tenant")
    made = operator.tenants.create(code, "ada@example.com", name="Acme", quotas={"writer_share": 2})
    assert made.administrator.password
    assert made.tenant.quotas.writer_share == 2
    with pytest.raises(AlreadyExists):
        operator.tenants.create(code, "ada@example.com")
    changed = operator.tenants.change(code, revision=1, quotas={"open_processes": 3})
    assert (changed.revision, changed.quotas.open_processes, changed.quotas.writer_share) == (2, 3, 2)
    with pytest.raises(Stale):
        operator.tenants.change(code, revision=1, disabled=True)
    assert operator.tenants.get(code) == changed
    assert code in {each.code for each in operator.tenants.list.all()}
    with Client.from_credentials(server.data / "credentials.json") as client, pytest.raises(Forbidden):
        client.tenants.get(code)


def penstock(server: Server, *arguments: str) -> Any:
    credentials = ["--credentials", str(server.data / "credentials.json"), "--user", "root@example.com", "--json"]
    command = [sys.executable, "-m", "penstock", *arguments, *credentials]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_line_makes_and_changes_tenants(server: Server):
    code = fresh("tenant")
    made = penstock(server, "tenant", "create", code, "--email", "ada@example.com", "--requests-per-second", "7.5")
    assert made["administrator"]["password"]
    assert made["tenant"]["quotas"]["requests_per_second"] == 7.5
    changed = penstock(
        server, "tenant", "change", code, "--disable", "--requests-per-second", "none", "--writer-share", "4"
    )
    assert (changed["disabled"], changed["quotas"]["writer_share"]) == (True, 4)
    assert penstock(server, "tenant", "show", code) == changed
    assert code in {each["code"] for each in penstock(server, "tenant", "list")["items"]}
