"""The members of a definition's document: what the loader asks for while it reads a document that has one of each."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import yaml

from docs.reference.markdown import code, page, table
from penstock.core.loading import load
from penstock.core.members import Members
from penstock.core.nodes import _KINDS

DOCUMENT = """
penstock: 1
code: all
data: {input: {}}
permissions: {initiator: ["role:everyone"]}
tasks: {T: {name: T}}
nodes:
  job: {kind: job, topic: t, retry: {delay: PT1S}, on_timeout: {after: PT1S, to: end}, on_error: end}
  http: {kind: http, url: "https://example.com", body: {}}
  robot: {kind: robot, robot: r}
  item: {kind: item, task: T}
  timer: {kind: timer, timer: PT1S}
  message: {kind: message, message: m}
  call: {kind: call, definition: other}
  scope: {kind: scope, for_each: "${[1]}", as: each, nodes: {inner: {kind: set, vars: {a: 1}}}, flows: []}
  set: {kind: set, vars: {a: 1}}
  gateway: {kind: gateway, gateway: exclusive}
  boundary: {kind: boundary, attached_to: job, timer: PT1S}
  start: {kind: start}
  end: {kind: end}
flows:
  - {from: start, to: job}
  - {from: start, to: http}
  - {from: start, to: robot}
  - {from: start, to: item}
  - {from: start, to: timer}
  - {from: start, to: message}
  - {from: start, to: call}
  - {from: start, to: scope}
  - {from: start, to: set}
  - {from: start, to: gateway}
  - {from: gateway, to: end}
  - {from: boundary, to: end}
"""

INTRODUCTION = """
What the loader asks for when it reads a document; any other member is refused by name. What the members do: [definitions](../definitions.md).
*Template* is JSON whose texts may hold `${…}`; *expression* is CEL as it is.
"""

SAID = {
    "penstock": "the number 1",
    "on_error": "code of a node, or a map of error code to one",
    "body": "template",
}
"""Of what the loader looks at as it stands."""

READERS = {
    "raw": "JSON", "text": "one line of text", "label": "text, or a map by language", "mapping": "map", "sequence": "list",
    "schema": "JSON Schema", "grantees": "list of grantees", "duration": "duration", "milliseconds": "duration",
    "expression": "expression", "template": "template", "compiled": "template", "text_template": "text template",
    "duration_template": "duration, or a template of one", "time_template": "RFC 3339 time, or a template of one",
    "code": "code", "boolean": "true or false", "integer": "whole number", "number": "number",
}  # fmt: skip


def made() -> str:
    found = asked()
    kinds = [*_KINDS, "scope"]
    every = set.intersection(*(set(found[f"/nodes/{kind}"]) for kind in kinds if kind != "gateway"))
    parts = [INTRODUCTION]
    for title, place in {
        "The document": "", "`data`": "/data", "`permissions`": "/permissions", "A task": "/tasks/T",
        "A flow": "/flows/0",
    }.items():  # fmt: skip
        parts += [f"## {title}", members(found[place])]
    kind = {"kind": {"reader": "choice", "choices": kinds}}
    common = kind | {name: found["/nodes/job"][name] for name in found["/nodes/job"] if name in every}
    parts += ["## Every node", "A gateway has no `join`: it follows from its kind.", members(common)]
    for kind in kinds:
        own = {name: how for name, how in found[f"/nodes/{kind}"].items() if name not in {*every, "kind"}}
        parts += [f"### {kind}", members(own) if own else "Nothing of its own."]
    parts += [
        "## `retry`",
        members(found["/nodes/job/retry"]),
        "## `on_timeout`",
        members(found["/nodes/job/on_timeout"]),
    ]
    return page("The format of definitions", *parts)


def members(asked: dict[str, dict[str, Any]]) -> str:
    rows = [
        (code(name), SAID.get(name) or told(how), "needed" if how.get("required") else given(how))
        for name, how in asked.items()
    ]
    return table(("member", "what", "default"), rows)


def told(how: dict[str, Any]) -> str:
    if how["reader"] == "choice":
        return "one of " + ", ".join(code(each) for each in how["choices"])
    if how["reader"] == "matching":
        return str(how["what"])
    text = READERS[how["reader"]]
    if how["reader"] in {"integer", "number"}:
        text += (
            f", {how['lowest']:g} to {how['highest']:g}" if how["highest"] < 2**31 - 1 else f", from {how['lowest']}"
        )
    return text


def given(how: dict[str, Any]) -> str:
    value = how.get("default")
    if value is None or (how["reader"] == "milliseconds" and value < 0):
        return "needed" if how["reader"] == "choice" else ""
    if how["reader"] == "milliseconds":
        return code(f"PT{value / 1000:g}S")
    return code(str(value).lower() if isinstance(value, bool) else value)


def asked() -> dict[str, dict[str, dict[str, Any]]]:
    """Place -> member -> how it is read. Raises: AssertionError where a member is passed over."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    with recording(found):
        _, problems = load(yaml.safe_load(DOCUMENT))
    assert not [each for each in problems if not each.warning], problems
    return found


@contextmanager
def recording(found: dict[str, dict[str, dict[str, Any]]]) -> Iterator[None]:
    """Notes the outermost reader of each member: one reader may use another."""
    depth = 0

    def noted(reader: str, original: Any) -> Any:
        signature = inspect.signature(original)

        def read(self: Members, name: str | None, *args: Any, **more: Any) -> Any:
            nonlocal depth
            if depth == 0 and name is not None:
                bound = signature.bind(self, name, *args, **more)
                bound.apply_defaults()
                how = {**bound.arguments, "reader": reader}
                known = found.setdefault(self.pointer, {}).setdefault(name, how)
                if known["reader"] == "raw":  # looked at first, read then
                    found[self.pointer][name] = how
            depth += 1
            try:
                return original(self, name, *args, **more)
            finally:
                depth -= 1

        return read

    with patch.multiple(
        Members, **{reader: noted(reader, getattr(Members, reader)) for reader in [*READERS, "choice", "matching"]}
    ):
        yield
