"""Every metric: its name, kind, labels and a sentence of help. What is not here cannot be told; `docs/observability.md` is checked
against it.

Labels have few values: doors, operations, classes of status, statuses, lanes, and topics, of which there are at most `TOPICS`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

TOPICS = 200
"""Topics that are told by name; the rest are summed as `other`."""
COUNTED = 100_000
"""Rows that are counted of one thing: a figure as large as this means "so many or more"."""


class Metric(NamedTuple):
    """`database`: read from the database, and the same on every node."""

    name: str
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    labels: tuple[str, ...] = ()
    database: bool = False


def _of_database(name: str, help: str, labels: tuple[str, ...] = ()) -> Metric:
    return Metric(f"penstock_{name}", "gauge", help, labels, database=True)


METRICS: tuple[Metric, ...] = (
    # doors
    Metric("penstock_http_requests_total", "counter", "Requests answered, by class of status (gone: the client left before).",
           ("door", "operation", "status")),
    Metric("penstock_http_request_seconds", "histogram",
           "Time from a request's headers to its answer, without what a long-poll waited; of a stream to its first byte.",
           ("door", "operation")),
    Metric("penstock_http_requests_in_flight", "gauge", "Requests that are being answered, those of long-polls and streams too.",
           ("door",)),
    Metric("penstock_http_refused_total", "counter", "Requests refused: 401, 403 or 429.", ("door", "status")),
    Metric("penstock_http_streams_open", "gauge", "Answers that go on: event streams and exports.", ("door",)),
    Metric("penstock_polls_waiting", "gauge", "Long-polls that are held open for a job, the engine's own for http jobs among them."),
    Metric("penstock_connections_open", "gauge", "Connections of clients that are open."),
    # the writer
    Metric("penstock_writer_units_waiting", "gauge", "Units (writes) that wait for their turn; an estimate."),
    Metric("penstock_writer_units_total", "counter", "Units answered, well or not, by lane.", ("lane",)),
    Metric("penstock_writer_group_units", "histogram", "Units in one commit."),
    Metric("penstock_writer_commit_seconds", "histogram", "Time of the last flush and the COMMIT of a group that wrote something."),
    Metric("penstock_writer_groups_again_total", "counter", "Groups rolled back, whose units ran again one by one."),
    Metric("penstock_writer_rows_total", "counter", "Rows written."),
    Metric("penstock_writer_statements_total", "counter", "Statements sent by the writer."),
    Metric("penstock_writer_deferred_total", "counter", "Units put back because another node held their process."),
    Metric("penstock_writer_reconnects_total", "counter", "Times the writer's connection was made anew."),
    Metric("penstock_writer_busy_seconds_total", "counter", "Time in units, flushes and commits: at one second a second the writer is full."),
    # the engine of this node
    Metric("penstock_steps_total", "counter", "Steps of processes, those among them that were rolled back and ran again."),
    Metric("penstock_decider_seconds_total", "counter", "Time in the decider."),
    Metric("penstock_leases_expired_total", "counter", "Leases that ran out: a worker has vanished or is too slow."),
    Metric("penstock_http_jobs_in_flight", "gauge", "Calls of http nodes on their way."),
    Metric("penstock_http_jobs_total", "counter", "Calls of http nodes that have ended, by outcome (ok, failed).", ("outcome",)),
    Metric("penstock_audit_seal_lag_seconds", "gauge", "How long the oldest row that waits to be sealed has waited; about a second is usual."),
    Metric("penstock_loop_alive", "gauge", "1 while a background task of the engine runs, 0 when it has ended.", ("loop",)),
    # identity
    Metric("penstock_token_cache_total", "counter", "Tokens and browsers' sessions looked at: known in memory (hit), or asked of the database (miss).", ("result",)),
    Metric("penstock_passwords_waiting", "gauge", "Passwords that wait to be hashed or checked, or are."),
    Metric("penstock_passwords_hashed_total", "counter", "Passwords hashed or checked."),
    Metric("penstock_log_ins_total", "counter", "Log-ins by secret, password or provider, for a token or a browser's session, by outcome (ok, refused).", ("outcome",)),
    # what lies in the database
    _of_database("jobs", "Jobs by topic: waiting for a worker, or leased to one.", ("topic", "state")),
    _of_database("jobs_oldest_waiting_seconds", "Age of the oldest job that waits.", ("topic",)),
    _of_database("processes_open", "Processes that have not ended.", ("status",)),
    _of_database("incidents_open", "Incidents: places where a process waits for somebody to repair it."),
    _of_database("items_open", "Tasks, messages and threads that have not ended."),
    _of_database("items_overdue", "Those of them whose due time has passed."),
    _of_database("timers", "Timers that run."),
    _of_database("timers_late", "Timers that are due and have not fired."),
    _of_database("timers_late_seconds", "By how much the latest of them is late."),
    _of_database("inbox", "Events that wait to be applied (ready), that their process keeps while suspended (kept), or that cannot be applied (aside).",
                 ("state",)),
    _of_database("inbox_oldest_seconds", "Age of the oldest event that is ready to be applied."),
    _of_database("outbox", "Notices that wait to be sent."),
    _of_database("outbox_oldest_seconds", "Age of the oldest notice that waits to be sent."),
    _of_database("schedules_late", "Schedules whose time has come and whose process has not been started."),
    _of_database("schedules_late_seconds", "By how much the latest of them is late."),
    _of_database("bulks_running", "Bulk operations that run."),
    _of_database("messages_kept", "Messages that wait for somebody to wait for them."),
    _of_database("documents", "Documents stored."),
    _of_database("documents_bytes", "Bytes of the documents that were counted."),
    _of_database("feed_unnumbered", "Rows that wait for their feed number (PostgreSQL): event streams and the audit wait with them."),
    _of_database("schema_version", "Number of the newest migration the database has had."),
    # the process and its store
    Metric("penstock_info", "info", "What runs here.", ("version", "database", "node")),
    Metric("penstock_wal_bytes", "gauge", "Size of SQLite's write-ahead log."),
    Metric("penstock_reader_connections_busy", "gauge", "Connections for reading that are in use."),
    Metric("penstock_trace_spans_total", "counter", "Spans that the collector took (sent), or that were lost.", ("outcome",)),
    Metric("penstock_scrape_ok", "gauge", "1 when the figures of the database are fresh; 0 when it was too slow, and they are as they were."),
    Metric("penstock_scrape_age_seconds", "gauge", "How old the figures of the database are."),
)  # fmt: skip

BY_NAME = {metric.name: metric for metric in METRICS}
