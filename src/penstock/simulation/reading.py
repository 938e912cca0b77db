"""From the document of a tests file to its cases, or to the list of everything that is wrong with it. Nothing is raised."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from penstock.core.durations import Duration, parse_time
from penstock.core.members import Members, Source, kind_of, nearest, shown
from penstock.core.state import Status
from penstock.simulation.answers import read_answers
from penstock.simulation.case import MESSAGE_TTL, NOW, Answers, Case, Expect, Incident, Match, Order, Send, Span
from penstock.simulation.catalogue import Known

ORDERS = {
    "retry": (), "suspend": (), "resume": (), "cancel": (), "terminate": (), "complete": ("output",),
    "skip": ("output",), "debug": ("input", "output"), "restart": (),
}  # fmt: skip
"""Command -> what may be given to it."""
_AT_NODE = frozenset({"skip", "debug", "restart"})
_REPEATED = re.compile(r"(\S+?)\s*\*\s*([1-9][0-9]{0,4})")


def read_case(
    source: Source, value: Any, pointer: str, known: Mapping[str, Known], shared: Answers, now: int = NOW
) -> Case:
    """One case; `known` begins with its own definition, `shared` are the file's answers."""
    members = Members(source, value, pointer)
    version = next(iter(known.values())).version
    start = members.text("start")
    if start is not None and start not in version.messages:
        members.problem("start", f"no start waits for {shown(start)}{nearest(start, version.messages)}", "unknown")
    case = Case(
        name=members.text("name", required=True) or pointer,
        pointer=pointer,
        start=start,
        input=_plain(members, "input"),
        metadata=_plain(members, "metadata"),
        entity=_plain(members, "entity"),
        now=time_of(members, "now", now),
        until=members.duration("until"),
        answers={**shared, **read_answers(members, known)},
        send=tuple(_send(source, each, at) for each, at in _entries(members, "send")),
        commands=tuple(_order(source, each, at, known) for each, at in _entries(members, "commands")),
        expect=_expect(members, known),
    )
    members.text("description", limit=10_000)
    members.close()
    return case


def time_of(members: Members, name: str, default: int) -> int:
    value = members.text(name)
    if value is None:
        return default
    try:
        return parse_time(value)
    except ValueError as error:
        members.problem(name, str(error), "time")
        return default


def _plain(members: Members, name: str) -> Any:
    value = members.raw(name)
    return value if members.has(name) else None


def _entries(members: Members, name: str) -> list[tuple[Any, str]]:
    return [(each, f"{members.at(name)}/{index}") for index, each in enumerate(members.sequence(name))]


# -- what comes from outside -------------------------------------------------------------------------------------------


def _send(source: Source, value: Any, pointer: str) -> Send:
    members = Members(source, value, pointer)
    message, signal = members.text("message"), members.text("signal")
    if (message is None) is (signal is None):
        members.problem(None, "exactly one of message, signal must be there", "required")
    if message is None:
        for name in ("key", "id", "ttl"):
            if members.has(name):
                members.problem(name, "only a message has one", "invalid")
    send = Send(
        pointer=pointer,
        name=message or signal or "",
        at=members.duration("at") or Duration(),
        signal=signal is not None,
        key=_key(members),
        payload=_plain(members, "payload"),
        id=members.text("id") or "",
        ttl=members.duration("ttl") or MESSAGE_TTL,
        taken=members.boolean("taken", default=True),
    )
    members.close()
    return send


def _key(members: Members) -> str:
    value = _plain(members, "key")
    if value is None or isinstance(value, bool | dict | list):
        if value is not None:
            members.problem("key", f"must be text or a number, not {kind_of(value)}", "type")
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _order(source: Source, value: Any, pointer: str, known: Mapping[str, Known]) -> Order:
    members = Members(source, value, pointer)
    do = members.choice("do", ORDERS) or "retry"
    of = members.text("of")
    meant = next(iter(known.values())) if of is None else known.get(of)
    if meant is None:
        members.problem("of", f"there is no definition {shown(of)} here{nearest(of or '', known)}", "unknown")
    node = node_of(members, "node", meant) if do in _AT_NODE else None
    given = [name for name in ORDERS[do] if members.has(name)]
    if do == "debug" and len(given) != 1:
        members.problem(None, "exactly one of input, output must be there", "required")
    visit = members.integer("visit", 0, 1) or None if do in _AT_NODE else None
    if do in _AT_NODE and (node is None) is (visit is None) and not members.has("node"):
        members.problem(None, "exactly one of node, visit must be there", "required")
    order = Order(
        pointer=pointer,
        do=do,
        at=members.duration("at") or Duration(),
        of=of,
        node=node,
        visit=visit,
        has_input="input" in given,
        input=_plain(members, "input") if "input" in given else None,
        output=_plain(members, "output") if "output" in given else None,
        refused=members.boolean("refused", default=False),
    )
    members.close()
    return order


def node_of(members: Members, name: str, known: Known | None) -> str | None:
    value = members.text(name)
    return value if value is None or known is None else _checked(members.source, value, members.at(name), known)


def _checked(source: Source, code: str, pointer: str, known: Known) -> str:
    places = known.version.places
    if code not in places:
        source.problem(
            pointer, f"{known.version.code} has no node {shown(code)}{nearest(code, places)}", "unknown_node"
        )
    return code


# -- what is expected --------------------------------------------------------------------------------------------------


def _expect(case: Members, known: Mapping[str, Known]) -> Expect | None:
    if not case.has("expect"):
        case.problem(None, "it expects nothing, so it could never fail: give it an expect", "required")
        return None
    value = case.raw("expect")
    members = Members(case.source, value, case.at("expect"))
    if value == {}:
        members.problem(None, "it expects nothing, so it could never fail: give it a status at least", "required")
    main = next(iter(known.values()))
    incidents = _incidents(members, known)
    waiting = _given(members, "open", _nodes(members, "open", known))
    refused = _refused(members)
    expect = Expect(
        status=_status(members, incidents, waiting) if refused is None else None,
        refused=refused,
        result=_match(members, "result"),
        values=_match(members, "values"),
        vars=_match(members, "vars"),
        metadata=_match(members, "metadata"),
        entity=_match(members, "entity"),
        inputs=_inputs(members, main),
        path=_given(members, "path", _nodes(members, "path", {"": main})),
        path_includes=_nodes(members, "path_includes", {"": main}),
        never=_nodes(members, "never", {"": main}),
        duration=_span(members),
        incidents=incidents,
        open=waiting,
    )
    if refused is not None:
        for name in members.value:
            if name != "refused":
                members.problem(name, "a start that is refused has nothing else to expect", "invalid")
    members.close()
    return expect


def _refused(members: Members) -> str | None:
    value = _plain(members, "refused")
    if value is True:
        return ""
    if value is not None and not (isinstance(value, str) and value):
        members.problem("refused", "must be true, or part of the reason", "type")
    return value if isinstance(value, str) and value else None


def _status(members: Members, incidents: tuple[Incident, ...] | None, waiting: tuple[str, ...] | None) -> str:
    """COMPLETED unless it is said, or follows from what else is expected."""
    own = [each for each in incidents or () if "/" not in each.node]
    default = Status.FAILED if own else Status.RUNNING if incidents or waiting else Status.COMPLETED
    return str(members.choice("status", list(Status), default.value) or default.value)


def _match(members: Members, name: str) -> Match | None:
    value = _plain(members, name)
    return _match_of(value) if members.has(name) else None


def _match_of(value: Any) -> Match:
    """A value is meant exactly, but for `includes:` alone; `equals:` alone tells a value that looks like either."""
    if isinstance(value, dict) and len(value) == 1:
        if "includes" in value:
            return Match(value["includes"], subset=True)
        if "equals" in value:
            return Match(value["equals"])
    return Match(value)


def _inputs(members: Members, main: Known) -> dict[str, Match]:
    found = members.mapping("inputs") or {}
    for code in found:
        _checked(members.source, code, f"{members.at('inputs')}/{code}", main)
    return {code: _match_of(value) for code, value in found.items()}


def _given(members: Members, name: str, nodes: tuple[str, ...]) -> tuple[str, ...] | None:
    """None where nothing is said, which is not the same as no node."""
    return nodes if members.has(name) else None


def _nodes(members: Members, name: str, known: Mapping[str, Known]) -> tuple[str, ...]:
    """Codes of nodes, `CODE * 3` thrice; those of called definitions behind their code and a slash."""
    found: list[str] = []
    for index, value in enumerate(members.sequence(name)):
        pointer = f"{members.at(name)}/{index}"
        if not isinstance(value, str):
            members.source.problem(pointer, f"must be the code of a node, not {kind_of(value)}", "type")
            continue
        repeated = _REPEATED.fullmatch(value)
        code, times = (repeated[1], int(repeated[2])) if repeated else (value, 1)
        _check_place(members.source, code, pointer, known)
        found += [code] * times
    return tuple(found)


def _check_place(source: Source, place: str, pointer: str, known: Mapping[str, Known]) -> None:
    definition, slash, code = place.rpartition("/")
    if slash and definition not in known:
        source.problem(
            pointer, f"there is no definition {shown(definition)} here{nearest(definition, known)}", "unknown"
        )
    else:
        _checked(source, code, pointer, known[definition] if slash else next(iter(known.values())))


def _incidents(members: Members, known: Mapping[str, Known]) -> tuple[Incident, ...] | None:
    if not members.has("incidents"):
        members.asked.append("incidents")
        return None
    found = []
    for value, pointer in _entries(members, "incidents"):
        inner = Members(members.source, value, pointer)
        place = inner.text("node", required=True)
        if place is not None:
            _check_place(members.source, place, inner.at("node"), known)
        found.append(Incident(place or "", inner.text("type"), inner.text("message", limit=10_000)))
        inner.close()
    return tuple(found)


def _span(members: Members) -> Span | None:
    if not isinstance(members.value.get("duration"), dict):
        exact = members.duration("duration")
        return None if exact is None else Span(exact, exact)
    inner = Members(members.source, members.raw("duration"), members.at("duration"))
    span = Span(inner.duration("at_least"), inner.duration("at_most"))
    inner.close()
    return span
