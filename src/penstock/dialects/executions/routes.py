"""The door's table: paths, status codes, and which operation each is. The start is the vendor's; the others are our extension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import penstock
from penstock.dialects.executions import graphs, mapping, models
from penstock.errors import Conflict, Forbidden, NotFound, WrongState
from penstock.identity.model import Actor
from penstock.operations import executions
from penstock.operations.context import Context
from penstock.operations.views import Page
from penstock.web.auth import Authenticator, bearer
from penstock.web.errors import ErrorRenderer, Shape
from penstock.web.openapi import describe
from penstock.web.paging import decode_cursor, encode_cursor
from penstock.web.routing import ANY_JSON, JSON, MAX_BODY, TEXT_JSON, Admit, Call, Door, Route

MOUNT = "/api/workflow"
PREFIX = f"{MOUNT}/v1.0"
CONTENT_TYPES = (JSON, TEXT_JSON, ANY_JSON)
OURS = "Our extension: the vendor's document shows the start alone."


@dataclass(frozen=True, slots=True)
class Executions:
    """What the door was built with."""

    operations: Context
    credentials: Authenticator
    cursor_key: bytes


ExecutionsCall = Call[Executions]
ExecutionsRoute = Route[Executions]


def _actor(call: ExecutionsCall) -> Actor:
    """Who calls, in the customer of the path. Raises: Forbidden for another customer's."""
    actor = call.actor
    if call.path["customerId"].lower() != actor.tenant.id.lower():
        raise Forbidden(f"the token is not good for customer {call.path['customerId']}")
    return actor


def _workflow_id(call: ExecutionsCall) -> str:
    return graphs.canonical(call.path["workflowId"])


def _position(call: ExecutionsCall, actor: Actor) -> list[Any] | None:
    """Raises: Invalid for a cursor of another list."""
    if call.query.cursor is None:
        return None
    return decode_cursor(call.door.cursor_key, _list_name(call, actor), call.query.cursor, list[Any])


def _cursor(call: ExecutionsCall, actor: Actor, page: Page) -> str | None:
    return None if page.next is None else encode_cursor(call.door.cursor_key, _list_name(call, actor), page.next)


def _list_name(call: ExecutionsCall, actor: Actor) -> str:
    return f"{actor.tenant.tid} {call.route.operation} {call.path.get('workflowId', '').lower()}"


# -- executions ------------------------------------------------------------------------------------------------------


def _parse_start(call: ExecutionsCall) -> str:
    return mapping.parse_start(call.body, call.path["workflowId"])


async def start(call: ExecutionsCall) -> models.ExecutionAnswer:
    actor = _actor(call)
    return mapping.render_answer(await executions.start(call.door.operations, actor, call.body, call.idempotency_key))


async def list_executions(call: ExecutionsCall) -> models.ExecutionList:
    actor = _actor(call)
    page = await executions.listed(
        call.door.operations, actor, _workflow_id(call), _position(call, actor), call.query.limit
    )
    return mapping.render_list(page, _cursor(call, actor, page))


async def get_execution(call: ExecutionsCall) -> models.ExecutionAnswer:
    actor = _actor(call)
    id = graphs.canonical(call.path["executionId"])
    return mapping.render_answer(await executions.get(call.door.operations, actor, _workflow_id(call), id))


# -- workflows -------------------------------------------------------------------------------------------------------


def _parse_workflow(call: ExecutionsCall) -> dict[str, Any]:
    return graphs.parse_workflow(call.body, call.content)


def _workflow(workflow: executions.Workflow) -> dict[str, Any]:
    return {"meta": models.Meta(), "data": graphs.render_workflow(workflow)}


async def list_workflows(call: ExecutionsCall) -> dict[str, Any]:
    actor = _actor(call)
    page = await executions.workflows(call.door.operations, actor, _position(call, actor), call.query.limit)
    meta = models.Meta(info={"next": _cursor(call, actor, page)})
    return {"meta": meta, "data": [graphs.render_workflow(each) for each in page.items]}


async def create_workflow(call: ExecutionsCall) -> dict[str, Any]:
    actor = _actor(call)
    return _workflow(await executions.create(call.door.operations, actor, call.body, call.idempotency_key))


async def get_workflow(call: ExecutionsCall) -> dict[str, Any]:
    actor = _actor(call)
    return _workflow(await executions.workflow(call.door.operations, actor, _workflow_id(call)))


async def replace_workflow(call: ExecutionsCall) -> dict[str, Any]:
    actor = _actor(call)
    return _workflow(
        await executions.replace(call.door.operations, actor, _workflow_id(call), call.body, call.idempotency_key)
    )


async def retire_workflow(call: ExecutionsCall) -> dict[str, Any]:
    actor = _actor(call)
    return _workflow(await executions.retire(call.door.operations, actor, _workflow_id(call), call.idempotency_key))


# -- the table -------------------------------------------------------------------------------------------------------

WORKFLOWS = "/customer/{customerId}/workflow"
WORKFLOW = f"{WORKFLOWS}/{{workflowId}}"
EXECUTIONS = f"{WORKFLOW}/WorkflowExecution"
EXAMPLE = {
    "data": {
        "name": "Nightly report",
        "tasks": [
            {
                "id": "0b0e1f6a-9a0f-4d55-8f1b-5d2f7c1a0001",
                "subjectId": "7c1d4c1e-53c0-4b8e-9d44-2f6f9a3b0001",
                "name": "Every night",
                "isTrigger": True,
            },
            {
                "id": "0b0e1f6a-9a0f-4d55-8f1b-5d2f7c1a0002",
                "subjectId": "7c1d4c1e-53c0-4b8e-9d44-2f6f9a3b0002",
                "name": "Make the report",
                "parameters": {"format": "pdf"},
            },
        ],
        "tasksHierarchy": [
            {"parent": "0b0e1f6a-9a0f-4d55-8f1b-5d2f7c1a0001", "child": "0b0e1f6a-9a0f-4d55-8f1b-5d2f7c1a0002"}
        ],
    }
}


def _route(
    method: str, path: str, operation: str, handler: Callable[[ExecutionsCall], Any], **more: Any
) -> ExecutionsRoute:
    """What all routes of the door have in common."""
    more.setdefault("errors", (Forbidden, NotFound))
    more.setdefault("description", OURS)
    more.setdefault("origin", "ours")
    tag = "Executions" if path.startswith(EXECUTIONS) else "Workflows"
    return Route(
        method=method, path=path, operation=operation, handler=handler, content_types=CONTENT_TYPES, tag=tag, **more
    )


ROUTES: tuple[ExecutionsRoute, ...] = (
    _route(
        "POST", EXECUTIONS, "startWorkflowExecution", start,
        summary="Start workflow execution",
        description="Every call starts another execution, but for one repeated with its Idempotency-Key (our extension).",
        request=models.StartRequest,
        parse=_parse_start,
        response=models.ExecutionAnswer,
        errors=(Forbidden, NotFound, WrongState),
        examples={"start": {"data": {"workflowId": "3c90c3cc-0d44-4b50-8888-8dd25736052a"}}},
        origin="said; the status 200 is ours",
    ),
    _route(
        "GET", EXECUTIONS, "listWorkflowExecutions", list_executions,
        summary="Executions of a workflow, newest first",
        query=models.Paged,
        response=models.ExecutionList,
    ),
    _route(
        "GET", f"{EXECUTIONS}/{{executionId}}", "getWorkflowExecution", get_execution,
        summary="An execution, its queue and its end in one snapshot",
        response=models.ExecutionAnswer,
    ),
    _route(
        "GET", WORKFLOWS, "listWorkflows", list_workflows,
        summary="Workflows, oldest first",
        query=models.Paged,
        response=models.WorkflowList,
        errors=(Forbidden,),
    ),
    _route(
        "POST", WORKFLOWS, "createWorkflow", create_workflow,
        summary="A new workflow",
        request=models.WorkflowRequest,
        max_body=MAX_BODY,
        parse=_parse_workflow,
        response=models.WorkflowAnswer,
        errors=(Forbidden, Conflict),
        examples={"report": EXAMPLE},
    ),
    _route(
        "GET", WORKFLOW, "getWorkflow", get_workflow,
        summary="A workflow, its latest version",
        response=models.WorkflowAnswer,
    ),
    _route(
        "PUT", WORKFLOW, "replaceWorkflow", replace_workflow,
        summary="A new version of a workflow, enabled",
        request=models.WorkflowRequest,
        max_body=MAX_BODY,
        parse=_parse_workflow,
        response=models.WorkflowAnswer,
        errors=(Forbidden, NotFound, Conflict),
        examples={"report": EXAMPLE},
    ),
    _route(
        "DELETE", WORKFLOW, "deleteWorkflow", retire_workflow,
        summary="Disable a workflow: no more executions are started, those that run go on",
        response=models.WorkflowAnswer,
        errors=(Forbidden, NotFound, Conflict),
    ),
)  # fmt: skip

ERRORS = ErrorRenderer(
    {kind: Shape(*line) for kind, line in mapping.ERRORS.items()}, mapping.render_failure, models.Failed
)


def door(executions_: Executions, max_body: int, admit: Admit | None = None) -> Door[Executions]:
    """The door, with its OpenAPI document and page."""
    made = Door(
        ROUTES,
        executions_,
        name="executions",
        title="Workflow API",
        version=penstock.__version__,
        prefix=PREFIX,
        authenticate=bearer(executions_.credentials),
        admit=admit,
        errors=ERRORS,
        max_body=max_body,
        description=(
            "Workflow executions in the vendor's words. The access token comes from Penstock's OAuth 2.0 token endpoint, "
            "POST /api/v1/token (grants client_credentials and password). Paths and the names of members count in any case."
        ),
        lenient=True,
    )
    describe(made)
    return made
