"""The whole table of the native door."""

from __future__ import annotations

import penstock
from penstock.api import (
    approval,
    bulk,
    connections,
    credentials,
    definitions,
    documents,
    events,
    items,
    people,
    processes,
    schedules,
    work,
)
from penstock.api.door import Native
from penstock.api.examples import TOPICS, WORDS
from penstock.web.auth import bearer
from penstock.web.openapi import describe
from penstock.web.routing import Door

PREFIX = "/api/v1"
ROUTES = (
    *definitions.ROUTES,
    *approval.ROUTES,
    *processes.ROUTES,
    *items.ROUTES,
    *bulk.ROUTES,
    *work.ROUTES,
    *documents.ROUTES,
    *schedules.ROUTES,
    *connections.ROUTES,
    *events.ROUTES,
    *people.ROUTES,
    *credentials.ROUTES,
)


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
        description="Definitions, processes, bulk operations, items, jobs, values, messages, documents, schedules, secrets, audit and events; people and what they may.",
    )
    describe(made, words=WORDS, tags=TOPICS)
    return made
