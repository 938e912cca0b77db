"""What expressions read, and what they give: names looked up in the scopes, templates rendered, times and keys made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.core.definition import Flow, Timer, Trigger
from penstock.core.durations import Duration, parse_time
from penstock.core.expression import Expression, ExpressionFailed, Template
from penstock.core.run import Run


def render(run: Run, scope_n: int, template: Template | None) -> Any:
    """Raises: ExpressionFailed."""
    if template is None:
        return None
    return template.render(names_of(run, scope_n, template)) if template.expressions else template.render({})


def is_true(run: Run, scope_n: int, flow: Flow) -> bool:
    """Whether a flow's condition holds; one without a condition does. Raises: ExpressionFailed."""
    condition = flow.condition
    if condition is None:
        return True
    answer = condition.evaluate(names_of(run, scope_n, condition))
    if answer is True or answer is False:
        return answer
    raise ExpressionFailed(f"flow {flow.id}: {condition.source!r} gave {type(answer).__name__}, not a bool")


def due_at(run: Run, scope_n: int, trigger: Trigger | Timer) -> int:
    """When a timer is due, in ms. Raises: ExpressionFailed."""
    if trigger.after is not None:
        text = render(run, scope_n, trigger.after)
        try:
            return Duration.parse(text).after(run.at)
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise ExpressionFailed(f"timer: not an ISO 8601 duration: {_short(text)}") from None
    text = render(run, scope_n, trigger.until)
    try:
        return parse_time(text)
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise ExpressionFailed(f"timer: not an RFC 3339 time: {_short(text)}") from None


def message_key(run: Run, scope_n: int, trigger: Trigger) -> str:
    """What a message must carry to fit; a whole number reads the same whether int or double. Raises: ExpressionFailed."""
    key = render(run, scope_n, trigger.key)
    if key is None:
        return ""
    if isinstance(key, bool) or not isinstance(key, str | int | float):
        raise ExpressionFailed(f"message key: text or number expected, not {type(key).__name__}")
    return str(int(key)) if isinstance(key, float) and key.is_integer() else str(key)


def names_of(run: Run, scope_n: int, expression: Expression | Template) -> dict[str, Any]:
    """What the expression reads, and nothing else."""
    found: dict[str, Any] = {}
    roots: Iterable[str] = expression.roots
    if len(expression.roots) > 1:
        roots = sorted(roots)
    for root in roots:
        if root in ("input", "metadata", "entity"):
            found[root] = run.data(root)
        elif root == "vars":
            found[root] = _vars(run, scope_n)
        elif root == "nodes":
            found[root] = _outputs(run, scope_n, expression.outputs)
        elif root == "values":
            found[root] = dict(run.view.values())
        elif root == "loop":
            _add_loop(run, scope_n, found)
        else:
            _add_bare_name(run, scope_n, root, found)
    return found


def _vars(run: Run, scope_n: int) -> dict[str, Any]:
    """Of the scope and all around it; the inner ones hide the outer."""
    merged: dict[str, Any] = {}
    for scope in run.chain(scope_n):
        merged = {**scope.vars, **merged}
    return merged


def _outputs(run: Run, scope_n: int, codes: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code in sorted(codes):
        for scope in run.chain(scope_n):
            if code in scope.done:
                found[code] = run.output(scope.done[code])
                break
    return found


def _add_bare_name(run: Run, scope_n: int, name: str, found: dict[str, Any]) -> None:
    """A node's output, or the element of a for_each under the name it was given."""
    for scope in run.chain(scope_n):
        if name in scope.done:
            found[name] = run.output(scope.done[name])
            return
        if scope.index is not None and name in scope.vars and run.scope_node(scope).as_name == name:
            found[name] = scope.vars[name]
            return


def _add_loop(run: Run, scope_n: int, found: dict[str, Any]) -> None:
    """Where the nearest for_each around stands; outside of any there is no `loop`."""
    for scope in run.chain(scope_n):
        if scope.index is not None and scope.parent is not None:
            each = run.peek(scope.parent).each
            assert each is not None
            found["loop"] = {"index": scope.index, "count": each.total}
            return


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
