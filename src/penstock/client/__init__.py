"""Typed clients of the native API `/api/v1`, blocking and asyncio, from one description of its calls.

    with Client("http://127.0.0.1:8080", "my-app", "its secret") as client:
        process = client.processes.start("loan", {"amount": 1200})

Runs anywhere: imports nothing of the server.
"""

from penstock.client.calls import Api, Audit, Definitions, Processes, Values
from penstock.client.clients import AsyncClient, Client, Transport
from penstock.client.credentials import Credentials, Grant
from penstock.client.documents import Documents
from penstock.client.errors import (
    AlreadyExists,
    ApiError,
    ClientError,
    Conflict,
    CredentialsError,
    Forbidden,
    Invalid,
    LeaseLost,
    LimitExceeded,
    MethodNotAllowed,
    NotFound,
    Problem,
    ProblemDetails,
    ServerError,
    Stale,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    UnsupportedMediaType,
    WrongState,
)
from penstock.client.exchange import NO_RETRY, Retry
from penstock.client.items import Items
from penstock.client.jobs import Jobs
from penstock.client.models import Event, Failure, NewProcess, Page
from penstock.client.objects import Connections, Schedules, Secrets
from penstock.client.request import Async, Request, Sync
from penstock.client.token_cache import TokenCache

__all__ = [
    "NO_RETRY", "AlreadyExists", "Api", "ApiError", "Async", "AsyncClient", "Audit", "Client", "ClientError", "Conflict", "Connections",
    "Credentials", "CredentialsError", "Definitions", "Documents", "Event", "Failure", "Forbidden", "Grant", "Invalid", "Items", "Jobs",
    "LeaseLost", "LimitExceeded", "MethodNotAllowed", "NewProcess", "NotFound", "Page", "Problem", "ProblemDetails",
    "Processes", "Request", "Retry", "Schedules", "Secrets", "ServerError", "Stale", "Sync", "TokenCache", "TooLarge", "Transport", "Unauthenticated", "Unavailable",
    "UnexpectedAnswer", "Unreachable", "UnsupportedMediaType", "Values", "WrongState",
]  # fmt: skip
