from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest

from penstock.errors import Invalid
from penstock.web.parsing import MAX_DEPTH, Parameters, form_decoder, idempotency_key, json_decoder, pointer_of


class Line(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    amounts: list[int] = []
    more: dict[str, int] = {}
    odd: Annotated[int, msgspec.Meta(ge=0)] | None = msgspec.field(default=None, name="a/b~c")


class Order(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    lines: list[Line] = []
    data: Any = None
    inner: "Order | None" = None


decode = json_decoder(Order)


def test_a_good_body_is_read():
    order = decode(
        '{"id":"ü \\\\u0000 12345678901234567890","lines":[{"name":"a","amounts":[1,2]}],"data":{"x":[1.5,null]}}'.encode()
    )
    assert order.lines[0].amounts == [1, 2]
    assert order.id == "ü \\u0000 12345678901234567890"


def nested(depth, opening=b"[", closing=b"]"):
    return b'{"id":"a","data":' + opening * depth + closing * depth + b"}"


BAD = [
    # body, pointer, code, a part of the message
    (b"", "", "malformed", "too early (byte 0)"),
    (b"{", "", "malformed", "too early (byte 1)"),
    (b'{"id":"a",}', "", "malformed", "line 1, column 11"),
    (b'{\n "id": "a"\n "lines": []}', "", "malformed", "line 3, column 2"),
    (b'{"id":"a"} x', "", "malformed", "byte 11"),
    (b"\xef\xbb\xbf{}", "", "malformed", "byte 0"),
    (b'{"id":"a\xff"}', "", "malformed", "byte 8 is 0xff"),
    (b'{"id":"a","data":{"\xc3":1}}', "", "malformed", "not UTF-8"),
    (b'{"id":"\\ud800\\u0041"}', "", "malformed", "surrogate"),
    (b'{"id":"\\ud800"}', "", "malformed", "JSON is malformed"),
    (b'{"id":NaN}', "", "malformed", "JSON is malformed"),
    (b"[]", "", "invalid", "must be an object"),
    (b'"x"', "", "invalid", "must be an object"),
    (b"{}", "/id", "invalid", "is missing"),
    (b'{"id":"a","idd":1}', "/idd", "invalid", "is not a field"),
    (b'{"id":1}', "/id", "invalid", "must be a text"),
    (b'{"id":"a","lines":[{"name":"x"},{"name":1}]}', "/lines/1/name", "invalid", "must be a text"),
    (b'{"id":"a","lines":[{"name":"x","amounts":[1,"2"]}]}', "/lines/0/amounts/1", "invalid", "must be a whole number"),
    (b'{"id":"a","lines":[{"name":"x","more":{"k":"v"}}]}', "/lines/0/more", "invalid", "must be a whole number"),
    (b'{"id":"a","lines":[{"name":"x","a/b~c":"v"}]}', "/lines/0/a~1b~0c", "invalid", "must be a whole number or null"),
    (b'{"id":"a","lines":[{"name":"x","a/b~c":-1}]}', "/lines/0/a~1b~0c", "invalid", "0 or more"),
    (b'{"id":"a","inner":{"id":"b","inner":{"lines":[]}}}', "/inner/inner/id", "invalid", "missing"),
    (b'{"id":"a\\u0000"}', "/id", "nul", "NUL"),
    (b'{"id":"a","data":[{"k":"\\u0000"}]}', "/data/0/k", "nul", "NUL"),
    (b'{"id":"a","data":{"\\u0000":1}}', "/data", "nul", "NUL"),
    (b'{"id":"a","data":{"a/b":[9223372036854775808]}}', "/data/a~1b/0", "out_of_range", "64 bits"),
    (b'{"id":"a","data":-9223372036854775809}', "/data", "out_of_range", "64 bits"),
    (b'{"id":"a","data":' + b"9" * 5000 + b"}", "/data", "invalid", "range"),
    (b'{"id":"a","data":1e999}', "/data", "invalid", "range"),
    (nested(MAX_DEPTH), "", "too_deep", "levels"),
    (nested(1_000), "", "too_deep", "levels"),
    (nested(100_000), "", "too_deep", "levels"),
    (nested(1_000, b'{"a":', b"}").replace(b":}", b":1}", 1), "", "too_deep", "levels"),
    (b"[" * 100_000, "", "invalid", "must be an object"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "pointer", "code", "text"), BAD, ids=[repr(row[0][:40]) for row in BAD])
def test_a_bad_body_is_refused_and_told_where(body, pointer, code, text):
    with pytest.raises(Invalid) as caught:
        decode(body)
    problem = caught.value.problems[0]
    assert (problem.pointer, problem.code) == (pointer, code)
    assert text in problem.message


@pytest.mark.parametrize(
    "body",
    [
        nested(MAX_DEPTH - 1),
        b'{"id":"a","data":[9223372036854775807,-9223372036854775808]}',
        b'{"id":"a","data":[' + b",".join([b"{}"] * 500) + b"]}",
        b'{"id":"' + b"[{" * 5000 + b'\\"["}',
    ],
)
def test_what_is_at_the_limit_is_taken(body):
    assert decode(body).id


def test_any_json_may_be_asked_for():
    assert json_decoder(Any)(b"3") == 3
    with pytest.raises(Invalid):
        json_decoder(Any)(b"[" * 5000)


@pytest.mark.parametrize(
    ("text", "pointer"),
    [
        ("Expected `int`, got `str` - at `$`", ""), ("Expected `int` - at `$[0]`", "/0"),
        ("Expected `int` - at `$.a[3][4].b`", "/a/3/4/b"), ("Expected `int` - at `$.a[...].b`", "/a"),
        ("Expected `str` - at `key` in `$.a`", "/a"), ("Object missing required field `x` - at `$.a[0]`", "/a/0/x"),
        ("Object missing required field `x`", "/x"), ("anything", ""),
    ],
)  # fmt: skip
def test_a_path_becomes_a_pointer(text, pointer):
    assert pointer_of(text)[1] == pointer


class State(StrEnum):
    OPEN = "OPEN"
    DONE = "DONE"


class Query(msgspec.Struct):
    state: list[State] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    mine: bool = False
    name: str | None = None
    count: int = 0
    metadata: dict[str, str] = {}


def test_parameters_are_read():
    query = Parameters(Query).parse(
        b"state=OPEN&state=DONE&limit=7&mine=true&name=a+%C3%BC&metadata.x=1&metadata.a.b=2"
    )
    assert query == Query([State.OPEN, State.DONE], 7, True, "a ü", 0, {"x": "1", "a.b": "2"})
    assert Parameters(Query).parse(b"") == Query()


@pytest.mark.parametrize(
    ("raw", "pointer", "code"),
    [
        (b"limit=0", "limit", "invalid"), (b"limit=201", "limit", "invalid"), (b"limit=x", "limit", "invalid"),
        (b"limit=1&limit=2", "limit", "duplicate"), (b"mine=maybe", "mine", "invalid"), (b"unknown=1", "unknown", "unknown"),
        (b"state=OPEN&state=BAD", "state.1", "invalid"), (b"metadata=1", "metadata", "unknown"),
        (b"metadata.x=1&metadata.x=2", "metadata.x", "duplicate"), (b"metadata.=1", "metadata.", "unknown"),
        (b"name=%ff", "", "malformed"), (b"name=\xff", "", "malformed"), (b"name=a%00", "name", "nul"),
        (b"count=" + b"9" * 30, "count", "out_of_range"), (b"&".join([b"state=OPEN"] * 300), "", "invalid"),
        (b"count=" + b"9" * 6000, "count", "invalid"),
    ],
)  # fmt: skip
def test_bad_parameters_are_refused_by_name(raw, pointer, code):
    with pytest.raises(Invalid) as caught:
        Parameters(Query).parse(raw)
    assert (caught.value.problems[0].pointer, caught.value.problems[0].code) == (pointer, code)


def test_a_form_is_read_and_its_unknown_fields_are_let_be():
    class Form(msgspec.Struct):
        grant_type: str
        scope: str | None = None

    assert form_decoder(Form)(b"grant_type=password&other=1") == Form("password")
    for body in (b"", b"grant_type=a&grant_type=b", b"grant_type=%ff"):
        with pytest.raises(Invalid):
            form_decoder(Form)(body)


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "ü"])
def test_odd_idempotency_keys_are_refused(key):
    with pytest.raises(Invalid):
        idempotency_key(key)


def test_good_idempotency_keys_are_kept():
    assert idempotency_key("x" * 200) == "x" * 200
    assert idempotency_key(None) is None


class Level(StrEnum):
    LOW = "low"
    HIGH = "high"


class Choice(msgspec.Struct):
    colour: Literal["red", "green"] | None = None
    levels: list[Level] = []
    sizes: dict[str, Literal[1, 2]] = {}


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (b'{"colour":"blue"}', "/colour", "it takes green, red"),
        (b'{"levels":["low","no"]}', "/levels/1", "it takes high, low"),
        (b'{"sizes":{"x":3}}', "/sizes", "cannot be 3"),
    ],
)
def test_a_word_that_does_not_fit_brings_those_that_do(body, pointer, words):
    with pytest.raises(Invalid) as caught:
        json_decoder(Choice)(body)
    [problem] = caught.value.problems
    assert problem.pointer == pointer
    assert problem.message.endswith(words)


def test_a_parameter_that_does_not_fit_brings_the_words_that_do():
    with pytest.raises(Invalid, match="cannot be 'blue'; it takes green, red"):
        Parameters(Choice).parse(b"colour=blue")
