import asyncio
import re
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from penstock import errors
from penstock.errors import Defect, Forbidden, LeaseLost, LimitExceeded, StaleSequence, Unauthenticated, Unavailable
from penstock.identity.model import Actor, Kind, Tenant
from penstock.telemetry.activity import add_activity
from penstock.telemetry.figures import CLASSES
from penstock.web.auth import basic_credentials, bearer, bearer_token
from penstock.web.errors import PROBLEM_DETAILS, STATUS, ErrorRenderer, Shape, look_up, problem_of
from penstock.web.openapi import describe, openapi
from penstock.web.routing import FORM, JSON, Auth, Door, Raw, Reply, Route
from penstock.web.site import Site
from penstock.web.waiting import ClientGone, wait

ACTOR = Actor(tenant=Tenant(1, "t", "t"), principal="app:a", kind=Kind.APPLICATION)
TOKEN = {"Authorization": "Bearer good"}


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    size: int = 0


class Reason(msgspec.Struct, forbid_unknown_fields=True):
    reason: str | None = None


class Listing(msgspec.Struct):
    limit: int = 50
    metadata: dict[str, str] = {}


class Login(msgspec.Struct):
    user: str


class Tokens:
    async def authenticate(self, token):
        if token != "good":
            raise Unauthenticated("the token is not valid")
        return ACTOR


async def echo(call):
    return call.body


async def things(call):
    return {"limit": call.query.limit, "metadata": call.query.metadata, "who": call.actor.principal}


async def thing(call):
    return {"path": call.path, "key": call.idempotency_key, "door": call.door}


async def raw(call):
    return Raw(call.body, call.content_type, 202, {"X-Seen": "yes"})


async def made(call):
    return Reply(Thing("new"), 200, {"Location": "/things/new"})


async def nothing(call):
    return None


async def gone(call):
    await call.gone()
    raise ClientGone


def failing(error):
    async def handler(call):
        raise error

    return handler


def route(method, path, handler, operation, **more):
    return Route(method=method, path=path, handler=handler, operation=operation, summary=operation, **more)


ROUTES = [
    route("GET", "/things", things, "list", query=Listing, response=dict[str, Any], errors=(Forbidden,), tag="Things"),
    route("POST", "/things", made, "make", request=Thing, response=Thing, status=201, also=(200,), tag="Things",
          examples={"small": {"name": "a"}}, errors=(errors.AlreadyExists,)),
    route("PUT", "/things/{id}", echo, "put", request=Thing, response=Thing),
    route("GET", "/things/{id}", thing, "get", response=dict[str, Any]),
    route("GET", "/things/~special", echo, "special", response=Any),
    route("GET", "/things/{id}/versions/{number:int}", thing, "version", response=dict[str, Any]),
    route("DELETE", "/things/{id}", nothing, "delete", status=204),
    route("POST", "/things/{id}/cancel", echo, "cancel", request=Reason, response=Reason),
    route("POST", "/any", echo, "any", request=Any, response=Any),
    route("POST", "/raw", raw, "raw", request=bytes, content_types=(JSON, "application/yaml"), max_body=100),
    route("POST", "/login", echo, "login", request=Login, response=Login, content_types=(FORM, JSON), auth=Auth.NONE),
    route("GET", "/gone", gone, "gone"),
    *(
        route("GET", f"/fail/{name}", failing(error), f"fail_{name}")
        for name, error in {
            "defect": RuntimeError("secret inside"), "ours": Defect("secret inside"), "limit": LimitExceeded("slow", retry_after=2.2),
            "busy": Unavailable("busy"), "lease": LeaseLost("late"), "stale": StaleSequence("moved"), "deep": RecursionError(),
        }.items()
    ),
]  # fmt: skip


@pytest.fixture
def door():
    made = Door(ROUTES, {"a": 1}, name="test", title="Test", version="1", prefix="/api", authenticate=bearer(Tokens()))
    describe(made)
    return made


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "pointer"),
    [
        ("GET", "/api/nowhere", b"", {}, 404, None), ("GET", "/", b"", {}, 404, None), ("GET", "/api/things/", b"", {}, 404, None),
        ("GET", "/api//things", b"", {}, 404, None),
        ("PATCH", "/api/things", b"", {}, 405, None), ("POST", "/api/things/1", b"{}", {}, 405, None),
        ("GET", "/api/things/%ff", b"", {}, 400, "id"), ("GET", "/api/things/a%00b", b"", {}, 400, "id"),
        ("GET", "/api/things/1/versions/x", b"", {}, 400, "number"), ("GET", "/api/things/1/versions/-1", b"", {}, 400, "number"),
        ("GET", "/api/things/1/versions/" + "9" * 30, b"", {}, 400, "number"),
        ("GET", "/api/things?limit=x", b"", {}, 400, "limit"), ("GET", "/api/things?limit=1&limit=2", b"", {}, 400, "limit"),
        ("GET", "/api/things?nope=1", b"", {}, 400, "nope"), ("GET", "/api/things/1?nope=1", b"", {}, 400, "nope"),
        ("POST", "/api/things", b"", {}, 400, ""), ("POST", "/api/things", b"{", {}, 400, ""),
        ("POST", "/api/things", b'{"name":1}', {}, 400, "/name"), ("POST", "/api/things", b'{"name":"a","x":1}', {}, 400, "/x"),
        ("POST", "/api/things", b"{}", {"Content-Type": "text/plain"}, 415, None),
        ("POST", "/api/things", b"{}", {"Content-Type": "application/json; charset=latin-1"}, 415, None),
        ("POST", "/api/things", b"{}", {"Idempotency-Key": ""}, 400, "Idempotency-Key"),
        ("POST", "/api/things", b"{}", {"Content-Length": "x"}, 400, "Content-Length"),
        ("POST", "/api/things", b"{}", {"Content-Length": "9999999"}, 413, ""),
        ("POST", "/api/raw", b"x" * 101, {}, 413, ""),
        ("GET", "/api/things", b"", {"Authorization": None}, 401, None), ("GET", "/api/things", b"", {"Authorization": "Basic eA=="}, 401, None),
        ("GET", "/api/things", b"", {"Authorization": "Bearer "}, 401, None), ("GET", "/api/things", b"", {"Authorization": "Bearer bad"}, 401, None),
        ("POST", "/api/things", b"{", {"Authorization": None}, 400, ""),
        ("GET", "/api/fail/limit", b"", {}, 429, None), ("GET", "/api/fail/busy", b"", {}, 503, None),
        ("GET", "/api/fail/lease", b"", {}, 409, None), ("GET", "/api/fail/stale", b"", {}, 409, None),
        ("GET", "/api/fail/defect", b"", {}, 500, None), ("GET", "/api/fail/ours", b"", {}, 500, None),
        ("GET", "/api/fail/deep", b"", {}, 500, None),
    ],
)  # fmt: skip
def test_a_refusal_is_told_in_the_envelope(door, ask, method, path, body, headers, status, pointer):
    got = ask(door, method, path, body, TOKEN | headers)
    assert got.status == status
    assert got.headers["content-type"] == "application/problem+json"
    assert set(got.content) == {"type", "title", "status", "detail", "code", "problems"}
    assert got.content["status"] == status
    assert "secret inside" not in str(got.content)
    if pointer is not None:
        assert got.content["problems"][0]["pointer"] == pointer


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "content"),
    [
        ("GET", "/api/things?limit=3&metadata.a=b", b"", {}, 200, {"limit": 3, "metadata": {"a": "b"}, "who": "app:a"}),
        ("HEAD", "/api/things/~special", b"", {}, 200, None), ("GET", "/api/things/~special", b"", {}, 200, None),
        ("GET", "/api/things/a%2Fb%C3%BC", b"", {"Idempotency-Key": "k 1"}, 200, {"path": {"id": "a/bü"}, "key": "k 1", "door": {"a": 1}}),
        ("GET", "/api/things/x/versions/7", b"", {}, 200, {"path": {"id": "x", "number": 7}, "key": None, "door": {"a": 1}}),
        ("POST", "/api/things", b'{"name":"a"}', {}, 200, {"name": "new", "size": 0}),
        ("PUT", "/api/things/1", b'{"name":"a","size":2}', {"Content-Type": 'application/json; charset="UTF-8"'}, 200, {"name": "a", "size": 2}),
        ("PUT", "/api/things/1", b'{"name":"a"}', {"Content-Type": None}, 200, {"name": "a", "size": 0}),
        ("DELETE", "/api/things/1", b"", {}, 204, b""), ("POST", "/api/things/1/cancel", b"", {}, 200, {"reason": None}),
        ("POST", "/api/things/1/cancel", b'{"reason":"r"}', {}, 200, {"reason": "r"}),
        ("POST", "/api/any", b"[1,null]", {}, 200, [1, None]),
        ("POST", "/api/raw", b"a: 1", {"Content-Type": "application/yaml"}, 202, b"a: 1"),
        ("POST", "/api/login", b"user=a", {"Content-Type": FORM, "Authorization": None}, 200, {"user": "a"}),
        ("POST", "/api/login", b'{"user":"a"}', {"Authorization": "Basic nonsense"}, 200, {"user": "a"}),
    ],
)  # fmt: skip
def test_an_answer(door, ask, method, path, body, headers, status, content):
    got = ask(door, method, path, body, TOKEN | headers)
    assert (got.status, got.content) == (status, content)


def test_headers_of_answers(door, ask):
    assert ask(door, "GET", "/api/things").headers["www-authenticate"] == "Bearer"
    assert ask(door, "PATCH", "/api/things").headers["allow"] == "GET, POST"
    assert ask(door, "GET", "/api/fail/limit", headers=TOKEN).headers["retry-after"] == "3"
    assert ask(door, "GET", "/api/fail/busy", headers=TOKEN).headers["retry-after"] == "1"
    assert ask(door, "POST", "/api/things", b'{"name":"a"}', TOKEN).headers["location"] == "/things/new"
    too_much = {"Content-Length": str(9 * 1024 * 1024)}
    assert ask(door, "POST", "/api/things", b"{}", TOKEN | too_much).headers["connection"] == "close"


def test_a_body_in_pieces_is_put_together_and_counted(door, ask):
    assert ask(door, "POST", "/api/any", headers=TOKEN, chunks=[b"[1,", b"2", b"]"]).content == [1, 2]
    got = ask(door, "POST", "/api/raw", headers=TOKEN, chunks=[b"x" * 50] * 3)
    assert (got.status, got.headers.get("connection")) == (413, None)
    got = ask(door, "POST", "/api/raw", headers=TOKEN, chunks=[b"x" * 50] * 100)
    assert (got.status, got.headers["connection"]) == (413, "close")


def test_a_client_that_left_is_not_answered(door, ask):
    assert ask(door, "GET", "/api/gone", headers=TOKEN) is None


def test_what_happened_is_counted(ask):
    door = Door(ROUTES[:1], None, name="n", title="T", version="1")
    ask(door, "GET", "/things")
    ask(door, "GET", "/nowhere")
    ask(door, "GET", "/nowhere/else")
    figures = door.watch.figures
    assert {name: sum(each.classes) for name, each in figures.operations.items()} == {"list": 1, "unmatched": 2}
    assert figures.operations["unmatched"].classes[CLASSES.index("4xx")] == 2
    assert sum(figures.operations["list"].seconds.counts) == 1
    assert figures.refused == {401: 1, 403: 0, 429: 0}
    assert figures.in_flight == 0


def test_what_breaks_has_lines_that_name_the_request_and_nothing_of_it(door, ask):
    with capture_logs(processors=[add_activity]) as lines:
        headers = TOKEN | {"X-Request-Id": "broken-one"}
        assert ask(door, "GET", "/api/fail/defect", b"", headers).status == 500
        ask(door, "GET", "/api/things", headers=headers)
    assert [(line["event"], line["log_level"], line["request_id"]) for line in lines] == [
        ("defect", "error", "broken-one"),
        ("request", "error", "broken-one"),
    ]
    assert lines[1]["operation"] == "fail_defect"
    assert lines[1]["status"] == 500
    assert lines[1]["tenant"] == ACTOR.tenant.code
    assert "good" not in str(lines[1])
    assert "secret" not in str(lines[1])


def test_every_answer_carries_an_id(door, ask):
    given = ask(door, "GET", "/api/things", headers=TOKEN | {"X-Request-Id": "from/caller:1"}).headers
    assert given["x-request-id"] == "from/caller:1"
    assert ask(door, "GET", "/nowhere", headers={"X-Request-Id": "a b"}).headers["x-request-id"] != "a b"
    ids = {
        ask(door, "GET", "/nowhere", headers={"X-Request-Id": bad}).headers["x-request-id"] for bad in ("", "x" * 129)
    }
    assert len(ids) == 2
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)


def test_a_place_or_an_operation_stands_once():
    door = Door(ROUTES[:1], None, name="n", title="T", version="1")
    with pytest.raises(AssertionError, match="twice"):
        door.add(ROUTES[0])
    with pytest.raises(AssertionError, match="twice"):
        door.add(route("GET", "/things", echo, "other"))


# -------------------------------------------------------------------------------------------------------------- errors


def test_every_error_has_a_line():
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.PenstockError)
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert PROBLEM_DETAILS.shape(kind).status >= 400
    assert look_up(STATUS, StaleSequence) == Shape(409, "conflict")
    with pytest.raises(KeyError):
        look_up(STATUS, ValueError)


def test_a_door_may_have_its_own_envelope(ask):
    table = {errors.PenstockError: Shape(500, "E1"), errors.NotFound: Shape(200, "E2")}
    own = ErrorRenderer(table, lambda shape, error: {"success": False, "code": shape.code}, dict[str, Any])
    door = Door([], None, name="n", title="T", version="1", errors=own)
    got = ask(door, "GET", "/x")
    assert (got.status, got.content) == (200, {"success": False, "code": "E2"})


def test_a_problem_of_a_batch_is_data():
    problem = problem_of(errors.Invalid("bad", [errors.Problem("/a", "no")]))
    assert msgspec.to_builtins(problem)["problems"] == [{"pointer": "/a", "message": "no", "code": "invalid"}]


# --------------------------------------------------------------------------------------------------------- credentials


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer ü", "good"])
def test_what_is_no_bearer_token(header):
    with pytest.raises(Unauthenticated):
        bearer_token(header)


def test_bearer_and_basic():
    assert bearer_token("bearer abc") == "abc"
    assert bearer_token(None) is None
    assert basic_credentials("Basic YTpiOmM=") == ("a", "b:c")
    assert basic_credentials("Bearer x") is None
    for header in ("Basic !", "Basic YQ==", "Basic /w=="):
        with pytest.raises(Unauthenticated):
            basic_credentials(header)


# ------------------------------------------------------------------------------------------------------------- OpenAPI


def test_the_openapi_document(door, ask):
    document = ask(door, "GET", "/api/openapi.json").content
    assert document == msgspec.json.decode(msgspec.json.encode(openapi(door, {}, {})))
    assert document["openapi"] == "3.1.0"
    assert "/api/things/{id}/versions/{number}" in document["paths"]
    assert "/api/openapi.json" not in document["paths"]
    listing = document["paths"]["/api/things"]["get"]
    assert [parameter["name"] for parameter in listing["parameters"]] == ["limit", "metadata.NAME"]
    assert set(listing["responses"]) == {"200", "400", "401", "403", "429", "503"}
    making = document["paths"]["/api/things"]["post"]
    assert set(making["responses"]) == {"200", "201", "400", "401", "409", "413", "415", "429", "503"}
    assert making["requestBody"]["content"][JSON]["examples"]["small"]["value"] == {"name": "a"}
    assert making["responses"]["409"]["content"].keys() == {"application/problem+json"}
    assert not document["paths"]["/api/things/{id}/cancel"]["post"]["requestBody"]["required"]
    assert document["paths"]["/api/login"]["post"]["security"] == []
    text = str(document)
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}'" in text, f"{name} is never used"


def test_the_page_is_self_contained(door, ask):
    got = ask(door, "GET", "/api/docs")
    assert got.headers["content-type"].startswith("text/html")
    parts = [got, *(ask(door, "GET", f"/api/docs/page.{kind}") for kind in ("js", "css"))]
    for each in parts:
        assert each.status == 200
        assert not re.search(rb"https?://|[^:/]//\w|@import|<script>|innerHTML|[Ss]torage|cookie", each.content)
    linked = set(re.findall(rb'(?:src|href)="([^"#]+)"', got.content))
    assert linked == {b"docs/page.js", b"docs/page.css", b"openapi.json", b"data:,"}


# ----------------------------------------------------------------------------------------------------------- compression

LONG = {"text": "abc" * 1000}


@pytest.mark.parametrize(
    ("accepted", "taken"),
    [
        ("gzip", True),
        ("GZIP, deflate", True),
        ("br;q=1.0, gzip;q=0.8, *;q=0.1", True),
        ("*", True),
        ("x-gzip", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("identity", False),
        ("br, zstd", False),
        ("*;q=0", False),
        ("", False),
        (None, False),
    ],
)
def test_a_large_answer_is_made_smaller_for_who_takes_it(ask, accepted, taken):
    async def handler(_):
        return LONG

    door = Door([_plain("/long", handler)], None, name="n", title="T", version="1")
    got = ask(door, "GET", "/long", headers={"accept-encoding": accepted})
    assert got.headers["vary"] == "accept-encoding"
    assert (got.headers.get("content-encoding") == "gzip") is taken


def _plain(path, handler):
    return Route(
        method="GET", path=path, operation=path, summary="", handler=handler, auth=Auth.NONE, response=dict[str, Any]
    )


def test_small_answers_files_and_what_is_packed_already_stay_as_they_are(ask):
    async def small(_):
        return {"text": "a" * 1000}

    async def image(_):
        return Raw(b"a" * 5000, "image/png")

    async def packed(_):
        return Raw(b"a" * 5000, "text/plain", headers={"content-encoding": "br"})

    routes = [_plain("/small", small), _plain("/image", image), _plain("/packed", packed)]
    door = Door(routes, None, name="n", title="T", version="1")
    for path in ("/small", "/image", "/packed"):
        got = ask(door, "GET", path, headers={"accept-encoding": "gzip"})
        assert got.headers.get("content-encoding") in {None, "br"}, path
        assert "vary" not in got.headers, path


def test_errors_are_packed_too_and_packed_bodies_are_refused(ask, door):
    got = ask(door, "POST", "/api/things", b'{"name": "a"}', {"content-encoding": "gzip"})
    assert (got.status, got.content["code"]) == (415, "unsupported_media_type")
    assert ask(door, "GET", "/api/nothing", headers={"content-encoding": "identity"}).status == 404


# --------------------------------------------------------------------------------------------------------------- waiting


async def never():
    await asyncio.Event().wait()


async def at_once():
    return None


def test_waiting():
    async def tried():
        loop = asyncio.get_running_loop()
        done, open_ = loop.create_future(), loop.create_future()
        done.set_result(7)
        assert await wait(done, 0, never) == 7
        assert await wait(open_, 0, never) is None
        assert await wait(open_, 0.01, never) is None
        with pytest.raises(ClientGone):
            await wait(open_, 5, at_once)
        assert not open_.done()
        loop.call_later(0.01, open_.set_result, 8)
        assert await wait(open_, 5, never) == 8

    asyncio.run(tried())


# ------------------------------------------------------------------------------------------------------------------ site


def test_the_longest_prefix_takes_the_request(ask):
    def app(name):
        async def answer(call):
            return name

        return Door([route("GET", "/{a}", answer, "a", response=str, auth=Auth.NONE),
                     route("GET", "/{a}/{b}", answer, "b", response=str, auth=Auth.NONE),
                     route("GET", "/{a}/{b}/{c}", answer, "c", response=str, auth=Auth.NONE)],
                    None, name=name, title="T", version="1")  # fmt: skip

    site = Site({"": app("all"), "/v1": app("short"), "/v1/wf": app("long")})
    for path, name in [
        ("/v1/x", "short"),
        ("/v1/wf/x", "long"),
        ("/v1/wfx", "short"),
        ("/v11", "all"),
        ("/v1/wf", "long"),
    ]:
        assert ask(site, "GET", path).content == name
