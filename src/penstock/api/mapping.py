"""Between the native door's models and operations. Pure translation."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from penstock.api import document_models, item_models, job_models, models
from penstock.core.durations import format_time, parse_time
from penstock.core.events import Failure
from penstock.errors import Invalid
from penstock.errors import Problem as Wrong

DATA = ("input", "metadata", "entity", "output")


def time_of(ms: int | None) -> str | None:
    return None if ms is None else format_time(ms)


def parse_moment(text: str | None, name: str) -> int | None:
    """Raises: Invalid."""
    if text is None:
        return None
    try:
        return parse_time(text)
    except ValueError as error:
        raise Invalid(f"{name}: {error}", [Wrong(name, str(error), "time")]) from None


def render_problem(problem: Wrong) -> models.Problem:
    return models.Problem(pointer=problem.pointer, message=problem.message, code=problem.code, warning=problem.warning)


def render_definition(view: Any, *, document: bool) -> models.Definition:
    return models.Definition(
        id=view.id,
        code=view.code,
        name=view.name,
        latest=view.latest,
        active=view.active,
        created_at=format_time(view.created_at),
        document=view.document if document else UNSET,
    )


def render_version(view: Any, *, document: bool) -> models.Version:
    return models.Version(
        version=view.version,
        version_id=view.version_id,
        state=view.state,
        created_at=format_time(view.created_at),
        created_by=view.created_by,
        document=view.document if document else UNSET,
    )


def render_deployed(view: Any) -> models.Deployed:
    return models.Deployed(
        id=view.id,
        code=view.code,
        version=view.version,
        version_id=view.version_id,
        created_at=format_time(view.created_at),
        warnings=[render_problem(problem) for problem in view.warnings],
        unchanged=view.unchanged,
        state=view.state,
    )


def render_process(view: Any, *, whole: bool) -> models.Process:
    parent = None if view.parent is None else models.Parent(id=view.parent.id, visit=view.parent.visit)
    return models.Process(
        id=view.id,
        definition=view.definition,
        version=view.version,
        status=view.status,
        created_at=format_time(view.created_at),
        created_by=view.created_by,
        modified_at=format_time(view.modified_at),
        ended_at=time_of(view.ended_at),
        incidents=view.incidents,
        retries=view.retries,
        seq=view.seq,
        parent=parent,
        input=view.input if whole else UNSET,
        metadata=view.metadata if whole else UNSET,
        entity=view.entity if whole else UNSET,
        output=view.output if whole else UNSET,
    )


def render_history(entry: Any) -> models.HistoryEntry:
    return models.HistoryEntry(
        seq=entry.seq,
        feed=entry.feed,
        at=format_time(entry.at),
        actor=entry.actor,
        type=entry.type,
        scope=entry.scope,
        visit=entry.visit,
        data=entry.data,
    )


def render_visit(visit: Any) -> models.Visit:
    return models.Visit(
        n=visit.n,
        scope=visit.scope,
        node=visit.node,
        kind=visit.kind,
        state=visit.state,
        attempt=visit.attempt,
        input=visit.input,
        output=visit.output,
        failure=visit.failure,
        started_at=format_time(visit.started_at),
        ended_at=time_of(visit.ended_at),
    )


def render_migration(view: Any) -> models.Migration:
    return models.Migration(
        process=render_process(view.process, whole=True),
        moves=[models.Move(visit=move.visit, node=move.node, to=move.to) for move in view.moves],
        problems=[render_problem(problem) for problem in view.problems],
    )


def render_item(view: Any, *, whole: bool) -> item_models.Item:
    return item_models.Item(
        id=view.id,
        process=view.process,
        definition=view.definition,
        visit=view.visit,
        node=view.node,
        task=view.task,
        name=view.name,
        description=view.description,
        kind=view.kind,
        state=view.state,
        owner=view.owner,
        delegated_by=view.delegator,
        candidates=view.candidates,
        data=view.data,
        output=view.output,
        priority=view.priority,
        due_at=time_of(view.due_at),
        created_at=format_time(view.created_at),
        ended_at=time_of(view.ended_at),
        ended_by=view.ended_by,
        posts=view.posts,
        schema=view.schema if whole else UNSET,
        ui=view.ui if whole else UNSET,
    )


def render_document(view: Any) -> document_models.Document:
    return document_models.Document(
        id=view.id,
        uri=f"document:{view.id}",
        name=view.name,
        content_type=view.content_type,
        size=view.size,
        sha256=view.sha256,
        created_by=view.created_by,
        created_at=format_time(view.created_at),
        links=[document_models.DocumentLink(process=link.process, item=link.item) for link in view.links],
    )


def render_line(view: Any) -> item_models.ItemLine:
    data = view.data
    if data.get("due_at") is not None:
        data = {**data, "due_at": format_time(data["due_at"])}
    return item_models.ItemLine(line=view.line, at=format_time(view.at), actor=view.actor, type=view.type, data=data)


def render_post(view: Any) -> item_models.Post:
    return item_models.Post(
        number=view.number,
        author=view.author,
        text=view.text,
        at=format_time(view.at),
        edited_at=time_of(view.edited_at),
        deleted_at=time_of(view.deleted_at),
    )


def render_job(taken: Any) -> job_models.Job:
    return job_models.Job(
        id=f"{taken.process_id}.{taken.visit}",
        process=taken.process_id,
        definition=taken.definition,
        version=taken.version,
        node=taken.node,
        visit=taken.visit,
        topic=taken.topic,
        attempt=taken.attempt,
        execution_id=taken.execution_id,
        token=taken.token,
        lease=taken.lease,
        leased_until=format_time(taken.leased_until),
        input=taken.input,
        timeout_at=time_of(taken.timeout_at),
        created_at=format_time(taken.created_at),
        traceparent=UNSET if taken.trace is None else taken.trace,
    )


def parse_failure(cause: job_models.Cause, depth: int = 0) -> Failure:
    """Raises: Invalid when causes nest deeper than ten."""
    if depth > 10:
        raise Invalid("causes nest too deep", [Wrong("/failure", "at most 10 causes within causes", "depth")])
    inner = None if cause.cause is None else parse_failure(cause.cause, depth + 1)
    return Failure(cause.type, cause.message, cause.permanent, inner)


def render_results(results: list[Any], error_of: Any) -> list[job_models.Result]:
    found = []
    for result in results:
        if result.error is not None:
            found.append(job_models.Result(id=result.id, status="error", error=error_of(result.error)))
        elif result.value is None:
            found.append(job_models.Result(id=result.id, status="ok"))
        else:
            until = format_time(result.value.leased_until)
            found.append(job_models.Result(id=result.id, status="ok", leased_until=until, cancel=result.value.cancel))
    return found
