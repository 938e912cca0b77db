from copy import deepcopy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.core.definition import Driver, EndKind, Join, RetryPolicy, Version
from penstock.core.durations import DAY, Duration
from penstock.core.graphs import MAX_NODES
from penstock.core.loading import load, problems_text, read_document
from penstock.errors import Problem

LOAN = """
penstock: 1
code: loan
name: {en: Loan application, es: Solicitud de préstamo}
driver: graph
data:
  input: {type: object, properties: {amount: {type: number}}}
  metadata: {type: object}
search: [metadata.customer, input.number]
permissions: {initiator: [group:staff, role:everyone], manager: ["user:ada@example.org", "app:8f"]}
tasks:
  APPROVE: {name: Approve the loan, schema: {type: object}, ui: {}, candidates: [group:risk], due: P2D, priority: 5}
nodes:
  score:   {kind: job, topic: loan.score, input: {amount: "${input.amount}"}, retry: {max_attempts: 5, delay: PT1S, factor: 2}}
  checks:
    kind: scope
    for_each: "${input.papers}"
    as: paper
    limit: 20
    nodes:
      check: {kind: robot, robot: ocr, input: "${paper.id}", on_error: {UNREADABLE: skip, "*": skip}}
      skip: {kind: end}
    flows: [{from: check, to: skip}]
    output: "${check.text}"
  approve: {kind: item, task: APPROVE, on_timeout: {after: P3D, to: notify, interrupting: false}}
  late:    {kind: boundary, attached_to: approve, timer: P2D, interrupting: false}
  notify:
    kind: http
    url: "https://example.org/${input.id}"
    headers: {Authorization: "Bearer ${secrets.KEY}"}
    body: {ok: "${approve.ok}"}
flows:
  - {from: score, to: checks, if: "score.risk > 0.5"}
  - {from: score, to: notify, default: true}
  - {from: checks, to: approve}
  - {from: approve, to: notify}
  - {from: late, to: notify}
output: {results: "${nodes.checks}"}
extensions: {vendor: {x: 1}}
"""


def version(document):
    value, problems = read_document(document, "yaml") if isinstance(document, str) else (document, [])
    assert problems == []
    found, problems = load(value)
    assert problems == []
    assert isinstance(found, Version)
    return found


def problems_of(document):
    value, problems = read_document(document, "yaml") if isinstance(document, str) else (document, [])
    assert problems == []
    found, problems = load(value)
    assert (found is None) == any(not problem.warning for problem in problems)
    return problems


def process(**members):
    """A sound definition of one job, changed."""
    document = {"penstock": 1, "code": "x", "nodes": {"a": {"kind": "job", "topic": "t"}}, **members}
    return {name: value for name, value in document.items() if value is not ...}


def graph(nodes, flows=(), **members):
    """Nodes by code; a text is a kind with what it needs. Flows as "a>b" or maps."""
    short = {
        "job": {"kind": "job", "topic": "t"},
        "set": {"kind": "set", "vars": {"n": 1}},
        "timer": {"kind": "timer", "timer": "P1D"},
        "message": {"kind": "message", "message": "m"},
        "start": {"kind": "start"},
        "end": {"kind": "end"},
        "xor": {"kind": "gateway", "gateway": "exclusive"},
        "and": {"kind": "gateway", "gateway": "parallel"},
        "or": {"kind": "gateway", "gateway": "inclusive"},
        "event": {"kind": "gateway", "gateway": "event"},
    }
    return {
        "penstock": 1,
        "code": "x",
        "nodes": {code: short[node] if isinstance(node, str) else node for code, node in nodes.items()},
        "flows": [
            dict(zip(("from", "to"), flow.split(">"), strict=True)) if isinstance(flow, str) else flow for flow in flows
        ],
        **members,
    }


def node(**members):
    """A definition whose only node `a` is this."""
    return process(nodes={"a": members})


def job(**members):
    """A job `a` and an end `b`."""
    return graph({"a": {"kind": "job", "topic": "t", **members}, "b": "end"}, ["a>b"])


def flows(*given):
    """Two jobs, `a` to `b`, and these flows."""
    return graph({"a": "job", "b": "job"}, given)


# ------------------------------------------------------------------------------------------------------ what is read


def test_the_example_is_read():
    loan = version(LOAN)
    assert (loan.code, loan.name, loan.driver) == (
        "loan",
        {"en": "Loan application", "es": "Solicitud de préstamo"},
        Driver.GRAPH,
    )
    assert loan.search == ("metadata.customer", "input.number")
    assert loan.permissions == {
        "initiator": ("group:staff", "role:everyone"),
        "manager": ("user:ada@example.org", "app:8f"),
    }
    assert set(loan.schemas) == {"input", "metadata"}
    task = loan.tasks["APPROVE"]
    assert (task.name, task.candidates, task.due, task.priority) == (
        "Approve the loan",
        ("group:risk",),
        Duration(0, 2 * DAY),
        5,
    )
    assert loan.root.starts == ("score",)
    assert loan.owners == {
        "score": "", "checks": "", "approve": "", "late": "", "notify": "", "approve__timeout": "",
        "check": "checks", "skip": "checks", "check__error_UNREADABLE": "checks", "check__error_any": "checks",
    }  # fmt: skip
    assert loan.places["check"] is loan.root.nodes["checks"].graph
    assert loan.places["score"] is loan.root
    assert loan.read_outputs == {"score", "check", "checks", "approve"}
    assert loan.output.outputs == {"checks"}
    assert loan.root.nodes["score"].retry == RetryPolicy(max_attempts=5, delay=1_000, factor=2.0)


def test_short_forms_become_boundaries():
    loan = version(LOAN)
    timeout = loan.root.nodes["approve__timeout"]
    assert (timeout.attached_to, timeout.interrupting, timeout.trigger.after.render({})) == ("approve", False, "P3D")
    assert [flow.target for flow in loan.root.outgoing["approve__timeout"]] == ["notify"]
    assert [each.code for each in loan.root.boundaries["approve"]] == ["late", "approve__timeout"]
    inner = loan.root.nodes["checks"].graph
    assert [(each.code, each.trigger.error) for each in inner.boundaries["check"]] == [
        ("check__error_UNREADABLE", "UNREADABLE"),
        ("check__error_any", "*"),
    ]
    assert [flow.id for flow in inner.flows] == ["check-skip", "check__error_UNREADABLE-skip", "check__error_any-skip"]
    one = version(graph({"a": {"kind": "job", "topic": "t", "on_error": "b"}, "b": "end"}, ["a>b"]))
    assert one.root.nodes["a__error_any"].trigger.error == "*"


def test_flow_ids_are_made_and_kept():
    given = [{"from": "a", "to": "b", "id": "a-b"}, "a>b", "a>b", {"from": "a", "to": "b", "id": "a-b#2"}]
    assert [flow.id for flow in version(flows(*given)).root.flows] == ["a-b", "a-b#3", "a-b#4", "a-b#2"]
    inner = graph({"a-b": "job", "c": "job"}, ["a-b>c"])
    outer = graph(
        {"a": "job", "b-c": "job", "s": {"kind": "scope", "nodes": inner["nodes"], "flows": inner["flows"]}}, ["a>b-c"]
    )
    found = version(outer)
    assert {found.root.flows[0].id, found.places["c"].flows[0].id} == {"a-b-c", "a-b-c#2"}


@pytest.mark.parametrize(
    ("member", "read"),
    [
        ({"kind": "timer", "timer": "P2D"}, lambda n: (n.after.value, n.until) == ("P2D", None)),
        ({"kind": "timer", "after": "${input.wait}"}, lambda n: n.after.roots == {"input"}),
        ({"kind": "timer", "until": "2026-11-21T12:00:00Z"}, lambda n: n.until.value == "2026-11-21T12:00:00Z"),
        ({"kind": "message", "message": "paid", "key": "${input.id}"}, lambda n: (n.trigger.message, n.trigger.key.roots) == ("paid", {"input"})),
        ({"kind": "message", "signal": "stop"}, lambda n: n.trigger.signal == "stop"),
        ({"kind": "call", "definition": "other", "input": {"a": 1}}, lambda n: (n.definition, n.input.value) == ("other", {"a": 1})),
        ({"kind": "robot", "robot": "ocr"}, lambda n: (n.robot, n.input) == ("ocr", None)),
        ({"kind": "job", "topic": "t", "join": "all"}, lambda n: n.join is Join.ALL),
        ({"kind": "job", "topic": "t", "input": None}, lambda n: n.input.render({}) is None),
        ({"kind": "job", "topic": "t", "extensions": {"x": [1]}}, lambda n: n.extensions == {"x": [1]}),
        ({"kind": "job", "topic": "t", "name": {"es-MX": "Uno"}}, lambda n: n.name == {"es-MX": "Uno"}),
        ({"kind": "set", "vars": {"n": "${1}"}, "entity": "${input}"}, lambda n: (n.vars.render({}), n.metadata) == ({"n": 1}, None)),
        ({"kind": "gateway", "gateway": "parallel"}, lambda n: n.join is Join.ALL),
        ({"kind": "gateway", "gateway": "inclusive"}, lambda n: n.join is Join.INCLUSIVE),
        ({"kind": "gateway", "gateway": "exclusive"}, lambda n: n.join is Join.ANY),
        ({"kind": "end"}, lambda n: n.end is EndKind.PLAIN),
        ({"kind": "end", "end": "error", "error": "NO"}, lambda n: (n.end, n.error) == (EndKind.ERROR, "NO")),
        ({"kind": "end", "end": "terminate"}, lambda n: n.end is EndKind.TERMINATE),
        ({"kind": "start", "message": "order"}, lambda n: n.message == "order"),
        ({"kind": "scope", "nodes": {"b": {"kind": "end"}}}, lambda n: (n.for_each, n.limit, n.as_name) == (None, None, "item")),
        ({"kind": "scope", "for_each": [1, 2], "nodes": {"b": {"kind": "end"}}}, lambda n: n.for_each.value == [1, 2]),
        (
            {"kind": "http", "url": "HTTPS://x/${input.a}", "method": "PUT", "headers": {"A": "b"}, "body": [1]},
            lambda n: n.request.value == {"url": "HTTPS://x/${input.a}", "method": "PUT", "headers": {"A": "b"}, "body": [1]},
        ),
        (
            {"kind": "http", "url": "${secrets.URL}"},
            lambda n: n.request.value == {"url": "${secrets.URL}", "method": "POST", "headers": {}, "body": None},
        ),
        (
            {"kind": "job", "topic": "t", "retry": {"max_attempts": 1, "delay": "PT10M", "jitter": 0, "timeout": "PT1H"}},
            lambda n: n.retry == RetryPolicy(max_attempts=1, delay=600_000, cap=600_000, jitter=0.0, timeout=3_600_000),
        ),
        ({"kind": "job", "topic": "t", "retry": {"cap": "P1D"}}, lambda n: n.retry == RetryPolicy(cap=DAY)),
    ],
)  # fmt: skip
def test_a_node_is_read(member, read):
    assert read(version(node(**member)).root.nodes["a"])


def test_drivers():
    code = version(
        {"penstock": 1, "code": "x", "driver": "code", "temporal": {"workflow_type": "W", "task_queue": "q"}}
    )
    assert (code.driver, code.temporal, code.root.nodes) == (Driver.CODE, {"workflow_type": "W", "task_queue": "q"}, {})
    client = version({"penstock": 1, "code": "x", "driver": "client", "tasks": {"T": {}}})
    assert (client.driver, client.root.nodes, set(client.tasks)) == (Driver.CLIENT, {}, {"T"})
    assert set(version(process(driver="client")).root.nodes) == {"a"}


def test_starts():
    def starts(nodes, *given):
        return version(graph(nodes, given)).root.starts

    assert starts({"a": "job", "b": "job", "c": "end"}, "a>c", "b>c") == ("a", "b")
    assert starts({"s": "start", "a": "job"}, "s>a") == ("s",)
    assert starts({"m": {"kind": "start", "message": "go"}, "s": "start", "a": "job"}, "s>a", "m>a") == ("s",)
    assert starts({"m": {"kind": "start", "message": "go"}, "a": "job"}, "m>a") == ()
    assert starts({"m": {"kind": "start", "message": "go"}, "a": "job", "b": "job"}, "m>a") == ("b",)
    found = version(graph({"m": {"kind": "start", "message": "go"}, "a": "job"}, ["m>a"]))
    assert found.messages == {"go": "m"}


def test_after_includes_boundaries_and_what_follows_them():
    late = {"kind": "boundary", "attached_to": "b", "timer": "P1D"}
    found = version(
        graph({"a": "job", "b": "job", "late": late, "c": "end", "d": "end"}, ["a>b", "b>c", "late>d"])
    ).root
    assert found.after == {
        "a": {"b", "late", "c", "d"},
        "b": {"late", "c", "d"},
        "late": {"d"},
        "c": set(),
        "d": set(),
    }
    loop = version(graph({"s": "start", "a": "job", "x": "xor", "e": "end"}, ["s>a", "a>x", "x>a", "x>e"])).root
    assert loop.after["a"] == {"a", "x", "e"}
    assert loop.after["s"] == {"a", "x", "e"}


def test_arrivals_say_which_flows_a_token_can_still_take():
    late = {"kind": "boundary", "attached_to": "b", "timer": "P1D"}
    nodes = {
        "s": "start",
        "split": "or",
        "a": "job",
        "b": "job",
        "late": late,
        "c": "job",
        "join": "or",
        "x": "xor",
        "e": "end",
    }
    found = version(
        graph(
            nodes,
            ["s>split", "split>a", "split>b", "a>join", "b>c", "c>join", "late>join", "join>x", "x>e", "x>a"],
        )
    ).root
    by = {flow.index: flow.source for flow in found.incoming["join"]}
    assert set(found.arrivals) == {"split", "join"}
    arrivals = {code: {by[index] for index in indexes} for code, indexes in found.arrivals["join"].items()}
    assert arrivals == {
        "s": {"a", "c", "late"},
        "split": {"a", "c", "late"},
        "a": {"a"},
        "b": {"c", "late"},
        "late": {"late"},
        "c": {"c"},
        "x": {"a"},  # After the join, back to it by the loop; the join itself has none.
    }


def slow_arrivals(found, join):
    """By walking every path from every node."""
    result = {}
    for begin in found.nodes:
        seen, todo, indexes = set(), [begin], set()
        while todo:
            code = todo.pop()
            if code in seen or code == join:
                continue
            seen.add(code)
            todo.extend(each.code for each in found.boundaries.get(code, ()))
            for flow in found.outgoing[code]:
                if flow.target == join:
                    indexes.add(flow.index)
                todo.append(flow.target)
        if indexes:
            result[begin] = indexes
    return result


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=16))
def test_tables_agree_with_walking(pairs):
    nodes = {"s": "start", **{f"n{index}": "or" if index % 2 else "job" for index in range(7)}}
    late = {"kind": "boundary", "attached_to": "n2", "timer": "P1D"}
    document = graph(
        {**nodes, "late": late}, [*(f"s>n{index}" for index in range(7)), *(f"n{a}>n{b}" for a, b in pairs), "late>n4"]
    )
    found, problems = load(document)
    assert all(problem.warning for problem in problems)
    root = found.root
    for code in root.nodes:
        seen, todo = set(), [code]
        while todo:
            at = todo.pop()
            for each in [*(flow.target for flow in root.outgoing[at]), *(b.code for b in root.boundaries.get(at, ()))]:
                if each not in seen:
                    seen.add(each)
                    todo.append(each)
        assert root.after[code] == seen
    for join in root.arrivals:
        assert root.arrivals[join] == slow_arrivals(root, join)
    assert [flow.index for flow in root.flows] == list(range(len(root.flows)))
    assert all(flow in root.outgoing[flow.source] and flow in root.incoming[flow.target] for flow in root.flows)


# ---------------------------------------------------------------------------------------------------- what is refused

SCOPE = {"kind": "scope", "nodes": {"b": {"kind": "end"}}}
MESSAGE_START = {"kind": "start", "message": "m"}


def boundary(**members):
    return graph(
        {"a": "job", "late": {"kind": "boundary", "attached_to": "a", **members}, "b": "end"}, ["late>b", "a>b"]
    )


def task(**members):
    return process(tasks={"T": members})


def scope(**members):
    return process(nodes={"s": {**SCOPE, **members}})


BROKEN = [
    # The whole.
    (None, [("", "type")]),
    ([], [("", "type")]),
    ("text", [("", "type")]),
    (True, [("", "type")]),
    ({1: 2}, [("", "value")]),
    ({"a": float("nan")}, [("/a", "value")]),
    ({}, [("", "required")] * 3),
    (process(penstock=...), [("", "required")]),
    (process(penstock=2), [("/penstock", "invalid")]),
    (process(penstock=True), [("/penstock", "invalid")]),
    (process(penstock=1.0), [("/penstock", "invalid")]),
    (process(penstock="1"), [("/penstock", "invalid")]),
    (process(code=...), [("", "required")]),
    (process(code=1), [("/code", "type")]),
    (process(code=""), [("/code", "invalid")]),
    (process(code="1a"), [("/code", "code")]),
    (process(code="a b"), [("/code", "code")]),
    (process(code="a\n"), [("/code", "invalid")]),
    (process(code="é"), [("/code", "code")]),
    (process(code="a" * 65), [("/code", "code")]),
    (process(name=1), [("/name", "type")]),
    (process(name={"en": 1}), [("/name/en", "type")]),
    (process(name={"e/n": "x"}), [("/name/e~1n", "invalid")]),
    (process(name="x" * 10_001), [("/name", "limit")]),
    (process(name={"en": "x" * 10_001}), [("/name/en", "limit")]),
    (flows(*["a>b"] * 4_001), [("/flows/4000", "limit")]),
    (process(driver="human"), [("/driver", "choice")]),
    (process(driver=None), [("/driver", "choice")]),
    (process(nodess={}), [("/nodess", "unknown_member")]),
    (process(extensions=[]), [("/extensions", "type")]),
    (process(data=[]), [("/data", "type")]),
    (process(data={"output": {}}), [("/data/output", "unknown_member")]),
    (process(data={"input": []}), [("/data/input", "type")]),
    (process(data={"input": {"type": "strin"}}), [("/data/input", "schema")]),
    (process(data={"entity": {"$ref": "http://example.com/x"}}), [("/data/entity", "schema")]),
    (process(search="metadata.a"), [("/search", "type")]),
    (process(search=["values.a"]), [("/search/0", "invalid")]),
    (process(search=["metadata"]), [("/search/0", "invalid")]),
    (process(search=["metadata.a", 1]), [("/search/1", "invalid")]),
    (process(search=["input.a", "input.a"]), [("/search/1", "duplicate")]),
    (process(search=[f"input.a{n}" for n in range(33)]), [("/search", "limit")]),
    (process(permissions={"owner": []}), [("/permissions/owner", "unknown_member")]),
    (process(permissions={"viewer": "group:a"}), [("/permissions/viewer", "type")]),
    *(
        (process(permissions={"viewer": ["group:a", bad]}), [("/permissions/viewer/1", "grantee")])
        for bad in ("a", "user:ada", "user:", "group:", "group:a b", "role:admin", "app:", "team:x", 1, "user:a@b\n", "users:a@b.c")
    ),
    (process(permissions={"viewer": ["group:a", "group:a"]}), [("/permissions/viewer/1", "duplicate")]),
    (process(output="${1 +}"), [("/output", "expression")]),
    (process(output="${other.x}"), [("/output", "unknown_name")]),
    (process(output={"a": ["${a.x}", "${b.x}"]}), [("/output", "unknown_name")]),
    # Drivers.
    (process(driver="code"), [("", "required"), ("/nodes", "invalid")]),
    ({"penstock": 1, "code": "x", "driver": "code"}, [("", "required")]),
    ({"penstock": 1, "code": "x", "driver": "code", "temporal": {}}, [("/temporal", "required")] * 2),
    (
        {"penstock": 1, "code": "x", "driver": "code", "temporal": {"workflow_type": 1, "task_queue": "q", "id": "x"}},
        [("/temporal/workflow_type", "type"), ("/temporal/id", "unknown_member")],
    ),
    (
        {"penstock": 1, "code": "x", "driver": "code", "temporal": {"workflow_type": "W", "task_queue": "q"}, "flows": []},
        [("/flows", "invalid")],
    ),
    (process(temporal={"workflow_type": "W", "task_queue": "q"}), [("/temporal", "invalid")]),
    ({"penstock": 1, "code": "x", "driver": "client", "flows": []}, [("/flows", "invalid")]),
    # Tasks.
    (process(tasks=[]), [("/tasks", "type")]),
    (process(tasks={"a b": {}}), [("/tasks/a b", "code")]),
    (process(tasks={"T": 1}), [("/tasks/T", "type")]),
    (task(shema={}), [("/tasks/T/shema", "unknown_member")]),
    (task(schema={"properties": {"a": 1}}), [("/tasks/T/schema", "schema")]),
    (task(ui=[]), [("/tasks/T/ui", "type")]),
    (task(candidates=["risk"]), [("/tasks/T/candidates/0", "grantee")]),
    (task(due="2 days"), [("/tasks/T/due", "duration")]),
    (task(due=2), [("/tasks/T/due", "type")]),
    (task(due="-P2D"), [("/tasks/T/due", "duration")]),
    (task(priority="high"), [("/tasks/T/priority", "type")]),
    (task(priority=True), [("/tasks/T/priority", "type")]),
    (task(priority=1_001), [("/tasks/T/priority", "range")]),
    (task(description=["x"]), [("/tasks/T/description", "type")]),
    # Nodes.
    (process(nodes=...), [("", "required")]),
    (process(nodes=[]), [("/nodes", "type")]),
    (process(nodes={}), [("/nodes", "required")]),
    (process(nodes={"a": None}), [("/nodes/a", "type")]),
    (process(nodes={"a": {}}), [("/nodes/a", "required")]),
    (process(nodes={"a b": {"kind": "end"}}), [("/nodes/a b", "code")]),
    (process(nodes={"a/~": {"kind": "end"}}), [("/nodes/a~1~0", "code")]),
    (process(nodes={f"n{n}": {"kind": "end"} for n in range(MAX_NODES + 1)}), [("/nodes", "limit")]),
    (node(kind="jobb"), [("/nodes/a/kind", "unknown_kind")]),
    (node(kind=1), [("/nodes/a/kind", "type")]),
    (node(topic="x"), [("/nodes/a", "required")]),
    *(
        (node(kind=kind, anything=1), [("/nodes/a/kind", "unsupported")])
        for kind in ("transaction", "event_subprocess", "event-sub-process", "eventSubProcess", "compensation", "compensate")
    ),
    (node(kind="job"), [("/nodes/a", "required")]),
    (node(kind="job", topic=""), [("/nodes/a/topic", "invalid")]),
    (node(kind="job", topic="t", inputs={}), [("/nodes/a/inputs", "unknown_member")]),
    (node(kind="job", topic="t", name=5), [("/nodes/a/name", "type")]),
    (node(kind="job", topic="t", join="some"), [("/nodes/a/join", "choice")]),
    (node(kind="job", topic="t", join="inclusive"), [("/nodes/a/join", "choice")]),
    (node(kind="job", topic="t", extensions=1), [("/nodes/a/extensions", "type")]),
    (node(kind="job", topic="t", input="${"), [("/nodes/a/input", "expression")]),
    (node(kind="job", topic="t", input={"a": ["${1 +}", {"b/c": "${foo()}"}]}), [("/nodes/a/input/a/0", "expression"), ("/nodes/a/input/a/1/b~1c", "expression")]),
    (node(kind="job", topic="t", input="${secrets.X}"), [("/nodes/a/input", "expression")]),
    (node(kind="job", topic="t", input="${nodes[input.x]}"), [("/nodes/a/input", "expression")]),
    (node(kind="job", topic="t", input="${nodes.b}"), [("/nodes/a/input", "unknown_name")]),
    (node(kind="job", topic="t", input="${n}"), [("/nodes/a/input", "unknown_name")]),
    (node(kind="job", topic="t", input="${item}"), [("/nodes/a/input", "unknown_name")]),
    (node(kind="job", topic="t", retry=[]), [("/nodes/a/retry", "type")]),
    (node(kind="job", topic="t", retry={"attempts": 1}), [("/nodes/a/retry/attempts", "unknown_member")]),
    (node(kind="job", topic="t", retry={"max_attempts": 0}), [("/nodes/a/retry/max_attempts", "range")]),
    (node(kind="job", topic="t", retry={"max_attempts": 101}), [("/nodes/a/retry/max_attempts", "range")]),
    (node(kind="job", topic="t", retry={"max_attempts": 1.5}), [("/nodes/a/retry/max_attempts", "type")]),
    (node(kind="job", topic="t", retry={"factor": 0.5}), [("/nodes/a/retry/factor", "range")]),
    (node(kind="job", topic="t", retry={"factor": 10.5}), [("/nodes/a/retry/factor", "range")]),
    (node(kind="job", topic="t", retry={"factor": True}), [("/nodes/a/retry/factor", "type")]),
    (node(kind="job", topic="t", retry={"jitter": 1.1}), [("/nodes/a/retry/jitter", "range")]),
    (node(kind="job", topic="t", retry={"jitter": -0.1}), [("/nodes/a/retry/jitter", "range")]),
    (node(kind="job", topic="t", retry={"delay": "1s"}), [("/nodes/a/retry/delay", "duration")]),
    (node(kind="job", topic="t", retry={"delay": "P1M"}), [("/nodes/a/retry/delay", "duration")]),
    (node(kind="job", topic="t", retry={"cap": 5}), [("/nodes/a/retry/cap", "type")]),
    (node(kind="job", topic="t", retry={"delay": "PT2S", "cap": "PT1S"}), [("/nodes/a/retry/cap", "range")]),
    (node(kind="job", topic="t", retry={"timeout": "PT0S"}), [("/nodes/a/retry/timeout", "range")]),
    (node(kind="job", topic="t", retry={"timeout": "PT0.0H"}), [("/nodes/a/retry/timeout", "range")]),
    (node(kind="timer", timer="P1D", retry={}), [("/nodes/a/retry", "unknown_member")]),
    (node(kind="http"), [("/nodes/a", "required")]),
    (node(kind="http", url="ftp://x"), [("/nodes/a/url", "invalid")]),
    (node(kind="http", url="http://"), [("/nodes/a/url", "invalid")]),
    (node(kind="http", url="x${input.a}"), [("/nodes/a/url", "invalid")]),
    (node(kind="http", url="http://x y"), [("/nodes/a/url", "invalid")]),
    (node(kind="http", url="http://x/${"), [("/nodes/a/url", "expression")]),
    (node(kind="http", url="http://x", method="get"), [("/nodes/a/method", "choice")]),
    (node(kind="http", url="http://x", method="TRACE"), [("/nodes/a/method", "choice")]),
    (node(kind="http", url="http://x", headers=[]), [("/nodes/a/headers", "type")]),
    (node(kind="http", url="http://x", headers={"a b": "x"}), [("/nodes/a/headers/a b", "invalid")]),
    (node(kind="http", url="http://x", headers={"a": 1}), [("/nodes/a/headers/a", "type")]),
    (node(kind="http", url="http://x", headers={"a": "x\r\nb: y"}), [("/nodes/a/headers/a", "invalid")]),
    (node(kind="http", url="http://x", headers={"a": "${secrets['X']}"}), [("/nodes/a/headers/a", "expression")]),
    (node(kind="http", url="http://x", body={"a": "${b.c}"}), [("/nodes/a", "unknown_name")]),
    (node(kind="http", url="http://x", body={"${secrets.X}": 1}), [("/nodes/a", "expression")]),
    (node(kind="http", url="http://x", body=["$${secrets.X}"]), [("/nodes/a/body/0", "expression")]),
    (node(kind="robot"), [("/nodes/a", "required")]),
    (node(kind="robot", robot="a b"), [("/nodes/a/robot", "code")]),
    (node(kind="item"), [("/nodes/a", "required")]),
    (node(kind="item", task="T"), [("/nodes/a/task", "unknown_task")]),
    (node(kind="item", task=1), [("/nodes/a/task", "type")]),
    (node(kind="timer"), [("/nodes/a", "required")]),
    (node(kind="timer", after="P1D", until="2026-11-21T12:00:00Z"), [("/nodes/a", "invalid")]),
    (node(kind="timer", after="P1D", timer="P1D"), [("/nodes/a", "invalid")]),
    (node(kind="timer", timer="tomorrow"), [("/nodes/a/timer", "duration")]),
    (node(kind="timer", after=5), [("/nodes/a/after", "type")]),
    (node(kind="timer", after="${1 +}"), [("/nodes/a/after", "expression")]),
    (node(kind="timer", until="2026-11-21"), [("/nodes/a/until", "time")]),
    (node(kind="timer", until="2026-11-21T12:00:00"), [("/nodes/a/until", "time")]),
    (node(kind="message"), [("/nodes/a", "required")]),
    (node(kind="message", message="a", signal="b"), [("/nodes/a", "invalid")]),
    (node(kind="message", message=1), [("/nodes/a/message", "type")]),
    (node(kind="message", signal="a", key="b"), [("/nodes/a/key", "invalid")]),
    (node(kind="message", message="a", key=1), [("/nodes/a/key", "type")]),
    (node(kind="message", message="a", error="b"), [("/nodes/a/error", "unknown_member")]),
    (node(kind="call"), [("/nodes/a", "required")]),
    (node(kind="call", definition="a b"), [("/nodes/a/definition", "code")]),
    (node(kind="call", definition="${input.x}"), [("/nodes/a/definition", "code")]),
    (node(kind="set"), [("/nodes/a", "required")]),
    (node(kind="set", vars=[1]), [("/nodes/a/vars", "type")]),
    (node(kind="set", vars="x"), [("/nodes/a/vars", "type")]),
    (node(kind="set", values={}), [("/nodes/a", "required"), ("/nodes/a/values", "unknown_member")]),
    (node(kind="gateway"), [("/nodes/a", "required")]),
    (node(kind="gateway", gateway="complex"), [("/nodes/a/gateway", "choice")]),
    (node(kind="gateway", gateway="parallel", join="all"), [("/nodes/a/join", "unknown_member")]),
    (node(kind="end", end="error"), [("/nodes/a", "required")]),
    (node(kind="end", end="error", error="a b"), [("/nodes/a/error", "code")]),
    (node(kind="end", error="X"), [("/nodes/a/error", "invalid")]),
    (node(kind="end", end="cancel"), [("/nodes/a/end", "choice")]),
    (node(kind="start", message=1), [("/nodes/a/message", "type")]),
    (
        graph({"s": MESSAGE_START, "r": MESSAGE_START, "a": "job"}, ["s>a", "r>a"]),
        [("/nodes/r/message", "duplicate")],
    ),
    # Scopes.
    (scope(nodes=...), [("/nodes/s/nodes", "value")]),
    (process(nodes={"s": {"kind": "scope"}}), [("/nodes/s", "required")]),
    (scope(nodes={}), [("/nodes/s/nodes", "required")]),
    (scope(limit=1), [("/nodes/s/limit", "invalid")]),
    (scope(**{"as": "x"}), [("/nodes/s/as", "invalid")]),
    (scope(for_each="${input.l}", limit=0), [("/nodes/s/limit", "range")]),
    (scope(for_each="${input.l}", limit="5"), [("/nodes/s/limit", "type")]),
    (scope(for_each="input.l"), [("/nodes/s/for_each", "type")]),
    (scope(for_each={"a": 1}), [("/nodes/s/for_each", "type")]),
    (scope(for_each="${1 +}"), [("/nodes/s/for_each", "expression")]),
    (scope(for_each="${item.l}"), [("/nodes/s/for_each", "unknown_name")]),
    (scope(for_each="${b.l}"), [("/nodes/s/for_each", "unknown_name")]),
    (scope(for_each="${input.l}", output="${b.x + c.x}"), [("/nodes/s/output", "unknown_name")]),
    *(
        (scope(for_each="${input.l}", **{"as": name}), [("/nodes/s/as", "code")])
        for name in ("input", "nodes", "a-b", "true", "int", "secrets", "1a", "package", "loop", "for")
    ),
    (scope(for_each="${input.l}", **{"as": "b"}), [("", "duplicate")]),
    (scope(foreach="${input.l}"), [("/nodes/s/foreach", "unknown_member")]),
    (scope(nodes={"m": MESSAGE_START}), [("/nodes/s/nodes/m/message", "invalid")]),
    (scope(nodes={"b": {"kind": "job"}}), [("/nodes/s/nodes/b", "required")]),
    (scope(nodes={"s": {"kind": "end"}}), [("/nodes/s", "duplicate")]),
    (scope(flows=[{"from": "b", "to": "s"}]), [("/nodes/s/flows/0/to", "unknown_node")]),
    (
        graph({"s": SCOPE, "b": "job"}),
        [("/nodes/b", "duplicate")],
    ),
    (
        process(nodes={"s": SCOPE, "a": {"kind": "job", "topic": "t", "input": "${b.x}"}}),
        [("/nodes/a/input", "unknown_name")],
    ),
    (
        process(nodes={"s": SCOPE, "a": {"kind": "job", "topic": "t", "input": "${nodes.b.x}"}}),
        [("/nodes/a/input", "unknown_name")],
    ),
    (
        process(nodes={"s": {**SCOPE, "for_each": "${input.l}", "as": "x"}, "a": {"kind": "job", "topic": "t", "input": "${x}"}}),
        [("/nodes/a/input", "unknown_name")],
    ),
    # Boundaries.
    (boundary(timer="P1D", attached_to="late"), [("/nodes/late/attached_to", "attachment")]),
    (boundary(timer="P1D", attached_to="zz"), [("/nodes/late/attached_to", "unknown_node")]),
    (boundary(timer="P1D", attached_to="b"), [("/nodes/late/attached_to", "attachment")]),
    (boundary(timer="P1D", attached_to=1), [("/nodes/late/attached_to", "type")]),
    (boundary(), [("/nodes/late", "required")]),
    (boundary(timer="P1D", error="X"), [("/nodes/late", "invalid")]),
    (boundary(timer="soon"), [("/nodes/late/timer", "duration")]),
    (boundary(after="P1D"), [("/nodes/late", "required"), ("/nodes/late/after", "unknown_member")]),
    (boundary(error="a b"), [("/nodes/late/error", "code")]),
    (boundary(error="X", interrupting=False), [("/nodes/late/interrupting", "invalid")]),
    (boundary(timer="P1D", interrupting="no"), [("/nodes/late/interrupting", "type")]),
    (boundary(signal="x", key="y"), [("/nodes/late/key", "invalid")]),
    (boundary(message="x", key="${nope}"), [("/nodes/late/key", "unknown_name")]),
    *(
        (
            graph({"a": kind, "late": {"kind": "boundary", "attached_to": "a", "timer": "P1D"}, "b": "job"}, ["a>b", "late>b"]),
            [("/nodes/late/attached_to", "attachment")],
        )
        for kind in ("set", "start", "xor")
    ),
    (
        graph({"a": "job", "b": "end", **{each: {"kind": "boundary", "attached_to": "a", "error": "X"} for each in ("e", "f")}}, ["a>b", "e>b", "f>b"]),
        [("/nodes/f", "duplicate")],
    ),
    (node(kind="job", topic="t", on_error=1), [("/nodes/a/on_error", "type")]),
    (node(kind="job", topic="t", on_error="zz"), [("/nodes/a/on_error", "unknown_node")]),
    (node(kind="job", topic="t", on_error={"X": "zz", "Y": 1}), [("/nodes/a/on_error/Y", "type"), ("/nodes/a/on_error/X", "unknown_node")]),
    (job(on_error={"a b": "b"}), [("/nodes/a/on_error/a b", "code")]),
    (job(on_error={"a.b": "b"}), [("/nodes/a/on_error/a.b", "code")]),
    (graph({"a" * 60: {"kind": "job", "topic": "t", "on_error": "b"}, "b": "end"}), [(f"/nodes/{'a' * 60}/on_error", "code")]),
    (process(nodes={"flows": {"kind": "job", "topic": "t", "on_error": "zz"}}), [("/nodes/flows/on_error", "unknown_node")]),
    (node(kind="job", topic="t", on_timeout="P1D"), [("/nodes/a/on_timeout", "type")]),
    (job(on_timeout={"to": "b"}), [("/nodes/a/on_timeout", "required")]),
    (node(kind="job", topic="t", on_timeout={"after": "P1D"}), [("/nodes/a/on_timeout", "required")]),
    (job(on_timeout={"after": "x", "to": "b"}), [("/nodes/a/on_timeout/after", "duration")]),
    (node(kind="job", topic="t", on_timeout={"after": "P1D", "to": "zz"}), [("/nodes/a/on_timeout", "unknown_node")]),
    (job(on_timeout={"after": "P1D", "to": "b", "x": 1}), [("/nodes/a/on_timeout/x", "unknown_member")]),
    (node(kind="set", vars={}, on_error="a"), [("/nodes/a/on_error", "attachment")]),
    (node(kind="end", on_timeout={"after": "P1D", "to": "a"}), [("/nodes/a/on_timeout", "attachment")]),
    (
        graph({"a": {"kind": "job", "topic": "t", "on_error": "b"}, "b": "end", "a__error_any": "job"}, ["a>b"]),
        [("/nodes/a/on_error", "duplicate")],
    ),
    # Flows.
    (process(flows={}), [("/flows", "type")]),
    (process(flows=["a>b"]), [("/flows/0", "type")]),
    (process(flows=[{}]), [("/flows/0", "required")] * 2),
    (process(flows=[{"from": "a", "to": "zz"}]), [("/flows/0/to", "unknown_node")]),
    (process(flows=[{"from": "zz", "to": "a"}]), [("/flows/0/from", "unknown_node")]),
    (process(flows=[{"from": 1, "to": "a"}]), [("/flows/0/from", "type")]),
    (flows({"from": "a", "to": "b", "when": "true"}), [("/flows/0/when", "unknown_member")]),
    (flows({"from": "a", "to": "b", "if": True}), [("/flows/0/if", "type")]),
    (flows({"from": "a", "to": "b", "if": "${true}"}), [("/flows/0/if", "expression")]),
    (flows({"from": "a", "to": "b", "if": "a.x >"}), [("/flows/0/if", "expression")]),
    (flows({"from": "a", "to": "b", "if": "c.x"}), [("/flows/0/if", "unknown_name")]),
    (flows({"from": "a", "to": "b", "if": "true", "default": True}), [("/flows/0/if", "flow")]),
    (flows({"from": "a", "to": "b", "default": "yes"}), [("/flows/0/default", "type")]),
    (
        flows({"from": "a", "to": "b", "default": True}, {"from": "a", "to": "b", "default": True}),
        [("/flows/1/default", "flow")],
    ),
    (flows({"from": "a", "to": "b", "id": 1}), [("/flows/0/id", "type")]),
    (flows({"from": "a", "to": "b", "id": "x"}, {"from": "a", "to": "b", "id": "x"}), [("/flows/1/id", "duplicate")]),
    (
        process(
            nodes={"a": {"kind": "job", "topic": "t"}, "s": {**SCOPE, "nodes": {"b": {"kind": "job", "topic": "t"}}, "flows": [{"from": "b", "to": "b", "id": "x"}]}},
            flows=[{"from": "a", "to": "s", "id": "x"}],
        ),
        [("/nodes/s/flows/0/id", "duplicate"), ("/nodes/s/nodes", "no_start")],
    ),
    (graph({"s": "start", "a": "job"}, ["s>a", "a>s"]), [("/flows/1", "flow")]),
    (graph({"a": "job", "e": "end", "b": "job"}, ["a>e", "e>b"]), [("/flows/1", "flow")]),
    (
        graph({"a": "job", "late": {"kind": "boundary", "attached_to": "a", "timer": "P1D"}, "b": "end"}, ["a>late", "late>b"]),
        [("/flows/0", "flow")],
    ),
    (graph({"g": "and", "a": "job"}, [{"from": "g", "to": "a", "if": "true"}]), [("/flows/0/if", "flow")]),
    (graph({"g": "and", "a": "job"}, [{"from": "g", "to": "a", "default": True}]), [("/flows/0/default", "flow")]),
    (graph({"g": "event", "a": "message"}, [{"from": "g", "to": "a", "if": "true"}]), [("/flows/0/if", "flow")]),
    (graph({"g": "event"}), [("/nodes/g", "flow")]),
    (graph({"g": "event", "a": "job", "m": "message"}, ["g>a", "g>m"]), [("/flows/0", "flow")]),
    (graph({"g": "event", "t": "timer", "a": "job"}, ["g>t", "a>t"]), [("/flows/0", "flow")]),
    (graph({"a": "job", "b": "job"}, ["a>b", "b>a"]), [("/nodes", "no_start")]),
    (graph({"s": "start", "a": "job", "b": "job"}, ["s>a"]), [("/nodes/b", "unreachable")]),
    (graph({"s": "start", "a": "job", "b": "job", "c": "job"}, ["s>a", "b>c", "c>b"]), [("/nodes/b", "unreachable"), ("/nodes/c", "unreachable")]),
    (
        graph({"s": "start", "a": "job", "late": {"kind": "boundary", "attached_to": "a", "timer": "P1D"}, "b": "end"}, ["late>b"]),
        [("/nodes/a", "unreachable"), ("/nodes/late", "unreachable"), ("/nodes/b", "unreachable")],
    ),
    # Everything at once.
    (
        {"penstock": 3, "code": "", "nodes": {"a": {"kind": "job"}, "b": {"kind": "nope"}}, "flows": [{"from": "a", "to": "c"}], "x": 1},
        [
            ("/penstock", "invalid"),
            ("/code", "invalid"),
            ("/nodes/a", "required"),
            ("/nodes/b/kind", "unknown_kind"),
            ("/flows/0/to", "unknown_node"),
            ("/x", "unknown_member"),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "found"), BROKEN)
def test_load_refuses(document, found):
    before = deepcopy(document)
    problems = problems_of(document)
    assert [(problem.pointer, problem.code) for problem in problems] == found
    assert not any(problem.warning for problem in problems)
    assert all(0 < len(problem.message) < 400 for problem in problems)
    assert document == before


MESSAGES = [
    (process(nodess={}), "did you mean 'nodes'?"),
    (node(kind="jobb"), "did you mean 'job'?"),
    (node(kind="scoped"), "did you mean 'scope'?"),
    (node(kind="job", topic="t", retry={"max_attemps": 1}), "did you mean 'max_attempts'?"),
    (flows({"from": "a", "to": "b", "if": "inputt.x"}), "did you mean 'input'?"),
    (graph({"score": "job", "b": "job"}, [{"from": "scor", "to": "b"}]), "did you mean 'score'?"),
    (process(tasks={"APPROVE": {}}, nodes={"a": {"kind": "item", "task": "APROVE"}}), "did you mean 'APPROVE'?"),
    (node(kind="transaction"), "transactions are not supported yet"),
    (scope(flows=[{"from": "b", "to": "s"}]), "no node 's' in this graph"),
    (graph({"s": SCOPE, "a": "job"}, ["a>b"]), "stands in another graph"),
    (process(nodes={"s": SCOPE, "a": {"kind": "job", "topic": "t", "input": "${b.x}"}}), "the node 'b' stands in 's'"),
    (node(kind="timer", timer="tomorrow"), "'tomorrow' is not an ISO 8601 duration"),
    (node(kind="http", url="http://x", method="get"), "GET, POST, PUT, PATCH, DELETE"),
]


@pytest.mark.parametrize(("document", "message"), MESSAGES)
def test_messages_help(document, message):
    assert message in problems_of(document)[0].message


WARNED = [
    (graph({"s": "start", "g": "xor", "v": "set", "e": "end"}, ["s>g", "g>v", "v>g", "g>e"]), ["/nodes/g"]),
    (graph({"s": "start", "g": "xor", "a": "job", "e": "end"}, ["s>g", "g>a", "a>g", "g>e"]), []),
    (graph({"s": "start", "g": "xor", "e": "end"}, ["s>g", "g>g", "g>e"]), ["/nodes/g"]),
    (
        graph({"s": "start", "a": "xor", "b": "set", "c": "xor", "d": "set", "e": "end"}, ["s>a", "a>b", "b>a", "a>c", "c>d", "d>c", "c>e"]),
        ["/nodes/a", "/nodes/c"],
    ),
    (
        graph({"s": {"kind": "scope", "nodes": {"t": {"kind": "start"}, "v": {"kind": "set", "vars": {}}}, "flows": [{"from": "t", "to": "v"}, {"from": "v", "to": "v"}]}}),
        ["/nodes/s/nodes/v"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("document", "pointers"), WARNED)
def test_a_loop_in_which_nothing_waits_is_a_warning(document, pointers):
    found, problems = load(document)
    assert isinstance(found, Version)
    assert [(problem.pointer, problem.code, problem.warning) for problem in problems] == [
        (pointer, "busy_loop", True) for pointer in pointers
    ]


def test_names_are_seen_from_inside_a_scope():
    inner = {
        "kind": "scope",
        "for_each": "${paper.pages}",
        "as": "page",
        "nodes": {"read": {"kind": "job", "topic": "t", "input": "${[page, paper, first, nodes.outer, vars.x, read]}"}},
    }
    outer = {
        "kind": "scope",
        "for_each": "${first.papers}",
        "as": "paper",
        "nodes": {"inner": inner},
        "output": "${paper.id}",
    }
    found = version(graph({"first": "job", "outer": outer}, ["first>outer"]))
    assert found.read_outputs == {"first", "outer", "read"}
    assert found.owners == {"first": "", "outer": "", "inner": "outer", "read": "inner"}


def test_elements_may_be_called_alike_in_nested_scopes():
    inner = {"kind": "scope", "for_each": "${item}", "nodes": {"b": {"kind": "job", "topic": "t", "input": "${item}"}}}
    assert version(graph({"s": {"kind": "scope", "for_each": "${input.l}", "nodes": {"t": inner}}}))


def test_problems_are_bounded():
    many = process(nodes={f"n{number}": {"kind": "nope"} for number in range(900)})
    problems = problems_of(many)
    assert len(problems) == 501
    assert problems[-1].code == "limit"


def test_expressions_are_bounded():
    assert [each.code for each in problems_of(node(kind="job", topic="t", input=["${1}"] * 10_001))] == ["limit"]


def test_nothing_is_compiled_when_too_much_is_wrong():
    nodes = {f"n{number}": {"kind": "nope"} for number in range(600)}
    late = {"kind": "job", "topic": "t", "input": "${1 +}"}
    problems = problems_of(process(nodes={**nodes, "late": late}, flows=[{"from": "n1", "to": "late", "if": "1 +"}]))
    assert not any(problem.code == "expression" for problem in problems)


def test_a_boundary_takes_any_error():
    found = version(boundary(error="*"))
    assert found.root.nodes["late"].trigger.error == "*"


def test_problems_text_is_for_reading():
    assert problems_text([]) == ""
    given = [Problem("/nodes/a", "wrong"), Problem("", "odd", "x", warning=True)]
    assert problems_text(given) == "error at /nodes/a: wrong\nwarning: odd"


# ------------------------------------------------------------------------------------------------------ whatever comes

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=2),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), below, max_size=3),
    max_leaves=12,
)
PATHS: list[list[str | int]] = [
    [], ["penstock"], ["code"], ["name"], ["name", "en"], ["driver"], ["data"], ["data", "input"], ["search"],
    ["search", 0], ["permissions"], ["permissions", "manager"], ["tasks"], ["tasks", "APPROVE"],
    ["tasks", "APPROVE", "schema"], ["tasks", "APPROVE", "due"], ["nodes"], ["nodes", "score"], ["nodes", "score", "kind"],
    ["nodes", "score", "retry"], ["nodes", "score", "input"], ["nodes", "checks", "nodes"], ["nodes", "checks", "flows"],
    ["nodes", "checks", "for_each"], ["nodes", "checks", "as"], ["nodes", "checks", "limit"],
    ["nodes", "checks", "nodes", "check", "on_error"], ["nodes", "approve", "on_timeout"], ["nodes", "late", "attached_to"],
    ["nodes", "late", "timer"], ["nodes", "notify", "headers"], ["nodes", "notify", "url"], ["flows"], ["flows", 0],
    ["flows", 0, "from"], ["flows", 0, "if"], ["flows", 1, "default"], ["output"], ["extensions"],
]  # fmt: skip


@given(anything)
def test_any_value_is_loaded_or_refused(value):
    found, problems = load(value)
    assert found is None
    assert problems


@settings(max_examples=300)
@given(st.sampled_from(PATHS), anything)
def test_any_member_may_be_anything(path, value):
    document, _ = read_document(LOAN, "yaml")
    holder = {"": document}
    place = ""
    for step in path:
        holder, place = holder[place], step
    holder[place] = value
    document = document if path else value
    found, problems = load(document)
    assert (found is None) == any(not problem.warning for problem in problems)


@settings(max_examples=60)
@given(st.sampled_from([path for path in PATHS if path]))
def test_any_member_may_be_missing(path):
    document, _ = read_document(LOAN, "yaml")
    holder = document
    for step in path[:-1]:
        holder = holder[step]
    del holder[path[-1]]
    found, problems = load(document)
    assert (found is None) == bool(problems)


def test_loading_twice_gives_the_same():
    value, _ = read_document(LOAN, "yaml")
    before = deepcopy(value)
    first, second = load(value)[0], load(value)[0]
    assert first == second
    assert value == before
