"""CEL expressions and `${…}` templates: compile once, evaluate often, never `eval`.

An expression gets only the members it names, so its cost does not grow with the data around them. What it may do
is bounded before it runs (length, nesting, size of input, work of its macros): the binding cannot be stopped.
What comes out is JSON, the same each time (the binding's own maps have no order). Values are passed on, not copied: nobody may change what went in or came out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import isfinite
from typing import Any, TypeAlias

import cel
import msgspec

from penstock.core.durations import Duration, format_duration, format_time, from_datetime
from penstock.core.syntax import LOOP, STANDARD_ROOTS, Path, Reading, closing_brace, read_expression

FUNCTIONS = frozenset(
    {"size", "contains", "startsWith", "endsWith", "matches", "dyn", "type"}
    | {"int", "uint", "double", "string", "bytes", "timestamp", "duration"}
    | {"getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfYear", "getDayOfWeek"}
    | {"getHours", "getMinutes", "getSeconds", "getMilliseconds"}
)
"""What the binding knows, found by trying; anything else is refused when compiled, not when it runs."""

MAX_INPUT_DEPTH = 200
MAX_INPUT_SIZE = 16 * 1024 * 1024
MAX_MACRO_STEPS = 10_000_000
"""About a second of the binding's time."""
MAX_MACRO_BYTES = 10_000_000_000
MAX_TEMPLATE_DEPTH = 100

_INT_MIN, _INT_MAX = -(2**63), 2**63 - 1
_SECRET = re.compile(r"\s*secrets\.([A-Za-z_][A-Za-z0-9_-]{0,63})\s*")
_SECRET_MARK = re.compile(r"\$\{\s*secrets\b")

_Tree: TypeAlias = "dict[str, _Tree | None]"
"""The members an expression reads; None: the whole of it."""
_Render: TypeAlias = Callable[[Mapping[str, Any]], Any]


class ExpressionFailed(Exception):
    """An expression could not be evaluated; the text says which and why."""


@dataclass(frozen=True, slots=True)
class Expression:
    source: str
    roots: frozenset[str] = field(compare=False)
    """Names read at top level: of `input metadata entity values vars nodes loop`, node codes, element names."""
    outputs: frozenset[str] = field(compare=False)
    """Node codes whose output is read, as `nodes.CODE` or `CODE`; any bare name that is no root counts."""
    node_reads: frozenset[str] = field(compare=False)
    """Of `outputs`, those read as `nodes.CODE`: these can be nothing but nodes."""
    _program: cel.Program = field(compare=False, repr=False)
    _reading: Reading = field(compare=False, repr=False)
    _tree: _Tree = field(compare=False, repr=False)

    def evaluate(self, names: Mapping[str, Any]) -> Any:
        """Raises: ExpressionFailed."""
        steps = self._reading.steps
        if steps is not None:
            value: Any = names
            try:
                for step in steps:
                    if value.__class__ is str:
                        break
                    value = value[step]
                else:
                    kind = value.__class__
                    if kind is str or kind is dict or kind is bool or kind is list or value is None:
                        return value
                    if kind is int and _INT_MIN <= value <= _INT_MAX:
                        return value
                    if kind is float and isfinite(value):
                        return value
            except (LookupError, TypeError):
                pass  # The binding says what is wrong, in the same words as for any other expression.
        return self._execute(names)

    def _execute(self, names: Mapping[str, Any]) -> Any:
        context: dict[str, Any] = {}
        bulky: list[Any] = []
        for root, members in self._tree.items():
            if root in names:
                value = names[root] if members is None else _select(names[root], members)
                context[LOOP if root == "loop" else root] = value
                if value.__class__ is dict or value.__class__ is list or value.__class__ is str:
                    bulky.append(value)
        try:
            if bulky or self._reading.macro_depth:
                self._bound(bulky, names)
            return _plain(self._program.execute(context))
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic of the binding is no Exception
            raise ExpressionFailed(f"{_short(self.source)}: {_reason(error)}") from None

    def _bound(self, values: list[Any], names: Mapping[str, Any]) -> None:
        size, longest = _measure(values)
        reading = self._reading
        if not reading.macro_depth:
            return
        longest = max(longest, self.source.count(",") + 1)
        steps = longest ** (reading.macro_depth + reading.copying)
        outer, _ = _measure([_follow(names, path) for path in reading.inner_paths])
        if steps > MAX_MACRO_STEPS or steps * (outer + size // longest) > MAX_MACRO_BYTES:
            raise _Refused(f"its macros would run over too much data ({longest:,} elements)")


@dataclass(frozen=True, slots=True)
class Template:
    """A JSON value in which strings may hold `${…}`; "${x}" alone keeps x's type."""

    value: Any
    """As written."""
    roots: frozenset[str] = field(compare=False)
    outputs: frozenset[str] = field(compare=False)
    expressions: tuple[Expression, ...] = field(compare=False, repr=False)
    secrets: frozenset[str] = field(compare=False)
    """Names of the `${secrets.NAME}` that stay in the rendered text, to be resolved when it is sent."""
    _render: _Render | None = field(compare=False, repr=False)

    def render(self, names: Mapping[str, Any]) -> Any:
        """Raises: ExpressionFailed."""
        return self.value if self._render is None else self._render(names)


def compile_expression(source: str) -> Expression:
    """Raises: ValueError, with a text for the author."""
    reading = read_expression(source)
    program = _compile(reading.source, source)
    unknown = sorted(name for name in program.functions() if name[:1].isalpha() and name not in FUNCTIONS)
    if unknown:
        raise ValueError(f"there is no function {unknown[0]}() here, or not with these arguments")
    roots = frozenset(path[0] for path in reading.paths)
    node_reads = frozenset(path[1] for path in reading.paths if path[0] == "nodes")
    return Expression(
        source=source,
        roots=roots,
        outputs=node_reads | (roots - STANDARD_ROOTS),
        node_reads=node_reads,
        _program=program,
        _reading=reading,
        _tree=_grow(reading.paths),
    )


def compile_template(value: Any, *, secrets: bool = False) -> Template:
    """`secrets` allows `${secrets.NAME}`, which stays as it is. Raises: ValueError, with a text for the author."""
    compiler = _Compiler(secrets=secrets)
    render = compiler.value(value, 0)
    found = tuple(compiler.expressions)
    return Template(
        value=value,
        roots=frozenset().union(*(each.roots for each in found)),
        outputs=frozenset().union(*(each.outputs for each in found)),
        expressions=found,
        secrets=frozenset(compiler.names),
        _render=render,
    )


def _compile(source: str, written: str) -> cel.Program:
    """`written` is what the author wrote: where both are wrong, it is the one whose places are told."""
    try:
        return cel.compile(source)
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a panic of the parser is no Exception
        message = _syntax_error(error)
    if source != written:
        try:
            cel.compile(written)
        except ValueError as error:
            if "reserved identifier: loop" not in str(error):
                message = _syntax_error(error)
    raise ValueError(message)


class _Refused(Exception):
    """Not evaluated, or its result is no JSON; the text is ours."""


class _Compiler:
    """Turns a value into the function that renders it, or None where nothing is to be rendered."""

    def __init__(self, *, secrets: bool) -> None:
        self.secrets = secrets
        self.expressions: list[Expression] = []
        self.names: list[str] = []

    def value(self, value: Any, depth: int) -> _Render | None:
        if depth > MAX_TEMPLATE_DEPTH:
            raise ValueError(f"a template may nest {MAX_TEMPLATE_DEPTH} levels deep")
        if isinstance(value, str):
            return self.text(value) if "${" in value else None
        if isinstance(value, dict):
            if self.secrets and any(_SECRET_MARK.search(key) for key in value):
                raise ValueError("a secret cannot stand in a key")
            return _render_changes(value, [(key, self.value(each, depth + 1)) for key, each in value.items()])
        if isinstance(value, list):
            return _render_changes(value, [(index, self.value(each, depth + 1)) for index, each in enumerate(value)])
        return None

    def text(self, text: str) -> _Render:
        parts: list[str | Expression] = []
        secrets = 0
        at = 0
        while (found := text.find("${", at)) >= 0:
            if found > at and text[found - 1] == "$":
                parts.append(text[at : found - 1] + "${")
                at = found + 2
                continue
            parts.append(text[at:found])
            end = closing_brace(text, found + 2)
            secret = _SECRET.fullmatch(text, found + 2, end)
            parts.append(self._secret(secret[1]) if secret else self._expression(text[found + 2 : end]))
            secrets += secret is not None
            at = end + 1
        parts.append(text[at:])
        return self._renderer([part for part in parts if part != ""], secrets)

    def _renderer(self, parts: list[str | Expression], secrets: int) -> _Render:
        if len(parts) == 1 and isinstance(parts[0], Expression):
            return _guarded(parts[0].evaluate, 0) if self.secrets else parts[0].evaluate
        if not any(isinstance(part, Expression) for part in parts):
            constant = "".join(str(part) for part in parts)
            if self.secrets and len(_SECRET_MARK.findall(constant)) != secrets:
                raise ValueError("$${secrets… cannot be written literally where secrets are resolved")
            return lambda _: constant
        render = _render_text(tuple(parts))
        return _guarded(render, secrets) if self.secrets else render

    def _expression(self, source: str) -> Expression:
        expression = compile_expression(source)
        self.expressions.append(expression)
        return expression

    def _secret(self, name: str) -> str:
        if not self.secrets:
            raise ValueError("secrets can only be used in a request's url, headers or body")
        self.names.append(name)
        return "${secrets." + name + "}"


def _render_changes(value: Any, renders: list[tuple[Any, _Render | None]]) -> _Render | None:
    changes = tuple((place, render) for place, render in renders if render is not None)
    if not changes:
        return None

    def render_all(names: Mapping[str, Any]) -> Any:
        rendered = value.copy()
        for place, render in changes:
            rendered[place] = render(names)
        return rendered

    return render_all


def _render_text(parts: tuple[str | Expression, ...]) -> _Render:
    def render(names: Mapping[str, Any]) -> str:
        return "".join([part if isinstance(part, str) else _as_text(part.evaluate(names)) for part in parts])

    return render


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def _guarded(render: _Render, expected: int) -> _Render:
    """Data must not smuggle in a `${secrets.…}` that would be resolved when the text is sent."""

    def render_guarded(names: Mapping[str, Any]) -> Any:
        rendered = render(names)
        if sum(len(_SECRET_MARK.findall(text)) for text in _texts(rendered)) != expected:
            raise ExpressionFailed("data that holds ${secrets.…} cannot stand where secrets are resolved")
        return rendered

    return render_guarded


def _texts(value: Any) -> list[str]:
    """Every text in a value, keys included."""
    found: list[str] = []
    todo = [value]
    while todo:
        each = todo.pop()
        if isinstance(each, str):
            found.append(each)
        elif isinstance(each, dict):
            found.extend(each)
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)
    return found


def _grow(paths: tuple[Path, ...]) -> _Tree:
    tree: _Tree = {}
    for path in paths:
        branch = tree
        for member in path[:-1]:
            below = branch.setdefault(member, {})
            if below is None:
                break
            branch = below
        else:
            branch[path[-1]] = None
    return tree


def _select(value: Any, members: _Tree) -> Any:
    """`value` with the members that are read and no others; what is no map is passed whole."""
    if value.__class__ is not dict:
        return value
    selected = {}
    for member, below in members.items():
        if member in value:
            each = value[member]
            selected[member] = each if below is None else _select(each, below)
    return selected


def _follow(value: Any, path: Path) -> Any:
    for member in path:
        if not isinstance(value, Mapping) or member not in value:
            return None
        value = value[member]
    return value


def _measure(values: list[Any]) -> tuple[int, int]:
    """Size in about bytes, and the length of the longest list or map. Raises: _Refused over the limits."""
    size, longest = 0, 1
    level = values
    for _ in range(MAX_INPUT_DEPTH):
        below: list[Any] = []
        size += 16 * len(level)
        for value in level:
            kind = value.__class__
            if kind is str:
                size += len(value)
            elif kind is list or kind is dict:
                longest = max(longest, len(value))
                below.extend(value if kind is list else value.values())
        if size > MAX_INPUT_SIZE:
            raise _Refused("it reads too much data")
        if not below:
            return size, longest
        level = below
    raise _Refused(f"the data it reads nests more than {MAX_INPUT_DEPTH} levels deep")


def _plain(value: Any) -> Any:
    """A result as JSON. Raises: _Refused."""
    kind = value.__class__
    if kind is bool or kind is str or value is None:
        return value
    if kind is int:
        if not _INT_MIN <= value <= _INT_MAX:
            raise _Refused("the result is an integer of more than 64 bits")
        return value
    if kind is float:
        if not isfinite(value):
            raise _Refused("the result is not a number that JSON can hold")
        return value
    if kind is list:
        return [_plain(each) for each in value]
    if kind is dict:
        if not all(isinstance(key, str) for key in value):
            raise _Refused("the result is a map with keys that are not text")
        # The binding's maps have another order each time; what a step gives must not.
        return {key: _plain(value[key]) for key in sorted(value)}
    return _special(value)


def _special(value: Any) -> str:
    if isinstance(value, datetime):
        return format_time(from_datetime(value))
    if isinstance(value, timedelta):
        milliseconds = abs(value) // timedelta(milliseconds=1)
        return ("-" if value < timedelta() else "") + format_duration(Duration(0, milliseconds))
    raise _Refused(f"the result is of type {type(value).__name__}, which JSON does not have")


def _syntax_error(error: BaseException) -> str:
    """The binding's text without the source it repeats: `ERROR: <input>:1:3: Syntax error: …`."""
    text = str(error)
    match = re.search(r"ERROR: <input>:(\d+):(\d+): ([^\n]*)", text)
    if match is None:
        return "the expression cannot be read"
    what = match[3].removeprefix("Syntax error: ").replace(LOOP, "loop").replace("<EOF>", "the end")
    return f"line {match[1]}, character {match[2]}: {what}"[:200]


def _short(source: str) -> str:
    return source if len(source) <= 200 else source[:197] + "..."


def _reason(error: BaseException) -> str:
    if isinstance(error, _Refused):
        return str(error)
    if isinstance(error, RecursionError):
        return "it nests too deep"
    if isinstance(error, KeyError) and error.args:
        return f"no such key: {str(error.args[0]).strip(chr(39))}"[:200]
    text = str(error).split("\n", 1)[0]
    missing = re.match(r"Undefined variable or function: '([^']*)'", text)
    if missing and missing[1] in FUNCTIONS:
        return f"{missing[1]}() does not take these arguments"
    if missing:
        return f"nothing is known by the name {'loop' if missing[1] == LOOP else missing[1]!r}"
    if text.startswith("Unsupported operation: map + list"):
        return "a map stands where a list must; map() and filter() take lists, since a map's members have no order"
    if text.startswith("No such overload"):
        return "an operation is not defined for values of these types (int, uint and double do not mix)"
    return text[:200] or type(error).__name__
