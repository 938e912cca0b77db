"""Between the door's words and the platform's: requests, executions, errors. Pure translation; workflows are in `graphs`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from penstock import errors
from penstock.core.durations import format_time
from penstock.dialects.executions import models
from penstock.dialects.executions.graphs import Shape, canonical, is_uuid, render_shape
from penstock.errors import Invalid, NotFound, PenstockError, Problem

# -- requests --------------------------------------------------------------------------------------------------------


def parse_start(body: models.StartRequest, in_path: str) -> str:
    """The id of the workflow to start. Raises: Invalid."""
    given = body.data.workflow_id
    message = None
    if not is_uuid(given):
        message = "must be a UUID"
    elif canonical(given) != canonical(in_path):
        message = f"must be the workflow of the path, {in_path}"
    if message is not None:
        raise Invalid(f"data.workflowId: {message}", [Problem("/data/workflowId", message)])
    return canonical(given)


# -- executions ------------------------------------------------------------------------------------------------------


def render_execution(shown: Any, shape: Shape | None = None) -> models.Execution:
    """`shape`: of the execution's workflow, where it is known already."""
    execution = shown.execution
    shape = shape or render_shape(shown.workflow)
    queue = [shape.by_node[node] for node in execution.queue]
    return models.Execution(
        id=execution.id,
        workflow_id=shown.workflow.id,
        execution_queue=[models.QueueEntry(task_id=task.id, job_subject_id=task.subject_id) for task in queue],
        created=format_time(execution.created_at),
        finished=None if execution.finished_at is None else format_time(execution.finished_at),
        tasks=shape.tasks,
        tasks_hierarchy=shape.edges,
    )


_PLAIN = frozenset({"RUNNING", "COMPLETED"})


def render_info(shown: Any, shape: Shape | None = None) -> dict[str, Any]:
    """What `finished` alone does not tell: that it failed, was cancelled or is held, and where; else nothing."""
    execution = shown.execution
    if execution.status in _PLAIN:
        return {}
    shape = shape or render_shape(shown.workflow)
    incidents = [
        {"taskId": shape.by_node[trouble.node].id, "type": trouble.type, "message": trouble.message}
        for trouble in execution.troubles
    ]
    return {"status": execution.status, "incidents": incidents}


def render_answer(shown: Any) -> models.ExecutionAnswer:
    shape = render_shape(shown.workflow)
    meta = models.Meta(info=render_info(shown, shape))
    return models.ExecutionAnswer(meta=meta, data=render_execution(shown, shape))


def render_list(page: Any, after: str | None) -> models.ExecutionList:
    shapes: dict[tuple[str, int], Shape] = {}
    found: list[models.Execution] = []
    told: dict[str, Any] = {}
    for shown in page.items:
        version = shown.workflow.id, shown.workflow.number
        if version not in shapes:
            shapes[version] = render_shape(shown.workflow)
        found.append(render_execution(shown, shapes[version]))
        if info := render_info(shown, shapes[version]):
            told[shown.execution.id] = info
    more = {"executions": told} if told else {}
    return models.ExecutionList(meta=models.Meta(info={"next": after, **more}), data=found)


# -- errors ----------------------------------------------------------------------------------------------------------

ERRORS: Mapping[type[BaseException], tuple[int, str]] = {
    errors.Invalid: (400, "ValidationFailed"),
    errors.TooLarge: (413, "RequestTooLarge"),
    errors.UnsupportedMediaType: (415, "UnsupportedMediaType"),
    errors.Unauthenticated: (401, "Unauthorized"),
    errors.Forbidden: (403, "Forbidden"),
    errors.NotFound: (404, "NotFound"),
    errors.MethodNotAllowed: (405, "MethodNotAllowed"),
    errors.Conflict: (409, "Conflict"),
    errors.WrongState: (409, "WorkflowDisabled"),
    errors.LimitExceeded: (429, "TooManyRequests"),
    errors.Unavailable: (503, "ServiceUnavailable"),
    errors.PenstockError: (500, "InternalError"),
}

_KINDS = {"definition": ("WorkflowNotFound", "workflow"), "process": ("ExecutionNotFound", "execution")}


def render_failure(shape: Any, error: PenstockError) -> models.Failed:
    """The envelope of an answer that is not a success."""
    code, message = shape.code, error.message
    if isinstance(error, NotFound) and error.details["kind"] in _KINDS:
        code, word = _KINDS[error.details["kind"]]
        message = f"there is no {word} {error.details['id']}"
    violations: list[models.Violation] = []
    if isinstance(error, Invalid):
        problems = error.problems or (Problem("", error.message),)
        violations = [models.Violation(property=property_of(each.pointer), message=each.message) for each in problems]
    return models.Failed(meta=models.Meta(errors=[models.Fault(code=code, message=message)], validation=violations))


_INDEX = re.compile(r"\.(\d+)(?=\.|$)")


def property_of(pointer: str) -> str:
    """`/data/tasks/0/id` is `data.tasks[0].id`, the whole body `$`; the bare name of a parameter or header stays."""
    if not pointer.startswith("/"):
        return pointer or "$"
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer[1:].split("/")]
    return _INDEX.sub(r"[\1]", ".".join(steps))
