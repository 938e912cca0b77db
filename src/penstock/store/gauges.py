"""What lies in the database, counted for the operator: by indexes, and never more than a bound of one thing.

All of it is one snapshot of a reader. Rows are counted inside a `LIMIT`, so that a table of millions costs what its bound does.
"""

from __future__ import annotations

from collections import Counter

from penstock.core.state import ENDED, Status
from penstock.store.jobs import topic_of
from penstock.store.reader import Read

OTHER = "other"
Figures = dict[str, list[tuple[tuple[str, ...], float]]]
"""By the metric's name, without `penstock_`: values of its labels, and the figure. Ages are seconds."""

_WAITING = """
SELECT queue, count(*), min(available_at) FROM (
  SELECT queue, available_at FROM jobs WHERE state = 'READY' ORDER BY queue, available_at LIMIT ?
) AS found GROUP BY queue"""
_LEASED = """
SELECT queue, count(*) FROM (SELECT queue FROM jobs WHERE leased_until IS NOT NULL LIMIT ?) AS found GROUP BY queue"""
_OPEN = """
SELECT count(*) FROM (
  SELECT 1 FROM tenants JOIN processes ON processes.tid = tenants.tid AND processes.status = ? LIMIT ?
) AS found"""
_INCIDENTS = "SELECT count(*) FROM (SELECT 1 FROM visits WHERE state = 'FAILED' LIMIT ?) AS found"
_ITEMS = """
SELECT count(*) FROM (
  SELECT 1 FROM tenants JOIN items ON items.tid = tenants.tid WHERE items.ended_at IS NULL LIMIT ?
) AS found"""
_OVERDUE = """
SELECT count(*) FROM (
  SELECT 1 FROM tenants JOIN items ON items.tid = tenants.tid WHERE items.ended_at IS NULL AND items.due_at <= ? LIMIT ?
) AS found"""
_TIMERS = "SELECT count(*) FROM (SELECT 1 FROM timers LIMIT ?) AS found"
_TIMERS_LATE = """
SELECT count(*), min(due_at) FROM (SELECT due_at FROM timers WHERE due_at <= ? ORDER BY due_at LIMIT ?) AS found"""
_INBOX = """
SELECT kept, count(*), min(created_at) FROM (SELECT kept, created_at FROM inbox ORDER BY iid LIMIT ?) AS found
GROUP BY kept"""
_OUTBOX = "SELECT count(*), min(created_at) FROM (SELECT created_at FROM outbox ORDER BY oid LIMIT ?) AS found"
_SCHEDULES = """
SELECT count(*), min(fires_at) FROM (
  SELECT fires_at FROM schedules WHERE fires_at IS NOT NULL AND fires_at <= ? ORDER BY fires_at LIMIT ?
) AS found"""
_BULKS = "SELECT count(*) FROM (SELECT 1 FROM bulks WHERE state = 'RUNNING' LIMIT ?) AS found"
_MESSAGES = """
SELECT count(*) FROM (
  SELECT 1 FROM tenants JOIN messages ON messages.tid = tenants.tid WHERE messages.state = 'KEPT' LIMIT ?
) AS found"""
_DOCUMENTS = "SELECT count(*), coalesce(sum(size), 0) FROM (SELECT size FROM documents LIMIT ?) AS found"
_UNNUMBERED = (
    "SELECT count(*) FROM (SELECT 1 FROM history WHERE feed IS NULL LIMIT ?) AS found",
    "SELECT count(*) FROM (SELECT 1 FROM journal WHERE feed IS NULL LIMIT ?) AS found",
)
_SCHEMA = "SELECT version_num FROM alembic_version"
_INBOX_STATES = {0: "ready", 1: "kept", 2: "aside"}


def counted(read: Read, most: int, topics: int) -> Figures:
    """Every figure. `most`: rows counted of one thing; `topics`: how many are told by name.

    Raises: Unavailable when it takes longer than the read may.
    """
    now = read.now()

    def count(statement: str, *params: object) -> float:
        return float(read.rows(statement, (*params, most))[0][0])

    def late(statement: str, *params: object) -> tuple[float, float]:
        """How many, and the age of the oldest."""
        number, oldest = read.rows(statement, (*params, most))[0]
        return float(number), _age(now, oldest)

    figures = _jobs(read, now, most, topics)
    figures["processes_open"] = [
        ((status.value,), count(_OPEN, status.value)) for status in Status if status not in ENDED
    ]
    for name, pair in (
        ("timers_late", late(_TIMERS_LATE, now)),
        ("schedules_late", late(_SCHEDULES, now)),
    ):
        figures[name], figures[f"{name}_seconds"] = [((), pair[0])], [((), pair[1])]
    outbox, oldest = late(_OUTBOX)
    documents, size = read.rows(_DOCUMENTS, (most,))[0]
    plain = {
        "incidents_open": count(_INCIDENTS),
        "items_open": count(_ITEMS),
        "items_overdue": count(_OVERDUE, now),
        "timers": count(_TIMERS),
        "outbox": outbox,
        "outbox_oldest_seconds": oldest,
        "bulks_running": count(_BULKS),
        "messages_kept": count(_MESSAGES),
        "documents": float(documents),
        "documents_bytes": float(size),
        # on SQLite a row is numbered as it is written, and no index finds those that are not
        "feed_unnumbered": sum(count(each) for each in _UNNUMBERED) if read.shared else 0.0,
        "schema_version": float(schema_version(read)),
    }
    inbox = {kept: (number, oldest) for kept, number, oldest in read.rows(_INBOX, (most,))}
    figures["inbox"] = [((state,), float(inbox.get(kept, (0, 0))[0])) for kept, state in _INBOX_STATES.items()]
    plain["inbox_oldest_seconds"] = _age(now, inbox.get(0, (0, None))[1])
    figures |= {name: [((), value)] for name, value in plain.items()}
    return figures


def schema_version(read: Read) -> int:
    """Number of the newest migration the database has had."""
    return int(read.rows(_SCHEMA)[0][0])


def _jobs(read: Read, now: int, most: int, topics: int) -> Figures:
    """By topic, all tenants together. The largest topics by name, the rest as one."""
    waiting: Counter[str] = Counter()
    leased: Counter[str] = Counter()
    oldest: dict[str, int] = {}
    for queue, number, first in read.rows(_WAITING, (most,)):
        topic = topic_of(queue)
        waiting[topic] += number
        oldest[topic] = min(first, oldest.get(topic, first))
    for queue, number in read.rows(_LEASED, (most,)):
        leased[topic_of(queue)] += number
    named = {topic for topic, _ in (waiting + leased).most_common(topics)}
    of = {topic: topic if topic in named and topic != OTHER else OTHER for topic in (waiting | leased)}
    told: dict[str, Counter[str]] = {"waiting": Counter(), "leased": Counter()}
    ages: dict[str, float] = {}
    for topic, name in of.items():
        told["waiting"][name] += waiting[topic]
        told["leased"][name] += leased[topic]
        if topic in oldest:
            ages[name] = max(ages.get(name, 0.0), _age(now, oldest[topic]))
    return {
        "jobs": [((name, state), float(told[state][name])) for name in sorted({*of.values()}) for state in told],
        "jobs_oldest_waiting_seconds": [((name,), age) for name, age in sorted(ages.items())],
    }


def _age(now: int, since: int | None) -> float:
    return 0.0 if since is None else max(0.0, (now - since) / 1000)
