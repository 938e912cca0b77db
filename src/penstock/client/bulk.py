"""Calls for bulk operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.client import models
from penstock.client.building import change, get, given
from penstock.client.request import M, Namespace, Request, listing, segment, verb


class Bulk(Namespace[M]):
    """One command to many processes, carried out by the server in the background."""

    @verb
    def begin(
        self,
        command: str,
        *,
        filter: Mapping[str, Any] | None = None,
        ids: Sequence[str] | None = None,
        arguments: Mapping[str, Any] | None = None,
        dry_run: bool = False,
    ) -> Request[models.Bulk]:
        """`filter` has the members of `POST /bulk`, as `{"definition": "loan", "status": ["FAILED"]}`; or `ids`.

        A dry run changes nothing; `results` then tells of each process.
        """
        body = given(command=command, filter=filter, ids=ids, arguments=arguments, dry_run=dry_run or None)
        return change("POST", "/bulk", models.Bulk, body)

    @listing
    def list(self, *, limit: int | None = None, cursor: str | None = None) -> Request[models.Page[models.Bulk]]:
        return get("/bulk", models.Page[models.Bulk], limit=limit, cursor=cursor)

    @verb
    def get(self, id: str) -> Request[models.Bulk]:
        return get(f"/bulk/{segment(id)}", models.Bulk)

    @verb
    def cancel(self, id: str) -> Request[models.Bulk]:
        """What is done stays done."""
        return change("POST", f"/bulk/{segment(id)}/cancel", models.Bulk)

    @listing
    def failures(
        self, id: str, *, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.BulkResult]]:
        path = f"/bulk/{segment(id)}/failures"
        return get(path, models.Page[models.BulkResult], limit=limit, cursor=cursor)

    @listing
    def results(
        self, id: str, *, outcome: str | None = None, limit: int | None = None, cursor: str | None = None
    ) -> Request[models.Page[models.BulkResult]]:
        """What failed and what was skipped; of a dry run everything."""
        path = f"/bulk/{segment(id)}/results"
        return get(path, models.Page[models.BulkResult], outcome=outcome, limit=limit, cursor=cursor)
