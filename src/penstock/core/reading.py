"""From bytes to a plain JSON value: YAML 1.2's core schema, or JSON, strictly and within bounds.

YAML is read from the parser's events, not by its constructors: no aliases (so no bombs), no tags, no timestamps,
no `on`/`yes`/`no` booleans, no duplicate keys. What comes out is always a value that JSON could hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isfinite
from typing import Any, Literal

import yaml

from penstock.core.pointers import pointer_to
from penstock.errors import Problem

MAX_BYTES = 1024 * 1024
MAX_NESTING = 64
MAX_PROBLEMS = 100
INT_MIN, INT_MAX = -(2**63), 2**63 - 1

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")

# The C parser reads a document of 1 MiB in 0.2 s, the one in Python in 5 s.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(data: bytes | str, content_type: Literal["yaml", "json"] | None) -> tuple[Any, list[Problem]]:
    """The value and no problem, or None and what is wrong. `content_type` None: JSON if it is, else YAML."""
    text = _decode(data)
    if isinstance(text, Problem):
        return None, [text]
    if content_type == "yaml":
        return _read_yaml(text)
    value, problems = _read_json(text)
    if problems and content_type is None and problems[0].code == "syntax":
        other, others = _read_yaml(text)
        # Of text in braces its author thinks as JSON.
        if not others or not text.lstrip().startswith(("{", "[")):
            return other, others
    return value, problems


def check_plain(value: Any) -> list[Problem]:
    """What keeps a value from being JSON that every database can hold, with pointers; at most `MAX_PROBLEMS`."""
    problems: list[Problem] = []
    level: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    for depth in range(MAX_NESTING + 1):
        below: list[tuple[tuple[str | int, ...], Any]] = []
        for path, each in level:
            if depth == MAX_NESTING and isinstance(each, (dict, list)):
                return [*problems, Problem(pointer_to(path), f"nests more than {MAX_NESTING} levels deep", "nesting")]
            if isinstance(each, dict):
                problems.extend(_check_keys(path, each))
                below.extend(((*path, str(key)), inner) for key, inner in each.items())
            elif isinstance(each, list):
                below.extend(((*path, index), inner) for index, inner in enumerate(each))
            elif message := _scalar_problem(each):
                problems.append(Problem(pointer_to(path), message, "value"))
            if len(problems) >= MAX_PROBLEMS:
                return problems[:MAX_PROBLEMS]
        level = below
    return problems


def _decode(data: bytes | str) -> str | Problem:
    too_large = Problem("", f"a document may have {MAX_BYTES:,} bytes", "too_large")
    if len(data) > MAX_BYTES:
        return too_large
    if isinstance(data, str):
        try:
            size = len(data.encode())
        except UnicodeEncodeError:
            return Problem("", "the text holds half of a surrogate pair", "encoding")
        return data if size <= MAX_BYTES else too_large
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Problem("", f"the document is not UTF-8: byte {error.start} cannot be read", "encoding")


def _check_keys(path: tuple[str | int, ...], value: dict[Any, Any]) -> Iterator[Problem]:
    if isinstance(value, _Doubled):
        for key in value.doubled:
            yield Problem(pointer_to((*path, key)), f"the key {_shown(key)} stands twice", "duplicate_key")
    for key in value:
        if not isinstance(key, str):
            yield Problem(pointer_to(path), f"the key {_shown(key)} is not text", "value")
        elif message := _scalar_problem(key):
            yield Problem(pointer_to(path), f"a key: {message}", "value")


def _scalar_problem(value: Any) -> str | None:
    kind = value.__class__
    if kind is str:
        if "\0" in value:
            return "the character U+0000 cannot be kept"
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return "half of a surrogate pair is no text"
        return None
    if kind is int and not INT_MIN <= value <= INT_MAX:
        return "an integer may have 64 bits"
    if kind is float and not isfinite(value):
        return "not a number that JSON can hold"
    if kind in (int, float, bool) or value is None:
        return None
    return f"{kind.__name__} is no JSON value"


class _Doubled(dict[str, Any]):
    """An object of JSON in which keys stood twice."""

    doubled: list[str]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    seen: set[str] = set()
    marked = _Doubled(value)
    marked.doubled = list(dict.fromkeys(key for key, _ in pairs if key in seen or seen.add(key)))  # type: ignore[func-returns-value]
    return marked


def _read_json(text: str) -> tuple[Any, list[Problem]]:
    try:
        value = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        return None, [Problem("", f"line {error.lineno}, column {error.colno}: {error.msg}", "syntax")]
    except RecursionError:
        return None, [Problem("", f"nests more than {MAX_NESTING} levels deep", "nesting")]
    except ValueError:  # Python's own limit of digits.
        return None, [Problem("", "a number has too many digits", "value")]
    problems = check_plain(value)
    return (None, problems) if problems else (value, [])


def _read_yaml(text: str) -> tuple[Any, list[Problem]]:
    reader = _YamlReader()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if not reader.take(event):
                break
    except yaml.MarkedYAMLError as error:
        where = _place(error.problem_mark or error.context_mark)
        reader.problem(f"{where}{error.problem or error.context}", "syntax")
    except (yaml.YAMLError, ValueError) as error:
        reader.problem(str(error).split("\n", 1)[0][:200], "syntax")
    if not reader.problems and not reader.documents:
        reader.problem("the document is empty", "syntax")
    return (None, reader.problems) if reader.problems else (reader.value, [])


class _YamlReader:
    """Builds the value from events, with a stack of open maps and lists instead of recursion."""

    def __init__(self) -> None:
        self.value: Any = None
        self.documents = 0
        self.problems: list[Problem] = []
        self.open: list[dict[str, Any] | list[Any]] = []
        self.keys: list[str | None] = []
        """Of each open map the key whose value comes next, None when a key comes next."""

    def problem(self, message: str, code: str) -> None:
        path: list[str | int] = []
        for depth, (holder, key) in enumerate(zip(self.open, self.keys, strict=True), 1):
            if isinstance(holder, list):
                # An open value stands in its list already, what comes next does not.
                path.append(len(holder) - (depth < len(self.open)))
            elif key is not None:
                path.append(key)
        self.problems.append(Problem(pointer_to(path), message, code))

    def take(self, event: Any) -> bool:
        """False: nothing more can be read."""
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    return self._stop(event, "one document only")
            case yaml.AliasEvent():
                return self._stop(event, f"aliases are not supported: *{event.anchor}")
            case yaml.ScalarEvent() | yaml.MappingStartEvent() | yaml.SequenceStartEvent() if event.tag is not None:
                return self._stop(event, f"tags are not supported: {event.tag[:100]}")
            case yaml.ScalarEvent():
                self._scalar(event)
            case yaml.MappingStartEvent() | yaml.SequenceStartEvent():
                return self._begin(event)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.open.pop()
                self.keys.pop()
                self._placed()
        return len(self.problems) < MAX_PROBLEMS

    def _stop(self, event: Any, message: str) -> bool:
        self.problem(_place(event.start_mark) + message, "syntax")
        return False

    def _begin(self, event: Any) -> bool:
        if len(self.open) >= MAX_NESTING:
            self.problem(f"{_place(event.start_mark)}nests more than {MAX_NESTING} levels deep", "nesting")
            return False
        if self._wants_key():
            return self._stop(event, "a key must be text")
        value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
        self._put(value)
        self.open.append(value)
        self.keys.append(None)
        return True

    def _scalar(self, event: Any) -> None:
        if self._wants_key():
            self._key(event)
            return
        value = event.value if not event.implicit[0] else _resolve(event.value)
        if message := _scalar_problem(value):
            self.problem(_place(event.start_mark) + message, "value")
            value = None
        self._put(value)
        self._placed()

    def _key(self, event: Any) -> None:
        key = event.value
        if event.implicit[0] and not isinstance(_resolve(key), str):
            self.problem(f"{_place(event.start_mark)}the key {_shown(key)} is not text; put it in quotes", "value")
        elif message := _scalar_problem(key):
            self.problem(f"{_place(event.start_mark)}a key: {message}", "value")
        self.keys[-1] = key
        if key in self.open[-1]:
            self.problem(f"{_place(event.start_mark)}the key {_shown(key)} stands twice", "duplicate_key")

    def _wants_key(self) -> bool:
        return bool(self.open) and isinstance(self.open[-1], dict) and self.keys[-1] is None

    def _put(self, value: Any) -> None:
        if not self.open:
            self.value = value
            return
        holder = self.open[-1]
        if isinstance(holder, dict):
            holder[str(self.keys[-1])] = value
        else:
            holder.append(value)

    def _placed(self) -> None:
        if self.keys:
            self.keys[-1] = None


def _resolve(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema. What overflows comes out as it is, to be refused."""
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INT.fullmatch(text):
        base = {"0o": 8, "0x": 16}.get(text[:2], 10)
        return int(text, base) if len(text) <= 100 else INT_MAX + 1
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""


def _shown(key: Any) -> str:
    text = repr(key)
    return text if len(text) <= 80 else text[:77] + "..."
