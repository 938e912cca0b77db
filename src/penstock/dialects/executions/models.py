"""The door's words: camelCase, ids are UUIDs, times ISO 8601 in UTC. What is sent may hold members nobody knows."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

Limit = Annotated[int, msgspec.Meta(ge=1, le=200)]


class Words(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all."""


# -- the envelope ----------------------------------------------------------------------------------------------------


class Fault(Words, frozen=True, kw_only=True):
    code: str
    message: str


class Violation(Words, frozen=True, kw_only=True):
    """`property` is the way to a member of the body, as `data.tasks[0].id`; `$` is the whole body."""

    property: str
    message: str


class Meta(Words, frozen=True, kw_only=True):
    """There always. `info` is empty, unless there is something to say."""

    errors: list[Fault] = []
    validation: list[Violation] = []
    info: dict[str, Any] = {}


class Failed(Words, frozen=True, kw_only=True):
    """Every answer that is not a success."""

    meta: Meta
    data: None = None


# -- executions ------------------------------------------------------------------------------------------------------


class StartData(Words, frozen=True, kw_only=True):
    workflow_id: str
    """The same as in the path."""


class StartRequest(Words, frozen=True, kw_only=True):
    data: StartData


class QueueEntry(Words, frozen=True, kw_only=True):
    """Work that is ready or being done."""

    task_id: str
    job_subject_id: str


class Task(Words, frozen=True, kw_only=True):
    """A place of the workflow. A trigger is why the workflow runs, and no work."""

    id: str
    subject_id: str
    """What the task runs; the topic that workers poll, where the workflow was made here."""
    name: str
    parameters: dict[str, Any]
    is_trigger: bool


class Edge(Words, frozen=True, kw_only=True):
    parent: str
    child: str


class Execution(Words, frozen=True, kw_only=True):
    """`tasks` and `tasksHierarchy` are those of the version that was started."""

    id: str
    workflow_id: str
    execution_queue: list[QueueEntry]
    created: str
    finished: str | None
    """Null while anything is ready, running or waited for."""
    tasks: list[Task]
    tasks_hierarchy: list[Edge]


class ExecutionAnswer(Words, frozen=True, kw_only=True):
    meta: Meta
    data: Execution


class ExecutionList(Words, frozen=True, kw_only=True):
    """`meta.info.next` is the cursor of the next page, or null."""

    meta: Meta
    data: list[Execution]


# -- workflows -------------------------------------------------------------------------------------------------------


class TaskDraft(Words, frozen=True, kw_only=True):
    """`id` is made where it is not given."""

    id: str | None = None
    subject_id: str | None = None
    """Must be there; every task without it is named in one answer."""
    name: str | None = None
    parameters: dict[str, Any] | None = None
    is_trigger: bool | None = None


class EdgeDraft(Words, frozen=True, kw_only=True):
    parent: str | None = None
    child: str | None = None


class WorkflowDraft(Words, frozen=True, kw_only=True):
    tasks: list[TaskDraft]
    name: str | None = None
    tasks_hierarchy: list[EdgeDraft] | None = None


class WorkflowRequest(Words, frozen=True, kw_only=True):
    data: WorkflowDraft


class Kept(Words, frozen=True, kw_only=True):
    """What a definition made here keeps of what was sent, besides members nobody knows."""

    name: str
    tasks: list[Task]
    tasks_hierarchy: list[Edge]


class Workflow(Words, frozen=True, kw_only=True):
    """Members that were sent and that nobody here knows are given back beside these."""

    id: str
    name: str
    version: int
    enabled: bool
    created: str
    tasks: list[Task]
    tasks_hierarchy: list[Edge]


class WorkflowAnswer(Words, frozen=True, kw_only=True):
    meta: Meta
    data: Workflow


class WorkflowList(Words, frozen=True, kw_only=True):
    """`meta.info.next` is the cursor of the next page, or null."""

    meta: Meta
    data: list[Workflow]


class Paged(Words, frozen=True, kw_only=True, forbid_unknown_fields=True):
    limit: Limit = 50
    cursor: str | None = None
