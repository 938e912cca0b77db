"""Guesses are counted and slowed down, on every way in. A proxy is trusted here, so that callers can be from anywhere."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from process.people import PASSWORD, person
from support.server import PREFIX, Api, Server, check_problem, fresh, serving, until

WRONG = "not the password"
FREE = 5
PROXY = httpx.Client(trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("limited")
    with serving(folder, second=True, PENSTOCK_TRUSTED_PROXIES="127.0.0.0/8,::1/128") as running:
        yield running


@pytest.fixture(scope="module")
def admin(here) -> Api:
    return here.user("root")


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    PROXY.close()


_addresses = iter(f"198.51.{high}.{low}" for high in range(100, 200) for low in range(1, 200))


@pytest.fixture
def address() -> str:
    """Where nobody else is."""
    return next(_addresses)


def post(here: Server, path: str, body: Any, address: str, **headers: str) -> httpx.Response:
    """Through the proxy, from an address."""
    answer = PROXY.post(here.url + path, json=body, headers={"x-forwarded-for": address, "cookie": "", **headers})
    assert answer.status_code < 500, answer.text
    return answer


def by_session(here: Server, name: str, secret: str, address: str) -> httpx.Response:
    return post(here, PREFIX + "/session", {"email": name, "password": secret}, address)


def by_token(here: Server, name: str, secret: str, address: str) -> httpx.Response:
    body = {"grant_type": "password", "username": name, "password": secret}
    return post(here, PREFIX + "/token", body, address)


def by_client(here: Server, name: str, secret: str, address: str) -> httpx.Response:
    body = {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}
    return post(here, PREFIX + "/token", body, address)


def by_basic(here: Server, name: str, secret: str, address: str) -> httpx.Response:
    pair = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return post(here, PREFIX + "/token", {"grant_type": "client_credentials"}, address, authorization=f"Basic {pair}")


def by_cloudio(here: Server, name: str, secret: str, address: str) -> httpx.Response:
    pair = base64.b64encode(f"{name}:{secret}".encode()).decode()
    return post(here, "/v1/auth", {}, address, authorization=f"Token {pair}")


WAYS_OF_USERS = [by_session, by_token, by_cloudio]
WAYS_OF_APPLICATIONS = [by_client, by_basic, by_cloudio]


def worker(admin: Api) -> tuple[str, str]:
    made = admin.post("/applications", {"name": "Worker"}, 201)
    return made["id"], made["secret"]


def journal(admin: Api, type: str, subject: str) -> list[Any]:
    return [entry for entry in admin.everything("/audit", type=type, limit=200) if entry["subject"] == subject]


def guess(way: Any, here: Server, name: str, address: str, times: int = FREE) -> list[int]:
    return [way(here, name, WRONG, address).status_code for _ in range(times)]


# -- the waits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS_OF_USERS)
def test_wrong_passwords_make_a_wait_on_every_way_in(here, admin, address, way):
    email = person(admin)["email"]
    assert guess(way, here, email, address) == [401] * FREE
    refused = way(here, email, PASSWORD, address)  # the right one, too, must wait
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert by_session(here, email, PASSWORD, next(_addresses)).status_code == 201  # from elsewhere it need not


@pytest.mark.parametrize("way", WAYS_OF_APPLICATIONS)
def test_wrong_secrets_make_a_wait_on_every_way_in(here, admin, address, way):
    id, secret = worker(admin)
    assert guess(way, here, id, address) == [401] * FREE
    assert way(here, id, secret, address).status_code == 429
    assert by_client(here, id, secret, next(_addresses)).status_code == 200


def test_a_wrong_old_password_makes_a_wait(here, admin, address):
    mine = here.login(person(admin)["email"], PASSWORD)
    mine.http.headers["x-forwarded-for"] = address
    body = {"old_password": WRONG, "password": "another long password"}
    for _ in range(FREE):
        mine.patch("/me", body, 400)
    assert mine.patch("/me", {**body, "old_password": PASSWORD}, 429)["code"] == "limit_exceeded"
    assert mine.patch("/me", {"name": "Need not wait"})["name"] == "Need not wait"


def test_all_ways_in_count_together(here, admin, address):
    email = person(admin)["email"]
    for way in (by_session, by_token, by_cloudio, by_session, by_token):
        assert way(here, email, WRONG, address).status_code == 401
    assert by_cloudio(here, email.upper(), PASSWORD, address).status_code == 429


def test_an_unknown_account_is_answered_as_a_known_one(here, admin, address):
    known, unknown = person(admin)["email"], f"{fresh('nobody')}@example.com"
    both = []
    for email in (known, unknown):
        answers = [by_session(here, email, WRONG, address) for _ in range(FREE + 1)]
        both.append([(answer.status_code, answer.json()["code"], sorted(answer.headers)) for answer in answers])
        assert "try again in 1 s" in check_problem(answers[-1])["detail"]
    assert both[0] == both[1]


def test_success_clears_what_was_counted(here, admin, address):
    email = person(admin)["email"]
    for _ in range(3):
        assert guess(by_token, here, email, address, FREE - 1) == [401] * (FREE - 1)
        assert by_session(here, email, PASSWORD, address).status_code == 201


def test_guesses_that_come_all_at_once_are_counted_one_by_one(here, admin, address):
    email = person(admin)["email"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: by_session(here, email, WRONG, address).status_code, range(20)))
    assert sorted(answers) == [401] * FREE + [429] * (20 - FREE)


def test_what_was_counted_outlives_a_restart(tmp_path, address):
    with serving(tmp_path, PENSTOCK_TRUSTED_PROXIES="127.0.0.1/32") as mine:
        email = person(mine.user("root"))["email"]
        assert guess(by_session, mine, email, address) == [401] * FREE
        mine.stop()
        mine.start()
        until(lambda: by_session(mine, email, WRONG, address).status_code == 401)  # when the wait is over
        with sqlite3.connect(f"file:{mine.data / 'penstock.db'}?mode=ro", uri=True) as db:
            assert db.execute("SELECT max(failures) FROM login_failures").fetchone() == (FREE + 1,)


# -- who is meant ----------------------------------------------------------------------------------------------------


def test_a_stranger_locks_nobody_out(here, admin, address):
    """From many addresses: then new addresses must wait, and those where the user has been before need not."""
    email = person(admin)["email"]
    assert by_session(here, email, PASSWORD, address).status_code == 201
    for _ in range(10):
        assert guess(by_token, here, email, next(_addresses)) == [401] * FREE
    assert by_session(here, email, PASSWORD, next(_addresses)).status_code == 429
    assert by_session(here, email, PASSWORD, address).status_code == 201


@pytest.mark.parametrize(
    ("addresses", "elsewhere"),
    [
        (["203.0.113.7"], "203.0.113.8"),
        (["2001:db8:0:1::1", "2001:db8:0:1:ffff::2"], "2001:db8:0:2::1"),
        (["203.0.113.90:1234", "::ffff:203.0.113.90"], "203.0.113.91"),
    ],
)
def test_one_guess_at_each_of_many_accounts_makes_the_address_wait(here, admin, addresses, elsewhere):
    """Of applications: that costs no hashing. IPv6 goes by /64, which is one customer's."""
    for at in range(200):
        where = addresses[at % len(addresses)]
        assert by_client(here, f"nobody-{at}", WRONG, where).status_code == 401, at
    email = person(admin)["email"]
    for where in addresses:
        assert by_session(here, email, PASSWORD, where).status_code == 429
    assert by_session(here, email, PASSWORD, elsewhere).status_code == 201


def test_what_a_caller_writes_of_himself_counts_nothing(here, admin, address):
    """Only the last address of the chain was written by the proxy."""
    email = person(admin)["email"]
    for at in range(FREE):
        assert by_session(here, email, WRONG, f"10.1.2.{at}, {address}").status_code == 401
    assert by_session(here, email, PASSWORD, f"10.9.9.9, {address}").status_code == 429
    assert by_session(here, email, PASSWORD, f"{address}, 127.0.0.5").status_code == 429  # a trusted one more


def test_without_a_trusted_proxy_headers_count_nothing(server, root):
    email = person(root)["email"]
    for at in range(FREE):
        assert by_session(server, email, WRONG, f"203.0.113.{at}").status_code == 401
    assert by_session(server, email, PASSWORD, "203.0.113.99").status_code == 429


# -- what is told ----------------------------------------------------------------------------------------------------


def test_failures_of_known_users_are_in_the_journal_without_the_guess(here, admin, address):
    email, unknown = person(admin)["email"], f"{fresh('nobody')}@example.com"
    guess(by_session, here, email, address, FREE + 3)
    guess(by_session, here, unknown, address, FREE)
    failed, blocked = journal(admin, "login.failed", email), journal(admin, "login.blocked", email)
    assert (len(failed), len(blocked)) == (FREE, 1)  # not of those that were refused
    assert failed[0]["data"] == {"address": address, "by": "password"}
    everything = str(admin.everything("/audit", limit=200))
    assert WRONG not in everything
    assert unknown not in everything


def test_both_tenants_of_an_address_are_told(here, admin, address):
    email = person(admin)["email"]
    here.other().post("/users", {"email": email, "password": PASSWORD}, 201)
    guess(by_session, here, email, address, 1)
    for tenant in (admin, here.other()):
        assert len(journal(tenant, "login.failed", email)) == 1


@pytest.mark.parametrize("named", [False, True])
def test_what_goes_well_in_one_tenant_makes_up_for_nothing_in_another(here, admin, address, named):
    """Who administers one of them knows a password of the address there."""
    email, theirs = person(admin)["email"], "another tenant's password"
    other = here.other()
    other.post("/users", {"email": email, "password": theirs}, 201)
    codes = {api: {"tenant": api.get("/tenant")["code"]} if named else {} for api in (admin, other)}

    def attempt(api: Api, secret: str) -> int:
        body = {"email": email, "password": secret, **codes[api]}
        return post(here, "/api/v1/session", body, address).status_code

    assert [attempt(admin, WRONG) for _ in range(FREE - 1)] == [401] * (FREE - 1)
    assert attempt(other, theirs) == 201
    assert attempt(admin, WRONG) == 401
    assert attempt(admin, PASSWORD) == 429
    assert attempt(other, theirs) == (201 if named else 429)


def test_a_failure_in_a_tenant_that_is_named_is_told_there_alone(here, admin, address):
    email = person(admin)["email"]
    other = here.other()
    other.post("/users", {"email": email, "password": PASSWORD}, 201)
    body = {"email": email, "password": WRONG, "tenant": other.get("/tenant")["code"]}
    assert post(here, "/api/v1/session", body, address).status_code == 401
    assert [len(journal(api, "login.failed", email)) for api in (admin, other)] == [0, 1]
