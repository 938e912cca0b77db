"""What an error of the server says on one line."""

from __future__ import annotations

import pytest

from penstock.client.errors import Problem, ProblemDetails, error_from

MANY = [Problem("/a", "bad"), Problem("/b/0", "worse")]


@pytest.mark.parametrize(
    ("details", "retry_after", "text"),
    [
        (ProblemDetails(status=422, detail="must be 1", problems=[Problem("/code", "must be 1")]), None, "code: must be 1"),
        (ProblemDetails(status=422, detail="code: must be 1", problems=[Problem("/code", "must be 1")]), None, "code: must be 1"),
        (ProblemDetails(status=422, detail="must be 1", problems=[Problem("", "must be 1")]), None, "must be 1"),
        (ProblemDetails(status=422, detail="not so", problems=MANY), None, "not so: /a: bad; /b/0: worse"),
        (ProblemDetails(status=429, detail="too many"), 1.2, "too many; try again in 2 s"),
        (ProblemDetails(status=429, detail="too many: try again in 7 s"), 7, "too many: try again in 7 s"),
        (ProblemDetails(status=429, detail="too many"), None, "too many"),
        (ProblemDetails(status=503, detail="not now"), 5, "not now"),
    ],
)  # fmt: skip
def test_an_error_is_one_line(details, retry_after, text):
    assert str(error_from(details, where="GET /x", retry_after=retry_after)) == f"{text} (GET /x, {details.status})"
