"""Cases that must fail: what is said, and where. A check that cannot fail would be none."""

from __future__ import annotations

import pytest

from penstock.core.loading import read_document
from penstock.simulation import run_case, world
from penstock.simulation.comparing import MOST, Change, Row, aligned, changes, follows
from penstock.simulation.telling import text_of
from penstock.simulation.waiting import sample

JOBS = """
nodes: {a: {kind: job, topic: t, input: {x: 1}}, b: {kind: set, vars: {v: 1}, metadata: {m: [1, 2]}}}
flows: [{from: a, to: b}]
output: {got: "${a}"}
"""
FORM = """
tasks: {T: {schema: {type: object, required: [kind, n], properties: {kind: {enum: [x, y]}, n: {type: integer, minimum: 3}}}}}
nodes: {ask: {kind: item, task: T}}
"""
WAITS = "nodes: {e: {kind: gateway, gateway: event}, m: {kind: message, message: paid, key: k}, s: {kind: message, signal: go}}\nflows: [{from: e, to: m}, {from: e, to: s}]"
LOOP = "nodes: {s: {kind: start}, a: {kind: job, topic: t}}\nflows: [{from: s, to: a}, {from: a, to: a}]"
CALLING = "nodes: {c: {kind: call, definition: nowhere}}"
DONE = {"answers": {"a": {"output": {"n": 1}}}}

# definition, case, expect, kind of the difference, part of its text, where it points
FAILURES = {
    "status": (JOBS, DONE, {"status": "FAILED"}, "status", "expected FAILED, was COMPLETED", "/expect/status"),
    "result": (JOBS, DONE, {"result": {"got": {"n": 2}}}, "result", "/got/n: expected 2, was 1", "/expect/result"),
    "result, no subset": (JOBS, DONE, {"result": {"got": {}}}, "result", "/got/n: expected nothing, was 1", "/expect/result"),
    "result, subset": (JOBS, DONE, {"result": {"includes": {"x": 1}}}, "result", "/x: expected 1, was nothing", "/expect/result"),
    "true is no number": (JOBS, DONE, {"result": {"got": {"n": True}}}, "result", "expected true, was 1", "/expect/result"),
    "vars": (JOBS, DONE, {"vars": {"v": 2}}, "vars", "/v: expected 2, was 1", "/expect/vars"),
    "metadata": (JOBS, DONE, {"metadata": {"m": [1]}}, "metadata", "/m/1: expected nothing, was 2", "/expect/metadata"),
    "entity": (JOBS, DONE, {"entity": {}}, "entity", "it: expected {}, was null", "/expect/entity"),
    "values": (JOBS, DONE, {"values": {"n": 1}}, "values", "/n: expected 1, was nothing", "/expect/values"),
    "inputs": (JOBS, DONE, {"inputs": {"a": {"x": 2}}}, "inputs", "/x: expected 2, was 1", "/expect/inputs/a"),
    "inputs of nobody": (JOBS, {}, {"open": ["a"], "inputs": {"b": 1}}, "inputs", "b was given nothing", "/expect/inputs/b"),
    "path": (JOBS, DONE, {"path": ["a"]}, "path", "+           b", "/expect/path"),
    "path, other order": (JOBS, DONE, {"path": ["b", "a"]}, "path", "another path", "/expect/path"),
    "path includes": (JOBS, DONE, {"path_includes": ["b", "a"]}, "path", "a does not come in its place", "/expect/path_includes"),
    "path includes what was not run": (JOBS, {}, {"open": ["a"], "path_includes": ["b"]}, "path", "no token came to b", "/expect/path_includes"),
    "never": (JOBS, DONE, {"never": ["b"]}, "never", "b was run", "/expect/never/0"),
    "duration": (JOBS, DONE, {"duration": "PT1S"}, "duration", "expected PT1S, took PT0S", "/expect/duration"),
    "at least": (JOBS, DONE, {"duration": {"at_least": "PT1S"}}, "duration", "expected at least PT1S, took", "/expect/duration"),
    "at most": (JOBS, {"answers": {"a": {"after": "P1D"}}}, {"duration": {"at_most": "PT1S"}}, "duration", "expected at most PT1S, took P1D", "/expect/duration"),
    "incident nobody expected": (JOBS, {"answers": {"a": {"fail": {"type": "X", "message": "boom", "permanent": True}}}}, {"path": ["a"]}, "incident", "a (visit 1, attempt 1) has an incident: X: boom", ""),
    "incident of another type": (JOBS, {"answers": {"a": {"throw": "X"}}}, {"incidents": [{"node": "a", "type": "Y"}]}, "incident", "no incident at a of type Y", "/expect/incidents/0"),
    "incident that did not come": (JOBS, DONE, {"incidents": [{"node": "a", "message": "boom"}]}, "incident", "no incident at a with 'boom'", "/expect/incidents/0"),
    "an incident more": (JOBS, {"answers": {"a": {"throw": "X"}}}, {"status": "FAILED", "incidents": []}, "incident", "more than expected, at a: X", "/expect/incidents"),
    "open": (JOBS, {}, {"open": ["b"]}, "open", "other nodes wait", "/expect/open"),
    "refused": (JOBS, DONE, {"refused": True}, "refused", "was not", "/expect"),
    "refused for another reason": ("data: {input: {required: [x]}}\nnodes: {a: {kind: end}}", {"input": {}}, {"refused": "boom"}, "refused", "expected a refusal with 'boom', was: /input", "/expect/refused"),
    "start is refused": ("data: {input: {required: [x]}}\nnodes: {a: {kind: end}}", {"input": {}}, {"status": "COMPLETED"}, "refused", "the start was refused", "/input"),
    "unanswered job": (JOBS, {}, {"result": 1}, "unanswered", "a (visit 1) still waits for its worker (topic t)", ""),
    "answers used up": (LOOP, {"answers": {"a": {"times": 2}}}, {"status": "COMPLETED"}, "unanswered", "used up", ""),
    "unanswered item": (FORM, {}, {"status": "COMPLETED"}, "unanswered", "ask: {output: {kind: x, n: 3}}", ""),
    "unanswered message": (WAITS, {}, {"status": "COMPLETED"}, "unanswered", "- {message: paid, key: k, at: PT0S}", ""),
    "unanswered signal": (WAITS, {}, {"status": "COMPLETED"}, "unanswered", "- {signal: go, at: PT0S}", ""),
    "unknown definition": (CALLING, {}, {"status": "COMPLETED"}, "unanswered", "c (visit 1) still waits for nowhere, which is not here", ""),
    "no end": (LOOP, {"answers": {"a": {}}}, {"status": "COMPLETED"}, "endless", "comes to no end: a 501 times", ""),
    "message nobody takes": (JOBS, {**DONE, "send": [{"message": "m", "key": "k"}]}, {"status": "COMPLETED"}, "send", "nobody took the message m k", "/send/0"),
    "signal that should be ignored": ("nodes: {s: {kind: message, signal: go}}", {"send": [{"signal": "go", "taken": False}]}, {"status": "COMPLETED"}, "send", "was taken, and should not be", "/send/0"),
    "refused command": (JOBS, {**DONE, "commands": [{"do": "retry"}]}, {"status": "COMPLETED"}, "command", "retry was refused: cannot retry: the process is COMPLETED", "/commands/0"),
    "command that should be refused": (JOBS, {**DONE, "until": "PT1S", "answers": {"a": {"after": "P1D"}}, "commands": [{"do": "suspend", "refused": True}]}, {"status": "SUSPENDED"}, "command", "suspend was not refused", "/commands/0"),
    "command to nobody": (JOBS, {**DONE, "commands": [{"do": "skip", "node": "b"}]}, {"status": "COMPLETED"}, "command", "no open visit stands at 'b'", "/commands/0"),
    "condition that fails": (JOBS, {"answers": {"a": {"when": "input.y == 1"}}}, {"status": "RUNNING"}, "answer", "no such key: y", "/answers/a/when"),
    "condition that is none": (JOBS, {"answers": {"a": {"when": "input.x"}}}, {"status": "RUNNING"}, "answer", "gave int, not a bool", "/answers/a/when"),
    "output that fails": (JOBS, {"answers": {"a": {"output": "${input.y}"}}}, {"status": "RUNNING"}, "answer", "no such key: y", "/answers/a/output"),
    "form that does not fit": (FORM, {"answers": {"ask": {"output": {"kind": "x", "n": "${visit}"}}}}, {"status": "RUNNING"}, "answer", "the form of T: 1 is less than", "/answers/ask/output/n"),
    "no counter": (JOBS, {"answers": {"a": {"values": {"n": "x"}, "increments": ["n"]}}}, {"values": {}}, "values", "/n: expected nothing", "/expect/values"),
}  # fmt: skip


def document(text):
    value, problems = read_document(text, "yaml")
    assert not problems
    return {"penstock": 1, "code": "test", **value}


@pytest.mark.parametrize("name", FAILURES)
def test_failure_says_what_and_where(name, monkeypatch):
    monkeypatch.setattr(world, "MOST_STEPS", 500)
    definition, case, expect, kind, text, pointer = FAILURES[name]
    report = run_case(document(definition), **case, expect=expect)
    assert not report.ok
    found = [each for each in report.differences if each.kind == kind]
    assert found, report.differences
    assert any(each.pointer == pointer for each in found), found
    assert text in text_of(report)
    with pytest.raises(AssertionError, match=kind):
        report.check()


def test_a_counter_that_is_none_is_told():
    twice = "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}}\nflows: [{from: a, to: b}]"
    answers = {"a": {"values": {"n": "x"}}, "b": {"increments": ["n"]}}
    report = run_case(document(twice), answers=answers, expect={"status": "RUNNING"})
    assert [(each.kind, each.pointer) for each in report.differences] == [("answer", "/answers/b/increments")]


def test_unanswered_without_expectations_fails_the_check():
    with pytest.raises(AssertionError, match="still waits for its worker"):
        run_case(document(JOBS)).check()


@pytest.mark.parametrize(
    ("expected", "actual", "subset", "found"),
    [
        (1, 1.0, False, []),
        (None, None, False, []),
        ([1], [1, 2], True, [Change("/1", actual=2)]),
        ([1, 2], [1], True, [Change("/1", expected=2)]),
        ({"a": {"b": 1}}, {"a": {"b": 1, "c": 2}, "d": 3}, True, []),
        ({"a/b": 1}, {"a/b": 2}, False, [Change("/a~1b", 1, 2)]),
        ({}, [], False, [Change("", {}, [])]),
        (0, False, False, [Change("", 0, False)]),
        (list(range(50)), list(range(1, 51)), False, [Change(f"/{n}", n, n + 1) for n in range(MOST)]),
    ],
)
def test_changes_name_the_places(expected, actual, subset, found):
    assert changes(expected, actual, subset=subset) == found


@pytest.mark.parametrize(
    ("expected", "actual", "rows"),
    [
        ("abc", "abc", [(" ", "a", "a"), (" ", "b", "b"), (" ", "c", "c")]),
        ("ac", "abc", [(" ", "a", "a"), ("+", "", "b"), (" ", "c", "c")]),
        ("abc", "ac", [(" ", "a", "a"), ("-", "b", ""), (" ", "c", "c")]),
        ("axc", "abc", [(" ", "a", "a"), ("~", "x", "b"), (" ", "c", "c")]),
        ("aaab", "aaab", [(" ", "a * 3", "a * 3"), (" ", "b", "b")]),
        ("", "a", [("+", "", "a")]),
    ],
)
def test_paths_are_aligned(expected, actual, rows):
    assert aligned([*expected], [*actual]) == [Row(*row) for row in rows]


@pytest.mark.parametrize(
    ("wanted", "path", "missing"), [("ac", "abc", None), ("ca", "abc", "a"), ("", "", None), ("aa", "ab", "a")]
)
def test_follows_names_the_first_that_does_not(wanted, path, missing):
    assert follows(wanted, path) == missing


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (None, None),
        ({"const": 3}, 3),
        ({"enum": ["x"]}, "x"),
        ({"type": "array", "minItems": 2, "items": {"type": "integer", "minimum": 4}}, [4, 4]),
        ({"type": "object", "required": ["a"], "properties": {"a": {"type": "boolean"}, "b": {}}}, {"a": True}),
        ({"type": ["string", "null"], "format": "email"}, "ana@example.com"),
        ({"default": 1, "type": "string"}, 1),
    ],
)
def test_sample_is_what_the_schema_asks_for(schema, value):
    assert sample(schema) == value
