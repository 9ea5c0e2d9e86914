"""Approvals: bound to a policy's hash, with who and why; they expire and serve once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import Connection, insert, select, update

from agent.errors import AgentInputInvalid
from agent.store.tables import APPROVALS
from agent.store.writer import Transaction

MAX_LIFETIME_S = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's word for one policy."""

    id: str
    policy_hash: str
    approver: str
    reason: str
    granted_us: int
    expires_us: int
    used_us: int | None = None


def grant_approval(
    transaction: Transaction, policy_hash: str, *, approver: str, reason: str, lifetime_s: float
) -> Approval:
    """Approve the policy with this content hash; raises AgentInputInvalid."""
    if not approver.strip() or not reason.strip():
        raise AgentInputInvalid(f"approval: who and why are needed, got {approver!r} and {reason!r}")
    if not 0 < lifetime_s <= MAX_LIFETIME_S:
        raise AgentInputInvalid(f"approval: lifetime_s {lifetime_s!r} must lie in 0-{MAX_LIFETIME_S:.0f}")
    now_us = transaction.now_us()
    approval = Approval(
        id=secrets.token_hex(8),
        policy_hash=policy_hash,
        approver=approver[:64],
        reason=reason[:500],
        granted_us=now_us,
        expires_us=now_us + int(lifetime_s * 1e6),
    )
    row = {name: getattr(approval, name) for name in Approval.__slots__}
    transaction.connection.execute(insert(APPROVALS).values(**row))
    transaction.audit("approval_granted", actor=approval.approver, body=row)
    return approval


def use_approval(transaction: Transaction, policy_hash: str) -> Approval | None:
    """Consume a live approval of this very policy; None where there is none."""
    now_us = transaction.now_us()
    live = find_live_approval(transaction.connection, policy_hash, now_us=now_us)
    if live is None:
        return None
    taken = transaction.connection.execute(
        update(APPROVALS).where(APPROVALS.c.id == live.id, APPROVALS.c.used_us.is_(None)).values(used_us=now_us)
    )
    if taken.rowcount != 1:
        return None
    transaction.audit("approval_used", actor=live.approver, body={"id": live.id, "policy_hash": policy_hash})
    return live


def withdraw_approval(transaction: Transaction, approval_id: str, *, actor: str, reason: str) -> bool:
    """End an approval now; False where it was used, has expired or is unknown."""
    now_us = transaction.now_us()
    is_live = APPROVALS.c.used_us.is_(None) & (APPROVALS.c.expires_us > now_us)
    ended = transaction.connection.execute(
        update(APPROVALS).where(APPROVALS.c.id == approval_id, is_live).values(expires_us=now_us)
    )
    if ended.rowcount != 1:
        return False
    transaction.audit("approval_withdrawn", actor=actor, body={"id": approval_id, "reason": reason[:500]})
    return True


def find_live_approval(connection: Connection, policy_hash: str, *, now_us: int) -> Approval | None:
    """The first unused approval of this policy that is granted by now and has not expired."""
    query = (
        select(APPROVALS)
        .where(
            APPROVALS.c.policy_hash == policy_hash,
            APPROVALS.c.used_us.is_(None),
            APPROVALS.c.granted_us <= now_us,
            APPROVALS.c.expires_us > now_us,
        )
        .order_by(APPROVALS.c.granted_us)
        .limit(1)
    )
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Approval(**row)


def list_approvals(connection: Connection, *, policy_hash: str | None = None, limit: int = 50) -> list[Approval]:
    """The newest first."""
    query = select(APPROVALS).order_by(APPROVALS.c.granted_us.desc(), APPROVALS.c.id).limit(limit)
    if policy_hash is not None:
        query = query.where(APPROVALS.c.policy_hash == policy_hash)
    return [Approval(**row) for row in connection.execute(query).mappings()]
