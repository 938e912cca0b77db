"""The whole table of the native door."""

from __future__ import annotations

import penstock
from penstock.api import bulk, definitions, processes, work
from penstock.api.door import Native
from penstock.web.auth import bearer
from penstock.web.openapi import describe
from penstock.web.routing import Door

PREFIX = "/api/v1"
ROUTES = (*definitions.ROUTES, *processes.ROUTES, *bulk.ROUTES, *work.ROUTES)


def door(native: Native, max_body: int) -> Door[Native]:
    """The native door, with its OpenAPI document and page."""
    made = Door(
        ROUTES,
        native,
        name="api",
        title="Penstock native API",
        version=penstock.__version__,
        prefix=PREFIX,
        authenticate=bearer(native.credentials),
        max_body=max_body,
        description="Definitions, processes, bulk operations, items, jobs, values, messages and signals.",
    )
    describe(made)
    return made
