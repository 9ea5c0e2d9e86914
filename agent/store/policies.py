"""Policies and their versions."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, func, insert, select, update

from agent.errors import PolicyInvalid
from agent.policy import SchedulingPolicy
from agent.store.tables import POLICIES
from agent.store.writer import Transaction

_MOST_VERSION = 2**31 - 1
"""That databases keep in such a column."""


class PolicyStatus(StrEnum):
    """Where a policy is in its life."""

    PROPOSED = "proposed"
    AWAITING_APPROVAL = "awaiting_approval"
    REJECTED = "rejected"
    DISPATCHING = "dispatching"
    ENFORCED = "enforced"
    NOT_ENFORCED = "not_enforced"
    ABORTED = "aborted"
    """A target refused, so every target went back to what it had."""
    LAPSED = "lapsed"
    """Waited for approval while another was dispatched, or for too long."""
    SUPERSEDED = "superseded"
    """Was in force until another followed."""
    REVERTED = "reverted"
    """Was in force and has been rolled back."""


IN_FORCE = (PolicyStatus.DISPATCHING, PolicyStatus.ENFORCED, PolicyStatus.NOT_ENFORCED)
"""Of the latest policy that was dispatched and not withdrawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """A policy and what became of it."""

    policy: SchedulingPolicy
    content_hash: str
    status: PolicyStatus
    created_us: int


def next_version(connection: Connection) -> int:
    """The version that a new policy takes."""
    return int(connection.execute(select(func.coalesce(func.max(POLICIES.c.version), 0))).scalar_one()) + 1


def save_policy(transaction: Transaction, policy: SchedulingPolicy, status: PolicyStatus, *, actor: str) -> str:
    """Keep a new policy; returns its content hash. Saving the same one again changes nothing."""
    content_hash = policy.content_hash()
    known = find_policy(transaction.connection, policy.version)
    if known is not None:
        if known.content_hash != content_hash:
            raise PolicyInvalid(f"version {policy.version} is taken by another policy: {known.content_hash}")
        return content_hash
    document = policy.model_dump_json()
    transaction.connection.execute(
        insert(POLICIES).values(
            version=policy.version,
            parent_version=policy.parent_version,
            planner=policy.planner,
            content_hash=content_hash,
            document=document,
            status=status.value,
            created_us=transaction.now_us(),
        )
    )
    body = {
        "id": policy.version,
        "document_hash": hashlib.sha256(document.encode()).hexdigest(),
        "content_hash": content_hash,
        "planner": policy.planner,
        "status": status.value,
    }
    transaction.audit("policy_saved", actor=actor, body=body)
    return content_hash


def set_policy_status(
    transaction: Transaction, version: int, status: PolicyStatus, *, actor: str, reason: str = ""
) -> None:
    """Note what became of a policy; raises PolicyInvalid for an unknown version."""
    changed = transaction.connection.execute(
        update(POLICIES).where(POLICIES.c.version == version).values(status=status.value)
    )
    if changed.rowcount != 1:
        raise PolicyInvalid(f"version {version} is unknown")
    body = {"version": version, "status": status.value, "reason": reason[:500]}
    transaction.audit("policy_status", actor=actor, body=body)


def let_waiting_lapse(transaction: Transaction, *, actor: str) -> None:
    """Another policy goes out: those that wait were planned against a state that is no more."""
    waiting = POLICIES.c.status == PolicyStatus.AWAITING_APPROVAL.value
    versions = transaction.connection.execute(select(POLICIES.c.version).where(waiting)).scalars().all()
    for version in versions:
        set_policy_status(transaction, version, PolicyStatus.LAPSED, actor=actor)


def supersede_before(transaction: Transaction, version: int, *, actor: str) -> None:
    """This version is in force now: those that were before it are so no more."""
    were_in_force = (POLICIES.c.version < version) & POLICIES.c.status.in_([status.value for status in IN_FORCE])
    versions = transaction.connection.execute(select(POLICIES.c.version).where(were_in_force)).scalars().all()
    for earlier in sorted(versions):
        why = f"version {version} followed"
        set_policy_status(transaction, earlier, PolicyStatus.SUPERSEDED, actor=actor, reason=why)


def find_policy(connection: Connection, version: int) -> StoredPolicy | None:
    if abs(version) > _MOST_VERSION:
        return None
    row = connection.execute(select(POLICIES).where(POLICIES.c.version == version)).mappings().one_or_none()
    return None if row is None else _stored(dict(row))


def find_status(connection: Connection, version: int) -> PolicyStatus | None:
    """Of a version, without reading what it says."""
    found = connection.execute(select(POLICIES.c.status).where(POLICIES.c.version == version)).scalar()
    return None if found is None else PolicyStatus(found)


def list_policies(
    connection: Connection,
    *,
    status: PolicyStatus | None = None,
    planner: str | None = None,
    before_version: int | None = None,
    limit: int = 50,
) -> list[StoredPolicy]:
    """The newest first."""
    query = select(POLICIES).order_by(POLICIES.c.version.desc()).limit(limit)
    if status is not None:
        query = query.where(POLICIES.c.status == status.value)
    if planner is not None:
        query = query.where(POLICIES.c.planner == planner)
    if before_version is not None:
        query = query.where(POLICIES.c.version < before_version)
    return [_stored(dict(row)) for row in connection.execute(query).mappings()]


def _stored(row: dict[str, object]) -> StoredPolicy:
    return StoredPolicy(
        policy=SchedulingPolicy.model_validate_json(str(row["document"])),
        content_hash=str(row["content_hash"]),
        status=PolicyStatus(str(row["status"])),
        created_us=int(str(row["created_us"])),
    )
