"""Workflows: a vendor's tasks and hierarchy to a definition's document, and any definition to tasks and hierarchy. Pure.

A workflow made at this door becomes nodes in this way: a trigger is a start, any other task a job on the topic of its subject,
an edge a flow; a task with several parents waits for all of them. A task that fails is not tried again, and nothing
behind it begins. What was sent is kept in the definition's `extensions`, and given back from there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from uuid import UUID, uuid5

import msgspec

from penstock.core.definition import AnyNode, Boundary, Graph, Http, Item, Job, Message, Robot, ScopeNode, Start, Text
from penstock.core.definition import Call as CallNode
from penstock.core.durations import format_time
from penstock.core.graphs import MAX_FLOWS, MAX_NODES
from penstock.core.reachability import reachable
from penstock.dialects.executions import models
from penstock.errors import Invalid, Problem

EXTENSION = "executions"
"""Where a definition made at this door keeps what was sent."""

LARGEST_PARAMETERS = 256 * 1024
DEEPEST = 48
"""Levels of the body; a stored document may have some more, which its own members take."""
LONGEST_NAME = 10_000

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SUBJECTS = UUID("b1d7e7a2-6f0c-5c7e-9b5a-0d3f3b6a7c11")
"""Namespace of the ids of things that have none of their own."""

Pair = tuple[str, str]


def is_uuid(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def canonical(id: str) -> str:
    """UUIDs are compared and kept in lower case."""
    return id.lower()


# -- a workflow that was sent ----------------------------------------------------------------------------------------


def parse_workflow(body: models.WorkflowRequest, content: bytes) -> dict[str, Any]:
    """A definition's document without its code; `content` has the members that the body's type does not know.

    Raises: Invalid with every problem.
    """
    draft = body.data
    raw = _members(_members(msgspec.json.decode(content))["data"])
    tasks = [_task(index, each) for index, each in enumerate(draft.tasks)]
    problems = list(_check(draft, tasks, raw))
    if problems:
        raise Invalid(f"the workflow has {len(problems)} problem{'s' * (len(problems) != 1)}", problems)
    edges = [models.Edge(parent=parent, child=child) for parent, child in _pairs(draft)]
    kept = models.Kept(name=draft.name or "", tasks=tasks, tasks_hierarchy=edges)
    sent = msgspec.to_builtins(kept)
    for task, given in zip(sent["tasks"], raw["tasks"], strict=True):
        task.update(_unknown(given, _OF_TASK))
    sent.update(_unknown(raw, _OF_WORKFLOW))
    return {
        "penstock": 1,
        "name": kept.name,
        "nodes": {code_of(task.id): _node(task) for task in tasks},
        "flows": [{"from": code_of(edge.parent), "to": code_of(edge.child)} for edge in edges],
        "extensions": {EXTENSION: sent},
    }


def code_of(id: str) -> str:
    """The node of a task."""
    return f"t{UUID(id).hex}"


def _task(index: int, draft: models.TaskDraft) -> models.Task:
    subject = canonical(draft.subject_id or "")
    return models.Task(
        id=canonical(draft.id) if draft.id is not None else str(uuid5(_SUBJECTS, f"{index}/{subject}")),
        subject_id=subject,
        name=draft.name or "",
        parameters=draft.parameters or {},
        is_trigger=bool(draft.is_trigger),
    )


def _pairs(draft: models.WorkflowDraft) -> list[Pair]:
    """The edges, each once."""
    edges = draft.tasks_hierarchy or []
    return list(dict.fromkeys((canonical(edge.parent or ""), canonical(edge.child or "")) for edge in edges))


def _node(task: models.Task) -> dict[str, Any]:
    if task.is_trigger:
        return {"kind": "start", "name": task.name}
    return {
        "kind": "job",
        "name": task.name,
        "topic": task.subject_id,
        "input": _literal(task.parameters),
        "join": "all",
        "retry": {"max_attempts": 1},
    }


def _literal(value: Any) -> Any:
    """A template that renders to the value as it is."""
    match value:
        case str():
            return value.replace("${", "$${")
        case dict():
            return {key: _literal(each) for key, each in value.items()}
        case list():
            return [_literal(each) for each in value]
        case _:
            return value


def _members(value: dict[str, Any]) -> dict[str, Any]:
    """A map with the names the door knows in their own spelling; of several spellings the last counts."""
    return {_SPELLINGS.get(name.lower(), name): each for name, each in value.items()}


_SPELLINGS = {name.lower(): name for name in ("data", "tasks")}


def _spelt(kind: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name.lower() for field in msgspec.structs.fields(kind))


_OF_TASK, _OF_WORKFLOW = _spelt(models.Task), _spelt(models.Workflow)


def _unknown(value: dict[str, Any], known: frozenset[str]) -> dict[str, Any]:
    return {name: each for name, each in value.items() if name.lower() not in known}


# -- checks ----------------------------------------------------------------------------------------------------------


def _check(draft: models.WorkflowDraft, tasks: list[models.Task], raw: dict[str, Any]) -> Iterator[Problem]:
    if len(draft.tasks) > MAX_NODES:
        yield Problem("/data/tasks", f"a workflow may have {MAX_NODES:,} tasks", "limit")
        return
    pairs = _pairs(draft)
    if len(pairs) > MAX_FLOWS:
        yield Problem("/data/tasksHierarchy", f"a workflow may have {MAX_FLOWS:,} edges", "limit")
        return
    if _deeper(raw, DEEPEST):
        yield Problem("/data", f"nests more than {DEEPEST} levels deep", "nesting")
    if len(draft.name or "") > LONGEST_NAME:
        yield Problem("/data/name", f"may have {LONGEST_NAME:,} characters", "limit")
    yield from _check_tasks(draft, tasks)
    known = {task.id: task for task in tasks}
    fit = [(parent, child) for parent, child in pairs if parent in known and child in known and parent != child]
    yield from _check_edges(draft, known)
    yield from _check_shape(tasks, fit)


def _check_tasks(draft: models.WorkflowDraft, tasks: list[models.Task]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, task in enumerate(tasks):
        at = f"/data/tasks/{index}"
        if not is_uuid(task.id):
            yield Problem(f"{at}/id", "must be a UUID", "id")
        elif task.id in seen:
            yield Problem(f"{at}/id", f"another task has the id {task.id}", "duplicate")
        seen.add(task.id)
        if draft.tasks[index].subject_id is None:
            yield Problem(f"{at}/subjectId", "is missing", "required")
        elif not is_uuid(task.subject_id):
            yield Problem(f"{at}/subjectId", "must be a UUID", "id")
        if len(task.name) > LONGEST_NAME:
            yield Problem(f"{at}/name", f"may have {LONGEST_NAME:,} characters", "limit")
        if len(msgspec.json.encode(task.parameters)) > LARGEST_PARAMETERS:
            yield Problem(f"{at}/parameters", f"may have {LARGEST_PARAMETERS:,} bytes", "too_large")


def _check_edges(draft: models.WorkflowDraft, tasks: Mapping[str, models.Task]) -> Iterator[Problem]:
    told: set[Pair] = set()
    for index, edge in enumerate(draft.tasks_hierarchy or []):
        at = f"/data/tasksHierarchy/{index}"
        parent, child = canonical(edge.parent or ""), canonical(edge.child or "")
        if (parent, child) in told:
            continue
        told.add((parent, child))
        for name, id in (("parent", parent), ("child", child)):
            if id not in tasks:
                yield Problem(f"{at}/{name}", f"there is no task {id}" if id else "is missing", "unknown_task")
        if parent == child and parent in tasks:
            yield Problem(at, "a task cannot come after itself", "self")
        elif child in tasks and tasks[child].is_trigger:
            yield Problem(f"{at}/child", f"{child} is a trigger, and a trigger has no parent", "trigger")


def _check_shape(tasks: list[models.Task], pairs: list[Pair]) -> Iterator[Problem]:
    triggers = [task.id for task in tasks if task.is_trigger]
    if not triggers:
        yield Problem("/data/tasks", "there is no trigger: nothing would begin", "trigger")
    successors: dict[str, list[str]] = {task.id: [] for task in tasks}
    for parent, child in pairs:
        successors[parent].append(child)
    found = reachable(triggers, successors)
    for index, task in enumerate(tasks):
        if triggers and task.id not in found:
            yield Problem(f"/data/tasks/{index}", f"no trigger leads to {task.id}", "unreachable")
    if round_about := _cyclic(successors, pairs):
        shown = ", ".join(round_about[:10]) + (", …" if len(round_about) > 10 else "")
        yield Problem("/data/tasksHierarchy", f"goes round in a circle through {shown}", "cycle")


def _cyclic(ids: Iterable[str], pairs: list[Pair]) -> list[str]:
    """What lies on circles, or between two: what is left when all ends are taken off, again and again."""
    left = list(ids)
    for parent, child in ((0, 1), (1, 0)):
        inside = set(left)
        edges = [(pair[parent], pair[child]) for pair in pairs if inside.issuperset(pair)]
        before = Counter(to for _, to in edges)
        after: dict[str, list[str]] = {}
        for source, to in edges:
            after.setdefault(source, []).append(to)
        ends = [id for id in left if not before[id]]
        for id in ends:  # grows while it is gone through
            inside.discard(id)
            for to in after.get(id, ()):
                before[to] -= 1
                if not before[to]:
                    ends.append(to)
        left = [id for id in left if id in inside]
    return left


def _deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    if inner is None:
        return False
    return levels == 0 or any(_deeper(each, levels - 1) for each in inner)


# -- any definition --------------------------------------------------------------------------------------------------


class Shape(NamedTuple):
    """Tasks and edges of a version, and whose task a node is."""

    tasks: list[models.Task]
    edges: list[models.Edge]
    by_node: Mapping[str, models.Task]


def render_workflow(workflow: Any) -> dict[str, Any]:
    """As `models.Workflow`, with what else was sent."""
    shape, made_here = render_shape(workflow), _kept(workflow) is not None
    found = models.Workflow(
        id=workflow.id,
        name=_name(workflow.version.name) or ("" if made_here else workflow.version.code),
        version=workflow.number,
        enabled=workflow.active,
        created=format_time(workflow.created_at),
        tasks=shape.tasks,
        tasks_hierarchy=shape.edges,
    )
    plain: dict[str, Any] = msgspec.to_builtins(found)
    if not made_here:
        return plain
    sent = workflow.document["extensions"][EXTENSION]
    return {**plain, "tasks": sent["tasks"], **_unknown(sent, _OF_WORKFLOW)}


def _kept(workflow: Any) -> models.Kept | None:
    """What was sent, if the definition is that and nothing else."""
    sent = workflow.document.get("extensions", {}).get(EXTENSION)
    try:
        kept = msgspec.convert(sent, models.Kept)
    except msgspec.ValidationError:
        return None
    ids = [task.id for task in kept.tasks]
    if not all(map(is_uuid, ids)) or {code_of(id) for id in ids} != workflow.version.root.nodes.keys():
        return None
    return kept


def render_shape(workflow: Any) -> Shape:
    kept = _kept(workflow)
    if kept is not None:
        return Shape(kept.tasks, kept.tasks_hierarchy, {code_of(task.id): task for task in kept.tasks})
    return _Drawing(workflow).shape()


class _Drawing:
    """A definition of any origin, drawn as tasks: scopes are parents of what stands in them, boundaries are left out."""

    def __init__(self, workflow: Any) -> None:
        self.namespace = UUID(workflow.id)
        self.tenant = workflow.tenant
        self.root: Graph = workflow.version.root
        self.document = workflow.document
        self.by_node: dict[str, models.Task] = {}
        self.pairs: dict[Pair, None] = {}

    def shape(self) -> Shape:
        self._graph(self.root, self.document.get("nodes", {}), inside=False)
        tasks = list({task.id: task for task in self.by_node.values()}.values())
        if (first := self._implicit()) is not None:
            tasks.insert(0, first)
        edges = [models.Edge(parent=parent, child=child) for parent, child in self.pairs]
        return Shape(tasks, edges, self.by_node)

    def _id(self, code: str) -> str:
        return str(uuid5(self.namespace, code))

    def _implicit(self) -> models.Task | None:
        """The trigger of a graph that begins without a start of its own: a task that is work cannot be why we run."""
        begins = [code for code in self.root.starts if not isinstance(self.root.nodes[code], Start)]
        if not begins:
            return None
        id = self._id("@start")
        self.pairs = {**{(id, self.by_node[code].id): None for code in begins}, **self.pairs}
        subject = str(uuid5(_SUBJECTS, f"{self.tenant}/start:"))
        return models.Task(id=id, subject_id=subject, name="Start", parameters={}, is_trigger=True)

    def _graph(self, graph: Graph, written: Mapping[str, Any], *, inside: bool) -> None:
        for code, node in graph.nodes.items():
            if not isinstance(node, Boundary):
                self._node(node, written.get(code, {}), trigger=isinstance(node, Start) and not inside)
        for code, node in graph.nodes.items():
            if isinstance(node, Boundary):
                self.by_node[code] = self.by_node[node.attached_to]
        for flow in graph.flows:
            self.pairs[self.by_node[flow.source].id, self.by_node[flow.target].id] = None

    def _node(self, node: AnyNode, written: Mapping[str, Any], *, trigger: bool) -> None:
        id = self._id(node.code)
        self.by_node[node.code] = models.Task(
            id=id,
            subject_id=self._subject(node, written),
            name=_name(node.name) or node.code,
            parameters=_parameters(node, written),
            is_trigger=trigger,
        )
        if isinstance(node, ScopeNode):
            self._graph(node.graph, written.get("nodes", {}), inside=True)
            for code in node.graph.starts:
                self.pairs[id, self.by_node[code].id] = None

    def _subject(self, node: AnyNode, written: Mapping[str, Any]) -> str:
        if isinstance(node, Job) and is_uuid(node.topic):
            return node.topic
        return str(uuid5(_SUBJECTS, f"{self.tenant}/{node.kind}:{_thing(node, written)}"))


def _thing(node: AnyNode, written: Mapping[str, Any]) -> str:
    """What a node runs, and others may run too; "" for what runs nothing of its own."""
    match node:
        case Job():
            return node.topic
        case Http():
            return str(written.get("url", ""))
        case Robot():
            return node.robot
        case Item():
            return node.task
        case CallNode():
            return node.definition
        case Message():
            return node.trigger.message or node.trigger.signal or ""
        case _:
            return ""


_STRUCTURE = frozenset({"kind", "name", "join", "extensions", "on_error", "on_timeout", "retry", "nodes", "flows"})


def _parameters(node: AnyNode, written: Mapping[str, Any]) -> dict[str, Any]:
    """What is written: a worker's input, or what else the node's kind is told."""
    if isinstance(node, Job | Robot | Item | CallNode):
        given = written.get("input", {})
        return given if isinstance(given, dict) else {"input": given}
    return {name: value for name, value in written.items() if name not in _STRUCTURE}


def _name(text: Text) -> str:
    if isinstance(text, str):
        return text
    return text.get("en") or next(iter(text.values()), "")
