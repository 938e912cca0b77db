"""Routes of `/items`, and of the threads of a process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.api import item_models, mapping, models
from penstock.api.door import ApiCall, Native, entry_error, page, position
from penstock.core.durations import format_time
from penstock.core.requests import ItemFilter
from penstock.errors import Conflict, Forbidden, Invalid, NotFound, PenstockError, Problem, Stale, TooLarge, WrongState
from penstock.identity.model import parse_grantee
from penstock.operations import drafts, items, threads
from penstock.web.routing import Reply, Route

_DESCENDING = {"created": True, "due": False, "priority": True}

# -- items -----------------------------------------------------------------------------------------------------------


def _filter(query: item_models.ItemQuery) -> ItemFilter:
    """Raises: Invalid."""
    due_before = mapping.parse_moment(query.due_before, "due_before")
    sort = query.sort or ("due" if query.overdue or due_before is not None else "created")
    return ItemFilter(
        states=tuple(dict.fromkeys(query.state)),
        kinds=tuple(dict.fromkeys(query.kind)),
        owner=None if query.owner is None else _grantee(query.owner, "owner"),
        group=None if query.group is None else f"group:{query.group}",
        task=query.task,
        overdue=query.overdue,
        due_before=due_before,
        sort=sort,
        descending=_DESCENDING[sort] if query.order is None else query.order == "desc",
    )


def _grantee(text: str, name: str) -> str:
    try:
        return parse_grantee(text, name)
    except Invalid as error:
        raise Invalid(f"{name}: {error.message}", error.problems) from None


async def listed(call: ApiCall) -> item_models.Items:
    query: item_models.ItemQuery = call.query
    found = await items.listed(
        call.door.operations,
        call.actor,
        _filter(query),
        position(call, call.actor),
        query.limit,
        mine=query.mine,
        process=query.process,
        definition=query.definition,
    )
    return page(call, call.actor, found, _in_a_list, item_models.Items)


def _in_a_list(view: Any) -> item_models.Item:
    return mapping.render_item(view, whole=False)


def _whole(view: Any) -> Reply:
    return Reply(mapping.render_item(view, whole=True), revision=view.rev)


def _of(call: ApiCall) -> tuple[Any, Any, str]:
    return call.door.operations, call.actor, call.path["id"]


async def get(call: ApiCall) -> Reply:
    return _whole(await items.get(*_of(call)))


async def counts(call: ApiCall) -> item_models.ItemCounts:
    found = await items.counts(call.door.operations, call.actor)
    return item_models.ItemCounts(
        mine=found.mine,
        groups=found.groups,
        overdue=found.overdue,
        messages=found.messages,
        threads=found.threads,
        capped=found.capped,
    )


async def claim(call: ApiCall) -> Reply:
    return _whole(await items.claim(*_of(call), call.idempotency_key))


async def unclaim(call: ApiCall) -> Reply:
    return _whole(await items.unclaim(*_of(call), call.idempotency_key))


async def acknowledge(call: ApiCall) -> Reply:
    return _whole(await items.acknowledge(*_of(call), call.idempotency_key))


async def assign(call: ApiCall) -> Reply:
    return _whole(await items.assign(*_of(call), call.body.to, call.idempotency_key))


async def delegate(call: ApiCall) -> Reply:
    return _whole(await items.delegate(*_of(call), call.body.to, call.body.note, call.idempotency_key))


async def cancel(call: ApiCall) -> Reply:
    return _whole(await items.cancel(*_of(call), call.body.reason, call.idempotency_key))


async def complete(call: ApiCall) -> Reply:
    return _whole(await items.complete(*_of(call), call.body.output, call.idempotency_key))


async def change(call: ApiCall) -> Reply:
    body: item_models.ChangeItem = call.body
    due_at = mapping.parse_moment(body.due_at, "/due_at") if isinstance(body.due_at, str) else body.due_at
    wanted = items.Change(due_at=due_at, priority=body.priority, expected=call.revisions)
    return _whole(await items.change(*_of(call), wanted, call.idempotency_key))


async def batch(call: ApiCall) -> item_models.ItemResults:
    entries = [_entry(at, each) for at, each in enumerate(call.body.items)]
    answers = await items.batch(call.door.operations, call.actor, entries, call.idempotency_key)
    return item_models.ItemResults(
        results=[_result(entry.id, answer) for entry, answer in zip(entries, answers, strict=True)]
    )


def _entry(at: int, given: item_models.ItemCommand) -> items.Entry:
    """Raises: Invalid."""
    if given.output is not None and given.command != "complete":
        message = f"{given.command} takes no output"
        raise Invalid(message, [Problem(f"/items/{at}/output", message, "output")])
    return items.Entry(given.id, given.command, given.output)


def _result(id: str, answer: Any) -> item_models.ItemResult:
    if isinstance(answer, PenstockError):
        error = entry_error(answer)
        return item_models.ItemResult(id=id, status=error.status, error=error)
    return item_models.ItemResult(id=id, status=200, item=mapping.render_item(answer, whole=False))


# -- drafts and logs -------------------------------------------------------------------------------------------------


def _draft(view: Any) -> Reply:
    body = item_models.Draft(owner=view.owner, data=view.data, saved_at=format_time(view.saved_at))
    return Reply(body, revision=view.rev)


async def get_draft(call: ApiCall) -> Reply:
    return _draft(await drafts.get(*_of(call)))


async def save_draft(call: ApiCall) -> Reply:
    return _draft(await drafts.save(*_of(call), call.body, call.revisions, call.idempotency_key))


async def drop_draft(call: ApiCall) -> None:
    await drafts.drop(*_of(call), call.revisions, call.idempotency_key)


async def write_log(call: ApiCall) -> item_models.ItemLine:
    body: item_models.NewLine = call.body
    return mapping.render_line(await drafts.write_log(*_of(call), body.level, body.message, call.idempotency_key))


async def log(call: ApiCall) -> item_models.ItemLog:
    found = await drafts.log(*_of(call), position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, mapping.render_line, item_models.ItemLog)


# -- threads ---------------------------------------------------------------------------------------------------------


async def begin_thread(call: ApiCall) -> Reply:
    body: item_models.NewThread = call.body
    view = await threads.begin(*_of(call), body.name, body.candidates, body.text, call.idempotency_key)
    return _whole(view)


async def list_threads(call: ApiCall) -> item_models.Items:
    found = await threads.listed(*_of(call), position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, _in_a_list, item_models.Items)


async def list_posts(call: ApiCall) -> item_models.Posts:
    found = await threads.posts(*_of(call), position(call, call.actor), call.query.limit)
    return page(call, call.actor, found, mapping.render_post, item_models.Posts)


async def write_post(call: ApiCall) -> item_models.Post:
    return mapping.render_post(await threads.write(*_of(call), call.body.text, call.idempotency_key))


async def edit_post(call: ApiCall) -> item_models.Post:
    number = call.path["number"]
    return mapping.render_post(await threads.edit(*_of(call), number, call.body.text, call.idempotency_key))


async def delete_post(call: ApiCall) -> None:
    await threads.delete(*_of(call), call.path["number"], call.idempotency_key)


# -- the table -------------------------------------------------------------------------------------------------------

_ERRORS = (NotFound, Forbidden, WrongState, Conflict, TooLarge)


def _command(
    name: str, summary: str, handler: Callable[[ApiCall], Any], request: Any = models.Nothing
) -> Route[Native]:
    return Route(
        method="POST", path=f"/items/{{id}}/{name}", operation=f"{name}Item", summary=summary, handler=handler,
        request=request, response=item_models.Item, errors=_ERRORS, tag="Items",
    )  # fmt: skip


def _draft_route(method: str, operation: str, summary: str, handler: Any, **more: Any) -> Route[Native]:
    return Route(
        method=method, path="/items/{id}/draft", operation=operation, revised=True, summary=summary, handler=handler,
        errors=(*_ERRORS, Stale), tag="Items", **more,
    )  # fmt: skip


def _post_route(method: str, path: str, operation: str, summary: str, handler: Any, **more: Any) -> Route[Native]:
    return Route(
        method=method, path=f"/items/{{id}}/posts{path}", operation=operation, summary=summary, handler=handler,
        errors=_ERRORS, tag="Threads", **more,
    )  # fmt: skip


ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="GET", path="/items", operation="listItems", summary="Items; people see their own", handler=listed,
        query=item_models.ItemQuery, response=item_models.Items, errors=(NotFound,), tag="Items",
    ),
    Route(
        method="GET", path="/items/~counts", operation="countItems", summary="How many open items wait for the caller",
        handler=counts, response=item_models.ItemCounts, tag="Items",
    ),
    Route(
        method="POST", path="/items/~batch", operation="commandItems",
        summary="Claim, unclaim, complete or acknowledge up to 500 items; each succeeds or fails by itself",
        handler=batch, request=item_models.ItemCommands, response=item_models.ItemResults, tag="Items",
        examples={"claim": {"items": [{"id": "01938f5e-0000-7000-8000-000000000000", "command": "claim"}]}},
    ),
    Route(
        method="GET", path="/items/{id}", operation="getItem", revised=True, summary="An item with its form", handler=get,
        response=item_models.Item, errors=(NotFound,), tag="Items",
    ),
    Route(
        method="PATCH", path="/items/{id}", operation="changeItem", revised=True, summary="Change when it is due and how urgent it is",
        handler=change, request=item_models.ChangeItem, response=item_models.Item, errors=(*_ERRORS, Stale), tag="Items",
        examples={"tomorrow": {"due_at": "2026-11-22T12:00:00Z", "priority": 10}},
    ),
    _command("claim", "Make an item one's own, or take back what one has delegated", claim),
    _command("unclaim", "Give it back: to who delegated it, else to its candidates", unclaim),
    _command("assign", "Give it to a user, an application or a group", assign, item_models.AssignItem),
    _command("delegate", "Hand one's item on; it comes back", delegate, item_models.DelegateItem),
    _command("cancel", "Take it from everybody: the error `ItemCancelled` for its process", cancel, models.Reason),
    _command("complete", "End a task with its form's data, or close a thread", complete, item_models.CompleteItem),
    _command("acknowledge", "A message has been read", acknowledge),
    _draft_route("GET", "getDraft", "What the owner has saved of unfinished data", get_draft, response=item_models.Draft),
    _draft_route("PUT", "saveDraft", "Save unfinished data: any JSON", save_draft, request=Any, response=item_models.Draft),
    _draft_route("DELETE", "dropDraft", "Forget it", drop_draft, status=204),
    Route(
        method="POST", path="/items/{id}/log", operation="writeItemLog", summary="A line for the item's log",
        handler=write_log, request=item_models.NewLine, response=item_models.ItemLine, status=201, errors=_ERRORS, tag="Items",
    ),
    Route(
        method="GET", path="/items/{id}/log", operation="listItemLog", summary="The item's log, in order", handler=log,
        query=models.Paged, response=item_models.ItemLog, errors=(NotFound, Forbidden), tag="Items",
    ),
    Route(
        method="POST", path="/processes/{id}/threads", operation="beginThread",
        summary="Begin a conversation on a process", handler=begin_thread, request=item_models.NewThread,
        response=item_models.Item, status=201, errors=_ERRORS, tag="Threads",
        examples={"question": {"name": "Which invoice?", "candidates": ["group:sales"], "text": "I see two."}},
    ),
    Route(
        method="GET", path="/processes/{id}/threads", operation="listThreads", summary="Its threads, newest first",
        handler=list_threads, query=models.Paged, response=item_models.Items, errors=(NotFound,), tag="Threads",
    ),
    _post_route("GET", "", "listPosts", "What was said, in order", list_posts, query=models.Paged,
                response=item_models.Posts),
    _post_route("POST", "", "writePost", "Say something", write_post, request=item_models.NewPost, response=item_models.Post,
                status=201),
    _post_route("PUT", "/{number:int}", "editPost", "Edit one's own post", edit_post, request=item_models.NewPost,
                response=item_models.Post),
    _post_route("DELETE", "/{number:int}", "deletePost", "Delete one's own post", delete_post, status=204),
)  # fmt: skip
