"""Doors that read as ASP.NET Core does, types of JSON besides the plain one, and what a route parses by itself."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from penstock.errors import Invalid, Problem, Unauthenticated
from penstock.web.folding import folding
from penstock.web.matching import Paths
from penstock.web.parsing import json_decoder
from penstock.web.routing import ANY_JSON, JSON, TEXT_JSON, Auth, Door, Route
from penstock.web.site import Site


class Inner(msgspec.Struct, rename="camel"):
    some_name: str
    next: Inner | None = None


class Outer(msgspec.Struct, rename="camel"):
    first: Annotated[Inner, msgspec.Meta(description="d")]
    in_list: list[Inner] = []
    in_map: dict[str, Inner] = {}
    free: dict[str, Any] = {}
    either: Inner | list[Inner] | None = None


def test_members_of_structs_fold_and_other_names_stay():
    body = b"""{"FIRST": {"SOMENAME": "a", "Next": {"somename": "b"}}, "inlist": [{"SomeName": "c"}],
        "InMap": {"SomeName": {"somename": "d"}}, "free": {"First": 1, "FIRST": 2}, "either": [{"SOMEname": "e"}]}"""
    outer = json_decoder(Outer, caseless=True)(body)
    assert outer == Outer(
        Inner("a", Inner("b")), [Inner("c")], {"SomeName": Inner("d")}, {"First": 1, "FIRST": 2}, [Inner("e")]
    )


def test_of_two_spellings_the_last_counts():
    assert folding(Inner)({"SOMENAME": "a", "someName": "b", "more": 1}) == {"someName": "b", "more": 1}


@pytest.mark.parametrize("kind", [Any, int, list[str], dict[str, Any], str | None])
def test_what_holds_no_struct_stays_as_it_is(kind):
    value = {"A": [1, {"B": None}]}
    assert folding(kind)(value) is value


@pytest.mark.parametrize("value", [None, 1, "x", [1], {"first": [], "inList": {}, "inMap": [], "either": "x"}])
def test_what_does_not_fit_is_left_to_the_check(value):
    folding(Outer)(value)


def test_problems_have_the_places_of_the_known_spelling():
    with pytest.raises(Invalid) as caught:
        json_decoder(Outer, caseless=True)(b'{"First":{"SomeName":"a"},"INLIST":[{"SOMENAME":1}]}')
    assert caught.value.problems[0].pointer == "/inList/0/someName"


def test_paths_fold_literals_and_keep_parameters():
    paths = Paths[str](caseless=True)
    paths.add("GET", "/Api/{Name}/Things", "things")
    paths.add("GET", "/Api", "api")
    for path in ("/api/Ann/things", "/API/Ann/THINGS", "/Api/Ann/Things/"):
        assert paths.find("GET", path)[:2] == ("things", {"Name": "Ann"})
    assert paths.find("GET", "/API/")[0] == "api"
    assert paths.find("GET", "/api/Ann/things//")[0] is None
    assert Paths[str]().find("GET", "/")[0] is None


async def echo(call):
    return {"body": call.body, "content": call.content.decode(), "type": call.content_type}


def parsed(call):
    if call.body.some_name == "bad":
        raise Invalid("bad", [Problem("/someName", "is bad")])
    return f"parsed {call.body.some_name}"


class Tokens:
    async def authenticate(self, token):
        raise Unauthenticated(token)


@pytest.fixture
def door():
    every = (JSON, TEXT_JSON, ANY_JSON)
    return Door(
        [
            Route(method="POST", path="/Echo", operation="a", summary="", handler=echo, request=Inner,
                  response=Any, auth=Auth.NONE, content_types=every, parse=parsed),
            Route(method="POST", path="/guarded", operation="b", summary="", handler=echo, request=Inner,
                  response=Any, parse=parsed),
        ],
        None, name="test", title="", version="1", prefix="/Doors", lenient=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("application/json", 200),
        ("text/json; charset=UTF-8", 200),
        ("application/problem+json", 200),
        ("application/*+json", 200),
        ("application/a+b+json;charset=utf-8", 200),
        ("application/json+xml", 415),
        ("text/x+json", 415),
        ("application/+", 415),
        ("json", 415),
        ("application/problem+json; charset=utf-16", 415),
    ],
)
def test_a_type_with_the_suffix_is_json(ask, door, given, status):
    body = b'{"SOMENAME": "x"}'
    answer = ask(door, "POST", "/doors/echo?what=ever", body, {"content-type": given})
    assert answer.status == status, answer.content
    if status == 200:
        kind = given.partition(";")[0]
        assert answer.content == {"body": "parsed x", "content": body.decode(), "type": kind}


def test_a_route_parses_before_anybody_asks_who_calls(ask, door):
    assert ask(door, "POST", "/doors/guarded", b'{"somename":"bad"}').status == 400
    assert ask(door, "POST", "/doors/guarded", b'{"somename":"good"}').status == 401


def test_a_strict_door_stays_strict(ask, door):
    strict = Door(door.routes, None, name="test", title="", version="1", prefix="/Doors")
    assert ask(strict, "POST", "/Doors/Echo", b'{"someName":"x"}').status == 200
    assert ask(strict, "POST", "/Doors/Echo", b'{"SOMENAME":"x"}').status == 400
    assert ask(strict, "POST", "/Doors/Echo?what=ever", b'{"someName":"x"}').status == 400
    for path in ("/doors/Echo", "/Doors/echo", "/Doors/Echo/"):
        assert ask(strict, "POST", path, b'{"someName":"x"}').status == 404


def test_a_site_takes_a_caseless_mount_in_any_case(ask, door):
    front = Door([], None, name="front", title="", version="1")
    site = Site({"/Doors": door, "/Other": door, "": front}, caseless=["/Doors"])
    for path in ("/doors/echo", "/DOORS/ECHO"):
        assert ask(site, "POST", path, b'{"somename":"x"}').status == 200
    assert ask(site, "POST", "/doorsteps", b"{}").content["code"] == "not_found"
    assert ask(site, "POST", "/other/echo", b"{}").content["code"] == "not_found"
