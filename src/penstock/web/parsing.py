"""From bytes to checked values: bodies, query strings, path parameters. Every refusal says what is wrong and where.

A problem's pointer is an RFC 6901 pointer into the body; for a parameter or a header it is its bare name. What msgspec
lets through and a database or a JSON writer would stumble over later is refused here: NUL characters, integers outside of
64 bits, nesting deeper than `MAX_DEPTH`, bytes that are not UTF-8.
"""

from __future__ import annotations

import re
import types
import typing
from array import array
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from penstock.errors import Invalid, Problem
from penstock.web.choices import REFUSED, choices
from penstock.web.folding import folding
from penstock.web.wording import in_words

MAX_DEPTH = 100
MAX_PARAMETERS = 200
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

Decode = Callable[[bytes], Any]

_SUSPICIOUS = re.compile(rb"\\u0000|[0-9]{19}")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_PLACE = re.compile(r"^(?P<text>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>.*?)`)?$", re.DOTALL)
_STEP = re.compile(r"\[(\d+|\.\.\.)\]|\.([^.\[]+)")
_NAMED = re.compile(r"^Object (?P<what>missing|contains) .*field `(?P<name>[^`]+)`$")
_ABOUT_FIELDS = {"missing": "is missing", "contains": "is not a field that there is"}
_BYTE = re.compile(r"\(byte (\d+)\)$")


# -------------------------------------------------------------------------------------------------------------- bodies


def json_decoder(kind: Any, *, caseless: bool = False) -> Decode:
    """A decoder of JSON bodies into `kind`; it raises `Invalid` for everything it does not take.

    `caseless`: the names of members count in any case.
    """
    read = _caseless(kind) if caseless else msgspec.json.Decoder(kind).decode

    def decode(body: bytes) -> Any:
        if not body.isascii():
            _check_utf8(body)
        try:
            value = read(body)
        except msgspec.ValidationError as error:
            raise _unfit(str(error), kind) from None
        except msgspec.DecodeError as error:
            raise _malformed(body, str(error)) from None
        except RecursionError:
            raise _too_deep() from None
        if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _deeper(body, MAX_DEPTH):
            raise _too_deep()
        if _SUSPICIOUS.search(body):
            _check_texts_and_numbers(body)
        return value

    return decode


def _caseless(kind: Any) -> Decode:
    fold = folding(kind)
    plain = msgspec.json.Decoder()
    return lambda body: msgspec.convert(fold(plain.decode(body)), kind)


def form_decoder(kind: Any) -> Decode:
    """A decoder of URL-encoded forms into the Struct `kind`; a field sent twice is refused."""
    parameters = Parameters(kind, open_ended=True)

    def decode(body: bytes) -> Any:
        return parameters.parse(body)

    return decode


def _check_utf8(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}"
        raise Invalid(message, [Problem("", message, "malformed")]) from None


def _malformed(body: bytes, text: str) -> Invalid:
    """Says line and column too: people edit JSON in lines."""
    if found := _BYTE.search(text):
        at = int(found[1]) - ("trailing characters" in text)  # there msgspec counts the character it stumbled over
        before = body[:at]
        line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
        text = f"{text[: found.start()].rstrip()} (byte {at}, line {line}, column {column})"
    elif "truncated" in text:
        text = f"JSON is malformed: it ends too early (byte {len(body)})"
    return Invalid(text, [Problem("", text, "malformed")])


def _too_deep() -> Invalid:
    message = f"nested deeper than {MAX_DEPTH} levels"
    return Invalid(message, [Problem("", message, "too_deep")])


def _deeper(body: bytes, limit: int) -> bool:
    """Whether brackets nest deeper than `limit`: +1 and -1 summed up at the speed of C."""
    brackets = _STRING.sub(b"", body).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(array("b", brackets)), default=0) > limit


def _check_texts_and_numbers(body: bytes) -> None:
    problems = list(_unstorable(msgspec.json.decode(body), ""))
    if problems:
        raise Invalid(f"{problems[0].pointer or 'the body'}: {problems[0].message}", problems)


def _unstorable(value: Any, pointer: str) -> Iterator[Problem]:
    match value:
        case str() if "\0" in value:
            yield Problem(pointer, "a text may not hold the character NUL", "nul")
        case int() if not INT_MIN <= value <= INT_MAX:
            yield Problem(pointer, "an integer must fit in 64 bits", "out_of_range")
        case list():
            for index, element in enumerate(value):
                yield from _unstorable(element, f"{pointer}/{index}")
        case dict():
            for key, element in value.items():
                if "\0" in key:
                    yield Problem(pointer, "a name may not hold the character NUL", "nul")
                yield from _unstorable(element, f"{pointer}/{escape(key)}")


# ------------------------------------------------------------------------------------------------------------ pointers


def escape(name: str) -> str:
    """One step of an RFC 6901 pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def pointer_of(text: str) -> tuple[str, str]:
    """Takes msgspec's message apart: (what is wrong, in words; RFC 6901 pointer).

    `$.a[0].b` is `/a/0/b`. msgspec does not tell which member of a map it means (`[...]`): the pointer ends at the map.
    A missing or unknown field is named by the pointer as well.
    """
    found = _PLACE.match(text)
    assert found is not None, "the pattern takes every text"
    message, path = found["text"], found["path"] or ""
    pointer = ""
    for index, name in _STEP.findall(path):
        if index == "...":
            return in_words(message), pointer
        pointer += f"/{index or escape(name)}"
    if found["key"]:
        return f"a name in it {in_words(message)}", pointer
    if named := _NAMED.search(message):
        return _ABOUT_FIELDS[named["what"]], f"{pointer}/{escape(named['name'])}"
    return in_words(message), pointer


def _unfit(text: str, kind: Any) -> Invalid:
    message, pointer = pointer_of(text)
    message = _with_choices(message, kind, pointer)
    return Invalid(f"{pointer or 'the body'}: {message}", [Problem(pointer, message)])


def _with_choices(message: str, kind: Any, pointer: str) -> str:
    words = choices(kind, pointer) if message.startswith(REFUSED) else []
    return f"{message}; it takes {', '.join(map(str, words))}" if words else message


# ---------------------------------------------------------------------------------------------------------- parameters


class Parameters:
    """How a query string or a form becomes a Struct.

    A field of list type may be repeated, a field of dict type collects `field.NAME`, any other may come once. Unknown
    names are refused, unless `open_ended`.
    """

    def __init__(self, kind: Any, *, open_ended: bool = False) -> None:
        self.kind = kind
        self.open_ended = open_ended
        self.lists: set[str] = set()
        self.maps: set[str] = set()
        self.names: set[str] = set()
        for field in msgspec.structs.fields(kind):
            containers = _containers(field.type)
            self.names.add(field.encode_name)
            if containers & {list, tuple, set, frozenset}:
                self.lists.add(field.encode_name)
            elif dict in containers:
                self.maps.add(field.encode_name)

    def parse(self, raw: bytes) -> Any:
        """Raises: Invalid, with the parameter's name as pointer."""
        given: dict[str, Any] = {}
        if raw:
            for name, value in _pairs(raw):
                self._take(given, name, value)
        try:
            value = msgspec.convert(given, self.kind, strict=False)
        except msgspec.ValidationError as error:
            message, pointer = pointer_of(str(error))
            message = _with_choices(message, self.kind, pointer)
            raise _bad(pointer.removeprefix("/").replace("/", "."), message) from None
        for name in given:
            if isinstance(number := getattr(value, name, None), int) and not INT_MIN <= number <= INT_MAX:
                raise _bad(name, "an integer must fit in 64 bits", "out_of_range")
        return value

    def _take(self, given: dict[str, Any], name: str, value: str) -> None:
        if "\0" in value or "\0" in name:
            raise _bad(name.replace("\0", ""), "the character NUL is not allowed", "nul")
        head, dot, rest = name.partition(".")
        if name in self.lists:
            given.setdefault(name, []).append(value)
        elif dot and rest and head in self.maps:
            members = given.setdefault(head, {})
            if rest in members:
                raise _bad(name, "given more than once", "duplicate")
            members[rest] = value
        elif name not in self.names or name in self.maps:
            if not self.open_ended:
                known = sorted(f"{each}.NAME" if each in self.maps else each for each in self.names)
                raise _bad(name, f"no such parameter; there are {', '.join(known) or 'none here'}", "unknown")
        elif name in given:
            raise _bad(name, "given more than once", "duplicate")
        else:
            given[name] = value


def _pairs(raw: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except UnicodeDecodeError:
        raise _bad("", "parameters must be percent-encoded UTF-8", "malformed") from None
    except ValueError:
        raise _bad("", f"more than {MAX_PARAMETERS} parameters") from None


def _containers(kind: Any) -> set[Any]:
    """The container types of a field, looked for inside of unions: `list[int] | None` has list."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _containers(typing.get_args(kind)[0])
    if origin is typing.Union or isinstance(kind, types.UnionType):
        return set().union(*(_containers(option) for option in typing.get_args(kind)))
    return {origin or kind}


def _bad(name: str, message: str, code: str = "invalid") -> Invalid:
    return Invalid(f"{name}: {message}" if name else message, [Problem(name, message, code)])


def path_integer(name: str, text: str) -> int:
    """A path parameter written `{name:int}`.

    Raises: Invalid.
    """
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise _bad(name, "must be a whole number")
    return int(text)


def idempotency_key(text: str | None) -> str | None:
    """The request's `Idempotency-Key`, checked.

    Raises: Invalid.
    """
    if text is not None and not (1 <= len(text) <= 200 and text.isascii() and text.isprintable()):
        raise _bad("Idempotency-Key", "must be 1 to 200 printable ASCII characters")
    return text
