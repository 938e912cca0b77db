"""What a CEL source says about itself: its tokens, the names it reads, how deep it nests.

The binding compiles but tells neither which variables a macro binds nor which members are read; this small
reader does. It judges no grammar: whatever it lets pass the binding still has to accept.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

STANDARD_ROOTS = frozenset({"input", "metadata", "entity", "values", "vars", "nodes", "loop"})
MACROS = frozenset({"map", "filter", "all", "exists", "exists_one", "existsOne"})
LISTING = frozenset({"map", "filter"})
"""Macros whose result has the order of what they run over."""
KEYWORDS = frozenset({"true", "false", "null", "in"})
RESERVED_WORDS = frozenset(
    "as break const continue else for function if import let loop package namespace return var void while".split()  # noqa: SIM905
)
"""Words CEL keeps for itself: no name can be one of them. A node of such a code is read as `nodes.CODE`."""
TYPE_NAMES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
LOOP = "loop__"
"""`loop` is a reserved word of CEL: at top level it reaches the binding under this name."""

MAX_LENGTH = 2_000
MAX_NESTING = 32
# Both keep the binding's recursion inside a thread stack of 512 KiB (measured; at 400 and 256 KiB it overflows).
MAX_OPERATORS = 200
MAX_CHAIN = 100
MAX_MACROS = 3
"""Macros inside macros."""
MAX_LISTINGS = 32

_TOKEN = re.compile(
    r"""
    (?P<space>[\ \t\r\n\f]+|//[^\n]*)
  | (?P<string>[bB]?[rR](?:\"\"\".*?\"\"\"|'''.*?'''|"[^"\r\n]*"|'[^'\r\n]*')
      | [bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\\r\n])*"|'(?:\\.|[^'\\\r\n])*'))
  | (?P<number>0[xX][0-9a-fA-F]+[uU]?|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[uU]?
      | \.[0-9]+(?:[eE][+-]?[0-9]+)?)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<op>&&|\|\||[=!<>]=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE | re.DOTALL,
)
_OPERATORS = frozenset({"&&", "||", "==", "!=", "<=", ">=", "-", "+", "*", "/", "%", "<", ">", "!", "?", "in"})
_CLOSING = {")": "(", "]": "[", "}": "{"}

Path = tuple[str, ...]


class Token(NamedTuple):
    kind: str
    text: str
    start: int


class Reading(msgspec.Struct, frozen=True):
    """What one expression reads. A path is a root and the members that follow it for certain."""

    source: str
    """For the binding: `loop` renamed, and the range of `map` and `filter` held to be a list.

    The binding runs over a map in an order that differs each time; `RANGE + []` fails for all but lists.
    """
    paths: tuple[Path, ...]
    inner_paths: tuple[Path, ...]
    """Those read inside a macro's body, once for each element."""
    steps: tuple[str | int, ...] | None
    """Of an expression that is nothing but a path."""
    macro_depth: int = 0
    copying: bool = False
    """Has a macro that builds a list, which the binding does in quadratic time."""


class _Level(msgspec.Struct):
    """An open bracket."""

    bracket: str
    operand: int = 0
    """Where the operand begins that is being read."""
    chain: int = 0
    macro: str = ""
    bound: str = ""
    """The name its macro binds, from the first comma on."""


def read_expression(source: str) -> Reading:
    """Raises: ValueError, with a text for the author."""
    if len(source) > MAX_LENGTH:
        raise ValueError(f"an expression may have {MAX_LENGTH:,} characters, this one has {len(source):,}")
    tokens = tokenize(source)
    if not tokens:
        raise ValueError("the expression is empty")
    return _Reader(source, tokens).read()


def tokenize(source: str) -> list[Token]:
    """Without space and comments. Raises: ValueError."""
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        token = _token_at(source, at, len(source))
        at += len(token.text)
        if token.kind != "space":
            tokens.append(token)
    return tokens


def closing_brace(text: str, start: int) -> int:
    """Where the `}` stands that ends an expression beginning at `start`. Raises: ValueError."""
    end = min(len(text), start + MAX_LENGTH + 1)
    depth = 0
    at = start
    while at < end:
        token = _token_at(text, at, end)
        if token.text == "{":
            depth += 1
        elif token.text == "}":
            if depth == 0:
                return at
            depth -= 1
        at += len(token.text)
    if end < len(text):
        raise ValueError(f"an expression may have {MAX_LENGTH:,} characters, or its closing brace is missing")
    raise ValueError("the closing brace of ${ is missing")


def _token_at(source: str, at: int, end: int) -> Token:
    match = _TOKEN.match(source, at, end)
    if match is not None:
        return Token(str(match.lastgroup), match.group(), at)
    if source[at] in "\"'":
        raise ValueError(f"the text that begins at character {at + 1} is not closed")
    hint = "; write a condition without ${ }" if source[at] == "$" else ""
    raise ValueError(f"{source[at]!r} at character {at + 1} is not part of the language{hint}")


class _Reader:
    """One pass over the tokens with a stack of open brackets."""

    def __init__(self, source: str, tokens: list[Token]) -> None:
        self.source = source
        self.tokens = tokens
        self.levels = [_Level("")]
        self.operators = 0
        self.paths: list[Path] = []
        self.inner: list[Path] = []
        self.edits: list[tuple[int, int, str]] = []
        """(from, to, text): what the binding gets in place of what is written."""
        self.listings = 0
        self.macro_depth = 0
        self.copying = False

    def read(self) -> Reading:
        for index, token in enumerate(self.tokens):
            if index == 0 or self._is_between(index - 1):
                self.levels[-1].operand = token.start
            if token.kind == "name":
                self._name(index, token.text)
            elif token.kind == "op":
                self._operator(index, token.text)
        return Reading(
            source=self._edited(),
            paths=tuple(dict.fromkeys(self.paths)),
            inner_paths=tuple(dict.fromkeys(self.inner)),
            steps=self._steps(),
            macro_depth=self.macro_depth,
            copying=self.copying,
        )

    def _edited(self) -> str:
        parts: list[str] = []
        at = 0
        for start, end, text in sorted(self.edits):
            parts += self.source[at:start], text
            at = end
        return "".join((*parts, self.source[at:]))

    def _is_between(self, index: int) -> bool:
        """Whether an operand begins behind this token."""
        token = self.tokens[index]
        if token.kind == "name":
            return token.text == "in" and self._text(index - 1) != "."
        return token.kind == "op" and token.text != "." and token.text not in _CLOSING

    def _text(self, index: int) -> str:
        return self.tokens[index].text if 0 <= index < len(self.tokens) else ""

    def _operator(self, index: int, text: str) -> None:
        if text in _CLOSING:
            if self.levels[-1].bracket != _CLOSING[text]:
                raise ValueError(f"{text!r} at character {self.tokens[index].start + 1} closes nothing")
            self.levels.pop()
        elif text in "([{":
            self._open(index, text)
        elif text == ".":
            self._link()
            if index == 0 or (self.tokens[index - 1].kind == "op" and self._text(index - 1) not in _CLOSING):
                raise ValueError("a name cannot begin with a dot")
        else:
            self._between(text)

    def _between(self, text: str) -> None:
        """An operator, comma or colon: a new operand begins."""
        self.levels[-1].chain = 0
        if text in _OPERATORS:
            self.operators += 1
            if self.operators > MAX_OPERATORS:
                raise ValueError(f"an expression may have {MAX_OPERATORS} operators")

    def _link(self) -> None:
        self.levels[-1].chain += 1
        if self.levels[-1].chain > MAX_CHAIN:
            raise ValueError(f"more than {MAX_CHAIN} members in a row")

    def _open(self, index: int, bracket: str) -> None:
        named = index > 0 and self.tokens[index - 1].kind == "name" and self._text(index - 1) not in KEYWORDS
        if bracket == "{" and named:
            raise ValueError("message literals are not supported, only maps such as {'a': 1}")
        if bracket == "[":
            self._link()
        level = _Level(bracket)
        if bracket == "(" and self._text(index - 1) in MACROS and self._text(index - 2) == ".":
            level.macro = self._text(index - 1)
            self._bind(index, level)
        self.levels.append(level)
        if len(self.levels) > MAX_NESTING + 1:
            raise ValueError(f"an expression may nest {MAX_NESTING} levels deep")
        depth = sum(1 for each in self.levels if each.macro)
        self.macro_depth = max(self.macro_depth, depth)
        if depth > MAX_MACROS:
            raise ValueError(f"macros may nest {MAX_MACROS} deep")

    def _bind(self, index: int, level: _Level) -> None:
        variable = self._text(index + 1)
        named = index + 1 < len(self.tokens) and self.tokens[index + 1].kind == "name"
        if not named or self._text(index + 2) != ",":
            raise ValueError(f"the first argument of .{level.macro}() must be a plain name")
        if variable in STANDARD_ROOTS or variable == "secrets":
            raise ValueError(f".{level.macro}() cannot bind {variable!r}, it would hide the root of this name")
        level.bound = variable
        if level.macro in LISTING:
            self._hold_to_lists(self.tokens[index - 2].start)

    def _hold_to_lists(self, dot: int) -> None:
        self.copying = True
        self.listings += 1
        if self.listings > MAX_LISTINGS:
            raise ValueError(f"an expression may have {MAX_LISTINGS} times map and filter")
        begin = self.levels[-1].operand
        self.edits += (begin, begin, "("), (dot, dot, " + [])")

    def _name(self, index: int, text: str) -> None:
        before, behind = self._text(index - 1), self._text(index + 1)
        if text == "in" and before != ".":
            self._between(text)
            return
        # What follows a dot is a member; a name before a bracket is a function's; the rest stand for themselves.
        if (before == "." and index) or behind == "(" or text in KEYWORDS:
            return
        if any(level.bound == text for level in self.levels):
            return
        path = self._path(index)
        if text in TYPE_NAMES and len(path) == 1:
            return
        if text == "secrets":
            raise ValueError("secrets can only be written as ${secrets.NAME} in a request's url, headers or body")
        if text == "nodes" and len(path) == 1:
            raise ValueError("nodes can only be read as nodes.CODE or nodes['CODE']")
        if text == "loop":
            start = self.tokens[index].start
            self.edits.append((start, start + len(text), LOOP))
        self.paths.append(path)
        if any(level.macro for level in self.levels):
            self.inner.append(path)

    def _path(self, index: int) -> Path:
        path = [self.tokens[index].text]
        index += 1
        while True:
            step = self._step(index)
            if not isinstance(step[0], str):
                return tuple(path)
            path.append(step[0])
            index = step[1]

    def _step(self, index: int) -> tuple[str | int | None, int]:
        """The member named at `index`, by `.name` or `["name"]` or `[1]`, and the index behind it."""
        rest = self.tokens[index : index + 4]
        if len(rest) >= 2 and rest[0].text == "." and rest[1].kind == "name":
            if self._text(index + 2) == "(":
                return None, index
            return rest[1].text, index + 2
        if len(rest) >= 3 and rest[0].text == "[" and rest[2].text == "]":
            literal = rest[1]
            if literal.kind == "string" and literal.text[0] in "\"'" and len(literal.text) > 2:
                inside = literal.text[1:-1]
                if "\\" not in inside and inside[0] not in "\"'":
                    return inside, index + 3
            if literal.kind == "number" and literal.text.isdigit() and len(literal.text) < 10:
                return int(literal.text), index + 3
        return None, index

    def _steps(self) -> tuple[str | int, ...] | None:
        if self.tokens[0].kind != "name" or len(self.paths) != 1:
            return None
        steps: list[str | int] = [self.tokens[0].text]
        index = 1
        while index < len(self.tokens):
            step, index = self._step(index)
            if step is None:
                return None
            steps.append(step)
        return tuple(steps)
