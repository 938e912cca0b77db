"""Workflows that are sent: every problem is named with its place, and random graphs are judged as by definition."""

from __future__ import annotations

import json
import uuid

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.executions.door import Drawn
from penstock.core import loading
from penstock.core.expression import compile_template
from penstock.dialects.executions import models
from penstock.dialects.executions.graphs import EXTENSION, code_of, parse_workflow, render_shape, render_workflow
from penstock.dialects.executions.mapping import property_of
from penstock.errors import Invalid
from penstock.operations.executions import Workflow

ID = str(uuid.uuid4())
OTHER = str(uuid.uuid4())


def read(data):
    content = json.dumps({"data": data}).encode()
    return parse_workflow(msgspec.json.decode(content, type=models.WorkflowRequest), content)


def problems(data):
    try:
        read(data)
    except Invalid as error:
        return [(property_of(each.pointer), each.message) for each in error.problems]
    return []


def workflow(document):
    document = {"code": "made", **document}
    version, found = loading.load(document)
    assert version is not None, found
    return Workflow(ID, OTHER, 1, True, 0, document, version)


def task(id=ID, **more):
    return {"id": id, "subjectId": OTHER, "name": "n", "isTrigger": True, **more}


BAD = [
    ({"tasks": []}, ["data.tasks"]),
    ({"tasks": [task(isTrigger=False)]}, ["data.tasks"]),
    ({"tasks": [task("1")]}, ["data.tasks[0].id"]),
    ({"tasks": [task("")]}, ["data.tasks[0].id"]),
    ({"tasks": [task(), task(ID.upper())]}, ["data.tasks[1].id"]),
    ({"tasks": [task(subjectId=None), task(OTHER, subjectId="x")]}, ["data.tasks[0].subjectId", "data.tasks[1].subjectId"]),
    ({"tasks": [task()], "tasksHierarchy": [{"parent": ID}]}, ["data.tasksHierarchy[0].child"]),
    ({"tasks": [task()], "tasksHierarchy": [{"parent": OTHER, "child": "x"}]}, ["data.tasksHierarchy[0].parent", "data.tasksHierarchy[0].child"]),
    ({"tasks": [task()], "tasksHierarchy": [{"parent": ID, "child": ID}]}, ["data.tasksHierarchy[0]"]),
    ({"tasks": [task(), task(OTHER)], "tasksHierarchy": [{"parent": ID, "child": OTHER}]}, ["data.tasksHierarchy[0].child"]),
    ({"tasks": [task(), task(OTHER, isTrigger=False)]}, ["data.tasks[1]"]),
    ({"tasks": [task(parameters={"x": "y" * 262_144})]}, ["data.tasks[0].parameters"]),
    ({"tasks": [task(name="y" * 10_001)], "name": "y" * 10_001}, ["data.name", "data.tasks[0].name"]),
    ({"tasks": [task(parameters=json.loads('{"a":' * 60 + "1" + "}" * 60))]}, ["data"]),
    ({"tasks": [task(str(uuid.uuid4())) for _ in range(1_001)]}, ["data.tasks"]),
]  # fmt: skip


@pytest.mark.parametrize(("data", "where"), BAD, ids=[str(row[1]) for row in BAD])
def test_every_problem_is_named_with_its_place(data, where):
    assert [place for place, _ in problems(data)] == where


def test_a_circle_is_told_with_its_tasks_and_not_with_what_hangs_on_it():
    drawn = Drawn("t>a a>b b>c c>b c>d")
    ((where, message),) = problems(drawn.data)
    assert where == "data.tasksHierarchy"
    assert [drawn.names[id] for id in message.partition("through ")[2].split(", ")] == ["b", "c"]


def test_problems_reach_the_caller_as_validation(caller):
    data = {"tasks": [task("1", subjectId=None)], "tasksHierarchy": [{"parent": "1", "child": "2"}]}
    answer = caller.call("POST", caller.workflows, {"data": data}, 400)
    found = [each["property"] for each in answer["meta"]["validation"]]
    assert found == ["data.tasks[0].id", "data.tasks[0].subjectId", "data.tasksHierarchy[0].child"]
    wrong = caller.call("POST", caller.workflows, {"data": {"tasks": [task(parameters=[])]}}, 400)
    assert wrong["meta"]["validation"][0]["property"] == "data.tasks[0].parameters"


def test_what_came_in_is_given_back(caller):
    data = {
        "Name": "Ein Name",
        "color": {"Of": "the box"},
        "TASKS": [
            {"ID": ID.upper(), "SubjectId": OTHER, "NAME": "why", "ISTRIGGER": True, "x-Place": [1, 2]},
            {"subjectId": ID, "parameters": {"SubjectId": "stays", "text": "${x}"}, "id": OTHER},
            {"subjectId": ID, "isTrigger": True, "name": None, "parameters": None},
        ],
        "tasksHierarchy": [{"Parent": ID, "CHILD": OTHER}, {"parent": ID.upper(), "child": OTHER}],
    }
    made = caller.call("POST", caller.workflows, {"Data": data})["data"]
    assert made == caller.call("GET", f"{caller.workflows}/{made['id']}")["data"]
    third = made["tasks"][2].pop("id")
    assert uuid.UUID(third)
    assert made | {"id": 0, "created": 0} == {
        "id": 0,
        "created": 0,
        "name": "Ein Name",
        "color": {"Of": "the box"},
        "version": 1,
        "enabled": True,
        "tasks": [
            {"id": ID, "subjectId": OTHER, "name": "why", "parameters": {}, "isTrigger": True, "x-Place": [1, 2]},
            {
                "id": OTHER,
                "subjectId": ID,
                "name": "",
                "parameters": {"SubjectId": "stays", "text": "${x}"},
                "isTrigger": False,
            },
            {"subjectId": ID, "name": "", "parameters": {}, "isTrigger": True},
        ],
        "tasksHierarchy": [{"parent": ID, "child": OTHER}],
    }


def test_a_workflow_repeated_with_its_key_is_made_once(caller):
    headers = {"Idempotency-Key": f"make-{ID}"}
    body = {"data": Drawn("t>a").data}
    first = caller.call("POST", caller.workflows, body, headers=headers)
    assert caller.call("POST", caller.workflows, body, headers=headers) == first
    assert caller.call("POST", caller.workflows, body)["data"]["id"] != first["data"]["id"]


# -- random graphs ---------------------------------------------------------------------------------------------------


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 7))
    triggers = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    if draw(st.booleans()):
        triggers[0] = True
    upward = draw(st.booleans())
    pair = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = draw(st.lists(pair, max_size=12))
    if upward:  # such graphs are often valid
        edges = [(one, other) for one, other in edges if one < other and not triggers[other]]
    return triggers, edges


def is_valid(triggers, edges):
    """By definition: reachability by Warshall, and nothing of what the door does."""
    count = len(triggers)
    reach = [[(one, other) in edges for other in range(count)] for one in range(count)]
    for via in range(count):
        for one in range(count):
            for other in range(count):
                reach[one][other] = reach[one][other] or (reach[one][via] and reach[via][other])
    begin = [at for at in range(count) if triggers[at]]
    return (
        bool(begin)
        and not any(reach[at][at] for at in range(count))
        and not any(triggers[child] for _, child in edges)
        and all(triggers[at] or any(reach[one][at] for one in begin) for at in range(count))
    )


IDS = [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(number))) for number in range(7)]


@given(graphs())
def test_exactly_the_valid_graphs_are_accepted(graph):
    triggers, edges = graph
    data = {
        "tasks": [task(IDS[at], isTrigger=trigger) for at, trigger in enumerate(triggers)],
        "tasksHierarchy": [{"parent": IDS[one], "child": IDS[other]} for one, other in edges],
    }
    found = problems(data)
    assert (not found) == is_valid(triggers, edges), found
    if found:
        return
    made = workflow(read(data))
    shape = render_shape(made)
    assert [each.id for each in shape.tasks] == IDS[: len(triggers)]
    assert [(each.parent, each.child) for each in shape.edges] == [
        (IDS[one], IDS[other]) for one, other in dict.fromkeys(edges)
    ]
    assert set(made.version.root.starts) == {code_of(IDS[at]) for at, trigger in enumerate(triggers) if trigger}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text("${} aβ")
    | st.sampled_from(["${x}", "$${", "$$${a}"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("${ab", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("${ab", min_size=1), JSON, max_size=3))
def test_parameters_reach_a_worker_as_they_were_sent(parameters):
    data = {
        "tasks": [task(), task(OTHER, isTrigger=False, parameters=parameters)],
        "tasksHierarchy": [{"parent": ID, "child": OTHER}],
    }
    document = read(data)
    assert compile_template(document["nodes"][code_of(OTHER)]["input"]).render({}) == parameters
    assert render_shape(workflow(document)).tasks[1].parameters == parameters


# -- any definition --------------------------------------------------------------------------------------------------

NATIVE = {
    "penstock": 1,
    "name": {"es": "Préstamo", "en": "Loan"},
    "tasks": {"LOOK": {"name": "Look"}},
    "nodes": {
        "begin": {"kind": "start"},
        "told": {"kind": "start", "message": "told"},
        "score": {"kind": "job", "topic": "loan.score", "input": "${input}", "on_error": "sorry"},
        "same": {"kind": "job", "topic": "loan.score", "input": {"a": 1}},
        "sorry": {"kind": "http", "url": "https://example.com/x", "method": "PUT", "name": "Say sorry"},
        "late": {"kind": "boundary", "attached_to": "score", "timer": "P2D", "interrupting": False},
        "look": {"kind": "item", "task": "LOOK"},
        "wait": {"kind": "timer", "after": "PT1H"},
        "end": {"kind": "end"},
    },
    "flows": [
        {"from": "begin", "to": "score"}, {"from": "told", "to": "score"}, {"from": "score", "to": "same"},
        {"from": "late", "to": "sorry"}, {"from": "same", "to": "look"}, {"from": "look", "to": "wait"},
        {"from": "wait", "to": "look"}, {"from": "look", "to": "end"},
    ],
}  # fmt: skip


def test_a_native_definition_is_drawn_as_tasks():
    made = workflow(NATIVE)
    shape = render_shape(made)
    by_name = {each.name: each for each in shape.tasks}
    assert list(by_name) == ["begin", "told", "score", "same", "Say sorry", "look", "wait", "end"]
    assert [each.name for each in shape.tasks if each.is_trigger] == ["begin", "told"]
    names = {each.id: each.name for each in shape.tasks}
    edges = [(names[each.parent], names[each.child]) for each in shape.edges]
    assert ("score", "Say sorry") in edges
    assert len(edges) == len(set(edges)) == 8
    assert shape.by_node["late"] is shape.by_node["score"]
    assert by_name["score"].subject_id == by_name["same"].subject_id != by_name["look"].subject_id
    assert by_name["score"].parameters == {"input": "${input}"}
    assert by_name["same"].parameters == {"a": 1}
    assert by_name["Say sorry"].parameters == {"url": "https://example.com/x", "method": "PUT"}
    assert by_name["wait"].parameters == {"after": "PT1H"}
    again = render_shape(workflow(NATIVE))
    assert again.tasks == shape.tasks
    assert render_workflow(made)["name"] == "Loan"


@pytest.mark.parametrize("kept", ["x", {}, {"name": "", "tasks": [], "tasksHierarchy": []}, {"name": 1, "tasks": 2}])
def test_an_extension_that_is_not_ours_is_no_workflow_of_ours(kept):
    made = workflow({**NATIVE, "extensions": {EXTENSION: kept}})
    assert [each.name for each in render_shape(made).tasks][:2] == ["begin", "told"]
