"""Nodes and flows: what each kind of node does when a token comes, and where the token goes then."""

import pytest

from penstock.core import commands as do
from penstock.core.decider import start
from penstock.core.events import Failure, Started
from penstock.core.run import HTTP_TOPIC
from penstock.core.state import Phase, Status
from penstock.errors import Invalid
from support.harness import Harness


def run(nodes, flows="", *, input=None, **members):
    text = "{" + nodes + "}" if not nodes.lstrip().startswith("{") else nodes
    return Harness(
        f"tasks: {{T: {{candidates: ['group:a'], due: P1D, priority: 7}}}}\nnodes: {text}\nflows: [{flows}]\n"
    ).start(input, **members)


def incident(h, node):
    row = h.row(node)
    assert row["state"].value == "FAILED"
    assert h.status is Status.FAILED
    return row["failure"].type, row["failure"].message


# -- work --------------------------------------------------------------------------------------------------------------


def test_job_is_offered_with_its_rendered_input_and_its_output_is_read():
    h = run(
        "a: {kind: job, topic: t, input: {x: '${input.n}'}}, b: {kind: job, topic: u, input: '${a.y + nodes.a.y}'}",
        "{from: a, to: b}",
        input={"n": 4},
    )
    assert h.jobs == {1: do.OpenJob(1, 0, "a", "t", 1, {"x": 4})}
    assert h.row("a")["input"] == {"x": 4}
    h.complete("a", {"y": 3})
    assert h.jobs == {2: do.OpenJob(2, 0, "b", "u", 1, 6)}
    assert h.row("a")["output"] == {"y": 3}
    h.complete("b")
    assert h.status is Status.COMPLETED
    assert h.states() == [("a", "COMPLETED"), ("b", "COMPLETED")]


def test_http_node_is_a_job_of_the_engine():
    h = run(
        "a: {kind: http, url: 'https://x/${input.id}', method: PUT, headers: {A: '${secrets.K}'}, body: {b: '${input.id}'}}",
        input={"id": 7},
    )
    request = {"url": "https://x/7", "method": "PUT", "headers": {"A": "${secrets.K}"}, "body": {"b": 7}}
    assert h.jobs == {1: do.OpenJob(1, 0, "a", HTTP_TOPIC, 1, request)}
    assert h.complete("a", {"ok": 1}).status is Status.COMPLETED


def test_robot_is_a_job_with_the_robots_topic():
    h = run("a: {kind: robot, robot: R2, input: [1]}")
    assert h.jobs == {1: do.OpenJob(1, 0, "a", "robot:R2", 1, [1])}


def test_item_is_shown_claimed_and_completed():
    h = run("a: {kind: item, task: T, input: {x: 1}}")
    assert h.items == {1: do.OpenItem(1, 0, "a", "T", {"x": 1}, ("group:a",), h.now + 86_400_000, 7)}
    h.claim("a", "user:x@example.com")
    assert h.owners == {1: "user:x@example.com"}
    h.complete("a", {"ok": True})
    assert do.CloseItem(1, completed=True, output={"ok": True}, by="system") in h.last.commands
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("members", "due_in"),
    [
        ("after: PT1M", 60_000),
        ("after: '${input.wait}'", 1_500),
        ("until: '1970-01-01T00:20:00Z'", 200_000),
        ("until: '${input.at}'", -1_000_000),
        ("after: P1M", 31 * 86_400_000),
    ],
)
def test_timer_waits_until_it_is_due(members, due_in):
    h = run(f"a: {{kind: timer, {members}}}", input={"wait": "PT1.5S", "at": "1970-01-01T00:00:00Z"})
    assert h.timers == {(1, "@own"): do.StartTimer(1, 0, "@own", h.now + due_in)}
    assert h.fire("a").status is Status.COMPLETED


@pytest.mark.parametrize(
    ("key", "rendered"),
    [
        ("", ""),
        (", key: abc", "abc"),
        (", key: '${input.n}'", "12"),
        (", key: '${input.d}'", "5"),
        (", key: 'o-${input.s}'", "o-x"),
    ],
)
def test_message_node_waits_for_its_message(key, rendered):
    h = run(f"a: {{kind: message, message: paid{key}}}", input={"n": 12, "d": 5.0, "s": "x", "f": 0.5})
    assert h.subscriptions == {(1, "@own"): do.Subscribe(1, 0, "@own", "paid", rendered)}
    h.message("paid", {"sum": 3}, rendered)
    assert h.row("a")["output"] == {"sum": 3}
    assert h.status is Status.COMPLETED


def test_signal_reaches_all_and_leaves_no_subscription():
    h = run("a: {kind: message, signal: go}, b: {kind: message, signal: go}, c: {kind: job, topic: t}")
    assert h.subscriptions[1, "@own"] == do.Subscribe(1, 0, "@own", "go", "", signal=True)
    h.signal("go", 5)
    assert h.subscriptions == {}
    assert (h.row("a")["output"], h.row("b")["output"]) == (5, 5)
    assert h.complete("c").status is Status.COMPLETED


def test_call_starts_a_child_and_takes_its_output():
    h = run("a: {kind: call, definition: other, input: {x: '${input}'}}", input=3)
    assert h.children == {1: do.StartChild(1, 0, "other", {"x": 3})}
    h.child_ended("a", output={"y": 1})
    assert h.row("a")["output"] == {"y": 1}
    assert h.status is Status.COMPLETED


@pytest.mark.parametrize(
    ("status", "message", "failure"),
    [
        ("CANCELLED", "", Failure("ChildCancelled", "the called process is CANCELLED", permanent=True)),
        ("TERMINATED", "", Failure("ChildTerminated", "the called process is TERMINATED", permanent=True)),
        ("UNKNOWN", "no definition 'other'", Failure("ChildUnknown", "no definition 'other'", permanent=True)),
    ],
)
def test_call_whose_child_did_not_complete_is_an_incident_and_can_be_retried(status, message, failure):
    h = run("a: {kind: call, definition: other}")
    h.child_ended("a", status, message=message)
    assert h.row("a")["failure"] == failure
    assert h.phase("a") is Phase.RUN_FAILED
    h.retry()
    assert h.children == {1: do.StartChild(1, 0, "other", None)}
    assert h.child_ended("a").status is Status.COMPLETED


# -- set ---------------------------------------------------------------------------------------------------------------


def test_set_merges_vars_metadata_and_entity():
    h = run(
        "a: {kind: set, vars: {x: '${input.n}', y: 1}, metadata: {m: '${input.n}'}, entity: '${input.more}'},"
        "b: {kind: set, vars: {y: '${vars.x + vars.y}'}, metadata: {k: '${metadata.m}'}}",
        "{from: a, to: b}",
        input={"n": 4, "more": {"e": 1}},
        metadata={"old": 1, "m": 0},
    )
    assert h.status is Status.COMPLETED
    assert h.peek().vars == {"x": 4, "y": 5}
    assert h.data_["metadata"] == {"old": 1, "m": 4, "k": 4}
    assert h.data_["entity"] == {"e": 1}


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ("vars: '${input.n}'", "vars: a map expected, not int"),
        ("metadata: '${input.list}'", "metadata: a map expected, not list"),
        ("vars: {a: 1}, entity: {x: 1}", "entity: it is no map"),
        ("vars: {a: 1}, metadata: {x: '${input.nothing}'}", "no such key"),
    ],
)
def test_set_that_cannot_be_done_is_an_incident_and_sets_nothing(members, text):
    h = run(f"a: {{kind: set, {members}}}", input={"n": 4, "list": []}, entity=[1])
    kind, message = incident(h, "a")
    assert kind == "ExpressionFailed"
    assert text in message
    assert h.peek().vars == {}
    assert "metadata" not in h.data_


def test_set_is_checked_against_the_schemas_of_the_definition():
    h = Harness(
        """
        data: {metadata: {type: object, properties: {sum: {type: number}, name: {type: string}}}}
        nodes:
          a: {kind: set, metadata: {sum: "${input.sum}"}}
          b: {kind: set, metadata: {name: "${input.name}"}}
        flows: [{from: a, to: b}]
        """
    ).start({"sum": 3, "name": 7})
    assert h.data_["metadata"] == {"sum": 3.0}
    assert isinstance(h.data_["metadata"]["sum"], float)
    kind, message = incident(h, "b")
    assert kind == "ExpressionFailed"
    assert "/metadata/name" in message


# -- flows -------------------------------------------------------------------------------------------------------------

TARGETS = "x: {kind: job, topic: t}, y: {kind: job, topic: t}, z: {kind: job, topic: t}"
FLOWS = [
    ("{from: a, to: x}, {from: a, to: y}, {from: a, to: z}", ["x", "y", "z"]),
    ("{from: a, to: x, if: input.yes}, {from: a, to: y, if: input.no}, {from: a, to: z}", ["x", "z"]),
    ("{from: a, to: x, if: input.yes}, {from: a, to: y, if: input.yes}, {from: a, to: z, default: true}", ["x", "y"]),
    ("{from: a, to: z, default: true}, {from: a, to: x, if: input.no}, {from: a, to: y, if: input.no}", ["z"]),
    ("{from: a, to: x}, {from: a, to: y, default: true}, {from: a, to: z, if: input.no}", ["x"]),
]


@pytest.mark.parametrize(("flows", "taken"), FLOWS)
@pytest.mark.parametrize("node", ["{kind: start}", "{kind: gateway, gateway: inclusive}"])
def test_flows_without_condition_and_true_ones_are_taken_else_the_default(node, flows, taken):
    h = run(f"a: {node}, {TARGETS}", flows, input={"yes": True, "no": False})
    assert [code for code in "xyz" if h.at(code)] == taken


@pytest.mark.parametrize(("flows", "taken"), FLOWS)
def test_exclusive_gateway_takes_the_first_true_flow(flows, taken):
    h = run(f"a: {{kind: gateway, gateway: exclusive}}, {TARGETS}", flows, input={"yes": True, "no": False})
    assert [code for code in "xyz" if h.at(code)] == taken[:1]


def test_exclusive_gateway_looks_no_further_than_the_first_true_flow():
    flows = "{from: a, to: x, if: input.yes}, {from: a, to: y, if: 'input.nothing.at.all'}"
    h = run(f"a: {{kind: gateway, gateway: exclusive}}, {TARGETS}", flows + ", {from: y, to: z}", input={"yes": True})
    assert h.at("x")


def test_parallel_gateway_takes_every_flow():
    h = run(f"a: {{kind: gateway, gateway: parallel}}, {TARGETS}", FLOWS[0][0])
    assert [code for code in "xyz" if h.at(code)] == ["x", "y", "z"]


@pytest.mark.parametrize(
    "node", ["{kind: start}", "{kind: gateway, gateway: inclusive}", "{kind: gateway, gateway: exclusive}"]
)
def test_no_true_flow_and_no_default_is_an_incident(node):
    h = run(
        f"a: {node}, {TARGETS}",
        "{from: a, to: x, if: input.ok}, {from: x, to: y}, {from: x, to: z}",
        input={"ok": False},
    )
    assert incident(h, "a")[0] == "NoFlowTaken"
    assert h.phase("a") is Phase.LEAVE_FAILED
    h.data_["input"] = {"ok": True}
    h.retry()
    assert h.at("x")
    assert h.status is Status.RUNNING
    assert h.row("a")["attempt"] == 1


# -- starts and ends ---------------------------------------------------------------------------------------------------


def test_tokens_start_at_plain_starts_or_where_no_flow_comes_in():
    h = run("a: {kind: job, topic: t}, b: {kind: job, topic: t}, c: {kind: job, topic: t}", "{from: a, to: c}")
    assert [code for code in "abc" if h.at(code)] == ["a", "b"]
    h = run(
        "s: {kind: start}, a: {kind: job, topic: t}, r: {kind: start}, b: {kind: job, topic: t}",
        "{from: s, to: a}, {from: r, to: b}",
    )
    assert h.at("a")
    assert h.at("b")


MESSAGE_START = "s: {kind: start, message: order}, a: {kind: job, topic: t, input: '${s.no}'}, b: {kind: job, topic: t}"


def test_message_start_takes_the_message_as_its_output():
    h = run(MESSAGE_START, "{from: s, to: a}, {from: s, to: b}", start="s", payload={"no": 5})
    assert h.jobs[h.at("a")[0]].input == 5


def test_definition_without_plain_start_is_not_started_without_its_message():
    h = Harness(f"nodes: {{{MESSAGE_START}}}\nflows: [{{from: s, to: a}}, {{from: s, to: b}}]")
    with pytest.raises(Invalid, match="no plain start, it is started by a message: order"):
        h.start()
    with pytest.raises(Invalid, match="no start node 'a'"):
        start(h.version, h, Started(at=1, start="a"))
    with pytest.raises(Invalid, match="no start node 'nowhere'"):
        start(h.version, h, Started(at=1, start="nowhere"))
    h.start(called=True)
    assert h.status is Status.TERMINATED
    assert "no plain start" in h.ended.message


def test_process_ends_when_no_token_is_left():
    h = run("a: {kind: job, topic: t}, b: {kind: job, topic: t}, e: {kind: end}", "{from: a, to: e}")
    h.complete("a")
    assert h.states()[2] == ("e", "COMPLETED")
    assert h.status is Status.RUNNING
    assert h.complete("b").status is Status.COMPLETED
    assert [each.kind for each in h.published] == ["process.started", "process.completed"]


def test_terminate_end_withdraws_every_other_token_of_its_scope():
    h = run(
        "a: {kind: job, topic: t}, e: {kind: end, end: terminate}, b: {kind: job, topic: t}, c: {kind: item, task: T},"
        "d: {kind: timer, after: PT1H}, m: {kind: message, message: M}, k: {kind: call, definition: x},"
        "s: {kind: scope, nodes: {i: {kind: job, topic: t}}}, j: {kind: job, topic: t, join: all}, z: {kind: set, vars: {x: 1}}",
        "{from: a, to: e}, {from: b, to: j}, {from: z, to: j}",
    )
    h.complete("a")
    assert h.status is Status.COMPLETED
    ended = dict(h.states())
    assert ended == {
        **dict.fromkeys(["a", "e", "z"], "COMPLETED"),
        **dict.fromkeys(["b", "c", "d", "m", "k", "s", "i"], "CANCELLED"),
    }


def test_terminate_end_stops_tokens_on_their_way():
    h = run(
        "s: {kind: start}, e: {kind: end, end: terminate}, a: {kind: job, topic: t}",
        "{from: s, to: e}, {from: s, to: a}",
    )
    assert h.states() == [("s", "COMPLETED"), ("e", "COMPLETED")]


def test_terminate_end_in_a_scope_ends_that_scope_alone():
    h = run(
        "s: {kind: scope, nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}, e: {kind: end, end: terminate}},"
        " flows: [{from: a, to: e}]}, c: {kind: job, topic: t}, d: {kind: job, topic: t}",
        "{from: s, to: d}",
    )
    h.complete("a")
    assert h.at("c")
    assert h.at("d")
    assert dict(h.states())["b"] == "CANCELLED"


def test_error_end_that_nobody_takes_is_an_incident():
    h = run("a: {kind: end, end: error, error: NO_STOCK}")
    assert incident(h, "a") == ("NO_STOCK", "error 'NO_STOCK' was not caught")
    assert h.skip("a").status is Status.COMPLETED


def test_error_end_of_a_called_process_is_told_to_its_caller():
    h = run(
        "z: {kind: job, topic: t}, a: {kind: end, end: error, error: NO_STOCK}, b: {kind: job, topic: t}",
        "{from: z, to: a}",
        called=True,
    )
    h.complete("z")
    assert h.status is Status.TERMINATED
    assert h.ended == do.EndProcess("TERMINATED", None, "NO_STOCK")
    assert dict(h.states()) == {"z": "COMPLETED", "a": "THROWN", "b": "CANCELLED"}


# -- the event gateway -------------------------------------------------------------------------------------------------

EVENTS = (
    "g: {kind: gateway, gateway: event}, t: {kind: timer, after: PT1H}, m: {kind: message, message: M, key: '${input.k}'},"
    "s: {kind: message, signal: S}, x: {kind: job, topic: t}, y: {kind: job, topic: t}, z: {kind: job, topic: t}"
)
EVENT_FLOWS = (
    "{from: g, to: t}, {from: g, to: m}, {from: g, to: s}, {from: t, to: x}, {from: m, to: y}, {from: s, to: z}"
)


@pytest.mark.parametrize(
    ("act", "event", "after", "output"),
    [
        (lambda h: h.fire("g", "t"), "t", "x", None),
        (lambda h: h.message("M", {"p": 1}, "k"), "m", "y", {"p": 1}),
        (lambda h: h.signal("S", 3), "s", "z", 3),
        (lambda h: h.skip("g", "m"), "m", "y", None),
        (lambda h: h.debug("g", output="s"), "s", "z", None),
    ],
)
def test_event_gateway_goes_on_by_what_comes_first(act, event, after, output):
    h = run(EVENTS, EVENT_FLOWS, input={"k": "k"})
    act(h)
    assert [node for node, _ in h.states()] == ["g", event, after]
    assert h.row(event).get("output") == output
    assert (h.timers, h.subscriptions) == ({}, {})
    assert h.complete(after).status is Status.COMPLETED


@pytest.mark.parametrize("output", [None, "x", ["m"], {"a": 1}])
def test_event_gateway_cannot_be_skipped_without_saying_which_event(output):
    h = run(EVENTS, EVENT_FLOWS, input={"k": "k"})
    with pytest.raises(AssertionError, match="give as output one of t, m, s"):
        h.skip("g", output)


def test_event_gateway_with_a_broken_key_is_an_incident_and_arms_nothing():
    h = run(EVENTS, EVENT_FLOWS, input={})
    assert incident(h, "g")[0] == "ExpressionFailed"
    assert (h.timers, h.subscriptions) == ({}, {})
    h.data_["input"] = {"k": "k"}
    h.retry()
    assert set(h.timers) | set(h.subscriptions) == {(1, "t"), (1, "m"), (1, "s")}


# -- expressions -------------------------------------------------------------------------------------------------------

BROKEN = [
    ("job input", "{a: {kind: job, topic: t, input: '${input.x}'}}", "a"),
    ("http url", "{a: {kind: http, url: 'http://${input.x}'}}", "a"),
    ("http body", "{a: {kind: http, url: 'http://x', body: '${input.x}'}}", "a"),
    ("robot input", "{a: {kind: robot, robot: R, input: '${input.x}'}}", "a"),
    ("item input", "{a: {kind: item, task: T, input: '${input.x}'}}", "a"),
    ("call input", "{a: {kind: call, definition: d, input: '${input.x}'}}", "a"),
    ("timer", "{a: {kind: timer, after: '${input.x}'}}", "a"),
    ("timer until", "{a: {kind: timer, until: '${input.x}'}}", "a"),
    ("message key", "{a: {kind: message, message: M, key: '${input.x}'}}", "a"),
    ("for_each", "{a: {kind: scope, for_each: '${input.x}', nodes: {i: {kind: job, topic: t}}}}", "a"),
    ("boundary timer", "{a: {kind: job, topic: t}, b: {kind: boundary, attached_to: a, timer: '${input.x}'}}", "a"),
    (
        "boundary key",
        "{a: {kind: item, task: T}, b: {kind: boundary, attached_to: a, message: M, key: '${input.x}'}}",
        "a",
    ),
    (
        "scope boundary",
        "{a: {kind: scope, nodes: {i: {kind: job, topic: t}}}, b: {kind: boundary, attached_to: a, timer: '${input.x}'}}",
        "a",
    ),
    ("set", "{a: {kind: set, vars: {y: '${input.x}'}}}", "a"),
]
BAD_VALUES = {
    "timer": ["soon", 5, None],
    "timer until": ["tomorrow", 5, None],
    "message key": [True, [1], {}],
    "for_each": ["abc", 3, None, {}],
}


@pytest.mark.parametrize(("what", "nodes", "node"), BROKEN)
def test_expression_that_fails_is_an_incident_on_its_node_and_retry_goes_on(what, nodes, node):
    h = run(nodes, input={})
    kind, message = incident(h, node)
    assert kind == "ExpressionFailed"
    assert "no such key: x" in message
    assert h.phase(node) is Phase.ENTER_FAILED
    assert not any((h.jobs, h.items, h.timers, h.subscriptions, h.children))
    for value in BAD_VALUES.get(what, []):
        h.data_["input"] = {"x": value}
        h.retry()
        assert incident(h, node)[0] == "ExpressionFailed"
    good = {"for_each": [1], "timer until": "2020-01-01T00:00:00Z"}
    h.data_["input"] = {"x": good.get(what, "PT1H")}
    h.retry()
    assert h.status in (Status.RETRYING, Status.COMPLETED)
    assert h.row(node).get("failure") is None


@pytest.mark.parametrize(
    ("condition", "text"),
    [("input.x", "no such key: x"), ("input.n", "gave int, not a bool"), ("'a'", "gave str, not a bool")],
)
def test_condition_that_fails_is_an_incident_on_the_node_that_is_left(condition, text):
    h = run(
        "a: {kind: job, topic: t}, b: {kind: job, topic: t}", f'{{from: a, to: b, if: "{condition}"}}', input={"n": 1}
    )
    h.complete("a", 5)
    kind, message = incident(h, "a")
    assert kind == "ExpressionFailed"
    assert text in message
    assert h.phase("a") is Phase.LEAVE_FAILED
    assert h.row("a")["output"] == 5
    h.data_["input"] = {"x": True}
    if condition == "input.x":
        assert h.retry().status is Status.RUNNING
        assert h.at("b")


def test_process_output_that_fails_is_an_incident_on_the_last_node():
    h = Harness("nodes: {a: {kind: job, topic: t}, b: {kind: job, topic: t}}\noutput: {r: '${b.r}'}").start()
    h.complete("b", {}).complete("a", {})
    kind, message = incident(h, "a")
    assert (kind, message) == ("ExpressionFailed", "output: b.r: no such key: r")
    assert h.phase("a") is Phase.LEAVE_FAILED
    assert h.retry().status is Status.FAILED
    h.visits[2]["output"] = {"r": 1}
    assert h.retry().status is Status.COMPLETED
    assert h.ended.output == {"r": 1}
    assert h.data_["output"] == {"r": 1}


def test_values_and_unvisited_nodes_in_expressions():
    h = Harness(
        """
        nodes:
          a: {kind: job, topic: t, input: "${values.count}"}
          b: {kind: job, topic: t, input: "${has(nodes.c.x)}"}
          c: {kind: job, topic: t, input: "${b.x}"}
        flows: [{from: b, to: c}]
        """
    )
    h.values_ = {"count": 3}
    h.start()
    assert h.jobs[1].input == 3
    assert h.row("b")["failure"] is not None or h.jobs[2].input is False


def test_bare_name_is_the_node_even_where_a_variable_has_its_name():
    h = run(
        "a: {kind: job, topic: t}, s: {kind: scope, nodes: {v: {kind: set, vars: {a: 1}}, j: {kind: job, topic: t, input: '${a}'}},"
        "flows: [{from: v, to: j}]}",
        "{from: a, to: s}",
    )
    h.complete("a", "output")
    assert h.jobs[h.at("j")[0]].input == "output"


def test_bare_name_in_an_element_is_the_node_where_it_is_no_element():
    h = run(
        "a: {kind: job, topic: t}, s: {kind: scope, for_each: '${[5]}', as: e, nodes: {v: {kind: set, vars: {a: 1, x: '${e}'}},"
        "j: {kind: job, topic: t, input: ['${a}', '${e}', '${vars.a}']}}, flows: [{from: v, to: j}]}",
        "{from: a, to: s}",
    )
    h.complete("a", "output")
    assert h.jobs[h.at("j")[0]].input == ["output", 5, 1]


# -- moves -------------------------------------------------------------------------------------------------------------


def test_loop_without_a_wait_is_stopped_and_goes_on_by_retry():
    h = run("s: {kind: start}, a: {kind: set, vars: {n: 1}}, b: {kind: gateway, gateway: exclusive}, c: {kind: job, topic: t}",
            "{from: s, to: a}, {from: a, to: b}, {from: b, to: c, if: input.stop}, {from: b, to: a, default: true}",
            input={"stop": False})  # fmt: skip
    assert h.row(max(h.visits))["failure"].type == "TooManyMoves"
    assert len(h.visits) == 1_001
    assert h.process.incidents == 1
    h.data_["input"] = {"stop": True}
    h.retry()
    assert h.at("c")
    assert h.complete("c").status is Status.COMPLETED


def test_loop_that_waits_goes_on_for_ever():
    h = run("s: {kind: start}, a: {kind: job, topic: t}, b: {kind: job, topic: t}",
            "{from: s, to: a}, {from: a, to: a, if: 'a.again'}, {from: a, to: b, default: true}")  # fmt: skip
    for _ in range(5):
        h.complete("a", {"again": True})
    h.complete("a", {"again": False}).complete("b")
    assert h.status is Status.COMPLETED
    assert len(h.visits) == 8
