"""JSON Schemas: compiled once, checked often. Draft 2020-12 unless `$schema` says another.

Nothing is ever fetched: a `$ref` reaches only into its own document. Patterns run in linear time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from penstock.core.pointers import pointer_to
from penstock.errors import Problem

MAX_PROBLEMS = 100
MAX_ECHO = 100
MAX_MESSAGE = 300
MAX_REFERENCES = 32
"""References to references."""
MAX_DEPTH = 200
"""Of values that are coerced."""
MAX_APPLIED = 10_000
"""Subschemas one value may have to be checked against; references to references can multiply without end."""

_VALUE = "<value>"
_IN_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_IN_PLACE = ("not", "if", "then", "else")
_BELOW_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_BELOW_LISTS = ("prefixItems", "items")
_BELOW = ("items", "additionalItems", "additionalProperties", "contains", "propertyNames", "unevaluatedItems")


class Checker:
    """A compiled schema."""

    def __init__(self, validator: jsonschema_rs.Validator) -> None:
        self._validator = validator

    def check(self, value: Any, pointer: str = "") -> list[Problem]:
        """Every problem, at most `MAX_PROBLEMS`; `pointer` is where the value stands."""
        try:
            errors = list(islice(self._validator.iter_errors(value), MAX_PROBLEMS))
        except (ValueError, TypeError, RecursionError) as error:
            return [Problem(pointer, f"the value cannot be checked: {error}"[:MAX_MESSAGE], "schema")]
        return [
            Problem(pointer + pointer_to(error.instance_path), _message(error), f"schema.{error.kind.name}")
            for error in errors
        ]


def compile_schema(schema: Any) -> Checker:
    """Raises: ValueError, with a text for the author."""
    if not isinstance(schema, (dict, bool)):
        raise ValueError("a JSON Schema is a map")  # noqa: TRY004 - what is wrong is the author's value
    if isinstance(schema, dict) and _Counter(schema).applied() > MAX_APPLIED:
        raise ValueError(f"its references multiply to more than {MAX_APPLIED:,} checks of one value")
    try:
        validator = jsonschema_rs.validator_for(
            schema,
            mask=_VALUE,
            offline=True,
            validate_formats=True,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=1024 * 1024),
        )
    except jsonschema_rs.ValidationError as error:
        where = pointer_to(error.instance_path)
        raise ValueError((f"at {where}: " if where else "") + _message(error)) from None
    except (jsonschema_rs.ReferencingError, ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the schema cannot be used: {error}"[:MAX_MESSAGE]) from None
    return Checker(validator)


def coerce(schema: Any, value: Any) -> Any:
    """The value with integers made floats where the schema says `number`; what does not change is not copied.

    Follows `properties`, `items`, `prefixItems`, `additionalProperties` and local `$ref`s.
    """
    return _coerce(schema, [schema], value, 0)


def _coerce(root: Any, schemas: list[Any], value: Any, depth: int) -> Any:
    """Every value is visited once, with all the schemas that apply to it: they cannot multiply."""
    kind = value.__class__
    if kind is not int and kind is not dict and kind is not list:
        return value
    schemas = _resolved(root, schemas)
    if not schemas or depth > MAX_DEPTH:
        return value
    if kind is int:
        return _as_float(value) if any(_says_number(each) for each in schemas) else value
    if kind is dict:
        return _coerce_map(root, schemas, value, depth)
    return _coerce_list(root, schemas, value, depth)


def _coerce_map(root: Any, schemas: list[dict[str, Any]], value: dict[str, Any], depth: int) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for key, each in value.items():
        below = []
        for schema in schemas:
            properties = schema.get("properties")
            rest = schema.get("additionalProperties")
            below.append(properties.get(key, rest) if isinstance(properties, dict) else rest)
        coerced = _coerce(root, below, each, depth + 1)
        if coerced is not each:
            changed[key] = coerced
    return {**value, **changed} if changed else value


def _coerce_list(root: Any, schemas: list[dict[str, Any]], value: list[Any], depth: int) -> list[Any]:
    tuples = []
    for schema in schemas:
        first, rest = schema.get("prefixItems"), schema.get("items")
        if isinstance(rest, list):  # Drafts before 2020-12.
            first, rest = rest, schema.get("additionalItems")
        tuples.append((first if isinstance(first, list) else [], rest))
    coerced = [
        _coerce(root, [first[index] if index < len(first) else rest for first, rest in tuples], each, depth + 1)
        for index, each in enumerate(value)
    ]
    return value if all(new is old for new, old in zip(coerced, value, strict=True)) else coerced


def _resolved(root: Any, schemas: list[Any]) -> list[dict[str, Any]]:
    """The schemas and what they refer to, each once."""
    found: list[dict[str, Any]] = []
    for schema in schemas:
        for _ in range(MAX_REFERENCES):
            if not isinstance(schema, dict) or any(schema is each for each in found):
                break
            found.append(schema)
            reference = schema.get("$ref")
            schema = _resolve(root, reference) if isinstance(reference, str) else None  # noqa: PLW2901
    return found


def _says_number(schema: dict[str, Any]) -> bool:
    kinds = schema.get("type")
    return kinds == "number" or (isinstance(kinds, list) and "number" in kinds)


def _as_float(value: int) -> float | int:
    try:
        return float(value)
    except OverflowError:
        return value


def _resolve(root: Any, reference: str) -> Any:
    """What a local reference points at, None when there is nothing or it is not local."""
    if reference == "#":
        return root
    if not reference.startswith("#/"):
        return None
    found = root
    for step in unquote(reference[2:]).split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and len(name) < 9 and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found


class _Counter:
    """How many subschemas at most are applied to one and the same value."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.counts: dict[int, int] = {}

    def applied(self) -> int:
        """The most of all places in the schema."""
        most = 0
        todo: list[tuple[Any, int]] = [(self.root, 0)]
        while todo:
            schema, depth = todo.pop()
            if isinstance(schema, dict) and depth <= 2 * MAX_REFERENCES:
                most = max(most, self.count(schema, 0))
                todo.extend((each, depth + 1) for each in (*_below(schema), *_beside(schema)))
        return most

    def count(self, schema: Any, depth: int) -> int:
        if not isinstance(schema, dict):
            return 1
        if depth > 4 * MAX_REFERENCES:
            return MAX_APPLIED + 1
        known = self.counts.get(id(schema))
        if known is not None:
            return known
        self.counts[id(schema)] = 1  # A reference back to here adds nothing: the validator stops at it too.
        total = 1 + sum(self.count(each, depth + 1) for each in _beside(schema))
        for name in ("$ref", "$dynamicRef"):
            reference = schema.get(name)
            if isinstance(reference, str):
                total += self.count(_resolve(self.root, reference), depth + 1)
        self.counts[id(schema)] = min(total, MAX_APPLIED + 1)
        return self.counts[id(schema)]


def _beside(schema: dict[str, Any]) -> Iterator[Any]:
    """Subschemas for the same value."""
    for name in _IN_PLACE_LISTS:
        below = schema.get(name)
        if isinstance(below, list):
            yield from below
    for name in _IN_PLACE:
        if name in schema:
            yield schema[name]


def _below(schema: dict[str, Any]) -> Iterator[Any]:
    for name in _BELOW_MAPS:
        below = schema.get(name)
        if isinstance(below, dict):
            yield from below.values()
    for name in _BELOW_LISTS:
        below = schema.get(name)
        if isinstance(below, list):
            yield from below
    for name in _BELOW:
        if isinstance(schema.get(name), dict):
            yield schema[name]


def _message(error: jsonschema_rs.ValidationError) -> str:
    """The library's text, with the value where it is short."""
    message = error.message
    if message.startswith(_VALUE):
        value = error.instance
        shown = json.dumps(value, ensure_ascii=False) if not isinstance(value, (dict, list)) else "the value"
        message = (shown if len(shown) <= MAX_ECHO else "the value") + message[len(_VALUE) :]
    return message if len(message) <= MAX_MESSAGE else message[: MAX_MESSAGE - 3] + "..."
