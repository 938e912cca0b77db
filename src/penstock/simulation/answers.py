"""Reading the answers of a tests file: who is meant, and what each may say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.core.definition import AnyNode, Call, Http, Item, Version
from penstock.core.durations import Duration
from penstock.core.events import Failure
from penstock.core.expression import Template
from penstock.core.members import ERROR_CODE, Members, Source, kind_of, nearest, shown
from penstock.core.pointers import escape
from penstock.simulation.answering import fitted, keys_of
from penstock.simulation.case import NAMES, Answer, Answers, Thrown
from penstock.simulation.catalogue import Known

RETRIED = frozenset({408, 425, 429})
"""HTTP answers below 500 that are tried again."""

_WAYS = ("output", "fail", "throw", "status")

Asked = list[tuple[Version, AnyNode]]
"""The nodes a key stands for."""


def read_answers(members: Members, known: Mapping[str, Known]) -> Answers:
    """The member `answers` of a file or of a case."""
    meant: dict[str, Asked] = {}
    idle: dict[str, str] = {}
    for each in known.values():
        for code, graph in each.version.places.items():
            node = graph.nodes[code]
            keys = keys_of(each.version, node)
            for key in keys:
                meant.setdefault(key, []).append((each.version, node))
            if not keys:
                idle[code] = node.kind
    found: Answers = {}
    for key, value in (members.mapping("answers") or {}).items():
        pointer = f"{members.at('answers')}/{escape(key)}"
        if key not in meant:
            what = f"a {idle[key]} needs no answer" if key in idle else _unknown(key, meant)
            members.source.problem(pointer, what, "unknown_node")
        found[key] = _read_list(members.source, value, pointer, meant.get(key, []))
    return found


def _unknown(key: str, meant: Mapping[str, Asked]) -> str:
    return f"{shown(key)} is no node, topic or task that asks for an answer{nearest(key, meant)}"


def _read_list(source: Source, value: Any, pointer: str, asked: Asked) -> tuple[Answer, ...]:
    """Each entry answers once, but for the last and those with a condition."""
    if value is None:
        return ()
    if not isinstance(value, list):
        return (_read(source, value, pointer, asked, last=True),)
    if not value:
        source.problem(pointer, "there is no answer in the list; where nobody answers write null", "required")
    last = len(value) - 1
    return tuple(
        _read(source, each, f"{pointer}/{index}", asked, last=index == last) for index, each in enumerate(value)
    )


def _read(source: Source, value: Any, pointer: str, asked: Asked, *, last: bool) -> Answer:
    members = Members(source, value, pointer)
    ways = [name for name in _WAYS if members.has(name)]
    if len(ways) > 1:
        members.problem(ways[1], f"an answer is one of {', '.join(_WAYS)}: there is {ways[0]!r} already", "invalid")
    _check_ways(members, ways, asked)
    when = members.expression("when")
    if when is not None:
        for name in sorted(when.roots - set(NAMES)):
            members.problem("when", f"there is no {name!r} here, only {', '.join(NAMES)}{nearest(name, NAMES)}", "name")
    default = None if when is not None or last else 1
    times = members.integer("times", 0, 1) or default
    failure, delay = _failure(members)
    status = members.integer("status", 0, 100, 599)
    answer = Answer(
        pointer=pointer,
        when=when,
        times=times,
        after=members.duration("after") or Duration(),
        output=_template(members, "output"),
        failure=_http_failure(members, status) or failure,
        delay=delay,
        thrown=_thrown(members),
        values=_values(members),
        increments=_increments(members),
    )
    members.close()
    if ways in ([], ["output"]):
        _check_forms(members, answer, asked)
    return answer


def _check_ways(members: Members, ways: list[str], asked: Asked) -> None:
    """Refuse what nobody who is meant can say."""
    nodes = [node for _, node in asked]
    if not nodes:
        return
    if all(isinstance(node, Item) for node in nodes):
        for name in (*ways, "values", "increments"):
            if members.has(name) and name != "output":
                members.problem(name, "a person completes an item, or does not: give an output or null", "invalid")
    elif all(isinstance(node, Call) for node in nodes):
        for name in ("values", "increments"):
            if members.has(name):
                members.problem(name, "a called process does not touch its caller's values", "invalid")
    if "status" in ways and not all(isinstance(node, Http) for node in nodes):
        members.problem("status", "only an endpoint has one: this is no http node", "invalid")


def _template(members: Members, name: str) -> Template | None:
    found = members.template(name)
    if found is not None:
        for root in sorted(found.roots - set(NAMES)):
            members.problem(name, f"there is no {root!r} here, only {', '.join(NAMES)}{nearest(root, NAMES)}", "name")
    return found


def _failure(members: Members) -> tuple[Failure | None, int | None]:
    value = members.raw("fail")
    if isinstance(value, str):
        return Failure(members.text("fail") or "Error", ""), None
    if not isinstance(value, dict):
        if members.has("fail"):
            members.problem("fail", f"must be a type or a map, not {kind_of(value)}", "type")
        return None, None
    inner = Members(members.source, value, members.at("fail"))
    type, message = inner.text("type"), inner.text("message", limit=10_000)
    failure = Failure(type or "Error", message or "", inner.boolean("permanent", default=False))
    delay = inner.milliseconds("delay", -1)
    inner.close()
    return failure, delay if delay >= 0 else None


def _http_failure(members: Members, status: int) -> Failure | None:
    """What an endpoint's answer means. An endpoint that says 202 answers later: that is `after`."""
    if not members.has("status"):
        return None
    if status < 400:
        members.problem("status", "below 400 it is an output; where a 202 is answered later, one with after", "range")
        return None
    permanent = status < 500 and status not in RETRIED
    return Failure(f"HTTP{status}", f"the endpoint answered {status}", permanent)


def _thrown(members: Members) -> Thrown | None:
    value = members.raw("throw")
    if not isinstance(value, dict):
        code = members.matching("throw", ERROR_CODE, "an error code") if members.has("throw") else None
        return None if code is None else Thrown(code)
    inner = Members(members.source, value, members.at("throw"))
    code = inner.matching("code", ERROR_CODE, "an error code", required=True)
    message = inner.text("message", limit=10_000)
    thrown = Thrown(code or "", message or "", _template(inner, "data"))
    inner.close()
    return thrown


def _values(members: Members) -> Template | None:
    if not isinstance(members.value.get("values"), dict):
        members.mapping("values")
        return None
    return _template(members, "values")


def _increments(members: Members) -> tuple[str, ...]:
    found = members.sequence("increments")
    for index, key in enumerate(found):
        if not isinstance(key, str) or not key:
            members.source.problem(f"{members.at('increments')}/{index}", "must be the key of a counter", "type")
    return tuple(key for key in found if isinstance(key, str))


def _check_forms(members: Members, answer: Answer, asked: Asked) -> None:
    """A person's answer that is the same each time is held to the form now."""
    output = answer.output
    if output is not None and output.expressions:
        return
    seen: set[str] = set()
    for version, node in asked:
        task = version.tasks.get(node.task) if isinstance(node, Item) else None
        if task is None or task.code in seen:
            continue
        seen.add(task.code)
        for problem in fitted(task, None if output is None else output.render({}))[1]:
            pointer = f"{answer.pointer}/output{problem.pointer}"
            members.source.problem(pointer, f"the form of {task.code}: {problem.message}", problem.code)
