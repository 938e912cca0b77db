"""Typed clients of the native API `/api/v1`, blocking and asyncio, from one description of its calls.

    with Client("http://127.0.0.1:8080", "my-app", "its secret") as client:
        process = client.processes.start("loan", {"amount": 1200})

Runs anywhere: imports nothing of the server.
"""

from penstock.client.calls import Api, Definitions, Items, Jobs, Processes, Values
from penstock.client.clients import AsyncClient, Client, Transport
from penstock.client.credentials import Credentials, Grant
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
from penstock.client.models import Failure, NewProcess, Page
from penstock.client.request import Async, Request, Sync

__all__ = [
    "NO_RETRY", "AlreadyExists", "Api", "ApiError", "Async", "AsyncClient", "Client", "ClientError", "Conflict",
    "Credentials", "CredentialsError", "Definitions", "Failure", "Forbidden", "Grant", "Invalid", "Items", "Jobs",
    "LeaseLost", "LimitExceeded", "MethodNotAllowed", "NewProcess", "NotFound", "Page", "Problem", "ProblemDetails",
    "Processes", "Request", "Retry", "ServerError", "Stale", "Sync", "TooLarge", "Transport", "Unauthenticated", "Unavailable",
    "UnexpectedAnswer", "Unreachable", "UnsupportedMediaType", "Values", "WrongState",
]  # fmt: skip
