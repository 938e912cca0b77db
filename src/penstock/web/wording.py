"""msgspec's messages in the words of people: it speaks of Python's types, and who sends a request may never have seen Python."""

from __future__ import annotations

import re
from collections.abc import Callable

_KINDS = {
    "int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false", "null": "null",
    "object": "an object", "array": "a list", "bytes": "base64", "datetime": "a date and time", "date": "a date",
    "time": "a time of day", "duration": "a duration", "uuid": "a UUID", "decimal": "a decimal number",
}  # fmt: skip
_GOT = {**_KINDS, "float": "a number with decimals", "bytes": "bytes"}
_PARTS = {"str": "character", "array": "entry", "object": "member", "bytes": "byte"}
_BOUNDS = {">=": "{} or more", "<=": "{} or less", ">": "more than {}", "<": "less than {}"}
_FORMS = {
    "Invalid RFC3339 encoded datetime": "must be a date and time as 2026-01-31T12:00:00Z",
    "Invalid RFC3339 encoded date": "must be a date as 2026-01-31",
    "Invalid RFC3339 encoded time": "must be a time of day as 12:00:00",
    "Invalid ISO8601 duration": "must be a duration as PT5S",
    "Invalid UUID": "must be a UUID as 01975e4e-6b54-7c8a-b5c4-5b5a9f3f0d11",
    "Invalid base64 encoded string": "must be base64",
    "Invalid decimal string": "must be a decimal number",
    "Invalid epoch timestamp": "must be seconds since 1970",
    "Integer value out of range": "is a number out of range",
    "Number out of range": "is a number out of range",
}


def in_words(message: str) -> str:
    """What msgspec says is wrong, for a sentence that begins with the place: "must be a whole number, not a text".

    `message` is without the place behind it. What msgspec says in a way that is not known here stays as it is.
    """
    if fixed := _FORMS.get(message):
        return fixed
    for pattern, words in _SENTENCES:
        if found := pattern.fullmatch(message):
            return words(found)
    return message


def _kind(found: re.Match[str]) -> str:
    options = [_KINDS.get(each, each) for each in found["kind"].split(" | ")]
    wanted = ", ".join(options[:-1]) + " or " + options[-1] if len(options) > 1 else options[0]
    return f"must be {wanted}" + (f", not {_GOT.get(got, got)}" if (got := found["got"]) else "")


def _zoned(found: re.Match[str]) -> str:
    return f"must be {_KINDS.get(found['kind'], found['kind'])} {'with' if found['zone'] == 'a' else 'without'} a time zone"


def _bound(found: re.Match[str]) -> str:
    return "must be " + _BOUNDS[found["sign"]].format(found["limit"])


def _length(found: re.Match[str]) -> str:
    count = found["count"]
    return f"must have {_parts(found['kind'], count)}" + (
        {">=": " or more", "<=": " or less", "at least": " or more", "at most": " or less"}.get(found["sign"] or "", "")
    )


def _between(found: re.Match[str]) -> str:
    return f"must have {found['least']} to {_parts('array', found['most'])}"


def _parts(kind: str, count: str) -> str:
    name = _PARTS.get(kind, "entry")
    return f"{count} {name if count == '1' else name.removesuffix('y') + 'ies' if name == 'entry' else name + 's'}"


_SENTENCES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = tuple(
    (re.compile(pattern, re.DOTALL), words)
    for pattern, words in (
        (r"Expected `(?P<kind>[^`]+)`(?:, got `(?P<got>[^`]+)`)?", _kind),
        (r"Expected `(?P<kind>\w+)` with (?P<zone>a|no) timezone component", _zoned),
        (r"Expected `(?:\w+)` (?P<sign>[<>]=?) (?P<limit>\S+)", _bound),
        (r"Expected `(?P<kind>\w+)` of length (?P<sign>[<>]=) (?P<count>\d+)", _length),
        (r"Expected `(?P<kind>array)` of (?P<sign>at least|at most) length (?P<count>\d+)(?:, got \d+)?", _length),
        (r"Expected `(?P<kind>array)` of (?P<sign>)length (?P<count>\d+)(?:, got \d+)?", _length),
        (r"Expected `array` of length (?P<least>\d+) to (?P<most>\d+)(?:, got \d+)?", _between),
        (r"Expected `\w+` that's a multiple of (?P<step>\S+)", lambda found: f"must be a multiple of {found['step']}"),
        (r"Expected `str` matching regex (?P<regex>.+)", lambda found: f"must match the pattern {found['regex']}"),
        (r"Invalid (?:enum )?value (?P<value>.+)", lambda found: f"cannot be {found['value']}"),
        (r"Object missing required field `(?P<name>[^`]+)`", lambda found: f"{found['name']!r} is missing in it"),
        (
            r"Object contains unknown field `(?P<name>[^`]+)`",
            lambda found: f"there is no field {found['name']!r} in it",
        ),
    )
)
