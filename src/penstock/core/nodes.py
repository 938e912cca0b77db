"""Nodes of a definition's document: one function a kind, and the short forms that become boundaries.

What is wrong is noted and read as something harmless, so that the graph around it can still be checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from penstock.core.definition import (
    AnyNode,
    Boundary,
    Call,
    End,
    EndKind,
    Gateway,
    GatewayKind,
    Http,
    Item,
    ItemKind,
    Job,
    Join,
    Message,
    RetryPolicy,
    Robot,
    SetNode,
    Start,
    Timer,
    Trigger,
)
from penstock.core.expression import compile_template
from penstock.core.members import CODE, ERROR_CODE, Members, kind_of, nearest, shown
from penstock.core.pointers import escape

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ATTACHABLE = ("job", "http", "robot", "item", "message", "timer", "call", "scope")
UNSUPPORTED = {
    "eventsubprocess": "event sub-processes are",
    "transaction": "transactions are",
    "compensation": "compensation is",
    "compensate": "compensation is",
}
"""BPMN's kinds that are refused by name, for now."""

_URL = re.compile(r"https?://\S+", re.IGNORECASE)
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|//")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_GATEWAY_JOINS = {GatewayKind.PARALLEL: Join.ALL, GatewayKind.INCLUSIVE: Join.INCLUSIVE}

Common = dict[str, Any]
"""The members of every kind: code, name, extensions and, unless a kind decides it, join."""


class Shortcut(NamedTuple):
    """A boundary from a short form, and where its one flow goes."""

    boundary: Boundary
    target: str
    pointer: str


def load_node(code: str, members: Members) -> AnyNode | None:
    """A node of any kind but a scope; None: the kind is unknown. Closes `members` but for its short forms."""
    kind = members.raw("kind", required=True)
    common: Common = {"code": code, "name": members.label("name"), "extensions": members.mapping("extensions") or {}}
    if kind != "gateway":
        common["join"] = Join(members.choice("join", ("any", "all"), "any") or "any")
    elif members.has("join"):
        members.asked.append("join")
        members.problem("join", "a gateway's join follows from its kind", "unknown_member")
    load = _KINDS.get(kind) if isinstance(kind, str) else None
    if load is None:
        _refuse_kind(kind, members)
        return None
    return load(members, common)


def may_wait(node: AnyNode) -> bool:
    """Whether a token may stay at the node; only then it can have boundaries."""
    return node.waits if isinstance(node, Item) else node.kind in ATTACHABLE


def load_shortcuts(node: AnyNode, members: Members) -> list[Shortcut]:
    """`on_error` and `on_timeout`, spelt out."""
    if not may_wait(node):
        what = f"a {node.kind} node" if node.kind not in ATTACHABLE else "an item that is not waited for"
        for name in ("on_error", "on_timeout"):
            if members.has(name):
                members.asked.append(name)
                members.problem(name, f"{what} can have no boundary", "attachment")
        return []
    found = [*_on_error(node.code, members), *_on_timeout(node.code, members)]
    for each in found:
        if not CODE.fullmatch(each.boundary.code):
            message = f"the boundary would be called {shown(each.boundary.code)}, which is no code; write it as a node"
            members.source.problem(each.pointer, message, "code")
    return found


def _refuse_kind(kind: Any, members: Members) -> None:
    if not members.has("kind"):
        return
    if not isinstance(kind, str):
        members.problem("kind", f"must be text, not {kind_of(kind)}", "type")
    elif name := UNSUPPORTED.get(re.sub(r"[-_ ]", "", kind).lower()):
        members.problem("kind", f"{name} not supported yet", "unsupported")
    else:
        members.problem("kind", f"there is no kind {shown(kind)}{nearest(kind, (*_KINDS, 'scope'))}", "unknown_kind")


def _on_error(code: str, members: Members) -> list[Shortcut]:
    value = members.raw("on_error")
    if isinstance(value, str):
        return [_error_shortcut(code, "*", value, members.at("on_error"))]
    if isinstance(value, dict):
        found = []
        for error, target in value.items():
            pointer = f"{members.at('on_error')}/{escape(error)}"
            if error != "*" and not ERROR_CODE.fullmatch(error):
                members.source.problem(pointer, f"{shown(error)} is not an error code", "code")
            elif not isinstance(target, str):
                members.source.problem(pointer, f"must be the code of a node, not {kind_of(target)}", "type")
            else:
                found.append(_error_shortcut(code, error, target, pointer))
        return found
    if members.has("on_error"):
        members.problem("on_error", f"must be a node or a map of error code to node, not {kind_of(value)}", "type")
    return []


def _error_shortcut(code: str, error: str, target: str, pointer: str) -> Shortcut:
    name = f"{code}__error_{'any' if error == '*' else error}"
    return Shortcut(Boundary(code=name, attached_to=code, trigger=Trigger(error=error)), target, pointer)


def _on_timeout(code: str, members: Members) -> list[Shortcut]:
    value = members.mapping("on_timeout")
    if value is None:
        return []
    inner = Members(members.source, value, members.at("on_timeout"), members.place)
    after = _required(inner, "after", inner.duration_template("after"))
    target = inner.text("to", required=True)
    interrupting = inner.boolean("interrupting", default=True)
    inner.close()
    if target is None:
        return []
    boundary = Boundary(
        code=f"{code}__timeout", attached_to=code, trigger=Trigger(after=after), interrupting=interrupting
    )
    return [Shortcut(boundary, target, inner.pointer)]


def _required(members: Members, name: str, value: Any) -> Any:
    if not members.has(name):
        members.problem(None, f"the member {name!r} is missing", "required")
    return value


def _retry(members: Members) -> RetryPolicy:
    value = members.mapping("retry")
    default = RetryPolicy()
    if value is None:
        return default
    inner = Members(members.source, value, members.at("retry"), members.place)
    delay = inner.milliseconds("delay", default.delay)
    cap = inner.milliseconds("cap", max(default.cap, delay))
    timeout = inner.milliseconds("timeout", -1)
    policy = RetryPolicy(
        max_attempts=inner.integer("max_attempts", default.max_attempts, 1, 100),
        delay=delay,
        factor=inner.number("factor", default.factor, 1, 10),
        cap=cap,
        jitter=inner.number("jitter", default.jitter, 0, 1),
        timeout=timeout if timeout > 0 else None,
    )
    if cap < delay:
        inner.problem("cap", "must not be shorter than delay", "range")
    if timeout == 0:
        inner.problem("timeout", "must be longer than nothing", "range")
    inner.close()
    return policy


def _job(members: Members, common: Common) -> AnyNode:
    topic = members.text("topic", required=True) or ""
    return Job(**common, topic=topic, input=members.template("input"), retry=_retry(members))


def _robot(members: Members, common: Common) -> AnyNode:
    robot = members.code("robot", required=True) or ""
    return Robot(**common, robot=robot, input=members.template("input"), retry=_retry(members))


def _http(members: Members, common: Common) -> AnyNode:
    connection = members.code("connection")
    url = members.text("url", required=not members.has("connection"), limit=10_000)
    if url is not None and not members.has("connection"):
        if not url.startswith("${") and not _URL.fullmatch(url):
            members.problem("url", "must begin with http://, https:// or ${, or be a path with a connection", "invalid")
    elif url is not None and (_ADDRESS.match(url) or " " in url):
        members.problem("url", "must be a path: the address is the connection's", "invalid")
    request = {
        "url": url or "",
        "method": members.choice("method", METHODS, "POST"),
        "headers": _headers(members),
        "body": members.raw("body") if members.has("body") else None,
    }
    if connection is not None:
        request["connection"] = connection
    members.asked.append("body")
    template = members.compiled(None, request, secrets=True) or compile_template({})
    if template.secrets and connection is None and re.match(r"\$\{(?!\s*secrets\b)", url or ""):
        message = "the address comes from data, and a secret is sent to it: a connection would fix the address"
        members.source.problem(members.at("url"), message, "open_address", warning=True)
    return Http(**common, request=template, connection=connection, retry=_retry(members))


def _headers(members: Members) -> dict[str, str]:
    headers = members.mapping("headers") or {}
    for name, value in headers.items():
        pointer = f"{members.at('headers')}/{escape(name)}"
        if not _HEADER.fullmatch(name):
            members.source.problem(pointer, f"{shown(name)} is not the name of a header", "invalid")
        elif not isinstance(value, str):
            members.source.problem(pointer, f"must be text, not {kind_of(value)}", "type")
        elif "\r" in value or "\n" in value:
            members.source.problem(pointer, "must be one line", "invalid")
    return headers


def _item(members: Members, common: Common) -> AnyNode:
    shows = ItemKind((members.choice("type", [kind.lower() for kind in ItemKind], "task") or "task").upper())
    is_task = shows is ItemKind.TASK
    waits = members.boolean("wait", default=is_task)
    if is_task and not waits:
        members.problem("wait", "a task is always waited for; a message or a thread need not be", "invalid")
    task = members.code("task", required=True) or ""
    return Item(**common, task=task, input=members.template("input"), shows=shows, waits=waits or is_task)


def _timer(members: Members, common: Common) -> AnyNode:
    trigger = _trigger(members, ("timer", "after", "until"))
    return Timer(**common, after=trigger.after, until=trigger.until)


def _message(members: Members, common: Common) -> AnyNode:
    return Message(**common, trigger=_trigger(members, ("message", "signal")))


def _call(members: Members, common: Common) -> AnyNode:
    return Call(**common, definition=members.code("definition", required=True) or "", input=members.template("input"))


def _set(members: Members, common: Common) -> AnyNode:
    templates: dict[str, Any] = {}
    for name in ("vars", "metadata", "entity"):
        value = members.raw(name)
        templates[name] = members.compiled(name, value) if members.has(name) else None
        if members.has(name) and not isinstance(value, dict) and not (isinstance(value, str) and value[:2] == "${"):
            members.problem(name, "must be a map, or one ${…} that gives one", "type")
    if not any(members.has(name) for name in templates):
        members.problem(None, "sets nothing: vars, metadata or entity must be there", "required")
    return SetNode(**common, **templates)


def _gateway(members: Members, common: Common) -> AnyNode:
    kind = GatewayKind(members.choice("gateway", list(GatewayKind)) or GatewayKind.EXCLUSIVE)
    return Gateway(**common, gateway=kind, join=_GATEWAY_JOINS.get(kind, Join.ANY))


def _boundary(members: Members, common: Common) -> AnyNode:
    attached_to = members.text("attached_to", required=True) or ""
    trigger = _trigger(members, ("timer", "until", "error", "message", "signal"))
    interrupting = members.boolean("interrupting", default=True)
    if trigger.error is not None and not interrupting:
        members.problem("interrupting", "an error always interrupts", "invalid")
    return Boundary(**common, attached_to=attached_to, trigger=trigger, interrupting=interrupting)


def _trigger(members: Members, names: tuple[str, ...]) -> Trigger:
    """Exactly one of `names`; `timer` is the short form of `after`."""
    given = [name for name in names if members.has(name)]
    if len(given) != 1:
        which = ", ".join(names)
        members.problem(None, f"exactly one of {which} must be there", "required" if not given else "invalid")
    after = [members.duration_template(name) for name in ("timer", "after") if name in names]
    trigger = Trigger(
        after=next((each for each in after if each is not None), None),
        until=members.time_template("until") if "until" in names else None,
        error=_error(members) if "error" in names else None,
        message=members.text("message") if "message" in names else None,
        key=members.text_template("key") if "message" in names else None,
        signal=members.text("signal") if "signal" in names else None,
    )
    if members.has("key") and "message" in names and not members.has("message"):
        members.problem("key", "only a message has a key", "invalid")
    return trigger


def _error(members: Members) -> str | None:
    if members.value.get("error") == "*":
        return members.text("error")
    return members.matching("error", ERROR_CODE, "an error code, nor * for any")


def _start(members: Members, common: Common) -> AnyNode:
    return Start(**common, message=members.text("message"))


def _end(members: Members, common: Common) -> AnyNode:
    kind = EndKind(members.choice("end", list(EndKind), EndKind.PLAIN) or EndKind.PLAIN)
    error = members.matching("error", ERROR_CODE, "an error code")
    if kind is EndKind.ERROR and not members.has("error"):
        members.problem(None, "an error end needs the member 'error'", "required")
    if kind is not EndKind.ERROR and members.has("error"):
        members.problem("error", f"only an error end has an error, this one is {kind}", "invalid")
    return End(**common, end=kind, error=error)


_KINDS: dict[str, Callable[[Members, Common], AnyNode]] = {
    "job": _job,
    "http": _http,
    "robot": _robot,
    "item": _item,
    "timer": _timer,
    "message": _message,
    "call": _call,
    "set": _set,
    "gateway": _gateway,
    "boundary": _boundary,
    "start": _start,
    "end": _end,
}
