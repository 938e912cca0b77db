"""What the native door says of documents."""

from __future__ import annotations

from penstock.api.models import Answer, Limit, Request


class UploadQuery(Request, frozen=True, kw_only=True):
    process: str | None = None
    item: str | None = None
    name: str | None = None


class DocumentQuery(Request, frozen=True, kw_only=True):
    item: str | None = None
    limit: Limit = 50
    cursor: str | None = None


class DocumentLink(Answer, frozen=True, kw_only=True):
    process: str
    item: str | None


class Document(Answer, frozen=True, kw_only=True):
    id: str
    uri: str
    name: str
    content_type: str
    size: int
    sha256: str
    created_by: str
    created_at: str
    links: list[DocumentLink]


class Documents(Answer, frozen=True, kw_only=True):
    items: list[Document]
    next: str | None


class LinkDocument(Request, frozen=True, kw_only=True):
    item: str | None = None
