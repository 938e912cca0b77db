"""Random definitions: nested graphs with joins, boundaries, loops that wait, event gateways, for_each."""

from __future__ import annotations

from random import Random
from typing import Any

FLAGS = {"yes": True, "no": False}
"""Members of the input that conditions read, so that a test knows which flows are taken."""

PLAIN = ("job", "job", "job", "item", "timer", "message", "call", "set", "http", "robot")
GATEWAYS = ("exclusive", "parallel", "inclusive", "inclusive")
ATTACHABLE = ("job", "http", "robot", "item", "message", "timer", "call", "scope")


def renamed(definition: dict[str, Any], suffix: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The same definition with other codes, and the mapping that leads there."""
    mapping: dict[str, str] = {}

    def graph(old: dict[str, Any]) -> dict[str, Any]:
        mapping.update({code: code + suffix for code in old["nodes"]})
        nodes = {}
        for code, node in old["nodes"].items():
            fresh = {**node, **graph(node)} if "nodes" in node else dict(node)
            if "attached_to" in fresh:
                fresh["attached_to"] += suffix
            nodes[code + suffix] = fresh
        flows = [{**flow, "from": flow["from"] + suffix, "to": flow["to"] + suffix} for flow in old["flows"]]
        return {**old, "nodes": nodes, "flows": flows}

    return graph(definition), mapping


class Maker:
    """Draws one definition."""

    def __init__(self, random: Random, *, size: int = 6, depth: int = 2) -> None:
        self.random = random
        self.size = size
        self.depth = depth
        self.count = 0

    def definition(self) -> dict[str, Any]:
        return {"tasks": {"T": {}}, **self.graph(0), **({"output": "${input.yes}"} if self.chance(0.2) else {})}

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def code(self, kind: str) -> str:
        self.count += 1
        return f"{kind[:2]}{self.count}"

    def graph(self, depth: int) -> dict[str, Any]:
        """Each node but the first hangs on an earlier one; more flows lead forward, and back from nodes that wait."""
        nodes: dict[str, Any] = {}
        flows: list[dict[str, Any]] = []
        first = self.code("start")
        nodes[first] = {"kind": "start"} if self.chance(0.3) else self.plain(depth)
        order = [first]
        for _ in range(self.random.randint(1, self.size)):
            sources = [code for code in order if self.leads_on(nodes[code])]
            if not sources:
                break
            code = self.code("node")
            nodes[code] = self.node(depth)
            flows.append(self.flow(self.random.choice(sources), code))
            order.append(code)
            self.event_gateway(nodes, flows, code)
        self.more_flows(nodes, flows, order)
        self.boundaries(nodes, flows, order)
        self.tidy(nodes, flows)
        return {"nodes": nodes, "flows": flows}

    def leads_on(self, node: dict[str, Any]) -> bool:
        return node["kind"] != "end" and node.get("gateway") != "event"

    def flow(self, source: str, target: str) -> dict[str, Any]:
        flow: dict[str, Any] = {"from": source, "to": target}
        if self.chance(0.35):
            flow["if"] = self.random.choice(["input.yes", "input.yes", "input.no", "!input.no"])
        elif self.chance(0.1):
            flow["default"] = True
        return flow

    def node(self, depth: int) -> dict[str, Any]:
        kind = self.random.random()
        if kind < 0.4:
            return {"kind": "gateway", "gateway": self.random.choice(GATEWAYS)}
        if kind < 0.55 and depth < self.depth:
            return self.scope(depth)
        if kind < 0.65:
            return self.random.choice(
                [{"kind": "end"}, {"kind": "end", "end": "terminate"}, {"kind": "end", "end": "error", "error": "X"}]
            )
        if kind < 0.7:
            return {"kind": "gateway", "gateway": "event"}
        return self.plain(depth)

    def plain(self, depth: int) -> dict[str, Any]:
        kind = self.random.choice(PLAIN)
        node: dict[str, Any] = {"kind": kind}
        if kind in ("job", "http", "robot"):
            node |= {"job": {"topic": "t"}, "http": {"url": "http://x"}, "robot": {"robot": "R"}}[kind]
            node["retry"] = {"max_attempts": self.random.choice([1, 2])}
            if self.chance(0.3):
                node["retry"]["timeout"] = "PT1H"
            if kind != "http" and self.chance(0.15):
                node["input"] = "${input.none.at.all}" if self.chance(0.5) else "${input.yes}"
        elif kind == "item":
            node["task"] = "T"
        elif kind == "timer":
            node["after"] = "PT1M"
        elif kind == "message":
            node |= {"signal": "S"} if self.chance(0.4) else {"message": "M", "key": "${input.yes ? 'k' : 'l'}"}
        elif kind == "call":
            node["definition"] = "other"
        else:
            node["vars"] = {"v": "${input.yes}"}
        return node

    def scope(self, depth: int) -> dict[str, Any]:
        node: dict[str, Any] = {"kind": "scope", **self.graph(depth + 1)}
        if self.chance(0.5):
            node["for_each"] = self.random.choice(["${[]}", "${[1, 2]}", "${[1, 2, 3, 4]}", "${input.none}"])
            if self.chance(0.5):
                node["limit"] = self.random.choice([1, 2])
        if self.chance(0.3):
            node["output"] = "${input.yes}"
        return node

    def event_gateway(self, nodes: dict[str, Any], flows: list[dict[str, Any]], code: str) -> None:
        if nodes[code].get("gateway") != "event":
            return
        for _ in range(self.random.choice([1, 2, 2])):
            target = self.code("event")
            nodes[target] = self.random.choice(
                [
                    {"kind": "timer", "after": "PT1M"},
                    {"kind": "message", "message": "M"},
                    {"kind": "message", "signal": "S"},
                ]
            )
            flows.append({"from": code, "to": target})

    def more_flows(self, nodes: dict[str, Any], flows: list[dict[str, Any]], order: list[str]) -> None:
        for _ in range(self.random.choice([0, 1, 2, 3, 4])):
            source, target = self.random.choice(order), self.random.choice(order[1:] or order)
            back = order.index(target) <= order.index(source)
            if not self.leads_on(nodes[source]) or nodes[target]["kind"] == "start" or target == order[0]:
                continue
            if back and nodes[source]["kind"] not in ("job", "item", "timer", "call"):
                continue
            flows.append(self.flow(source, target))

    def boundaries(self, nodes: dict[str, Any], flows: list[dict[str, Any]], order: list[str]) -> None:
        for code in order:
            if nodes[code]["kind"] not in ATTACHABLE or not self.chance(0.35):
                continue
            boundary = self.code("boundary")
            trigger: dict[str, Any] = self.random.choice(
                [{"timer": "PT2M"}, {"error": "X"}, {"error": "*"}, {"message": "M"}, {"signal": "S"}]
            )
            nodes[boundary] = {"kind": "boundary", "attached_to": code, **trigger}
            if "error" not in trigger and self.chance(0.5):
                nodes[boundary]["interrupting"] = False
            later = [each for each in order[order.index(code) + 1 :] if nodes[each]["kind"] != "start"]
            if later and self.chance(0.7):
                flows.append({"from": boundary, "to": self.random.choice(later)})

    def tidy(self, nodes: dict[str, Any], flows: list[dict[str, Any]]) -> None:
        """What loading would refuse is taken away; some nodes that several flows lead to become joins."""
        for code, node in nodes.items():
            out = [flow for flow in flows if flow["from"] == code]
            seen = False
            for flow in out:
                if node.get("gateway") in ("parallel", "event"):
                    flow.pop("if", None)
                    flow.pop("default", None)
                if flow.get("default") and seen:
                    del flow["default"]
                seen = seen or bool(flow.get("default"))
            into = [flow for flow in flows if flow["to"] == code]
            if len(into) > 1 and node["kind"] not in ("gateway", "boundary") and self.chance(0.3):
                node["join"] = "all"
