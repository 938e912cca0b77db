"""Small flows, every kind of node and gateway among them, and what is answered to each. Whatever dies when, they end alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engines.stage import graph, job, scope

Answer = Callable[[Any], dict[str, Any]]
SOON = "PT0.03S"
PATIENT = {"max_attempts": 3, "delay": "PT0.02S", "jitter": 0}


@dataclass(frozen=True)
class Flow:
    """`answers`: by node, what a worker says of a job. `sends`: by waiting node, the message or signal it gets."""

    document: dict[str, Any]
    answers: dict[str, Answer] = field(default_factory=dict)
    items: dict[str, Any] = field(default_factory=dict)
    after: dict[str, str] = field(default_factory=dict)
    """Items that are answered once a visit of another node is there."""
    sends: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    """Node that waits -> (message or signal, name, key)."""
    input: Any = None
    begin: str | None = None
    """The message that starts it."""
    more: tuple[dict[str, Any], ...] = ()
    """Definitions it calls."""


def done(output: Callable[[Any], Any] = lambda taken: {"of": taken.node}, **more: Any) -> Answer:
    return lambda taken: {"act": "complete", "output": output(taken), **more}


def failing(times: int) -> Answer:
    return lambda taken: (
        {"act": "fail", "permanent": False} if taken.attempt <= times else {"act": "complete", "output": taken.attempt}
    )


def thrown(code: str) -> Answer:
    return lambda _: {"act": "throw", "code": code}


def _gateway(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": "gateway", "gateway": kind, **more}


CHILD = graph("child", {"w": job("w", input={"n": "${input.n}"})}, output="${w}")

FLOWS: dict[str, Flow] = {
    "line": Flow(
        graph(
            "line",
            {"a": job("a"), "s": {"kind": "set", "vars": {"v": "${a.of}"}, "metadata": {"m": 1}}, "b": job("b", input="${vars.v}")},
            ("a", "s"), ("s", "b"), output={"a": "${a}", "b": "${b}"}, search=["metadata.m"],
        ),
        {"a": done(values={"k": [1]}, increments=["c", "c"]), "b": done(increments=["c"])},
    ),
    "item": Flow(
        graph("item", {"d": {"kind": "item", "task": "T"}, "e": {"kind": "item", "task": "T"}}, ("d", "e"), tasks={"T": {}}, output="${e}"),
        items={"d": {"yes": True}, "e": [2]},
    ),
    "timer": Flow(
        graph(
            "timer",
            {"t": {"kind": "timer", "after": SOON}, "u": {"kind": "timer", "until": "2020-01-01T00:00:00Z"}, "w": job("w")},
            ("t", "u"), ("u", "w"),
        ),
        {"w": done()},
    ),
    "message": Flow(
        graph(
            "message",
            {"m": {"kind": "message", "message": "m", "key": "${input.k}"}, "g": {"kind": "message", "signal": "go"}, "w": job("w")},
            ("m", "g"), ("g", "w"), output={"m": "${m}", "g": "${g}"},
        ),
        {"w": done()}, input={"k": "7"}, sends={"m": ("message", "m", "7"), "g": ("signal", "go", "")},
    ),
    "call": Flow(
        graph("call", {"c": {"kind": "call", "definition": "child", "input": {"n": 1}}, "a": job("a")}, ("c", "a"), output="${c}"),
        {"w": done(lambda taken: taken.input), "a": done()}, more=(CHILD,),
    ),
    "scope": Flow(
        graph(
            "scope",
            {"s": scope({"x": job("x"), "y": job("y"), "bad": {"kind": "end", "end": "error", "error": "OOPS"}}, ("x", "y"), ("y", "bad")),
             "caught": {"kind": "boundary", "attached_to": "s", "error": "OOPS"}, "w": job("w")},
            ("caught", "w"),
        ),
        {"x": done(), "y": done(), "w": done()},
    ),
    "for_each": Flow(
        graph(
            "for_each",
            {"all": scope({"e": job("e", input={"x": "${x}"})}, for_each="${input}", limit=2, output="${e}", **{"as": "x"}), "w": job("w")},
            ("all", "w"), output="${all}",
        ),
        {"e": done(lambda taken: taken.input["x"] * 10, increments=["c"]), "w": done()}, input=[1, 2, 3],
    ),
    "exclusive": Flow(
        graph(
            "exclusive",
            {"begin": {"kind": "start"}, "i": {"kind": "set", "vars": {"i": "${input.i}"}}, "a": job("a", input="${vars.i}"),
             "n": {"kind": "set", "vars": {"i": "${vars.i + 1}"}}, "x": _gateway("exclusive"), "z": {"kind": "end"}},
            ("begin", "i"), ("i", "a"), ("a", "n"), ("n", "x"), ("x", "a", {"if": "vars.i < 3"}), ("x", "z", {"default": True}), output="${vars.i}",
        ),
        {"a": done(lambda taken: taken.input, increments=["c"])}, input={"i": 0},
    ),
    "parallel": Flow(
        graph(
            "parallel",
            {"s": _gateway("parallel"), "a": job("a"), "b": {"kind": "item", "task": "T"}, "c": {"kind": "timer", "after": SOON},
             "j": _gateway("parallel"), "w": job("w")},
            ("s", "a"), ("s", "b"), ("s", "c"), ("a", "j"), ("b", "j"), ("c", "j"), ("j", "w"), tasks={"T": {}},
        ),
        {"a": done(), "w": done()}, items={"b": 1},
    ),
    "inclusive": Flow(
        graph(
            "inclusive",
            {"s": _gateway("inclusive"), "a": job("a"), "b": job("b"), "c": job("c"), "j": _gateway("inclusive"), "w": job("w")},
            ("s", "a", {"if": "input.n > 1"}), ("s", "b", {"if": "input.n > 2"}), ("s", "c", {"default": True}),
            ("a", "j"), ("b", "j"), ("c", "j"), ("j", "w"),
        ),
        {"a": done(), "b": done(), "c": done(), "w": done()}, input={"n": 3},
    ),
    "event": Flow(
        graph(
            "event",
            {"g": _gateway("event"), "m": {"kind": "message", "message": "e"}, "t": {"kind": "timer", "after": "PT1H"},
             "h": _gateway("event"), "n": {"kind": "message", "message": "never"}, "u": {"kind": "timer", "after": SOON}, "w": job("w")},
            ("g", "m"), ("g", "t"), ("m", "h"), ("h", "n"), ("h", "u"), ("u", "w"),
        ),
        {"w": done()}, sends={"g": ("message", "e", "")},
    ),
    "interrupted": Flow(
        graph(
            "interrupted",
            {"d": {"kind": "item", "task": "T", "on_timeout": {"after": SOON, "to": "e"}}, "e": job("e", on_error={"NO": "f"}), "f": job("f")},
            ("d", "f"), tasks={"T": {}},
        ),
        {"e": thrown("NO"), "f": done()},
    ),
    "beside": Flow(
        graph(
            "beside",
            {"d": {"kind": "item", "task": "T"}, "s": job("s"),
             "b": {"kind": "boundary", "attached_to": "d", "message": "beside", "interrupting": False}},
            ("b", "s"), tasks={"T": {}},
        ),
        {"s": done()}, items={"d": 1}, after={"d": "s"}, sends={"d": ("message", "beside", "")},
    ),
    "retried": Flow(graph("retried", {"a": job("a", retry=PATIENT), "b": job("b")}, ("a", "b"), output="${a}"), {"a": failing(2), "b": done()}),
    "incident": Flow(
        graph("incident", {"a": job("a", retry={"max_attempts": 1}), "b": job("b")}, ("a", "b"), output="${a}"), {"a": failing(1), "b": done()}
    ),
    "http": Flow(
        graph("http", {"h": {"kind": "http", "url": "${input.url}", "method": "POST", "body": {"n": 1}, "retry": PATIENT}, "w": job("w")},
              ("h", "w"), output="${h}"),
        {"w": done()}, input={"url": "ENDPOINT"},
    ),
    "robot": Flow(graph("robot", {"r": {"kind": "robot", "robot": "R", "retry": {"timeout": "PT1M"}}}, output="${r}"), {"r": done()}),
    "terminate": Flow(
        graph(
            "terminate",
            {"begin": {"kind": "start", "message": "begin"}, "p": _gateway("parallel"), "never": {"kind": "item", "task": "T"},
             "a": job("a"), "z": {"kind": "end", "end": "terminate"}},
            ("begin", "p"), ("p", "never"), ("p", "a"), ("a", "z"), tasks={"T": {}},
        ),
        {"a": done()}, begin="begin",
    ),
}  # fmt: skip
