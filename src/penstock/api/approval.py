"""Routes of permissions of definitions, and of what is decided about their versions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from penstock.api import mapping, models
from penstock.api import people_mapping as words
from penstock.api import people_models as own
from penstock.api.door import ApiCall, Native, page, position
from penstock.core.approval import Decision
from penstock.errors import Conflict, Forbidden, NotFound, WrongState
from penstock.operations import approval, definitions, permissions
from penstock.web.routing import Reply, Route


async def get_permissions(call: ApiCall) -> Reply:
    view = await permissions.get(call.door.operations, call.actor, call.path["code"])
    return Reply(own.Permissions(permissions=view.permissions), revision=view.revision)


async def put_permissions(call: ApiCall) -> Reply:
    at = (call.door.operations, call.actor, call.path["code"])
    view = await permissions.put(*at, call.body.permissions, call.revisions, call.idempotency_key)
    return Reply(own.Permissions(permissions=view.permissions), revision=view.revision)


async def list_decisions(call: ApiCall) -> own.Decisions:
    at = (call.door.operations, call.actor, call.path["code"], call.path["number"])
    found = await approval.listed(*at, position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, words.render_decided, own.Decisions)


def _decide(decision: Decision) -> Callable[[ApiCall], Awaitable[models.Version]]:
    async def decide(call: ApiCall) -> models.Version:
        at = (call.door.operations, call.actor, call.path["code"], call.path["number"])
        row = await approval.decide(*at, decision, call.body.comment, call.idempotency_key)
        return mapping.render_version(definitions.version_view(row), document=False)

    return decide


_SUMMARIES = {
    Decision.SUBMIT: "Give a draft to review",
    Decision.WITHDRAW: "Make it a draft again: what is in review, approved or rejected",
    Decision.APPROVE: "Approve what is in review; by somebody else, where the tenant demands four eyes",
    Decision.REJECT: "Reject what is in review; the comment says why",
    Decision.ACTIVATE: "Let new processes start with this version",
    Decision.RETIRE: "Start nothing with this version any more; what runs goes on",
}
_TAG = "Permissions and approval"


def _decision(decision: Decision) -> Route[Native]:
    return Route(
        method="POST", path=f"/definitions/{{code}}/versions/{{number:int}}/{decision}", operation=f"{decision}Version",
        summary=_SUMMARIES[decision], handler=_decide(decision), request=own.Rejection if decision is Decision.REJECT else own.Comment, response=models.Version,
        errors=(Forbidden, NotFound, WrongState, Conflict), tag=_TAG,
    )  # fmt: skip


ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="GET", path="/definitions/{code}/permissions", operation="getPermissions",
        summary="Who may do what with a definition", handler=get_permissions, response=own.Permissions, revised=True,
        errors=(Forbidden, NotFound), tag=_TAG,
    ),
    Route(
        method="PUT", path="/definitions/{code}/permissions", operation="putPermissions",
        summary="Put these in place of all permissions of a definition", handler=put_permissions,
        request=own.PutPermissions, response=own.Permissions, revised=True, errors=(Forbidden, NotFound, Conflict),
        examples={"staff": {"permissions": {"initiator": ["group:staff"], "manager": ["group:risk"]}}}, tag=_TAG,
    ),
    Route(
        method="GET", path="/definitions/{code}/versions/{number:int}/decisions", operation="listDecisions",
        summary="What was decided about a version, and with what comment", handler=list_decisions, query=models.Paged,
        response=own.Decisions, errors=(NotFound,), tag=_TAG,
    ),
    *(_decision(decision) for decision in Decision),
)  # fmt: skip
