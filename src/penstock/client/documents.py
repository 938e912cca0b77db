"""Calls about documents: stored files of processes and items."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import BinaryIO

import msgspec

from penstock.client import models
from penstock.client.files import Download, Upload
from penstock.client.request import API, M, Namespace, Request, listing, segment, verb


class Documents(Namespace[M]):
    @verb
    def upload(
        self,
        source: Path | BinaryIO | bytes,
        *,
        name: str | None = None,
        content_type: str | None = None,
        process: str | None = None,
        item: str | None = None,
    ) -> Request[models.Document]:
        """Stores a file, in chunks. One that nothing links is its creator's alone, and is forgotten after a day.

        `name` is the path's own where there is one. A value refers to a document by its `uri`.
        """
        if name is None:
            if not isinstance(source, Path):
                raise TypeError("what is no path needs a name")
            name = source.name
        query = (("name", name), ("process", process), ("item", item))
        return Request(
            "POST",
            f"{API}/documents",
            models.Document,
            query=tuple((key, value) for key, value in query if value is not None),
            body=Upload(source),
            content_type=content_type or mimetypes.guess_type(name)[0] or "application/octet-stream",
        )

    @verb
    def get(self, id: str) -> Request[models.Document]:
        return Request("GET", _document(id), models.Document, repeatable=True, keyed=False)

    @verb
    def download(self, id: str, to: Path | BinaryIO) -> Request[None]:
        """The content, in chunks; a path gets the whole or is not touched. Its SHA-256 is compared with the server's."""
        headers = {"Accept": "*/*"}
        return Request(
            "GET",
            f"{_document(id)}/content",
            type(None),
            headers=headers,
            into=Download(to),
            repeatable=True,
            keyed=False,
        )

    @verb
    def delete(self, id: str) -> Request[None]:
        """From everywhere, with its content."""
        return Request("DELETE", _document(id), type(None))

    @listing
    def list(
        self, process: str, *, item: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.Document]]:
        """Documents of a process, or of an item of it."""
        query = (("item", item), ("limit", limit), ("cursor", cursor))
        pairs = tuple((key, str(value)) for key, value in query if value is not None)
        path = f"{API}/processes/{segment(process)}/documents"
        return Request("GET", path, models.Page[models.Document], query=pairs, repeatable=True, keyed=False)

    @verb
    def link(self, process: str, id: str, *, item: str | None = None) -> Request[models.Document]:
        """Makes a document one of a process's, or of an item's of it."""
        body = msgspec.json.encode({} if item is None else {"item": item})
        return Request("PUT", _linked(process, id), models.Document, body=body)

    @verb
    def unlink(self, process: str, id: str) -> Request[None]:
        return Request("DELETE", _linked(process, id), type(None))


def _document(id: str) -> str:
    return f"{API}/documents/{segment(id)}"


def _linked(process: str, id: str) -> str:
    return f"{API}/processes/{segment(process)}/documents/{segment(id)}"
