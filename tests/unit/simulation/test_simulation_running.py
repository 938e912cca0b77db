"""Cases of every kind of node and command: a small definition, what is said to it, what must come of it."""

from __future__ import annotations

import random

import pytest

from penstock.core import commands as do
from penstock.core.loading import read_document
from penstock.simulation import run_case
from penstock.simulation.process import _HANDLERS

CHILD = """
penstock: 1
code: child
nodes:
  work: {kind: job, topic: child.work, input: {n: "${input.n}"}}
  broken: {kind: end, end: error, error: BAD}
flows: [{from: work, to: broken, if: work == 'bad'}, {from: work, to: fine, default: true}]
output: {got: "${work}"}
""".replace("  broken:", "  fine: {kind: end}\n  broken:")

CALLING = """
nodes:
  sub: {kind: call, definition: child, input: {n: 1}, on_error: {BAD: sorry}}
  sorry: {kind: set, vars: {sorry: true}}
  keep: {kind: set, vars: {sub: "${sub}"}}
flows: [{from: sub, to: keep}]
output: "${vars}"
"""
TWO = "nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}}\nflows: [{from: a, to: b}]\noutput: {b: '${b}'}"
EACH = """
nodes:
  all: {kind: scope, for_each: "${input.n}", as: n, output: "${one}", nodes: {one: {kind: job, topic: t, input: "${n}"}}}
output: {all: "${all}"}
"""
FORM = """
tasks: {T: {schema: {type: object, required: [x], properties: {x: {type: number}}}}}
nodes: {ask: {kind: item, task: T, input: {q: 1}}}
output: {x: "${ask.x}"}
"""
EVENT = """
nodes:
  wait: {kind: gateway, gateway: event}
  paid: {kind: message, message: paid, key: "${input.id}"}
  late: {kind: timer, after: P3D}
flows: [{from: wait, to: paid}, {from: wait, to: late}]
"""
REMINDED = """
nodes:
  ask: {kind: message, message: answer, key: k}
  nudge: {kind: boundary, attached_to: ask, message: nudge, interrupting: false}
  note: {kind: job, topic: note}
flows: [{from: nudge, to: note}]
"""
RETRIED = "nodes: {a: {kind: job, topic: t, retry: {max_attempts: 3, delay: PT10S, factor: 2, timeout: PT1M}}}"
SIGNALLED = "nodes: {a: {kind: message, signal: go}, b: {kind: message, signal: go}}\noutput: {a: '${a}', b: '${b}'}"
STARTED = "nodes: {s: {kind: start, message: born}, a: {kind: job, topic: t}}\nflows: [{from: s, to: a}]"
LOOP = "nodes: {a: {kind: job, topic: t}, b: {kind: timer, after: P1D}}\nflows: [{from: a, to: b, if: a}, {from: b, to: a}, {from: a, to: c, default: true}]".replace(
    "b: {kind: timer", "c: {kind: end}, s: {kind: start}, b: {kind: timer"
).replace("flows: [", "flows: [{from: s, to: a}, ")
SCOPED = """
nodes:
  box: {kind: scope, nodes: {in1: {kind: job, topic: t}, in2: {kind: timer, after: PT1H}}, on_error: {BAD: out}}
  out: {kind: job, topic: u}
  after: {kind: set, vars: {done: true}}
flows: [{from: box, to: after}, {from: out, to: after}]
"""

# definition, case, what is expected of it
CASES = {
    "robot": (
        "nodes: {r: {kind: robot, robot: arm, input: {x: 1}}}",
        {"answers": {"robot:arm": {"output": 1}}},
        {"path": ["r"], "inputs": {"r": {"x": 1}}},
    ),
    "endpoint that is busy, then answers": (
        "nodes: {h: {kind: http, url: 'https://x.example', retry: {delay: PT2S}}}\noutput: {h: '${h}'}",
        {"answers": {"h": [{"status": 503}, {"output": {"id": 7}}]}},
        {"result": {"h": {"id": 7}}, "duration": "PT2S"},
    ),
    "endpoint that refuses for good": (
        "nodes: {h: {kind: http, url: 'https://x.example'}}",
        {"answers": {"h": {"status": 422}}},
        {"incidents": [{"node": "h", "type": "HTTP422", "message": "answered 422"}], "duration": "PT0S"},
    ),
    "form is coerced": (FORM, {"answers": {"ask": {"output": {"x": 1}}}}, {"result": {"x": 1.0}}),
    "answers one after the other, by topic": (
        TWO,
        {"answers": {"t": [{"output": 1}, {"output": 2}]}},
        {"result": {"b": 2}},
    ),
    "the last of a list stays": (EACH, {"input": {"n": [1, 2, 3]}, "answers": {"one": [{"output": 0}, {"output": "${input * 2}"}]}}, {"result": {"all": [0, 4, 6]}}),
    "conditions": (
        EACH,
        {
            "input": {"n": [1, 2, 3]},
            "answers": {"one": [{"when": "input == 2", "output": "two"}, {"when": "visit == 3", "output": "third"}, {"output": "other"}]},
        },
        {"result": {"all": ["other", "two", "third"]}},
    ),
    "many elements, in chunks": (
        EACH,
        {"input": {"n": list(range(300))}, "answers": {"one": {"output": "${input}", "increments": ["n"]}}},
        {"result": {"all": list(range(300))}, "path": ["all", "one * 300"], "values": {"n": 300}},
    ),
    "elements end in the order of their answers": (
        EACH,
        {"input": {"n": [3, 1, 2]}, "answers": {"one": [{"when": "input == 3", "after": "PT3S", "output": 3}, {"output": 0}]}},
        {"result": {"all": [3, 0, 0]}, "duration": "PT3S"},
    ),
    "no elements at all": (EACH, {"input": {"n": []}}, {"result": {"all": []}, "path": ["all"]}),
    "timer until": (
        "nodes: {w: {kind: timer, until: '2026-01-03T00:00:00+01:00'}}",
        {},
        {"duration": "P1DT23H"},
    ),
    "timer until what is past": ("nodes: {w: {kind: timer, until: '2020-01-01T00:00:00Z'}}", {}, {"duration": "PT0S"}),
    "a month from the end of January": (
        "nodes: {w: {kind: timer, after: P1M}}",
        {"now": "2026-01-31T00:00:00Z"},
        {"duration": "P1M"},
    ),
    "message in time": (EVENT, {"input": {"id": 7}, "send": [{"message": "paid", "key": 7, "at": "P1D"}]}, {"path": ["wait", "paid"], "duration": "P1D"}),
    "message too late": (
        EVENT,
        {"input": {"id": "7"}, "send": [{"message": "paid", "key": "7", "at": "P4D", "taken": False}]},
        {"path": ["wait", "late"], "duration": "P3D"},
    ),
    "message kept for a waiter": (
        "nodes: {w: {kind: timer, after: PT30M}, m: {kind: message, message: paid, key: k}}\nflows: [{from: w, to: m}]\noutput: {m: '${m}'}",
        {"send": [{"message": "paid", "key": "k", "payload": {"n": 1}}, {"message": "paid", "key": "k", "payload": {"n": 2}, "taken": False}]},
        {"result": {"m": {"n": 1}}},
    ),
    "message expired": (
        "nodes: {w: {kind: timer, after: PT30M}, m: {kind: message, message: paid, key: k}}\nflows: [{from: w, to: m}]",
        {"send": [{"message": "paid", "key": "k", "ttl": "PT1M", "taken": False}]},
        {"open": ["m"]},
    ),
    "message known by its id": (
        REMINDED,
        {
            "answers": {"note": {}},
            "send": [
                {"message": "nudge", "id": "1"},
                {"message": "nudge", "id": "1", "at": "PT1M", "taken": False},
                {"message": "nudge", "id": "2", "at": "PT2M"},
                {"message": "answer", "key": "k", "at": "PT3M"},
            ],
        },
        {"path": ["ask", "nudge", "note", "nudge", "note"], "duration": "PT3M"},
    ),
    "signal to everyone": (
        SIGNALLED,
        {"send": [{"signal": "go", "payload": 1, "at": "PT1S"}]},
        {"result": {"a": 1, "b": 1}},
    ),
    "signals are not kept": (
        "nodes: {w: {kind: timer, after: PT1S}, a: {kind: message, signal: go}}\nflows: [{from: w, to: a}]",
        {"send": [{"signal": "go", "taken": False}]},
        {"open": ["a"], "status": "RUNNING"},
    ),
    "started by a message": (
        STARTED,
        {"start": "born", "input": {"x": 1}, "answers": {"a": {}}},
        {"path": ["s", "a"]},
    ),
    "a message that starts another one": (
        STARTED,
        {"start": "born", "answers": {"a": {"after": "PT1M"}}, "send": [{"message": "born"}]},
        {"path": ["s", "a"], "duration": "PT1M"},
    ),
    "called definition": (CALLING, {"answers": {"work": {"output": "ok"}}}, {"result": {"sub": {"got": "ok"}}, "path": ["sub", "keep"]}),
    "called definition throws": (
        CALLING,
        {"answers": {"child/work": {"output": "bad"}}},
        {"vars": {"sorry": True}, "path_includes": ["sub", "sorry"], "incidents": []},
    ),
    "answer in place of the called one": (CALLING, {"answers": {"sub": {"output": {"x": 1}, "after": "PT1H"}}}, {"result": {"sub": {"x": 1}}, "duration": "PT1H"}),
    "throw in place of the called one": (CALLING, {"answers": {"sub": {"throw": "BAD"}}}, {"vars": {"sorry": True}}),
    "failure in place of the called one": (
        CALLING,
        {"answers": {"sub": {"fail": {"type": "Lost", "message": "no ship"}}}},
        {"incidents": [{"node": "sub", "type": "ChildTerminated", "message": "no ship"}]},
    ),
    "incident in the called one, retried there": (
        CALLING,
        {
            "answers": {"work": [{"fail": {"type": "X", "permanent": True}}, {"output": "ok"}]},
            "commands": [{"do": "retry", "of": "child", "at": "PT1M"}],
        },
        {"result": {"sub": {"got": "ok"}}, "duration": "PT1M"},
    ),
    "incident in the called one": (
        CALLING,
        {"answers": {"work": {"fail": {"type": "X", "permanent": True}}}},
        {"incidents": [{"node": "child/work"}], "status": "RUNNING"},
    ),
    "cancelled with the called one": (
        CALLING,
        {"answers": {"work": {"after": "PT1H"}}, "commands": [{"do": "cancel", "at": "PT1M"}]},
        {"status": "CANCELLED", "duration": "PT1M"},
    ),
    "retries have no jitter": (RETRIED, {"answers": {"a": [{"fail": "X", "times": 2}, {}]}}, {"duration": "PT30S"}),
    "a delay of the worker's own": (RETRIED, {"answers": {"a": [{"fail": {"delay": "PT5S"}}, {}]}}, {"duration": "PT5S"}),
    "an attempt takes too long": (
        RETRIED,
        {"answers": {"a": [{"after": "PT2M"}, {"after": "PT20S", "output": 1}]}},
        {"duration": "PT1M30S", "path": ["a"]},
    ),
    "nobody answers in time": (RETRIED, {}, {"incidents": [{"node": "a", "type": "Timeout"}], "duration": "PT3M30S"}),
    "a loop that ends": (LOOP, {"answers": {"a": [{"output": True, "times": 3}, {"output": False}]}}, {"path_includes": ["a", "b", "a", "b", "a", "b", "a", "c"], "duration": "P3D"}),
    "error out of a scope": (
        SCOPED,
        {"answers": {"in1": {"throw": {"code": "BAD", "message": "no", "data": {"x": "${attempt}"}}, "after": "PT1M"}, "u": {}}},
        {"path": ["box", "in1", "in2", "box__error_BAD", "out", "after"], "vars": {"done": True}, "duration": "PT1M"},
    ),
    "restart": (
        SCOPED,
        {"answers": {"in1": {}, "u": {}}, "commands": [{"do": "restart", "node": "in1", "at": "PT30M"}, {"do": "restart", "node": "box", "at": "PT45M"}]},
        {"path": ["box", "in1", "in2", "in1", "box", "in1", "in2", "after"], "duration": "PT1H45M"},
    ),
    "skip and debug": (
        TWO,
        {"commands": [{"do": "skip", "node": "a"}, {"do": "debug", "node": "b", "output": 5, "at": "PT1S"}]},
        {"result": {"b": 5}},
    ),
    "debug with an input": (
        TWO,
        {"answers": {"a": {}, "b": [{"when": "attempt == 1", "after": "PT1H"}, {"output": "${input.x}"}]}, "commands": [{"do": "debug", "visit": 2, "input": {"x": 9}}]},
        {"result": {"b": 9}, "inputs": {"b": {"x": 9}}},
    ),
    "suspended, kept, resumed": (
        TWO,
        {"answers": {"a": {"after": "PT1M"}, "b": {"output": 1}}, "commands": [{"do": "suspend", "at": "PT30S"}, {"do": "resume", "at": "PT1H"}]},
        {"result": {"b": 1}, "duration": "PT1H"},
    ),
    "suspended for good": (TWO, {"answers": {"a": {"after": "PT1M"}}, "commands": [{"do": "suspend"}]}, {"status": "SUSPENDED"}),
    "terminated, with grace": (
        TWO,
        {"answers": {"a": {"after": "PT10S"}}, "commands": [{"do": "terminate", "at": "PT1S"}]},
        {"status": "TERMINATED", "duration": "PT10S"},
    ),
    "terminated when the grace is over": (
        TWO,
        {"answers": {"a": {"after": "PT10M"}}, "commands": [{"do": "terminate", "at": "PT1S"}]},
        {"status": "TERMINATED", "duration": "PT31S"},
    ),
    "driven by a client": (
        "driver: client",
        {"commands": [{"do": "complete", "output": 3, "at": "PT1S"}]},
        {"result": 3, "duration": "PT1S"},
    ),
    "refused command": (
        TWO,
        {"answers": {"t": {}}, "commands": [{"do": "cancel", "refused": True}]},
        {"status": "COMPLETED"},
    ),
    "looked at half-way": (TWO, {"answers": {"a": {"after": "P2D"}}, "until": "P1D"}, {"status": "RUNNING", "duration": "P1D"}),
    "who is waited for half-way": (TWO, {"answers": {"a": {"after": "P2D"}}, "until": "P1D"}, {"open": ["a"]}),
    "input that does not fit": (
        "data: {input: {type: object, required: [x]}}\nnodes: {a: {kind: end}}",
        {},
        {"refused": "x"},
    ),
    "durations between bounds": ("nodes: {w: {kind: timer, after: PT1H}}", {}, {"duration": {"at_least": "PT1H", "at_most": "PT2H"}}),
    "subset and equals": (
        "nodes: {a: {kind: set, metadata: {x: {y: 1, z: [1, {q: 2}]}}, entity: {includes: 1}}}",
        {},
        {"metadata": {"includes": {"x": {"z": [1, {}]}}}, "entity": {"equals": {"includes": 1}}},
    ),
    "values": (
        TWO,
        {"answers": {"t": {"values": {"last": "${visit}"}, "increments": ["n", "n"]}}},
        {"values": {"n": 4, "last": 1}},
    ),
}  # fmt: skip


def document(text):
    value, problems = read_document(text, "yaml")
    assert not problems
    return {"penstock": 1, "code": "test", **value}


@pytest.mark.parametrize("name", CASES)
def test_case_is_as_expected(name):
    definition, case, expect = CASES[name]
    report = run_case(document(definition), definitions=[CHILD], **case, expect=expect)
    assert report.check() is report


def test_cases_tell_the_same_story_in_any_order():
    def told(name):
        definition, case, expect = CASES[name]
        report = run_case(document(definition), definitions=[CHILD], **case, expect=expect)
        report.took = 0.0
        return report

    names = list(CASES)
    first = {name: told(name) for name in names}
    random.Random(1).shuffle(names)
    assert {name: told(name) for name in names} == first


def test_every_command_of_the_decider_is_carried_out():
    def below(kind):
        return {kind, *(each for sub in kind.__subclasses__() for each in below(sub))}

    of_visits = {do.OpenVisit, do.ChangeVisit}
    assert set(_HANDLERS) == below(do.Command) - {do.Command} - of_visits


def test_a_program_may_judge_by_itself():
    report = run_case(document(EACH), input={"n": [1, 2]}, answers={"t": {"output": "${input}"}}).check()
    assert (report.status, report.result, report.path, report.duration) == (
        "COMPLETED",
        {"all": [1, 2]},
        ["all", "one", "one"],
        0,
    )
    assert [(moment.node, moment.depth) for moment in report.timeline] == [("all", 0), ("one", 2), ("one", 2)]


def test_ten_thousand_elements_are_run_in_a_moment():
    report = run_case(document(EACH), input={"n": list(range(10_000))}, answers={"t": {"output": "${input}"}}).check()
    assert report.result == {"all": list(range(10_000))}
    assert report.took < 10
