"""What a caller wants of a list of processes, as a `Filter`: for the list itself and for bulk operations. Pure translation."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from penstock.api import models
from penstock.api.mapping import parse_moment
from penstock.core.requests import SORTS, Condition, Filter, VisitFilter
from penstock.core.state import Status, VisitState
from penstock.errors import Invalid, Problem

ROOTS = ("entity", "input", "metadata")
OPERATORS = ("prefix", "from", "to")
_NAME = re.compile(r"(?P<name>[^\[\]]+)(?:\[(?P<op>[^\[\]]*)\])?")

STATUSES = tuple(status.value for status in Status)
VISIT_STATES = tuple(state.value for state in VisitState)


def parse_list(query: models.ProcessQuery) -> Filter:
    """The filter of `GET /processes`, without its parent and its words. Raises: Invalid."""
    given = {f"{root}.{name}": value for root in ROOTS for name, value in sorted(getattr(query, root).items())}
    wanted = parse_filter(query, given, "")
    return wanted._replace(sort=one_of("sort", query.sort, SORTS), oldest=query.order == "oldest")


def parse_filter(given: Any, search: Mapping[str, str], at: str) -> Filter:
    """What list and bulk operation have in common; `at` stands before the names of members in pointers. Raises: Invalid."""
    return Filter(
        statuses=tuple(dict.fromkeys(one_of(f"{at}status", status, STATUSES) for status in given.status)),
        definition=given.definition,
        version=given.version,
        created_from=parse_moment(given.created_from, f"{at}created_from"),
        created_to=parse_moment(given.created_to, f"{at}created_to"),
        created_by=given.created_by,
        ended_from=parse_moment(given.ended_from, f"{at}ended_from"),
        ended_to=parse_moment(given.ended_to, f"{at}ended_to"),
        incidents=given.incidents,
        search=tuple(_condition(name, value, at) for name, value in search.items()),
    )


def _condition(name: str, value: str, at: str) -> Condition:
    found = _NAME.fullmatch(name)
    if found is None or found["name"].partition(".")[0] not in ROOTS or "." not in found["name"]:
        raise _bad(f"{at}{name}", "is not a path such as metadata.customer or metadata.amount[from]")
    if found["op"] is None:
        return Condition(found["name"], value)
    if found["op"] not in OPERATORS:
        known = ", ".join(f"[{op}]" for op in OPERATORS)
        raise _bad(f"{at}{name}", f"there is no [{found['op']}]; known are {known}")
    return Condition(found["name"], value, found["op"])


def parse_visits(query: models.VisitQuery) -> VisitFilter:
    """Raises: Invalid."""
    states = tuple(one_of("state", state, VISIT_STATES) for state in query.state)
    return VisitFilter(states, tuple(query.node), tuple(query.kind))


def one_of(name: str, value: str, known: Iterable[str]) -> str:
    """Raises: Invalid, with what is known."""
    if value in known:
        return value
    raise _bad(name, f"{value!r} is not one of {', '.join(sorted(known))}")


def _bad(name: str, message: str) -> Invalid:
    return Invalid(f"{name}: {message}", [Problem(name, message, "unknown")])
