"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def big(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, BIG, autoincrement=False, nullable=nullable)


def text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def upgrade() -> None:  # noqa: PLR0915 - a list
    postgresql = op.get_bind().dialect.name == "postgresql"
    if postgresql:
        op.execute("CREATE SEQUENCE id_blocks AS BIGINT INCREMENT BY 256 START WITH 1")
    op.create_table(
        "access_keys",
        sa.Column("ak", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        big("tid"),
        text("principal"),
        text("name"),
        text("key"),
        text("value"),
        big("created_at"),
        text("created_by"),
        sa.Column("disabled", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("ak", name=op.f("access_keys_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("access_keys_principal", "access_keys", ["tid", "principal", "ak"])
    op.create_table(
        "applications",
        big("aid"),
        big("tid"),
        text("id"),
        text("name"),
        text("secret_hash"),
        text("roles"),
        big("created_at"),
        sa.Column("disabled", SMALL, nullable=False),
        text("old_hash", nullable=True),
        big("old_until", nullable=True),
        big("rev"),
        sa.PrimaryKeyConstraint("aid", name=op.f("applications_pkey")),
        sa.UniqueConstraint("id", name=op.f("applications_id_key")),
        sqlite_strict=True,
    )
    op.create_index("applications_tenant", "applications", ["tid", "aid"])
    op.create_table(
        "bulk_results",
        big("bid"),
        big("n"),
        text("process_id"),
        text("outcome"),
        big("at"),
        text("data"),
        sa.Column("counted", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("bid", "n", name=op.f("bulk_results_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "bulk_results_fresh",
        "bulk_results",
        ["bid"],
        sqlite_where=sa.text("counted = 0"),
        postgresql_where=sa.text("counted = 0"),
    )
    op.create_index("bulk_results_outcome", "bulk_results", ["bid", "outcome", "n"])
    op.create_table(
        "bulks",
        big("bid"),
        big("tid"),
        text("id"),
        text("command"),
        text("request"),
        sa.Column("dry_run", SMALL, nullable=False),
        text("state"),
        big("total", nullable=True),
        big("done"),
        big("failed"),
        big("skipped"),
        text("created_by"),
        big("created_at"),
        big("ended_at", nullable=True),
        text("cursor"),
        text("message", nullable=True),
        text("node", nullable=True),
        big("leased_until", nullable=True),
        sa.PrimaryKeyConstraint("bid", name=op.f("bulks_pkey")),
        sa.UniqueConstraint("tid", "id", name=op.f("bulks_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_index(
        "bulks_running",
        "bulks",
        ["bid"],
        sqlite_where=sa.text("state = 'RUNNING'"),
        postgresql_where=sa.text("state = 'RUNNING'"),
    )
    op.create_index("bulks_tenant", "bulks", ["tid", "bid"])
    op.create_table(
        "connections",
        big("tid"),
        text("name"),
        text("document"),
        big("revision"),
        big("created_at"),
        text("created_by"),
        big("modified_at"),
        text("modified_by"),
        sa.PrimaryKeyConstraint("tid", "name", name=op.f("connections_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "data",
        big("pid"),
        text("name"),
        text("value"),
        sa.PrimaryKeyConstraint("pid", "name", name=op.f("data_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "decisions",
        big("vid"),
        big("n"),
        big("tid"),
        big("at"),
        text("actor"),
        text("action"),
        text("state"),
        text("comment"),
        sa.PrimaryKeyConstraint("vid", "n", name=op.f("decisions_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "definition_grants",
        big("did"),
        text("permission"),
        text("grantee"),
        big("tid"),
        sa.PrimaryKeyConstraint("did", "permission", "grantee", name=op.f("definition_grants_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("definition_grants_grantee", "definition_grants", ["tid", "grantee", "permission", "did"])
    op.create_index(
        "definition_grants_viewers",
        "definition_grants",
        ["tid", "did"],
        sqlite_where=sa.text("permission = 'viewer'"),
        postgresql_where=sa.text("permission = 'viewer'"),
    )
    op.create_table(
        "definition_values",
        big("did"),
        text("key"),
        text("value"),
        sa.PrimaryKeyConstraint("did", "key", name=op.f("definition_values_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "definitions",
        big("did"),
        big("tid"),
        text("id"),
        text("code"),
        big("latest"),
        big("created_at"),
        big("active", nullable=True),
        text("permissions"),
        big("rev"),
        sa.PrimaryKeyConstraint("did", name=op.f("definitions_pkey")),
        sa.UniqueConstraint("tid", "code", name=op.f("definitions_tid_code_key")),
        sa.UniqueConstraint("tid", "id", name=op.f("definitions_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "document_links",
        big("pid"),
        big("doc"),
        big("visit", nullable=True),
        text("linked_by"),
        big("linked_at"),
        sa.PrimaryKeyConstraint("pid", "doc", name=op.f("document_links_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("document_links_document", "document_links", ["doc"])
    op.create_table(
        "documents",
        big("doc"),
        big("tid"),
        text("id"),
        text("name"),
        text("content_type"),
        big("size"),
        text("sha256"),
        text("created_by"),
        big("created_at"),
        big("loose_at", nullable=True),
        sa.PrimaryKeyConstraint("doc", name=op.f("documents_pkey")),
        sa.UniqueConstraint("tid", "id", name=op.f("documents_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_index(
        "documents_loose",
        "documents",
        ["loose_at"],
        sqlite_where=sa.text("loose_at IS NOT NULL"),
        postgresql_where=sa.text("loose_at IS NOT NULL"),
    )
    op.create_table(
        "drafts",
        big("pid"),
        big("n"),
        text("owner"),
        text("data"),
        big("rev"),
        big("saved_at"),
        sa.PrimaryKeyConstraint("pid", "n", "owner", name=op.f("drafts_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "groups",
        big("gid"),
        big("tid"),
        sa.Column("code", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        text("name"),
        big("created_at"),
        big("rev"),
        sa.PrimaryKeyConstraint("gid", name=op.f("groups_pkey")),
        sa.UniqueConstraint("tid", "code", name=op.f("groups_tid_code_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "history",
        big("pid"),
        big("seq"),
        big("tid"),
        big("feed", nullable=True),
        big("at"),
        text("actor"),
        text("type"),
        big("scope", nullable=True),
        big("visit", nullable=True),
        text("data"),
        sa.PrimaryKeyConstraint("pid", "seq", name=op.f("history_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "history_feed",
        "history",
        ["tid", "feed"],
        unique=True,
        sqlite_where=sa.text("feed IS NOT NULL"),
        postgresql_where=sa.text("feed IS NOT NULL"),
    )
    if postgresql:
        op.create_index("history_unfed", "history", ["pid", "seq"], postgresql_where=sa.text("feed IS NULL"))
    op.create_table(
        "idempotency",
        big("tid"),
        text("key"),
        text("digest"),
        big("status"),
        text("answer"),
        big("created_at"),
        sa.PrimaryKeyConstraint("tid", "key", name=op.f("idempotency_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("idempotency_age", "idempotency", ["created_at"])
    op.create_table(
        "inbox",
        sa.Column("iid", BIG, sa.Identity(always=False), nullable=False),
        big("pid"),
        text("event"),
        sa.Column("kept", SMALL, nullable=False),
        big("created_at"),
        sa.PrimaryKeyConstraint("iid", name=op.f("inbox_pkey")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("inbox_process", "inbox", ["pid", "iid"])
    op.create_table(
        "item_grants",
        big("tid"),
        text("grantee"),
        big("created_at"),
        big("pid"),
        big("n"),
        big("due_at"),
        big("priority"),
        sa.Column("role", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("tid", "grantee", "created_at", "pid", "n", name=op.f("item_grants_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("item_grants_due", "item_grants", ["tid", "grantee", "due_at", "pid", "n"])
    op.create_index("item_grants_involved", "item_grants", ["pid", "grantee"])
    op.create_index("item_grants_priority", "item_grants", ["tid", "grantee", "priority", "pid", "n"])
    op.create_table(
        "item_log",
        big("pid"),
        big("n"),
        big("line"),
        big("at"),
        text("actor"),
        text("type"),
        text("data"),
        sa.PrimaryKeyConstraint("pid", "n", "line", name=op.f("item_log_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "items",
        big("pid"),
        big("n"),
        big("tid"),
        text("id"),
        big("did"),
        big("scope"),
        text("node"),
        text("task"),
        text("kind"),
        sa.Column("waits", SMALL, nullable=False),
        text("name"),
        text("state"),
        text("owner", nullable=True),
        text("delegator", nullable=True),
        text("data"),
        text("output", nullable=True),
        text("candidates"),
        big("due_at"),
        big("priority"),
        big("created_at"),
        big("ended_at", nullable=True),
        text("ended_by", nullable=True),
        big("lines"),
        big("posts"),
        big("rev"),
        sa.Column("drafted", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("pid", "n", name=op.f("items_pkey")),
        sa.UniqueConstraint("tid", "id", name=op.f("items_tid_id_key")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "items_due",
        "items",
        ["tid", "due_at", "pid", "n"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "items_involved",
        "items",
        ["pid", "owner"],
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(
        "items_owner",
        "items",
        ["tid", "owner", "created_at", "pid", "n"],
        sqlite_where=sa.text("owner IS NOT NULL"),
        postgresql_where=sa.text("owner IS NOT NULL"),
    )
    op.create_index(
        "items_priority",
        "items",
        ["tid", "priority", "pid", "n"],
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index("items_state", "items", ["tid", "state", "kind", "created_at", "pid", "n"])
    op.create_index("items_task", "items", ["tid", "did", "task", "created_at", "pid", "n"])
    op.create_table(
        "jobs",
        big("pid"),
        big("n"),
        big("tid"),
        big("vid"),
        big("scope"),
        text("node"),
        text("queue"),
        big("attempt"),
        text("state"),
        big("available_at"),
        text("lease", nullable=True),
        big("leased_until", nullable=True),
        text("worker", nullable=True),
        big("deliveries"),
        text("token_hash", nullable=True),
        big("timeout", nullable=True),
        sa.Column("told", SMALL, nullable=False),
        text("trace", nullable=True),
        sa.PrimaryKeyConstraint("pid", "n", name=op.f("jobs_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "jobs_leased",
        "jobs",
        ["leased_until"],
        sqlite_where=sa.text("leased_until IS NOT NULL"),
        postgresql_where=sa.text("leased_until IS NOT NULL"),
    )
    op.create_index(
        "jobs_ready",
        "jobs",
        ["queue", "available_at", "pid", "n"],
        sqlite_where=sa.text("state = 'READY'"),
        postgresql_where=sa.text("state = 'READY'"),
    )
    op.create_table(
        "journal",
        sa.Column("jid", BIG, sa.Identity(always=False), nullable=False),
        big("tid"),
        big("at"),
        text("actor"),
        text("type"),
        text("kind"),
        text("subject"),
        text("data"),
        big("feed", nullable=True),
        sa.PrimaryKeyConstraint("jid", name=op.f("journal_pkey")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index(
        "journal_feed",
        "journal",
        ["tid", "feed"],
        unique=True,
        sqlite_where=sa.text("feed IS NOT NULL"),
        postgresql_where=sa.text("feed IS NOT NULL"),
    )
    op.create_index("journal_subject", "journal", ["tid", "kind", "subject", "feed"])
    if postgresql:
        op.create_index("journal_unfed", "journal", ["jid"], postgresql_where=sa.text("feed IS NULL"))
    op.create_table(
        "login_failures",
        text("subject"),
        big("failures"),
        big("last_at"),
        big("blocked_until"),
        sa.PrimaryKeyConstraint("subject", name=op.f("login_failures_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("login_failures_age", "login_failures", ["last_at"])
    op.create_table(
        "login_states",
        text("state_hash"),
        big("tid"),
        text("provider"),
        text("browser_hash"),
        text("return_to"),
        big("expires_at"),
        sa.PrimaryKeyConstraint("state_hash", name=op.f("login_states_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("login_states_expiry", "login_states", ["expires_at"])
    op.create_table(
        "memberships",
        big("gid"),
        big("uid"),
        sa.PrimaryKeyConstraint("gid", "uid", name=op.f("memberships_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("memberships_user", "memberships", ["uid", "gid"])
    op.create_table(
        "messages",
        sa.Column("mid", BIG, sa.Identity(always=False), nullable=False),
        big("tid"),
        text("name"),
        text("key"),
        text("message_id"),
        text("payload"),
        text("state"),
        big("created_at"),
        big("expires_at"),
        sa.PrimaryKeyConstraint("mid", name=op.f("messages_pkey")),
        sa.UniqueConstraint("tid", "name", "message_id", name=op.f("messages_tid_name_message_id_key")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("messages_expiry", "messages", ["expires_at"])
    op.create_index(
        "messages_kept",
        "messages",
        ["tid", "name", "key", "mid"],
        sqlite_where=sa.text("state = 'KEPT'"),
        postgresql_where=sa.text("state = 'KEPT'"),
    )
    op.create_table(
        "meta",
        text("key"),
        text("value"),
        sa.PrimaryKeyConstraint("key", name=op.f("meta_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "nodes",
        text("node"),
        big("group_no"),
        big("started_at"),
        big("seen_at"),
        sa.PrimaryKeyConstraint("node", name=op.f("nodes_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outbox",
        sa.Column("oid", BIG, sa.Identity(always=False), nullable=False),
        big("tid"),
        big("rid"),
        big("pid"),
        text("kind"),
        text("data"),
        big("created_at"),
        big("attempts"),
        big("due_at"),
        big("claimed_until", nullable=True),
        sa.PrimaryKeyConstraint("oid", name=op.f("outbox_pkey")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_index("outbox_order", "outbox", ["rid", "pid", "oid"])
    op.create_table(
        "posts",
        big("pid"),
        big("n"),
        big("post"),
        text("author"),
        text("text"),
        big("at"),
        big("edited_at", nullable=True),
        big("deleted_at", nullable=True),
        sa.PrimaryKeyConstraint("pid", "n", "post", name=op.f("posts_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "process_values",
        big("pid"),
        text("key"),
        text("value"),
        sa.PrimaryKeyConstraint("pid", "key", name=op.f("process_values_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "processes",
        big("pid"),
        big("tid"),
        text("id"),
        big("did"),
        big("vid"),
        text("status"),
        big("seq"),
        big("next_n"),
        big("at"),
        big("incidents"),
        big("retrying"),
        big("retries"),
        big("running"),
        big("semantics"),
        big("created_at"),
        text("created_by"),
        big("ended_at", nullable=True),
        big("parent_pid", nullable=True),
        big("parent_scope", nullable=True),
        big("parent_visit", nullable=True),
        big("depth"),
        sa.PrimaryKeyConstraint("pid", name=op.f("processes_pkey")),
        sa.UniqueConstraint("tid", "id", name=op.f("processes_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_index(
        "processes_parent",
        "processes",
        ["parent_pid", "created_at", "pid"],
        sqlite_where=sa.text("parent_pid IS NOT NULL"),
        postgresql_where=sa.text("parent_pid IS NOT NULL"),
    )
    op.create_index("processes_status", "processes", ["tid", "status", "created_at", "pid", "vid"])
    op.create_index("processes_version", "processes", ["vid", "created_at", "pid"])
    op.create_table(
        "provider_users",
        big("tid"),
        text("issuer"),
        text("subject"),
        big("uid"),
        big("created_at"),
        sa.PrimaryKeyConstraint("tid", "issuer", "subject", name=op.f("provider_users_pkey")),
        sa.UniqueConstraint("uid", "issuer", name=op.f("provider_users_uid_issuer_key")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "providers",
        big("tid"),
        text("name"),
        text("document"),
        text("key", nullable=True),
        text("secret", nullable=True),
        big("revision"),
        big("created_at"),
        text("created_by"),
        big("modified_at"),
        text("modified_by"),
        text("trusted_by"),
        sa.PrimaryKeyConstraint("tid", "name", name=op.f("providers_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "receivers",
        big("rid"),
        big("tid"),
        text("id"),
        sa.PrimaryKeyConstraint("rid", name=op.f("receivers_pkey")),
        sa.UniqueConstraint("tid", "id", name=op.f("receivers_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "schedules",
        big("sid"),
        big("tid"),
        text("id"),
        text("definition"),
        big("version", nullable=True),
        text("cron", nullable=True),
        big("every", nullable=True),
        text("timezone"),
        text("input"),
        big("starts_at", nullable=True),
        big("ends_at", nullable=True),
        big("jitter"),
        text("overlap"),
        text("catch_up"),
        big("catch_up_limit"),
        text("state"),
        big("revision"),
        big("due_at", nullable=True),
        big("fires_at", nullable=True),
        big("last_due", nullable=True),
        text("last_process", nullable=True),
        big("last_pid", nullable=True),
        text("last_error", nullable=True),
        big("failures"),
        big("skipped"),
        big("created_at"),
        text("created_by"),
        big("modified_at"),
        text("modified_by"),
        sa.PrimaryKeyConstraint("sid", name=op.f("schedules_pkey")),
        sa.UniqueConstraint("tid", "id", name=op.f("schedules_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_index("schedules_definition", "schedules", ["tid", "definition", "id"])
    op.create_index(
        "schedules_due",
        "schedules",
        ["fires_at"],
        sqlite_where=sa.text("fires_at IS NOT NULL"),
        postgresql_where=sa.text("fires_at IS NOT NULL"),
    )
    op.create_index("schedules_state", "schedules", ["tid", "state", "id"])
    op.create_table(
        "scopes",
        big("pid"),
        big("n"),
        big("parent", nullable=True),
        text("state"),
        text("output", nullable=True),
        sa.PrimaryKeyConstraint("pid", "n", name=op.f("scopes_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seals",
        big("tid"),
        big("number"),
        big("from_feed"),
        big("to_feed"),
        big("count"),
        big("at"),
        text("previous"),
        text("leaves"),
        text("digest"),
        text("signature", nullable=True),
        sa.PrimaryKeyConstraint("tid", "number", name=op.f("seals_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("seals_place", "seals", ["tid", "to_feed"])
    op.create_index("seals_time", "seals", ["tid", "at"])
    op.create_table(
        "search",
        big("tid"),
        text("name"),
        sa.Column("value", sa.Text(collation="C").with_variant(sa.Text(), "sqlite"), nullable=False),
        big("created_at"),
        big("pid"),
        sa.PrimaryKeyConstraint("tid", "name", "value", "created_at", "pid", name=op.f("search_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "secrets",
        big("tid"),
        text("name"),
        text("key"),
        text("value"),
        big("revision"),
        big("created_at"),
        text("created_by"),
        big("modified_at"),
        text("modified_by"),
        sa.PrimaryKeyConstraint("tid", "name", name=op.f("secrets_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        text("session_hash"),
        text("id"),
        big("tid"),
        text("principal"),
        big("created_at"),
        big("seen_at"),
        big("expires_at"),
        text("provider", nullable=True),
        text("address"),
        text("agent"),
        sa.PrimaryKeyConstraint("session_hash", name=op.f("sessions_pkey")),
        sa.UniqueConstraint("id", name=op.f("sessions_id_key")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("sessions_expiry", "sessions", ["expires_at"])
    op.create_index("sessions_principal", "sessions", ["tid", "principal"])
    op.create_table(
        "signing_keys",
        text("kid"),
        text("algorithm"),
        text("public"),
        text("key", nullable=True),
        text("private", nullable=True),
        big("created_at"),
        big("retired_at", nullable=True),
        sa.PrimaryKeyConstraint("kid", name=op.f("signing_keys_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "subscriptions",
        big("pid"),
        big("n"),
        text("purpose"),
        big("scope"),
        big("tid"),
        text("name"),
        text("key"),
        sa.Column("signal", SMALL, nullable=False),
        sa.PrimaryKeyConstraint("pid", "n", "purpose", name=op.f("subscriptions_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("subscriptions_name", "subscriptions", ["tid", "name", "key"])
    op.create_table(
        "tenants",
        big("tid"),
        text("id"),
        text("code"),
        text("name"),
        big("created_at"),
        text("approval"),
        sa.Column("four_eyes", SMALL, nullable=False),
        sa.Column("disabled", SMALL, nullable=False),
        text("quotas"),
        big("rev"),
        sa.PrimaryKeyConstraint("tid", name=op.f("tenants_pkey")),
        sa.UniqueConstraint("code", name=op.f("tenants_code_key")),
        sa.UniqueConstraint("id", name=op.f("tenants_id_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "timers",
        big("pid"),
        big("n"),
        text("purpose"),
        big("scope"),
        big("attempt"),
        big("due_at"),
        text("trace", nullable=True),
        sa.PrimaryKeyConstraint("pid", "n", "purpose", name=op.f("timers_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("timers_due", "timers", ["due_at"])
    op.create_table(
        "tokens",
        text("token_hash"),
        big("tid"),
        text("principal"),
        text("audience"),
        big("created_at"),
        big("expires_at"),
        sa.Column("id", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        text("kind"),
        text("name", nullable=True),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("tokens_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("tokens_expiry", "tokens", ["expires_at"])
    op.create_index("tokens_principal", "tokens", ["tid", "principal", "id"])
    op.create_table(
        "users",
        big("uid"),
        big("tid"),
        text("id"),
        sa.Column("email", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        text("name"),
        text("password_hash", nullable=True),
        text("roles"),
        big("created_at"),
        sa.Column("disabled", SMALL, nullable=False),
        sa.Column("folded", sa.Text().with_variant(sa.Text(collation="C"), "postgresql"), nullable=False),
        big("rev"),
        sa.PrimaryKeyConstraint("uid", name=op.f("users_pkey")),
        sa.UniqueConstraint("id", name=op.f("users_id_key")),
        sa.UniqueConstraint("tid", "email", name=op.f("users_tid_email_key")),
        sqlite_strict=True,
    )
    op.create_index(
        "users_disabled",
        "users",
        ["tid", "email"],
        sqlite_where=sa.text("disabled = 1"),
        postgresql_where=sa.text("disabled = 1"),
    )
    op.create_index("users_name", "users", ["tid", "folded", "uid"])
    op.create_index(
        "users_roles",
        "users",
        ["tid", "uid"],
        sqlite_where=sa.text("roles <> '[]'"),
        postgresql_where=sa.text("roles <> '[]'"),
    )
    op.create_table(
        "versions",
        big("vid"),
        big("did"),
        big("tid"),
        text("id"),
        big("number"),
        text("document"),
        text("digest"),
        big("semantics"),
        text("state"),
        big("created_at"),
        text("created_by"),
        sa.PrimaryKeyConstraint("vid", name=op.f("versions_pkey")),
        sa.UniqueConstraint("did", "number", name=op.f("versions_did_number_key")),
        sa.UniqueConstraint("tid", "id", name=op.f("versions_tid_id_key")),
        sqlite_strict=True,
    )
    op.create_table(
        "visits",
        big("pid"),
        big("n"),
        big("scope"),
        text("node"),
        text("kind"),
        text("state"),
        big("attempt"),
        text("input", nullable=True),
        text("output", nullable=True),
        text("failure", nullable=True),
        big("started_at"),
        big("ended_at", nullable=True),
        sa.PrimaryKeyConstraint("pid", "n", name=op.f("visits_pkey")),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index(
        "visits_failed",
        "visits",
        ["pid"],
        sqlite_where=sa.text("state = 'FAILED'"),
        postgresql_where=sa.text("state = 'FAILED'"),
    )
    op.execute("INSERT INTO meta (key, value) VALUES ('needs', '0001')")
