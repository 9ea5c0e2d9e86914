"""How a policy is kept in the store until it is decided on."""

from __future__ import annotations

from agent.errors import PolicyRejected
from agent.policy import SchedulingPolicy
from agent.store.policies import PolicyStatus, StoredPolicy, find_policy, save_policy, set_policy_status
from agent.store.writer import Transaction


def keep_proposed(transaction: Transaction, policy: SchedulingPolicy, *, actor: str) -> StoredPolicy:
    """The policy as it is kept, proposed where it is new; raises PolicyRejected where it was decided on already."""
    save_policy(transaction, policy, PolicyStatus.PROPOSED, actor=actor)
    stored = find_policy(transaction.connection, policy.version)
    if stored is None or stored.status not in (PolicyStatus.PROPOSED, PolicyStatus.AWAITING_APPROVAL):
        state = "unknown" if stored is None else stored.status.value
        raise PolicyRejected(f"version {policy.version} is {state} already")
    return stored


def keep_waiting(transaction: Transaction, policy: SchedulingPolicy, *, actor: str) -> None:
    """As awaiting approval; raises PolicyRejected where it was decided on already."""
    if keep_proposed(transaction, policy, actor=actor).status is PolicyStatus.PROPOSED:
        set_policy_status(transaction, policy.version, PolicyStatus.AWAITING_APPROVAL, actor=actor)


def note_refusal(transaction: Transaction, policy: SchedulingPolicy, reason: str, *, actor: str) -> None:
    """In the audit trail only: what was refused is not kept."""
    body = {"version": policy.version, "content_hash": policy.content_hash(), "reason": reason[:500]}
    transaction.audit("policy_refused", actor=actor, body=body)
