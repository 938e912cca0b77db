"""Graphs of a definition's document: nodes, flows, short forms, nested scopes."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.core.checking import Level, check_graph
from penstock.core.definition import AnyNode, Flow, Graph, Job, Join, ScopeNode
from penstock.core.expression import compile_template
from penstock.core.members import CODE, Members, Source, nearest, shown
from penstock.core.nodes import Common, Shortcut, load_node, load_shortcuts
from penstock.core.pointers import escape
from penstock.core.reachability import build_graph
from penstock.core.syntax import KEYWORDS, RESERVED_WORDS, STANDARD_ROOTS, TYPE_NAMES

MAX_NODES = 1_000
"""Of a version; the tables of what lies after a node grow with its square."""
MAX_FLOWS = 4_000
MAX_PARALLEL = 10_000

EMPTY = build_graph({}, ())
_RESERVED = KEYWORDS | RESERVED_WORDS | STANDARD_ROOTS | TYPE_NAMES | {"secrets"}


class Draft(msgspec.Struct):
    """What is known of a version while its graphs are read, innermost first."""

    source: Source
    flow_ids: dict[str, str] = {}
    """Id -> pointer of the flow that has it; those written are here from the start."""
    places: dict[str, Graph] = {}
    owners: dict[str, str] = {}
    scopes: dict[str, ScopeNode] = {}
    items: list[tuple[str, str]] = []
    """Pointer and task of each item node."""
    flows: int = 0


def load_graph(draft: Draft, members: Members, place: str) -> Graph:
    """The graph in the members `nodes` and `flows`, which stand in the scope node `place`."""
    level = Level(pointer=members.pointer, place=place)
    nodes = members.mapping("nodes", required=True) or {}
    if not nodes and isinstance(members.value.get("nodes"), dict):
        members.problem("nodes", "a graph needs at least one node", "required")
    shortcuts: list[Shortcut] = []
    for code, value in nodes.items():
        if len(draft.owners) >= MAX_NODES:
            members.problem("nodes", f"a definition may have {MAX_NODES:,} nodes", "limit")
            break
        shortcuts += _load_node(draft, level, code, value, f"{members.at('nodes')}/{escape(code)}")
    for each in shortcuts:
        _add(draft, level, each.boundary, each.pointer)
    for index, value in enumerate(members.sequence("flows")):
        _load_flow(draft, level, value, f"{members.at('flows')}/{index}")
    for each in shortcuts:
        _add_flow(draft, level, Flow("", 0, each.boundary.code, each.target), each.pointer, short=True)
    graph = build_graph(level.nodes, tuple(level.flows))
    check_graph(draft.source, level, graph)
    draft.places.update(dict.fromkeys(level.nodes, graph))
    return graph


def written_flow_ids(source: Source, value: Any, pointer: str = "") -> dict[str, str]:
    """The ids given by hand, of all nested graphs: the others are made so that they differ from these."""
    found: dict[str, str] = {}
    flows = value.get("flows") if isinstance(value, dict) else None
    nodes = value.get("nodes") if isinstance(value, dict) else None
    for index, flow in enumerate(flows if isinstance(flows, list) else ()):
        written = flow.get("id") if isinstance(flow, dict) else None
        if isinstance(written, str):
            _claim(source, found, written, f"{pointer}/flows/{index}/id")
    for code, node in nodes.items() if isinstance(nodes, dict) else ():
        for written, where in written_flow_ids(source, node, f"{pointer}/nodes/{escape(code)}").items():
            _claim(source, found, written, where)
    return found


def _claim(source: Source, found: dict[str, str], id: str, pointer: str) -> None:
    if id in found:
        source.problem(pointer, f"the flow at {found[id]} has the id {shown(id)} too", "duplicate")
    else:
        found[id] = pointer


def _load_node(draft: Draft, level: Level, code: str, value: Any, pointer: str) -> list[Shortcut]:
    source = draft.source
    if not CODE.fullmatch(code):
        what = "a code: letters, digits, _ and -, at most 64, no digit first"
        source.problem(pointer, f"{shown(code)} is not {what}", "code")
    members = Members(source, value, pointer, level.place)
    if not members.value:
        if isinstance(value, dict):
            members.problem(None, "the member 'kind' is missing", "required")
        _add(draft, level, Job(code=code, topic=""), pointer)
        return []
    # A node of unknown kind is read as a job, which fits everywhere, so that the rest can be checked.
    node = _load_scope(draft, code, members) if value.get("kind") == "scope" else load_node(code, members)
    shortcuts = load_shortcuts(node, members) if node is not None else []
    if node is not None:
        members.close()
    _add(draft, level, node or Job(code=code, topic=""), pointer)
    if node is not None and node.kind == "item":
        draft.items.append((members.at("task"), node.task))  # type: ignore[union-attr]
    return shortcuts


def _add(draft: Draft, level: Level, node: AnyNode, pointer: str) -> None:
    if node.code in draft.owners:
        draft.source.problem(pointer, f"there is another node with the code {node.code!r}", "duplicate")
        if node.code in level.nodes:
            return
    draft.owners.setdefault(node.code, level.place)
    level.nodes[node.code] = node
    level.node_pointers[node.code] = pointer
    if isinstance(node, ScopeNode):
        draft.scopes[node.code] = node


def _load_scope(draft: Draft, code: str, members: Members) -> ScopeNode:
    members.asked.append("kind")
    common: Common = {"code": code, "name": members.label("name"), "extensions": members.mapping("extensions") or {}}
    join = Join(members.choice("join", ("any", "all"), "any") or "any")
    for_each = _for_each(members)
    as_name = _as_name(members)
    limit = members.integer("limit", 0, 1, MAX_PARALLEL) or None
    if not members.has("for_each"):
        for name in ("as", "limit"):
            if members.has(name):
                members.problem(name, "belongs to for_each, which is not there", "invalid")
    inner = Members(members.source, members.value, members.pointer, code)
    graph = load_graph(draft, inner, code)
    output = inner.template("output")
    members.asked += inner.asked
    return ScopeNode(**common, join=join, graph=graph, for_each=for_each, as_name=as_name, limit=limit, output=output)


def _for_each(members: Members) -> Any:
    value = members.raw("for_each")
    if not members.has("for_each"):
        return None
    if not isinstance(value, list) and not (isinstance(value, str) and value.startswith("${")):
        members.problem("for_each", "must be a list, or one ${…} that gives one", "type")
        return compile_template([])
    return members.compiled("for_each", value) or compile_template([])


def _as_name(members: Members) -> str:
    name = members.code("as")
    if name is None:
        return "item"
    if "-" in name or name in _RESERVED:
        members.problem("as", f"{name!r} cannot be read as a name in expressions", "code")
    return name


def _load_flow(draft: Draft, level: Level, value: Any, pointer: str) -> None:
    members = Members(draft.source, value, pointer, level.place)
    if not isinstance(value, dict):
        level.loose = True
        return
    source, target = members.text("from", required=True), members.text("to", required=True)
    condition = members.expression("if")
    default = members.boolean("default", default=False)
    written = members.text("id")
    members.close()
    if source is None or target is None:
        level.loose = True
        return
    _add_flow(draft, level, Flow(written or "", 0, source, target, condition, default), pointer, short=False)


def _add_flow(draft: Draft, level: Level, flow: Flow, pointer: str, *, short: bool) -> None:
    draft.flows += 1
    if draft.flows == MAX_FLOWS + 1:
        draft.source.problem(pointer, f"a definition may have {MAX_FLOWS:,} flows", "limit")
    fits = draft.flows <= MAX_FLOWS
    for name, code in (("from", flow.source), ("to", flow.target)):
        if code not in level.nodes:
            where = pointer if short else f"{pointer}/{name}"
            _unknown_node(draft, level, where, code)
            fits = False
    if not fits:
        level.loose = True
        return
    flow_id = flow.id or _flow_id(draft, flow, pointer)
    level.flows.append(msgspec.structs.replace(flow, id=flow_id, index=len(level.flows)))
    level.flow_pointers.append(pointer)


def _unknown_node(draft: Draft, level: Level, pointer: str, code: str) -> None:
    if code in draft.owners:
        message = f"the node {shown(code)} stands in another graph; flows do not cross the border of a scope"
    else:
        message = f"there is no node {shown(code)} in this graph{nearest(code, level.nodes)}"
    draft.source.problem(pointer, message, "unknown_node")


def _flow_id(draft: Draft, flow: Flow, pointer: str) -> str:
    base = found = f"{flow.source}-{flow.target}"
    count = 1
    while found in draft.flow_ids:
        count += 1
        found = f"{base}#{count}"
    draft.flow_ids[found] = pointer
    return found
