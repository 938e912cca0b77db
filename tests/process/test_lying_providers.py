"""Providers of identity that lie or hang: a clear error, nobody logged in, nobody made."""

from __future__ import annotations

import copy
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from process.people import PASSWORD
from support import liar as lies
from support.liar import ENDLESS, HANG, KEY, NEXT, OTHER, Issuer, Liar, part, signed, unsigned
from support.oidc import Browser
from support.server import PREFIX, Api, Server, fresh

CLIENT, SECRET = "penstock", "the client's own secret"
HTML = (200, "text/html", b"<html>Sorry</html>")
DEEP = (200, "application/json", b"[" * 200_000)


@pytest.fixture(scope="module")
def liar() -> Iterator[Liar]:
    running = Liar()
    yield running
    running.close()


@pytest.fixture
def browser(server: Server) -> Iterator[Browser]:
    with Browser(server) as opened:
        yield opened


class Case:
    """One provider, and one log-in by it."""

    def __init__(self, root: Api, liar: Liar, browser: Browser, tenant: str = "demo") -> None:
        """`root` administrates the tenant."""
        self.root, self.browser, self.code, self.tenant = root, browser, fresh("liar"), tenant
        self.issuer: Issuer = liar.issuer(self.code, CLIENT)
        self.issuer.email = f"{fresh('victim').lower()}@example.com"
        spec = {
            "code": self.code,
            "name": "Liar",
            "issuer": self.issuer.url,
            "client_id": CLIENT,
            "client_secret": SECRET,
        }
        root.post("/providers", {**spec, "create_users": True}, 201)

    @classmethod
    def of(cls, case: Case, browser: Browser) -> Case:
        """The same provider, for another browser."""
        other = copy.copy(case)
        other.browser = browser
        return other

    def log_in(self) -> httpx.Response:
        """As far as it goes."""
        left = self.leave()
        return self.back(left) if left.status_code == 303 else left

    def leave(self) -> httpx.Response:
        return self.browser.http.get(f"{self.browser.server.url}{PREFIX}/login/{self.tenant}/{self.code}")

    def back(self, left: httpx.Response) -> httpx.Response:
        query = parse_qs(urlsplit(left.headers["location"]).query)
        self.issuer.nonce = query["nonce"][0]
        params = {"state": query["state"][0], "code": "a-code-of-the-liar"}
        return self.browser.http.get(f"{self.browser.server.url}{PREFIX}/login/callback", params=params)

    def refused(self, *statuses: int) -> str:
        """The log-in fails and leaves nothing behind; answers what is told."""
        answer = self.log_in()
        assert answer.status_code in (statuses or (502,)), answer.text
        assert "penstock=" not in answer.headers.get("set-cookie", "")
        assert self.browser.request("GET", "/session").status_code == 401
        self.root.get(f"/users/{self.issuer.email}", expect=404)
        told = self.root.everything("/audit", type="login.failed", limit=200)
        known = json.dumps([entry for entry in told if entry["subject"] == self.code]) + answer.text
        for secret in (SECRET, "a-code-of-the-liar", self.issuer.nonce or SECRET):
            assert secret not in known
        return answer.text


@pytest.fixture
def case(root: Api, liar: Liar, browser: Browser) -> Case:
    return Case(root, liar, browser)


def test_this_liar_is_believed_when_it_tells_the_truth(case):
    assert case.log_in().status_code == 303
    assert case.browser.session()["principal"] == f"user:{case.issuer.email}"


CLAIMS: list[tuple[str, dict[str, Any]]] = [
    ("another issuer", {"iss": "https://elsewhere.example"}),
    ("another issuer", {"iss": None}),
    ("another client", {"aud": "somebody"}),
    ("another client", {"aud": ["somebody"]}),
    ("another client", {"aud": None}),
    ("another client", {"aud": [CLIENT, "somebody"]}),
    ("another client", {"aud": [CLIENT, "somebody"], "azp": "somebody"}),
    ("another client", {"azp": "somebody"}),
    ("expired", {"exp": 1}),
    ("expired", {"exp": None}),
    ("expired", {"exp": "never"}),
    ("expired", {"exp": True}),
    ("a time that is none", {"exp": 10**400}),
    ("a time that is none", {"iat": 10**400}),
    ("a time that is none", {"nbf": 10**400}),
    ("of the future", {"iat": 2**40}),
    ("of the future", {"iat": None}),
    ("of the future", {"nbf": 2**40}),
    ("another log-in", {"nonce": "another"}),
    ("another log-in", {"nonce": None}),
    ("another log-in", {"nonce": 7}),
    ("no subject", {"sub": None}),
    ("no subject", {"sub": ""}),
    ("no subject", {"sub": "x" * 256}),
    ("no subject", {"sub": {"a": 1}}),
    ("no e-mail address", {"email": None}),
    ("no e-mail address", {"email": ["a@example.com"]}),
    ("that is none", {"email": "nonsense"}),
    ("that is none", {"email": "a@b@example.com"}),
    ("has not verified", {"email_verified": False}),
    ("has not verified", {"email_verified": "false"}),
    ("has not verified", {"email_verified": 0}),
]


@pytest.mark.parametrize(("why", "claims"), CLAIMS, ids=[str(claims)[:40] for _, claims in CLAIMS])
def test_a_token_that_says_something_wrong_is_not_believed(case, why, claims):
    case.issuer.claims = claims
    assert why in case.refused()


def of_public_key(claims: Any) -> str:
    """HS256 with the public key for a secret: the classic."""
    text = f"{part({'alg': 'HS256', 'kid': 'first'})}.{part(claims)}"
    return f"{text}.{part(hmac.digest(KEY.as_pem(private=False), text.encode(), 'sha256'))}"


def tampered(claims: Any) -> str:
    head, _, signature = signed(claims).split(".")
    return f"{head}.{part({**claims, 'email': 'root@example.com'})}.{signature}"


TOKENS: dict[str, Callable[[Any], Any]] = {
    "alg none": unsigned,
    "alg None": lambda claims: unsigned(claims, alg="None", kid="first"),
    "alg none, signed": lambda claims: unsigned(claims, kid="first") + signed(claims).split(".")[2],
    "no alg": lambda claims: f"{part({})}.{part(claims)}.x",
    "alg a list": lambda claims: unsigned(claims, alg=["RS256"]),
    "HS256 with our secret": lambda claims: signed(claims, OctKey.import_key(SECRET), "HS256"),
    "HS256 with the public key": of_public_key,
    "RS512": lambda claims: signed(claims, lies.NAMELESS, "RS512", kid="first"),
    "another key of the same name": lambda claims: signed(claims, OTHER),
    "another kind of key of the same name": lambda claims: signed(claims, lies.CURVE, "ES256"),
    "an unknown key": lambda claims: signed(claims, NEXT),
    "another key, unnamed": lambda claims: signed(claims, lies.UNNAMED),
    "tampered": tampered,
    "not a token": lambda _: "a.b.c",
    "two dots": lambda _: "..",
    "empty": lambda _: "",
    "large": lambda claims: signed({**claims, "more": "x" * 100_000}),
    "of a list": lambda _: signed([1]),
    "encrypted": lambda _: "a.b.c.d.e",
    "a number": lambda _: 7,
    "letters of all the world": lambda _: "ä.ö.ü",
}


@pytest.mark.parametrize("sign", TOKENS.values(), ids=TOKENS.keys())
def test_a_token_that_is_not_signed_as_it_must_be_is_not_believed(case, sign):
    case.issuer.sign = sign
    case.refused()


@pytest.mark.parametrize("alg", ["HS256", None])
def test_a_shared_key_in_the_key_set_signs_nothing(case, alg):
    key = OctKey.import_key("published for everybody", {"kid": "shared", **({"alg": alg} if alg else {})})
    case.issuer.keys = [KEY, key.as_dict(private=True)]
    case.issuer.sign = lambda claims: signed(claims, key, "HS256", kid="shared")
    case.refused()


@pytest.mark.filterwarnings("ignore")
def test_a_short_key_signs_nothing(case):
    key = RSAKey.generate_key(1024, {"kid": "short"}, private=True)
    case.issuer.keys, case.issuer.sign = [key], lambda claims: signed(claims, key)
    case.refused()


SAYINGS = {
    "html": (HTML, 502),
    "nothing": ((200, "application/json", b""), 502),
    "a list": ((200, "application/json", b"[]"), 502),
    "not UTF-8": ((200, "application/json", b'{"a": "\xff"}'), 502),
    "deep": (DEEP, 502),
    "not found": ((404, "text/plain", b"no"), 502),
    "a redirect": ((302, "text/plain", b"http://169.254.169.254/"), 502),
    "trouble": ((500, "text/html", b"<html>"), 503),
    "too many": ((429, "text/html", b"<html>"), 503),
    "gigabytes": (ENDLESS, 502),
}


@pytest.mark.parametrize("said", SAYINGS.values(), ids=SAYINGS.keys())
@pytest.mark.parametrize("where", ["openid-configuration", "token", "keys", "userinfo"])
def test_an_endpoint_that_answers_anything_is_an_error_of_the_provider(case, where, said):
    if where == "userinfo":
        case.issuer.claims, case.issuer.userinfo = {"email": None}, {}
    case.issuer.says[where], status = said
    case.refused(status)


def test_a_provider_that_hangs_is_given_up(case):
    case.issuer.says["token"] = HANG
    assert "does not answer" in case.refused(503)


@pytest.mark.parametrize("what", ["keys", "openid-configuration"])
def test_who_hangs_is_asked_once_for_all_who_wait(case, server, what):
    case.issuer.says[what] = HANG

    def log_in(_: int) -> int:
        with Browser(server) as browser:
            return Case.of(case, browser).log_in().status_code

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(log_in, range(6))) == [503] * 6
    assert case.issuer.asked[what] == 1


def test_a_provider_that_is_away_is_told_so(root, browser, liar):
    case = Case(root, liar, browser)
    root.patch(f"/providers/{case.code}", {"issuer": "http://127.0.0.1:1", "client_secret": None})
    answer = case.log_in()
    assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert "127.0.0.1" not in answer.text
    browser.http.headers["accept"] = "application/json"
    assert case.log_in().json()["code"] == "unavailable"


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://elsewhere.example"}, {"issuer": None}, {"issuer": 7}, {"jwks_uri": "http://elsewhere.example/keys"},
        {"token_endpoint": "ftp://127.0.0.1"}, {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "https://a b"}, {"authorization_endpoint": None}, {"userinfo_endpoint": "https://x@y"},
    ],
    ids=str,
)  # fmt: skip
def test_a_discovery_document_that_leads_elsewhere_is_not_believed(case, discovery):
    case.issuer.discovery = discovery
    case.refused()


def test_an_issuer_with_another_slash_is_another(case):
    case.issuer.discovery = {"issuer": case.issuer.url + "/"}
    assert "another issuer" in case.refused()


@pytest.mark.parametrize("told", [{"sub": "another"}, {}, {"sub": "subject", "email_verified": False}])
def test_userinfo_of_somebody_else_is_not_believed(case, told):
    case.issuer.claims = {"email": None, "email_verified": None}
    case.issuer.userinfo = {"email": case.issuer.email, **told}
    case.refused()


def test_groups_that_none_could_be_called_are_nothing(case):
    code = case.root.post("/groups", {"code": fresh("group")}, 201)["code"]
    case.root.patch(f"/providers/{case.code}", {"groups_claim": "groups"})
    case.issuer.claims = {"groups": [code, "\0", "ü", "", "x" * 5_000, 7, None, *(f"none-{n}" for n in range(990))]}
    assert case.log_in().status_code == 303
    assert case.browser.session()["groups"] == [code]
    case.issuer.claims = {"groups": []}
    assert case.log_in().status_code == 303
    assert case.browser.session()["groups"] == []


def test_a_new_key_is_fetched_once_a_minute_at_most(case):
    assert case.log_in().status_code == 303
    assert case.issuer.asked["keys"] == 1
    case.issuer.keys, case.issuer.sign = [KEY, NEXT], lambda claims: signed(claims, NEXT)
    assert case.log_in().status_code == 303
    assert case.issuer.asked["keys"] == 2
    case.issuer.sign = lambda claims: signed(claims, OTHER, kid="never-seen")
    for _ in range(3):
        assert case.log_in().status_code == 502
    assert case.issuer.asked["keys"] == 2
    assert case.issuer.asked["openid-configuration"] == 1


def test_a_lie_is_in_the_journal_with_its_reason_and_once(case):
    case.issuer.claims = {"aud": "somebody"}
    for _ in range(3):
        case.log_in()
    told = [
        entry
        for entry in case.root.everything("/audit", type="login.failed", limit=200)
        if entry["subject"] == case.code
    ]
    (entry,) = told
    assert "for another client" in entry["data"]["why"]
    assert entry["actor"] == "system"


def test_a_little_skew_of_clocks_is_borne(case):
    now = int(time.time())
    case.issuer.claims = {"iat": now + 30, "exp": now - 30}
    assert case.log_in().status_code == 303


# -- what changes while the provider is asked ------------------------------------------------------------------------


def test_a_provider_that_is_disabled_removed_or_changed_in_the_very_moment_logs_nobody_in(case):
    path = f"/providers/{case.code}"

    def meanwhile(do: Callable[[], Any]) -> None:
        case.issuer.sign = lambda claims: (do(), signed(claims))[1]

    meanwhile(lambda: case.root.patch(path, {"name": "Another", "domains": ["elsewhere.example"]}))
    assert "was changed" in case.refused(403)
    case.root.patch(path, {"domains": []})
    meanwhile(lambda: case.root.patch(path, {"enabled": False}))
    case.refused(404)
    case.root.patch(path, {"enabled": True})
    meanwhile(lambda: case.root.delete(path))
    case.refused(404)
    created = [entry["subject"] for entry in case.root.everything("/audit", type="user.created", limit=200)]
    assert case.issuer.email not in created


def test_nobody_of_a_disabled_tenant_is_sent_away_nor_let_in_nor_made(server, root, liar, browser):
    tenant, email = fresh("shut"), f"{fresh('admin')}@example.com"
    root.post("/tenants", {"code": tenant, "administrator": {"email": email, "password": PASSWORD}}, 201)
    case = Case(server.login(email, PASSWORD), liar, browser, tenant)

    def disable(disabled: bool) -> None:
        root.patch(f"/tenants/{tenant}", {"disabled": disabled})

    def offered() -> list[Any]:
        found = browser.request("GET", "/login/providers", params={"tenant": tenant})
        return [each["code"] for each in found.json()["items"]]

    assert offered() == [case.code]
    case.issuer.sign = lambda claims: (disable(True), signed(claims))[1]
    answer = case.log_in()
    assert (answer.status_code, offered()) == (404, [])
    assert "penstock=" not in answer.headers.get("set-cookie", "")
    assert case.log_in().status_code == 404, "nobody is sent away"
    disable(False)
    case.root = server.login(email, PASSWORD)
    assert [entry["subject"] for entry in case.root.everything("/audit", type="user.created", limit=200)] == [email]
    assert case.root.everything("/audit", type="session.opened", limit=200) == []
    case.root.get(f"/users/{case.issuer.email}", expect=404)
    case.issuer.sign = signed
    left = case.leave()
    disable(True)
    asked = case.issuer.asked["token"]
    assert case.back(left).status_code == 404
    assert case.issuer.asked["token"] == asked, "its code is not sent"
    disable(False)
    assert case.log_in().status_code == 303
