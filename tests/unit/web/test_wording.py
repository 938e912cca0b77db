"""What msgspec finds wrong, as people read it: every form it has, made by itself and not by us."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from penstock.errors import Invalid
from penstock.web.parsing import Parameters, json_decoder

TEXT = Annotated[str, Meta(min_length=8, max_length=9)]
ZONED = Annotated[dt.datetime, Meta(tz=True)]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Cat(msgspec.Struct, tag="cat"):
    pass


class Dog(msgspec.Struct, tag="dog"):
    pass


class Pair(msgspec.Struct, array_like=True):
    a: int
    b: int = 0


ROWS: list[tuple[Any, bytes, str]] = [
    (int, b'"x"', "must be a whole number, not a text"),
    (int, b"1.5", "must be a whole number, not a number with decimals"),
    (int, b"true", "must be a whole number, not true or false"),
    (str, b"null", "must be a text, not null"),
    (str, b"1", "must be a text, not a whole number"),
    (str | None, b"[]", "must be a text or null, not a list"),
    (int | str | None, b"{}", "must be a whole number, a text or null, not an object"),
    (bool, b"1", "must be true or false, not a whole number"),
    (float, b'"x"', "must be a number, not a text"),
    (list[int], b"{}", "must be a list, not an object"),
    (dict[str, int], b"[]", "must be an object, not a list"),
    (Annotated[int, Meta(le=365)], b"366", "must be 365 or less"),
    (Annotated[int, Meta(ge=1)], b"0", "must be 1 or more"),
    (Annotated[float, Meta(gt=0)], b"0.0", "must be more than 0.0"),
    (Annotated[float, Meta(lt=1)], b"1.0", "must be less than 1.0"),
    (Annotated[float, Meta(ge=0.5)], b"0.1", "must be 0.5 or more"),
    (Annotated[int, Meta(multiple_of=5)], b"7", "must be a multiple of 5"),
    (TEXT, b'"x"', "must have 8 characters or more"),
    (TEXT, b'"xxxxxxxxxx"', "must have 9 characters or less"),
    (Annotated[str, Meta(min_length=1)], b'""', "must have 1 character or more"),
    (Annotated[str, Meta(pattern="^a$")], b'"b"', "must match the pattern '^a$'"),
    (Annotated[list[int], Meta(min_length=1)], b"[]", "must have 1 entry or more"),
    (Annotated[list[int], Meta(max_length=2)], b"[1,2,3]", "must have 2 entries or less"),
    (Annotated[dict[str, int], Meta(min_length=2)], b"{}", "must have 2 members or more"),
    (Annotated[bytes, Meta(max_length=1)], b'"eHh4"', "must have 1 byte or less"),
    (tuple[int, int], b"[1]", "must have 2 entries"),
    (Pair, b"[]", "must have 1 entry or more"),
    (ZONED, b'"2026-01-31T12:00:00"', "must be a date and time with a time zone"),
    (Annotated[dt.datetime, Meta(tz=False)], b'"2026-01-31T12:00:00Z"', "must be a date and time without a time zone"),
    (dt.datetime, b'"soon"', "must be a date and time as 2026-01-31T12:00:00Z"),
    (dt.date, b'"soon"', "must be a date as 2026-01-31"),
    (dt.time, b'"soon"', "must be a time of day as 12:00:00"),
    (dt.timedelta, b'"soon"', "must be a duration as PT5S"),
    (uuid.UUID, b'"x"', "must be a UUID as 01975e4e-6b54-7c8a-b5c4-5b5a9f3f0d11"),
    (bytes, b'"?"', "must be base64"),
    (decimal.Decimal, b'"x"', "must be a decimal number"),
    (int, b"9" * 5000, "is a number out of range"),
    (Colour, b'"green"', "cannot be 'green'; it takes blue, red"),
    (Literal["a", "b"], b'"c"', "cannot be 'c'; it takes a, b"),
    (Cat | Dog, b'{"type":"cow"}', "cannot be 'cow'"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "words"), ROWS, ids=[row[2] for row in ROWS])
def test_a_problem_is_told_in_words(kind, value, words):
    body = msgspec.defstruct("Body", [("field", kind)], forbid_unknown_fields=True)
    with pytest.raises(Invalid) as caught:
        json_decoder(body)(b'{"field":' + value + b"}")
    [problem] = caught.value.problems
    assert problem.message == words
    assert problem.pointer.startswith("/field")
    assert problem.code == "invalid"


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        (b"{}", "/field", "is missing"),
        (b'{"field":{},"more":1}', "/more", "is not a field that there is"),
        (b'{"field":{"x":{}}}', "/field", "'a' is missing in it"),
        (b'{"field":{"x":{"a":1,"b":2}}}', "/field", "there is no field 'b' in it"),
        (b'{"field":{"x":1}}', "/field", "must be an object, not a whole number"),
        (b'{"field":{},"counts":{"x":1}}', "/counts", "a name in it must be a whole number, not a text"),
        (b"[]", "", "must be an object, not a list"),
    ],
)
def test_a_field_that_is_missing_or_too_much_is_the_place(body, pointer, words):
    inner = msgspec.defstruct("Inner", [("a", int)], forbid_unknown_fields=True)
    fields = [("field", Mapping[str, inner]), ("counts", dict[int, int], {})]
    outer = msgspec.defstruct("Outer", fields, forbid_unknown_fields=True)
    with pytest.raises(Invalid) as caught:
        json_decoder(outer)(body)
    [problem] = caught.value.problems
    assert (problem.pointer, problem.message) == (pointer, words)


def test_a_parameter_is_told_in_words():
    class Query(msgspec.Struct):
        limit: Annotated[int, Meta(ge=1, le=200)] = 50

    with pytest.raises(Invalid, match=r"^limit: must be 200 or less$"):
        Parameters(Query).parse(b"limit=900")
    with pytest.raises(Invalid, match=r"^limit: must be a whole number, not a text$"):
        Parameters(Query).parse(b"limit=many")
