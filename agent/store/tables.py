"""The tables, for SQLite and PostgreSQL alike; times are microseconds since the Unix epoch."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()
MAX_SESSION_ID = 64
"""Characters."""

POLICIES = Table(
    "policies",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("parent_version", Integer, nullable=False),
    Column("planner", String(32), nullable=False),
    Column("content_hash", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("status", String(24), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Index("ix_policies_content_hash", "content_hash"),
    Index("ix_policies_status", "status"),
)

PLANNED_GOALS = Table(
    "planned_goals",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("goals_hash", String(64), nullable=False),
    Column("goals", Text),
    Index("ix_planned_goals_goals_hash", "goals_hash"),
)

APPROVALS = Table(
    "approvals",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("policy_hash", String(64), nullable=False),
    Column("approver", String(64), nullable=False),
    Column("reason", String(500), nullable=False),
    Column("granted_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False),
    Column("used_us", BigInteger),
    Index("ix_approvals_policy_hash", "policy_hash"),
)

DECISIONS = Table(
    "decisions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("created_us", BigInteger, nullable=False),
    Column("policy_version", Integer),
    Column("planner", String(32), nullable=False),
    Column("digest_hash", String(64), nullable=False),
    Column("document", Text, nullable=False),
    Column("document_hash", String(64), nullable=False),
    Index("ix_decisions_policy_version", "policy_version"),
)

GOALS = Table(
    "goals",
    METADATA,
    Column("policy_type", String(128), primary_key=True),
    Column("id", String(128), primary_key=True),
    Column("document", Text, nullable=False),
    Column("goal", Text, nullable=False),
    Column("notification_destination", String(2000), nullable=False),
    Column("status", String(16), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", String(MAX_SESSION_ID), primary_key=True),
    Column("document", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

SWITCHES = Table(
    "switches",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("document", Text, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
)

TOKENS = Table(
    "tokens",
    METADATA,
    Column("token_hash", String(64), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger),
)

IDEMPOTENCY = Table(
    "idempotency",
    METADATA,
    Column("key", String(200), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("response", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
)

AUDIT = Table(
    "audit",
    METADATA,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("kind", String(48), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

AUDIT_HEAD = Table(
    "audit_head",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)
