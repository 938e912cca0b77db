"""From a definition's document to the version the engine runs, or to the list of everything that is wrong with it.

`read_document` makes a plain value of bytes; `load` checks and compiles a value. Neither raises on bad input.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from penstock.core.checking import check_names
from penstock.core.definition import Driver, Start, Task, Text, Version
from penstock.core.expression import Template
from penstock.core.graphs import EMPTY, Draft, load_graph, written_flow_ids
from penstock.core.members import CODE, Members, Source, nearest, shown
from penstock.core.pointers import escape
from penstock.core.reading import check_plain, read_document
from penstock.errors import Problem

__all__ = ["load", "problems_text", "read_document"]

FORMAT = 1
"""The number a document gives as `penstock`."""
ROLES = ("initiator", "candidate", "viewer", "manager", "administrator")
MAX_SEARCH = 32

_SEARCH = re.compile(r"(?:metadata|entity|input)(?:\.[A-Za-z_][A-Za-z0-9_-]{0,63}){1,8}")


def load(value: Any) -> tuple[Version | None, list[Problem]]:
    """The version, and warnings; or None, and every problem with its pointer."""
    problems = check_plain(value)
    if problems:
        return None, problems
    source = Source()
    members = Members(source, value, "")
    version = _load(source, members) if isinstance(value, dict) else None
    if all(problem.warning for problem in source.problems):
        return version, source.problems
    return None, source.problems


def problems_text(problems: Iterable[Problem]) -> str:
    """One line each: `error at /nodes/a/kind: …`."""
    return "\n".join(
        f"{'warning' if problem.warning else 'error'}{f' at {problem.pointer}' if problem.pointer else ''}: {problem.message}"
        for problem in problems
    )


def _load(source: Source, members: Members) -> Version:
    number = members.raw("penstock", required=True)
    if members.has("penstock") and (number != FORMAT or not isinstance(number, int) or isinstance(number, bool)):
        members.problem("penstock", f"must be {FORMAT}, the number of this format, not {shown(number)}", "invalid")
    code = members.code("code", required=True) or ""
    name: Text = members.label("name")
    driver = Driver(members.choice("driver", list(Driver), Driver.GRAPH) or Driver.GRAPH)
    members.mapping("extensions")
    schemas = _schemas(members)
    tasks = _tasks(members)
    draft = Draft(source, written_flow_ids(source, members.value))
    root = EMPTY
    if driver is Driver.GRAPH or (driver is Driver.CLIENT and members.has("nodes")):
        root = load_graph(draft, members, "")
    elif driver is Driver.CLIENT and members.has("flows"):
        members.problem("flows", "there are no nodes they could join", "invalid")
        members.asked.append("flows")
    temporal = _temporal(members, driver)
    search = _search(members)
    permissions = _permissions(members)
    output: Template | None = members.template("output")
    members.asked += [each for each in ("nodes", "flows") if each not in members.asked]
    members.close()
    _check_items(source, draft, tasks)
    _check_elements(source, draft)
    return Version(
        code=code,
        name=name,
        driver=driver,
        root=root,
        tasks=tasks,
        places=draft.places,
        owners=draft.owners,
        schemas=schemas,
        read_outputs=check_names(source, source.uses, draft.owners, draft.scopes),
        output=output,
        search=search,
        permissions=permissions,
        temporal=temporal,
        messages=_messages(source, root.nodes.values()),
    )


def _schemas(members: Members) -> dict[str, dict[str, Any]]:
    value = members.mapping("data")
    if value is None:
        return {}
    inner = Members(members.source, value, members.at("data"))
    found = {name: inner.schema(name) for name in ("input", "metadata", "entity")}
    inner.close()
    return {name: schema for name, schema in found.items() if schema is not None}


def _tasks(members: Members) -> dict[str, Task]:
    tasks: dict[str, Task] = {}
    for code, value in (members.mapping("tasks") or {}).items():
        pointer = f"{members.at('tasks')}/{escape(code)}"
        if not CODE.fullmatch(code):
            members.source.problem(pointer, f"{shown(code)} is not a code", "code")
        inner = Members(members.source, value, pointer)
        tasks[code] = Task(
            code=code,
            name=inner.label("name"),
            description=inner.label("description"),
            schema=inner.schema("schema"),
            ui=inner.mapping("ui"),
            candidates=inner.grantees("candidates"),
            due=inner.duration("due"),
            priority=inner.integer("priority", 0, -1_000, 1_000),
        )
        inner.close()
    return tasks


def _temporal(members: Members, driver: Driver) -> dict[str, str] | None:
    value = members.mapping("temporal", required=driver is Driver.CODE)
    if driver is not Driver.CODE:
        if members.has("temporal"):
            members.problem("temporal", f"belongs to the driver code, this one is {driver}", "invalid")
        return None
    for name in ("nodes", "flows"):
        if members.has(name):
            members.problem(name, "a definition driven by code has none", "invalid")
    if value is None:
        return None
    inner = Members(members.source, value, members.at("temporal"))
    found = {name: inner.text(name, required=True) or "" for name in ("workflow_type", "task_queue")}
    inner.close()
    return found


def _search(members: Members) -> tuple[str, ...]:
    found: list[str] = []
    for index, value in enumerate(members.sequence("search")):
        pointer = f"{members.at('search')}/{index}"
        if not isinstance(value, str) or not _SEARCH.fullmatch(value):
            what = "a path such as metadata.customer, entity.id or input.number"
            members.source.problem(pointer, f"{shown(value)} is not {what}", "invalid")
        elif value in found:
            members.source.problem(pointer, f"{value} stands twice", "duplicate")
        else:
            found.append(value)
    if len(found) > MAX_SEARCH:
        members.problem("search", f"may have {MAX_SEARCH} entries", "limit")
    return tuple(found)


def _permissions(members: Members) -> dict[str, tuple[str, ...]]:
    value = members.mapping("permissions")
    if value is None:
        return {}
    inner = Members(members.source, value, members.at("permissions"))
    found = {role: inner.grantees(role) for role in ROLES}
    inner.close()
    return {role: grantees for role, grantees in found.items() if grantees}


def _check_items(source: Source, draft: Draft, tasks: dict[str, Task]) -> None:
    for pointer, task in draft.items:
        if task and task not in tasks:
            source.problem(pointer, f"there is no task {shown(task)}{nearest(task, tasks)}", "unknown_task")


def _check_elements(source: Source, draft: Draft) -> None:
    """An element's name must not hide a node: expressions could mean either."""
    for scope in draft.scopes.values():
        if scope.for_each is not None and scope.as_name in draft.owners:
            message = f"the scope {scope.code!r} calls its elements {scope.as_name!r}, which is the code of a node"
            source.problem("", f"{message}; give another name with as", "duplicate")


def _messages(source: Source, nodes: Iterable[Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, Start) and node.message is not None:
            if node.message in found:
                message = f"{found[node.message]!r} is started by this message already"
                source.problem(f"/nodes/{escape(node.code)}/message", message, "duplicate")
            found.setdefault(node.message, node.code)
    return found
