"""Reading the members of a definition's maps: types, ranges and templates, with every problem noted and none raised.

A `Members` knows which names were asked for; what is left at `close` is unknown. A member that is wrong is noted and
read as its default, so that the rest of the document is still looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec

from penstock.core.definition import Text
from penstock.core.durations import Duration, parse_time
from penstock.core.expression import Expression, Template, compile_expression, compile_template
from penstock.core.pointers import escape
from penstock.core.schema import compile_schema
from penstock.errors import Problem

CODE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
ERROR_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
GRANTEE = re.compile(
    r"user:[^\s@:]+@[^\s@:]+|group:[A-Za-z0-9_.-]{1,64}|app:[A-Za-z0-9_.-]{1,64}|role:(?:starter|everyone)"
)

MAX_PROBLEMS = 500
MAX_TEXT = 10_000
MAX_NAME = 200
MAX_EXPRESSIONS = 10_000
MAX_INTEGER = 2**31 - 1

_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")
_MISSING: Any = msgspec.UNSET


class Use(NamedTuple):
    """An expression, where it is written, and the scope whose names it sees ("" the root)."""

    pointer: str
    expression: Expression
    place: str


class Source:
    """One document on its way to a version."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.uses: list[Use] = []

    def problem(self, pointer: str, message: str, code: str, *, warning: bool = False) -> None:
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(Problem(pointer, message, code, warning))
        elif len(self.problems) == MAX_PROBLEMS:
            self.problems.append(Problem("", f"there are more than {MAX_PROBLEMS} problems", "limit"))

    def use(self, pointer: str, expressions: Iterable[Expression], place: str) -> None:
        for expression in expressions:
            self.uses.append(Use(pointer, expression, place))
            if len(self.uses) == MAX_EXPRESSIONS + 1:
                self.problem(pointer, f"a definition may have {MAX_EXPRESSIONS:,} expressions", "limit")

    @property
    def full(self) -> bool:
        """Too much is wrong, or too much is there, to look further."""
        return len(self.problems) > MAX_PROBLEMS or len(self.uses) > MAX_EXPRESSIONS


class Members:
    """The members of one map. `place` is the scope its expressions belong to."""

    def __init__(self, source: Source, value: Any, pointer: str, place: str = "") -> None:
        self.source = source
        self.pointer = pointer
        self.place = place
        self.asked: list[str] = []
        self.value: dict[str, Any] = value if isinstance(value, dict) else {}
        if not isinstance(value, dict):
            self.problem(None, f"must be a map, not {kind_of(value)}", "type")

    def at(self, name: str) -> str:
        return f"{self.pointer}/{escape(name)}"

    def problem(self, name: str | None, message: str, code: str) -> None:
        self.source.problem(self.pointer if name is None else self.at(name), message, code)

    def close(self) -> None:
        for name in self.value:
            if name not in self.asked:
                self.problem(
                    name, f"there is no member {shown(name)} here{nearest(name, self.asked)}", "unknown_member"
                )

    def has(self, name: str) -> bool:
        return name in self.value

    def raw(self, name: str, *, required: bool = False) -> Any:
        """The member as it stands, UNSET when it is not there."""
        self.asked.append(name)
        if name in self.value:
            return self.value[name]
        if required:
            self.problem(None, f"the member {name!r} is missing", "required")
        return _MISSING

    def text(self, name: str, *, required: bool = False, limit: int = MAX_NAME) -> str | None:
        value = self.raw(name, required=required)
        if value is _MISSING:
            return None
        if not isinstance(value, str):
            self.problem(name, f"must be text, not {kind_of(value)}", "type")
        elif not value.strip() or len(value) > limit or _UNPRINTABLE.search(value):
            self.problem(name, f"must be one line of 1 to {limit} characters", "invalid")
        else:
            return value
        return None

    def matching(self, name: str, pattern: re.Pattern[str], what: str, *, required: bool = False) -> str | None:
        value = self.text(name, required=required)
        if value is None or pattern.fullmatch(value):
            return value
        self.problem(name, f"{shown(value)} is not {what}", "code")
        return None

    def code(self, name: str, *, required: bool = False) -> str | None:
        return self.matching(
            name, CODE, "a code: letters, digits, _ and -, at most 64, no digit first", required=required
        )

    def choice(self, name: str, choices: Iterable[str], default: str | None = None) -> str | None:
        """A member without a default is required."""
        choices = list(choices)
        value = self.raw(name, required=default is None)
        if value is _MISSING:
            return default
        if isinstance(value, str) and value in choices:
            return value
        near = nearest(value, choices) if isinstance(value, str) else ""
        self.problem(name, f"must be one of {', '.join(choices)}, not {shown(value)}{near}", "choice")
        return default

    def label(self, name: str) -> Text:
        """A text, or one by language."""
        value = self.raw(name)
        if value is _MISSING:
            return ""
        if isinstance(value, str):
            if len(value) <= MAX_TEXT:
                return value
            self.problem(name, f"may have {MAX_TEXT:,} characters", "limit")
        elif not isinstance(value, dict):
            self.problem(name, f"must be a text or a map by language, not {kind_of(value)}", "type")
        else:
            return self._by_language(name, value)
        return ""

    def _by_language(self, name: str, value: dict[str, Any]) -> dict[str, str]:
        for language, text in value.items():
            pointer = f"{self.at(name)}/{escape(language)}"
            if not _LANGUAGE.fullmatch(language):
                self.source.problem(pointer, f"{shown(language)} is not a language such as en or es-MX", "invalid")
            elif not isinstance(text, str):
                self.source.problem(pointer, f"must be text, not {kind_of(text)}", "type")
            elif len(text) > MAX_TEXT:
                self.source.problem(pointer, f"may have {MAX_TEXT:,} characters", "limit")
        return {language: text for language, text in value.items() if isinstance(text, str)}

    def integer(self, name: str, default: int, lowest: int, highest: int = MAX_INTEGER) -> int:
        value = self.raw(name)
        if value is _MISSING:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.problem(name, f"must be a whole number, not {kind_of(value)}", "type")
        elif not lowest <= value <= highest:
            self.problem(name, f"must be from {lowest} to {highest}", "range")
        else:
            return value
        return default

    def number(self, name: str, default: float, lowest: float, highest: float) -> float:
        value = self.raw(name)
        if value is _MISSING:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.problem(name, f"must be a number, not {kind_of(value)}", "type")
        elif not lowest <= value <= highest:
            self.problem(name, f"must be from {lowest:g} to {highest:g}", "range")
        else:
            return float(value)
        return default

    def boolean(self, name: str, *, default: bool) -> bool:
        value = self.raw(name)
        if value is _MISSING:
            return default
        if isinstance(value, bool):
            return value
        self.problem(name, f"must be true or false, not {shown(value)}", "type")
        return default

    def mapping(self, name: str, *, required: bool = False) -> dict[str, Any] | None:
        value = self.raw(name, required=required)
        if value is _MISSING:
            return None
        if isinstance(value, dict):
            return value
        self.problem(name, f"must be a map, not {kind_of(value)}", "type")
        return None

    def sequence(self, name: str) -> list[Any]:
        value = self.raw(name)
        if value is _MISSING:
            return []
        if isinstance(value, list):
            return value
        self.problem(name, f"must be a list, not {kind_of(value)}", "type")
        return []

    def schema(self, name: str) -> dict[str, Any] | None:
        value = self.mapping(name)
        if value is None:
            return None
        try:
            compile_schema(value)
        except ValueError as error:
            self.problem(name, f"not a JSON Schema that can be used: {error}", "schema")
        return value

    def grantees(self, name: str) -> tuple[str, ...]:
        found: list[str] = []
        for index, value in enumerate(self.sequence(name)):
            pointer = f"{self.at(name)}/{index}"
            if not isinstance(value, str) or not GRANTEE.fullmatch(value):
                what = "user:EMAIL, group:CODE, app:ID, role:starter or role:everyone"
                self.source.problem(pointer, f"{shown(value)} is not {what}", "grantee")
            elif value in found:
                self.source.problem(pointer, f"{value} stands twice", "duplicate")
            else:
                found.append(value)
        return tuple(found)

    def duration(self, name: str) -> Duration | None:
        value = self.text(name)
        if value is None:
            return None
        try:
            return Duration.parse(value)
        except ValueError as error:
            self.problem(name, str(error), "duration")
            return None

    def milliseconds(self, name: str, default: int) -> int:
        """A duration of fixed length."""
        found = self.duration(name)
        if found is None:
            return default
        if found.months:
            self.problem(name, "months and years have no fixed length here; write days", "duration")
            return default
        return found.milliseconds

    def expression(self, name: str) -> Expression | None:
        value = self.raw(name)
        if value is _MISSING:
            return None
        if not isinstance(value, str):
            self.problem(name, f"must be an expression as text, not {kind_of(value)}", "type")
            return None
        if self.source.full:
            return None
        try:
            found = compile_expression(value)
        except ValueError as error:
            self.problem(name, str(error), "expression")
            return None
        self.source.use(self.at(name), [found], self.place)
        return found

    def template(self, name: str, *, required: bool = False, secrets: bool = False) -> Template | None:
        value = self.raw(name, required=required)
        if value is _MISSING:
            return None
        return self.compiled(name, value, secrets=secrets)

    def compiled(self, name: str | None, value: Any, *, secrets: bool = False) -> Template | None:
        """A template of a value read before."""
        if self.source.full:
            return None
        pointer = self.pointer if name is None else self.at(name)
        try:
            found = compile_template(value, secrets=secrets)
        except ValueError as error:
            before = len(self.source.problems)
            for path, text in _texts(value, ""):
                self._try_text(pointer + path, text, secrets=secrets)
            if len(self.source.problems) == before:
                self.source.problem(pointer, str(error), "expression")
            return None
        self.source.use(pointer, found.expressions, self.place)
        return found

    def _try_text(self, pointer: str, text: str, *, secrets: bool) -> None:
        """Each text is tried alone, so that every one that is wrong is named by its own pointer."""
        try:
            compile_template(text, secrets=secrets)
        except ValueError as error:
            self.source.problem(pointer, str(error), "expression")

    def text_template(self, name: str, *, required: bool = False, secrets: bool = False) -> Template | None:
        value = self.text(name, required=required, limit=MAX_TEXT)
        return None if value is None else self.compiled(name, value, secrets=secrets)

    def duration_template(self, name: str) -> Template | None:
        return self._time_template(name, Duration.parse, "duration")

    def time_template(self, name: str) -> Template | None:
        return self._time_template(name, parse_time, "time")

    def _time_template(self, name: str, parse: Callable[[str], object], code: str) -> Template | None:
        value = self.text(name, limit=MAX_TEXT)
        if value is None:
            return None
        if "${" not in value:
            try:
                parse(value)
            except ValueError as error:
                self.problem(name, str(error), code)
                return None
        return self.compiled(name, value)


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Every text that is a template, and where it stands."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _texts(below, f"{path}/{escape(key)}")
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _texts(below, f"{path}/{index}")


def kind_of(value: Any) -> str:
    names = {dict: "a map", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or nothing."""
    found = get_close_matches(name, list(known), 1) if len(name) <= MAX_NAME else []
    return f"; did you mean {found[0]!r}?" if found else ""
