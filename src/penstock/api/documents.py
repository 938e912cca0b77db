"""Routes of `/documents` and of the documents of a process."""

from __future__ import annotations

from penstock.api import document_models, mapping
from penstock.api.door import ApiCall, Native, page, position
from penstock.errors import Conflict, Forbidden, NotFound, RangeNotSatisfiable, TooLarge, WrongState
from penstock.operations.documents import Incoming, too_large
from penstock.web import files
from penstock.web.routing import Reply, Route
from penstock.web.transfer import Download, declared_length

SEALED = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}
"""What somebody has stored is shown to nobody as a page of ours."""
FORM_SLACK = 64 * 1024
"""Bytes of a form that are not its file's."""


def fits(call: ApiCall) -> None:
    """A length that is told is judged before anything is read. Raises: TooLarge."""
    limit = call.door.documents.max_size
    declared = declared_length(call.headers)
    if declared is not None and declared > limit + FORM_SLACK:
        raise too_large(limit, close=True)


async def upload(call: ApiCall) -> Reply:
    documents, query = call.door.documents, call.query
    place = await documents.place(call.actor, query.process, query.item)
    file = await files.incoming(call.headers, files.paced(call.chunks(), call.door.patience), query.name)
    view, fresh = await documents.upload(
        call.actor, Incoming(file.name, file.content_type, file.chunks), place, call.idempotency_key
    )
    headers = {"location": f"{call.scope['path']}/{view.id}"}
    return Reply(mapping.render_document(view), 201 if fresh else 200, headers)


async def get(call: ApiCall) -> document_models.Document:
    return mapping.render_document(await call.door.documents.get(call.actor, call.path["id"]))


async def download(call: ApiCall) -> Download:
    documents = call.door.documents
    view = await documents.known(call.actor, call.path["id"])
    etag = f'"{view.sha256}"'
    headers = {"etag": etag, "accept-ranges": "bytes", "cache-control": "private, no-cache"}
    if files.unchanged(call.headers, etag):
        return Download(None, 0, "", call.door.patience, 304, headers)
    headers |= {"content-disposition": files.attachment(view.name), **SEALED}
    part = files.wanted_part(call.headers, view.size, etag) if call.scope["method"] == "GET" else None
    start, end = part or (0, view.size)
    if part is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{view.size}"
    chunks = None if call.scope["method"] == "HEAD" else await documents.content(view, start, end)
    status = 200 if part is None else 206
    return Download(chunks, end - start, view.content_type, call.door.patience, status, headers)


async def delete(call: ApiCall) -> None:
    await call.door.documents.delete(call.actor, call.path["id"], call.idempotency_key)


async def listed(call: ApiCall) -> document_models.Documents:
    found = await call.door.documents.listed(
        call.actor, call.path["id"], call.query.item, position(call, call.actor), call.query.limit
    )
    return page(call, call.actor, found, mapping.render_document, document_models.Documents)


async def link(call: ApiCall) -> document_models.Document:
    view = await call.door.documents.link(
        call.actor, call.path["id"], call.path["document"], call.body.item, call.idempotency_key
    )
    return mapping.render_document(view)


async def unlink(call: ApiCall) -> None:
    await call.door.documents.unlink(call.actor, call.path["id"], call.path["document"], call.idempotency_key)


_CHANGING = (NotFound, Forbidden, WrongState, Conflict)

ROUTES: tuple[Route[Native], ...] = (
    Route(
        method="POST", path="/documents", operation="uploadDocument",
        summary="Store a file, of a process or item or of none yet", handler=upload, parse=fits, request=bytes,
        stream=True, content_types=(files.MULTIPART, files.ANY), query=document_models.UploadQuery, response=document_models.Document,
        status=201, also=(200,), errors=(*_CHANGING, TooLarge), tag="Documents",
        request_headers={"Content-Disposition": '`attachment; filename="…"`: the name of content that is no form.'},
        answer_headers={"Location": "Where the document is."},
        description="A form with the one part `file`; or the content itself, with its type in `Content-Type` and its name in "
        "`name` or `Content-Disposition`. What nothing links is its creator's alone and is forgotten after a day. "
        "A value refers to a document by its `uri`.",
    ),
    Route(
        method="GET", path="/documents/{id}", operation="getDocument", summary="What is known of a document",
        handler=get, response=document_models.Document, errors=(NotFound,), tag="Documents",
    ),
    Route(
        method="GET", path="/documents/{id}/content", operation="downloadDocument",
        summary="The content, or one range of its bytes", handler=download, response=bytes, also=(206, 304),
        errors=(NotFound, RangeNotSatisfiable), tag="Documents",
        request_headers={
            "Range": "`bytes=0-99`, `bytes=100-` or `bytes=-100`: one part of the content (206).",
            "If-Range": "The range only if the content still has this ETag, else the whole.",
            "If-None-Match": "Nothing (304) if the content has one of these ETags.",
        },
        answer_headers={
            "ETag": "The SHA-256 of the content, in quotes.",
            "Content-Disposition": "`attachment`, with the document's name.",
            "Content-Range": "Which bytes these are, of how many (206).",
        },
        description="`ETag` is the content's SHA-256. `Range` (one), `If-Range`, `If-None-Match` and HEAD do what they "
        "should. Always an attachment.",
    ),
    Route(
        method="DELETE", path="/documents/{id}", operation="deleteDocument",
        summary="Remove a document from everywhere, with its content", handler=delete, status=204, errors=_CHANGING,
        tag="Documents",
    ),
    Route(
        method="GET", path="/processes/{id}/documents", operation="listDocuments",
        summary="Documents of a process, or of an item of it, oldest first", handler=listed, query=document_models.DocumentQuery,
        response=document_models.Documents, errors=(NotFound,), tag="Documents",
    ),
    Route(
        method="PUT", path="/processes/{id}/documents/{document}", operation="linkDocument",
        summary="Make a document one of a process's, or of an item's of it", handler=link, request=document_models.LinkDocument,
        response=document_models.Document, errors=_CHANGING, tag="Documents",
    ),
    Route(
        method="DELETE", path="/processes/{id}/documents/{document}", operation="unlinkDocument",
        summary="Take a document from a process", handler=unlink, status=204, errors=_CHANGING, tag="Documents",
    ),
)  # fmt: skip
