"""ETag, If-Match and If-None-Match, as RFC 9110 has them."""

from typing import Any

import pytest

from penstock.errors import Invalid, Stale
from penstock.web.openapi import describe, openapi
from penstock.web.revisions import etag, if_match, is_known
from penstock.web.routing import Auth, Door, Reply, Route


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None), ("*", None), (" * ", None), ('"7"', {7}), ('"7","8"', {7, 8}), (' "7" ,  "8" , ', {7, 8}),
        ('W/"7"', set()), ('W/"7", "8"', {8}), ('"abc"', set()), ('""', set()), ('"07"', set()), ('"-1"', set()),
        ('"' + "9" * 30 + '"', set()), ('"٣"', set()),
    ],
)  # fmt: skip
def test_if_match_takes_strong_tags_of_ours(header, expected):
    if header == '"٣"':
        with pytest.raises(Invalid):
            if_match(header)
    else:
        assert if_match(header) == expected


@pytest.mark.parametrize(
    "header", ["", "7", '"7', '7"', '"7" "8"', '"7";', "w/7", '*, "7"', '"7", x', '"' + "7" * 2000 + '"']
)
@pytest.mark.parametrize("read", [if_match, lambda header: is_known(header, 7)], ids=["If-Match", "If-None-Match"])
def test_what_is_no_list_of_tags_is_refused(header, read):
    with pytest.raises(Invalid) as caught:
        read(header)
    assert caught.value.problems[0].pointer in {"If-Match", "If-None-Match"}


def test_if_none_match_compares_weakly():
    assert is_known('"7"', 7)
    assert is_known('W/"7"', 7)
    assert is_known('"6", W/"7"', 7)
    assert is_known("*", 7)
    assert not is_known('"6"', 7)
    assert not is_known(None, 7)
    assert etag(7) == '"7"'


def door() -> Door[Any]:
    async def read(_):
        return Reply({"a": 1}, revision=3)

    async def change(call):
        if call.revisions is not None and 3 not in call.revisions:
            raise Stale("it has changed", revision=3)
        return Reply({"a": 2}, revision=4)

    common: dict[str, Any] = {"path": "/it", "response": dict[str, int], "auth": Auth.NONE, "revised": True}
    return Door(
        [
            Route(method="GET", operation="read", summary="", handler=read, **common),
            Route(method="PUT", operation="change", summary="", handler=change, **common),
            Route(
                method="GET", path="/other", operation="other", summary="", handler=read, auth=Auth.NONE, response=Any
            ),
        ],
        None,
        name="d",
        title="D",
        version="1",
    )


def test_a_tag_goes_out_and_comes_back(ask):
    made = door()
    answer = ask(made, path="/it")
    assert (answer.status, answer.headers["etag"]) == (200, '"3"')
    assert ask(made, path="/it", headers={"if-none-match": '"3"'})[:1] == (304,)
    same = ask(made, path="/it", headers={"if-none-match": 'W/"3"'})
    assert (same.status, same.content, same.headers["etag"]) == (304, b"", '"3"')
    assert ask(made, path="/it", headers={"if-none-match": '"2"'}).status == 200
    changed = ask(made, "PUT", "/it", headers={"if-match": '"3"'})
    assert (changed.status, changed.headers["etag"]) == (200, '"4"')
    assert ask(made, "PUT", "/it").status == 200
    stale = ask(made, "PUT", "/it", headers={"if-match": '"2"'})
    assert (stale.status, stale.content["code"], stale.headers["etag"]) == (412, "stale", '"3"')
    assert ask(made, "PUT", "/it", headers={"if-match": 'W/"3"'}).status == 412
    assert ask(made, "PUT", "/it", headers={"if-match": "3"}).status == 400


def test_the_document_tells_of_revisions_where_there_are_some():
    made = door()
    describe(made)
    paths = openapi(made, {}, {})["paths"]
    read, change, other = paths["/it"]["get"], paths["/it"]["put"], paths["/other"]["get"]
    assert [each["name"] for each in read["parameters"]] == ["If-None-Match"]
    assert [each["name"] for each in change["parameters"]] == ["If-Match"]
    assert "ETag" in read["responses"]["200"]["headers"]
    assert "304" in read["responses"]
    assert "stale" in change["responses"]["412"]["description"]
    assert "parameters" not in other
    assert "headers" not in other["responses"]["200"]
