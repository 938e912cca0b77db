"""Which flows were taken, told by conditions alone: every kind of node with its kinds of flows."""

from __future__ import annotations

import pytest

from penstock.core.members import Source
from penstock.simulation.catalogue import known
from penstock.simulation.coverage import coverage, merged
from penstock.simulation.files import Suite
from penstock.simulation.reading import read_case

GATE = {"kind": "gateway", "gateway": "exclusive"}


def missed(gate, flows, answers, **more):
    """Targets that were not taken from `g`, after cases that give `a` these outputs."""
    nodes = {"a": {"kind": "job", "topic": "t"}, "g": gate, **{code: {"kind": "end"} for code in "xyz"}, **more}
    nodes = {code: node for code, node in nodes.items() if code in "ag" or any(flow["to"] == code for flow in flows)}
    document = {
        "penstock": 1,
        "code": "test",
        "nodes": nodes,
        "flows": [{"from": "a", "to": "g"}, *({"from": "g", **flow} for flow in flows)],
    }
    definition = known(document)
    all_known = {"test": definition}
    for answer in answers:
        source = Source()
        case = read_case(
            source,
            {"name": "c", "answers": {"a": {"output": answer}}, "expect": {"status": "COMPLETED"}},
            "",
            all_known,
            {},
        )
        assert not source.problems
        Suite("", all_known, (), lambda _: None).run(case)
    found = coverage(definition.version, definition.trail)
    assert found.flows == len(flows) + 1
    return {name.split(" → ")[1][0] for name in found.flows_missed}


def flow(to, condition=None, *, default=False):
    found = {"to": to}
    return {**found, **({"if": condition} if condition else {}), **({"default": True} if default else {})}


XY = [flow("x", "a == 1"), flow("y", "a == 2"), flow("z", default=True)]
FREE_SECOND = [flow("x", "a == 1"), flow("y"), flow("z", "a == 3")]
FREE_FIRST = [flow("y"), flow("x", "a == 1")]
PLAIN = {"kind": "set", "vars": {}}


@pytest.mark.parametrize(
    ("gate", "flows", "answers", "expected"),
    [
        (GATE, XY, [1], {"y", "z"}),
        (GATE, XY, [2], {"x", "z"}),
        (GATE, XY, [3], {"x", "y"}),
        (GATE, XY, [1, 2, 3], set()),
        (GATE, [flow("z", default=True), *XY[:2]], [1], {"y", "z"}),
        (GATE, [flow("x", "a == 1"), flow("z", default=True), flow("y", "a == 2")], [2], {"x", "z"}),
        (GATE, FREE_SECOND, [1], {"y", "z"}),
        (GATE, FREE_SECOND, [3], {"x", "z"}),
        (GATE, FREE_FIRST, [1], {"x"}),
        (GATE, [flow("z", default=True)], [1], set()),
        (GATE, [flow("z", default=True), flow("y")], [1], {"z"}),
        (PLAIN, XY, [1], {"y", "z"}),
        (PLAIN, XY, [3], {"x", "y"}),
        (PLAIN, FREE_SECOND, [1], {"z"}),
        (PLAIN, FREE_SECOND, [2], {"x", "z"}),
        (PLAIN, [flow("x"), flow("y", default=True)], [1], {"y"}),
        (PLAIN, [flow("x", "a > 0"), flow("y", "a > 1"), flow("z", default=True)], [2], {"z"}),
        ({"kind": "gateway", "gateway": "inclusive"}, XY, [1, 3], {"y"}),
        ({"kind": "gateway", "gateway": "parallel"}, [flow("x"), flow("y")], [1], set()),
        ({"kind": "gateway", "gateway": "parallel"}, [flow("x"), flow("y")], [], {"x", "y", "g"}),
    ],
)
def test_flows_not_taken_are_named(gate, flows, answers, expected):
    assert missed(gate, flows, answers) == expected


def test_event_gateways_are_judged_by_what_came():
    waits = {"x": {"kind": "timer", "after": "PT1S"}, "y": {"kind": "message", "message": "m"}}
    assert missed({"kind": "gateway", "gateway": "event"}, [flow("x"), flow("y")], [1], **waits) == {"y"}


def test_what_cases_of_any_file_take_counts_once():
    document = {"penstock": 1, "code": "test", "nodes": {"a": {"kind": "end"}, "b": {"kind": "start"}}}
    document["flows"] = [{"from": "b", "to": "a"}]
    ran, idle = known(document), known(document)
    ran.trail.visited.update("ab")
    ran.trail.left.add("b")
    found = [coverage(each.version, each.trail) for each in (idle, ran, idle)]
    assert found[0].nodes_missed == ("a", "b")
    assert merged(found) == [found[1]]
