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
    providers,
    schedules,
    sessions,
    tenants,
    work,
)
from penstock.api.door import Native
from penstock.api.examples import TOPICS, WORDS
from penstock.web.auth import bearer_or_session
from penstock.web.cookies import SESSION
from penstock.web.openapi import describe
from penstock.web.routing import Admit, Door

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
    *sessions.ROUTES,
    *providers.ROUTES,
    *tenants.ROUTES,
)


def door(native: Native, max_body: int, admit: Admit | None = None) -> Door[Native]:
    """The native door, with its OpenAPI document and page."""
    made = Door(
        ROUTES,
        native,
        name="api",
        title="Penstock native API",
        version=penstock.__version__,
        prefix=PREFIX,
        authenticate=bearer_or_session(native.credentials, native.sessions, native.cookies),
        session_cookie=SESSION,
        admit=admit,
        max_body=max_body,
        description="Definitions, processes, bulk operations, items, jobs, values, messages, documents, schedules, secrets, audit and events; people, how they log in and what they may.",
    )
    describe(made, words=WORDS, tags=TOPICS)
    return made
