"""Who is waited for when nothing is left to happen, and the YAML that would answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from penstock.core.definition import Call, Http, Item, Job, Message, Robot
from penstock.core.durations import Duration, format_duration
from penstock.core.state import ENDED, Phase
from penstock.simulation.process import Simulated, Visit
from penstock.simulation.world import World

_MOST_DEEP = 5
_TEXTS = {"date": "2026-01-31", "date-time": "2026-01-31T09:00:00Z", "email": "ana@example.com", "time": "09:00:00Z"}


class Waiting(msgspec.Struct, frozen=True):
    """A visit that waits for somebody. `place` is its node, behind `CODE/` in a called process."""

    place: str
    visit: int
    what: str
    since: int
    add: str
    input: Any = None
    promised: bool = False
    """The case has an answer, which comes later than the case looks."""


def waiting(world: World) -> list[Waiting]:
    found: list[Waiting] = []
    for process in world.processes:
        if process.process.status not in ENDED:
            prefix = "" if process.number == 1 else f"{process.version.code}/"
            for visit in sorted(process.open.values(), key=lambda each: each.n):
                promised = visit.n in process.promised
                found += [replace(each, promised=promised) for each in _of_visit(world, process, visit, prefix)]
    return found


def _of_visit(world: World, process: Simulated, visit: Visit, prefix: str) -> Iterator[Waiting]:
    place = prefix + visit.node
    node = process.node(visit.node)
    if visit.n in process.jobs:
        what = {Job: "its worker", Robot: "its robot", Http: "its endpoint"}[type(node)]
        if isinstance(node, Job):
            what += f" (topic {node.topic})"
        if world.chooser.used_up(process.version, node):
            what += ": its answers are used up, or none fits any more"
        yield Waiting(place, visit.n, what, visit.started_at, _answers(place, None), visit.input)
    elif visit.n in process.items and isinstance(node, Item):
        schema = process.version.tasks[node.task].schema
        what = f"a person (task {node.task})"
        yield Waiting(place, visit.n, what, visit.started_at, _answers(place, sample(schema)), visit.input)
    elif visit.n in process.children and isinstance(node, Call) and not world.has_child(process, visit.n):
        what = f"{node.definition}, which is not here: name its file under definitions, or answer in its place"
        yield Waiting(place, visit.n, what, visit.started_at, _answers(place, None), visit.input)
    elif visit.n in process.subscriptions and _waits_itself(process, visit):
        yield from _of_messages(process, visit, place, visit.started_at - world.began)


def _waits_itself(process: Simulated, visit: Visit) -> bool:
    """A message node or an event gateway; of other nodes it is their boundaries that listen."""
    node = process.node(visit.node)
    active = process.scopes[visit.scope].active.get(visit.n)
    return isinstance(node, Message) or (node.kind == "gateway" and active is not None and active.phase is Phase.RUN)


def _of_messages(process: Simulated, visit: Visit, place: str, since: int) -> Iterator[Waiting]:
    for wanted in process.subscriptions[visit.n].values():
        sent: dict[str, Any] = {"signal" if wanted.signal else "message": wanted.name}
        if wanted.key:
            sent["key"] = wanted.key
        sent["at"] = format_duration(Duration(0, since))
        what = f"the {'signal' if wanted.signal else 'message'} {wanted.name}"
        what += f" with the key {wanted.key}" if wanted.key else ""
        yield Waiting(place, visit.n, what, visit.started_at, f"send:\n  - {flow(sent)}")


def _answers(place: str, output: Any) -> str:
    return f"answers:\n  {place}: {flow({'output': output})}"


def flow(value: Any) -> str:
    """YAML on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10_000)
    return text.strip()


def sample(schema: Any, depth: int = 0) -> Any:
    """A value such as a schema asks for, to begin with: required members only."""
    if not isinstance(schema, dict) or depth > _MOST_DEEP:
        return None
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    for name in ("enum", "examples"):
        if schema.get(name):
            return schema[name][0]
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object" or "properties" in schema:
        return _sample_map(schema, depth)
    if kind == "array":
        return [sample(schema.get("items"), depth + 1)] * int(schema.get("minItems") or 0)
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    return {"boolean": True, "string": _TEXTS.get(schema.get("format", ""), "…")}.get(str(kind))


def _sample_map(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    required = schema.get("required")
    if not isinstance(properties, dict):
        return {}
    wanted = required if isinstance(required, list) else []
    return {name: sample(properties.get(name), depth + 1) for name in wanted}
