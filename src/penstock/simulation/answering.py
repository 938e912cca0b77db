"""Which answer a visit gets: the first of its list that fits and is not used up, rendered with what the visit was given."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from penstock.core.definition import AnyNode, Call, Item, Job, Robot, Task, Version
from penstock.core.durations import Duration
from penstock.core.events import Failure
from penstock.core.expression import ExpressionFailed, Template
from penstock.core.schema import coerce, compile_schema
from penstock.errors import Problem
from penstock.simulation.case import Answer, Answers


class Unfit(Exception):
    """An answer cannot be given: what is wrong with the test, and where."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(message)
        self.pointer = pointer
        self.message = message


class Given(msgspec.Struct, frozen=True):
    """An answer as it reaches the engine."""

    answer: Answer
    after: Duration
    output: Any = None
    failure: Failure | None = None
    delay: int | None = None
    code: str | None = None
    """Of a business error, with its message; its data is the output."""
    message: str = ""
    values: dict[str, Any] = {}
    increments: tuple[str, ...] = ()


def keys_of(version: Version, node: AnyNode) -> list[str]:
    """The keys under which a node's answers may stand, the nearest first; none where a node needs no answer."""
    by_role: list[str]
    match node:
        case Job():
            by_role = [node.topic]
        case Robot():
            by_role = [f"robot:{node.robot}"]
        case Item():
            by_role = [node.task]
        case Call():
            by_role = []
        case _ if node.kind == "http":
            by_role = []
        case _:
            return []
    return [f"{version.code}/{node.code}", node.code, *(f"{version.code}/{each}" for each in by_role), *by_role]


class Chooser:
    """The answers of one case, and how often each has been given. Used once."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._given: Counter[str] = Counter()
        self._visits: dict[tuple[str, str], dict[tuple[int, int], int]] = {}

    def choose(
        self, process: int, version: Version, node: AnyNode, visit: int, attempt: int, input: Any
    ) -> Given | None:
        """None when nobody answers. Raises: Unfit."""
        seen = self._visits.setdefault((version.code, node.code), {})
        count = seen.setdefault((process, visit), len(seen) + 1)
        names = {"input": input, "attempt": attempt, "visit": count}
        for key in keys_of(version, node):
            if key in self._answers:
                return self._first(
                    self._answers[key], names, version.tasks.get(node.task) if isinstance(node, Item) else None
                )
        return None

    def used_up(self, version: Version, node: AnyNode) -> bool:
        """There were answers once, but no more."""
        return any(self._given[each.pointer] for key in keys_of(version, node) for each in self._answers.get(key, ()))

    def _first(self, answers: tuple[Answer, ...], names: dict[str, Any], task: Task | None) -> Given | None:
        for answer in answers:
            if answer.times is not None and self._given[answer.pointer] >= answer.times:
                continue
            if answer.when is None or _holds(answer, names):
                self._given[answer.pointer] += 1
                return _rendered(answer, names, task)
        return None


def _holds(answer: Answer, names: dict[str, Any]) -> bool:
    assert answer.when is not None
    try:
        value = answer.when.evaluate(names)
    except ExpressionFailed as error:
        raise Unfit(f"{answer.pointer}/when", str(error)) from None
    if value is True or value is False:
        return value
    raise Unfit(f"{answer.pointer}/when", f"{answer.when.source!r} gave {type(value).__name__}, not a bool")


def _rendered(answer: Answer, names: dict[str, Any], task: Task | None) -> Given:
    output = _render(answer, "output", answer.output, names)
    if task is not None:
        output, problems = fitted(task, output)
        if problems:
            raise Unfit(
                f"{answer.pointer}/output{problems[0].pointer}", f"the form of {task.code}: {problems[0].message}"
            )
    thrown = answer.thrown
    if thrown is not None:
        output = _render(answer, "throw/data", thrown.data, names)
    return Given(
        answer=answer,
        after=answer.after,
        output=output,
        failure=answer.failure,
        delay=answer.delay,
        code=None if thrown is None else thrown.code,
        message="" if thrown is None else thrown.message,
        values=_render(answer, "values", answer.values, names) or {},
        increments=answer.increments,
    )


def _render(answer: Answer, member: str, template: Template | None, names: dict[str, Any]) -> Any:
    try:
        return None if template is None else template.render(names)
    except ExpressionFailed as error:
        raise Unfit(f"{answer.pointer}/{member}", str(error)) from None


def fitted(task: Task, output: Any) -> tuple[Any, list[Problem]]:
    """What a person has entered, as the task's form takes it, and what is wrong with it."""
    if task.schema is None:
        return output, []
    output = coerce(task.schema, {} if output is None else output)
    return output, compile_schema(task.schema).check(output)
