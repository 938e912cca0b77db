"""Every table, once: the store's SQL and the migrations are made from here. No queries, no connections.

Times are BIGINT milliseconds since 1970 UTC, JSON is TEXT, flags are SMALLINT. Keys come first in every table,
in the order in which rows are found, so the key of a row tuple is its first members. Rows of a process hang on
its integer `pid` and a number `n`; public ids are one unique column with their tenant.

There are no foreign keys: the writer is the only one who writes, and each check would cost a look-up a row.
SQLite tables are STRICT, so that a value of the wrong type fails on the developer's machine as on PostgreSQL.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

ID_BLOCK = 256
"""How many integer keys a node takes at once; what a node has not used when it stops is a gap."""

metadata = MetaData(
    naming_convention={"pk": "%(table_name)s_pkey", "uq": "%(table_name)s_%(column_0_N_name)s_key"},
)

id_blocks = Sequence("id_blocks", start=1, increment=ID_BLOCK, data_type=BigInteger(), metadata=metadata)
"""PostgreSQL: the first key of the next block, for every table. SQLite keeps the same number in `meta`."""

_BIG = BigInteger().with_variant(Integer(), "sqlite")
_SMALL = SmallInteger().with_variant(Integer(), "sqlite")


_ORDERED = Text(collation="C").with_variant(Text(), "sqlite")


def _text(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, Text(), nullable=null)


def _word(name: str) -> Column[Any]:
    """A text that lists are sorted and searched by: compared byte by byte on both databases, whatever their locale."""
    return Column(name, Text().with_variant(Text(collation="C"), "postgresql"), nullable=False)


def _ordered(name: str) -> Column[Any]:
    """A text that is compared byte by byte whatever the database's collation: ranges and prefixes rely on it."""
    return Column(name, _ORDERED, nullable=False)


def _int(name: str, *, null: bool = False) -> Column[Any]:
    return Column(name, _BIG, nullable=null, autoincrement=False)


def _flag(name: str) -> Column[Any]:
    return Column(name, _SMALL, nullable=False)


def _serial(name: str) -> Column[Any]:
    """A key the database gives at the flush: rises in the order of commits that hold the same process."""
    return Column(name, _BIG, Identity(), nullable=False)


def _unique(*columns: str) -> UniqueConstraint:
    return UniqueConstraint(*columns)


def _index(name: str, *columns: str, where: str | None = None, unique: bool = False) -> Index:
    partial: dict[str, Any] = {"sqlite_where": text(where), "postgresql_where": text(where)} if where else {}
    return Index(name, *columns, unique=unique, **partial)


def _table(name: str, key: str, *items: Any) -> Table:
    """A table whose primary key is `key`, its first columns, named with spaces between."""
    columns = key.split()
    serial = any(isinstance(item, Column) and item.identity is not None for item in items)
    single = isinstance(items[0].type, BigInteger) and len(columns) == 1
    options: dict[str, Any] = {"sqlite_autoincrement": True} if serial else {}
    if not single:
        options["sqlite_with_rowid"] = False
    return Table(name, metadata, *items, PrimaryKeyConstraint(*columns), sqlite_strict=True, **options)


meta = _table("meta", "key", _text("key"), _text("value"))

nodes = _table("nodes", "node", _text("node"), _int("group_no"), _int("started_at"), _int("seen_at"))

# --- who -------------------------------------------------------------------------------------------------------

tenants = _table(
    "tenants",
    "tid",
    _int("tid"),
    _text("id"),
    _text("code"),
    _text("name"),
    _int("created_at"),
    _text("approval"),
    _flag("four_eyes"),
    _flag("disabled"),
    _text("quotas"),
    _int("rev"),
    _unique("id"),
    _unique("code"),
)

applications = _table(
    "applications",
    "aid",
    _int("aid"),
    _int("tid"),
    _text("id"),
    _text("name"),
    _text("secret_hash"),
    _text("roles"),
    _int("created_at"),
    _flag("disabled"),
    _text("old_hash", null=True),
    _int("old_until", null=True),
    _int("rev"),
    _unique("id"),
    _index("applications_tenant", "tid", "aid"),
)

users = _table(
    "users",
    "uid",
    _int("uid"),
    _int("tid"),
    _text("id"),
    _word("email"),
    _text("name"),
    _text("password_hash", null=True),
    _text("roles"),
    _int("created_at"),
    _flag("disabled"),
    _word("folded"),
    _int("rev"),
    _unique("id"),
    _unique("tid", "email"),
    _index("users_name", "tid", "folded", "uid"),
    _index("users_disabled", "tid", "email", where="disabled = 1"),
    _index("users_roles", "tid", "uid", where="roles <> '[]'"),
)

groups = _table(
    "groups",
    "gid",
    _int("gid"),
    _int("tid"),
    _word("code"),
    _text("name"),
    _int("created_at"),
    _int("rev"),
    _unique("tid", "code"),
)

memberships = _table(
    "memberships",
    "gid uid",
    _int("gid"),
    _int("uid"),
    _index("memberships_user", "uid", "gid"),
)

tokens = _table(
    "tokens",
    "token_hash",
    _text("token_hash"),
    _int("tid"),
    _text("principal"),
    _text("audience"),
    _int("created_at"),
    _int("expires_at"),
    _word("id"),
    _text("kind"),
    _text("name", null=True),
    _index("tokens_expiry", "expires_at"),
    _index("tokens_principal", "tid", "principal", "id"),
)

# `private` is encrypted with the key `key` of the configuration, and gone when the key signs no more.
signing_keys = _table(
    "signing_keys",
    "kid",
    _text("kid"),
    _text("algorithm"),
    _text("public"),
    _text("key", null=True),
    _text("private", null=True),
    _int("created_at"),
    _int("retired_at", null=True),
)

access_keys = _table(
    "access_keys",
    "ak",
    _word("ak"),
    _int("tid"),
    _text("principal"),
    _text("name"),
    _text("key"),
    _text("value"),
    _int("created_at"),
    _text("created_by"),
    _flag("disabled"),
    _index("access_keys_principal", "tid", "principal", "ak"),
)

sessions = _table(
    "sessions",
    "session_hash",
    _text("session_hash"),
    _text("id"),
    _int("tid"),
    _text("principal"),
    _int("created_at"),
    _int("seen_at"),
    _int("expires_at"),
    _text("provider", null=True),
    _text("address"),
    _text("agent"),
    _unique("id"),
    _index("sessions_principal", "tid", "principal"),
    _index("sessions_expiry", "expires_at"),
)

login_failures = _table(
    "login_failures",
    "subject",
    _text("subject"),
    _int("failures"),
    _int("last_at"),
    _int("blocked_until"),
    _index("login_failures_age", "last_at"),
)

providers = _table(
    "providers",
    "tid name",
    _int("tid"),
    _text("name"),
    _text("document"),
    _text("key", null=True),
    _text("secret", null=True),
    _int("revision"),
    _int("created_at"),
    _text("created_by"),
    _int("modified_at"),
    _text("modified_by"),
    _text("trusted_by"),
)

provider_users = _table(
    "provider_users",
    "tid issuer subject",
    _int("tid"),
    _text("issuer"),
    _text("subject"),
    _int("uid"),
    _int("created_at"),
    _unique("uid", "issuer"),
)

login_states = _table(
    "login_states",
    "state_hash",
    _text("state_hash"),
    _int("tid"),
    _text("provider"),
    _text("browser_hash"),
    _text("return_to"),
    _int("expires_at"),
    _index("login_states_expiry", "expires_at"),
)

# --- what should happen ----------------------------------------------------------------------------------------

definitions = _table(
    "definitions",
    "did",
    _int("did"),
    _int("tid"),
    _text("id"),
    _text("code"),
    _int("latest"),
    _int("created_at"),
    _int("active", null=True),
    _text("permissions"),
    _int("rev"),
    _unique("tid", "id"),
    _unique("tid", "code"),
)

# What `definitions.permissions` says, a row for each grant: lists of what somebody may see are asked of it.
definition_grants = _table(
    "definition_grants",
    "did permission grantee",
    _int("did"),
    _text("permission"),
    _text("grantee"),
    _int("tid"),
    _index("definition_grants_grantee", "tid", "grantee", "permission", "did"),
    _index("definition_grants_viewers", "tid", "did", where="permission = 'viewer'"),
)

versions = _table(
    "versions",
    "vid",
    _int("vid"),
    _int("did"),
    _int("tid"),
    _text("id"),
    _int("number"),
    _text("document"),
    _text("digest"),
    _int("semantics"),
    _text("state"),
    _int("created_at"),
    _text("created_by"),
    _unique("did", "number"),
    _unique("tid", "id"),
)

decisions = _table(
    "decisions",
    "vid n",
    _int("vid"),
    _int("n"),
    _int("tid"),
    _int("at"),
    _text("actor"),
    _text("action"),
    _text("state"),
    _text("comment"),
)

# --- what happens ----------------------------------------------------------------------------------------------

processes = _table(
    "processes",
    "pid",
    _int("pid"),
    _int("tid"),
    _text("id"),
    _int("did"),
    _int("vid"),
    _text("status"),
    _int("seq"),
    _int("next_n"),
    _int("at"),
    _int("incidents"),
    _int("retrying"),
    _int("retries"),
    _int("running"),
    _int("semantics"),
    _int("created_at"),
    _text("created_by"),
    _int("ended_at", null=True),
    _int("parent_pid", null=True),
    _int("parent_scope", null=True),
    _int("parent_visit", null=True),
    _int("depth"),
    _unique("tid", "id"),
    # each ends as lists are ordered; `store.listing` chooses among them
    _index("processes_version", "vid", "created_at", "pid"),
    _index("processes_status", "tid", "status", "created_at", "pid", "vid"),
    _index("processes_parent", "parent_pid", "created_at", "pid", where="parent_pid IS NOT NULL"),
)

# What a process is found by and that never or seldom changes: who created it, when it ended, what its definition makes
# searchable. On PostgreSQL an index of `processes` itself would get a new entry at each change of status. `created_at`
# is the process's, so that a value's rows lie in the order of lists.
search = _table(
    "search",
    "tid name value created_at pid",
    _int("tid"),
    _text("name"),
    _ordered("value"),
    _int("created_at"),
    _int("pid"),
)

data = _table("data", "pid name", _int("pid"), _text("name"), _text("value"))

scopes = _table(
    "scopes",
    "pid n",
    _int("pid"),
    _int("n"),
    _int("parent", null=True),
    _text("state"),
    _text("output", null=True),
)

visits = _table(
    "visits",
    "pid n",
    _int("pid"),
    _int("n"),
    _int("scope"),
    _text("node"),
    _text("kind"),
    _text("state"),
    _int("attempt"),
    _text("input", null=True),
    _text("output", null=True),
    _text("failure", null=True),
    _int("started_at"),
    _int("ended_at", null=True),
    _index("visits_failed", "pid", where="state = 'FAILED'"),
)

jobs = _table(
    "jobs",
    "pid n",
    _int("pid"),
    _int("n"),
    _int("tid"),
    _int("vid"),
    _int("scope"),
    _text("node"),
    _text("queue"),
    _int("attempt"),
    _text("state"),
    _int("available_at"),
    _text("lease", null=True),
    _int("leased_until", null=True),
    _text("worker", null=True),
    _int("deliveries"),
    _text("token_hash", null=True),
    _int("timeout", null=True),
    _flag("told"),
    _text("trace", null=True),
    _index("jobs_ready", "queue", "available_at", "pid", "n", where="state = 'READY'"),
    _index("jobs_leased", "leased_until", where="leased_until IS NOT NULL"),
)

items = _table(
    "items",
    "pid n",
    _int("pid"),
    _int("n"),
    _int("tid"),
    _text("id"),
    _int("did"),
    _int("scope"),
    _text("node"),
    _text("task"),
    _text("kind"),
    _flag("waits"),
    _text("name"),
    _text("state"),
    _text("owner", null=True),
    _text("delegator", null=True),
    _text("data"),
    _text("output", null=True),
    _text("candidates"),
    _int("due_at"),
    _int("priority"),
    _int("created_at"),
    _int("ended_at", null=True),
    _text("ended_by", null=True),
    _int("lines"),
    _int("posts"),
    _int("rev"),
    _flag("drafted"),
    _unique("tid", "id"),
    _index("items_state", "tid", "state", "kind", "created_at", "pid", "n"),
    _index("items_owner", "tid", "owner", "created_at", "pid", "n", where="owner IS NOT NULL"),
    _index("items_task", "tid", "did", "task", "created_at", "pid", "n"),
    _index("items_involved", "pid", "owner", where="owner IS NOT NULL"),
    _index("items_due", "tid", "due_at", "pid", "n", where="ended_at IS NULL"),
    _index("items_priority", "tid", "priority", "pid", "n", where="ended_at IS NULL"),
)

# The inbox: by grantee in each order it is read in, and no look at the item before it is on the page.
item_grants = _table(
    "item_grants",
    "tid grantee created_at pid n",
    _int("tid"),
    _text("grantee"),
    _int("created_at"),
    _int("pid"),
    _int("n"),
    _int("due_at"),
    _int("priority"),
    _flag("role"),
    _index("item_grants_due", "tid", "grantee", "due_at", "pid", "n"),
    _index("item_grants_priority", "tid", "grantee", "priority", "pid", "n"),
    _index("item_grants_involved", "pid", "grantee"),
)

drafts = _table(
    "drafts",
    "pid n owner",
    _int("pid"),
    _int("n"),
    _text("owner"),
    _text("data"),
    _int("rev"),
    _int("saved_at"),
)

item_log = _table(
    "item_log",
    "pid n line",
    _int("pid"),
    _int("n"),
    _int("line"),
    _int("at"),
    _text("actor"),
    _text("type"),
    _text("data"),
)

posts = _table(
    "posts",
    "pid n post",
    _int("pid"),
    _int("n"),
    _int("post"),
    _text("author"),
    _text("text"),
    _int("at"),
    _int("edited_at", null=True),
    _int("deleted_at", null=True),
)

timers = _table(
    "timers",
    "pid n purpose",
    _int("pid"),
    _int("n"),
    _text("purpose"),
    _int("scope"),
    _int("attempt"),
    _int("due_at"),
    _text("trace", null=True),
    _index("timers_due", "due_at"),
)

subscriptions = _table(
    "subscriptions",
    "pid n purpose",
    _int("pid"),
    _int("n"),
    _text("purpose"),
    _int("scope"),
    _int("tid"),
    _text("name"),
    _text("key"),
    _flag("signal"),
    _index("subscriptions_name", "tid", "name", "key"),
)

messages = _table(
    "messages",
    "mid",
    _serial("mid"),
    _int("tid"),
    _text("name"),
    _text("key"),
    _text("message_id"),
    _text("payload"),
    _text("state"),
    _int("created_at"),
    _int("expires_at"),
    _unique("tid", "name", "message_id"),
    _index("messages_kept", "tid", "name", "key", "mid", where="state = 'KEPT'"),
    _index("messages_expiry", "expires_at"),
)

inbox = _table(
    "inbox",
    "iid",
    _serial("iid"),
    _int("pid"),
    _text("event"),
    _flag("kept"),
    _int("created_at"),
    _index("inbox_process", "pid", "iid"),
)

receivers = _table("receivers", "rid", _int("rid"), _int("tid"), _text("id"), _unique("tid", "id"))

outbox = _table(
    "outbox",
    "oid",
    _serial("oid"),
    _int("tid"),
    _int("rid"),
    _int("pid"),
    _text("kind"),
    _text("data"),
    _int("created_at"),
    _int("attempts"),
    _int("due_at"),
    _int("claimed_until", null=True),
    _index("outbox_order", "rid", "pid", "oid"),
)

history = _table(
    "history",
    "pid seq",
    _int("pid"),
    _int("seq"),
    _int("tid"),
    _int("feed", null=True),
    _int("at"),
    _text("actor"),
    _text("type"),
    _int("scope", null=True),
    _int("visit", null=True),
    _text("data"),
    _index("history_feed", "tid", "feed", unique=True, where="feed IS NOT NULL"),
)

# On SQLite there is one writer and rows get their feed number as they are written; only PostgreSQL, where commits of
# several nodes interleave, has rows that wait for one.
Index("history_unfed", history.c.pid, history.c.seq, postgresql_where=text("feed IS NULL")).ddl_if(dialect="postgresql")

journal = _table(
    "journal",
    "jid",
    _serial("jid"),
    _int("tid"),
    _int("at"),
    _text("actor"),
    _text("type"),
    _text("kind"),
    _text("subject"),
    _text("data"),
    _int("feed", null=True),
    _index("journal_feed", "tid", "feed", unique=True, where="feed IS NOT NULL"),
    _index("journal_subject", "tid", "kind", "subject", "feed"),
)
Index("journal_unfed", journal.c.jid, postgresql_where=text("feed IS NULL")).ddl_if(dialect="postgresql")

seals = _table(
    "seals",
    "tid number",
    _int("tid"),
    _int("number"),
    _int("from_feed"),
    _int("to_feed"),
    _int("count"),
    _int("at"),
    _text("previous"),
    _text("leaves"),
    _text("digest"),
    _text("signature", null=True),
    _index("seals_place", "tid", "to_feed"),
    _index("seals_time", "tid", "at"),
)

idempotency = _table(
    "idempotency",
    "tid key",
    _int("tid"),
    _text("key"),
    _text("digest"),
    _int("status"),
    _text("answer"),
    _int("created_at"),
    _index("idempotency_age", "created_at"),
)

# --- documents -------------------------------------------------------------------------------------------------

documents = _table(
    "documents",
    "doc",
    _int("doc"),
    _int("tid"),
    _text("id"),
    _text("name"),
    _text("content_type"),
    _int("size"),
    _text("sha256"),
    _text("created_by"),
    _int("created_at"),
    _int("loose_at", null=True),
    _unique("tid", "id"),
    _index("documents_loose", "loose_at", where="loose_at IS NOT NULL"),
)

document_links = _table(
    "document_links",
    "pid doc",
    _int("pid"),
    _int("doc"),
    _int("visit", null=True),
    _text("linked_by"),
    _int("linked_at"),
    _index("document_links_document", "doc"),
)

# --- values ----------------------------------------------------------------------------------------------------

process_values = _table("process_values", "pid key", _int("pid"), _text("key"), _text("value"))

definition_values = _table("definition_values", "did key", _int("did"), _text("key"), _text("value"))

# --- by the clock, and what calls need ------------------------------------------------------------------------------

schedules = _table(
    "schedules",
    "sid",
    _int("sid"),
    _int("tid"),
    _text("id"),
    _text("definition"),
    _int("version", null=True),
    _text("cron", null=True),
    _int("every", null=True),
    _text("timezone"),
    _text("input"),
    _int("starts_at", null=True),
    _int("ends_at", null=True),
    _int("jitter"),
    _text("overlap"),
    _text("catch_up"),
    _int("catch_up_limit"),
    _text("state"),
    _int("revision"),
    _int("due_at", null=True),
    _int("fires_at", null=True),
    _int("last_due", null=True),
    _text("last_process", null=True),
    _int("last_pid", null=True),
    _text("last_error", null=True),
    _int("failures"),
    _int("skipped"),
    _int("created_at"),
    _text("created_by"),
    _int("modified_at"),
    _text("modified_by"),
    _unique("tid", "id"),
    _index("schedules_definition", "tid", "definition", "id"),
    _index("schedules_state", "tid", "state", "id"),
    _index("schedules_due", "fires_at", where="fires_at IS NOT NULL"),
)

secrets = _table(
    "secrets",
    "tid name",
    _int("tid"),
    _text("name"),
    _text("key"),
    _text("value"),
    _int("revision"),
    _int("created_at"),
    _text("created_by"),
    _int("modified_at"),
    _text("modified_by"),
)

connections = _table(
    "connections",
    "tid name",
    _int("tid"),
    _text("name"),
    _text("document"),
    _int("revision"),
    _int("created_at"),
    _text("created_by"),
    _int("modified_at"),
    _text("modified_by"),
)

# --- many processes at once ------------------------------------------------------------------------------------

bulks = _table(
    "bulks",
    "bid",
    _int("bid"),
    _int("tid"),
    _text("id"),
    _text("command"),
    _text("request"),
    _flag("dry_run"),
    _text("state"),
    _int("total", null=True),
    _int("done"),
    _int("failed"),
    _int("skipped"),
    _text("created_by"),
    _int("created_at"),
    _int("ended_at", null=True),
    _text("cursor"),
    _text("message", null=True),
    _text("node", null=True),
    _int("leased_until", null=True),
    _unique("tid", "id"),
    _index("bulks_tenant", "tid", "bid"),
    _index("bulks_running", "bid", where="state = 'RUNNING'"),
)

bulk_results = _table(
    "bulk_results",
    "bid n",
    _int("bid"),
    _int("n"),
    _text("process_id"),
    _text("outcome"),
    _int("at"),
    _text("data"),
    _flag("counted"),
    _index("bulk_results_outcome", "bid", "outcome", "n"),
    _index("bulk_results_fresh", "bid", where="counted = 0"),
)
